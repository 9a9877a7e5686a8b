import shutil
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
    database.execute("begin")
    database.executemany("insert into things values (?)", [(f"thing {k}" * 50,) for k in range(500)])
    database.execute("commit")
    database.close()
    return path.read_bytes()


def killed(path: Path) -> None:
    """Write what a killed program leaves: 500 things in the database, and one more that only its log holds."""
    original = path.with_name("original")
    filled(original)
    database = open_database(original, SCHEMA)
    database.execute("insert into things values ('late')")
    for companion in ("", "-wal", "-shm"):
        shutil.copy(f"{original}{companion}", f"{path}{companion}")
    database.close()


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
    (aside,) = tmp_path.glob("a.sqlite3.bad-*[0-9]")
    assert aside.read_bytes() == data


@pytest.mark.parametrize("damage", ["text", "overwritten"])
def test_the_log_of_a_damaged_file_is_kept_with_it(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite3"
    killed(path)
    whole, late = path.read_bytes(), Path(f"{path}-wal").read_bytes()
    data = {"text": b"no database " * 800, "overwritten": whole[:5000] + b"\xff" * 9000 + whole[14000:]}[damage]
    path.write_bytes(data)
    fresh = open_database(path, SCHEMA)
    assert fresh.execute("select count(*) from things").fetchone() == (0,)
    (aside,) = tmp_path.glob("a.sqlite3.bad-*[0-9]")
    assert aside.read_bytes() == data
    assert Path(f"{aside}-wal").read_bytes() == late
    assert Path(f"{aside}-shm").exists()


def test_a_healthy_file_that_cannot_be_opened_now_stays_where_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite3"
    killed(path)
    before = {file.name: file.read_bytes() for file in (path, Path(f"{path}-wal"))}
    hindrance = Path(f"{path}-journal")
    hindrance.mkdir()  # SQLite looks for a journal there first, and meets an I/O error
    with pytest.raises(sqlite3.OperationalError, match="disk I/O error"):
        open_database(path, SCHEMA)
    assert {name: (tmp_path / name).read_bytes() for name in before} == before
    assert [file.name for file in tmp_path.iterdir() if "bad" in file.name] == []
    hindrance.rmdir()
    again = open_database(path, SCHEMA)
    assert again.execute("select count(*) from things").fetchone() == (501,)


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
