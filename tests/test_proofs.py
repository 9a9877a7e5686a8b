"""The slow proofs' table, on a small git checkout with proofs of its own."""

import re
import subprocess
from pathlib import Path

import pytest

from tests import proofs

PROOFS = """
import pytest, time

@pytest.mark.slow
@pytest.mark.parametrize("number", [1, 2])
def test_holds(number): assert number

@pytest.mark.slow
def test_fails(): assert not True

def test_quick(): pass
"""


@pytest.fixture
def proven(tmp_path: Path) -> Path:
    """A git checkout with one proof that holds and one that fails."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "docs").mkdir()
    (tmp_path / "tests/test_p.py").write_text(PROOFS)
    (tmp_path / "pyproject.toml").write_text("[tool.pytest.ini_options]\nmarkers = ['slow: long']\n")
    (tmp_path / ".gitignore").write_text("__pycache__\n.pytest_cache\n")
    (tmp_path / proofs.TABLE).write_text(proofs.write({"tests/test_p.py::test_fails": "0a1b2c3 (2026-01-31)"}))
    who = ["-c", "user.name=t", "-c", "user.email=t@localhost", "-c", "commit.gpgsign=false"]
    for command in (["init", "-q"], ["add", "."], [*who, "commit", "-q", "-m", "start"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    return tmp_path


def rows(output: str) -> dict[str, tuple[str, str]]:
    """The printed table: proof -> this run, last green commit."""
    cells = [[cell.strip() for cell in line.split(" | ")] for line in output.splitlines() if " | " in line]
    return {proof: (run, green) for proof, run, green in cells[1:]}


def test_proofs_name_what_held_and_where(proven: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert proofs.main(["--record"], proven) == 1
    here = proofs.head(proven)
    assert re.fullmatch(r"[0-9a-f]{7,} \(\d{4}-\d\d-\d\d\)", here)
    output = capsys.readouterr().out
    assert rows(output) == {
        "tests/test_p.py::test_holds": ("held", here),
        "tests/test_p.py::test_fails": ("FAILED", "0a1b2c3 (2026-01-31)"),
    }
    assert output.index("== tests/test_p.py::test_holds") < output.index("== tests/test_p.py::test_fails")
    written = proofs.read((proven / proofs.TABLE).read_text())
    assert written == {proof: green for proof, (_, green) in rows(output).items()}


def test_proofs_are_not_recorded_for_what_no_commit_holds(proven: Path) -> None:
    before = (proven / proofs.TABLE).read_text()
    with (proven / "tests/test_p.py").open("a") as file:
        file.write("# changed\n")
    assert proofs.main(["--record"], proven) == 2
    assert (proven / proofs.TABLE).read_text() == before


def test_a_proof_without_time_is_said_to_be_unproven(proven: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert proofs.main(["--no-start-after", "-5"], proven) == 0
    assert {run for run, _ in rows(capsys.readouterr().out).values()} == {"not run"}
    (proven / "tests/test_p.py").write_text("import pytest, time\n@pytest.mark.slow\ndef test_z(): time.sleep(3600)\n")
    assert proofs.main(["--seconds", "2"], proven) == 0
    assert rows(capsys.readouterr().out) == {"tests/test_p.py::test_z": ("STOPPED (no time left)", "never")}


def test_proofs_that_cannot_be_collected_fail(proven: Path) -> None:
    (proven / "tests/test_p.py").write_text("import nothing_of_this_name\n")
    assert proofs.main([], proven) == 1
