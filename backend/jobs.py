"""Jobs and the queue they wait in: requests go down, events come up."""

import itertools
import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Literal, Protocol

from backend.any_request import Request
from backend.errors import AtelierError, Cancelled, InvalidRequest, OutputError, Skipped, Stopped, UserError
from backend.events import ENDINGS, Event, Failed, Finished, ImageReady, Interrupted, Progress, Started

log = logging.getLogger(__name__)

State = Literal["queued", "running", "finished", "interrupted", "failed"]
KEPT_JOBS = 50  # ended jobs that stay in an owner's list


class Job:
    """One request on its way: its state, its events, and the wish to end it.

    Safe to use from any thread. Events are numbered from 1 in the order they happened.
    """

    def __init__(self, request: Request, owner: str, *, id: str | None = None, created: float | None = None):
        self.id = id or secrets.token_hex(16)
        self.request = request
        self.owner = owner
        self.created = time.time() if created is None else created
        self.rank = 0  # the list is in this order; given by the queue
        self._events: list[tuple[int, Event]] = []
        self._numbers = itertools.count(1)
        self._changed = threading.Condition()
        self._wish: type[Stopped] | None = None
        self._listeners: list[Callable[[Job], None]] = []

    def emit(self, event: Event) -> None:
        """Tell every watcher. A new `Progress` replaces the one before."""
        with self._changed:
            if isinstance(event, Progress):
                self._events = [kept for kept in self._events if not isinstance(kept[1], Progress)]
            self._events.append((next(self._numbers), event))
            self._changed.notify_all()
        for listener in self._listeners:
            listener(self)

    def listen(self, listener: Callable[["Job"], None]) -> None:
        """Call `listener(job)` after every event, on the thread that emitted it; it must return at once."""
        self._listeners.append(listener)

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


class Worker(Protocol):
    """What makes the pictures: the engine and what is beside it, or a scripted one in a test, which may know some kinds
    of request only."""

    def generate(self, request: Any, job: Job) -> None: ...


class JobStore(Protocol):
    """Where jobs survive the process."""

    def load(self) -> list[Job]: ...
    def save(self, job: Job) -> None: ...
    def forget(self, job: Job) -> None: ...


class JobQueue:
    """Jobs in order, one worker thread for the device, fair between owners.

    Who only looks (`jobs`, `find`, `line`) does not take the queue's lock, under which jobs are flushed to the disk.

    `prepare(request)` runs at the door, in the caller's thread: it returns the request as it will be run, or raises
    `UserError`, and then nothing is queued. `worker()` is called once, on the worker thread: it may take its time.
    """

    def __init__(
        self,
        worker: Callable[[], Worker],
        *,
        prepare: Callable[[Any], Request] = lambda request: request.resolved(),
        store: JobStore | None = None,
    ):
        self._make_worker = worker
        self._prepare = prepare
        self._store = store
        # Oldest first: ended, running, then queued in their order. Replaced whole, so that readers need no lock.
        self._jobs: tuple[Job, ...] = tuple(store.load()) if store else ()
        self._changed = threading.Condition()
        self._listeners: set[Callable[[Job], None]] = set()
        self._turns: dict[str, int] = {}  # of each owner the last one
        self._turn = itertools.count(1)
        self._closing = False
        self._thread: threading.Thread | None = None
        for job in self._jobs:
            job.listen(self._on_event)

    def start(self) -> None:
        """Begin to work, on a thread of its own."""
        self._thread = threading.Thread(target=self._work, name="worker", daemon=True)
        self._thread.start()

    def close(self, timeout: float = 10.0) -> None:
        """End the running job at its next step and wait up to `timeout` seconds; queued jobs stay in the store."""
        with self._changed:
            self._closing = True
            running = [job for job in self._jobs if job.state == "running"]
            self._changed.notify_all()
        for job in running:
            job.cancel()
        if self._thread:
            self._thread.join(timeout)

    def submit(self, request: Request, owner: str) -> Job:
        """Queue a request for `owner`. Raises `UserError` when it cannot be run as it is, or not be written down."""
        job = Job(self._prepare(request), owner)
        with self._changed:
            job.rank = self._jobs[-1].rank + 1 if self._jobs else 0
            self._save(job)
            job.listen(self._on_event)
            self._jobs = (*self._jobs, job)
            self._forget_oldest(owner)
            self._changed.notify_all()
        self._tell(job)
        return job

    def retry(self, job: Job) -> Job:
        """Queue the same request, seed and all, again."""
        return self.submit(job.request, job.owner)

    def jobs(self, owner: str) -> list[Job]:
        """The owner's jobs, in the order they run or ran."""
        return [job for job in self._jobs if job.owner == owner]

    def inputs(self) -> frozenset[str]:
        """The names of all pictures that were put in and that a job of anybody needs, or would if it were retried."""
        return frozenset(name for job in self._jobs for name in job.request.inputs)

    def line(self) -> Iterator[Job]:
        """Everybody's queued jobs in the order they will run: owners take turns, longest unserved first."""
        waiting: dict[str, deque[Job]] = {}
        for job in self._jobs:
            if job.state == "queued":
                waiting.setdefault(job.owner, deque()).append(job)
        owners = sorted(waiting, key=lambda owner: self._turns.get(owner, 0))
        while owners:
            for owner in owners:
                yield waiting[owner].popleft()
            owners = [owner for owner in owners if waiting[owner]]

    def find(self, id: str, owner: str) -> Job:
        """The owner's job of that id; `InvalidRequest` if there is none (also when it is somebody else's)."""
        for job in self.jobs(owner):
            if job.id == id:
                return job
        raise InvalidRequest("There is no such job in your list.")

    def cancel(self, job: Job) -> None:
        """Take a queued job out of the line, or end the running one at its next step."""
        with self._changed:
            job.cancel()
            waiting = job.state == "queued"
            if waiting:
                job.emit(Interrupted())

    def cancel_queued(self, owner: str) -> None:
        """Take all of the owner's waiting jobs out of the line."""
        for job in self.jobs(owner):
            if job.state == "queued":
                self.cancel(job)

    def move(self, job: Job, places: int) -> None:
        """Move a queued job `places` later (negative: earlier) among its owner's queued jobs.

        Raises `OutputError` when the disk says no: then it has moved until the next start.
        """
        with self._changed:
            mine = [other for other in self._jobs if other.owner == job.owner and other.state == "queued"]
            if job not in mine:
                return
            slots = [self._jobs.index(other) for other in mine]
            target = max(0, min(len(mine) - 1, mine.index(job) + places))
            ranks = [other.rank for other in mine]
            mine.remove(job)
            mine.insert(target, job)
            line = list(self._jobs)
            for slot, rank, other in zip(slots, ranks, mine, strict=True):
                line[slot], other.rank = other, rank
            self._jobs = tuple(line)
            self._tell(job)
            for other in mine:
                self._save(other)

    def forget(self, job: Job) -> None:
        """Take an ended job out of the list; its pictures stay where they are.

        Raises `OutputError` when the disk says no: then it stays.
        """
        with self._changed:
            if job.ended and job in self._jobs:
                self._drop(job)
        self._tell(job)

    def subscribe(self, listener: Callable[[Job], None]) -> Callable[[], None]:
        """Call `listener(job)` whenever anything about a job changes; returns the function that ends it."""
        self._listeners.add(listener)
        return lambda: self._listeners.discard(listener)

    def _forget_oldest(self, owner: str) -> None:
        ended = [job for job in self.jobs(owner) if job.ended]
        try:
            for job in ended[:-KEPT_JOBS]:
                self._drop(job)
        except OutputError as error:
            log.warning("%s", error)  # the next job tries again

    def _drop(self, job: Job) -> None:
        if self._store:
            self._store.forget(job)
        self._jobs = tuple(other for other in self._jobs if other is not job)

    def _save(self, job: Job) -> None:
        if self._store:
            self._store.save(job)

    def _on_event(self, job: Job) -> None:
        newest = job.since()[-1][1]
        if not isinstance(newest, Progress):
            with self._changed:
                try:
                    if job in self._jobs:
                        self._save(job)
                except OutputError as error:
                    log.warning("%s", error)  # the picture matters more than its row
        self._tell(job)

    def _tell(self, job: Job) -> None:
        for listener in tuple(self._listeners):
            listener(job)

    def _next(self) -> Job | None:
        return next(self.line(), None)

    def _work(self) -> None:
        worker: Worker | None = None
        try:
            worker = self._make_worker()
        except AtelierError as error:
            log.warning("%s", error)  # told to the artist by the first job, which tries again
        except Exception:
            log.exception("the worker could not be made; the first job tries again")
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closing or self._next() is not None)
                job = self._next()
                if self._closing or job is None:
                    return
                self._turns[job.owner] = next(self._turn)
                job.emit(Started())
            worker = self._run(worker, job)

    def _run(self, worker: Worker | None, job: Job) -> Worker | None:
        """Whatever is raised in here, the job ends with a sentence, and the thread lives."""
        try:
            worker = worker or self._make_worker()
            worker.generate(job.request, job)
            job.emit(Finished())
        except Stopped:
            job.emit(Interrupted())
        except UserError as error:
            job.emit(Failed(message=str(error)))
        except Exception as error:
            log.exception("job %s failed", job.id)
            job.emit(Failed(message=_sentence(error)))
        return worker


def _sentence(error: Exception) -> str:
    if type(error).__name__ == "OutOfMemoryError":  # torch's; it is not imported here
        return "The device ran out of memory: try a smaller size or batch, and see the console for the numbers."
    lines = str(error).splitlines()
    return f"This picture could not be made: {type(error).__name__}: {lines[0] if lines else 'no reason given'}."
