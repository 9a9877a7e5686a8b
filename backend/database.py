"""SQLite files that may be damaged without keeping anybody from starting."""

import logging
import sqlite3
import time
from pathlib import Path

log = logging.getLogger(__name__)


def open_database(path: Path, schema: str) -> sqlite3.Connection:
    """Open or make the database at `path` with `schema`, for use from several threads under a lock of the caller's.

    A file that is no database, or a damaged one, is kept beside it as ``NAME.bad-DATE`` and a new one is begun.
    Raises `sqlite3.Error` only if that is not possible either.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return _opened(path, schema)
    except sqlite3.DatabaseError as error:
        aside = path.with_name(f"{path.name}.bad-{time.strftime('%Y%m%d-%H%M%S')}")
        log.warning("%s is damaged (%s); it is kept as %s and a new one is begun", path.name, error, aside.name)
        path.replace(aside)
        for companion in ("-wal", "-shm"):
            path.with_name(path.name + companion).unlink(missing_ok=True)
        return _opened(path, schema)


def _opened(path: Path, schema: str) -> sqlite3.Connection:
    database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
    try:
        database.execute("pragma journal_mode=wal")
        database.execute("pragma synchronous=full")
        database.executescript(schema)
        (verdict,) = database.execute("pragma quick_check").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)
    except sqlite3.Error:
        database.close()
        raise
    return database
