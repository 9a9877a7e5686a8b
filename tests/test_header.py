import json
import random
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from backend.errors import ModelFileError
from backend.model_manager import header as header_module
from backend.model_manager import tensor_table
from backend.model_manager.header import (
    LARGEST_HEADER,
    LARGEST_VALUES,
    MOST_TENSORS,
    Header,
    Tables,
    TensorInfo,
    read_header,
    read_values,
)

ROOT = Path(__file__).resolve().parent.parent
MOST_MEMORY = 64 * 1024 * 1024  # bytes


def write(path: Path, header: object, data: bytes = b"") -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def tensor(begin: object = 0, end: object = 4, *, dtype: str = "F32", shape: object = (1,)) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def filled(start: bytes, unit: bytes, end: bytes) -> bytes:
    """A header of the largest size that is allowed, mostly of repeated units."""
    return start + unit * ((LARGEST_HEADER - len(start) - len(end)) // len(unit)) + end


def of_names(count: int, rest: str) -> bytes:
    """A header of empty tensors whose names end in `rest`."""
    entries = {f"{place:05}{rest}": tensor(0, 0, shape=(0,)) for place in range(count)}
    return json.dumps(entries, ensure_ascii=False, separators=(",", ":")).encode()


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


def test_a_header_is_read_however_its_json_is_spelled(tmp_path: Path) -> None:
    names = ["plain", 'quo"ted\\', "grün", "雪\n", "{[,]}"]
    entries: dict[str, object] = {
        name: {"data_offsets": [4 * place, 4 * place + 4], "shape": [1, 1], "dtype": "F32"}
        for place, name in enumerate(names)
    }
    entries["__metadata__"] = {"a": 'b"\\"', "ü": ""}
    for place, text in enumerate(
        [
            json.dumps(entries),
            json.dumps(entries, indent=2, ensure_ascii=False),
            json.dumps(entries, separators=(",", ":")) + " " * 7,
            json.dumps(dict(reversed(entries.items()))),
            json.dumps({name: entries[name] for name in sorted(entries)}, sort_keys=True),
        ]
    ):
        header = read_header(write(tmp_path / f"{place}.safetensors", text.encode(), bytes(20)))
        assert {name: info.shape for name, info in header.tensors.items()} == dict.fromkeys(names, (1, 1))
        assert header.metadata == {"a": 'b"\\"', "ü": ""}


def test_an_empty_header_is_read(tmp_path: Path) -> None:
    for text in (b"{}", b" { } ", b'{"__metadata__":{}}'):
        assert read_header(write(tmp_path / "e.safetensors", text)).tensors == {}


def test_as_many_tensors_as_are_allowed_are_read(tmp_path: Path) -> None:
    entries = {f"{place}": tensor(0, 0, shape=[0]) for place in range(MOST_TENSORS)}
    assert len(read_header(write(tmp_path / "m.safetensors", entries)).tensors) == MOST_TENSORS


LIES: dict[str, Callable[[], tuple[object, bytes]]] = {
    "no object": lambda: ([], b""),
    "no JSON": lambda: (b"{]", b""),
    "no JSON at the end": lambda: (b'{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}', b"1234"),
    "text after the end": lambda: (b'{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}{}', b"1234"),
    "deep JSON": lambda: (b"[" * 100_000, b""),
    "deep JSON in an entry": lambda: (b'{"x":' * 100_000, b""),
    "deep JSON in a shape": lambda: (
        b'{"x":{"dtype":"F32","shape":' + b"[" * 900 + b"]" * 900 + b',"data_offsets":[0,4]}}',
        b"1234",
    ),
    "metadata no texts": lambda: ({"__metadata__": {"a": 1}}, b""),
    "metadata no object": lambda: ({"__metadata__": []}, b""),
    "metadata nested": lambda: ({"__metadata__": {"a": {"b": "c"}}}, b""),
    "metadata twice": lambda: (b'{"__metadata__":{},"__metadata__":{}}', b""),
    "metadata too large": lambda: ({"__metadata__": {"a": "x" * 1_100_000}}, b""),
    "metadata of many small texts": lambda: (
        b'{"__metadata__":{' + b",".join(b'"%06d":"x"' % n for n in range(200_000)) + b"}}",
        b"",
    ),
    "metadata fills the header": lambda: (filled(b'{"__metadata__":{"a":"', b"\\u00e4", b'"}}'), b""),
    "entry no object": lambda: ({"x": 1}, b""),
    "entry without offsets": lambda: ({"x": {"dtype": "F32", "shape": [1]}}, b"1234"),
    "entry with more": lambda: ({"x": {**tensor(), "more": 1}}, b"1234"),
    "unknown type": lambda: ({"x": tensor(dtype="F31")}, b"1234"),
    "negative side": lambda: ({"x": tensor(shape=(-1,))}, b"1234"),
    "side no number": lambda: ({"x": tensor(shape=("1",))}, b"1234"),
    "side no whole number": lambda: ({"x": tensor(shape=(1.0,))}, b"1234"),
    "side a truth": lambda: (b'{"x":{"dtype":"F32","shape":[true],"data_offsets":[0,4]}}', b"1234"),
    "offset a truth": lambda: ({"x": tensor(False, True, dtype="U8")}, b"1"),
    "shape larger than span": lambda: ({"x": tensor(shape=(2,))}, b"1234"),
    "huge shape": lambda: ({"x": tensor(shape=(2**40, 2**40))}, b"1234"),
    "endless number": lambda: (b'{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,%b]}}' % (b"4" * 5000), b"1234"),
    "too many sides": lambda: ({"x": tensor(shape=(1,) * 9)}, b"1234"),
    "sides fill the header": lambda: (
        filled(b'{"x":{"dtype":"F32","shape":[1', b",1", b'],"data_offsets":[0,4]}}'),
        b"1234",
    ),
    "half a byte": lambda: ({"x": tensor(0, 1, dtype="F4")}, b"1"),
    "negative offset": lambda: ({"x": tensor(-4, 0)}, b""),
    "overlap": lambda: ({"x": tensor(), "y": tensor()}, b"1234"),
    "gap": lambda: ({"x": tensor(), "y": tensor(8, 12)}, b"1" * 12),
    "data missing": lambda: ({"x": tensor()}, b"123"),
    "data left over": lambda: ({"x": tensor()}, b"12345"),
    "a name twice": lambda: (
        b'{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"x":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}',
        bytes(8),
    ),
    "a name twice, spelled differently": lambda: (
        b'{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},'
        b'"\\u0078":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}',
        bytes(8),
    ),
    "name no UTF-8": lambda: (b'{"\xff":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', b"1234"),
    "name with a line feed": lambda: (b'{"a\nb":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', b"1234"),
    "too many tensors": lambda: ({str(k): tensor(0, 0, shape=(0,)) for k in range(MOST_TENSORS + 1)}, b""),
    "names too long": lambda: (of_names(MOST_TENSORS, "雪" * 80), b""),
    "lists fill the header": lambda: (filled(b'{"x":[', b"[],", b"[]]}"), b""),
    "objects fill the header": lambda: (filled(b'{"x":[', b"{},", b"{}]}"), b""),
    "numbers fill the header": lambda: (filled(b'{"x":[', b"1000,", b"1000]}"), b""),
    "one name fills the header": lambda: (filled(b'{"', b"\xf0\x9f\x98\x80", b'":{}}'), b""),
    "nothing fills the header": lambda: (filled(b"{", b" ", b"}x"), b""),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_header_that_lies_gets_a_sentence(lie: str, tmp_path: Path) -> None:
    path = write(tmp_path / "liar.safetensors", *LIES[lie]())
    with pytest.raises(ModelFileError, match=r"^liar\.safetensors [^\n]{5,300}\.$"):
        read_header(path)


CHILD = """
import json, sys, time
from pathlib import Path
from backend.errors import ModelFileError
from backend.model_manager.header import read_header

def peak():
    status = Path("/proc/self/status")
    if status.exists():  # what a process has at most used since it began; ru_maxrss there also counts its parent's
        return 1024 * int(status.read_text().partition("VmHWM:")[2].split()[0])
    import resource
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

before, told = peak(), []
for path in map(Path, json.load(sys.stdin)):
    start = time.process_time()
    try:
        read_header(path)
        sentence = ""
    except ModelFileError as error:
        sentence = str(error)
    told.append((path.stem, 1000 * (time.process_time() - start), peak() - before, sentence))
print(json.dumps(told))
"""


def read_in_a_child(paths: list[Path]) -> list[tuple[str, float, int, str]]:
    """Each file's name, milliseconds of a processor, peak memory in bytes over the child's own until then, sentence."""
    listed = json.dumps([str(path) for path in paths])
    command = [sys.executable, "-c", CHILD]
    done = subprocess.run(command, cwd=ROOT, input=listed, capture_output=True, text=True, check=True)
    return [tuple(line) for line in json.loads(done.stdout)]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows tells no peak of a process' memory")
def test_no_lie_takes_more_than_64_megabytes(tmp_path: Path) -> None:
    """All of them in one process that does nothing else: the peak of its memory is the worst file's."""
    told = read_in_a_child([write(tmp_path / f"{lie}.safetensors", *make()) for lie, make in LIES.items()])
    for lie, milliseconds, growth, sentence in told:
        print(f"{lie:34} {milliseconds:7.1f} ms {growth / 2**20:6.1f} MiB  {sentence[:90]}")
    assert {lie for lie, *_ in told} == set(LIES)
    assert len(told) >= 30
    assert all(sentence for *_, sentence in told)
    assert max(growth for _, _, growth, _ in told) <= MOST_MEMORY


@pytest.mark.skipif(sys.platform == "win32", reason="Windows tells no peak of a process' memory")
def test_what_is_allowed_takes_no_more_either(tmp_path: Path) -> None:
    """A header of 16 MiB is at least read, so the measure sees it; the worst has as many tensors as there may be, with
    names as long as they may be, of letters that take four bytes each in memory."""
    blank = write(tmp_path / "blank.safetensors", filled(b"{", b" ", b"}"))
    worst = write(tmp_path / "worst.safetensors", of_names(MOST_TENSORS, "😀" + "x" * 110) + b" " * 2**22)
    told = read_in_a_child([blank, worst])
    for name, milliseconds, growth, _ in told:
        print(f"{name:34} {milliseconds:7.1f} ms {growth / 2**20:6.1f} MiB")
    assert [sentence for *_, sentence in told] == ["", ""]
    assert told[0][2] >= LARGEST_HEADER // 2
    assert told[1][2] <= MOST_MEMORY


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
    """Nothing but `ModelFileError` ever comes out, whatever bytes of the header are hit; what is read in spite of it is
    what a general JSON parser reads."""
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
            header = read_header(path)
        except ModelFileError:
            refused += 1
            continue
        (length_now,) = struct.unpack("<Q", damaged[:8])
        entries = json.loads(damaged[8 : 8 + length_now])
        entries.pop("__metadata__", None)
        assert {name: (list(info.shape), info.dtype) for name, info in header.tensors.items()} == {
            name: (entry["shape"], entry["dtype"]) for name, entry in entries.items()
        }
        assert all(header.offsets[name] == 8 + length_now + entry["data_offsets"][0] for name, entry in entries.items())
    # Most bytes of a header stand in names, where any letter will do; the others must not go unseen.
    assert refused > 10


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_one_tensor_is_read_without_the_others(dtype: torch.dtype, tmp_path: Path) -> None:
    path = tmp_path / "v.safetensors"
    wanted = torch.randn(3, 5).to(dtype)
    save_file({"a": torch.randn(7), "wanted": wanted, "z": torch.randn(2, 2).to(dtype)}, path)
    values = read_values(path, read_header(path), "wanted")
    assert values.dtype == np.float32
    assert torch.equal(torch.from_numpy(values), wanted.float())


def test_values_that_cannot_be_read_get_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "v.safetensors"
    save_file({"a": torch.zeros(3, dtype=torch.int32), "b": torch.zeros(4)}, path)
    header = read_header(path)
    with pytest.raises(KeyError):
        read_values(path, header, "c")
    with pytest.raises(KeyError):  # it was put together from elsewhere, so nobody knows where the tensor lies
        read_values(path, Header(header.tensors, {}), "b")
    with pytest.raises(ModelFileError, match="I32"):
        read_values(path, header, "a")
    large = Header({"b": TensorInfo("F32", (LARGEST_VALUES,), 4 * LARGEST_VALUES)}, {}, {"b": 8})
    with pytest.raises(ModelFileError, match="can be looked into"):
        read_values(path, large, "b")
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(ModelFileError, match="cut short since"):
        [read_values(path, header, key) for key in ("b", "a")]


def test_a_table_that_was_checked_once_is_not_checked_again_but_never_mistaken(tmp_path: Path) -> None:
    """Files that differ in their metadata, one of them with another padding; then the same table over other data."""
    tables = Tables()
    path = tmp_path / "a.safetensors"
    first = None
    for note in ("one", "another", ""):
        metadata = {"__metadata__": {"note": note}} if note else {}
        text = json.dumps({**metadata, "x": tensor(0, 4), "y": tensor(4, 8)}).encode() + b" " * len(note)
        write(path, text, b"12345678")
        header = read_header(path, tables=tables)
        assert header == read_header(path)
        assert header.offsets == {"x": 8 + len(text), "y": 12 + len(text)}
        first = first or header
        assert not note or header.tensors is first.tensors
    write(path, {"__metadata__": {"note": "one"}, "x": tensor(0, 4), "y": tensor(4, 8)}, b"1234567")
    with pytest.raises(ModelFileError, match="cut short"):
        read_header(path, tables=tables)
    write(path, {"__metadata__": {}, "x": tensor(0, 4), "y": tensor(4, 8), "__metadata__ ": {}}, b"12345678")
    with pytest.raises(ModelFileError):
        read_header(path, tables=tables)


def bare(**entries: object) -> bytes:
    """A header as safetensors itself spells it."""
    return json.dumps(entries, separators=(",", ":")).encode()


FOUR = {name: tensor(4 * place, 4 * place + 4) for place, name in enumerate("abcd")}
BARE_LIES = {
    "unknown type": bare(**FOUR | {"c": tensor(8, 12, dtype="F31")}),
    "half a byte": bare(**FOUR | {"c": tensor(8, 12, dtype="F4", shape=(3, 3))}),
    "shape larger than span": bare(**FOUR | {"c": tensor(8, 12, shape=(2,))}),
    "huge shape": bare(**FOUR | {"c": tensor(8, 12, shape=(2**40, 2**40))}),
    "too many sides": bare(**FOUR | {"c": tensor(8, 12, shape=(1,) * 9)}),
    "overlap": bare(**FOUR | {"c": tensor(4, 8)}),
    "gap": bare(**{name: entry for name, entry in FOUR.items() if name != "b"}),
    "ends before it begins": bare(**FOUR | {"c": tensor(12, 8)}),
    "data missing": bare(**FOUR, e=tensor(16, 20)),
    "data left over": bare(**{name: FOUR[name] for name in "abc"}),
    "no tensor": bare(**FOUR | {"c": 1}),
    "more in an entry": bare(**FOUR | {"c": {**tensor(8, 12), "more": 1}}),
    "metadata that are a tensor": bare(**FOUR | {"__metadata__": tensor(16, 16, shape=(0,))}),
    "a name twice": bare(**FOUR).replace(b'"c"', b'"b"'),
    "a side that begins with 0": bare(**FOUR | {"c": tensor(8, 12, shape=(11,))}).replace(b"[11]", b"[01]"),
    "a place that begins with 0": bare(**FOUR).replace(b"[4,8]", b"[04,8]"),
    "sides that end with a comma": bare(**FOUR | {"c": tensor(8, 12, shape=(1, 7))}).replace(b"[1,7]", b"[1,]"),
    "name no UTF-8": bare(**FOUR).replace(b'"c"', b'"\xff"'),
    "name with a line feed": bare(**FOUR).replace(b'"c"', b'"\n"'),
    "something between two entries": bare(**FOUR).replace(b',"c"', b',1,"c"'),
    "nothing between two entries": bare(**FOUR).replace(b',"c"', b'"c"'),
    "closed before its end": bare(**FOUR).replace(b',"c"', b'}"c"'),
    "not closed": bare(**FOUR)[:-1],
    "closed with a comma": bare(**FOUR)[:-1] + b",",
    "text after the end": bare(**FOUR) + b"1",
    "tensors after the end": b'{"__metadata__":{}}' + bare(**FOUR)[1:],
    "tensors after an empty header": b"{}" + bare(**FOUR)[1:],
}


@pytest.mark.parametrize("lie", BARE_LIES)
def test_what_is_read_at_once_is_checked_as_well_as_what_is_read_entry_by_entry(
    lie: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sentence is the same, since only what is all right is read at once; the truth of it all is read that way."""
    path = write(tmp_path / "liar.safetensors", bare(**FOUR), bytes(16))
    tables = Tables()
    true = read_header(path, tables=tables)
    write(path, BARE_LIES[lie], bytes(16))
    sentences = []
    for largest in (header_module.LARGEST_AT_ONCE, 0):
        monkeypatch.setattr(header_module, "LARGEST_AT_ONCE", largest)
        with pytest.raises(ModelFileError, match=r"^liar\.safetensors [^\n]{5,300}\.$") as caught:
            read_header(path, tables=tables)
        sentences.append(str(caught.value))
    assert sentences[0] == sentences[1]
    assert read_header(write(path, bare(**FOUR), bytes(16))) == true


def test_reading_at_once_and_entry_by_entry_give_the_same(
    tmp_path: Path, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.safetensors"
    tensors = {"grün": torch.zeros(3, 4, dtype=torch.float16), "b.c": torch.zeros(0, 2), "d": torch.zeros(())}
    save_file(tensors, path, metadata={"who": "me"})
    for file in (path, tiny_checkpoint):
        monkeypatch.undo()
        with monkeypatch.context() as patched:
            patched.setattr(header_module._Reading, "_add", None)  # what reads entry by entry
            at_once = read_header(file)
        monkeypatch.setattr(header_module, "LARGEST_AT_ONCE", 0)
        one_by_one = read_header(file)
        assert at_once == one_by_one
        assert list(at_once.tensors) == list(one_by_one.tensors)
        assert at_once.metadata == one_by_one.metadata


def test_tables_keep_what_was_asked_for_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensor_table, "MOST_KEPT", 5)
    tables = Tables()
    paths = [
        write(tmp_path / f"{k}.safetensors", bare(**{f"{k}.{n}": tensor(0, 0, shape=(0,)) for n in "ab"}))
        for k in range(3)
    ]

    def kept(place: int) -> bool:
        first, second = (read_header(paths[place], tables=tables).table for _ in range(2))
        assert first is second
        return first in seen

    seen = [read_header(paths[place], tables=tables).table for place in (0, 1, 0, 2)]
    assert [kept(0), kept(2), kept(1)] == [True, True, False]
    large = write(tmp_path / "large.safetensors", bare(**{f"{n}": tensor(0, 0, shape=(0,)) for n in range(6)}))
    assert read_header(large, tables=tables).table is not read_header(large, tables=tables).table
