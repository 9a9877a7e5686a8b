"""A recipe in the lowest bits of the pixels, where it outlives sites that strip every text: "stealth pnginfo"."""

import gzip
import io
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from backend.infotext.containers import LONGEST_TEXT, UNREADABLE, opened

MOST_PIXELS = 50_000_000
SIGNATURE_BYTES = 15
LENGTH_BYTES = 4
# The signature says where the bits are, in the alpha channel or in all three colours, and whether they are compressed.
SIGNATURES = {
    b"stealth_pnginfo": ("A", False),
    b"stealth_pngcomp": ("A", True),
    b"stealth_rgbinfo": ("RGB", False),
    b"stealth_rgbcomp": ("RGB", True),
}


def read_stealth(source: bytes | Path) -> str:
    """The text hidden in a PNG's or a lossless WebP's pixels, empty if there is none.

    Bits run down each column, columns from the left: the signature, 32 bits with the number of bits that follow, most
    significant first, then UTF-8, or gzip of it.
    """
    try:
        with opened(source) as file, Image.open(file, formats=["PNG", "WEBP"]) as picture:
            if picture.width * picture.height > MOST_PIXELS:
                return ""
            pixels = np.asarray(picture.convert("RGBA"))
    except UNREADABLE:
        return ""
    for channels in ("A", "RGB"):
        text = _hidden(pixels[..., 3:] if channels == "A" else pixels[..., :3], channels)
        if text:
            return text
    return ""


def _hidden(values: np.ndarray, channels: str) -> str:
    columns = -(-(SIGNATURE_BYTES + LENGTH_BYTES) * 8 // (values.shape[0] * values.shape[2]))
    head = _bytes(values[:, :columns])
    place = SIGNATURES.get(head[:SIGNATURE_BYTES])
    if place is None or place[0] != channels:
        return ""
    bits = int.from_bytes(head[SIGNATURE_BYTES : SIGNATURE_BYTES + LENGTH_BYTES])
    start = SIGNATURE_BYTES + LENGTH_BYTES
    if bits > LONGEST_TEXT * 8 or start * 8 + bits > values.size:
        return ""
    columns = -(-(start * 8 + bits) // (values.shape[0] * values.shape[2]))
    data = _bytes(values[:, :columns])[start : start + bits // 8]
    try:
        return (_unpacked(data) if place[1] else data).decode("utf-8")
    except (UnicodeDecodeError, OSError, EOFError, zlib.error):
        return ""


def _bytes(values: np.ndarray) -> bytes:
    """The lowest bits of some columns, (height, columns, channels), eight to a byte."""
    return np.packbits(values.transpose(1, 0, 2).reshape(-1) & 1).tobytes()


def _unpacked(data: bytes) -> bytes:
    with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
        text = file.read(LONGEST_TEXT + 1)
    return text if len(text) <= LONGEST_TEXT else b""
