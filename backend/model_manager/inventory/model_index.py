"""What is remembered of model files from one start to the next, in SQLite."""

import json
import logging
import sqlite3
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from backend.database import open_database
from backend.errors import UserError
from backend.model_manager.identity import Distilled, Identity, Kind, Prediction
from backend.model_manager.inventory.trees import ModelFolder

log = logging.getLogger(__name__)

IN_MEMORY = Path(":memory:")
SCHEMA = """
create table if not exists files (
    path text primary key, size integer, modified integer, inode integer, identity text,
    width integer, height integer, alias text, stated_hash text, readable integer
);
create table if not exists hashes (path text primary key, size integer, modified integer, sha256 text);
create table if not exists data_hashes (path text primary key, size integer, modified integer, sha256 text);
create index if not exists hashes_by_value on hashes (sha256);
create index if not exists data_hashes_by_value on data_hashes (sha256);
create table if not exists choices (path text primary key, size integer, sha256 text, choice text);
create table if not exists roots (path text primary key, kind text, added integer);
create table if not exists facts (name text primary key, value text);
"""
FileKey = tuple[str, int, int]  # path, size in bytes, modified in nanoseconds


@dataclass(frozen=True, kw_only=True, slots=True)
class Inspection:
    """What one look into a file found. `stated_size` is the width and height in pixels that it says it was made for,
    zeros if it does not; `alias` is the name its trainer gave it; `stated_hash` the hash of its tensors that it carries
    itself, as AUTOMATIC1111 writes it into pictures. A file that is not `readable` is damaged or a pickle. What is not
    `lasting` says nothing of the file, only that it could not be read this time."""

    identity: Identity
    stated_size: tuple[int, int] = (0, 0)
    alias: str = ""
    stated_hash: str = ""
    readable: bool = True
    lasting: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class FileRow:
    """An `Inspection` and the file it is true of."""

    path: str
    size: int
    modified: int
    inode: int
    inspection: Inspection


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What a person says a file is, in place of what it looks like; nothing where they say nothing."""

    kind: Kind | None = None
    family: str | None = None
    variant: str | None = None
    prediction: Prediction | None = None
    zero_terminal_snr: bool | None = None
    distilled: Distilled | None = None


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What people said: by path and size, and of every file whose hash is that of one they spoke of."""

    by_path: Mapping[tuple[str, int], Choice]
    by_hash: Mapping[FileKey, Choice]

    def of(self, path: str, size: int, modified: int) -> Choice | None:
        """What is said of a file; its content has the first word, as another file can come to the same path."""
        return self.by_hash.get((path, size, modified)) or self.by_path.get((path, size))


class ModelIndex:
    """One SQLite file of its own connection. Safe to use from any thread, and by several processes at once.

    What can be found again by looking is kept as well as may be: a disk that says no costs time at the next start. What
    a person said is kept or refused with a sentence.
    """

    def __init__(self, path: Path):
        """`path` can be deleted at any time: all but choices and added folders is then found again."""
        self._lock = threading.Lock()
        self._path = path
        try:
            self._database = open_database(path, SCHEMA)
        except (OSError, sqlite3.Error) as error:
            log.warning("%s cannot be used (%s); models are looked into anew at each start", path, error)
            self._database = open_database(IN_MEMORY, SCHEMA)

    @property
    def version(self) -> int:
        """A number that changes when another connection, of this process or not, has written."""
        row = None
        with self._using() as database:
            row = database.execute("pragma data_version").fetchone()
        return row[0] if row else 0

    def keep_only(self, rules: str) -> None:
        """Forget what was found in files by other rules than these."""
        with self._using() as database, _together(database):
            known = database.execute("select value from facts where name = 'rules'").fetchone()
            if known != (rules,):
                database.execute("delete from files")
                database.execute("insert or replace into facts values ('rules', ?)", (rules,))

    def files(self) -> dict[str, FileRow]:
        """Everything that is remembered of files, by path."""
        found: list[tuple] = []
        with self._using() as database:
            found = database.execute(
                "select path, size, modified, inode, identity, width, height, alias, stated_hash, readable from files"
            ).fetchall()
        # Thousands of LoRAs are of few kinds: each kind's text is read once.
        identities: dict[str, Identity | None] = {}
        rows = {}
        for path, size, modified, inode, text, width, height, alias, stated_hash, readable in found:
            if text not in identities:
                identities[text] = _identity(text)
            if identity := identities[text]:
                inspection = Inspection(
                    identity=identity,
                    stated_size=(width, height),
                    alias=alias,
                    stated_hash=stated_hash,
                    readable=bool(readable),
                )
                rows[path] = FileRow(path=path, size=size, modified=modified, inode=inode, inspection=inspection)
        return rows

    def put_files(self, rows: Collection[FileRow]) -> None:
        """Remember `rows`, in place of what was known of their paths."""
        # Thousands of LoRAs are of few kinds: each kind's text is written once.
        texts = {identity: json.dumps(asdict(identity)) for identity in {row.inspection.identity for row in rows}}
        values = [
            (
                *(row.path, row.size, row.modified, row.inode, texts[row.inspection.identity]),
                *(*row.inspection.stated_size, row.inspection.alias, row.inspection.stated_hash),
                row.inspection.readable,
            )
            for row in rows
        ]
        with self._using() as database, _together(database):
            database.executemany("insert or replace into files values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values)

    def forget_files(self, paths: Iterable[str]) -> None:
        """Forget what was found in files that are gone. Their hashes and choices stay: they may come back."""
        with self._using() as database, _together(database):
            database.executemany("delete from files where path = ?", [(path,) for path in paths])

    def move(self, moves: Mapping[str, str]) -> None:
        """Files were renamed, from old path to new: all that is known of them goes with them."""
        pairs = [(new, old) for old, new in moves.items()]
        with self._using() as database, _together(database):
            for table in ("files", "hashes", "data_hashes", "choices"):
                database.executemany(f"update or replace {table} set path = ? where path = ?", pairs)

    def hash_of(self, key: FileKey, *, data: bool = False) -> str:
        """The sha256 in hexadecimal of a file as `key` has it, or of its tensors' `data` alone; empty if not taken."""
        row = None
        with self._using() as database:
            row = database.execute(
                f"select sha256 from {_table(data)} where path = ? and size = ? and modified = ?", key
            ).fetchone()
        return row[0] if row else ""

    def put_hash(self, key: FileKey, sha256: str, *, data: bool = False) -> None:
        """Remember a hash; a choice for this file can follow it by that from now on."""
        with self._using() as database, _together(database):
            database.execute(f"insert or replace into {_table(data)} values (?, ?, ?, ?)", (*key, sha256))
            if not data:
                database.execute("update choices set sha256 = ? where path = ? and size = ?", (sha256, *key[:2]))

    def keys_of_hash(self, beginning: str) -> list[FileKey]:
        """The files whose hash, or whose tensors' hash, begins so, as they were when it was taken."""
        found: list[FileKey] = []
        with self._using() as database:
            for data in (False, True):
                found += database.execute(
                    f"select path, size, modified from {_table(data)} where sha256 >= ? and sha256 < ?",
                    (beginning, beginning + "g"),
                ).fetchall()
        return found

    def choices(self) -> Choices:
        """What people said of files."""
        by_path: list[tuple] = []
        by_hash: list[tuple] = []
        with self._using() as database:
            by_path = database.execute("select path, size, choice from choices").fetchall()
            by_hash = database.execute(
                "select h.path, h.size, h.modified, c.choice from choices c join hashes h on h.sha256 = c.sha256"
            ).fetchall()
        return Choices(
            by_path={(path, size): choice for path, size, text in by_path if (choice := _choice(text))},
            by_hash={(path, size, at): choice for path, size, at, text in by_hash if (choice := _choice(text))},
        )

    def put_choice(self, key: FileKey, choice: Choice | None) -> None:
        """Remember what a person says of a file; nothing: forget what was said of it and of its copies.

        Raises `UserError` if the disk says no.
        """
        path, size, _ = key
        sha256 = self.hash_of(key)
        with self._promising("Your choice") as database:
            database.execute(
                "delete from choices where (path = ? and size = ?) or (sha256 = ? and sha256 != '')",
                (path, size, sha256),
            )
            if choice:
                database.execute(
                    "insert or replace into choices values (?, ?, ?, ?)",
                    (path, size, sha256, json.dumps(asdict(choice))),
                )

    def roots(self) -> list[ModelFolder]:
        """The folders that were added, in the order in which that was done."""
        found: list[tuple] = []
        with self._using() as database:
            found = database.execute("select path, kind from roots order by added, rowid").fetchall()
        return [ModelFolder(path=Path(path), kind=Kind(kind)) for path, kind in found if kind in set(Kind)]

    def add_root(self, folder: ModelFolder) -> None:
        """Remember a folder. Raises `UserError` if the disk says no."""
        with self._promising("The folder") as database:
            database.execute(
                "insert or replace into roots select ?, ?, coalesce(max(added), 0) + 1 from roots",
                (str(folder.path), folder.kind),
            )

    def remove_root(self, path: Path) -> None:
        """Forget a folder. Raises `UserError` if the disk says no."""
        with self._promising("That") as database:
            database.execute("delete from roots where path = ?", (str(path),))

    def close(self) -> None:
        """Close the file; afterwards nothing is known and nothing kept."""
        with self._lock:
            self._database.close()

    @contextmanager
    def _using(self) -> Iterator[sqlite3.Connection]:
        """The database for the length of a `with`, which ends early and silently but for the log if it fails."""
        with self._lock:
            try:
                yield self._database
            except sqlite3.Error as error:
                log.warning("%s: %s", self._path, error)

    @contextmanager
    def _promising(self, what: str) -> Iterator[sqlite3.Connection]:
        """The same, where a failure is told to the person."""
        with self._lock:
            try:
                with _together(self._database):
                    yield self._database
            except sqlite3.Error as error:
                raise UserError(f"{what} could not be remembered ({error}): make room and try again.") from error


@contextmanager
def _together(database: sqlite3.Connection) -> Iterator[None]:
    """All that is written inside is kept, or none of it."""
    database.execute("begin immediate")
    try:
        yield
        database.execute("commit")
    except BaseException:
        if database.in_transaction:
            database.execute("rollback")
        raise


def _table(data: bool) -> str:
    return "data_hashes" if data else "hashes"


def _identity(text: str) -> Identity | None:
    """An identity that was kept, if it still can be read."""
    try:
        values = json.loads(text)
        lists = {name: tuple(values[name]) for name in ("context_widths", "suggested")}
        return Identity(**{**values, **lists, "kind": Kind(values["kind"])})
    except (ValueError, TypeError, KeyError):
        return None


def _choice(text: str) -> Choice | None:
    try:
        values = json.loads(text)
        return Choice(**{**values, "kind": Kind(values["kind"]) if values["kind"] else None})
    except (ValueError, TypeError, KeyError):
        return None
