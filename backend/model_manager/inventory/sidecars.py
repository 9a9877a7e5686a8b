"""What lies beside a model file: notes and a preview as AUTOMATIC1111 keeps them, and what Civitai says of it.

Such files are strangers' as much as the models are: they are read with limits, by type, and a link among them may not
lead out of the model folders.
"""

import contextlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backend.errors import UserError
from backend.files import write_atomically
from backend.model_manager.inventory.scan import FORMATS

NOTES = ".json"
CIVITAI = ".civitai.info"
PREVIEWS = tuple(f"{mark}{suffix}" for mark in (".preview", "") for suffix in (".png", ".jpg", ".jpeg", ".webp"))
LARGEST = {NOTES: 1024 * 1024, CIVITAI: 4 * 1024 * 1024}  # bytes


@dataclass(frozen=True, kw_only=True)
class Notes:
    """The person's own words about a model, under AUTOMATIC1111's names. A `preferred_weight` of 0 is none."""

    description: str = ""
    notes: str = ""
    sd_version: str = ""
    activation_text: str = ""
    preferred_weight: float = 0.0
    negative_text: str = ""


@dataclass(frozen=True, kw_only=True)
class Civitai:
    """What the site said of this version of the model when somebody asked it. `sha256` is in lower case, or empty."""

    name: str = ""
    version: str = ""
    base_model: str = ""
    trained_words: tuple[str, ...] = ()
    description: str = ""
    sha256: str = ""
    model_id: int = 0
    version_id: int = 0


@dataclass(frozen=True, kw_only=True)
class Sidecar:
    """Everything beside one model file; `problems` has a sentence for each file that is there but cannot be used."""

    notes: Notes = field(default_factory=Notes)
    civitai: Civitai | None = None
    preview: Path | None = None
    problems: tuple[str, ...] = ()


def beside(model: Path, ending: str) -> Path:
    """Where the sidecar with that ending lies: a suffix of model files is replaced, any other is part of the name."""
    stem = model.name.removesuffix(model.suffix) if model.suffix.lower() in FORMATS else model.name
    return model.with_name(stem + ending)


def read_sidecar(model: Path, *, allowed: Callable[[Path], bool] = lambda _: False) -> Sidecar:
    """What lies beside `model`. A link is followed only into the model's own folder or where `allowed(target)`."""
    problems: list[str] = []

    def usable(path: Path) -> bool:
        try:
            _refuse_stray_link(path, allowed)
            return path.is_file()
        except UserError as error:
            problems.append(str(error))
            return False

    def read(ending: str) -> Mapping[str, Any]:
        path = beside(model, ending)
        try:
            return _read_object(path, LARGEST[ending]) if usable(path) else {}
        except UserError as error:
            problems.append(str(error))
            return {}

    notes, said = _notes(read(NOTES)), read(CIVITAI)
    preview = next((path for ending in PREVIEWS if usable(path := beside(model, ending))), None)
    return Sidecar(notes=notes, civitai=_civitai(said) if said else None, preview=preview, problems=tuple(problems))


def write_notes(model: Path, notes: Notes, *, allowed: Callable[[Path], bool] = lambda _: False) -> None:
    """Put `notes` into the ``.json`` beside `model`; what else that file says stays as it is.

    Raises `UserError` if the file that is there is not one of AUTOMATIC1111's, or if the disk says no.
    """
    path = beside(model, NOTES)
    try:
        _refuse_stray_link(path, allowed)
        kept = dict(_read_object(path, LARGEST[NOTES])) if path.exists() else {}
        kept |= {
            "description": notes.description,
            "sd version": notes.sd_version,
            "activation text": notes.activation_text,
            "preferred weight": notes.preferred_weight,
            "negative text": notes.negative_text,
            "notes": notes.notes,
        }
        # A link is written through: renaming a file over it would cut it off from its target.
        write_atomically(path.resolve(), json.dumps(kept, indent=4, ensure_ascii=False).encode() + b"\n")
    except UserError as error:
        raise UserError(f"The notes were not saved, to keep what is there. {error}") from error
    except (OSError, UnicodeEncodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise UserError(f"The notes could not be written to {path}: {reason}.") from error


def _refuse_stray_link(path: Path, allowed: Callable[[Path], bool]) -> None:
    """Raises `UserError` if `path` is a link that leads neither into its own folder nor to where it may."""
    if path.is_symlink():
        target = path.resolve()
        if not (target.is_relative_to(path.parent.resolve()) or allowed(target)):
            raise UserError(f"{path.name} is left out: it is a link to {target}, which lies in no model folder.")


def _read_object(path: Path, most: int) -> Mapping[str, Any]:
    """The JSON object in a file. Raises `UserError` with a sentence if there is none."""
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
        if len(data) > most:
            raise UserError(f"{path.name} is left out: it has more than {most:,} bytes.")
        # Some editors and tools on Windows begin such a file with a byte order mark.
        value = json.loads(data.decode("utf-8-sig")) if data.strip() else {}
    except OSError as error:
        raise UserError(f"{path.name} cannot be read: {error.strerror or error}.") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path.name} is left out: it is no JSON.") from error
    if not isinstance(value, dict):
        raise UserError(f"{path.name} is left out: it holds no object.")
    return value


def _notes(said: Mapping[str, Any]) -> Notes:
    return Notes(
        description=_text(said.get("description")),
        notes=_text(said.get("notes")),
        sd_version=_text(said.get("sd version")),
        activation_text=_text(said.get("activation text")),
        preferred_weight=_number(said.get("preferred weight")),
        negative_text=_text(said.get("negative text")),
    )


def _civitai(said: Mapping[str, Any]) -> Civitai:
    """A model version as the site's API gives it: ``GET /api/v1/model-versions/by-hash/HASH``."""
    model, words, files = said.get("model"), said.get("trainedWords"), said.get("files")
    hashes = [file.get("hashes") for file in files if isinstance(file, dict)] if isinstance(files, list) else []
    sums = [_text(each.get("SHA256")).lower() for each in hashes if isinstance(each, dict)]
    return Civitai(
        name=_text(model.get("name")) if isinstance(model, dict) else "",
        version=_text(said.get("name")),
        base_model=_text(said.get("baseModel")),
        trained_words=tuple(word for word in words if isinstance(word, str)) if isinstance(words, list) else (),
        description=_text(said.get("description")),
        sha256=sums[0] if len(sums) == 1 else "",
        model_id=_whole(said.get("modelId")),
        version_id=_whole(said.get("id")),
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0


def _number(value: object) -> float:
    """A finite number that a float can hold, else none."""
    with contextlib.suppress(OverflowError):
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
    return 0.0
