"""A data folder is held by one process, for as long as that lives."""

import subprocess
import sys
from pathlib import Path

import pytest

from backend.claim import claim
from backend.errors import UserError
from backend.paths import ROOT

HOLD = "import sys, time; from pathlib import Path; from backend.claim import claim; held = claim(Path(sys.argv[1])); "


def test_a_second_one_is_told_who_is_there(tmp_path: Path) -> None:
    first = claim(tmp_path / "data")
    with pytest.raises(UserError, match=r"Another Atelier works in .*data already"):
        claim(tmp_path / "data")
    claim(tmp_path / "other").close()
    first.close()
    claim(tmp_path / "data").close()


def test_a_killed_process_lets_go(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD + "print('held', flush=True); time.sleep(600)", str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(UserError):
        claim(tmp_path)
    holder.kill()
    holder.wait()
    claim(tmp_path).close()


def test_a_folder_that_cannot_be_made_is_no_other_atelier(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError):
        claim(tmp_path / "file" / "data")
