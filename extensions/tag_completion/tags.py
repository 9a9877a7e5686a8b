"""Tag lists: words that people train models with, and how often each was used; ``tags/*.csv`` in the data folder.

A row is ``tag,type,count,"alias,alias"``, as the tag completion that is customary for AUTOMATIC1111 reads them; only
the first column has to be there. Lists are read when they are first asked for, and again when a file has changed.
"""

import csv
import logging
import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from backend.extension_api import NameSearch

log = logging.getLogger(__name__)

LARGEST_LIST = 128 * 1024 * 1024  # bytes
LONGEST_TAG = 200  # characters
SHORTEST_OF_WORDS = 4  # characters: shorter ones with underscores are faces, ^_^
_SIGNS = re.compile(r"[()\[\]\\]")


@dataclass(frozen=True, kw_only=True, slots=True)
class Tag:
    """A tag as its list has it; `type` is a number whose meaning depends on the site that the list is of."""

    name: str
    type: int = 0
    count: int = 0
    aliases: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """What is written into a prompt: words parted by blanks, its brackets plain signs."""
        words = self.name if len(self.name) < SHORTEST_OF_WORDS else self.name.replace("_", " ")
        return _SIGNS.sub(r"\\\g<0>", words)


@dataclass(frozen=True, kw_only=True)
class _Read:
    """What was read when the files were in a state."""

    state: tuple[tuple[Path, int, int], ...]
    tags: tuple[Tag, ...]
    search: NameSearch


class TagLists:
    """All tags of some folders' lists, the most used first. Safe to use from any thread."""

    def __init__(self, folders: Sequence[Path]):
        self._folders = folders
        self._lock = threading.Lock()
        self._read: _Read | None = None

    def find(self, typed: str, *, most: int) -> list[tuple[Tag, str, int]]:
        """At most `most` tags that `typed` may begin, each with the name that fits, which may be an alias, and how well
        it fits (`name_search`)."""
        read = self._current()
        return [(read.tags[hit.what], hit.name, hit.rank) for hit in read.search.find(typed, most=most)]

    def _current(self) -> _Read:
        state = tuple(self._files())
        with self._lock:
            if self._read is None or state != self._read.state:
                tags = sorted(self._tags(state), key=lambda tag: -tag.count)
                names = ((name, k) for k, tag in enumerate(tags) for name in (tag.name, *tag.aliases))
                self._read = _Read(state=state, tags=tuple(tags), search=NameSearch(names))
            return self._read

    def _files(self) -> Iterator[tuple[Path, int, int]]:
        """Path, time and size of every list."""
        for path in (path for folder in self._folders for path in sorted(folder.glob("*.csv"))):
            try:
                found = path.stat()
            except OSError:
                continue
            yield path, found.st_mtime_ns, found.st_size

    def _tags(self, files: tuple[tuple[Path, int, int], ...]) -> list[Tag]:
        """Every tag once, as the first list that has it says."""
        tags: dict[str, Tag] = {}
        for path, _, size in files:
            if size > LARGEST_LIST:
                log.warning("The tag list %s has more than %d bytes and is left out.", path.name, LARGEST_LIST)
                continue
            try:
                for tag in read_tags(path):
                    tags.setdefault(tag.name, tag)
            except (OSError, csv.Error) as error:
                log.warning("The tag list %s cannot be read to its end (%s).", path.name, error)
        return list(tags.values())


def read_tags(path: Path) -> Iterator[Tag]:
    """The rows of a list; one that has no tag, or an endless one, is passed over. Raises `OSError`, `csv.Error`."""
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as lines:
        for row in csv.reader(lines):
            name = row[0].strip() if row else ""
            if not name or len(name) > LONGEST_TAG:
                continue
            kind, count, aliases = (*(value.strip() for value in row[1:4]), "", "", "")[:3]
            yield Tag(
                name=name,
                type=_number(kind),
                count=_number(count),
                aliases=tuple(alias for each in aliases.split(",") if (alias := each.strip())),
            )


def _number(text: str) -> int:
    return int(text) if re.fullmatch(r"[0-9]{1,15}", text) else 0
