"""pip, asked in a process of its own that starts no other: nothing that it is told to fetch is built or run."""

import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from backend.errors import UserError
from backend.extensions import pip_alone
from backend.extensions.program import Ended, environment, run

SECONDS = 900.0
ALONE = Path(pip_alone.__file__)
# Only what is ready made: to build a package is to run it.
READY_MADE = ("--only-binary", ":all:")
QUIET = (
    "--retries",
    "2",
    "--timeout",
    "20",
    "--no-input",
    "--disable-pip-version-check",
    "--no-color",
    "--progress-bar",
    "off",
)


class PipError(UserError):
    """pip could not do what it was asked for; `said` is all that it said."""

    def __init__(self, message: str, *, said: str = ""):
        super().__init__(message)
        self.said = said


class Pip:
    """Asks the pip of this Python. `settings` are environment variables of pip's own, such as PIP_INDEX_URL."""

    def __init__(self, settings: Mapping[str, str] | None = None, *, seconds: float = SECONDS):
        self._settings = dict(settings) if settings is not None else _own_settings()
        self._seconds = seconds

    def report(self, folder: Path, *words: str) -> list[Mapping[str, Any]]:
        """What an installation would fetch: pip's own words for each package. Raises `PipError`."""
        path = folder / "report.json"
        self._asked(folder, "install", "--dry-run", "--report", str(path), *READY_MADE, *words)
        try:
            return json.loads(path.read_text(encoding="utf-8"))["install"]
        except (OSError, ValueError, KeyError) as error:
            raise PipError("pip did not say what it would install.") from error

    def download(self, folder: Path, requirement: str, into: Path) -> None:
        """Fetch the wheel of a package, without those that it needs. Raises `PipError`."""
        self._asked(folder, "download", "--no-deps", *READY_MADE, "--dest", str(into), requirement)

    def install(self, folder: Path, requirements: Path, into: Path) -> None:
        """Unpack packages into a folder: those of a file with hashes, exactly. Raises `PipError`."""
        words = ("--target", str(into), "--no-deps", "--require-hashes", "--no-compile", "--no-warn-conflicts")
        self._asked(folder, "install", *words, *READY_MADE, "-r", str(requirements))

    def _asked(self, folder: Path, *words: str) -> Ended:
        command = [sys.executable, "-I", str(ALONE), *words, *QUIET]
        ended = run(command, folder=folder, env=environment(**self._settings), seconds=self._seconds)
        if ended.code:
            raise PipError(_sentence(ended), said=f"{ended.out.decode('utf-8', errors='replace')}\n{ended.said}")
        return ended


def _own_settings() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith("PIP_") or name in ("HOME", "APPDATA")}


def _sentence(ended: Ended) -> str:
    if "No module named pip" in ended.said:
        return "There is no pip in Atelier's Python, so no package can be fetched."
    if pip_alone.REFUSED in ended.said:
        reason = "it would have to be built, and to build a package is to run it"
        return f"{_last_begun(ended)} is not ready made: {reason}."
    lines: Sequence[str] = [line.strip() for line in ended.said.splitlines() if line.strip()]
    told = [re.sub(r"^ERROR: *", "", line) for line in lines if line.startswith("ERROR:")] or list(lines)
    return f"pip could not do it: {told[-1].rstrip('.')[:300]}." if told else f"pip ended with {ended.code}."


def _last_begun(ended: Ended) -> str:
    """What pip looked at last, in its words: a file or an address, and who needs it."""
    lines = ended.out.decode("utf-8", errors="replace").splitlines()
    begun = [line.partition(" ")[2].strip() for line in lines if line.startswith(("Collecting ", "Processing "))]
    # Who needs it ends with the file that names what was asked for, which is ours.
    return re.sub(r"->.*", ")", re.sub(r" \(from -r .*", "", begun[-1]))[:300] if begun else "A package"
