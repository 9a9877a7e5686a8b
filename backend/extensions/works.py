"""Background jobs of extensions: beside the queue, each on a thread of its own, with progress and an end."""

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from backend.errors import Cancelled, Stopped, UserError
from backend.extensions.calls import Calls
from backend.extensions.extension import Extension, ExtensionFault
from backend.listeners import Listeners

TOLD_EVERY = 0.2  # seconds between two reports of progress
KEPT = 30  # ended ones that stay in the list
MOST_AT_ONCE = 4  # of one extension
CLOSED_WITHIN = 5.0  # seconds

State = Literal["running", "finished", "failed", "cancelled"]


@dataclass(frozen=True, kw_only=True)
class ExtensionWork:
    """A background job as it is now: `share` from 0 to 1, `doing` in words, `problem` a sentence where it failed."""

    id: str
    extension: str
    title: str
    state: State = "running"
    share: float = 0.0
    doing: str = ""
    problem: str = ""

    @property
    def ended(self) -> bool:
        """Whether nothing of it is left to do."""
        return self.state != "running"


class _Task:
    """A background job's changing side, and what the extension is handed of it: `backend.extension_api.Work`."""

    def __init__(self, value: ExtensionWork, extension: Extension, works: "Works"):
        self.value = value
        self.extension = extension
        self.cancelled = threading.Event()
        self.told = 0.0
        self.thread: threading.Thread | None = None
        self._works = works

    def progress(self, done: float, of: float, sentence: str = "") -> None:
        """How far it is."""
        share = min(max(done / of, 0.0), 1.0) if of > 0 else 0.0
        self._works.change(self, share=share, doing=sentence)

    def check(self) -> None:
        """Raises `Cancelled` when it is to end."""
        if self.cancelled.is_set():
            raise Cancelled


class Works:
    """The background jobs of all extensions, oldest first. Safe to use from any thread."""

    def __init__(self, calls: Calls):
        self._calls = calls
        self._lock = threading.Lock()
        self._tasks: dict[str, _Task] = {}
        self._listeners = Listeners()
        self._closing = False

    def all(self) -> list[ExtensionWork]:
        """Every one as it is now."""
        with self._lock:
            return [task.value for task in self._tasks.values()]

    def of(self, extension: str) -> list[ExtensionWork]:
        """Those of one extension."""
        return [work for work in self.all() if work.extension == extension]

    def begin(self, extension: Extension, title: str, work: Callable[[Any], None]) -> ExtensionWork:
        """Begin one. Raises `UserError` where the extension has as many as it may, or all is being closed."""
        value = ExtensionWork(id=secrets.token_hex(8), extension=extension.id, title=title)
        task = _Task(value, extension, self)
        with self._lock:
            running = [each for each in self._tasks.values() if not each.value.ended]
            if self._closing:
                raise UserError("Atelier is being closed.")
            if sum(each.extension is extension for each in running) >= MOST_AT_ONCE:
                raise UserError(f"{extension.title} has {MOST_AT_ONCE} background jobs already: end one first.")
            self._tasks[value.id] = task
            for each in [each for each in self._tasks.values() if each.value.ended][:-KEPT]:
                del self._tasks[each.value.id]
            name = f"work of {extension.id}"
            task.thread = threading.Thread(target=self._run, args=(task, work), name=name, daemon=True)
            task.thread.start()
        self._listeners.tell()
        return value

    def cancel(self, id: str) -> None:
        """End one where it next looks. Raises `UserError` if there is none of that id."""
        with self._lock:
            task = self._tasks.get(id)
        if task is None:
            raise UserError("This background job is no longer in the list.")
        task.cancelled.set()
        self._listeners.tell()

    def cancel_all(self, extension: Extension) -> None:
        """End all of one extension's where they next look."""
        with self._lock:
            for task in self._tasks.values():
                if task.extension is extension:
                    task.cancelled.set()

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener()` after each change, progress at most five times a second; returns the function that ends
        it."""
        return self._listeners.add(listener)

    def close(self) -> None:
        """End them all; what does not look whether it is to end dies with the process."""
        with self._lock:
            self._closing = True
            tasks = list(self._tasks.values())
        for task in tasks:
            task.cancelled.set()
        until = time.monotonic() + CLOSED_WITHIN
        for task in tasks:
            if task.thread is not None:
                task.thread.join(max(0.0, until - time.monotonic()))

    def change(self, task: _Task, **changes: Any) -> None:
        """Note how one is now, and tell of it, of progress alone not too often."""
        with self._lock:
            if task.value.ended:
                return
            begins = changes.get("doing", task.value.doing) != task.value.doing
            task.value = replace(task.value, **changes)
            now = time.monotonic()
            tells = task.value.ended or begins or now - task.told >= TOLD_EVERY
            if tells:
                task.told = now
        if tells:
            self._listeners.tell()

    def _run(self, task: _Task, work: Callable[[Any], None]) -> None:
        where = f"the background job {task.value.title}"
        try:
            self._calls.call(task.extension, where, work, task, limit=0)
        except Stopped:
            self.change(task, state="cancelled", doing="")
        except ExtensionFault as error:
            self.change(task, state="failed", problem=str(error), doing="")
        except BaseException as error:  # noqa: BLE001 - whatever is raised, it has ended
            self.change(task, state="failed", problem=str(self._calls.failed(task.extension, where, error)), doing="")
        else:
            self.change(task, state="finished", share=1.0, doing="")
