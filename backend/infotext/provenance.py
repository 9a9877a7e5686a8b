"""What a picture was made with, which is no part of its request: the very files, and the machine."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

from backend import checked
from backend.errors import InvalidRequest

VERSION = "0.1.0"
SCHEMA = 1
LONGEST = 1024 * 1024  # characters that are read


@dataclass(frozen=True, kw_only=True)
class FileHashes:
    """The sha256 of the model files that made a picture, whole and in hexadecimal, empty for those that were not used.

    A LoRA's is that of its tensors alone, as A1111 takes it; LoRAs and embeddings are named as in the prompt.
    """

    checkpoint: str = ""
    vae: str = ""
    refiner: str = ""
    hires_checkpoint: str = ""
    loras: Mapping[str, str] = field(default_factory=dict)
    embeddings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """The files a picture was made of, the device with its number format, and the versions of Atelier and of the
    extensions that took part, by their ids."""

    files: FileHashes
    device: str = ""
    version: str = VERSION
    extensions: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> str:
        """In ASCII, with the number of its layout: `from_json` gives an equal value."""
        values = asdict(self)
        if not self.extensions:
            del values["extensions"]
        return json.dumps({"schema": SCHEMA, **values}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote. Raises `InvalidRequest` for anything else, and for what a newer version wrote."""
        if len(text) > LONGEST:
            raise InvalidRequest(
                f"What this picture was made with takes {len(text):,} characters; {LONGEST:,} are read."
            )
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InvalidRequest(f"What this picture was made with cannot be read: {error}.") from error
        if not isinstance(values, dict) or not isinstance(values.get("files"), dict):
            raise InvalidRequest("What this picture was made with cannot be read: an object with files is expected.")
        schema = checked.whole("The schema of what this picture was made with", values.get("schema"), 1, 10**6)
        if schema > SCHEMA:
            raise InvalidRequest(
                f"A newer Atelier wrote what this picture was made with: schema {schema}, not {SCHEMA}."
            )
        files = {each.name: _checked(each.name, values["files"].get(each.name)) for each in fields(FileHashes)}
        known = FileHashes(**{name: value for name, value in files.items() if value})
        words = {name: checked.text(name.capitalize(), values.get(name, "")) for name in ("device", "version")}
        extensions = values.get("extensions", {})
        if not isinstance(extensions, dict):
            raise InvalidRequest("The extensions of this picture must be an object with their versions.")
        return cls(files=known, extensions=_checked("extensions", extensions), **words)


def _checked(name: str, value: Any) -> Any:
    """A hash, or hashes by name."""
    what = f"The {name.replace('_', ' ')} of this picture"
    if isinstance(value, dict):
        return {checked.text(what, key): checked.text(what, each) for key, each in value.items()}
    return checked.text(what, value or "")
