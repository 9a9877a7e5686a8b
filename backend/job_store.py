"""Jobs that survive the process, in SQLite."""

import json
import logging
import sqlite3
import threading
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from backend.any_request import read_request
from backend.database import open_database
from backend.errors import OutputError, UserError
from backend.events import Event, Failed, Finished, ImageReady, Interrupted
from backend.job import Job, Once, State

log = logging.getLogger(__name__)

SCHEMA = """
create table if not exists jobs (
    id text primary key, owner text not null, created real not null, rank integer not null,
    state text not null, message text not null default '', request text not null, images text not null
);
"""
# What later versions have besides, as `alter table` takes it: `kind` of a fault, how often the job was `begun`, and the
# name of its submission with the hash of what was asked for then.
ADDED = {
    "kind": "text not null default 'failed'",
    "begun": "integer not null default 0",
    "once_key": "text not null default ''",
    "once_asked": "text not null default ''",
}
COLUMNS = ("id", "owner", "created", "rank", "state", "message", "request", "images", *ADDED)
CHANGING = ("rank", "state", "message", "images", "kind", "begun")
UPSERT = (
    f"insert into jobs ({', '.join(COLUMNS)}) values ({', '.join('?' for _ in COLUMNS)})"
    f" on conflict (id) do update set {', '.join(f'{name} = excluded.{name}' for name in CHANGING)}"
)
MOST_BEGINNINGS = 5  # of one job: it may be the reason why the program stops
STOPPED = "Atelier was stopped again and again while this was being made; Retry makes it once more."


class SQLiteJobStore:
    """One row a job, written with every change of it (not with every step).

    What is written survives the process, however that ends. What is flushed, which takes milliseconds, survives the
    machine too: what people asked for is; what the worker says can be made again.
    """

    def __init__(self, path: Path):
        """Open or make the database."""
        self._lock = threading.Lock()
        self._database = open_database(path, SCHEMA)
        self._flushes = True
        there = {row[1] for row in self._database.execute("pragma table_info(jobs)")}
        for name in ADDED.keys() - there:
            self._database.execute(f"alter table jobs add column {name} {ADDED[name]}")

    def load(self) -> list[Job]:
        """Every job in order: ended ones with their pictures, queued ones to be done, and one that was running to be
        done again from the start, unless it was begun `MOST_BEGINNINGS` times."""
        with self._lock:
            rows = self._database.execute(f"select {', '.join(COLUMNS)} from jobs order by rank, created").fetchall()
        jobs = []
        for values in rows:
            row = dict(zip(COLUMNS, values, strict=True))
            try:
                jobs.append(_job(row))
            except (UserError, TypeError, ValueError, KeyError) as error:
                log.warning("Job %s cannot be read (%s); a newer Atelier may: its row stays.", row["id"], error)
        return jobs

    def save(self, job: Job, *, flush: bool = True) -> None:
        """Write the job as it is now, at its place in the line. Raises `OutputError` when the disk says no."""
        events = [event for _, event in job.since()]
        failed = next((event for event in events if isinstance(event, Failed)), Failed(message=""))
        row = {
            "id": job.id,
            "owner": job.owner,
            "created": job.created,
            "rank": job.rank,
            # One that was asked to end has ended for whoever asked, also if the program stops before the next step.
            "state": "interrupted" if job.cancelled and not job.ended else job.state,
            "message": failed.message,
            "request": job.request.to_json(),
            "images": json.dumps([{**asdict(image), "path": str(image.path)} for image in job.images]),
            "kind": failed.kind,
            "begun": job.begun,
            "once_key": job.once.key if job.once else "",
            "once_asked": job.once.asked if job.once else "",
        }
        self._write(UPSERT, tuple(row[name] for name in COLUMNS), flush=flush)

    def forget(self, job: Job, *, flush: bool = True) -> None:
        """Remove the job's row; its pictures stay. Raises `OutputError` when the disk says no."""
        self._write("delete from jobs where id = ?", (job.id,), flush=flush)

    def close(self) -> None:
        """Close the database; the store is of no use afterwards."""
        with self._lock:
            self._database.close()

    def _write(self, statement: str, values: tuple[object, ...], *, flush: bool = True) -> None:
        try:
            with self._lock:
                if flush is not self._flushes:
                    # Of a log that is written ahead, a flush takes everything before it along.
                    self._database.execute(f"pragma synchronous={'full' if flush else 'normal'}")
                    self._flushes = flush
                self._database.execute(statement, values)
        except sqlite3.Error as error:
            raise OutputError(
                f"The queue could not be written to the disk ({error}): make room and try again."
            ) from error


def _job(row: Mapping[str, Any]) -> Job:
    """The job of a row, with the events that say where it is."""
    once = Once(key=row["once_key"], asked=row["once_asked"]) if row["once_key"] else None
    job = Job(read_request(row["request"]), row["owner"], id=row["id"], created=row["created"], once=once)
    job.rank, job.begun = row["rank"], row["begun"]
    images = [ImageReady(**{**image, "path": Path(image["path"])}) for image in json.loads(row["images"])]
    ending = _ending(row, whole=len(images) == job.request.pictures)
    if ending is None:
        return job  # what was there before the stop stays on the disk, and is made again
    for event in (*images, ending):
        job.emit(event)
    return job


def _ending(row: Mapping[str, Any], *, whole: bool) -> Event | None:
    """How a job ended, if it did; `whole` says that all of its pictures are there."""
    state: State = row["state"]
    match state:
        case "queued":
            return None
        case "running":
            if whole:
                return Finished()
            return Failed(message=STOPPED) if row["begun"] >= MOST_BEGINNINGS else None
        case "finished":
            return Finished()
        case "interrupted":
            return Interrupted()
    return Failed(message=row["message"], kind=row["kind"])
