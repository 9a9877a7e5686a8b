"""The queue that jobs wait in: requests go down, events come up."""

import itertools
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from backend.any_request import Request
from backend.errors import (
    Abandoned,
    AtelierError,
    InvalidRequest,
    OutOfMemory,
    OutputError,
    QueueFull,
    Stopped,
    UnknownJob,
    UserError,
)
from backend.events import Event, Failed, Finished, Interrupted, Notice, Progress, Started
from backend.job import Job, Once
from backend.outlook import Outlook, Pace, outlooks

log = logging.getLogger(__name__)

KEPT_JOBS = 50  # ended jobs that stay in an owner's list
USUAL_WAIT = 10  # seconds that are named where none were measured
LONGEST_WAIT = 3600
BEGUN_AGAIN = "Atelier was stopped while this was being made: it is made again from the start."
OUT_OF_MEMORY = "The device ran out of memory: try a smaller size or batch, and see the console for the numbers."


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How many jobs may wait: of all owners together, and of each; 0 is no limit."""

    total: int = 0
    each: int = 0


class Worker(Protocol):
    """What makes the pictures: the engine and what is beside it, or a scripted one in a test, which may know some kinds
    of request only."""

    def generate(self, request: Any, job: Job) -> None: ...


class JobStore(Protocol):
    """Where jobs survive the process."""

    def load(self) -> list[Job]: ...
    def save(self, job: Job, *, flush: bool = True) -> None: ...
    def forget(self, job: Job, *, flush: bool = True) -> None: ...


class JobQueue:
    """Jobs in order, one worker thread for the device, fair between owners.

    Who only looks (`jobs`, `find`, `line`) does not take the queue's lock, under which jobs are flushed to the disk.

    `prepare(request)` runs at the door, in the caller's thread: it returns the request as it will be run, or raises
    `UserError`, and then nothing is queued. `worker()` is called once, on the worker thread: it may take its time.
    `limits()` is asked at each submission.
    """

    def __init__(
        self,
        worker: Callable[[], Worker],
        *,
        prepare: Callable[[Any], Request] = lambda request: request.resolved(),
        store: JobStore | None = None,
        limits: Callable[[], Limits] = Limits,
    ):
        self._limits = limits
        self._pace = Pace()
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
        self._running: Job | None = None
        self._hearers: set[Callable[[Job, Event], None]] = set()
        for job in self._jobs:
            job.listen(self._on_event)

    def start(self) -> None:
        """Begin to work, on a thread of its own."""
        with self._changed:
            self._begin()

    def _begin(self) -> None:
        self._thread = threading.Thread(target=self._work, name="worker", daemon=True)
        self._thread.start()

    def give_up(self, thread: int, fault: UserError) -> bool:
        """Fail the job that the worker thread is at, which is held up, and let a new thread with a new worker take the
        queue. `thread` is the one that is held up: False where it is not the worker's, and then nothing is done."""
        with self._changed:
            if self._thread is None or self._thread.ident != thread:
                return False
            if self._running is not None:
                _fail(self._running, fault)
            self._begin()
        return True

    def fail(self, id: str, fault: UserError) -> None:
        """End a job that waits with a fault: what was tried before must not be tried again."""
        with self._changed:
            for job in self._jobs:
                if job.id == id and not job.ended:
                    _fail(job, fault)

    def job_on(self, thread: int) -> str:
        """The id of the job that a thread is at; empty for any other than the worker's."""
        running = self._running
        mine = self._thread is not None and self._thread.ident == thread
        return running.id if mine and running is not None else ""

    def hear(self, listener: Callable[[Job, Event], None]) -> Callable[[], None]:
        """Call `listener(job, event)` for each event of each job, on the thread that it happens on; returns the
        function that ends it."""
        self._hearers.add(listener)
        return lambda: self._hearers.discard(listener)

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

    def submit(self, request: Request, owner: str, *, once: Once | None = None) -> Job:
        """Queue a request for `owner`; of two submissions of one name the first one's job is the second's.

        Raises `UserError` when it cannot be run as it is, or not be written down, `QueueFull` when too many wait, and
        `InvalidRequest` when the name was used for another request.
        """
        return self.submit_all([request], owner, once=once)[0]

    def submit_all(
        self, requests: Iterable[Request], owner: str, *, admitted: bool = False, once: Once | None = None
    ) -> list[Job]:
        """Queue requests one behind the other: all of them, or none. Those that were `admitted` before and come again
        are held up by no limit. `once` names them all together.

        Raises what `submit` does, and `InvalidRequest` for more than may ever wait.
        """
        if known := self._known_all(once, owner):
            return known
        jobs = [
            Job(self._prepare(request), owner, once=once.part(number) if once else None)
            for number, request in enumerate(requests)
        ]
        with self._changed:
            if known := self._known_all(once, owner):
                return known
            if not admitted:
                self._check_room(owner, len(jobs))
            self._take(jobs)
        for job in jobs:
            self._tell(job)
        return jobs

    def _take(self, jobs: Sequence[Job]) -> None:
        """Put jobs of one owner at the end of the line. Raises `OutputError`, and then none of them is there."""
        first = self._jobs[-1].rank + 1 if self._jobs else 0
        try:
            for number, job in enumerate(jobs):
                job.rank = first + number
                self._save(job, flush=number == len(jobs) - 1)  # which takes those before it along
        except OutputError:
            self._unsave(jobs)
            raise
        for job in jobs:
            job.listen(self._on_event)
        self._jobs = (*self._jobs, *jobs)
        for owner in {job.owner for job in jobs}:
            self._forget_oldest(owner)
        self._changed.notify_all()

    def _unsave(self, jobs: Sequence[Job]) -> None:
        try:
            for job in jobs:
                if self._store:
                    self._store.forget(job)
        except OutputError as error:
            log.warning("%s", error)

    def _known(self, once: Once, owner: str) -> Job | None:
        for job in self.jobs(owner):
            if job.once and job.once.key == once.key:
                if job.once.asked != once.asked:
                    raise InvalidRequest(f"The key {once.key!r} was used for another request: choose a new one.")
                return job
        return None

    def _known_all(self, once: Once | None, owner: str) -> list[Job]:
        """Every job that a submission of that name became, if there was one."""
        if once is None or not self._known(once, owner):
            return []
        found = []
        while known := self._known(once.part(len(found)), owner):
            found.append(known)
        return found

    def _check_room(self, owner: str, count: int = 1) -> None:
        """Raises `QueueFull` where there is no room for so many jobs now, `InvalidRequest` where there never is."""
        limits = self._limits()
        waiting = [job.owner for job in self._jobs if job.state == "queued"]
        mine = waiting.count(owner)
        for limit, there, whose, said in (
            (limits.total, len(waiting), None, f"{len(waiting):,} jobs wait already"),
            (limits.each, mine, owner, f"{mine:,} of your jobs wait already"),
        ):
            if not limit or there + count <= limit:
                continue
            if count > limit:
                raise InvalidRequest(
                    f"This needs {count:,} places in the queue at once; {limit:,} are allowed: ask for less, or raise "
                    "the limit in the settings."
                )
            wait = self._wait_of(whose, there + count - limit)
            needs = f", and this needs {count:,} of {limit:,} places" if count > 1 else ""
            raise QueueFull(f"The queue is full: {said}{needs}. Try again in {wait:,} seconds.", wait_seconds=wait)

    def _wait_of(self, owner: str | None, count: int) -> int:
        """Whole seconds until so many jobs of the owner, or of anybody, have left the line."""
        outlook = self.outlook()
        mine = (job for job in self.line() if owner in (None, job.owner))
        last = next(itertools.islice(mine, count - 1, None), None)
        seconds = outlook[last.id].begins_in if last and last.id in outlook else None
        return USUAL_WAIT if seconds is None else max(1, min(LONGEST_WAIT, math.ceil(seconds)))

    def retry(self, job: Job) -> Job:
        """Queue the same request, seed and all, again."""
        return self.submit(job.request, job.owner)

    def everybody(self) -> Sequence[Job]:
        """Everybody's jobs, in the order they run or ran."""
        return self._jobs

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

    @property
    def is_working(self) -> bool:
        """Whether a job runs."""
        return any(job.state == "running" for job in self._jobs)

    def outlook(self) -> Mapping[str, Outlook]:
        """Of every job that runs or waits where it stands, by its id."""
        running = next((job for job in self._jobs if job.state == "running"), None)
        left = 0.0 if running is None else self._left(running)
        line = list(self.line())
        found = dict(
            zip((job.id for job in line), outlooks(left, (job.request for job in line), self._pace), strict=True)
        )
        if running is not None:
            found[running.id] = Outlook(position=0, begins_in=0.0, seconds_left=left)
        return found

    def position(self, job: Job) -> int:
        """The job's place in everybody's line, from 1; 0 for one that does not wait."""
        outlook = self.outlook().get(job.id)
        return outlook.position if outlook else 0

    def seconds_left(self, job: Job) -> float | None:
        """How long until the job will have ended, if anything like it was measured; 0 for one that has."""
        if job.ended:
            return 0.0
        outlook = self.outlook().get(job.id)
        return outlook.seconds_left if outlook else None

    def _left(self, running: Job) -> float | None:
        progress = next((event for _, event in running.since() if isinstance(event, Progress)), None)
        if progress is not None:
            return progress.remaining
        needs = self._pace.seconds(running.request)
        return None if needs is None else max(0.0, needs - (time.monotonic() - running.begun_at))

    def find(self, id: str, owner: str) -> Job:
        """The owner's job of that id; `UnknownJob` if there is none (also when it is somebody else's)."""
        for job in self.jobs(owner):
            if job.id == id:
                return job
        raise UnknownJob("There is no such job in your list.")

    def cancel(self, job: Job) -> None:
        """Take a queued job out of the line, or end the running one at its next step."""
        with self._changed:
            job.cancel()
            if job.state == "queued":
                job.emit(Interrupted())
            elif not job.ended:
                self._save_if_possible(job)  # that it is not begun again after a stop of the whole program

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
                self._drop(job, flush=False)  # that one is gone is no promise, and a new job waits
        except OutputError as error:
            log.warning("%s", error)  # the next job tries again

    def _drop(self, job: Job, *, flush: bool = True) -> None:
        if self._store:
            self._store.forget(job, flush=flush)
        self._jobs = tuple(other for other in self._jobs if other is not job)

    def _save(self, job: Job, *, flush: bool = True) -> None:
        if self._store:
            self._store.save(job, flush=flush)

    def _on_event(self, job: Job) -> None:
        newest = job.since()[-1][1]
        if not isinstance(newest, Progress):
            with self._changed:
                # That somebody ended it holds; all else a power cut may take back, and it is made again.
                self._save_if_possible(job, flush=isinstance(newest, Interrupted))
        for hearer in tuple(self._hearers):
            hearer(job, newest)
        self._tell(job)

    def _save_if_possible(self, job: Job, *, flush: bool = True) -> None:
        try:
            if job in self._jobs and self._store:
                self._store.save(job, flush=flush)
        except OutputError as error:
            log.warning("%s", error)  # the picture matters more than its row

    def _tell(self, job: Job) -> None:
        for listener in tuple(self._listeners):
            listener(job)

    def _next(self) -> Job | None:
        return next(self.line(), None)

    def _work(self) -> None:
        try:
            self._keep_working()
        except Abandoned:
            log.info("a thread that an extension held up has ended")

    def _keep_working(self) -> None:
        worker: Worker | None = None
        try:
            worker = self._make_worker()
        except AtelierError as error:
            log.warning("%s", error)  # told to the artist by the first job, which tries again
        except Exception:
            log.exception("the worker could not be made; the first job tries again")
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closing or self._is_given_up() or self._next() is not None)
                job = self._next()
                if self._closing or self._is_given_up() or job is None:
                    return
                self._running = job
                self._turns[job.owner] = next(self._turn)
                job.begun += 1
                job.begun_at = time.monotonic()
                job.emit(Started())
                if job.begun > 1:
                    job.emit(Notice(message=BEGUN_AGAIN))
            worker = self._run(worker, job)

    def _is_given_up(self) -> bool:
        return self._thread is not threading.current_thread()

    def _run(self, worker: Worker | None, job: Job) -> Worker | None:
        """Whatever is raised in here, the job ends with a sentence, and the thread lives."""
        try:
            worker = worker or self._make_worker()
            worker.generate(job.request, job)
            if len(job.images) == job.request.pictures:  # one that was skipped through says nothing
                self._pace.note(job.request, time.monotonic() - job.begun_at)
            job.emit(Finished())
        except Stopped:
            job.emit(Interrupted())
        except UserError as error:
            _fail(job, error)
        except Abandoned:
            raise
        except BaseException as error:  # nobody above would hear of it, and the queue would stand still
            log.exception("job %s failed", job.id)
            job.emit(_fault(error))
        return worker


def _fail(job: Job, fault: UserError) -> None:
    job.emit(Failed(message=str(fault), kind=fault.kind or "failed"))


def _fault(error: BaseException) -> Failed:
    if type(error).__name__ == "OutOfMemoryError":  # torch's; it is not imported here
        return Failed(message=OUT_OF_MEMORY, kind=OutOfMemory.kind)
    lines = str(error).splitlines()
    reason = lines[0] if lines else "no reason given"
    return Failed(message=f"This picture could not be made: {type(error).__name__}: {reason}.")
