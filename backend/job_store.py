"""Jobs that survive the process, in SQLite."""

import json
import logging
import sqlite3
import threading
from dataclasses import asdict
from pathlib import Path

from backend.any_request import read_request
from backend.database import open_database
from backend.errors import OutputError, UserError
from backend.events import Event, Failed, Finished, ImageReady, Interrupted
from backend.jobs import Job, State

log = logging.getLogger(__name__)

SCHEMA = """
create table if not exists jobs (
    id text primary key, owner text not null, created real not null, rank integer not null,
    state text not null, message text not null default '', request text not null, images text not null
);
"""
UPSERT = (
    "insert into jobs (id, owner, created, rank, state, message, request, images) values (?, ?, ?, ?, ?, ?, ?, ?)"
    " on conflict (id) do update set rank = excluded.rank, state = excluded.state, message = excluded.message,"
    " images = excluded.images"
)
STOPPED = "Atelier was stopped while this was being made; Retry makes it again."


class SQLiteJobStore:
    """One row a job, written with every change of it (not with every step)."""

    def __init__(self, path: Path):
        """Open or make the database."""
        self._lock = threading.Lock()
        self._database = open_database(path, SCHEMA)

    def load(self) -> list[Job]:
        """Every job in order: ended ones with their pictures, queued ones to be done, a running one as failed."""
        with self._lock:
            rows = self._database.execute(
                "select id, owner, created, rank, state, message, request, images from jobs order by rank, created"
            ).fetchall()
        jobs = []
        for id, owner, created, rank, state, message, request, images in rows:
            try:
                job = Job(read_request(request), owner, id=id, created=created)
                for image in json.loads(images):
                    job.emit(ImageReady(**{**image, "path": Path(image["path"])}))
            except (UserError, TypeError, ValueError, KeyError) as error:
                log.warning("Job %s cannot be read (%s); a newer Atelier may: its row stays.", id, error)
                continue
            job.rank = rank
            ending = _ending(state, message)
            if ending:
                job.emit(ending)
            jobs.append(job)
        return jobs

    def save(self, job: Job) -> None:
        """Write the job as it is now, at its place in the line. Raises `OutputError` when the disk says no."""
        events = [event for _, event in job.since()]
        message = next((event.message for event in events if isinstance(event, Failed)), "")
        images = json.dumps([{**asdict(image), "path": str(image.path)} for image in job.images])
        row = (job.id, job.owner, job.created, job.rank, job.state, message, job.request.to_json(), images)
        self._write(UPSERT, row)

    def forget(self, job: Job) -> None:
        """Remove the job's row; its pictures stay. Raises `OutputError` when the disk says no."""
        self._write("delete from jobs where id = ?", (job.id,))

    def close(self) -> None:
        """Close the database; the store is of no use afterwards."""
        with self._lock:
            self._database.close()

    def _write(self, statement: str, values: tuple[object, ...]) -> None:
        try:
            with self._lock:
                self._database.execute(statement, values)
        except sqlite3.Error as error:
            raise OutputError(
                f"The queue could not be written to the disk ({error}): make room and try again."
            ) from error


def _ending(state: State, message: str) -> Event | None:
    match state:
        case "queued":
            return None
        case "running":
            return Failed(message=STOPPED)
        case "finished":
            return Finished()
        case "interrupted":
            return Interrupted()
    return Failed(message=message)
