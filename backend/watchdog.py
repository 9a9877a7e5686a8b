"""Notices an extension that does not return, ends what waits for it, and ends its thread where that can be done."""

import ctypes
import logging
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from backend.errors import Abandoned
from backend.extensions.calls import Call, Overdue
from backend.extensions.extension import ExtensionFault
from backend.extensions.extensions import Extensions

log = logging.getLogger(__name__)

LOOKS_EVERY = 0.5  # seconds, at the most
SHARE_OF_LIMIT = 0.25  # of the shortest limit: how late it may be noticed
MOST_TRIES = 20  # to end a thread that was given up
BETWEEN_TRIES = 1.0  # seconds


class Watchdog:
    """Looks after the calls of extensions' code, on a thread of its own that sleeps while no extension is on.

    A call that takes longer than it may is given up: `give_up(thread, fault)` then ends what its thread was at. In the
    thread itself `Abandoned` is raised while it runs the extension's own code, never within a library, which it could
    leave in a state of which others know nothing: not while anything is imported, and not while a tensor is computed.
    """

    def __init__(self, extensions: Extensions, give_up: Callable[[int, ExtensionFault], object]):
        self._extensions = extensions
        self._calls = extensions.calls
        self._give_up = give_up
        self._wake = threading.Event()
        self._closing = False
        self._tries: dict[Call, int] = {}
        self._next_try = 0.0
        self._unsubscribe = extensions.subscribe(self._wake.set)
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def close(self) -> None:
        """Look no more."""
        self._closing = True
        self._unsubscribe()
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _watch(self) -> None:
        while not self._closing:
            awake = bool(self._extensions.active()) or self._calls.busy
            self._wake.wait(self._pause() if awake else None)
            self._wake.clear()
            for late in self._calls.overdue():
                self._end(late)
            self._pursue()

    def _pause(self) -> float:
        limit = self._calls.limit
        return min(LOOKS_EVERY, limit * SHARE_OF_LIMIT) if limit else LOOKS_EVERY

    def _end(self, late: Overdue) -> None:
        if not self._calls.give_up(late.thread):
            return  # it has returned meanwhile
        frame = sys._current_frames().get(late.thread)
        late.extension.log.error(
            "%s was given up after %.1f seconds, at %s", late.where, late.seconds, _place(frame) or "an unknown place"
        )
        fault = self._calls.noted(late.extension, late.where, late.fault)
        log.warning("%s", fault)
        self._give_up(late.thread, fault)

    def _pursue(self) -> None:
        """Try to end the threads that were given up."""
        left = self._calls.abandoned()
        self._tries = {call: self._tries.get(call, 0) for call in left}
        if not left or time.monotonic() < self._next_try:
            return
        self._next_try = time.monotonic() + BETWEEN_TRIES
        for call in left:
            if self._tries[call] < MOST_TRIES and interrupt(call.thread, call.extension.folder):
                self._tries[call] += 1


def interrupt(thread: int, folder: Path) -> bool:
    """Raise `Abandoned` in a thread whose innermost frame is that of a file in `folder`; False where it is not."""
    frame = sys._current_frames().get(thread)
    if frame is None or not Path(frame.f_code.co_filename).is_relative_to(folder):
        return False
    raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc
    raise_in(ctypes.c_ulong(thread), ctypes.py_object(Abandoned))
    if sys._current_frames().get(thread) is not frame:  # it has gone on in between, and may be in a library now
        raise_in(ctypes.c_ulong(thread), None)
        return False
    return True


def _place(frame: FrameType | None) -> str:
    """The innermost place in a file."""
    return f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame is not None else ""
