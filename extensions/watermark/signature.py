"""A few bytes hidden in a picture by spread spectrum, and read again.

Cox et al. 1997, "Secure Spread Spectrum Watermarking for Multimedia": many small changes of the DCT of the whole
picture carry one bit. Brought to one size first, so that a resized picture has the same coefficients. Each bit has some
of them, and a sign for each; the bit is the sign of their mean. What the picture itself has of that is taken into
account when it is written (Malvar & Florencio 2003, "Improved Spread Spectrum"), so only later changes disturb it.
"""

import hashlib
import itertools
import zlib
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

LONGEST = 16  # bytes of text
BITS = 8 * (LONGEST + 4)  # with a checksum
SIDE = 256  # the size of which coefficients are those of every picture
LOWEST, HIGHEST = 28, 84  # radii of the coefficients that are used: visible below, lost to compression above
ROUNDS = 6  # of writing: each takes back what rounding and clipping did
DOUBTFUL = 8  # bits that may be turned round to fit the checksum
_KEY = b"atelier watermark 1"
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def signed(pixels: NDArray[np.uint8], text: bytes, strength: float) -> NDArray[np.uint8]:
    """The picture, (height, width, 3) in RGB, with `text` of up to 16 bytes hidden in it. At a `strength` of 1 each
    bit's coefficients lie about 1 level of 255 to its side."""
    bits = _bits(text)
    height, width = pixels.shape[:2]
    places, signs = _plan()
    change = np.zeros((SIDE, SIDE), np.float32)
    wanted = strength * float(np.sqrt(SIDE * SIDE / places.size))
    marked = pixels
    for _ in range(ROUNDS):
        lacking = np.maximum(0, wanted - bits * _sums(marked))
        if lacking.max() < wanted / 20:
            break
        change.ravel()[places] += (lacking * bits)[:, None] * signs
        picture = cv2.resize(cv2.idct(change), (width, height), interpolation=cv2.INTER_CUBIC)
        marked = np.clip(np.rint(pixels + picture[..., None]), 0, 255).astype(np.uint8)
    return marked


def read(pixels: NDArray[np.uint8]) -> bytes | None:
    """The text that is hidden in a picture, without its trailing zeros; None where there is none."""
    sums = _sums(pixels)
    found = sums > 0
    doubtful = np.argsort(np.abs(sums))[:DOUBTFUL]
    for many in range(DOUBTFUL + 1):
        for turned in itertools.combinations(doubtful, many):
            trial = found.copy()
            trial[list(turned)] ^= True
            packed = np.packbits(trial).tobytes()
            text, checksum = packed[:LONGEST], packed[LONGEST:]
            if zlib.crc32(text) == int.from_bytes(checksum):
                return text.rstrip(b"\0")
    return None


def _bits(text: bytes) -> Floats:
    """-1 and 1: the text, filled up with zeros, and its checksum."""
    text = text.ljust(LONGEST, b"\0")
    packed = np.frombuffer(text + zlib.crc32(text).to_bytes(4), np.uint8)
    return np.unpackbits(packed).astype(np.float32) * 2 - 1


def _sums(pixels: NDArray[np.uint8]) -> Floats:
    """For each bit the mean of its coefficients, each with its sign."""
    luma = pixels.astype(np.float32) @ _LUMA
    shrinks = luma.shape[0] >= SIDE and luma.shape[1] >= SIDE
    whole = cv2.resize(luma, (SIDE, SIDE), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
    places, signs = _plan()
    return (cv2.dct(whole).ravel()[places] * signs).mean(axis=1)


@cache
def _plan() -> tuple[NDArray[np.intp], Floats]:
    """For each bit its coefficients' places in the DCT and their signs: both (bits, coefficients)."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    radius = np.hypot(rows, columns).ravel()
    usable = np.flatnonzero((radius >= LOWEST) & (radius <= HIGHEST))
    drawn = np.frombuffer(hashlib.shake_256(_KEY).digest(16 * usable.size), "<u8").reshape(2, -1)
    each = usable.size // BITS
    order = np.argsort(drawn[0], kind="stable")[: each * BITS]
    places = usable[order].reshape(BITS, each)
    signs = np.where(drawn[1][order] & 1, 1, -1).astype(np.float32).reshape(BITS, each)
    return places, signs
