"""What lies in the model folders: names, sizes and times, without opening a file."""

import os
import stat
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from backend.model_manager.inventory.trees import ModelFolder

DIFFUSERS_MARK = "model_index.json"
# The coarsest clock of a file system (FAT's): what changed less than this before it was looked at may change again
# without a sign.
CLOCK_STEP = 2_000_000_000  # nanoseconds
LARGEST_INODE = 2**63 - 1  # SQLite's largest number
MISSING = 0  # in place of the time of change of a folder that is not there
UNSETTLED = -1  # in place of that of a folder that is still being written to


class Format(StrEnum):
    """How a model is stored."""

    SAFETENSORS = "safetensors"
    GGUF = "gguf"
    PICKLE = "pickle"
    DIFFUSERS = "diffusers"


# Of two files that differ in their suffix alone the earlier stands for both: a converted file hides its pickle.
FORMATS = {
    **dict.fromkeys((".safetensors", ".sft"), Format.SAFETENSORS),
    ".gguf": Format.GGUF,
    **dict.fromkeys((".ckpt", ".pt", ".pth", ".bin"), Format.PICKLE),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """A file or diffusers folder as the file system has it. `name` is its path below the model folder `root` without
    suffix, with ``/``; `size` in bytes, `modified` in nanoseconds since 1970: of a folder the sum and the newest.
    `inode` is 0 where the system tells none."""

    path: str
    root: ModelFolder
    name: str
    format: Format
    size: int
    modified: int
    inode: int


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """Something in a model folder that is not looked at, and the sentence that says why."""

    path: Path
    reason: str


@dataclass(kw_only=True)
class Listing:
    """All models of some folders in their order, and each folder's time of change: while those are equal, no name has
    come or gone."""

    files: list[Found] = field(default_factory=list)
    folders: dict[str, int] = field(default_factory=dict)
    skipped: list[Skipped] = field(default_factory=list)


def walk(roots: Sequence[ModelFolder]) -> Listing:
    """List every model below `roots`, whose paths are resolved ones.

    A folder that is a root itself is listed as that one only, and no folder twice. Links are followed after all else,
    and only into the roots; others are named in `skipped`. What cannot be read is named there too; what vanishes
    meanwhile is left out.
    """
    return _Walk(roots).listing


def time_of(folder: str) -> int:
    """The time of change of a folder in nanoseconds since 1970, or `MISSING`."""
    try:
        return os.stat(folder).st_mtime_ns  # noqa: PTH116 - ten thousand of these are to be cheap
    except (OSError, ValueError):
        return MISSING


def measure(path: str, format: Format) -> tuple[int, int]:
    """Size and time of change of a model as `Found` has them. Raises `OSError` if it is gone."""
    if format is Format.DIFFUSERS:
        files = [entry.stat() for entry in _below(path, {})]
        return sum(each.st_size for each in files), max((each.st_mtime_ns for each in files), default=0)
    status = os.stat(path)  # noqa: PTH116 - as above
    return status.st_size, status.st_mtime_ns


def lies_in(target: str, roots: Iterable[str]) -> bool:
    """Whether a resolved path is one of the resolved `roots` or below one."""
    return any(target == root or target.startswith(root.rstrip(os.sep) + os.sep) for root in roots)


class _Walk:
    def __init__(self, roots: Sequence[ModelFolder]):
        self.listing = Listing()
        self._roots = [str(root.path) for root in roots]
        self._root_marks = {mark for root in self._roots if (mark := _mark(root))}
        self._visited: set[tuple[int, int]] = set()
        self._listed: set[str] = set()
        self._links: list[tuple[os.DirEntry[str], ModelFolder, str]] = []
        for root in roots:
            if not root.path.is_dir():
                self.listing.folders[str(root.path)] = MISSING
            elif (mark := _mark(str(root.path))) not in self._visited:
                self._folders(str(root.path), root, "", mark)
        # A list that grows: a folder behind a link may hold links.
        for entry, root, name in self._links:
            self._link(entry, root, name)

    def _folders(self, path: str, root: ModelFolder, name: str, mark: tuple[int, int] | None) -> None:
        """List one folder and all below it. `name` is its path below `root`."""
        waiting = [(path, name, mark)]
        while waiting:
            path, name, mark = waiting.pop()
            if mark is None or mark in self._visited:
                continue
            self._visited.add(mark)
            entries = self._entries(path)
            if any(entry.name == DIFFUSERS_MARK for entry in entries):
                self._diffusers(path, root, name)
                continue
            below = []
            for entry in entries:
                inner = f"{name}/{entry.name}" if name else entry.name
                if entry.is_symlink():
                    self._links.append((entry, root, inner))
                elif entry.is_dir():
                    mark = _mark(entry.path)
                    if mark not in self._root_marks:
                        below.append((entry.path, inner, mark))
                else:
                    self._file(entry, root, inner)
            waiting += reversed(below)

    def _entries(self, path: str) -> list[os.DirEntry[str]]:
        """What is in a folder, by name, without what is hidden; notes the folder's time of change."""
        looked = time.time_ns()
        changed = time_of(path)
        self.listing.folders[path] = changed if changed < looked - CLOCK_STEP else UNSETTLED
        try:
            with os.scandir(path) as entries:
                seen = [entry for entry in entries if not entry.name.startswith(".") and self._has_text_name(entry)]
                return sorted(seen, key=lambda entry: entry.name)
        except FileNotFoundError:
            return []
        except OSError as error:
            self._skip(path, f"{path} cannot be read: {error.strerror or error}.")
            return []

    def _file(self, entry: os.DirEntry[str], root: ModelFolder, name: str) -> None:
        dot = entry.name.rfind(".")
        format = FORMATS.get(entry.name[dot:].lower()) if dot > 0 else None
        if format is None:
            return
        try:
            status = entry.stat()
        except OSError:
            return  # removed between listing and looking, or a link to nowhere
        if stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
            self._add(
                Found(
                    path=entry.path,
                    root=root,
                    name=name[: dot - len(entry.name)],
                    format=format,
                    size=status.st_size,
                    modified=status.st_mtime_ns,
                    inode=status.st_ino & LARGEST_INODE,
                )
            )

    def _add(self, found: Found) -> None:
        if found.path not in self._listed:
            self._listed.add(found.path)
            self.listing.files.append(found)

    def _diffusers(self, path: str, root: ModelFolder, name: str) -> None:
        try:
            for entry in _below(path, self.listing.folders):
                if entry.is_symlink() and not self._may_follow(entry.path):
                    return
            size, modified = measure(path, Format.DIFFUSERS)
        except OSError:
            return  # removed meanwhile
        name = name or root.path.name
        self._add(
            Found(path=path, root=root, name=name, format=Format.DIFFUSERS, size=size, modified=modified, inode=0)
        )

    def _link(self, entry: os.DirEntry[str], root: ModelFolder, name: str) -> None:
        if Path(entry.path).is_dir():  # an entry's own way raises where links lead round in a circle
            mark = _mark(entry.path)
            if mark not in self._root_marks and mark not in self._visited and self._may_follow(entry.path):
                self._folders(entry.path, root, name, mark)
        elif FORMATS.get(Path(entry.name).suffix.lower()) and self._may_follow(entry.path):
            self._file(entry, root, name)

    def _may_follow(self, link: str) -> bool:
        target = os.path.realpath(link)
        if lies_in(target, self._roots):
            return True
        self._skip(link, f"{link} is a link to {target}, which lies in no model folder: add that folder to use it.")
        return False

    def _has_text_name(self, entry: os.DirEntry[str]) -> bool:
        """A name whose bytes are no UTF-8 cannot be shown on a page or written into a picture."""
        try:
            entry.name.encode()
        except UnicodeEncodeError:
            shown = os.fsencode(entry.path).decode(errors="replace")
            self._skip(shown, f"{shown} has a name that is no text: rename it to use it.")
            return False
        return True

    def _skip(self, path: str, reason: str) -> None:
        self.listing.skipped.append(Skipped(path=Path(path), reason=reason))


def _mark(folder: str) -> tuple[int, int] | None:
    """What tells a folder from every other, under whatever name; nothing if it is not there."""
    try:
        status = os.stat(folder)  # noqa: PTH116 - as above
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino


def _below(path: str, folders: dict[str, int]) -> Iterator[os.DirEntry[str]]:
    """Every file below a diffusers folder; notes in `folders` when each folder was changed."""
    waiting = [path]
    while waiting:
        folder = waiting.pop()
        looked = time.time_ns()
        changed = time_of(folder)
        folders[folder] = changed if changed < looked - CLOCK_STEP else UNSETTLED
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                elif not entry.name.startswith("."):
                    yield entry
