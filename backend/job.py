"""One request on its way: its state, its events, and the wish to end it."""

import itertools
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from backend.any_request import Request
from backend.errors import Cancelled, Skipped, Stopped, UnknownJob
from backend.events import ENDINGS, Event, Failed, Finished, ImageReady, Interrupted, Progress

State = Literal["queued", "running", "finished", "interrupted", "failed"]


@dataclass(frozen=True, kw_only=True)
class Once:
    """A name that an owner gives a submission, so that sending it again queues nothing more, and what was asked for
    then, as a hash."""

    key: str
    asked: str

    def part(self, number: int) -> "Once":
        """The name of one of several jobs, from 0, that a submission became; no sender's name has a line break."""
        return replace(self, key=f"{self.key}\n{number}") if number else self


class Job:
    """One request on its way: its state, its events, and the wish to end it.

    Safe to use from any thread. Events are numbered from 1 in the order they happened. `once` names the submission that
    it came with, if that had a name.
    """

    def __init__(
        self,
        request: Request,
        owner: str,
        *,
        id: str | None = None,
        created: float | None = None,
        once: Once | None = None,
    ):
        self.id = id or secrets.token_hex(16)
        self.request = request
        self.owner = owner
        self.created = time.time() if created is None else created
        self.once = once
        self.rank = 0  # the list is in this order; given by the queue
        self.begun = 0  # how often the worker took it up: again after a stop of the whole program
        self.begun_at = 0.0  # by the monotonic clock
        self._events: list[tuple[int, Event]] = []
        self._numbers = itertools.count(1)
        self._changed = threading.Condition()
        self._wish: type[Stopped] | None = None
        self._listeners: list[Callable[[Job], None]] = []

    def emit(self, event: Event) -> None:
        """Tell every watcher. A new `Progress` replaces the one before; what comes after the end, from a thread that
        was given up, is not heard."""
        with self._changed:
            if self._events and isinstance(self._events[-1][1], ENDINGS):
                return
            if isinstance(event, Progress):
                self._events = [kept for kept in self._events if not isinstance(kept[1], Progress)]
            self._events.append((next(self._numbers), event))
            self._changed.notify_all()
        for listener in tuple(self._listeners):
            listener(self)

    def listen(self, listener: Callable[["Job"], None]) -> Callable[[], None]:
        """Call `listener(job)` after every event, on the thread that emitted it; it must return at once. Returns the
        function that ends it."""
        with self._changed:
            self._listeners.append(listener)
        return lambda: self._silence(listener)

    def _silence(self, listener: Callable[["Job"], None]) -> None:
        with self._changed:
            if listener in self._listeners:
                self._listeners.remove(listener)

    def since(self, after: int = 0) -> list[tuple[int, Event]]:
        """The events numbered above `after` that are kept, without waiting."""
        with self._changed:
            return [(number, event) for number, event in self._events if number > after]

    def follow(self, after: int = 0) -> Iterator[Event]:
        """Every event from number `after` + 1 on, waiting for new ones until the job has ended.

        Any number of watchers may follow, and each may start at any time.
        """
        while True:
            for number, event in self._wait_since(after):
                after = number
                yield event
                if isinstance(event, ENDINGS):
                    return

    def _wait_since(self, after: int) -> list[tuple[int, Event]]:
        """`since(after)`, as soon as there is something in it."""
        with self._changed:
            return self._changed.wait_for(lambda: self.since(after))

    @property
    def state(self) -> State:
        """Where the job is, read off its events."""
        with self._changed:
            if not self._events:
                return "queued"
            match self._events[-1][1]:
                case Finished():
                    return "finished"
                case Interrupted():
                    return "interrupted"
                case Failed():
                    return "failed"
            return "running"

    @property
    def ended(self) -> bool:
        return self.state not in ("queued", "running")

    @property
    def images(self) -> list[ImageReady]:
        """The pictures made so far."""
        return [event for _, event in self.since() if isinstance(event, ImageReady)]

    def image(self, index: int) -> ImageReady:
        """The picture of that number. Raises `UnknownJob` if there is none."""
        for image in self.images:
            if image.index == index:
                return image
        raise UnknownJob(f"This job has no picture number {index}.")

    @property
    def cancelled(self) -> bool:
        """Whether somebody asked for its end."""
        return self._wish is Cancelled

    def cancel(self) -> None:
        """End the whole job at the next step; pictures that are there are kept."""
        with self._changed:
            self._wish = Cancelled

    def skip(self) -> None:
        """End the pictures being made now at the next step, and go on with the next."""
        with self._changed:
            if self._wish is None:
                self._wish = Skipped

    def next_pictures(self) -> None:
        """Called by the engine before each batch: forgets a skip that came too late for the one before, then checks.

        Raises `Cancelled`.
        """
        with self._changed:
            if self._wish is Skipped:
                self._wish = None
            self.check()

    def check(self) -> None:
        """Called by the engine between steps: raises `Cancelled` or `Skipped` when somebody asked for it."""
        with self._changed:
            wish = self._wish
            if wish is Skipped:
                self._wish = None
        if wish:
            raise wish
