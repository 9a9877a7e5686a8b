"""The ledger's file: a row for each picture and each job, in SQLite."""

import re
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from backend.extension_api import UserError

SHOWN = 30  # days and models in a summary
MADE = """
CREATE TABLE IF NOT EXISTS pictures (path TEXT PRIMARY KEY, day TEXT, model TEXT, sampler TEXT, size TEXT);
CREATE TABLE IF NOT EXISTS jobs (ended TEXT, pictures INTEGER);
CREATE TABLE IF NOT EXISTS numbers (last INTEGER);
"""


class Book:
    """Safe to use from any thread: each call opens the file for itself."""

    def __init__(self, file: str | Path):
        self._file = Path(file)

    def note(self, path: Path, infotext: str) -> None:
        """A picture that was saved; one that is noted already is not counted twice."""
        self.note_all([(path, infotext)])

    def note_all(self, pictures: Iterable[tuple[Path, str]]) -> None:
        """Several."""
        with self._opened() as db:
            db.executemany("INSERT OR REPLACE INTO pictures VALUES (?, ?, ?, ?, ?)", [_row(*each) for each in pictures])

    def note_job(self, pictures: int) -> None:
        """A job that ended."""
        with self._opened() as db:
            db.execute("INSERT INTO jobs VALUES (?, ?)", (time.strftime("%Y-%m-%d %H:%M:%S"), pictures))

    def next_number(self) -> int:
        """The next running number."""
        with self._opened() as db:
            db.execute("BEGIN IMMEDIATE")
            last = db.execute("SELECT MAX(last) FROM numbers").fetchone()[0] or 0
            db.execute("DELETE FROM numbers")
            db.execute("INSERT INTO numbers VALUES (?)", (last + 1,))
            return last + 1

    def known(self) -> set[str]:
        """The files that are noted."""
        with self._opened() as db:
            return {path for (path,) in db.execute("SELECT path FROM pictures")}

    def strike_out(self, paths: Iterable[str]) -> None:
        """Forget files."""
        with self._opened() as db:
            db.executemany("DELETE FROM pictures WHERE path = ?", [(path,) for path in paths])

    def summary(self) -> dict[str, Any]:
        """How many pictures and jobs there were, and the sums of the last days and of the models, as JSON has them."""
        with self._opened() as db:
            return {
                "pictures": db.execute("SELECT COUNT(*) FROM pictures").fetchone()[0],
                "jobs": db.execute("SELECT COUNT(*) FROM jobs").fetchone()[0],
                "days": _sums(db, "SELECT day, COUNT(*) FROM pictures GROUP BY day ORDER BY day DESC LIMIT ?"),
                "models": _sums(db, "SELECT model, COUNT(*) AS n FROM pictures GROUP BY model ORDER BY n DESC LIMIT ?"),
            }

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self._file, timeout=10)) as db, db:
                db.executescript(MADE)
                yield db
        except sqlite3.Error as error:
            raise UserError(f"The ledger {self._file} cannot be used: {error}. Choose another file.") from error


def _sums(db: sqlite3.Connection, query: str) -> list[list[Any]]:
    return [[name or "unknown", number] for name, number in db.execute(query, (SHOWN,))]


def _row(path: Path, infotext: str) -> tuple[str, str, str, str, str]:
    *_, last = infotext.splitlines() or [""]
    said = dict(re.findall(r"(Model|Sampler|Size): ([^,]+)", last))
    day = path.parent.name if re.fullmatch(r"\d{4}-\d\d-\d\d", path.parent.name) else time.strftime("%Y-%m-%d")
    return str(path), day, said.get("Model", ""), said.get("Sampler", ""), said.get("Size", "")
