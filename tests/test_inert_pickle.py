import collections
import json
import mmap
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from backend.model_manager.conversion.inert_pickle import Inert
from backend.model_manager.conversion.torch_archive import Archive, StoredTensor, read_archive
from backend.paths import ROOT
from tests import pickles
from tests.pickles import Canary, lies, payloads, state_dict, write_hostile

MIB = 1024 * 1024

# In a process of its own: an audit hook stays for good, and memory is the process's.
READER = """
import json, mmap, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from backend.errors import AtelierError
from backend.model_manager.conversion.torch_archive import read_archive
def verdict(path):
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as mapped:
        try:
            return ["read", sorted(read_archive(Path(path), mapped).foreign)]
        except AtelierError as error:
            return ["refused", str(error)]
def most():
    return 1024 * int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
files = json.loads(Path(sys.argv[2]).read_text())
verdict(files["os.system"])  # so that Python has imported what it imports late
seen, before = [], most()
def hook(event, arguments):
    if event.startswith(("os.", "subprocess.", "socket.", "pickle.", "ctypes.", "import", "exec", "compile")):
        seen.append(event)
sys.addaudithook(hook)
verdicts = {kind: verdict(path) for kind, path in files.items()}
peak = most() - before
print(json.dumps({"verdicts": verdicts, "seen": seen, "peak": peak, "modules": sorted(sys.modules)}))
"""


def read(path: Path) -> Archive:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        return read_archive(path, mapped)


@pytest.fixture(scope="module")
def canary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Canary, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield Canary(file=tmp_path_factory.mktemp("canary") / "sang", port=server.getsockname()[1]), server


@pytest.fixture(scope="module")
def outcome(canary: tuple[Canary, socket.socket], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What became of every hostile file, read one after the other in one process."""
    folder = tmp_path_factory.mktemp("hostile")
    files = {kind: str(path) for kind, path in write_hostile(folder, canary[0]).items()}
    listing = folder / "files.json"
    listing.write_text(json.dumps(files))
    done = subprocess.run(
        [sys.executable, "-I", "-c", READER, str(ROOT), str(listing)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_nothing_in_a_hostile_file_runs(outcome: dict[str, Any], canary: tuple[Canary, socket.socket]) -> None:
    """No file, no connection, and not one event of a kind that running something would cause."""
    assert outcome["seen"] == []
    assert not canary[0].file.exists()
    canary[1].settimeout(0.2)
    with pytest.raises(TimeoutError):
        canary[1].accept()
    assert "torch" not in outcome["modules"]


def test_the_payloads_are_live(tmp_path: Path) -> None:
    """Otherwise nothing would run because there is nothing to run: two of them, given to Python's own reader."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        canary = Canary(file=tmp_path / "sang", port=server.getsockname()[1])
        for kind in ("os.system", "builtins.exec"):
            pickle = pickles.PROTO + payloads(canary)[kind] + pickles.STOP
            script = "import pickle, sys; pickle.loads(sys.stdin.buffer.read())"
            subprocess.run([sys.executable, "-c", script], input=pickle, check=True)
        assert canary.file.exists()
        server.settimeout(10)
        server.accept()[0].close()


def test_what_a_payload_names_stays_a_name(outcome: dict[str, Any], canary: tuple[Canary, socket.socket]) -> None:
    inert = {kind: names for kind, (verdict, names) in outcome["verdicts"].items() if verdict == "read"}
    assert inert["os.system"] == ["os.system"]
    assert inert["pkgutil.resolve_name"] == ["pkgutil.resolve_name"]
    assert inert["INST"] == inert["OBJ"] == inert["NEWOBJ"] == inert["STACK_GLOBAL"] == ["os.system"]
    assert inert["EXT"] == ["extension 1"]
    # The others are refused for what they make of tensors; none is lost on the way.
    assert set(payloads(canary[0])) <= set(outcome["verdicts"])


def test_every_lie_gets_the_end_of_a_sentence(outcome: dict[str, Any]) -> None:
    read_well = {kind for kind, (verdict, _) in outcome["verdicts"].items() if verdict == "read"}
    # These are odd and no lie: what makes no tensors of them is decided later.
    harmless = {
        *("a step of a million bits", "lists in lists", "a dict in itself", "no tensors"),
        *("a tensor called metadata", "expanded to terabytes", "huge FRAME"),
    }
    assert set(lies()) & read_well == harmless
    # Names of records are looked up and never used as paths.
    assert set(pickles.CONTAINERS) & read_well == {"a way out", "an absolute name"}
    for verdict, words in outcome["verdicts"].values():
        if verdict == "refused":
            assert words.startswith(("is ", "was ", "has ", "holds "))
            assert words.endswith(".")
            assert len(words) < 200
            assert words.isprintable()


def test_memory_stays_small(outcome: dict[str, Any]) -> None:
    """Some of them ask for 2^62 bytes."""
    assert outcome["peak"] < 300 * MIB


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("zipped", [True, False])
def test_values_are_what_was_saved(protocol: int, zipped: bool, tmp_path: Path) -> None:
    shared = ["twice"]
    saved = {
        "text": "Zürich", "long": "x" * 70_000, "bytes": b"\0\xff", 7: "number as key", ("a", 1): "two",
        "numbers": [0, -1, 255, 65_536, -(2**40), 2**80, 0.5], "none": None, "flags": (True, False),
        "nested": {"a": {"b": [(), [], {}, (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)]}},
        "shared": [shared, shared], "ordered": collections.OrderedDict(x=1, y=2),
    }  # fmt: skip
    path = tmp_path / "a.pt"
    torch.save(saved, path, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    archive = read(path)
    bytes_of_protocol_2 = isinstance(archive.root["bytes"], Inert)  # it had to say bytes by encoding a text
    assert bytes_of_protocol_2 == (protocol == 2)
    assert archive.root | {"bytes": saved["bytes"]} == saved
    assert archive.root["shared"][0] is archive.root["shared"][1]
    assert archive.foreign == (frozenset({"_codecs.encode"}) if protocol == 2 else frozenset())


@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_are_found_where_they_lie(zipped: bool, tmp_path: Path) -> None:
    saved = state_dict()
    path = tmp_path / "a.pt"
    torch.save(saved, path, _use_new_zipfile_serialization=zipped)
    archive, data = read(path), path.read_bytes()
    for name, tensor in saved.items():
        found = archive.root[name]
        assert isinstance(found, StoredTensor)
        assert (found.shape, found.strides) == (tuple(tensor.shape), tuple(tensor.stride()))
        if tensor.dtype == torch.float32:
            floats = np.frombuffer(data, "<f4", count=found.reach, offset=archive.position(found))
            strides = [4 * stride for stride in found.strides]
            values = np.lib.stride_tricks.as_strided(floats, found.shape, strides)
            assert np.array_equal(values, tensor.numpy())
    assert archive.root["model.tied"].storage == archive.root["model.weight"].storage


def test_types_without_a_storage_class_of_their_own_are_known(tmp_path: Path) -> None:
    saved = {"a": torch.ones(3).to(torch.float8_e4m3fn), "b": torch.ones(2, dtype=torch.uint16)}
    torch.save(saved, tmp_path / "a.pt")
    assert {name: tensor.dtype for name, tensor in read(tmp_path / "a.pt").root.items()} == {"a": "F8_E4M3", "b": "U16"}
