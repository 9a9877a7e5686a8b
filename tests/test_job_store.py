"""Jobs in SQLite: how they come back, and what happens where the disk says no."""

import json
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backend.errors import OutputError
from backend.events import Failed, Finished, ImageReady, Interrupted, Started
from backend.job_store import MOST_BEGINNINGS, SCHEMA, STOPPED, SQLiteJobStore
from backend.jobs import KEPT_JOBS, Job, JobQueue, Once
from backend.request import GenerationRequest

WAIT = 20.0  # seconds after which a test has hung


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLiteJobStore]:
    store = SQLiteJobStore(tmp_path / "queue.sqlite3")
    yield store
    store.close()


def waiting(store: SQLiteJobStore) -> JobQueue:
    """A queue that is never started: what is submitted stays in line."""
    return JobQueue(lambda: pytest.fail("it was not started"), store=store)


def asked(prompt: str) -> GenerationRequest:
    return GenerationRequest(prompt=prompt, seed=1)


def done(prompt: str, rank: int) -> Job:
    job = Job(asked(prompt), "me")
    job.rank = rank
    job.emit(ImageReady(index=0, seed=1, path=Path("0.png"), width=64, height=64, infotext="", request="{}"))
    job.emit(Finished())
    return job


def test_a_job_comes_back_as_it_was(store: SQLiteJobStore) -> None:
    jobs = [done("a", 7), done("b", 3)]
    for job in jobs:
        store.save(job)
    again = store.load()
    assert [(job.id, job.rank, job.created) for job in again] == [(j.id, j.rank, j.created) for j in reversed(jobs)]
    assert [job.request for job in again] == [jobs[1].request, jobs[0].request]
    assert [event for _, event in again[1].since()] == [event for _, event in jobs[0].since()]


IMAGE = {"index": 0, "seed": 1, "path": "0.png", "width": 64, "height": 64, "infotext": "", "request": "{}"}


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("images", [IMAGE | {"rating": 5}]),
        ("images", [{"index": 0}]),
        ("images", [IMAGE | {"path": None}]),
        ("images", [0]),
        ("images", 0),
        ("request", {"prompt": "b", "denoising_strength": 0.5}),
    ],
)
def test_a_row_of_a_newer_atelier_stays_and_keeps_nobody_from_starting(
    column: str, value: Any, store: SQLiteJobStore, caplog: pytest.LogCaptureFixture
) -> None:
    jobs = [done("a", 0), done("b", 1), done("c", 2)]
    for job in jobs:
        store.save(job)
    store._database.execute(f"update jobs set {column} = ? where id = ?", (json.dumps(value), jobs[1].id))
    queue = waiting(store)
    assert [job.request.prompt for job in queue.jobs("me")] == ["a", "c"]
    assert [job.id for job in store.load()] == [jobs[0].id, jobs[2].id]
    assert f"Job {jobs[1].id} cannot be read" in caplog.text
    rows = store._database.execute(f"select {column} from jobs where id = ?", (jobs[1].id,)).fetchall()
    assert rows == [(json.dumps(value),)]


def test_a_disk_that_says_no_answers_in_a_sentence(store: SQLiteJobStore) -> None:
    job = done("a", 0)
    store.save(job)
    store._database.execute("pragma query_only = on")
    for act in (store.save, store.forget):
        with pytest.raises(
            OutputError, match=r"queue could not be written .*readonly.*make room and try again\."
        ) as no:
            act(job)
        assert isinstance(no.value.__cause__, sqlite3.OperationalError)
    assert [again.id for again in store.load()] == [job.id]


def test_the_order_survives_two_restarts_and_a_gap(tmp_path: Path) -> None:
    """*Clear ended* takes the first rows away; what is submitted later must still come later, every time."""

    def opened() -> JobQueue:
        return waiting(SQLiteJobStore(tmp_path / "queue.sqlite3"))

    def prompts(queue: JobQueue) -> list[str]:
        return [job.request.prompt for job in queue.jobs("me")]

    first = opened()
    for k in range(5):
        first.submit(asked(str(k)), "me")
    for job in first.jobs("me")[:3]:
        first.cancel(job)
        first.forget(job)
    second = opened()
    second.submit(asked("5"), "me")
    second.submit(asked("6"), "me")
    assert prompts(second) == ["3", "4", "5", "6"]
    third = opened()
    assert prompts(third) == ["3", "4", "5", "6"]
    third.move(third.jobs("me")[3], -1)
    third.submit(asked("7"), "me")
    assert prompts(opened()) == ["3", "4", "6", "5", "7"]


def test_a_disk_that_says_no_costs_no_job_of_the_line(store: SQLiteJobStore) -> None:
    queue = waiting(store)
    jobs = [queue.submit(asked(prompt), "me") for prompt in ("a", "b", "c")]
    queue.cancel(jobs[0])
    told: list[list[str]] = []
    queue.subscribe(lambda _job: told.append([job.request.prompt for job in queue.jobs("me")]))
    store._database.execute("pragma query_only = on")
    with pytest.raises(OutputError, match="could not be written"):
        queue.move(jobs[2], -1)
    assert told == [["a", "c", "b"]]
    assert [job.rank for job in queue.jobs("me")] == [0, 1, 2]
    with pytest.raises(OutputError, match="could not be written"):
        queue.forget(jobs[0])
    with pytest.raises(OutputError, match="could not be written"):
        queue.submit(asked("d"), "me")
    assert [job.request.prompt for job in queue.jobs("me")] == ["a", "c", "b"]
    assert [job.request.prompt for job in queue.line()] == ["c", "b"]
    store._database.execute("pragma query_only = off")
    queue.forget(jobs[0])
    assert [job.id for job in store.load()] == [jobs[1].id, jobs[2].id]  # the move did not reach the disk


def test_an_old_job_that_cannot_be_forgotten_does_not_refuse_a_new_one(
    store: SQLiteJobStore, caplog: pytest.LogCaptureFixture
) -> None:
    queue = waiting(store)
    for k in range(KEPT_JOBS + 1):
        queue.cancel(queue.submit(asked(str(k)), "me"))
    store._database.execute("create trigger no before delete on jobs begin select raise(abort, 'no deletes'); end")
    queue.submit(asked("new"), "me")
    assert "no deletes" in caplog.text
    assert [job.request.prompt for job in queue.line()] == ["new"]
    store._database.execute("drop trigger no")
    queue.submit(asked("newer"), "me")
    kept = queue.jobs("me")
    assert [kept[0].request.prompt, len(kept)] == ["1", KEPT_JOBS + 2]
    assert [job.id for job in store.load()] == [job.id for job in kept]


def test_who_looks_at_the_line_does_not_wait_for_the_disk(tmp_path: Path) -> None:
    flushing, flushed = threading.Event(), threading.Event()

    class SlowDisk(SQLiteJobStore):
        def save(self, job: Job, *, flush: bool = True) -> None:
            flushing.set()
            assert flushed.wait(WAIT)
            super().save(job, flush=flush)

    store = SlowDisk(tmp_path / "queue.sqlite3")
    queue = waiting(store)
    submitting = threading.Thread(target=queue.submit, args=(asked("a"), "me"))
    submitting.start()
    assert flushing.wait(WAIT)
    seen: list[list[Job]] = []
    looking = threading.Thread(target=lambda: seen.extend((queue.jobs("me"), list(queue.line()))))
    looking.start()
    looking.join(WAIT / 2)
    assert seen == [[], []]  # a job stands in line once it is written
    flushed.set()
    submitting.join(WAIT)
    looking.join(WAIT)
    assert [job.request.prompt for job in queue.jobs("me")] == ["a"]
    store.close()


def begun(prompt: str, times: int) -> Job:
    job = Job(asked(prompt), "me")
    job.begun = times
    job.emit(Started())
    return job


def test_what_was_running_is_run_again_until_it_seems_to_be_the_reason(store: SQLiteJobStore) -> None:
    jobs = [begun(str(times), times) for times in range(1, MOST_BEGINNINGS + 1)]
    for rank, job in enumerate(jobs):
        job.rank = rank
        store.save(job)
    *again, last = store.load()
    assert [(job.state, job.begun, job.images) for job in again] == [
        ("queued", times, []) for times in range(1, MOST_BEGINNINGS)
    ]
    assert [event for _, event in last.since()] == [Failed(message=STOPPED)]


def test_one_whose_pictures_were_all_there_has_finished(store: SQLiteJobStore) -> None:
    job = begun("a", 1)
    picture = ImageReady(index=0, seed=1, path=Path("0.png"), width=64, height=64, infotext="", request="{}")
    job.emit(picture)
    store.save(job)
    (again,) = store.load()
    assert [event for _, event in again.since()] == [picture, Finished()]


def test_one_that_was_asked_to_end_is_not_run_again(store: SQLiteJobStore) -> None:
    queue = waiting(store)
    job = queue.submit(asked("a"), "me")
    job.begun = 1
    job.emit(Started())
    assert [again.state for again in store.load()] == ["queued"]
    queue.cancel(job)
    assert job.state == "running"
    (again,) = store.load()
    assert [event for _, event in again.since()] == [Interrupted()]


def test_the_name_of_a_submission_and_the_kind_of_a_fault_survive(store: SQLiteJobStore) -> None:
    queue = waiting(store)
    once = Once(key="k", asked="1")
    job = queue.submit(asked("a"), "me", once=once)
    job.emit(Failed(message="There is no more memory.", kind="oom"))
    after = waiting(store)
    (again,) = after.jobs("me")
    assert again.once == once
    assert [event for _, event in again.since()] == [Failed(message="There is no more memory.", kind="oom")]
    assert after.submit(asked("a"), "me", once=once) is again


def test_a_queue_of_an_earlier_atelier_is_read(tmp_path: Path) -> None:
    path = tmp_path / "queue.sqlite3"
    database = sqlite3.connect(path)
    database.executescript(SCHEMA)
    row = ("a" * 32, "me", 1.0, 0, "queued", "", asked("old").to_json(), "[]")
    database.execute("insert into jobs values (?, ?, ?, ?, ?, ?, ?, ?)", row)
    database.commit()
    database.close()
    for _ in range(2):
        store = SQLiteJobStore(path)
        (job,) = store.load()
        assert (job.request, job.state, job.begun, job.once) == (asked("old"), "queued", 0, None)
        store.save(job)
        store.close()


def test_what_people_ask_for_is_flushed_and_what_can_be_made_again_is_not(tmp_path: Path) -> None:
    flushes: list[tuple[str, int]] = []

    class Looked(SQLiteJobStore):
        def save(self, job: Job, *, flush: bool = True) -> None:
            super().save(job, flush=flush)
            flushes.append((job.state, self._database.execute("pragma synchronous").fetchone()[0]))

    store = Looked(tmp_path / "queue.sqlite3")
    queue = waiting(store)
    first, second = queue.submit(asked("a"), "me"), queue.submit(asked("b"), "me")
    first.emit(Started())
    first.emit(Finished())
    queue.cancel(second)
    full, normal = 2, 1
    assert flushes == [
        ("queued", full), ("queued", full), ("running", normal), ("finished", normal), ("interrupted", full),
    ]  # fmt: skip
    assert [job.state for job in store.load()] == ["finished", "interrupted"]  # neither waits for a flush to be there
    store.close()


def test_a_new_job_is_flushed_once_also_where_an_old_one_goes(tmp_path: Path) -> None:
    flushed: list[str] = []

    class Counting(SQLiteJobStore):
        def _write(self, statement: str, values: tuple[object, ...], *, flush: bool = True) -> None:
            super()._write(statement, values, flush=flush)
            flushed.extend([statement.split(maxsplit=1)[0]] if flush else [])

    store = Counting(tmp_path / "queue.sqlite3")
    queue = waiting(store)
    for k in range(KEPT_JOBS + 1):
        queue.cancel(queue.submit(asked(str(k)), "me"))
    flushed.clear()
    queue.submit(asked("new"), "me")
    assert flushed == ["insert"]
    assert len(store.load()) == KEPT_JOBS + 1
    store.close()
