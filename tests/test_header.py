import json
import random
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from backend.errors import ModelFileError
from backend.model_manager.header import LARGEST_HEADER, read_header


def write(path: Path, header: object, data: bytes = b"") -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def tensor(begin: int = 0, end: int = 4, *, dtype: str = "F32", shape: object = (1,)) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def test_a_true_header_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    tensors = {"x": torch.zeros(3, 4, dtype=torch.float16), "y": torch.zeros(0, 2), "z": torch.zeros(())}
    save_file(tensors, path, metadata={"who": "me"})
    header = read_header(path)
    assert {key: (info.dtype, info.shape, info.size) for key, info in header.tensors.items()} == {
        "x": ("F16", (3, 4), 24),
        "y": ("F32", (0, 2), 0),
        "z": ("F32", (), 4),
    }
    assert header.metadata == {"who": "me"}


LIES: dict[str, tuple[object, bytes]] = {
    "no object": ([], b""),
    "no JSON": (b"{]", b""),
    "deep JSON": (b"[" * 100_000, b""),
    "metadata no texts": ({"__metadata__": {"a": 1}}, b""),
    "metadata no object": ({"__metadata__": []}, b""),
    "metadata too large": ({"__metadata__": {"a": "x" * 1_100_000}}, b""),
    "entry no object": ({"x": 1}, b""),
    "entry without offsets": ({"x": {"dtype": "F32", "shape": [1]}}, b"1234"),
    "unknown type": ({"x": tensor(dtype="F31")}, b"1234"),
    "negative side": ({"x": tensor(shape=(-1,))}, b"1234"),
    "side no number": ({"x": tensor(shape=("1",))}, b"1234"),
    "shape larger than span": ({"x": tensor(shape=(2,))}, b"1234"),
    "huge shape": ({"x": tensor(shape=(2**40, 2**40))}, b"1234"),
    "negative offset": ({"x": tensor(-4, 0)}, b""),
    "overlap": ({"x": tensor(), "y": tensor()}, b"1234"),
    "gap": ({"x": tensor(), "y": tensor(8, 12)}, b"1" * 12),
    "data missing": ({"x": tensor()}, b"123"),
    "data left over": ({"x": tensor()}, b"12345"),
    "too many tensors": ({str(k): tensor(0, 0, shape=(0,)) for k in range(50_001)}, b""),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_header_that_lies_gets_a_sentence(lie: str, tmp_path: Path) -> None:
    path = write(tmp_path / "liar.safetensors", *LIES[lie])
    with pytest.raises(ModelFileError, match=r"^liar\.safetensors .*\.$"):
        read_header(path)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"1234567", "cut short"),
        (struct.pack("<Q", LARGEST_HEADER + 1), "no safetensors file"),
        (struct.pack("<Q", 2**63) + b"{}", "no safetensors file"),
        (struct.pack("<Q", 100) + b"{}", "cut short"),
    ],
)
def test_a_file_without_a_header_gets_a_sentence(data: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(data)
    with pytest.raises(ModelFileError, match=words):
        read_header(path)


def test_a_missing_file_gets_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="cannot be read"):
        read_header(tmp_path / "none.safetensors")


def test_random_damage_is_read_right_or_refused(tmp_path: Path, tiny_checkpoint: Path) -> None:
    """Nothing but `ModelFileError` ever comes out, whatever bytes of the header are hit."""
    whole = tiny_checkpoint.read_bytes()
    (length,) = struct.unpack("<Q", whole[:8])
    chance = random.Random(0)
    refused = 0
    path = tmp_path / "hit.safetensors"
    for _ in range(60):
        damaged = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            damaged[chance.randrange(8 + length)] = chance.randrange(256)
        path.write_bytes(damaged)
        try:
            read_header(path)
        except ModelFileError:
            refused += 1
    # Most bytes of a header stand in names, where any letter will do; the others must not go unseen.
    assert refused > 10
