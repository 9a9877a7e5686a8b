"""Pickled checkpoints turned into safetensors, without opening them here.

A ``.ckpt``, ``.pt``, ``.pth`` or ``.bin`` file is a program that could do anything. A process of its own reads it (see
`unpickling`): without a network where the system can take it away, limited in memory and time, and with two readers of
which neither runs what the file says. This side starts it, listens, and gives the finished file its name.
"""

import json
import logging
import os
import queue
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backend.errors import Cancelled, ModelFileError
from backend.model_manager.conversion.confinement import MIB, Limits
from backend.model_manager.conversion.tensor_file import SUFFIX, check_room, new_file
from backend.model_manager.conversion.unpickling import GROWTH, SMALL, task
from backend.paths import ROOT

log = logging.getLogger(__name__)

LARGEST_SOURCE = 64 * 1024 * MIB
LONGEST_LINE = 64 * 1024  # characters
PATIENCE = 0.1  # seconds between two looks at whether to go on
START = "import runpy, sys; sys.path.insert(0, sys.argv.pop(1)); runpy.run_module({!r}, run_name='__main__')"
# The rest of our environment is nobody's business: it can hold tokens.
PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "TEMP", "TMP", "TMPDIR", "LANG")


@dataclass(frozen=True, kw_only=True)
class ConversionReport:
    """What a conversion made and what it was confined by.

    `size` is the new file's in bytes, `sha256` the source's. `reader` is ``torch`` (`torch.load` with `weights_only`)
    or ``inert`` (ours, for what that refuses), `inert` the foreign names that the file asked for and did not get,
    `dropped` the names of tensors outside of the state dict that was taken. `locks` and `limits` are those that held.
    """

    target: Path
    tensors: int
    size: int
    sha256: str
    reader: str
    inert: tuple[str, ...]
    dropped: tuple[str, ...]
    locks: tuple[str, ...]
    limits: tuple[str, ...]


def limits_for(size: int) -> Limits:
    """What the reading of an honest file of `size` bytes can need, with room to spare."""
    # Mapped twice (by torch and by us), and once more for tensors that are not contiguous.
    return Limits(memory=1024 * MIB + 3 * size, seconds=60 + size // (20 * MIB), output=GROWTH * size + 64 * SMALL)


def convert(
    source: Path,
    target: Path,
    *,
    progress: Callable[[float, str], None],
    cancelled: Callable[[], bool],
    limits: Limits | None = None,
) -> ConversionReport:
    """Write the tensors of a pickled `source` to `target`, a safetensors file that must not be there.

    `progress(fraction, doing)` is called on this thread. Raises `ModelFileError` with a sentence if the file cannot be
    converted, `Cancelled` if `cancelled()` becomes true; in both cases nothing is left behind.
    """
    size = _checked_size(source)
    if target.suffix != SUFFIX:
        raise ModelFileError(f"{target.name} has to end in {SUFFIX}.")
    check_room(target, size)
    limits = limits or limits_for(size)
    with new_file(target) as partial:
        said = _listen(source, partial, limits, progress, cancelled)
        try:
            return _report(said, target, partial.stat().st_size)
        except (KeyError, TypeError, ValueError) as error:
            raise ModelFileError(
                f"{source.name} cannot be converted: the process that read it told nonsense."
            ) from error


def _report(said: dict[str, dict[str, Any]], target: Path, size: int) -> ConversionReport:
    done, confined = said["done"], said["confined"]
    return ConversionReport(
        target=target,
        tensors=int(done["tensors"]),
        size=size,
        sha256=str(done["sha256"]),
        reader=str(done["reader"]),
        inert=tuple(done["inert"]),
        dropped=tuple(done["dropped"]),
        locks=tuple(confined["locks"]),
        limits=tuple(confined["limits"]),
    )


def _checked_size(source: Path) -> int:
    try:
        found = source.stat()
    except OSError as error:
        raise ModelFileError(f"{source.name} cannot be read: {error.strerror or error}.") from error
    if not stat.S_ISREG(found.st_mode):
        raise ModelFileError(f"{source.name} is no file.")
    if not found.st_size:
        raise ModelFileError(f"{source.name} is empty.")
    if found.st_size > LARGEST_SOURCE:
        raise ModelFileError(
            f"{source.name} is too large to be converted: {found.st_size / 1e9:,.1f} GB, "
            f"where {LARGEST_SOURCE / 1e9:,.1f} GB are allowed."
        )
    return found.st_size


def _listen(
    source: Path,
    partial: Path,
    limits: Limits,
    progress: Callable[[float, str], None],
    cancelled: Callable[[], bool],
) -> dict[str, dict[str, Any]]:
    """Run the child to its end; returns the last line it said of each kind."""
    child = _start(source, partial, limits)
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    said: dict[str, dict[str, Any]] = {}
    hearing = threading.Thread(target=_hear, args=(child, lines), name="convert", daemon=True)
    hearing.start()
    try:
        while True:
            if cancelled():
                raise Cancelled(f"The conversion of {source.name} was cancelled; nothing was written.")
            try:
                line = lines.get(timeout=PATIENCE)
            except queue.Empty:
                continue
            if line is None:
                break
            message = _message(line)
            said[message["kind"]] = message
            match message:
                case {"kind": "progress", "fraction": int() | float() as fraction, "doing": str(doing)}:
                    progress(min(max(fraction, 0.0), 1.0), doing)
        code = child.wait()
    finally:
        child.kill()
        child.wait()
        hearing.join()
        assert child.stdout is not None
        child.stdout.close()
    if "refused" in said:
        raise ModelFileError(str(said["refused"]["sentence"]))
    if "done" not in said or "confined" not in said:
        raise ModelFileError(_ended(source, code, limits))
    return said


def _start(source: Path, partial: Path, limits: Limits) -> "subprocess.Popen[str]":
    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    # One thread, so that the kernel's locks can be taken; no GPU, whose driver would be one more way out.
    environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    environment |= {"CUDA_VISIBLE_DEVICES": "", "PYTHONDONTWRITEBYTECODE": "1"}
    module = "backend.model_manager.conversion.unpickling"
    return subprocess.Popen(
        [sys.executable, "-I", "-B", "-c", START.format(module), str(ROOT), task(source.absolute(), partial, limits)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
        cwd=ROOT,
        text=True,
        encoding="utf-8",
        errors="replace",
    )


def _hear(child: "subprocess.Popen[str]", lines: "queue.SimpleQueue[str | None]") -> None:
    assert child.stdout is not None
    while line := child.stdout.readline(LONGEST_LINE):
        lines.put(line)
    lines.put(None)


def _message(line: str) -> dict[str, Any]:
    """A line of the child's; what is none, such as a library's warning, is logged and tells nothing."""
    try:
        message = json.loads(line)
    except ValueError:
        message = None
    if isinstance(message, dict) and isinstance(message.get("kind"), str):
        return message
    if line.strip():
        log.info("converting: %r", line[:500])
    return {"kind": "noise"}


def _ended(source: Path, code: int, limits: Limits) -> str:
    """The sentence for a child that ended without one of its own."""
    if os.name != "nt" and code == -signal.SIGXCPU:
        return f"{source.name} cannot be converted: reading it took more than the {limits.seconds} s that it may."
    if os.name != "nt" and code == -signal.SIGKILL:
        return f"{source.name} cannot be converted: the system ended the reading, most likely for want of memory."
    how = signal.Signals(-code).name if os.name != "nt" and code < 0 else f"status {code}"
    return f"{source.name} cannot be converted: the process that read it crashed ({how}), so it is damaged or hostile."
