"""SQLite files that may be damaged without keeping anybody from starting."""

import contextlib
import logging
import sqlite3
import time
from pathlib import Path

log = logging.getLogger(__name__)

COMPANIONS = ("-wal", "-shm", "")  # the log first: a database without its log could be taken for a whole one


def open_database(path: Path, schema: str) -> sqlite3.Connection:
    """Open or make the database at `path` with `schema`, for use from several threads under a lock of the caller's.

    A file that is no database, or a damaged one, is kept beside it as ``NAME.bad-DATE``, with its log, and a new one
    is begun. Raises `sqlite3.OperationalError` where the file cannot be opened now (locked, no permission, a full
    disk): it may be healthy, and nothing is touched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        if path.exists():
            _check(path)
        return _opened(path, schema)
    except sqlite3.OperationalError:
        raise  # a `DatabaseError` too, but it says nothing about the file
    except sqlite3.DatabaseError as error:
        aside = path.with_name(f"{path.name}.bad-{time.strftime('%Y%m%d-%H%M%S')}")
        log.warning("%s is damaged (%s); it is kept as %s and a new one is begun", path.name, error, aside.name)
        for companion in COMPANIONS:
            with contextlib.suppress(FileNotFoundError):
                Path(f"{path}{companion}").replace(f"{aside}{companion}")
        return _opened(path, schema)


def _check(path: Path) -> None:
    """Raise `sqlite3.DatabaseError` for a damaged file. Read-only: else closing it would write its log into it."""
    database = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
    # What cannot be read this way, such as a file with a transaction to be undone, may still be opened for writing.
    with contextlib.closing(database), contextlib.suppress(sqlite3.OperationalError):
        (verdict,) = database.execute("pragma quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)


def _opened(path: Path, schema: str) -> sqlite3.Connection:
    database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
    try:
        database.execute("pragma journal_mode=wal")
        database.execute("pragma synchronous=full")
        database.executescript(schema)
    except sqlite3.Error:
        database.close()
        raise
    return database
