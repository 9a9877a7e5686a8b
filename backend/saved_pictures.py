"""Whose the saved pictures are: a row for each in SQLite, for about as long as the file is there.

The queue knows it too, but of the newest jobs only, and not of those that somebody has taken out of the list.
"""

import logging
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from backend.database import open_database
from backend.errors import OutputError
from backend.events import Event, ImageReady
from backend.extension_api import SavedPicture
from backend.job import Job

log = logging.getLogger(__name__)

AT_ONCE = 100  # rows
COLUMNS = "path, owner, saved, infotext"
# A file has one owner: whoever saved it last, where a name was given again.
SCHEMA = """
create table if not exists pictures (
    path text primary key, owner text not null, saved real not null, infotext text not null
);
create index if not exists pictures_of_owners on pictures (owner, saved);
"""


class SavedPictures:
    """Safe to use from any thread."""

    def __init__(self, path: Path, jobs: Iterable[Job] = ()):
        """Open or make the database. The pictures of `jobs`, in their order, are taken in where nothing is known of
        them; they count as saved when the job was queued."""
        self._lock = threading.Lock()
        self._database = open_database(path, SCHEMA)
        self._database.execute("pragma synchronous=normal")  # what a power cut takes back, the list of jobs still has
        self._database.execute("pragma secure_delete=on")  # words of a deleted picture do not stay in an unused page
        rows = [_row(job, image, job.created) for job in jobs for image in job.images]
        self._write("insert or ignore", reversed(rows))  # of a path the newest counts

    def hear(self, job: Job, event: Event) -> None:
        """Something happened to a job: remember a picture. Returns at once, and never raises."""
        if isinstance(event, ImageReady):
            self._write("insert or replace", [_row(job, event, time.time())])

    def of(self, owner: str) -> Iterator[SavedPicture]:
        """The owner's pictures whose files are there, newest first, looked up as they are asked for.

        Raises `OutputError` where they cannot be read.
        """
        saved, number = float("inf"), 0
        while rows := self._rows(owner, saved, number):
            for path, at, infotext, _ in rows:
                if Path(path).is_file():
                    yield SavedPicture(path=Path(path), infotext=infotext, owner=owner, saved=at)
            *_, (_, saved, _, number) = rows

    def forget_missing(self) -> int:
        """Forget pictures that somebody has deleted, with their words; returns how many. Those of a place that is not
        there at all, as a disk that is not plugged in, stay.

        Raises `OutputError` where that cannot be done.
        """
        try:
            with self._lock:
                known = [Path(path) for (path,) in self._database.execute("select path from pictures")]
            # A day's folder may be deleted as a whole; the folder of all days is there wherever pictures are.
            gone = [path for path in known if not path.is_file() and path.parent.parent.is_dir()]
            with self._lock, self._database:
                self._database.execute("begin")
                self._database.executemany("delete from pictures where path = ?", [(str(path),) for path in gone])
        except sqlite3.Error as error:
            raise OutputError(f"Pictures that were deleted cannot be forgotten ({error}).") from error
        return len(gone)

    def close(self) -> None:
        """Close the database; nothing can be asked afterwards."""
        with self._lock:
            self._database.close()

    def _rows(self, owner: str, saved: float, number: int) -> list[tuple[str, float, str, int]]:
        """The next ones before that time, or of that time with a lower number."""
        query = (
            "select path, saved, infotext, rowid from pictures where owner = ? and (saved, rowid) < (?, ?) "
            "order by saved desc, rowid desc limit ?"
        )
        try:
            with self._lock:
                return self._database.execute(query, (owner, saved, number, AT_ONCE)).fetchall()
        except sqlite3.Error as error:
            raise OutputError(f"Whose the pictures are cannot be read ({error}).") from error

    def _write(self, how: str, rows: Iterable[tuple[str, str, float, str]]) -> None:
        try:
            with self._lock, self._database:
                self._database.execute("begin")
                self._database.executemany(f"{how} into pictures ({COLUMNS}) values (?, ?, ?, ?)", rows)
        except sqlite3.Error as error:
            log.warning("Whose a picture is could not be written down (%s); the list of jobs has it.", error)


def _row(job: Job, image: ImageReady, saved: float) -> tuple[str, str, float, str]:
    return str(image.path), job.owner, saved, image.infotext
