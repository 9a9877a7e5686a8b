"""The names that extensions have brought, kept for when they are not on: ``extensions-names.json`` in the data folder.

So whoever asks for a sampler of an extension that is off is told whose it is, also after a restart.
"""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from backend.extensions.extension import Extension
from backend.extensions.tables import TABLES
from backend.files import write_atomically
from backend.sampling.lookup import Absence, Named, Table

log = logging.getLogger(__name__)

FILE = "extensions-names.json"
SCRIPTS = "scripts"


@dataclass(frozen=True, kw_only=True)
class Known:
    """What one extension is called, and the names that it brought, aliases too, by the list in `Brought`."""

    title: str
    names: Mapping[str, Sequence[str]]


class Names:
    """What is written down of all extensions that were ever on, and in the tables of those that are not on now.

    `scripts` has no rows: it only remembers. Changed by `Extensions` only, under its lock.
    """

    def __init__(self, path: Path):
        self._path = path
        self._known = _read(path)
        self._written = dict(self._known)
        self._remembered = ExitStack()
        self.scripts: Table[Named] = Table("script")
        self._tables: Mapping[str, Table[Any]] = MappingProxyType({**TABLES, SCRIPTS: self.scripts})

    def note(self, extension: Extension) -> None:
        """One was loaded: keep the names that it brings, from the next `renew` on."""
        names = {kind: list(found) for kind in self._tables if (found := tuple(_names_of(extension, kind)))}
        if names:
            self._known[extension.id] = Known(title=extension.title, names=names)
        else:
            self._known.pop(extension.id, None)

    def renew(self, extensions: Sequence[Extension]) -> None:
        """Let the tables know the names of those that are not on, of all extensions that there are now."""
        there = {extension.id: extension for extension in extensions}
        self._remembered.close()
        for id, known in self._known.items():
            absence = _absence(there.get(id))
            if absence is not None:
                for kind, names in known.names.items():
                    self._remembered.callback(self._tables[kind].remember(names, known.title, absence))
        self._write()

    def close(self) -> None:
        """Let the tables forget."""
        self._remembered.close()

    def _write(self) -> None:
        if self._known == self._written:
            return
        values = {id: asdict(known) for id, known in self._known.items()}
        try:
            write_atomically(self._path, json.dumps(values, indent=2, ensure_ascii=False).encode() + b"\n")
        except OSError as error:
            # Only a sentence is the poorer for it: no reason to leave an extension off.
            log.warning("%s could not be written: %s.", self._path, error.strerror or error)
            return
        self._written = dict(self._known)


def _names_of(extension: Extension, kind: str) -> Iterator[str]:
    for row in getattr(extension.brought, kind):
        if kind == SCRIPTS:
            yield row.title
        else:
            yield from (row.name, *getattr(row, "aliases", ()))


def _absence(extension: Extension | None) -> Absence | None:
    """Why one is not on; nothing where it is."""
    if extension is None:
        return "gone"
    if extension.state == "on":
        return None
    return "broken" if extension.wanted else "off"


def _read(path: Path) -> dict[str, Known]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        log.warning("%s cannot be read (%s): what extensions bring is known once they were on.", path, error)
        return {}
    rows = values.items() if isinstance(values, dict) else ()
    return {id: known for id, row in rows if (known := _known(row)) is not None}


def _known(row: Any) -> Known | None:
    """A row of the file; None for what was not written by `Names`."""
    match row:
        case {"title": str(title), "names": dict(names)}:
            sound = {
                kind: [str(name) for name in found]
                for kind, found in names.items()
                if (kind in TABLES or kind == SCRIPTS) and isinstance(found, list)
            }
            return Known(title=title, names=sound)
    return None
