"""Every model with what a list shows of what lies beside it, for any number of readers that ask often.

A folder is listed once for all models in it, and again when it changed; the words beside a model are read once in each
state of their file. So a second look at thousands of models costs one question to the disk for each folder.
"""

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from backend.errors import UserError
from backend.listeners import Listeners
from backend.model_manager.catalog import Catalog
from backend.model_manager.inventory.record import ModelRecord
from backend.model_manager.inventory.scan import FORMATS, time_of
from backend.model_manager.inventory.sidecars import NOTES, PREVIEWS, Notes

ID_LENGTH = 24  # hexadecimal digits
SHOWN_ENDINGS = (NOTES, *(ending for ending in PREVIEWS if ending.count(".") == 1))
LOOK_AGAIN = 10.0  # seconds: a file that is written in place does not change its folder
READ_AT_ONCE = 200  # files of notes; the rest is read in the background
NO_NOTES = Notes()

Stamp = tuple[int, int]  # modified in nanoseconds, size in bytes


class UnknownModel(UserError):
    """There is no model of that id."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown:
    """A model as a list shows it. `preview` is when its preview was changed, in nanoseconds since 1970, 0 if there is
    none; `notes` are the person's words."""

    id: str
    record: ModelRecord
    preview: int = 0
    notes: Notes = NO_NOTES


@dataclass(kw_only=True)
class _Folder:
    """What lies in a folder beside models: by name when it was changed and how large it is, and which are links."""

    changed: int
    looked: float
    files: Mapping[str, Stamp]
    links: frozenset[str]


def id_of(path: Path) -> str:
    """A name for the model at `path` that can stand in an address."""
    return hashlib.blake2b(os.fsencode(path)).hexdigest()[:ID_LENGTH]


class Overview:
    """What a page lists, and when it changes. Safe to use from any thread."""

    def __init__(self, catalog: Catalog):
        self._catalog = catalog
        self._lock = threading.RLock()
        self._listeners = Listeners()
        # Not from 0: a page that saw an earlier start must not take this for what it has.
        self._version = time.time_ns() // 1_000_000
        self._records: list[ModelRecord] = []
        self._folders: dict[str, _Folder] = {}
        self._notes: dict[str, tuple[Stamp, Notes]] = {}
        self._shown: Mapping[str, Shown] = {}
        self._unread = False
        self._stale = True
        self._reader: threading.Thread | None = None
        self._closing = threading.Event()
        self._end = catalog.subscribe(self._on_catalog)

    @property
    def version(self) -> int:
        """Another number after each change; it fits into JavaScript's."""
        return self._version

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener()` after each change, on the thread that found it; returns the function that ends it."""
        return self._listeners.add(listener)

    def close(self) -> None:
        """Read no more notes."""
        self._end()
        self._closing.set()
        reader = self._reader
        if reader:
            reader.join()

    def models(self) -> tuple[int, Sequence[Shown]]:
        """Every model there is known to be, and the version that this is; the disk is not searched for others."""
        version, shown = self._look()
        return version, list(shown.values())

    def find(self, id: str) -> Shown:
        """The model of that id. Raises `UnknownModel`."""
        shown = None if self._stale else self._shown.get(id)
        shown = shown or self._look()[1].get(id)
        if shown is None:
            raise UnknownModel("This model is no longer in the list.")
        return shown

    def look_again(self, record: ModelRecord) -> None:
        """Something beside this model was written by us."""
        with self._lock:
            self._folders.pop(_split(record)[0], None)
        self._look()

    def _on_catalog(self) -> None:
        self._stale = True
        self._next_version()
        self._listeners.tell()

    def _next_version(self) -> int:
        with self._lock:
            self._version = max(self._version + 1, time.time_ns() // 1_000_000)
            return self._version

    def _look(self) -> tuple[int, Mapping[str, Shown]]:
        with self._lock:
            self._stale = False
            # Before the records: they may be newer than what they are called, never older.
            version, before = self._version, self._shown
            records = self._catalog.all()
            listed = {path: self._folder(path) for path in {_split(record)[0] for record in records}}
            known, self._folders = self._folders, listed
            same = records == self._records
            if (
                not same
                or self._unread
                or known.keys() != listed.keys()
                or any(folder.files is not known[path].files for path, folder in listed.items())
            ):
                self._records = records
                self._read_notes(records)
                self._shown = self._made(records)
            shown = self._shown
            news = same and shown is not before and shown != before  # of other records the catalog tells
            if news:
                version = self._next_version()
        if news:
            self._listeners.tell()
        return version, shown

    def _folder(self, path: str) -> _Folder:
        """What lies in a folder: what is known, if that can still be so."""
        known, changed, now = self._folders.get(path), time_of(path), time.monotonic()
        if known and known.changed == changed and now - known.looked < LOOK_AGAIN:
            return known
        files, links = {}, set()
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    if entry.name.endswith(SHOWN_ENDINGS) and entry.is_file():
                        status = entry.stat()
                        files[entry.name] = status.st_mtime_ns, status.st_size
                        if entry.is_symlink():
                            links.add(entry.name)
        except OSError:
            pass  # it went away, or may not be read: what the catalog says of it counts
        same = known is not None and (known.files, known.links) == (files, links)
        return _Folder(
            changed=changed, looked=now, files=known.files if known and same else files, links=frozenset(links)
        )

    def _read_notes(self, records: Iterable[ModelRecord]) -> None:
        """Read what is new; of many the rest in the background, which then tells."""
        there = [(path, stamp, record) for record in records for path, stamp in self._note_of(record)]
        self._notes = {path: self._notes[path] for path, _, _ in there if path in self._notes}
        unread = [(path, stamp, record) for path, stamp, record in there if self._known(path, stamp) is None]
        self._read(unread[:READ_AT_ONCE])
        rest = unread[READ_AT_ONCE:]
        self._unread = bool(rest)
        if rest and not (self._reader and self._reader.is_alive()):
            self._reader = threading.Thread(target=self._read_on, args=(rest,), name="notes", daemon=True)
            self._reader.start()

    def _read_on(self, unread: Sequence[tuple[str, Stamp, ModelRecord]]) -> None:
        self._read(unread)
        if not self._closing.is_set():
            self._next_version()
            self._listeners.tell()

    def _read(self, unread: Iterable[tuple[str, Stamp, ModelRecord]]) -> None:
        for path, stamp, record in unread:
            if self._closing.is_set():
                return
            notes = self._catalog.sidecar(record).notes
            with self._lock:
                self._notes[path] = stamp, notes

    def _note_of(self, record: ModelRecord) -> list[tuple[str, Stamp]]:
        folder, stem = _split(record)
        stamp = self._folders[folder].files.get(stem + NOTES)
        return [(f"{folder}{os.sep}{stem}{NOTES}", stamp)] if stamp else []

    def _known(self, path: str, stamp: Stamp) -> Notes | None:
        read = self._notes.get(path)
        return read[1] if read and read[0] == stamp else None

    def _made(self, records: Iterable[ModelRecord]) -> Mapping[str, Shown]:
        """What is shown of each model, by its id."""
        made: dict[str, Shown] = {}
        for record in records:
            notes = next((self._known(*note) for note in self._note_of(record)), None)
            id = id_of(record.path)
            made[id] = Shown(id=id, record=record, preview=self._preview(record), notes=notes or NO_NOTES)
        return made

    def _preview(self, record: ModelRecord) -> int:
        folder, stem = _split(record)
        there = self._folders[folder]
        name = next((name for ending in PREVIEWS if (name := stem + ending) in there.files), "")
        if name in there.links:
            # Where a link leads has to be allowed, and another file may be shown in its place.
            path = self._catalog.sidecar(record).preview
            return time_of(str(path)) if path else 0
        return there.files[name][0] if name else 0


def _split(record: ModelRecord) -> tuple[str, str]:
    """The folder of a model, and what the names of the files that belong to it begin with; as `beside` has it, for
    thousands."""
    folder, _, name = str(record.path).rpartition(os.sep)
    dot = name.rfind(".")
    return folder or os.sep, name[:dot] if dot > 0 and name[dot:].lower() in FORMATS else name
