import struct
from pathlib import Path

import pytest

from backend.errors import ModelFileError
from backend.model_manager.container import sniff
from backend.model_manager.identify import identify_file
from backend.model_manager.identity import Kind


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def gguf(architecture: bytes) -> bytes:
    key = b"general.architecture"
    return (
        b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", len(key)) + key
        + struct.pack("<IQ", 8, len(architecture)) + architecture
    )  # fmt: skip


CONTENTS = {
    "pickle": b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.",
    "zip-pickle": b"PK\x03\x04" + bytes(22) + struct.pack("<HH", 16, 0) + b"archive/data.pkl",
    "zip": b"PK\x03\x04" + bytes(22) + struct.pack("<HH", 9, 0) + b"notes.txt",
    "7z": b"7z\xbc\xaf\x27\x1c" + bytes(30),
    "tar": bytes(257) + b"ustar\x0000",
    "hdf5": b"\x89HDF\r\n\x1a\n",
    "numpy": b"\x93NUMPY\x01\x00",
    "gguf": gguf(b"flux"),
    "lfs-pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    "html": b"\n<!DOCTYPE html><title>404</title>",
    "empty": b"",
    "unknown": b"hello there",
    "safetensors": struct.pack("<Q", 2) + b"{}",
}


@pytest.mark.parametrize("container", CONTENTS)
def test_a_file_is_what_its_first_bytes_are(container: str, tmp_path: Path) -> None:
    for name in ("a.safetensors", "a.ckpt", "a"):
        assert sniff(written(tmp_path / name, CONTENTS[container])) == container


@pytest.mark.parametrize("container", [name for name in CONTENTS if name != "safetensors"])
def test_what_is_no_safetensors_file_gets_a_sentence(container: str, tmp_path: Path) -> None:
    found = identify_file(written(tmp_path / "a.safetensors", CONTENTS[container]))
    assert not found.runs
    assert found.problem.startswith("a.safetensors ") and found.problem.endswith(".")


def test_a_gguf_file_is_named(tmp_path: Path) -> None:
    found = identify_file(written(tmp_path / "a.gguf", gguf(b"sdxl")))
    assert (found.kind, found.family, found.title) == (Kind.CHECKPOINT, "sdxl", "SDXL, GGUF")
    for hostile in (gguf(b"x" * 5000)[:200], b"GGUF", gguf(b"sdxl")[:50]):
        assert identify_file(written(tmp_path / "a.gguf", hostile)).kind is Kind.UNKNOWN


def test_a_missing_file_gets_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="cannot be read"):
        sniff(tmp_path / "none")
