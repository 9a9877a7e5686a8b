"""The queue with scripted workers: what is tested here is order, events and endings, not pictures."""

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import pytest

from backend.errors import (
    Cancelled,
    InvalidRequest,
    ModelFileError,
    OutOfMemory,
    OutputError,
    QueueFull,
    Skipped,
    UnknownJob,
    UserError,
)
from backend.events import Failed, Finished, ImageReady, Interrupted, Notice, Progress, Started
from backend.job_store import SQLiteJobStore
from backend.jobs import BEGUN_AGAIN, KEPT_JOBS, USUAL_WAIT, Job, JobQueue, JobStore, Limits, Once
from backend.request import GenerationRequest

WAIT = 20.0  # seconds after which a test has hung


def progress(step: int, preview: bytes | None = None) -> Progress:
    return Progress(step=step, steps=9, batch=1, batches=1, rate=1, remaining=1, preview=preview)


def image(index: int) -> ImageReady:
    return ImageReady(
        index=index, seed=index, path=Path(f"{index}.png"), width=64, height=64, infotext="", request="{}"
    )


class Script:
    """A worker that runs a function for each job, and remembers the order."""

    def __init__(self, play: Callable[[Job], None] = lambda _job: None):
        self.play = play
        self.order: list[str] = []

    def generate(self, request: GenerationRequest, job: Job) -> None:
        self.order.append(request.prompt)
        self.play(job)


class Gate(Script):
    """A worker that waits in each job until it is let on."""

    def __init__(self) -> None:
        super().__init__(self._wait)
        self.entered = threading.Semaphore(0)
        self.open = threading.Semaphore(0)

    def _wait(self, job: Job) -> None:
        self.entered.release()
        while not self.open.acquire(timeout=0.01):
            job.check()


class Start(Protocol):
    """Makes a queue that works, and ends with the test."""

    def __call__(self, worker: Script, *, store: JobStore | None = None) -> JobQueue: ...


@pytest.fixture
def started() -> Iterator[Start]:
    queues: list[JobQueue] = []

    def start(worker: Script, *, store: JobStore | None = None) -> JobQueue:
        queue = JobQueue(lambda: worker, store=store)
        queue.start()
        queues.append(queue)
        return queue

    yield start
    for queue in queues:
        queue.close()


def ends(job: Job) -> list[str]:
    return [type(event).__name__ for event in job.follow()]


def asked(prompt: str) -> GenerationRequest:
    return GenerationRequest(prompt=prompt, seed=1)


def test_every_watcher_sees_every_event_whenever_it_starts(started: Start) -> None:
    gate = threading.Event()

    def play(job: Job) -> None:
        job.emit(image(0))
        gate.wait(WAIT)
        job.emit(image(1))

    job = started(Script(play)).submit(asked("a"), "me")
    early: list[str] = []
    watcher = threading.Thread(target=lambda: early.extend(ends(job)))
    watcher.start()
    gate.set()
    watcher.join(WAIT)
    late = ends(job)
    assert early == late == ["Started", "ImageReady", "ImageReady", "Finished"]
    assert list(job.follow(after=3)) == [Finished()]


def test_of_progress_only_the_newest_is_kept() -> None:
    job = Job(asked("a"), "me")
    for step in range(1, 100):
        job.emit(progress(step, b"jpeg"))
        if step == 50:
            job.emit(image(0))
    kept = job.since()
    assert [type(event) for _, event in kept] == [ImageReady, Progress]
    assert kept[-1][1] == progress(99, b"jpeg")
    # A watcher that had seen up to the middle still gets the newest, and nothing twice.
    assert [event for _, event in job.since(after=kept[0][0])] == [progress(99, b"jpeg")]


def test_owners_take_turns(started: Start) -> None:
    gate = Gate()
    queue = started(gate)
    first = queue.submit(asked("me 0"), "me")
    assert gate.entered.acquire(timeout=WAIT)
    mine = [queue.submit(asked(f"me {k}"), "me") for k in (1, 2, 3)]
    theirs = [queue.submit(asked(f"you {k}"), "you") for k in (1, 2)]
    for _ in range(6):
        gate.open.release()
    for job in (first, *mine, *theirs):
        assert ends(job)[-1] == "Finished"
    assert gate.order == ["me 0", "you 1", "me 1", "you 2", "me 2", "me 3"]


def test_no_owner_starves(started: Start) -> None:
    gate = Gate()
    queue = started(gate)
    jobs = [queue.submit(asked("A0"), "A")]
    assert gate.entered.acquire(timeout=WAIT)
    jobs += [queue.submit(asked(prompt), prompt[0]) for prompt in ("A1", "A2", "A3", "B0", "B1", "B2", "C0", "C1")]
    line = [job.request.prompt for job in queue.line()]
    assert line == ["B0", "C0", "A1", "B1", "C1", "A2", "B2", "A3"]
    gate.open.release()  # B0 begins, and D comes: who was never served is next
    assert gate.entered.acquire(timeout=WAIT)
    jobs.append(queue.submit(asked("D0"), "D"))
    line = [job.request.prompt for job in queue.line()]
    assert line == ["C0", "D0", "A1", "B1", "C1", "A2", "B2", "A3"]
    for _ in jobs:
        gate.open.release()
    for job in jobs:
        assert ends(job)[-1] == "Finished"
    assert gate.order == ["A0", "B0", *line]
    assert list(queue.line()) == []


def test_the_running_job_ends_at_a_step_and_the_next_goes_on(started: Start) -> None:
    gate = Gate()
    queue = started(gate)
    running, waiting = queue.submit(asked("a"), "me"), queue.submit(asked("b"), "me")
    assert gate.entered.acquire(timeout=WAIT)
    queue.cancel(running)
    gate.entered.acquire(timeout=WAIT)
    gate.open.release()
    assert [ends(running)[-1], ends(waiting)[-1]] == ["Interrupted", "Finished"]
    queue.cancel(running)  # after the end: nothing happens
    assert ends(running)[-1] == "Interrupted"


def test_a_cancelled_queued_job_never_runs(started: Start) -> None:
    gate = Gate()
    queue = started(gate)
    first = queue.submit(asked("a"), "me")
    assert gate.entered.acquire(timeout=WAIT)
    second, third, other = (queue.submit(asked(p), o) for p, o in (("b", "me"), ("c", "me"), ("d", "you")))
    queue.cancel_queued("me")
    assert [second.state, third.state, other.state] == ["interrupted", "interrupted", "queued"]
    gate.open.release()
    gate.open.release()
    assert [ends(first)[-1], ends(other)[-1]] == ["Finished", "Finished"]
    assert gate.order == ["a", "d"]


def test_queued_jobs_change_places(started: Start) -> None:
    gate = Gate()
    queue = started(gate)
    queue.submit(asked("0"), "me")
    assert gate.entered.acquire(timeout=WAIT)
    jobs = [queue.submit(asked(str(k)), "me") for k in (1, 2, 3)]
    queue.move(jobs[2], -2)
    queue.move(jobs[0], 99)
    assert [job.request.prompt for job in queue.jobs("me")] == ["0", "3", "2", "1"]
    for _ in range(4):
        gate.open.release()
    for job in jobs:
        assert ends(job)[-1] == "Finished"
    assert gate.order == ["0", "3", "2", "1"]


def test_faults_end_in_a_sentence_and_the_worker_lives(started: Start) -> None:
    def play(job: Job) -> None:
        if job.request.prompt == "user":
            raise UserError("The file is empty.")
        if job.request.prompt == "bug":
            raise ZeroDivisionError("division by zero")

    queue = started(Script(play))
    jobs = [queue.submit(asked(p), "me") for p in ("user", "bug", "fine")]
    last = [list(job.follow())[-1] for job in jobs]
    assert last[0] == Failed(message="The file is empty.")
    assert isinstance(last[1], Failed)
    assert "division by zero" in last[1].message
    assert "Traceback" not in last[1].message
    assert last[2] == Finished()


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (UserError("There is no cuda device here."), "There is no cuda device here."),
        (sqlite3.DatabaseError("file is not a database"), "DatabaseError: file is not a database."),
    ],
)
def test_a_worker_that_cannot_be_made_fails_the_job_not_the_queue(fault: Exception, words: str) -> None:
    made = []

    def make() -> Script:
        made.append(1)
        if len(made) < 3:  # once at the start, once for the first job
            raise fault
        return Script()

    queue = JobQueue(make)
    queue.start()
    first = list(queue.submit(asked("a"), "me").follow())
    second = list(queue.submit(asked("b"), "me").follow())
    queue.close()
    assert isinstance(first[-1], Failed)
    assert first[-1].message.endswith(words)
    assert second[-1] == Finished()


def test_nothing_is_queued_when_the_door_says_no() -> None:
    def refuse(_request: GenerationRequest) -> GenerationRequest:
        raise InvalidRequest("There is no sampler called 'x'.")

    queue = JobQueue(lambda: Script(), prepare=refuse)
    with pytest.raises(InvalidRequest):
        queue.submit(asked("a"), "me")
    assert queue.jobs("me") == []


def test_nobody_finds_another_owners_job() -> None:
    queue = JobQueue(lambda: Script())
    job = queue.submit(asked("a"), "me")
    assert queue.find(job.id, "me") is job
    with pytest.raises(InvalidRequest):
        queue.find(job.id, "you")


def test_skip_is_told_once_and_cancel_until_the_end() -> None:
    job = Job(asked("a"), "me")
    job.check()
    job.skip()
    with pytest.raises(Skipped):
        job.check()
    job.check()
    job.cancel()
    job.skip()  # cannot weaken a cancel
    for _ in range(2):
        with pytest.raises(Cancelled):
            job.check()


def test_a_skip_that_came_too_late_is_forgotten_and_a_cancel_is_not() -> None:
    job = Job(asked("a"), "me")
    job.next_pictures()
    job.skip()  # while a checkpoint is loaded, or a picture decoded or saved
    job.next_pictures()
    job.check()
    job.cancel()
    with pytest.raises(Cancelled):
        job.next_pictures()


class Meddled(Job):
    """A job that somebody cancels just when its wish was read."""

    armed = False

    def __getattribute__(self, name: str) -> object:
        value = super().__getattribute__(name)
        if name == "_wish" and self.armed:
            self.armed = False
            self.meddler = threading.Thread(target=self.cancel)
            self.meddler.start()
            self.meddler.join(0.2)  # until it has done it, unless it is kept waiting
        return value


@pytest.mark.parametrize("act", ["skip", "check", "next_pictures"])
def test_nothing_weakens_a_cancel_that_comes_at_the_same_moment(act: str) -> None:
    job = Meddled(asked("a"), "me")
    if act != "skip":
        job.skip()
    job.armed = True
    with contextlib.suppress(Skipped, Cancelled):
        getattr(job, act)()
    job.meddler.join(WAIT)
    with pytest.raises(Cancelled):
        job.check()


def test_a_retry_asks_for_the_same_picture(started: Start) -> None:
    queue = started(Script())
    job = queue.submit(GenerationRequest(prompt="a"), "me")
    ends(job)
    again = queue.retry(job)
    assert again.request == job.request
    assert again.request.seed >= 0
    assert again.id != job.id


def test_jobs_survive_the_process(tmp_path: Path) -> None:
    path = tmp_path / "queue.sqlite3"
    gate = Gate()
    before = JobQueue(lambda: gate, store=SQLiteJobStore(path))
    done = before.submit(asked("done"), "me")
    before.start()
    gate.open.release()
    ends(done)
    running = before.submit(GenerationRequest(prompt="running", seed=1, batch_count=2), "me")
    gate.entered.acquire(timeout=WAIT)
    gate.entered.acquire(timeout=WAIT)
    running.emit(image(0))
    waiting = [before.submit(asked(p), "me") for p in ("b", "c")]
    before.move(waiting[1], -1)

    # As after a kill: nobody closed anything.
    script = Script()
    after = JobQueue(lambda: script, store=SQLiteJobStore(path))
    by_id = {job.id: job for job in after.jobs("me")}
    assert by_id[done.id].state == "finished"
    assert by_id[running.id].state == "queued"
    assert by_id[running.id].images == []  # it is made again from the start
    after.start()
    again = list(by_id[running.id].follow())
    assert again == [Started(), Notice(message=BEGUN_AGAIN), Finished()]
    for job in waiting:
        assert ends(by_id[job.id])[-1] == "Finished"
    assert script.order == ["running", "c", "b"]
    after.close()
    before.close()


def test_ended_jobs_do_not_pile_up(started: Start, tmp_path: Path) -> None:
    queue = started(Script(), store=SQLiteJobStore(tmp_path / "queue.sqlite3"))
    jobs = [queue.submit(asked(str(k)), "me") for k in range(KEPT_JOBS + 5)]
    for job in jobs:
        ends(job)
    queue.submit(asked("last"), "me")
    kept = [job.request.prompt for job in queue.jobs("me")]
    assert kept[0] == "5"
    assert len(kept) == KEPT_JOBS + 1


def test_listeners_hear_of_every_change(started: Start) -> None:
    gate = Gate()
    queue = started(gate)
    queue.submit(asked("ahead"), "me")
    assert gate.entered.acquire(timeout=WAIT)
    heard: list[str] = []
    told_of_the_end = threading.Event()

    def listen(job: Job) -> None:
        if job.request.prompt == "a":
            heard.append(job.state)
            if job.ended:
                told_of_the_end.set()

    stop = queue.subscribe(listen)
    queue.submit(asked("a"), "me")
    gate.open.release()
    gate.open.release()
    assert told_of_the_end.wait(WAIT)
    assert list(dict.fromkeys(heard)) == ["queued", "running", "finished"]
    stop()
    again = queue.submit(asked("a"), "me")
    gate.open.release()
    ends(again)
    assert heard.count("queued") == heard.count("finished") == 1


def test_started_is_the_first_event(started: Start) -> None:
    job = started(Script()).submit(asked("a"), "me")
    events = list(job.follow())
    assert events == [Started(), Finished()]
    assert not any(isinstance(event, Interrupted) for event in events)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (UserError("a"), "failed"),
        (InvalidRequest("a"), "invalid_value"),
        (ModelFileError("a"), "model_not_found"),
        (OutOfMemory("a"), "oom"),
        (OutputError("a"), "not_saved"),
        (ZeroDivisionError("a"), "failed"),
        (type("OutOfMemoryError", (RuntimeError,), {})("a"), "oom"),
    ],
)
def test_a_failed_job_says_in_a_word_why(fault: Exception, kind: str, started: Start) -> None:
    def play(_job: Job) -> None:
        raise fault

    last = list(started(Script(play)).submit(asked("a"), "me").follow())[-1]
    assert isinstance(last, Failed)
    assert last.kind == kind


def full(limits: Limits) -> JobQueue:
    return JobQueue(lambda: Script(), limits=lambda: limits)


def test_a_full_line_says_so_and_when_to_try_again() -> None:
    queue = full(Limits(total=5, each=3))
    running = queue.submit(asked("a"), "me")
    running.emit(Started())
    for _ in range(3):
        queue.submit(asked("a"), "me")
    with pytest.raises(QueueFull, match="3 of your jobs wait already") as no:
        queue.submit(asked("a"), "me")
    assert no.value.wait_seconds == USUAL_WAIT  # nothing was measured
    running.emit(Progress(step=1, steps=9, batch=1, batches=1, rate=1, remaining=41.5))
    with pytest.raises(QueueFull, match="Try again in 42 seconds") as no:
        queue.submit(asked("a"), "me")
    assert no.value.wait_seconds == 42
    queue.submit(asked("a"), "you")
    queue.submit(asked("a"), "you")
    with pytest.raises(QueueFull, match="5 jobs wait already"):
        queue.submit(asked("a"), "another")
    assert len(list(queue.line())) == 5
    queue.cancel(queue.jobs("me")[1])
    queue.submit(asked("a"), "another")


def test_many_at_once_come_in_all_or_none(tmp_path: Path) -> None:
    def prepare(request: GenerationRequest) -> GenerationRequest:
        if request.prompt == "bad":
            raise UserError("This one cannot be made.")
        return request.resolved()

    store = SQLiteJobStore(tmp_path / "queue.sqlite3")
    queue = JobQueue(lambda: Script(), prepare=prepare, store=store, limits=lambda: Limits(each=3))
    first = queue.submit(asked("a"), "me")
    with pytest.raises(QueueFull, match=r"1 of your jobs wait already, and this needs 3 of 3 places\. Try again"):
        queue.submit_all([asked("b"), asked("c"), asked("d")], "me")
    with pytest.raises(InvalidRequest, match="needs 4 places in the queue at once; 3 are allowed"):
        queue.submit_all([asked(prompt) for prompt in "bcde"], "me")
    with pytest.raises(UserError, match="cannot be made"):
        queue.submit_all([asked("b"), asked("bad")], "me")
    assert list(queue.line()) == [first] and len(store.load()) == 1
    rest = queue.submit_all([asked("b"), asked("c")], "me")
    again = queue.submit_all([asked("d")], "me", admitted=True)
    assert list(queue.line()) == [first, *rest, *again]
    assert [job.id for job in store.load()] == [job.id for job in (first, *rest, *again)]


def test_of_many_none_comes_in_where_the_disk_says_no(tmp_path: Path) -> None:
    store = SQLiteJobStore(tmp_path / "queue.sqlite3")

    class Full:
        """The disk ends behind the second row."""

        room = 2

        def load(self) -> list[Job]:
            return store.load()

        def save(self, job: Job, *, flush: bool = True) -> None:
            if not self.room:
                raise OutputError("The disk is full.")
            self.room -= 1
            store.save(job, flush=flush)

        def forget(self, job: Job, *, flush: bool = True) -> None:
            store.forget(job, flush=flush)

    queue = JobQueue(lambda: Script(), store=Full())
    with pytest.raises(OutputError):
        queue.submit_all([asked(prompt) for prompt in "abc"], "me")
    assert queue.jobs("me") == [] and store.load() == []


def test_no_limit_is_no_limit() -> None:
    queue = full(Limits())
    for _ in range(20):
        queue.submit(asked("a"), "me")
    assert len(list(queue.line())) == 20


def test_sent_again_a_submission_queues_nothing_more() -> None:
    queue = full(Limits(each=1))
    once = Once(key="k", asked="1")
    job = queue.submit(asked("a"), "me", once=once)
    assert queue.submit(asked("a"), "me", once=once) is job  # though the line is full
    with pytest.raises(InvalidRequest, match="'k' was used for another request"):
        queue.submit(asked("b"), "me", once=Once(key="k", asked="2"))
    assert queue.submit(asked("a"), "you", once=once) is not job
    assert len(list(queue.line())) == 2


def test_of_many_that_send_one_submission_at_once_one_queues_it() -> None:
    ready = threading.Barrier(8)
    queue = full(Limits())
    found: list[Job] = []

    def send() -> None:
        ready.wait(WAIT)
        found.append(queue.submit(asked("a"), "me", once=Once(key="k", asked="1")))

    senders = [threading.Thread(target=send) for _ in range(8)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join(WAIT)
    assert len(found) == 8
    assert len(set(found)) == len(list(queue.line())) == 1


def test_the_line_says_where_each_job_stands_by_what_past_ones_took(started: Start) -> None:
    gate = Gate()

    def play(job: Job) -> None:
        gate._wait(job)
        job.emit(image(0))

    queue = started(Script(play))
    first = queue.submit(GenerationRequest(prompt="a", steps=10), "me")
    assert gate.entered.acquire(timeout=WAIT)
    jobs = [queue.submit(GenerationRequest(prompt="a", steps=steps), "me") for steps in (10, 20)]
    assert [queue.position(job) for job in (first, *jobs)] == [0, 1, 2]
    assert [queue.seconds_left(job) for job in (first, *jobs)] == [None, None, None]
    gate.open.release()
    assert gate.entered.acquire(timeout=WAIT)
    assert [queue.position(job) for job in (first, *jobs)] == [0, 0, 1]
    took = queue._pace.seconds(jobs[0].request)
    left = queue.seconds_left(jobs[1])
    assert took is not None and left is not None
    assert queue._pace.seconds(jobs[1].request) == pytest.approx(2 * took)
    assert 2 * took <= left <= 3 * took  # with what the one that runs still needs
    jobs[0].emit(Progress(step=1, steps=10, batch=1, batches=1, rate=1, remaining=100))
    assert queue.seconds_left(jobs[0]) == 100
    assert queue.seconds_left(jobs[1]) == pytest.approx(100 + 2 * took)
    for _ in jobs:
        gate.open.release()
    ends(jobs[1])
    assert queue.seconds_left(jobs[1]) == 0


def test_who_listens_no_longer_is_not_told() -> None:
    job, heard = Job(asked("a"), "me"), []
    end = job.listen(lambda _job: heard.append(1))
    job.emit(Started())
    end()
    end()
    job.emit(Finished())
    assert heard == [1]


def test_a_picture_is_found_by_its_number() -> None:
    job = Job(asked("a"), "me")
    job.emit(image(1))
    assert job.image(1) == image(1)
    with pytest.raises(UnknownJob, match="no picture number 0"):
        job.image(0)
