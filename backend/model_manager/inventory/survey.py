"""From the files in the model folders to shelves of records: only what is new or changed is looked into."""

import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from backend.errors import unknown_name
from backend.model_manager.identity import Kind
from backend.model_manager.inventory.inspection import Alike, inspect, rules, unopened
from backend.model_manager.inventory.model_index import Choices, FileKey, FileRow, Inspection, ModelIndex
from backend.model_manager.inventory.record import WORDS, ModelRecord, record_of
from backend.model_manager.inventory.scan import FORMATS, MISSING, Format, Found, Listing, Skipped, lies_in, walk
from backend.model_manager.inventory.trees import ModelFolder

STARTER = "starter"
SHOW_EVERY = 1.0  # seconds between two looks at an unfinished survey
KEEP_EVERY = 500  # files: so many are looked into again if the process is killed during its first survey
MANY_NAMES = 20  # more are not listed in a sentence
HASH_MARK = re.compile(r" \[[0-9a-fA-F]{6,64}\]$")  # AUTOMATIC1111 writes it behind a checkpoint's name


@dataclass(frozen=True, kw_only=True)
class Shelves:
    """What a survey found, `whole` or as far as it is: never changed, only replaced.

    `by_kind` are the records by name, `folders` the searched folders' times of change, `version` the index's version
    and `roots` the model folders that it is true of.
    """

    by_kind: Mapping[Kind, Sequence[ModelRecord]] = field(default_factory=dict)
    by_key: Mapping[FileKey, ModelRecord] = field(default_factory=dict)
    folders: Mapping[str, int] = field(default_factory=dict)
    skipped: Sequence[Skipped] = ()
    roots: Sequence[ModelFolder] = ()
    version: int = 0
    whole: bool = False

    def of(self, kind: Kind) -> Sequence[ModelRecord]:
        """The records of one kind, by name."""
        return self.by_kind.get(kind, ())

    def named(self, name: str, kind: Kind) -> ModelRecord | None:
        """The record that a name means: with or without suffix, folder, or A1111's ` [hash]`, or its trainer's name for
        it; of several that it means, the first that can be used. Without a name the starter, else the first that can
        be used. Of an unfinished survey only what could not come out otherwise."""
        if not name:
            usable = [record for record in self.of(kind) if not record.problem]
            first = usable[0] if usable and self.whole else None
            return next((record for record in usable if record.name == STARTER), first)
        wanted = {_bare(name), _bare(HASH_MARK.sub("", name))}
        ways: list[Callable[[ModelRecord], str]] = [lambda record: record.name]
        if self.whole:
            ways += [lambda record: record.name.rpartition("/")[2], lambda record: record.alias]
        for way in ways:
            meant = (record for record in self.of(kind) if way(record).lower() in wanted)
            if found := min(meant, key=lambda record: record.problem != "", default=None):
                return found
        return None

    def nothing_named(self, name: str, kind: Kind) -> str:
        """The sentence for a name that nothing of a kind bears."""
        word = WORDS[kind]
        if not name:
            places = ", ".join(str(root.path) for root in self.roots if root.kind is kind)
            return f"There is no {word}: put a .safetensors file into {places or 'a model folder'}."
        for other in self.by_kind:
            if other is not kind and (record := self.named(name, other)):
                return f"{record.path.name} is no {word}: it is listed with the {WORDS[other]}s."
        names = [record.name for record in self.of(kind)]
        if not names:
            return f"There is no {word} called {name!r}: there are no {word}s at all."
        sentence = unknown_name(word, name, names)
        if len(names) > MANY_NAMES and sentence.endswith("."):
            return f"There is no {word} called {name!r} among the {len(names):,} that there are."
        return sentence


class Survey:
    """Knows every file that was looked into, now or at an earlier start. Used by one thread at a time."""

    def __init__(self, index: ModelIndex):
        self.waiting = 0  # files that are still to be looked into
        self.looked_into = 0  # files, since this was made
        self._index = index
        self._rows: dict[str, FileRow] | None = None
        # What each record was made of: while that is the same, it stays the same object.
        self._made: dict[str, tuple[tuple[object, ...], ModelRecord]] = {}

    def run(self, roots: Sequence[ModelFolder], *, stopped: Callable[[], bool]) -> Iterator[Shelves]:
        """Look at everything below `roots`. Yields what is known from time to time and, unless it was `stopped`, the
        whole at the end."""
        if self._rows is None:
            self._index.keep_only(rules())
            self._rows = self._index.files()
        version = self._index.version
        listing = walk(roots)
        self._follow_moves(listing, self._rows)
        choices = self._index.choices()
        unread: dict[str, Inspection] = {}
        shown = time.monotonic()
        unknown = [f for f in listing.files if f.format is not Format.PICKLE and not self._row(f)]
        for _ in self._look_into(unknown, self._rows, unread):
            if stopped():
                return
            if time.monotonic() > shown + SHOW_EVERY:
                yield _shelves(self._records(listing, choices, unread), listing, roots, version, whole=False)
                shown = time.monotonic()
        self._forget_gone(roots, listing, self._rows)
        yield _shelves(self._records(listing, choices, unread), listing, roots, version, whole=True)

    def _row(self, found: Found) -> FileRow | None:
        """What is known of a file as it is now."""
        row = self._rows.get(found.path) if self._rows else None
        return row if row and (row.size, row.modified) == (found.size, found.modified) else None

    def _follow_moves(self, listing: Listing, rows: dict[str, FileRow]) -> None:
        """A file that was renamed keeps what is known of it: it is the one of its inode, size and time, where no other
        path leads to that any more."""
        listed = {found.path for found in listing.files}
        gone = {(row.inode, row.size, row.modified): row.path for row in rows.values() if row.path not in listed}
        if not gone:
            return
        moves = {
            old: found.path
            for found in listing.files
            if found.inode and not self._row(found)
            if (old := gone.get((found.inode, found.size, found.modified))) and not os.path.lexists(old)
        }
        for old, new in moves.items():
            row = rows.pop(old)
            # A name can hold suggestions, and problems name the file.
            if os.path.basename(old) == os.path.basename(new):  # noqa: PTH119
                rows[new] = replace(row, path=new)
        if moves:
            self._index.move(moves)

    def _look_into(
        self, unknown: Sequence[Found], rows: dict[str, FileRow], unread: dict[str, Inspection]
    ) -> Iterator[None]:
        """Look into each file, and yield after it. What could not be read goes to `unread`, and is tried again."""
        fresh: list[FileRow] = []
        alike = Alike()
        self.waiting = len(unknown)
        try:
            for found in unknown:
                rows.pop(found.path, None)
                try:
                    inspection = inspect(found, alike=alike)
                except FileNotFoundError:
                    continue
                finally:
                    self.waiting -= 1
                    self.looked_into += 1
                if inspection.lasting:
                    rows[found.path] = FileRow(
                        path=found.path,
                        size=found.size,
                        modified=found.modified,
                        inode=found.inode,
                        inspection=inspection,
                    )
                    fresh.append(rows[found.path])
                else:
                    unread[found.path] = inspection
                if len(fresh) == KEEP_EVERY:
                    self._index.put_files(fresh)
                    fresh.clear()
                yield
        finally:
            self.waiting = 0
            self._index.put_files(fresh)

    def _forget_gone(self, roots: Sequence[ModelFolder], listing: Listing, rows: dict[str, FileRow]) -> None:
        """Only what is missing from a folder that is there: a drive that was taken out comes back."""
        there = [str(root.path) for root in roots if listing.folders.get(str(root.path)) != MISSING]
        listed = {found.path for found in listing.files}
        gone = [path for path in rows if path not in listed and lies_in(path, there)]
        for path in gone:
            del rows[path]
        if gone:
            self._index.forget_files(gone)

    def _records(self, listing: Listing, choices: Choices, unread: Mapping[str, Inspection]) -> Iterator[ModelRecord]:
        made: dict[str, tuple[tuple[object, ...], ModelRecord]] = {}
        for found in listing.files:
            row = self._row(found)
            inspection = row.inspection if row else unread.get(found.path)
            if not inspection and found.format is not Format.PICKLE:
                continue  # not looked into yet, or gone by then
            choice = choices.of(found.path, found.size, found.modified)
            parts = (inspection, choice, found.root, found.name, found.size, found.modified)
            before = self._made.get(found.path)
            if before and before[0] == parts:
                made[found.path] = before
            else:
                made[found.path] = parts, record_of(found, inspection or unopened(found), choice)
            yield made[found.path][1]
        self._made = made


def _shelves(
    records: Iterable[ModelRecord], listing: Listing, roots: Sequence[ModelFolder], version: int, *, whole: bool
) -> Shelves:
    """Records put in order; of two with one name the first is shown, but a pickle only where there is nothing else."""
    by_name: dict[Kind, dict[str, ModelRecord]] = {}
    for record in records:
        shelf = by_name.setdefault(record.kind, {})
        other = shelf.setdefault(record.name, record)
        if other.format is Format.PICKLE and record.format is not Format.PICKLE:
            shelf[record.name] = record
    by_kind = {kind: sorted(shelf.values(), key=lambda record: record.name.lower()) for kind, shelf in by_name.items()}
    return Shelves(
        by_kind=by_kind,
        by_key={record.key: record for shelf in by_kind.values() for record in shelf},
        folders=listing.folders,
        skipped=tuple(listing.skipped),
        roots=tuple(roots),
        version=version,
        whole=whole,
    )


def _bare(name: str) -> str:
    """A name in lower case without the suffix of a model file."""
    lower = name.lower()
    return next((lower.removesuffix(suffix) for suffix in FORMATS if lower.endswith(suffix)), lower)
