"""webui.sh, webui.bat, launch.py and .ci/run, in checkouts as small as they may be.

The small checkout is real: a virtual environment of its own, and pip installing real (if tiny) wheels from a folder.
"""

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

import launch

ROOT = Path(__file__).resolve().parent.parent
BASH = shutil.which("bash") or "bash"
AS_IS: Mapping[str, str] = MappingProxyType({})

PROJECT = """
[project]
name = "atelier"
version = "0"
dependencies = ["brush>=1"]
[project.optional-dependencies]
test = ["easel"]
xformers = ["xformers"]
[tool.ruff]
line-length = 120
lint.select = ["F"]
[tool.pyright]
include = ["webui.py", "sample.py"]
[tool.pytest.ini_options]
addopts = "-q -p no:cacheprovider"
testpaths = ["sample.py"]
python_files = ["sample.py"]
"""
PROGRAM = """\
import json
import os
import sys
from importlib.metadata import distributions

packages = {one.name: one.version for one in distributions()}
print(json.dumps({"flags": sys.argv[1:], "folder": os.path.abspath("."), "packages": packages}))
"""


@dataclass(frozen=True, kw_only=True)
class Checkout:
    """A folder with the launchers, a webui.py that says how it was called, and a folder of wheels for pip."""

    root: Path
    wheels: Path

    @property
    def note(self) -> Path:
        return self.root / ".venv" / launch.NOTE

    @property
    def packages(self) -> Path:
        return self.root / ".venv/lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"

    def webui(
        self, *flags: str, at: Path | None = None, env: Mapping[str, str] = MappingProxyType({})
    ) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "PYTHON", "TORCH_"))}
        given = {"PYTHON": sys.executable, "PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1"}
        return subprocess.run(
            [BASH, str(self.root / "webui.sh"), *flags],
            env=kept | given | {"PIP_FIND_LINKS": str(self.wheels)} | dict(env),
            cwd=at or self.root,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )

    def said(
        self, *flags: str, at: Path | None = None, env: Mapping[str, str] = MappingProxyType({})
    ) -> dict[str, object]:
        """What webui.py was given, having really started."""
        done = self.webui(*flags, at=at, env=env)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    def version(self, package: str) -> str | None:
        packages = self.said()["packages"]
        assert isinstance(packages, dict)
        return packages.get(package)

    def pin(self, text: str) -> None:
        (self.root / launch.VERSIONS).write_text(text)


def add_wheel(folder: Path, name: str, version: str) -> Path:
    path = folder / f"{name}-{version}-py3-none-any.whl"
    facts = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"{facts}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        wheel.writestr(
            f"{facts}/WHEEL", "Wheel-Version: 1.0\nGenerator: a test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{facts}/RECORD", "")
    return path


def bare(folder: Path) -> Checkout:
    """A checkout as git leaves it: nothing installed."""
    checkout = Checkout(root=folder / "a checkout", wheels=folder / "wheels")
    checkout.root.mkdir()
    checkout.wheels.mkdir()
    for name in ("webui.sh", "launch.py"):
        shutil.copy(ROOT / name, checkout.root)
    (checkout.root / launch.PROJECT).write_text(PROJECT)
    (checkout.root / "webui.py").write_text(PROGRAM)
    checkout.pin("brush==1.0\n")
    for name, version in (("brush", "1.0"), ("brush", "1.5"), ("easel", "3.0")):
        add_wheel(checkout.wheels, name, version)
    return checkout


class FirstStart(NamedTuple):
    """The checkout after it, what webui.py said, and the folder it was started from."""

    checkout: Checkout
    said: dict[str, object]
    folder: Path


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> FirstStart:
    """A first start from another folder, with flags that a careless launcher would break."""
    folder = tmp_path_factory.mktemp("launchers")
    checkout = bare(folder)
    return FirstStart(checkout, checkout.said("--port", "7", "a  b", "", "*", "--x=é", at=folder), folder)


@pytest.fixture
def checkout(first: FirstStart, tmp_path: Path) -> Checkout:
    """A copy of the checkout that was started once."""
    made = first.checkout
    shutil.copytree(made.root, tmp_path / made.root.name, symlinks=True)
    shutil.copytree(made.wheels, tmp_path / "wheels")
    return Checkout(root=tmp_path / made.root.name, wheels=tmp_path / "wheels")


def test_first_start_installs_the_tested_versions_and_hands_the_flags_on(
    first: FirstStart,
) -> None:
    assert first.said["flags"] == ["--port", "7", "a  b", "", "*", "--x=é"]
    assert first.said["folder"] == str(first.folder)
    packages = first.said["packages"]
    assert isinstance(packages, dict)
    assert packages["brush"] == "1.0"  # 1.5 is there, and in pyproject's range
    assert not {"atelier", "easel"} & set(packages)


def test_second_start_runs_no_pip_and_no_other_python(checkout: Checkout, tmp_path: Path) -> None:
    shutil.rmtree(checkout.packages / "pip")
    (tmp_path / "empty").mkdir()
    done = checkout.webui("--again", env={"PYTHON": "", "PATH": str(tmp_path / "empty")})
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1
    assert json.loads(done.stdout)["flags"] == ["--again"]


def test_a_changed_version_is_installed(checkout: Checkout) -> None:
    checkout.pin("brush==1.5\n")
    assert checkout.version("brush") == "1.5"


def test_a_new_dependency_is_installed(checkout: Checkout) -> None:
    project = checkout.root / launch.PROJECT
    project.write_text(project.read_text().replace('["brush>=1"]', '["brush>=1", "easel"]'))
    assert checkout.version("easel") == "3.0"


def test_a_failed_installation_starts_nothing_and_is_tried_again(checkout: Checkout) -> None:
    checkout.pin("brush==9.9\n")
    done = checkout.webui()
    assert done.returncode == 1
    assert "did not finish" in done.stderr
    assert '"flags"' not in done.stdout
    checkout.pin("brush==1.0\n")  # as before: yet nothing vouches for what pip may have left
    assert not checkout.note.exists()
    assert "installing" in checkout.webui().stdout
    assert checkout.note.exists()


@pytest.mark.parametrize("damage", ["no pip", "python gone"])
def test_a_half_made_environment_is_made_again(checkout: Checkout, damage: str) -> None:
    if damage == "no pip":
        checkout.note.unlink()
        shutil.rmtree(checkout.packages / "pip")
    else:
        python = checkout.root / ".venv/bin/python"
        python.unlink()
        python.symlink_to(checkout.root / "nowhere")
    assert checkout.version("brush") == "1.0"


def test_an_unreadable_note_counts_as_none(checkout: Checkout) -> None:
    checkout.note.write_text('{"files": ')
    assert "installing" in checkout.webui().stdout


def test_a_python_replaced_in_place_is_noticed(checkout: Checkout) -> None:
    note = json.loads(checkout.note.read_text())
    assert note["python"] == str((checkout.root / ".venv/bin/python").resolve())
    checkout.note.write_text(json.dumps(note | {"python": "/usr/bin/python3.10"}))
    assert "installing" in checkout.webui().stdout


def test_help_installs_nothing(tmp_path: Path) -> None:
    checkout = bare(tmp_path)
    assert checkout.said("--help")["flags"] == ["--help"]
    assert not (checkout.root / ".venv").exists()


def test_no_python_is_a_sentence(tmp_path: Path) -> None:
    checkout = bare(tmp_path)
    (tmp_path / "empty").mkdir()
    for env in ({"PYTHON": "/bin/false"}, {"PYTHON": "", "PATH": str(tmp_path / "empty")}):
        done = checkout.webui(env=env)
        assert (done.returncode, done.stdout) == (2, "")
        assert "Python 3.11 or newer" in done.stderr


def test_python_without_venv_is_a_sentence(tmp_path: Path) -> None:
    checkout = bare(tmp_path)
    (tmp_path / "ensurepip.py").write_text("raise ImportError")
    python = tmp_path / "python-of-debian"
    python.write_text(f'#!/bin/sh\nPYTHONPATH="{tmp_path}" exec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    done = checkout.webui(env={"PYTHON": str(python)})
    assert (done.returncode, done.stdout) == (2, "")
    assert "apt install python3-venv" in done.stderr


def test_xformers_is_installed_when_it_can_be_and_never_stands_in_the_way(checkout: Checkout) -> None:
    before = json.dumps(json.loads(checkout.note.read_text()) | {"extras": ["test"]})
    checkout.note.write_text(before)
    done = checkout.webui("--xformers")
    assert done.returncode == 0
    assert "starting without it" in done.stdout
    assert json.loads(done.stdout.splitlines()[-1])["flags"] == ["--xformers"]
    assert checkout.note.read_text() == before
    add_wheel(checkout.wheels, "xformers", "0.1")
    checkout.said("--xformers")
    assert checkout.version("xformers") == "0.1"
    assert len(checkout.webui("--xformers").stdout.splitlines()) == 1


def test_torch_index_url_brings_the_other_build(checkout: Checkout, tmp_path: Path) -> None:
    page = tmp_path / "index" / "brush" / "index.html"
    page.parent.mkdir(parents=True)
    wheel = add_wheel(page.parent, "brush", "1.5+cu1")
    page.write_text(f'<a href="{wheel.name}">{wheel.name}</a>')
    checkout.pin("brush==1.5\n")
    (tmp_path / "nothing").mkdir()
    pages = {"PIP_INDEX_URL": (tmp_path / "nothing").as_uri(), "TORCH_INDEX_URL": (tmp_path / "index").as_uri()}
    checkout.said(env=pages | {"PIP_NO_INDEX": "0"})
    assert checkout.version("brush") == "1.5+cu1"


SAMPLES = {
    "": "def test_it() -> None:\n    assert True\n",
    "ruff": "import os\n\n\ndef test_it() -> None:\n    assert True\n",
    "ruff format": "def test_it() -> None:\n    assert  True\n",
    "pyright": 'def test_it() -> None:\n    number: int = "one"\n    assert number\n',
    "pytest": "def test_it() -> None:\n    assert not True\n",
}


@pytest.fixture
def checked(checkout: Checkout) -> Checkout:
    """With the real ruff, pyright and pytest of the environment that runs this test."""
    (checkout.packages / "outer.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return checkout


@pytest.mark.parametrize("wrong", SAMPLES)
def test_the_test_command_runs_everything_and_fails_for_each(checked: Checkout, wrong: str) -> None:
    (checked.root / "sample.py").write_text(SAMPLES[wrong])
    done = checked.webui("test")
    assert done.returncode == int(wrong != "")
    *_, summary, closing = done.stdout.splitlines()
    names = [*launch.CHECKS, "pytest"]
    assert summary == ", ".join(f"{name} {'FAILED' if name == wrong else 'ok'}" for name in names), done.stdout
    assert re.fullmatch(rf"1 {'failed' if wrong == 'pytest' else 'passed'} in [\d.]+s", closing)
    assert json.loads(checked.note.read_text())["extras"] == ["test"]


def test_the_test_command_hands_arguments_to_pytest(checked: Checkout) -> None:
    (checked.root / "sample.py").write_text(SAMPLES[""])
    done = checked.webui("test", "-k", "nothing")
    assert done.returncode == pytest.ExitCode.NO_TESTS_COLLECTED
    assert done.stdout.splitlines()[-1].startswith("1 deselected")


# --- the project's own papers ---


@pytest.fixture(scope="module")
def pins() -> dict[str, Version]:
    lines = (ROOT / launch.VERSIONS).read_text().splitlines()
    matches = [re.fullmatch(r"([\w.-]+)==([\w.+]+)", line) for line in lines if not line.startswith("#")]
    assert all(matches)  # nothing but exact versions: no option, no address
    return {match[1].lower().replace("_", "-"): Version(match[2]) for match in matches if match}


def test_what_the_project_asks_for_is_pinned_within_its_ranges(pins: dict[str, Version]) -> None:
    for line in launch.requirements(ROOT / launch.PROJECT, ["test", "xformers"]):
        requirement = Requirement(line)
        assert requirement.url is None
        assert requirement.specifier.contains(pins[requirement.name.lower()]), line


def test_these_tests_run_with_the_tested_versions(pins: dict[str, Version]) -> None:
    names = [Requirement(line).name for line in launch.requirements(ROOT / launch.PROJECT, ["test"])]
    found = {name: Version(importlib.metadata.version(name)).public for name in names}
    assert found == {name: pins[name.lower()].public for name in names}


def test_the_batch_file_jumps_only_to_labels_it_has(pins: dict[str, Version]) -> None:
    data = (ROOT / "webui.bat").read_bytes()
    assert data.count(b"\r\n") == data.count(b"\n") > 0
    text = data.decode("ascii")
    labels = set(re.findall(r"^:(\w+)\r?$", text, re.MULTILINE))
    assert labels == set(re.findall(r"(?:goto |call :)(\w+)", text))
    # cmd.exe takes one file for all of these; the name of PyTorch's index follows the CUDA of the pinned build.
    cuda = pins["nvidia-cuda-runtime"]
    assert re.findall(r"/whl/(\w+)", text) == [f"cu{cuda.major}{cuda.minor}"]


# --- .ci/run ---


@pytest.mark.parametrize("status", [0, 3])
def test_ci_ends_with_the_closing_line_and_the_status_of_the_test_command(tmp_path: Path, status: int) -> None:
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci/run", tmp_path / ".ci")
    (tmp_path / "webui.sh").write_text(f"echo called with $1\necho '2 passed in 1s'\nexit {status}\n")
    browser = tmp_path / "chromium"
    browser.touch(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [BASH, ".ci/run"], cwd=tmp_path, env=os.environ | {"PATH": path}, capture_output=True, text=True
    )
    assert done.returncode == status
    assert done.stdout.startswith("called with test\n")
    assert done.stdout.splitlines()[-1] == "2 passed in 1s"
