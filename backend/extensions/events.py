"""What extensions are told of: each has a thread of its own, so that a slow one holds nobody up."""

import queue
import threading
import time
from typing import Any

from backend.errors import Stopped
from backend.events import ENDINGS, Event, ImageReady
from backend.extension_api import EventName, SavedPicture
from backend.extensions.calls import Calls
from backend.extensions.extension import Extension, ExtensionFault
from backend.job import Job

MOST_WAITING = 1000  # events that an extension has not yet heard of; later ones are lost, and its log says so
CLOSED_WITHIN = 2.0  # seconds


class _Ear:
    """The thread on which one extension hears, and what waits for it."""

    def __init__(self, extension: Extension, calls: Calls):
        self.extension = extension
        self._calls = calls
        self._waiting: queue.Queue[tuple[EventName, Any] | None] = queue.Queue(MOST_WAITING)
        self._lost = 0
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._hear, name=f"events of {extension.id}", daemon=True)
        self._thread.start()

    def tell(self, event: EventName, value: Any) -> None:
        try:
            self._waiting.put_nowait((event, value))
        except queue.Full:
            self._lost += 1
            if self._lost == 1:
                self.extension.log.warning("events are lost: %d wait already", MOST_WAITING)

    def close(self) -> None:
        self._closed.set()
        if self._waiting.empty():
            self.tell("settings_changed", None)  # wakes it up; it hears nothing more

    def join(self, timeout: float) -> None:
        self._thread.join(timeout)

    def _hear(self) -> None:
        while True:
            found = self._waiting.get()
            if found is None or self._closed.is_set():
                return
            event, value = found
            for listener in tuple(self.extension.brought.listeners):
                if listener.event != event:
                    continue
                try:
                    self._calls.call(self.extension, f"on {event}", listener.call, value, limit=0)
                except (ExtensionFault, Stopped):
                    continue  # is in its log, and in its list of failures
                except BaseException as error:  # noqa: BLE001 - the next event is heard all the same
                    self._calls.failed(self.extension, f"on {event}", error)


class Events:
    """Tells extensions what happens. Safe to use from any thread, and returns at once."""

    def __init__(self, calls: Calls):
        self._calls = calls
        self._lock = threading.Lock()
        self._ears: dict[str, _Ear] = {}

    def add(self, extension: Extension) -> None:
        """From now on an extension hears, if it listens to anything."""
        if not extension.brought.listeners:
            return
        with self._lock:
            self._ears[extension.id] = _Ear(extension, self._calls)

    def remove(self, extension: Extension) -> None:
        """It hears nothing more; what it is in is not waited for."""
        with self._lock:
            ear = self._ears.pop(extension.id, None)
        if ear is not None:
            ear.close()

    def tell(self, event: EventName, value: Any = None) -> None:
        """Tell everybody who listens to this."""
        for ear in tuple(self._ears.values()):
            ear.tell(event, value)

    def tell_one(self, extension: Extension, event: EventName, value: Any = None) -> None:
        """Tell one of them."""
        ear = self._ears.get(extension.id)
        if ear is not None:
            ear.tell(event, value)

    def on_job(self, job: Job, event: Event) -> None:
        """Something happened to a job."""
        if not self._ears:
            return
        if isinstance(event, ImageReady):
            told = SavedPicture(path=event.path, infotext=event.infotext, owner=job.owner, saved=time.time())
            self.tell("image_saved", told)
        elif isinstance(event, ENDINGS):
            self.tell("job_ended", job.id)

    def close(self) -> None:
        """Nobody hears anything more."""
        with self._lock:
            ears = list(self._ears.values())
            self._ears.clear()
        for ear in ears:
            ear.close()
        for ear in ears:
            ear.join(CLOSED_WITHIN / len(ears))
