"""Where an extension comes from, and how its files are written: plain files, within their folder, and not too many."""

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Literal, Protocol, Self

from backend.errors import UserError
from backend.extensions.manifest import FILE

LARGEST_FILE = 48 * 1024 * 1024  # bytes
LARGEST = 256 * 1024 * 1024  # bytes of all files
MOST_FILES = 5000
DEEPEST = 16
LONGEST_PATH = 240
LEFT_OUT = frozenset({".git", "__pycache__", "__macosx", ".ds_store"})  # wherever they lie, in any case
ORIGIN = ".origin.json"  # what we write beside the manifest
_WINDOWS = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)  # devices there
_SIGNS = re.compile(r'[\\:*?"<>|\x00-\x1f\x7f]')  # which a name cannot have everywhere

Kind = Literal["zip", "git", "package"]
WORDS: dict[str, str] = {"zip": "a zip file", "git": "a git repository", "package": "a Python package"}


class SourceError(UserError):
    """What is to be installed is not there, or is not what it should be."""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where an extension came from: an `address` (a file's name, a URL, a package's name), and `pin`, which says which
    one exactly: the sha256 of a zip, a commit, a version. `sha256` is that of a package's file, `tag` by which a commit
    was asked for, `before` the pin of the one from there that this one took the place of."""

    kind: Kind
    address: str
    pin: str
    sha256: str = ""
    tag: str = ""
    before: str = ""

    def to_json(self) -> str:
        """As `from_json` reads it."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self | None:
        """What `to_json` wrote; None for anything else."""
        try:
            values = json.loads(text)
            origin = cls(**values)
        except (ValueError, TypeError):
            return None
        texts = all(isinstance(value, str) for value in asdict(origin).values())
        return origin if texts and origin.kind in WORDS else None


class Source(Protocol):
    """A place from which an extension can be had. Nothing of it is run."""

    def fetch(self, into: Path, work: Path) -> Origin:
        """Write the extension's files into the empty folder `into`, with `work` as a place for what is needed
        meanwhile. Raises `UserError`, and then `into` may hold anything."""
        ...


class PlainFiles:
    """Writes files into a folder, each checked: nothing that leads out of it, nothing but plain files, not too much."""

    def __init__(self, into: Path):
        self._into = into
        self._left = LARGEST
        self._names: dict[str, str] = {}

    def write(self, name: str, chunks: Iterator[bytes]) -> None:
        """Write a file of the name that the source has for it, with ``/``. Raises `SourceError`."""
        path = checked_path(name)
        if LEFT_OUT.intersection(map(str.casefold, path.parts)) or path.name.casefold() == ORIGIN:
            for _ in chunks:
                pass
            return
        self._claim(path)
        target = self._into / path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as file:
                here = LARGEST_FILE
                for chunk in chunks:
                    here, self._left = here - len(chunk), self._left - len(chunk)
                    if here < 0 or self._left < 0:
                        raise SourceError(_too_large(name if here < 0 else ""))
                    file.write(chunk)
        except OSError as error:
            raise SourceError(f"{name[:200]!r} cannot be written: {error.strerror or error}.") from error

    def _claim(self, path: PurePosixPath) -> None:
        """Take the names of a file and its folders; two that differ in case only would be one on many disks."""
        if len(self._names) >= MOST_FILES:
            raise SourceError(f"It has more than {MOST_FILES:,} files, and no more are taken.")
        for each in (path, *path.parents[:-1]):
            name, kind = str(each), "file" if each == path else "folder"
            before = self._names.setdefault(name.casefold(), f"{kind} {name}")
            if before != f"{kind} {name}" or (kind == "file" and each == path and (self._into / path).exists()):
                raise SourceError(
                    f"It has two files that are one on many disks: {before.partition(' ')[2]!r}, {name!r}."
                )


def checked_path(name: str) -> PurePosixPath:
    """A file's name as a path within a folder. Raises `SourceError` for one that leads out of it, or that cannot be a
    name everywhere."""
    path = PurePosixPath(name)
    said = repr(name[:200])
    if path.is_absolute() or name.startswith(("/", "\\")) or ".." in path.parts or re.match(r"[A-Za-z]:", name):
        raise SourceError(f"It has a file {said}, which leads out of its folder: it is not installed.")
    bad = _SIGNS.search(name) or any(part.endswith((" ", ".")) or _WINDOWS.fullmatch(part) for part in path.parts)
    if bad or not path.parts or not name.isprintable():
        raise SourceError(f"It has a file {said}, which is no name that a file can have everywhere.")
    if len(path.parts) > DEEPEST or len(name) > LONGEST_PATH:
        raise SourceError(f"It has a file whose path is too long: {said}.")
    return path


def check_sizes(sizes: Iterator[int]) -> None:
    """Raises `SourceError` for more, or larger files than are taken, before any is read."""
    total = 0
    for number, size in enumerate(sizes):
        total += size
        if number >= MOST_FILES:
            raise SourceError(f"It has more than {MOST_FILES:,} files, and no more are taken.")
        if size > LARGEST_FILE or total > LARGEST:
            raise SourceError(_too_large(""))


def only_folder(folder: Path) -> Path:
    """Where the extension lies in what was unpacked: there, or in the one folder that is. Raises `SourceError`."""
    if (folder / FILE).is_file():
        return folder
    there = sorted(folder.iterdir())
    if len(there) == 1 and (there[0] / FILE).is_file():
        return there[0]
    raise SourceError(f"There is no {FILE} in it, nor in the one folder that it has: it is no extension for Atelier.")


def _too_large(name: str) -> str:
    if name:
        return f"{name[:200]!r} has more than {LARGEST_FILE // 2**20} MB, and no larger file is taken."
    return f"It has more than {LARGEST // 2**20} MB when it is unpacked, and no more is taken."
