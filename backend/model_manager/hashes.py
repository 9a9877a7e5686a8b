"""The sha256 of model files: taken once, in the background, and remembered."""

import hashlib
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from backend.database import open_database
from backend.errors import ModelFileError
from backend.model_manager.catalog import ModelRecord

SCHEMA = "create table if not exists hashes (path text primary key, size integer, modified integer, sha256 text);"


class HashIndex:
    """Remembers hashes by path, size and time of change. Safe to use from any thread."""

    def __init__(self, path: Path):
        """`path` is the index's SQLite file; it can be deleted at any time and is then filled again."""
        self._lock = threading.Lock()
        self._database = open_database(path, SCHEMA)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="hash")

    def sha256(self, record: ModelRecord) -> "Future[str]":
        """The file's sha256 in hexadecimal, to come; `result()` raises `ModelFileError` if it cannot be read."""
        return self._pool.submit(self._find, record)

    def _find(self, record: ModelRecord) -> str:
        key = (str(record.path), record.size, record.modified)
        with self._lock:
            row = self._database.execute(
                "select sha256 from hashes where path = ? and size = ? and modified = ?", key
            ).fetchone()
        if row:
            return row[0]
        try:
            with record.path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise ModelFileError(f"{record.path.name} cannot be read: {error.strerror or error}.") from error
        with self._lock:
            self._database.execute("insert or replace into hashes values (?, ?, ?, ?)", (*key, digest))
        return digest
