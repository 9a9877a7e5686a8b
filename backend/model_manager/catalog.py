"""What checkpoints there are on disk."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from backend.errors import ModelFileError, unknown_name
from backend.families import identify
from backend.families.family import Family
from backend.model_manager.header import Header, read_header

SUFFIX = ".safetensors"
STARTER = "starter"


@dataclass(frozen=True, kw_only=True)
class ModelRecord:
    """A file in a model folder. `family` is the table's name for its architecture, empty if it cannot be run, and then
    `problem` is the sentence that says why. `native_size` is the width and height in pixels it makes best; `size` in
    bytes; `modified` in nanoseconds since 1970."""

    path: Path
    name: str
    family: str
    problem: str
    native_size: tuple[int, int]
    size: int
    modified: int


class Catalog:
    """The checkpoints of some folders and all folders below them; a file is looked into again only when it changed."""

    def __init__(self, folders: Sequence[Path]):
        self._folders = tuple(dict.fromkeys(folder.resolve() for folder in folders))
        self._known: dict[tuple[Path, int, int], ModelRecord] = {}

    def records(self) -> list[ModelRecord]:
        """Every checkpoint file there is now, by name; of two with one name the first folder's comes first."""
        found: dict[str, ModelRecord] = {}
        for folder in self._folders:
            for path in sorted(folder.rglob(f"*{SUFFIX}")) if folder.is_dir() else []:
                try:
                    stat = path.stat()
                except OSError:
                    continue  # removed between listing and looking, or a link to nowhere
                record = self._record(path, folder, stat.st_size, stat.st_mtime_ns)
                found.setdefault(record.name, record)
        return sorted(found.values(), key=lambda record: record.name.lower())

    def names(self) -> list[str]:
        """The names of the checkpoints that can be run."""
        return [record.name for record in self.records() if record.family]

    def find(self, name: str) -> ModelRecord:
        """The checkpoint of that name, with or without suffix and A1111's ` [hash]`; for no name the starter, else the
        first. Raises `ModelFileError` if there is none, or if it cannot be run."""
        records = self.records()
        if not name:
            usable = [record for record in records if record.family]
            if not usable:
                places = ", ".join(str(folder) for folder in self._folders)
                raise ModelFileError(f"There is no checkpoint: put a {SUFFIX} file into {places}.")
            return next((record for record in usable if record.name == STARTER), usable[0])
        full = name.removesuffix(SUFFIX).lower()
        short = name.partition(" [")[0].removesuffix(SUFFIX).lower()
        # The nearest way of naming wins: `base` is that file, and only without one `anime/base`.
        for wanted in (
            lambda known: known == name,
            lambda known: known.lower() == full,
            lambda known: known.lower() == short,
            lambda known: known.lower().rpartition("/")[2] == short,
        ):
            for record in records:
                if wanted(record.name):
                    if not record.family:
                        raise ModelFileError(record.problem)
                    return record
        raise ModelFileError(unknown_name("checkpoint", name, [record.name for record in records]))

    def _record(self, path: Path, folder: Path, size: int, modified: int) -> ModelRecord:
        key = (path, size, modified)
        if key not in self._known:
            family, problem, native = "", "", (0, 0)
            try:
                header = read_header(path)
                identified = identify(header, path.name)
                family, native = identified.name, native_size(header, identified)
            except ModelFileError as error:
                problem = str(error)
            name = path.relative_to(folder).with_suffix("").as_posix()
            self._known[key] = ModelRecord(
                path=path,
                name=name,
                family=family,
                problem=problem,
                native_size=native,
                size=size,
                modified=modified,
            )
        return self._known[key]


def native_size(header: Header, family: Family) -> tuple[int, int]:
    """Width and height the checkpoint makes best: what ModelSpec's metadata say (``modelspec.resolution``), else what
    is usual for its family."""
    said = re.fullmatch(r"(\d{2,4})x(\d{2,4})", header.metadata.get("modelspec.resolution", ""))
    return (int(said[1]), int(said[2])) if said else (family.native_size, family.native_size)
