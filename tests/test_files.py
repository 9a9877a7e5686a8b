import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from backend.files import create_atomically, sweep_partial, write_atomically

KILLS = 30

WRITER = """
import sys
from pathlib import Path
from PIL import Image
from backend.files import create_atomically
from backend.outputs import encode
picture = Image.effect_noise((256, 256), 80).convert("RGB")
data = encode(picture, "png", 90, "a boat", "{}")
number = 0
while True:
    create_atomically(Path(sys.argv[1]) / f"{number:05d}.png", data)
    print(number, flush=True)
    number += 1
"""


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "a.json"
    write_atomically(path, b"old")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]


def test_a_file_is_never_created_over_another(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    create_atomically(path, b"first")
    with pytest.raises(FileExistsError):
        create_atomically(path, b"second")
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]


def test_without_hard_links_it_still_never_replaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("no links on this file system")

    monkeypatch.setattr(os, "link", refuse)
    path = tmp_path / "a.png"
    create_atomically(path, b"first")
    with pytest.raises(FileExistsError):
        create_atomically(path, b"second")
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    """In a child of its own, because the limit on file sizes is the process's."""
    path = tmp_path / "a.json"
    path.write_bytes(b"old")
    script = (
        "import resource, signal, sys\nfrom pathlib import Path\nfrom backend.files import write_atomically\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try:\n    write_atomically(Path(sys.argv[1]), b'x' * 5000)\nexcept OSError as error:\n    print(error.errno)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip().isdigit()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_killed_at_any_moment_no_picture_is_cut_short(tmp_path: Path) -> None:
    """kill -9 while pictures are written: each that has a name is whole, and each that was acknowledged is there."""
    from PIL import Image

    for kill in range(KILLS):
        folder = tmp_path / str(kill)
        folder.mkdir()
        child = subprocess.Popen([sys.executable, "-c", WRITER, str(folder)], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        acknowledged = [child.stdout.readline() for _ in range(1 + kill % 5)]
        child.send_signal(signal.SIGKILL)
        acknowledged += child.stdout.readlines()
        child.wait()
        for path in folder.glob("*.png"):
            with Image.open(path) as picture:
                picture.load()
        assert {f"{int(line):05d}.png" for line in acknowledged if line.endswith("\n")} <= {
            path.name for path in folder.glob("*.png")
        }
        sweep_partial(folder)
        assert {path.suffix for path in folder.iterdir()} == {".png"}
