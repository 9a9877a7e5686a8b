"""Starts Atelier as a child, and again where an extension has taken the whole of it down.

An extension is a stranger's code within our process: in a native call that keeps the interpreter's lock nothing of ours
runs any more, and what ends the process ends the page. From outside both can be seen. Only the standard library, so
that it costs next to nothing; `Pulse` is the child's side.
"""

import json
import mmap
import os
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

SUPERVISED = "ATELIER_SUPERVISED"  # in the child's environment: the parent's process and the file of the pulse
HELD_UP = "ATELIER_HELD_UP"  # what the one before was in when it was ended
STALL_VARIABLE = "ATELIER_STALL_SECONDS"
STALL_SECONDS = 60.0
BEAT = 0.5  # seconds
MOST_RESTARTS = 5
WITHIN = 600.0  # seconds
SIZE = 4096  # bytes of the file: beats, whether a call is under way, how long what is said of it is, and that as JSON
_BEATS, _ARMED, _SAID = struct.Struct("<Q"), 8, struct.Struct("<H")
_TEXT = 16
# How a process ends that native code has damaged; one that was killed from outside was not.
CRASHES = tuple(
    getattr(signal, name) for name in ("SIGSEGV", "SIGABRT", "SIGBUS", "SIGILL", "SIGFPE") if hasattr(signal, name)
)


@dataclass(frozen=True, kw_only=True)
class HeldUp:
    """What a process was in when it had to be ended, or ended itself: an extension's hook, and the job, if any."""

    extension: str
    where: str
    job: str = ""
    crashed: bool = False

    @classmethod
    def from_environment(cls) -> Self | None:
        """What the process before this one was ended in; it is not handed on."""
        text = os.environ.pop(HELD_UP, "")
        return cls(**json.loads(text)) if text else None

    @property
    def what(self) -> str:
        """What it did, behind its name."""
        if self.crashed:
            return f"ended the whole of Atelier in {self.where}, which was started again"
        return f"held the whole of Atelier up in {self.where}, which was ended and started again"


class Pulse:
    """The child's side: says twice a second that it lives, and before each call of an extension's code what it is.

    Where the parent has gone this process ends too.
    """

    def __init__(self, path: Path, parent: int):
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), SIZE)
        self._parent = parent
        self._lock = threading.Lock()
        self._under_way: dict[int, tuple[str, str]] = {}  # by thread, the newest last
        self._closing = threading.Event()
        self.job_of: Callable[[int], str] = lambda _thread: ""
        threading.Thread(target=self._beat, name="pulse", daemon=True).start()

    @classmethod
    def from_environment(cls) -> Self | None:
        """The pulse of a process that is supervised, else nothing."""
        parent, _, path = os.environ.pop(SUPERVISED, "").partition(":")
        return cls(Path(path), int(parent)) if path else None

    def watch(self, thread: int, extension: str, where: str) -> None:
        """A thread is in an extension's code from now on, or, where that is empty, no more."""
        with self._lock:
            if self._closing.is_set():
                return
            self._under_way.pop(thread, None)
            if extension:
                self._under_way[thread] = (extension, where)
            elif not self._under_way:
                self._memory[_ARMED] = 0
                return
            thread, (extension, where) = next(reversed(self._under_way.items()))
            text = json.dumps({"extension": extension, "where": where, "job": self.job_of(thread)}).encode()
            text = text[: SIZE - _TEXT]
            self._memory[_ARMED] = 0
            self._memory[_TEXT : _TEXT + len(text)] = text
            self._memory[_ARMED + 1 : _ARMED + 3] = _SAID.pack(len(text))
            self._memory[_ARMED] = 1

    def close(self) -> None:
        """From now on nothing is told."""
        self._closing.set()
        with self._lock:
            self._under_way.clear()
            self._memory[_ARMED] = 0

    def _beat(self) -> None:
        count = 0
        while not self._closing.wait(BEAT):
            count += 1
            self._memory[: _BEATS.size] = _BEATS.pack(count)
            if os.name != "nt" and os.getppid() != self._parent:
                print("Atelier: its supervisor has gone: it ends.", file=sys.stderr, flush=True)
                os.kill(os.getpid(), signal.SIGTERM)
                return


@dataclass(frozen=True)
class _Seen:
    """What the parent reads of a pulse."""

    beats: int
    said: Mapping[str, Any] | None


class Supervisor:
    """The parent's side: one child at a time, which is this program with the same flags."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]):
        self._command = list(command)
        self._environment = dict(environment)
        self._stall = float(environment.get(STALL_VARIABLE, STALL_SECONDS))
        self._restarts: deque[float] = deque(maxlen=MOST_RESTARTS)
        self._ending = False
        self._child: subprocess.Popen[bytes] | None = None

    def run(self) -> int:
        """Until the child ends for good; returns its exit status."""
        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, self._pass_on)
        handle, name = tempfile.mkstemp(prefix="atelier-pulse-")
        path = Path(name)
        try:
            with os.fdopen(handle, "r+b") as file:
                file.truncate(SIZE)
                file.flush()
                with mmap.mmap(file.fileno(), SIZE) as memory:
                    return self._keep(path, memory)
        finally:
            with suppress(OSError):
                path.unlink()

    def _keep(self, path: Path, memory: mmap.mmap) -> int:
        held_up: HeldUp | None = None
        while True:
            memory[:] = bytes(SIZE)
            status, held_up = self._watched(path, memory, held_up)
            if held_up is None or self._ending:
                return status if status >= 0 else 128 - status
            print(f"Atelier: the extension {held_up.extension} {held_up.what}.", file=sys.stderr, flush=True)
            self._restarts.append(time.monotonic())
            if len(self._restarts) == MOST_RESTARTS and self._restarts[-1] - self._restarts[0] < WITHIN:
                print("Atelier: this came too often: it goes on without any extension.", file=sys.stderr, flush=True)
                self._command.append("--safe-mode")

    def _watched(self, path: Path, memory: mmap.mmap, held_up: HeldUp | None) -> tuple[int, HeldUp | None]:
        """Start a child and wait for its end; returns its status, and what it was in if an extension is to blame."""
        environment = {**self._environment, SUPERVISED: f"{os.getpid()}:{path}"}
        if held_up is not None:
            environment[HELD_UP] = json.dumps(asdict(held_up))
        child = self._child = subprocess.Popen(self._command, env=environment)
        if self._ending:
            self._end(child)
        seen, still = _look(memory), 0.0
        while child.poll() is None:
            with suppress(subprocess.TimeoutExpired):
                child.wait(BEAT)
            now = _look(memory)
            # Counted in looks of our own: while the machine sleeps nobody's heart beats.
            still = still + BEAT if now == seen and now.said is not None else 0.0
            seen = now
            if still >= self._stall and child.poll() is None:
                child.kill()
                child.wait()
                return 1, _blamed(seen, crashed=False)
        status = child.returncode
        crashed = status > 0 or -status in CRASHES
        return status, _blamed(_look(memory), crashed=True) if crashed else None

    def _pass_on(self, _number: int, _frame: object) -> None:
        """End the child when this process is asked to end. From a terminal the child has heard it too: that it is asked
        twice in another way does no harm."""
        again, self._ending = self._ending, True
        if self._child is not None and self._child.poll() is None:
            if again:
                self._child.kill()
            else:
                self._end(self._child)

    def _end(self, child: subprocess.Popen[bytes]) -> None:
        if os.name != "nt":  # there that would not ask, and a console tells all that are in it
            child.terminate()


def _look(memory: mmap.mmap) -> _Seen:
    (beats,) = _BEATS.unpack(memory[: _BEATS.size])
    if not memory[_ARMED]:
        return _Seen(beats, None)
    (length,) = _SAID.unpack(memory[_ARMED + 1 : _ARMED + 3])
    try:
        said = json.loads(memory[_TEXT : _TEXT + length])
    except ValueError:  # it is just being written
        return _Seen(beats, None)
    return _Seen(beats, said)


def _blamed(seen: _Seen, *, crashed: bool) -> HeldUp | None:
    return None if seen.said is None else HeldUp(**seen.said, crashed=crashed)


def is_needed(data_dir: Path, bundled: Path) -> bool:
    """Whether code lies there that neither ships with Atelier nor is known to it."""
    folder = data_dir / "extensions"
    if not folder.is_dir():
        return False
    ours: set[str] = set()
    if bundled.is_dir() and folder.samefile(bundled):
        with suppress(OSError):
            lines = (bundled / "bundled.txt").read_text(encoding="utf-8").splitlines()
            ours = {line.partition("#")[0].split()[0] for line in lines if line.partition("#")[0].split()}
    return any((path / "extension.toml").is_file() and path.name not in ours for path in folder.iterdir())


def supervise(environment: Mapping[str, str]) -> int:
    """Run this program as a child for as long as it takes; returns its exit status."""
    return Supervisor([sys.executable, *sys.orig_argv[1:]], environment).run()
