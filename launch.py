"""Prepare ``.venv`` and start Atelier in it, or prove that Atelier works: what webui.sh and webui.bat call.

    launch.py [flags of webui.py]
    launch.py test [arguments of pytest]

Runs with any Python 3.11 or newer and needs nothing installed. pip installs what ``pyproject.toml`` asks for, at the
versions of ``tested-versions.txt``; Atelier itself is not installed but run where it lies. What was installed is noted
in ``.venv``, so that the next start runs no pip and needs no network. ``TORCH_INDEX_URL`` names one more package
index, for another build of PyTorch.
"""

import hashlib
import json
import os
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

PROJECT = "pyproject.toml"
VERSIONS = "tested-versions.txt"
NOTE = "atelier-installed.json"
OPTIONAL = {"--xformers": "xformers"}
"""Flags of webui.py that ask for an extra; without it the flag still starts, and webui.py says what is missing."""

# A whole run takes two processes, each with whole files and one thread of PyTorch's: half the time on two cores.
WHOLE_RUN = ("-n", "2", "--dist", "loadfile", "--no-loadscope-reorder")
ONE_THREAD = {"OMP_NUM_THREADS": "1"}
CHECKS = {
    "ruff": ["-m", "ruff", "check", "."],
    "ruff format": ["-m", "ruff", "format", "--check", "."],
    "pyright": ["-m", "pyright"],
}


class LaunchFailed(Exception):
    """What stands in the way, as a sentence for the person who started Atelier."""


@dataclass(frozen=True, kw_only=True)
class Installed:
    """What an environment holds: written when an installation has succeeded, compared at every start."""

    files: str
    python: str
    extras: list[str]


@dataclass(frozen=True, kw_only=True)
class Environment:
    """The checkout and the virtual environment in it."""

    root: Path

    @property
    def folder(self) -> Path:
        return self.root / ".venv"

    @property
    def python(self) -> Path:
        return self.folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

    @property
    def note(self) -> Path:
        return self.folder / NOTE

    def wanted(self, extras: Iterable[str]) -> Installed:
        """What a finished installation would have noted; the real path notices a Python that was replaced in place."""
        digest = hashlib.sha256()
        for name in (PROJECT, VERSIONS):
            digest.update((self.root / name).read_bytes() + b"\0")
        return Installed(files=digest.hexdigest(), python=str(self.python.resolve()), extras=sorted(extras))

    def installed(self) -> Installed | None:
        """The note of the last finished installation, or None where there is none that can be read."""
        try:
            return Installed(**json.loads(self.note.read_text("utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def has(self, extras: Iterable[str]) -> bool:
        installed = self.installed()
        if installed is None or not self.python.exists():
            return False
        return installed == self.wanted(installed.extras) and set(extras) <= set(installed.extras)

    def install(self, extras: Iterable[str]) -> None:
        """Make the environment hold the project's dependencies and these extras, beside extras it held before.

        Raises LaunchFailed; then no note stands, and the next start tries again.
        """
        before = self.installed()
        extras = set(extras) | set(before.extras if before else ())
        self.note.unlink(missing_ok=True)
        if not self._works():
            self._make()
        print("Atelier: installing what it needs (the first time: several gigabytes, some minutes)", flush=True)
        command = ["-m", "pip", "install", "--no-input", "--disable-pip-version-check"]
        command += ["--constraint", str(self.root / VERSIONS)]
        if index := os.environ.get("TORCH_INDEX_URL"):
            command += ["--extra-index-url", index]
        if self.run([*command, *requirements(self.root / PROJECT, extras)]) != 0:
            raise LaunchFailed(
                "The installation did not finish; what pip says about it stands above. "
                "The same command tries again, and keeps what was already downloaded."
            )
        partial = self.note.with_suffix(".part")
        partial.write_text(json.dumps(asdict(self.wanted(extras))), "utf-8")
        partial.replace(self.note)

    def run(self, arguments: Sequence[str]) -> int:
        """Run the environment's Python in the checkout, its output shown; the exit status."""
        return subprocess.run([self.python, *arguments], cwd=self.root).returncode

    def _works(self) -> bool:
        if not self.python.exists():
            return False
        return subprocess.run([self.python, "-m", "pip", "--version"], capture_output=True).returncode == 0

    def _make(self) -> None:
        # The interpreter below a virtual environment: the one in .venv cannot clear the folder it runs from.
        base: str = getattr(sys, "_base_executable", sys.executable)
        print(f"Atelier: making {self.folder} with Python {sys.version.split()[0]}", flush=True)
        if subprocess.run([base, "-m", "venv", "--clear", self.folder]).returncode != 0:
            raise LaunchFailed(f"Python could not make the virtual environment {self.folder}; the reason stands above.")


def requirements(project: Path, extras: Iterable[str]) -> list[str]:
    """The requirement lines that a ``pyproject.toml`` lists, with those of the extras."""
    table = tomllib.loads(project.read_text("utf-8"))["project"]
    optional = table.get("optional-dependencies", {})
    return [*table["dependencies"], *(line for extra in sorted(extras) for line in optional[extra])]


def start(environment: Environment, flags: Sequence[str]) -> int:
    """Install what is missing and become webui.py; the caller's folder stays the current one, for paths in flags."""
    script = str(environment.root / "webui.py")
    if {"-h", "--help"} & set(flags):
        python = environment.python if environment.python.exists() else sys.executable
        return _become([str(python), script, *flags])
    if not environment.has([]):
        environment.install([])
    for extra in {OPTIONAL[flag] for flag in flags if flag in OPTIONAL}:
        _install_if_possible(environment, extra)
    return _become([str(environment.python), script, *flags])


def _install_if_possible(environment: Environment, extra: str) -> None:
    """An extra that cannot be had is no reason not to start: what was installed before is noted again."""
    before = environment.installed()
    if before is None or extra in before.extras:
        return
    try:
        environment.install([extra])
    except LaunchFailed as failure:
        print(f"Atelier: {extra} could not be installed; starting without it. {failure}")
        environment.install(before.extras)


def _become(command: list[str]) -> int:
    if os.name != "nt":  # there exec starts a second process and returns the console to the shell at once
        sys.stdout.flush()
        os.execv(command[0], command)
    process = subprocess.Popen(command)
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:  # meant for the server, which has it too and closes in its own time
            continue


def check(environment: Environment, arguments: Sequence[str]) -> int:
    """Run ruff, pyright and pytest, each whatever the others say; pytest's closing line is the last one printed."""
    if not environment.has(["test"]):
        environment.install(["test"])
    results: dict[str, int] = {}
    for name, command in CHECKS.items():
        print(f"== {name}", flush=True)
        results[name] = environment.run(command)
    whole = not arguments
    arguments = arguments or WHOLE_RUN
    print(f"== {shlex.join(['pytest', *arguments])}", flush=True)
    results["pytest"], closing = _pytest(environment, arguments, ONE_THREAD if whole else {})
    print("\n" + ", ".join(f"{name} {'FAILED' if status else 'ok'}" for name, status in results.items()))
    print(closing, flush=True)
    return results["pytest"] or int(any(results.values()))


def _pytest(environment: Environment, arguments: Sequence[str], variables: Mapping[str, str]) -> tuple[int, str]:
    """The exit status and the last line; what pytest prints is passed on as it comes, dot by dot."""
    colour = ["--color=yes"] if sys.stdout.isatty() else []
    command = [environment.python, "-m", "pytest", *colour, *arguments]
    tail = b""
    with subprocess.Popen(
        command, cwd=environment.root, env={**os.environ, **variables}, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        while piece := os.read(process.stdout.fileno(), 65536):
            sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
            tail = (tail + piece)[-4096:]
    lines = tail.decode(errors="replace").strip().splitlines()
    return process.returncode, lines[-1] if lines else "pytest ended without a word"


def main(arguments: Sequence[str]) -> int:
    """Exit status: what was started returned, 1 for an installation that failed, 130 after Ctrl+C."""
    environment = Environment(root=Path(__file__).resolve().parent)
    try:
        if arguments and arguments[0] == "test":
            return check(environment, arguments[1:])
        return start(environment, arguments)
    except LaunchFailed as failure:
        print(f"Atelier: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
