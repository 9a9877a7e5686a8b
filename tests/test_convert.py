import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from backend.errors import Cancelled, ModelFileError
from backend.files import PARTIAL, sweep_partial
from backend.model_manager.conversion.convert import ConversionReport, convert, limits_for
from backend.model_manager.header import read_header
from backend.paths import ROOT
from tests import pickles
from tests.pickles import Canary, state_dict, write_hostile

MIB = 1024 * 1024
# What `test_inert_pickle` reads in full, here one of each kind, and those that want memory, time or room.
CHOSEN = (
    *(
        "os.system",
        "posix.system",
        "builtins.eval",
        "builtins.exec",
        "subprocess.Popen",
        "socket",
        "pkgutil.resolve_name",
    ),
    *("INST", "OBJ", "NEWOBJ", "EXT", "BUILD", "persistent id", "class of a storage", "maker of a tensor"),
    *("beside a state dict", "inside a state dict", "beside a state dict, legacy", "expanded to terabytes"),
    *("storage too long, legacy", "three million lists", "a key without end", "a step of a million bits"),
    *("a compressed archive", "a 7z archive", "a tensor called metadata"),
)

# A process converts many, so that the memory of its children is theirs alone.
CONVERTER = """
import json, resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from backend.errors import ModelFileError
from backend.model_manager.conversion.convert import convert
verdicts, peaks = {}, {}
for kind, path in json.loads(Path(sys.argv[2]).read_text()).items():
    target = Path(path).with_suffix(".safetensors")
    try:
        report = convert(Path(path), target, progress=lambda fraction, doing: None, cancelled=lambda: False)
        verdicts[kind] = ["converted", list(report.inert), report.tensors]
    except ModelFileError as error:
        verdicts[kind] = ["refused", str(error), target.exists()]
    peaks[kind] = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
print(json.dumps({"verdicts": verdicts, "peaks": peaks}))
"""


def run(source: Path, target: Path | None = None, **options: Any) -> ConversionReport:
    target = target or source.with_suffix(".safetensors")
    options = {"progress": lambda *_: None, "cancelled": lambda: False} | options
    return convert(source, target, **options)


def assert_equal_to_the_bit(path: Path, tensors: Mapping[str, Tensor]) -> None:
    converted = load_file(path)
    assert converted.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert converted[name].dtype == tensor.dtype
        assert converted[name].shape == tensor.shape
        mine, theirs = (t.contiguous().reshape(-1).view(torch.uint8) for t in (converted[name], tensor))
        assert torch.equal(mine, theirs), name


LAYOUTS: dict[str, tuple[Callable[[Path, Mapping[str, Tensor]], None], str]] = {
    "plain": (pickles.write_plain, "torch"),
    "legacy": (pickles.write_legacy, "inert"),
    "lightning": (pickles.write_lightning, "inert"),
    "legacy lightning": (lambda path, tensors: pickles.write_lightning(path, tensors, legacy=True), "inert"),
    "bare state dict": (lambda path, tensors: torch.save(dict(tensors), path), "torch"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_tensors_come_out_equal_to_the_bit(layout: str, tmp_path: Path) -> None:
    tensors = state_dict()
    tensors["model.odd"] = torch.tensor([0x7FC12345, 0x7F800001, 0xFF800000]).to(torch.int32).view(torch.float32)
    source = tmp_path / "model.ckpt"
    write, reader = LAYOUTS[layout]
    write(source, tensors)
    report = run(source)
    assert_equal_to_the_bit(report.target, tensors)
    assert (report.reader, report.tensors) == (reader, len(tensors))
    assert report.size == report.target.stat().st_size
    said = read_header(report.target).metadata
    assert said["converted_from"] == f"model.ckpt, sha256 {report.sha256}"
    if layout != "bare state dict":
        assert (said["global_step"], said["epoch"]) == ("470000", "11")
    if "lightning" in layout:
        assert "pytorch_lightning.callbacks.AttributeDict" in report.inert
        assert any(name.startswith("numpy.") for name in report.inert)
    assert {path.suffix for path in tmp_path.iterdir()} == {".ckpt", ".safetensors"}


@pytest.mark.parametrize("as_module", [False, True])
def test_a_textual_inversion_becomes_what_loaders_expect(as_module: bool, tmp_path: Path) -> None:
    embedding = torch.randn(3, 768)
    pickles.write_textual_inversion(tmp_path / "my style.pt", embedding, as_module=as_module)
    report = run(tmp_path / "my style.pt")
    assert_equal_to_the_bit(report.target, {"emb_params": embedding})
    said = read_header(report.target).metadata
    assert (said["name"], said["step"]) == ("my style", "999")
    assert report.reader == ("inert" if as_module else "torch")


def test_an_upscaler_gives_its_averaged_weights(tmp_path: Path) -> None:
    averaged, last = state_dict(1), state_dict(2)
    pickles.write_upscaler(tmp_path / "4x.pth", averaged, last)
    report = run(tmp_path / "4x.pth")
    assert_equal_to_the_bit(report.target, averaged)
    assert report.dropped == ("params",)


def test_progress_only_grows_and_ends_at_one(tmp_path: Path) -> None:
    pickles.write_plain(tmp_path / "a.ckpt", {"w": torch.zeros(20 * MIB)})
    seen: list[tuple[float, str]] = []
    run(tmp_path / "a.ckpt", progress=lambda fraction, doing: seen.append((fraction, doing)))
    fractions = [fraction for fraction, _ in seen]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    assert [doing for k, (_, doing) in enumerate(seen) if k == 0 or doing != seen[k - 1][1]] == ["reading", "writing"]


# Hostile files


@pytest.fixture(scope="module")
def canary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Canary, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield Canary(file=tmp_path_factory.mktemp("canary") / "sang", port=server.getsockname()[1]), server


@pytest.fixture(scope="module")
def outcome(canary: tuple[Canary, socket.socket], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("hostile")
    files = write_hostile(folder, canary[0])
    pickles.write_plain(folder / "honest.ckpt", state_dict())
    chosen = {"honest": str(folder / "honest.ckpt")} | {kind: str(files[kind]) for kind in CHOSEN}

    def converted(half: int) -> dict[str, Any]:
        listing = folder / f"files-{half}.txt"
        listing.write_text(json.dumps(dict(list(chosen.items())[half::2])))
        command = [sys.executable, "-I", "-c", CONVERTER, str(ROOT), str(listing)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    with ThreadPoolExecutor() as pool:  # each child mostly imports torch, so two at once take half the time
        one, other = pool.map(converted, range(2))
    return {key: one[key] | other[key] for key in one} | {"folder": folder}


def test_nothing_in_a_hostile_file_runs(outcome: dict[str, Any], canary: tuple[Canary, socket.socket]) -> None:
    """The canary is silent, and the child's audit hook, whose findings would be the sentence, found nothing."""
    assert set(CHOSEN) < outcome["verdicts"].keys()
    assert not canary[0].file.exists()
    canary[1].settimeout(0.2)
    with pytest.raises(TimeoutError):
        canary[1].accept()
    assert not [words for verdict, words, _ in outcome["verdicts"].values() if "tried to get out" in words]


def test_a_hostile_file_is_refused_in_a_sentence_or_gives_its_tensors(outcome: dict[str, Any]) -> None:
    converted = {kind: words for kind, (verdict, words, _) in outcome["verdicts"].items() if verdict == "converted"}
    assert converted == {
        "honest": [],
        "beside a state dict": ["os.system"],
        "beside a state dict, legacy": ["os.system"],
        "inside a state dict": ["os.system"],
        "a step of a million bits": [],
    }
    for kind, (verdict, words, left) in outcome["verdicts"].items():
        if verdict == "refused":
            assert words.startswith(("hostile-", "The file would have")), kind
            assert words.endswith(".")
            assert words.isprintable()
            assert len(words) < 250
            assert not left
    assert not list(outcome["folder"].glob(f".*{PARTIAL}"))


def test_a_hostile_file_gets_no_more_memory_than_an_honest_one(outcome: dict[str, Any]) -> None:
    """Beyond what torch itself takes; among them are files of a few bytes that ask for terabytes."""
    assert max(outcome["peaks"].values()) - outcome["peaks"]["honest"] < 256 * MIB


BROKEN_READER = """
import os, sys
sys.path.insert(0, sys.argv.pop(1))
from backend.model_manager.conversion import unpickling
def careless(path, mapped):
    os.system("true")
unpickling.read_archive = careless
unpickling.main()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="the locks of Linux are tried here too")
def test_a_reader_that_ran_something_would_be_found_out(tmp_path: Path) -> None:
    """No file makes ours do so; a reader that does on its own shows that the child would say it."""
    from backend.model_manager.conversion.unpickling import task

    source, partial = tmp_path / "a.ckpt", tmp_path / "a.partial"
    pickles.write_plain(source, state_dict())
    partial.touch()
    argument = task(source, partial, limits_for(source.stat().st_size))
    done = subprocess.run(
        [sys.executable, "-I", "-c", BROKEN_READER, str(ROOT), argument], capture_output=True, text=True, check=True
    )
    said = [json.loads(line) for line in done.stdout.splitlines() if line]
    assert said[-1]["kind"] == "refused"
    assert "tried to get out while it was read (os.system)" in said[-1]["sentence"]


def test_the_sources_of_this_process_never_open_a_pickle(tmp_path: Path) -> None:
    """An audit of this side while a conversion runs: the source is opened by nobody here."""
    pickles.write_plain(tmp_path / "a.ckpt", state_dict())
    opened: list[str] = []
    listening = True

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if listening and (event == "pickle.find_class" or (event == "open" and str(arguments[0]).endswith(".ckpt"))):
            opened.append(event)

    sys.addaudithook(hook)
    run(tmp_path / "a.ckpt")
    listening = False
    assert opened == []


# What can go wrong


def test_nothing_is_replaced(tmp_path: Path) -> None:
    pickles.write_plain(tmp_path / "a.ckpt", state_dict())
    (tmp_path / "a.safetensors").write_bytes(b"mine")
    with pytest.raises(ModelFileError, match=r"^There is a file a\.safetensors already"):
        run(tmp_path / "a.ckpt")
    assert (tmp_path / "a.safetensors").read_bytes() == b"mine"


def test_a_name_that_is_taken_meanwhile_stays_the_others(tmp_path: Path) -> None:
    pickles.write_plain(tmp_path / "a.ckpt", state_dict())
    target = tmp_path / "a.safetensors"
    with pytest.raises(ModelFileError, match=r"^There is a file a\.safetensors already"):
        run(tmp_path / "a.ckpt", progress=lambda *_: pickles.void(target.write_bytes(b"mine")))
    assert target.read_bytes() == b"mine"
    assert not list(tmp_path.glob(f".*{PARTIAL}"))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (pickles.void, "cannot be read"),
        (lambda path: path.touch(), "is empty"),
        (lambda path: path.mkdir(), "is no file"),
        (lambda path: os.mkfifo(path), "is no file"),
    ],
    ids=["missing", "empty", "a folder", "a pipe"],
)
def test_what_is_no_file_gets_a_sentence(make: Callable[[Path], None], words: str, tmp_path: Path) -> None:
    make(tmp_path / "a.ckpt")
    with pytest.raises(ModelFileError, match=rf"^a\.ckpt {words}.*\.$"):
        run(tmp_path / "a.ckpt")


def test_a_file_that_is_too_large_gets_a_sentence(tmp_path: Path) -> None:
    with (tmp_path / "a.ckpt").open("wb") as file:
        file.truncate(65 * 1024 * MIB)  # a hole: it takes no room
    with pytest.raises(ModelFileError, match=r"^a\.ckpt is too large to be converted: 69\.8 GB, where 68\.7 GB"):
        run(tmp_path / "a.ckpt")


def test_cancelling_ends_the_child_and_leaves_nothing(tmp_path: Path) -> None:
    pickles.write_plain(tmp_path / "a.ckpt", state_dict())
    seen: list[float] = []
    with pytest.raises(Cancelled, match="nothing was written"):
        run(tmp_path / "a.ckpt", progress=lambda fraction, _: seen.append(fraction), cancelled=lambda: bool(seen))
    assert [path.name for path in tmp_path.iterdir()] == ["a.ckpt"]
    assert not _children()


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ({"seconds": -1}, "reading it took more than the -1 s that it may"),
        ({"memory": 16 * MIB}, "asks for more memory than a file of its size may"),
        ({"output": 1000}, "there is no room left for the result"),
    ],
    ids=["seconds", "memory", "output"],
)
def test_a_child_that_reaches_its_limits_gets_a_sentence(what: dict[str, int], words: str, tmp_path: Path) -> None:
    """Less than no time: as if all that it has were used up when the file is opened."""
    pickles.write_plain(tmp_path / "a.ckpt", {"w": torch.zeros(32 * MIB).reshape(4096, -1).t()})
    limits = replace(limits_for((tmp_path / "a.ckpt").stat().st_size), **what)
    with pytest.raises(ModelFileError, match=rf"^a\.ckpt cannot be converted: .*{words}"):
        run(tmp_path / "a.ckpt", limits=limits)
    assert [path.name for path in tmp_path.iterdir()] == ["a.ckpt"]


@pytest.mark.parametrize(
    ("how", "words"), [(signal.SIGSEGV, r"crashed \(SIGSEGV\)"), (signal.SIGKILL, "the system ended the reading")]
)
def test_a_child_that_dies_gets_a_sentence(how: signal.Signals, words: str, tmp_path: Path) -> None:
    pickles.write_plain(tmp_path / "a.ckpt", {"w": torch.zeros(64 * MIB)})

    def kill(*_: object) -> None:
        for child in _children():
            child.send_signal(how)

    with pytest.raises(ModelFileError, match=rf"^a\.ckpt cannot be converted: .*{words}"):
        run(tmp_path / "a.ckpt", progress=kill)
    assert [path.name for path in tmp_path.iterdir()] == ["a.ckpt"]


STARTS_ONE = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from backend.model_manager.conversion.convert import convert
source = Path(sys.argv[2])
def show(*told):
    print(*told, flush=True)
convert(source, source.with_suffix(".safetensors"), progress=show, cancelled=lambda: False)
"""


def test_killed_at_any_moment_nothing_has_the_name(tmp_path: Path) -> None:
    """kill -9 of our side: the child ends too, and what it left is swept when Atelier starts again."""
    source = tmp_path / "a.ckpt"
    pickles.write_plain(source, {"w": torch.zeros(64 * MIB)})
    for lines in (1, 12, 20):
        parent = subprocess.Popen(
            [sys.executable, "-c", STARTS_ONE, str(ROOT), str(source)], stdout=subprocess.PIPE, text=True
        )
        assert parent.stdout is not None
        for _ in range(lines):
            assert parent.stdout.readline()
        children = psutil.Process(parent.pid).children()
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        parent.stdout.close()
        psutil.wait_procs(children, timeout=30)
        assert not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children)
        assert not source.with_suffix(".safetensors").exists()
        sweep_partial(tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ["a.ckpt"]


def _children() -> list[psutil.Process]:
    """Processes of ours that read pickles now."""
    return [child for child in psutil.Process().children() if "unpickling" in " ".join(child.cmdline())]
