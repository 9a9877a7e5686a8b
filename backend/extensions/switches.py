"""Which extensions are on: ``extensions.json`` in the data folder."""

import json
import logging
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from backend.errors import OutputError
from backend.files import write_atomically

log = logging.getLogger(__name__)

FILE = "extensions.json"

T = TypeVar("T")


class Switches:
    """What was switched on or off by hand, over what is on at first. Safe to use from any thread.

    `held_up` says of those that held the whole program up why they are not on until somebody switches them on again.
    """

    def __init__(self, path: Path, at_first: frozenset[str] = frozenset()):
        self._path = path
        self._at_first = at_first
        self._lock = threading.Lock()
        values = _read(path)
        self._switched: dict[str, bool] = {
            str(id): on for id, on in _table(values, "switched").items() if isinstance(on, bool)
        }
        self._held_up: dict[str, str] = {str(id): str(why) for id, why in _table(values, "held_up").items()}

    def is_on(self, id: str) -> bool:
        """Whether it is to be on."""
        return self._switched.get(id, id in self._at_first)

    def held_up(self, id: str) -> str:
        """Why it is not on although it is to be; empty where nothing is the matter."""
        return self._held_up.get(id, "")

    def switch(self, id: str, on: bool) -> None:
        """Remember that it is to be on or off. Raises `OutputError` when the disk says no."""
        with self._lock:
            self._keep({**self._switched, id: on}, _without(self._held_up, id))

    def forget(self, id: str) -> None:
        """As if it had never been switched: it was removed. Raises `OutputError` when the disk says no."""
        with self._lock:
            if id in self._switched or id in self._held_up:
                self._keep(_without(self._switched, id), _without(self._held_up, id))

    def hold(self, id: str, why: str) -> None:
        """Keep one off that held the whole program up. Raises `OutputError` when the disk says no."""
        with self._lock:
            self._keep(self._switched, {**self._held_up, id: why})

    def _keep(self, switched: dict[str, bool], held_up: dict[str, str]) -> None:
        """Write it down, and only then let it be so."""
        values = {"switched": switched, "held_up": held_up}
        try:
            write_atomically(self._path, json.dumps(values, indent=2, ensure_ascii=False).encode() + b"\n")
        except OSError as error:
            raise OutputError(f"{self._path} could not be written: {error.strerror or error}.") from error
        self._switched, self._held_up = switched, held_up


def _without(rows: Mapping[str, T], id: str) -> dict[str, T]:
    return {name: value for name, value in rows.items() if name != id}


def _read(path: Path) -> Mapping[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        log.warning("%s cannot be read (%s): no extension is on but those that are at first.", path, error)
        return {}
    return values if isinstance(values, dict) else {}


def _table(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = values.get(name)
    return value if isinstance(value, dict) else {}
