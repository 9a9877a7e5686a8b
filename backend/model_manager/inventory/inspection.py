"""One look into a model file: what it is, and what else the catalog keeps of it."""

import hashlib
import re
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from backend import families
from backend.errors import ModelFileError
from backend.families.family import Family
from backend.model_manager.container import sniff
from backend.model_manager.header import Header, Tables, read_header, read_values
from backend.model_manager.identify import CONTAINERS, identify, identify_file, identify_folder
from backend.model_manager.identity import Identity, Kind
from backend.model_manager.inventory.model_index import Inspection
from backend.model_manager.inventory.scan import Format, Found
from backend.model_manager.recognition.structure import Structures


def rules() -> str:
    """What tells the rules by which files are identified from every other version of them: a hash of all the sources
    that may have a part in it."""
    digest = hashlib.sha256()
    manager = Path(__file__).parents[1]
    for folder in (manager, manager / "inventory", manager / "recognition", Path(families.__file__).parent):
        for source in sorted(folder.glob("*.py")):
            digest.update(source.read_bytes())
    return digest.hexdigest()


@dataclass(frozen=True, kw_only=True)
class Alike:
    """What many files have in common, kept from one look to the next: read and recognised once, it holds for all."""

    tables: Tables = field(default_factory=Tables)
    structures: Structures = field(default_factory=Structures)


def inspect(found: Found, *, alike: Alike | None = None) -> Inspection:
    """Look into one model, or at a pickle from the outside; `alike` is kept by whoever looks into many. Raises
    `FileNotFoundError` if it is gone."""
    path = Path(found.path)
    try:
        match found.format:
            case Format.PICKLE:
                return unopened(found)
            case Format.DIFFUSERS:
                return Inspection(identity=identify_folder(path))
            case Format.GGUF:
                return Inspection(identity=identify_file(path))
            case Format.SAFETENSORS:
                return _look_into(path, alike or Alike())
    except ModelFileError as error:
        unread = isinstance(error.__cause__, OSError)
        if unread and not path.exists():
            raise FileNotFoundError(path) from error
        broken = Identity(kind=Kind.UNKNOWN, title="Damaged file", problem=str(error))
        return Inspection(identity=broken, readable=False, lasting=not unread)


def _look_into(path: Path, alike: Alike) -> Inspection:
    try:
        header = read_header(path, tables=alike.tables)
    except ModelFileError:
        if sniff(path) == "safetensors":
            raise
        # Something else under this name, a web page or a pickle, is called what it is.
        return Inspection(identity=identify_file(path), readable=False)
    return Inspection(
        identity=identify(header, path.name, values=partial(read_values, path, header), structures=alike.structures),
        stated_size=_stated_size(header),
        alias=header.metadata.get("ss_output_name", ""),
        stated_hash=_hash_in(header.metadata.get("sshs_model_hash", "")),
    )


def unopened(pickle: Found) -> Inspection:
    """What can be said of a pickle: to open it is to run what somebody wrote into it."""
    title, sentence = CONTAINERS["pickle"]
    identity = Identity(kind=Kind.UNKNOWN, title=title, problem=f"{Path(pickle.path).name} {sentence}.")
    return Inspection(identity=identity, readable=False)


def native_size(header: Header, family: Family) -> tuple[int, int]:
    """Width and height the checkpoint makes best: what ModelSpec's metadata say (``modelspec.resolution``), else what
    is usual for its family."""
    stated = _stated_size(header)
    return stated if any(stated) else (family.native_size, family.native_size)


def _stated_size(header: Header) -> tuple[int, int]:
    said = re.fullmatch(r"(\d{2,4})x(\d{2,4})", header.metadata.get("modelspec.resolution", ""))
    return (int(said[1]), int(said[2])) if said else (0, 0)


def _hash_in(text: str) -> str:
    """A sha256 in hexadecimal as metadata have it, or nothing."""
    lower = text.lower().removeprefix("0x")
    return lower if re.fullmatch("[0-9a-f]{64}", lower) else ""
