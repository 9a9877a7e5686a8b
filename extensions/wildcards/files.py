"""The text files that wildcards name: found in folders, read once, and held against naming one another in a circle."""

import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from backend.extension_api import InvalidRequest, unknown_name

from .choices import MOST_NESTED, Option, read_option, wildcards_in

SUFFIX = ".txt"
LARGEST_FILE = 16 * 1024 * 1024  # bytes
MANY = 40  # names: more are not read out
SETTLED = 2_000_000_000  # nanoseconds: a folder that changed later may change again without its time showing it
_COMMENT = re.compile(r"#.*")  # as in a prompt, where it would take the rest of the line with it


@dataclass(frozen=True, kw_only=True)
class WildcardFile:
    """What a file says: its lines, as they are written and as options, and the wildcards that they name. `stamp` is the
    file's time and size."""

    stamp: tuple[int, int]
    lines: tuple[str, ...]
    options: tuple[Option, ...]
    names: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Found:
    """Files by their names, as they were when the folders had these times; one that is missing has none."""

    paths: Mapping[str, Path]
    times: Mapping[Path, int | None]


class WildcardFiles:
    """Folders of files. The folders are searched again when one has changed, a file is read when it is first needed and
    again when it has changed."""

    def __init__(self, folders: Sequence[Path]):
        """Of two files of one name that of the first folder counts."""
        self.folders = tuple(folders)
        self._read: dict[Path, WildcardFile] = {}
        self._found: _Found | None = None

    def look(self) -> "Look":
        """The files that there are now, by their names: the path below the folder without ``.txt``."""
        found = self._found
        if found is None or any(_time_of(folder) != changed for folder, changed in found.times.items()):
            found = self._search()
        return Look(self, found.paths)

    def _search(self) -> _Found:
        begun = time.time_ns()
        paths: dict[str, Path] = {}
        times: dict[Path, int | None] = {}
        for root in self.folders:
            times[root] = _time_of(root)
            for folder, names in _below(root):
                times[folder] = _time_of(folder)
                for path in (folder / name for name in names):
                    paths.setdefault(path.relative_to(root).with_suffix("").as_posix(), path)
        found = _Found(paths=paths, times=times)
        settled = all(changed is None or changed + SETTLED < begun for changed in times.values())
        self._found = found if settled else None
        return found

    def read(self, name: str, path: Path) -> WildcardFile:
        """What a file says. Raises `InvalidRequest` for one that cannot be read."""
        try:
            state = path.stat()
            stamp = (state.st_mtime_ns, state.st_size)
            known = self._read.get(path)
            if known is not None and known.stamp == stamp:
                return known
            if state.st_size > LARGEST_FILE:
                raise InvalidRequest(f"The wildcard {name!r} has more than the {LARGEST_FILE:,} bytes that are read.")
            text = path.read_bytes().decode("utf-8-sig", errors="replace").replace("\0", "")
        except OSError as error:
            raise InvalidRequest(f"The wildcard {name!r} cannot be read: {error.strerror or error}.") from error
        lines = tuple(filter(None, (_COMMENT.sub("", line).strip() for line in text.splitlines())))
        options = tuple(read_option(line) for line in lines)
        names = dict.fromkeys(each.name for option in options for each in wildcards_in(option.items))
        self._read[path] = WildcardFile(stamp=stamp, lines=lines, options=options, names=tuple(names))
        return self._read[path]


class Look:
    """One look at the folders, so that a prompt with a hundred wildcards looks once."""

    def __init__(self, files: WildcardFiles, paths: Mapping[str, Path]):
        self._files = files
        self._paths = paths
        self._sound: set[str] = set()  # files that lead to no fault

    @property
    def names(self) -> list[str]:
        """Of all files."""
        return sorted(self._paths)

    def options(self, name: str) -> list[Option]:
        """Every line of a wildcard. Raises `InvalidRequest`, as all of these do."""
        return [option for each in self._matching(name) for option in self._file(each).options]

    def lines(self, name: str) -> list[str]:
        """The same as they are written."""
        return [line for each in self._matching(name) for line in self._file(each).lines]

    def check(self, names: Sequence[str], above: tuple[str, ...] = ()) -> None:
        """Raise for a wildcard that is not there, has no line, or leads back to itself, whatever would be drawn."""
        for name in names:
            found = self._matching(name)
            if not any(self._file(each).lines for each in found):
                raise InvalidRequest(f"The wildcard {name!r} has no lines, so there is nothing to choose.")
            for each in found:
                if each in above:
                    way = " → ".join([*above[above.index(each) :], each])
                    raise InvalidRequest(f"The wildcard {each!r} leads back to itself: {way}.")
                if len(above) >= MOST_NESTED:
                    raise InvalidRequest(f"Wildcards name one another more than {MOST_NESTED} deep.")
                if each not in self._sound:
                    self.check(self._file(each).names, (*above, each))
                    self._sound.add(each)

    def _file(self, name: str) -> WildcardFile:
        return self._files.read(name, self._paths[name])

    def _matching(self, name: str) -> list[str]:
        """The files that a name means, in order."""
        if "*" in name or "?" in name:
            form = re.compile(_pattern(name), re.IGNORECASE)
            found = [each for each in self.names if form.fullmatch(each)]
        elif name in self._paths:
            found = [name]
        else:
            wanted = name.casefold()
            found = [each for each in self.names if each.casefold() == wanted][:1]
        if not found:
            raise InvalidRequest(self._unknown(name))
        return found

    def _unknown(self, name: str) -> str:
        words = f"write \\__{name}__ for the words themselves"
        if not self._paths:
            return f"There is no wildcard yet: put {name}{SUFFIX} into {self._files.folders[0]}, or {words}."
        if len(self._paths) <= MANY:
            return unknown_name("wildcard", name, self.names)
        near = unknown_name("wildcard", name, self.names)
        return near if "did you mean" in near else f"There is no wildcard called {name!r} among {len(self._paths):,}."


def _pattern(name: str) -> str:
    """A name with ``*``, ``**`` and ``?`` as a regular expression."""
    signs = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    pieces = re.split(r"(\*\*/|\*\*|\*|\?)", re.sub(r"\*{3,}", "**", name))
    return "".join(signs.get(piece, re.escape(piece)) for piece in pieces)


def _below(root: Path) -> Iterator[tuple[Path, list[str]]]:
    """Every folder from this one on, with the names of its text files."""
    for place, folders, names in os.walk(root):
        folders[:] = sorted(each for each in folders if not each.startswith("."))
        yield Path(place), sorted(name for name in names if name.lower().endswith(SUFFIX))


def _time_of(folder: Path) -> int | None:
    try:
        return folder.stat().st_mtime_ns
    except OSError:
        return None
