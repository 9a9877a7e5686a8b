import sqlite3
from pathlib import Path

import pytest

from backend.database import open_database
from backend.errors import OutputError
from backend.events import Finished
from backend.job_store import SQLiteJobStore
from backend.jobs import Job, JobQueue
from backend.request import GenerationRequest

SCHEMA = "create table if not exists things (name text);"


def filled(path: Path) -> bytes:
    database = open_database(path, SCHEMA)
    database.executemany("insert into things values (?)", [(f"thing {k}" * 50,) for k in range(500)])
    database.close()
    return path.read_bytes()


def test_what_was_written_is_there_again(tmp_path: Path) -> None:
    filled(tmp_path / "a.sqlite3")
    again = open_database(tmp_path / "a.sqlite3", SCHEMA)
    assert again.execute("select count(*) from things").fetchone() == (500,)
    assert [path.name for path in tmp_path.iterdir() if "bad" in path.name] == []


@pytest.mark.parametrize("damage", ["text", "overwritten", "cut"])
def test_a_damaged_file_is_kept_aside_and_a_new_one_begun(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite3"
    whole = filled(path)
    middle = len(whole) // 2
    data = {
        "text": b"this is no database, it only has the name of one",
        "overwritten": whole[:200] + b"\xff" * (middle - 200) + whole[middle:],
        "cut": whole[:middle],
    }[damage]
    path.write_bytes(data)
    fresh = open_database(path, SCHEMA)
    assert fresh.execute("select count(*) from things").fetchone() == (0,)
    (aside,) = tmp_path.glob("a.sqlite3.bad-*")
    assert aside.read_bytes() == data


def test_a_queue_starts_with_a_damaged_file(tmp_path: Path) -> None:
    path = tmp_path / "queue.sqlite3"
    path.write_bytes(b"x" * 5000)
    store = SQLiteJobStore(path)
    assert store.load() == []
    job = Job(GenerationRequest(seed=1), "me")
    store.save(job)
    assert [again.id for again in store.load()] == [job.id]
    store.close()
    assert sqlite3.connect(path).execute("pragma quick_check").fetchone() == ("ok",)


def test_a_disk_that_says_no_refuses_a_job_in_a_sentence_and_lets_a_running_one_end(tmp_path: Path) -> None:
    class FillsTheDisk:
        def generate(self, request: GenerationRequest, job: Job) -> None:
            assert job.request == request
            store._database.execute("pragma query_only = on")

    store = SQLiteJobStore(tmp_path / "queue.sqlite3")
    queue = JobQueue(FillsTheDisk, store=store)
    queue.start()
    running = queue.submit(GenerationRequest(seed=1), "me")
    assert list(running.follow())[-1] == Finished()
    with pytest.raises(OutputError, match=r"queue could not be written .*readonly"):
        queue.submit(GenerationRequest(seed=2), "me")
    assert queue.jobs("me") == [running]
    store._database.execute("pragma query_only = off")
    assert list(queue.submit(GenerationRequest(seed=2), "me").follow())[-1] == Finished()
    queue.close()
