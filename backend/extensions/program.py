"""Other programs that installing needs, git and pip: run in a folder of their own, for so long and no longer."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from backend.errors import UserError

LOOK_SECONDS = 0.1
MOST_OUTPUT = 64 * 1024 * 1024  # bytes of what a program says
# What of our environment a program is told: where things are, how the network is reached, and pip's own settings.
TOLD = ("PATH", "SYSTEMROOT", "COMSPEC", "TEMP", "TMP", "TMPDIR", "LANG", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
TOLD_TOO = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO")


class ProgramError(UserError):
    """A program could not be run, took too long, or brought too much."""


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a program ended, and what it said."""

    code: int
    out: bytes
    said: str


def environment(**more: str) -> dict[str, str]:
    """What a program finds in its environment: little of ours, and `more`."""
    ours = {name: value for name, value in os.environ.items() if name.upper() in (*TOLD, *TOLD_TOO)}
    return {**ours, "LC_ALL": "C", **more}


def run(
    command: Sequence[str],
    *,
    folder: Path,
    env: Mapping[str, str],
    seconds: float,
    given: bytes = b"",
    watch: Callable[[], None] = lambda: None,
) -> Ended:
    """Run a program in a folder, with `given` as its input, and wait until it ends.

    `watch()` is called ten times a second and may raise, which ends the program and all that it has begun. Raises
    `ProgramError` if the program is not there or is not done within `seconds`.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as read:
        read.write(given)
        read.seek(0)

        def look() -> None:
            watch()
            for file in (out, said):
                if os.fstat(file.fileno()).st_size > MOST_OUTPUT:
                    raise ProgramError(f"{Path(command[0]).stem} said more than can be read, and was ended.")

        try:
            process = subprocess.Popen(
                command,
                cwd=folder,
                env=dict(env),
                stdin=read,
                stdout=out,
                stderr=said,
                start_new_session=True,  # a group of its own, so that what it begins can be ended with it
            )
        except OSError as error:
            raise ProgramError(f"{Path(command[0]).stem} cannot be run: {error.strerror or error}.") from error
        try:
            _wait(process, command, seconds, look)
        finally:
            _end(process)
        texts = []
        for file in (out, said):
            file.seek(0)
            texts.append(file.read(MOST_OUTPUT))
        return Ended(code=process.returncode, out=texts[0], said=texts[1].decode("utf-8", errors="replace"))


def _wait(
    process: "subprocess.Popen[bytes]", command: Sequence[str], seconds: float, watch: Callable[[], None]
) -> None:
    until = time.monotonic() + seconds
    while True:
        try:
            process.wait(LOOK_SECONDS)
        except subprocess.TimeoutExpired:
            watch()
        else:
            return watch()
        if time.monotonic() > until:
            raise ProgramError(f"{Path(command[0]).stem} was not done within {seconds:g} seconds and was ended.")


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End it, with all that it has begun, if it is still there."""
    if process.poll() is not None:
        return
    if sys.platform != "win32":
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.wait()


def size_of(folder: Path) -> int:
    """The bytes of all files below a folder, which may change meanwhile."""
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(Path(root, name)).st_size
            except OSError:
                continue
    return total
