"""Masks: white is what is made new. At the picture's size, at the model's, and at that of latents.

Masks are arrays of bytes, (height, width), or tensors of 0 to 1.
"""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from backend.imaging.resize import Rectangle, Size

Bytes = NDArray[np.uint8]
OPAQUE = 128  # a mask's alpha above this is white


def mask_of(picture: Image.Image, *, rounded: bool = True) -> Bytes:
    """What a picture masks: where it has transparency what is opaque, else what is bright.

    Alpha becomes black or white unless it is not `rounded`; grey stays grey, as in AUTOMATIC1111.
    """
    if picture.mode == "RGBA":
        alpha = np.asarray(picture.getchannel("A"))
        return np.where(alpha > OPAQUE, 255, 0).astype(np.uint8) if rounded else alpha
    return np.asarray(picture.convert("L"))


def blurred(mask: Bytes, blur: int) -> Bytes:
    """Gaussian blur by `blur` pixels, with A1111's kernel: 2 int(2.5 blur + 0.5) + 1 wide, along each axis."""
    if blur == 0:
        return mask
    kernel = 2 * int(2.5 * blur + 0.5) + 1
    across = cv2.GaussianBlur(mask, (kernel, 1), blur)
    return np.asarray(cv2.GaussianBlur(across, (1, kernel), blur), np.uint8)


def doubled(mask: Bytes) -> Bytes:
    """Twice as bright: opaque from the edge inwards, fading outwards (A1111's overlay of the whole picture)."""
    return np.minimum(mask.astype(np.uint16) * 2, 255).astype(np.uint8)


def outwards(mask: Bytes) -> Bytes:
    """The other half: nothing at the edge of a blurred mask, fading in away from what is not masked."""
    return np.maximum(mask.astype(np.int16) * 2 - 255, 0).astype(np.uint8)


def bounds(mask: Bytes, padding: int) -> Rectangle | None:
    """The smallest rectangle around what is not black, `padding` wider on each side as far as there is room."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    height, width = mask.shape
    return (
        max(0, int(columns[0]) - padding),
        max(0, int(rows[0]) - padding),
        min(width, int(columns[-1]) + 1 + padding),
        min(height, int(rows[-1]) + 1 + padding),
    )


def in_ratio(region: Rectangle, ratio: Size, size: Size) -> Rectangle:
    """A region made wider or higher until it has the ratio of `ratio`, within a picture of `size` (A1111's
    "only masked"): moved inwards where it would reach outside, and cut off where there is no room at all."""
    left, top, right, bottom = region
    width, height = right - left, bottom - top
    if width / height > ratio[0] / ratio[1]:
        top, bottom = _widened(top, bottom, int(width / (ratio[0] / ratio[1])), size[1])
    else:
        left, right = _widened(left, right, int(height * (ratio[0] / ratio[1])), size[0])
    return left, top, right, bottom


def _widened(start: int, end: int, length: int, limit: int) -> tuple[int, int]:
    more = length - (end - start)
    start, end = start - more // 2, end + more - more // 2
    if end >= limit:
        start, end = start - (end - limit), limit
    if start < 0:
        start, end = 0, end - start
    return start, min(end, limit)


def moved(rectangle: Rectangle, by: tuple[int, ...]) -> Rectangle:
    """A rectangle, as far to the right and down."""
    left, top, right, bottom = rectangle
    return left + by[0], top + by[1], right + by[0], bottom + by[1]


def cut(array: NDArray, region: Rectangle) -> NDArray:
    """The part of (height, width, ...) in a rectangle."""
    return array[region[1] : region[3], region[0] : region[2]]


def latent_mask(mask: Image.Image, size: Size, *, rounded: bool = True) -> NDArray[np.float32]:
    """A mask at the size of latents, (height, width) from 0 to 1: bicubic, then 0 or 1 unless it is not `rounded`.

    A mask too small to round to anything takes in every latent that it touches.
    """
    levels = np.asarray(mask.convert("L").resize(size, Image.Resampling.BICUBIC))
    small = (levels / np.float32(255)).astype(np.float32)
    if not rounded:
        return small
    around = np.around(small).astype(np.float32)
    return around if around.any() else touched(np.asarray(mask.convert("L")), size)


def touched(mask: Bytes, size: Size) -> NDArray[np.float32]:
    """1 for every latent with a pixel that is not black: maximum pooling, to (height, width) of `size`."""
    width, height = size
    tall, wide = mask.shape
    found = np.zeros((height, width), np.float32)
    rows, columns = np.nonzero(mask)
    found[rows * height // tall, columns * width // wide] = 1
    return found


def grown(mask: Bytes, pixels: int) -> Bytes:
    """A mask, `pixels` larger on every side."""
    return _morphed(cv2.dilate, mask, pixels)


def shrunk(mask: Bytes, pixels: int) -> Bytes:
    """A mask, `pixels` smaller on every side that is not the picture's own edge."""
    return _morphed(cv2.erode, mask, pixels)


def _morphed(way: Callable[..., object], mask: Bytes, pixels: int) -> Bytes:
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * pixels + 1, 2 * pixels + 1))
    return np.asarray(way(mask, kernel), np.uint8)
