"""What may come into the model folders from outside: under which name, with what inside, never over another."""

import json
import os
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from backend.errors import ModelFileError
from backend.files import publish
from backend.model_manager.container import Container, sniff
from backend.model_manager.header import read_header

SAFETENSORS = ".safetensors"
PICKLES = (".ckpt", ".pt", ".pth", ".bin")
LONGEST_NAME = 180  # bytes, leaving room below the 255 of most file systems
LARGEST_TEXT = 32 * 1024 * 1024  # bytes; the largest tokenizer has 20 million
IN_WORDS: Mapping[Container, str] = {
    "html": "a web page: the server wants a login, or the address is not a file's",
    "empty": "empty",
    "lfs-pointer": "only Git LFS's note of where the model would be",
    "gguf": "a GGUF file, which Atelier cannot use",
    "unknown": "neither a safetensors file nor a checkpoint of PyTorch's",
}
FORBIDDEN = re.compile(r'[<>:"/\\|?*]')
WINDOWS_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Content:
    """What is in a file: the suffix it should have, and a sentence where something must be done before it is used."""

    suffix: str
    note: str = ""


def safe_name(text: str) -> str:
    """A file name that is one on every system, made of what a stranger says: no path, no invisible signs, not hidden,
    none of Windows' devices, at most 180 bytes with its suffix kept. Empty if nothing is left."""
    last = unicodedata.normalize("NFC", text).replace("\\", "/").rstrip("/").rpartition("/")[2]
    seen = "".join(sign for sign in last if unicodedata.category(sign)[0] != "C")  # control, direction, surrogate
    name = FORBIDDEN.sub("_", seen).strip(" .")
    if WINDOWS_DEVICES.fullmatch(name):
        name = f"_{name}"
    stem, dot, suffix = name.rpartition(".")
    if not dot or len(suffix) > 16:
        stem, suffix = name, ""
    room = LONGEST_NAME - len((dot + suffix).encode()) if suffix else LONGEST_NAME
    stem = stem.encode()[:room].decode(errors="ignore").strip(" .")
    return f"{stem}.{suffix}" if suffix else stem


def is_plain_path(path: str) -> bool:
    """Whether a path that a server gives stays inside its folder and has only names that are names here too."""
    return len(path) <= 1024 and all(part and safe_name(part) == part for part in path.split("/"))


def recognise(path: Path, name: str) -> Content:
    """What the model file at `path` holds, by its content; `name` is what a person knows it by.

    Raises `ModelFileError` if it is a web page, a safetensors file that lies, or nothing that holds weights. A pickle
    is never opened: it is known by its first bytes.
    """
    container = sniff(path)
    if container == "safetensors":
        _check_header(path, name)
        return Content(suffix=SAFETENSORS)
    if container not in ("pickle", "zip-pickle"):
        raise ModelFileError(f"{name} is {IN_WORDS.get(container, f'a {container} file and no model')}.")
    suffix = Path(name).suffix.lower()
    return Content(
        suffix=suffix if suffix in PICKLES else PICKLES[0],
        note=f"{name} is a pickle, which can run code when it is opened: convert it to safetensors to use it.",
    )


def check_part(path: Path, name: str) -> None:
    """Check a file of a diffusers folder: weights as safetensors, the rest as text, JSON where it says so.

    Raises `ModelFileError` with a sentence.
    """
    if name.endswith(SAFETENSORS):
        _check_header(path, name)
        return
    if path.stat().st_size > LARGEST_TEXT:
        raise ModelFileError(f"{name} has more than {LARGEST_TEXT:,} bytes, too many for a configuration.")
    try:
        text = path.read_text(encoding="utf-8")
        if name.endswith(".json") and not isinstance(json.loads(text), dict):
            raise ValueError
    except (ValueError, RecursionError) as error:
        kind = "JSON object" if name.endswith(".json") else "text"
        raise ModelFileError(f"{name} is damaged: it is no {kind}.") from error


def _check_header(path: Path, name: str) -> None:
    try:
        read_header(path)
    except ModelFileError as error:
        raise ModelFileError(str(error).replace(path.name, name)) from error


def place(source: Path, folder: Path, name: str) -> Path:
    """Give a finished file or folder its name in `folder`, or ``NAME-2`` and so on where that is taken: what is there
    is never replaced. Returns the path it now has. Raises `OSError`."""
    stem, suffix = (name, "") if source.is_dir() else (Path(name).stem, Path(name).suffix)
    number = 1
    while True:
        path = folder / (f"{stem}-{number}{suffix}" if number > 1 else name)
        if not os.path.lexists(path):
            try:
                _move(source, path)
            except FileExistsError:
                continue  # taken between the look and the move
            return path
        number += 1


def _move(source: Path, path: Path) -> None:
    """Rename without replacing."""
    if source.is_dir():
        source.rename(path)
        return
    publish(source, path)
