"""Presets: named sets of a form's values, the studio's and people's own, and those that go with a checkpoint."""

import json
import logging
import math
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from backend.checked import LONGEST_PROMPT
from backend.errors import UserError, unknown_name
from backend.files import write_atomically

log = logging.getLogger(__name__)

SCHEMA = 1
MOST_PRESETS = 500  # of the studio, and of each person
MOST_VALUES = 400
LONGEST_NAME = 100  # characters
LONGEST_OWNER = 64
STUDIO = ""  # whose presets are that everybody sees: those made where nobody logs in
NONE: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Values of a form by their places in a request, ``hires.scale``, as the browser sends them; `tab` is the one they
    were taken from, `owner` whose it is. Making one checks it; one that cannot be kept raises `UserError`."""

    name: str
    tab: str
    values: Mapping[str, Any]
    owner: str = STUDIO

    def __post_init__(self) -> None:
        if not self.name.strip() or len(self.name) > LONGEST_NAME or not self.name.isprintable():
            raise UserError(f"A preset needs a name of up to {LONGEST_NAME} signs, in one line.")
        if not isinstance(self.owner, str) or len(self.owner) > LONGEST_OWNER:
            raise UserError(f"The owner of a preset is a name of up to {LONGEST_OWNER} signs.")
        _check(self.values)


@dataclass(frozen=True, kw_only=True)
class _Kept:
    presets: Mapping[tuple[str, str], Preset] = field(default_factory=dict)  # by owner and name
    checkpoints: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


class Presets:
    """The presets of this installation and the file that they live in. People see the studio's and their own; of one
    name the own counts. A damaged file is kept beside it as ``NAME.bad-DATE``. Safe to use from any thread."""

    def __init__(self, path: Path):
        self._path = path
        self._lock = threading.Lock()
        self._kept = self._load()

    def all(self, owner: str = STUDIO) -> tuple[Preset, ...]:
        """Every preset that `owner` sees, by name."""
        kept = self._kept.presets.values()
        seen = {preset.name: preset for whose in (STUDIO, owner) for preset in kept if preset.owner == whose}
        return tuple(sorted(seen.values(), key=lambda preset: preset.name.casefold()))

    def find(self, name: str, owner: str = STUDIO) -> Preset:
        """The preset of that name that `owner` sees. Raises `UserError` if there is none."""
        kept = self._kept.presets
        found = kept.get((owner, name)) or kept.get((STUDIO, name))
        if found is None:
            names = [preset.name for preset in self.all(owner)]
            raise UserError(unknown_name("preset", name[:80], names) if names else "There are no presets yet.")
        return found

    def save(self, preset: Preset) -> None:
        """Keep a preset; one of the same name and owner is replaced. Raises `UserError` if it cannot be written."""
        with self._lock:
            presets = {**self._kept.presets, (preset.owner, preset.name): preset}
            if sum(owner == preset.owner for owner, _ in presets) > MOST_PRESETS:
                raise UserError(f"There are {MOST_PRESETS} presets already: delete one first.")
            self._write(replace(self._kept, presets=presets))

    def delete(self, preset: Preset) -> None:
        """Forget the preset of this name and owner. Raises `UserError` if it cannot be written."""
        with self._lock:
            gone = (preset.owner, preset.name)
            presets = {key: kept for key, kept in self._kept.presets.items() if key != gone}
            self._write(replace(self._kept, presets=presets))

    def of_checkpoint(self, name: str) -> Mapping[str, Any]:
        """The values that are used whenever this checkpoint is chosen; none where nobody said any."""
        return self._kept.checkpoints.get(name, NONE)

    def set_of_checkpoint(self, name: str, values: Mapping[str, Any]) -> None:
        """Use these values whenever this checkpoint is chosen from now on; with none of them, its own. Raises
        `UserError`."""
        _check(values)
        with self._lock:
            others = {key: kept for key, kept in self._kept.checkpoints.items() if key != name}
            self._write(replace(self._kept, checkpoints={**others, name: dict(values)} if values else others))

    def _write(self, kept: _Kept) -> None:
        # The studio's are written without an owner, as all were before people had presets of their own.
        presets = [
            {name: value for name, value in asdict(preset).items() if name != "owner" or value}
            for preset in kept.presets.values()
        ]
        text = json.dumps(
            {"schema": SCHEMA, "presets": presets, "checkpoints": kept.checkpoints}, indent=2, ensure_ascii=False
        )
        try:
            write_atomically(self._path, text.encode("utf-8", "backslashreplace") + b"\n")
        except OSError as error:
            raise UserError(f"The presets could not be written: {error.strerror or error}.") from error
        self._kept = kept

    def _load(self) -> _Kept:
        try:
            values = json.loads(self._path.read_text(encoding="utf-8"))
            if values["schema"] != SCHEMA:
                raise ValueError(f"schema {values['schema']!r} is not known")
            presets = [Preset(**each) for each in values["presets"]]
            checkpoints = {str(name): dict(each) for name, each in values["checkpoints"].items()}
            for each in checkpoints.values():
                _check(each)
        except FileNotFoundError:
            return _Kept()
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError, UserError) as error:
            aside = self._path.with_name(f"{self._path.name}.bad-{time.strftime('%Y%m%d-%H%M%S')}")
            log.warning("%s cannot be read (%s); it is kept as %s", self._path.name, error, aside.name)
            try:
                self._path.replace(aside)
            except OSError as reason:
                log.warning("it could not be kept aside: %s", reason)
            return _Kept()
        return _Kept(presets={(preset.owner, preset.name): preset for preset in presets}, checkpoints=checkpoints)


def _check(values: object) -> None:
    """Raises `UserError` for what no form has."""
    if not isinstance(values, Mapping) or len(values) > MOST_VALUES:
        raise UserError(f"A preset holds up to {MOST_VALUES} values by their names.")
    for name, value in values.items():
        if not isinstance(name, str) or not _plain(value):
            raise UserError(f"{str(name)[:80]} is no value of a form, so it cannot be kept.")


def _plain(value: object) -> bool:
    if isinstance(value, list):
        return len(value) <= MOST_VALUES and all(isinstance(each, str) and _plain(each) for each in value)
    if isinstance(value, str):
        return len(value) <= LONGEST_PROMPT
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, bool | int)
