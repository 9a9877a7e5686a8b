"""A download as it is asked for, as it stands, and as it is remembered."""

import logging
import os
import sqlite3
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from backend.database import open_database
from backend.errors import UserError
from backend.model_manager.downloads.transfer import Part, RemoteFile

log = logging.getLogger(__name__)

SCHEMA = "create table if not exists downloads (id text primary key, created real not null, record text not null);"
CUT_OFF = "Atelier was stopped while this was being fetched; resume it to go on."

State = Literal["queued", "running", "checking", "paused", "failed", "finished"]


@dataclass(frozen=True, kw_only=True)
class Download:
    """What a person asked for: one file, or with `whole_folder` the files of a diffusers folder, to be put into
    `folder`. `name` is what it will be called there; empty leaves that to the server, made safe."""

    folder: Path
    files: tuple[RemoteFile, ...]
    name: str = ""
    whole_folder: bool = False

    @property
    def size(self) -> int | None:
        """Bytes of all files, as far as that was announced."""
        sizes = [file.size for file in self.files]
        return None if None in sizes else sum(size or 0 for size in sizes)


@dataclass(frozen=True, kw_only=True)
class DownloadRecord:
    """A download and how far it is.

    `received` of `size` bytes are there, `rate` in bytes a second, `remaining` in seconds (None while it cannot be
    told). `problem` is a sentence where it stopped by itself, `note` one about what came; `path` is where it lies once
    it is finished.
    """

    id: str
    created: float
    download: Download
    parts: tuple[Part, ...]
    state: State = "queued"
    problem: str = ""
    note: str = ""
    path: Path | None = None
    rate: float = 0.0

    @property
    def name(self) -> str:
        """What it is called, as far as that is known."""
        if self.path is not None:
            return self.path.name
        return self.download.name or self.parts[0].name or self.download.files[0].path or "download"

    @property
    def received(self) -> int:
        """Bytes fetched so far."""
        return sum(part.received for part in self.parts)

    @property
    def size(self) -> int | None:
        """Bytes in all, by the announcement or by what the server says since."""
        pairs = zip(self.download.files, self.parts, strict=True)
        sizes = [part.size if file.size is None else file.size for file, part in pairs]
        return None if None in sizes else sum(size or 0 for size in sizes)

    @property
    def remaining(self) -> float | None:
        """Seconds until it is there, at this rate."""
        return (self.size - self.received) / self.rate if self.size is not None and self.rate > 0 else None

    @property
    def ended(self) -> bool:
        """Whether nothing of it is left to do."""
        return self.state == "finished"

    def staging(self) -> Path:
        """The hidden folder, beside where it will lie, that holds what has not been verified."""
        return self.download.folder / f".download-{self.id}"

    def partial(self, index: int) -> Path:
        """Where the bytes of a file go. Its name has no suffix that anybody takes for a model's."""
        return self.staging() / f"{index}.partial"


class DownloadStore:
    """The list of downloads, in SQLite.

    A table and not a note beside each partial file: the page lists them all, finished and failed ones too, without
    searching the model folders. How many bytes there are is not kept here: the partial files know that better.
    """

    def __init__(self, path: Path):
        """Open or make the database; only this user may read it, for an address can be a secret."""
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
        self._lock = threading.Lock()
        self._database = open_database(path, SCHEMA)
        self._record = TypeAdapter(DownloadRecord)

    def load(self) -> list[DownloadRecord]:
        """Every download, oldest first. One that was under way is paused: nothing leaves the machine unasked."""
        with self._lock:
            rows = self._database.execute("select record from downloads order by created").fetchall()
        records = []
        for (text,) in rows:
            try:
                record = self._record.validate_json(text)
            except ValidationError:
                log.warning("a download was written by another version of Atelier; its row stays")
                continue
            if record.state in ("queued", "running", "checking"):
                record = replace(record, state="paused", problem=CUT_OFF)
            records.append(replace(record, rate=0.0, parts=_as_on_disk(record)))
        return records

    def save(self, record: DownloadRecord) -> None:
        """Write a download as it is now. Raises `UserError` when the disk says no."""
        try:
            with self._lock:
                self._database.execute(
                    "insert or replace into downloads (id, created, record) values (?, ?, ?)",
                    (record.id, record.created, self._record.dump_json(record).decode()),
                )
        except sqlite3.Error as error:
            raise UserError(
                f"The list of downloads could not be written ({error}): make room and try again."
            ) from error

    def forget(self, id: str) -> None:
        """Remove a download's row. Raises `UserError` when the disk says no."""
        try:
            with self._lock:
                self._database.execute("delete from downloads where id = ?", (id,))
        except sqlite3.Error as error:
            raise UserError(f"The list of downloads could not be written ({error}).") from error

    def close(self) -> None:
        """Close the database; the store is of no use afterwards."""
        with self._lock:
            self._database.close()


def _as_on_disk(record: DownloadRecord) -> tuple[Part, ...]:
    if record.ended:
        return record.parts
    found = []
    for index, part in enumerate(record.parts):
        try:
            length = record.partial(index).stat().st_size
        except OSError:
            found.append(Part(name=part.name))
            continue
        found.append(replace(part, received=length, verified=part.verified and length == part.received))
    return tuple(found)
