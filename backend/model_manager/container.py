"""What kind of file a file is, told from its first bytes and never from its name."""

import struct
from pathlib import Path
from typing import Literal

from backend.errors import ModelFileError

Container = Literal[
    "safetensors", "pickle", "zip-pickle", "gguf",
    "zip", "7z", "tar", "hdf5", "numpy", "lfs-pointer", "html", "empty", "unknown",
]  # fmt: skip
"""`pickle` is torch's format until 1.5 or a bare pickle, `zip-pickle` its format since. `lfs-pointer` and `html` are
what a download leaves that did not bring the file: Git LFS's note of where it would be, or a web page."""

LARGEST_FORMAT_HEADER = 100_000_000  # bytes: the format's own limit; what we accept is less
LOOKED_AT = 512  # bytes
_MAGIC: tuple[tuple[bytes, Container], ...] = (
    (b"GGUF", "gguf"),
    (b"7z\xbc\xaf\x27\x1c", "7z"),
    (b"\x89HDF\r\n\x1a\n", "hdf5"),
    (b"\x93NUMPY", "numpy"),
    (b"version https://git-lfs", "lfs-pointer"),
)
_ZIP = b"PK\x03\x04"
GGUF_STRING = 8  # the format's number of that type
_PICKLED = ("data.pkl", "constants.pkl")


def sniff(path: Path) -> Container:
    """What `path` holds, by its first 512 bytes; nothing in it is run. Raises `ModelFileError` if it cannot be
    read."""
    start = _start(path)
    if not start:
        return "empty"
    for magic, container in _MAGIC:
        if start.startswith(magic):
            return container
    if start.startswith(_ZIP):
        return "zip-pickle" if _first_member(start).rpartition("/")[2] in _PICKLED else "zip"
    if start[257:262] == b"ustar":
        return "tar"
    if _begins_safetensors(start):
        return "safetensors"
    if start[:1] == b"\x80" and start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return "pickle"
    return "html" if start.lstrip()[:9].lower().startswith((b"<!doctype", b"<html")) else "unknown"


def _start(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(LOOKED_AT)
    except OSError as error:
        raise ModelFileError(f"{path.name} cannot be read: {error.strerror or error}.") from error


def _begins_safetensors(start: bytes) -> bool:
    """A length of a header that the format allows, and the header's first bracket."""
    (length,) = struct.unpack("<Q", start[:8].ljust(8, b"\xff"))
    return 2 <= length <= LARGEST_FORMAT_HEADER and start[8:9] == b"{"


def _first_member(start: bytes) -> str:
    """The name of the first file of a zip archive (PKWARE's APPNOTE 4.3.7)."""
    if len(start) < 30:
        return ""
    (length,) = struct.unpack("<H", start[26:28])
    return start[30 : 30 + length].decode(errors="replace")


def gguf_architecture(path: Path) -> str:
    """The architecture that a GGUF file names first of all, empty if it does not: version 2 or 3 of the format, little
    endian. Raises `ModelFileError` if it cannot be read."""
    start = _start(path)
    key = b"general.architecture"
    place = 24  # after magic, version, and the numbers of tensors and of keys
    head = struct.pack("<Q", len(key)) + key + struct.pack("<I", GGUF_STRING)
    if start[place : place + len(head)] != head:
        return ""
    place += len(head)
    (length,) = struct.unpack("<Q", start[place : place + 8])
    return start[place + 8 : place + 8 + min(length, 64)].decode(errors="replace")
