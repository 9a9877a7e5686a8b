"""The texts in a picture's file, wherever a program of the field puts them; no pixel is decoded for that.

Files come from strangers: every text is held against a limit before it is decompressed or decoded.
"""

import io
import re
import struct
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from backend.outputs import EXIF_IFD, IMAGE_DESCRIPTION, IMAGE_HISTORY, MAKER_NOTE, USER_COMMENT

LONGEST_TEXT = 1024 * 1024  # bytes of one text
LONGEST_TEXTS = 8 * LONGEST_TEXT  # of all: a graph and its picture on the canvas come as two
MOST_CHUNKS = 10_000
PNG = b"\x89PNG\r\n\x1a\n"
UNICODE, ASCII, UNDEFINED = b"UNICODE\0", b"ASCII\0\0\0", b"\0" * 8
TEXT_TAGS: Mapping[str, int] = {
    "ImageDescription": IMAGE_DESCRIPTION,
    "Make": 0x010F,
    "Model": 0x0110,
    "Software": 0x0131,
}
FORMATS = ("JPEG", "MPO", "WEBP", "AVIF", "GIF", "TIFF")
UNREADABLE = (
    *(OSError, SyntaxError, ValueError, LookupError, TypeError, EOFError, ZeroDivisionError, OverflowError),
    *(MemoryError, RuntimeError, Image.DecompressionBombError),  # libavif tells damage by a RuntimeError
    struct.error,  # a cut off Exif
)


@dataclass(frozen=True, kw_only=True)
class FileTexts:
    """What a file says in texts: those of a PNG by their keywords, those of Exif by the names of their tags, and
    ``comment`` for that of a GIF or JPEG. `kind` is the format, or ``text`` for a text file, which is all ``text``.
    `size` is the picture's in pixels, (0, 0) for a text."""

    kind: str
    size: tuple[int, int] = (0, 0)
    chunks: Mapping[str, str] = field(default_factory=dict)
    exif: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def opened(source: bytes | Path) -> Iterator[BinaryIO]:
    """A file or its bytes, to be read from the start. Raises `OSError`."""
    if isinstance(source, bytes):
        yield io.BytesIO(source)
    else:
        with source.open("rb") as file:
            yield file


def read_texts(source: bytes | Path) -> FileTexts | None:
    """The texts of a picture or of a text file; nothing for what is neither, or is damaged before it says anything."""
    try:
        with opened(source) as file:
            if file.read(len(PNG)) == PNG:
                return _of_png(file)
            file.seek(0)
            return _of_picture(file) or _of_text(file)
    except UNREADABLE:
        return None


def _of_png(file: BinaryIO) -> FileTexts:
    """Chunk by chunk, as texts may stand behind the pixels; what a broken off file still says is taken."""
    size, chunks, exif, total = (0, 0), {}, {}, 0
    for _ in range(MOST_CHUNKS):
        head = file.read(8)
        length, kind = int.from_bytes(head[:4]), head[4:]
        if len(head) < 8 or kind == b"IEND":
            break
        if kind not in (b"IHDR", b"tEXt", b"zTXt", b"iTXt", b"eXIf") or length > LONGEST_TEXT:
            file.seek(length + 4, io.SEEK_CUR)
            continue
        data = file.read(length)
        file.seek(4, io.SEEK_CUR)
        if kind == b"IHDR":
            size = int.from_bytes(data[:4]), int.from_bytes(data[4:8])
        elif kind == b"eXIf":
            exif = _exif(data)
        else:
            keyword, text = _text_chunk(kind, data)
            total += len(text)
            if total > LONGEST_TEXTS:
                break
            chunks.setdefault(keyword, text)
    return FileTexts(kind="PNG", size=size, chunks=chunks, exif=exif)


def _text_chunk(kind: bytes, data: bytes) -> tuple[str, str]:
    """Keyword and text of a chunk (PNG 1.2, section 11.3.4); an empty text where it cannot be had."""
    keyword, _, body = data.partition(b"\0")
    name = keyword.decode("latin-1")
    if kind == b"tEXt":
        return name, _tolerantly(body)
    if kind == b"zTXt":
        return name, _inflated(body[1:]).decode("latin-1")
    packed, _, rest = body[:1], body[1:2], body[2:]
    body = rest.partition(b"\0")[2].partition(b"\0")[2]  # after the language, and the keyword in it
    return name, (_inflated(body) if packed == b"\1" else body).decode("utf-8", errors="replace")


def _tolerantly(data: bytes) -> str:
    """Latin-1 is the rule; some programs write UTF-8 there all the same."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _inflated(data: bytes) -> bytes:
    """Nothing where it would become longer than a text may be."""
    try:
        inflater = zlib.decompressobj()
        text = inflater.decompress(data, LONGEST_TEXT)
    except zlib.error:
        return b""
    return b"" if inflater.unconsumed_tail else text


def _of_picture(file: BinaryIO) -> FileTexts | None:
    Image.init()
    try:
        picture = Image.open(file, formats=[kind for kind in FORMATS if kind in Image.OPEN])
    except UNREADABLE:
        file.seek(0)
        return None
    with picture:
        block = picture.info.get("exif")
        exif = _exif(block) if isinstance(block, bytes) else {}
        comment = picture.info.get("comment")
        chunks = {}
        if isinstance(comment, bytes) and len(comment) <= LONGEST_TEXT:
            chunks["comment"] = _tolerantly(comment).rstrip("\0")
        return FileTexts(kind=picture.format or "", size=picture.size, chunks=chunks, exif=exif)


def _exif(block: bytes) -> dict[str, str]:
    """Those tags that programs of the field write into. An Exif block may not be longer than all texts."""
    if len(block) > LONGEST_TEXTS:
        return {}
    exif = Image.Exif()
    try:
        exif.load(block)
        inner = exif.get_ifd(EXIF_IFD)
    except UNREADABLE:
        return {}
    found = {name: exif.get(tag) for name, tag in TEXT_TAGS.items()}
    found["UserComment"] = user_comment(inner.get(USER_COMMENT))
    found["ImageHistory"] = inner.get(IMAGE_HISTORY)
    note = inner.get(MAKER_NOTE)
    found["MakerNote"] = note.decode("utf-8", errors="replace").rstrip("\0") if isinstance(note, bytes) else note
    return {name: text for name, text in found.items() if isinstance(text, str) and 0 < len(text) <= LONGEST_TEXT}


def user_comment(data: object) -> str:
    """Exif's UserComment: eight bytes name the alphabet, which for UTF-16 is written in either order of bytes. Without
    them it is taken for UTF-8, if it can be that."""
    if isinstance(data, str):
        return data.rstrip("\0")
    if not isinstance(data, bytes) or len(data) > 2 * LONGEST_TEXT:
        return ""
    mark, text = data[:8], data[8:]
    if mark == UNICODE:
        if text[:2] in (b"\xff\xfe", b"\xfe\xff"):
            return text.decode("utf-16", errors="replace").rstrip("\0")
        # In most alphabets that parameters are written in, the upper byte is the smaller one.
        swapped = sum(text[::2]) > sum(text[1::2])
        return text.decode("utf-16-le" if swapped else "utf-16-be", errors="replace").rstrip("\0")
    try:
        return (text if mark in (ASCII, UNDEFINED) else data).decode("utf-8").strip("\0")
    except UnicodeDecodeError:
        return text.decode("ascii", errors="replace").rstrip("\0") if mark == ASCII else ""


def _of_text(file: BinaryIO) -> FileTexts | None:
    """A text file in UTF-8, or in UTF-16 with its mark; nothing for what holds bytes that no text has."""
    data = file.read(LONGEST_TEXT + 1)
    if not data.strip() or len(data) > LONGEST_TEXT:
        return None
    try:
        text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError:
        return None
    if re.search(r"[\x00-\x08\x0e-\x1f]", text):
        return None
    return FileTexts(kind="text", chunks={"text": text.replace("\r\n", "\n").strip()})
