"""What was made, put back into the picture: not one bit of it changes where the mask is black."""

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from backend.imaging.mask import Bytes, grown

RING = 24  # pixels around a mask whose colours are compared
LEAST_RING = 32  # pixels: fewer say nothing
EASED = 2.0  # units of Lab: spreads below this are noise
MOST_GAIN = 1.25
BAND = 1 << 18  # pixels that are worked on at once: what is computed of each takes some dozen bytes
MIDDLE = (10, 90)  # percentiles: what lies outside, an edge or a line, does not count

Floats = NDArray[np.float32]


def composite(base: Bytes, made: Bytes, mask: Bytes) -> Bytes:
    """`made` over `base`, both (height, width, channels), by `mask`, (height, width).

    Where the mask is 0 the result is `base`, where it is 255 `made`, between them the rounded mean.
    """
    done = base.copy()
    for rows in _bands(mask):
        weight = mask[rows].astype(np.uint16)[..., None]  # 255 * 255 + 127 is less than 65,536
        done[rows] = (made[rows] * weight + base[rows] * (255 - weight) + 127) // 255
    return done


def over(base: Bytes, made: Bytes, mask: Bytes) -> Bytes:
    """`made`, (height, width, 3), over `base`, which has an alpha channel too, by `mask`, (height, width).

    Porter & Duff 1984, "over": each colour counts by how much there is of it, so that what nobody sees of `base` does
    not show. Where that is opaque, it is `composite`.
    """
    done = base.copy()
    for rows in _bands(mask):
        weight = mask[rows].astype(np.uint32)[..., None]
        there = (255 - weight) * base[rows, :, 3:]
        whole = 255 * weight + there
        colours = (made[rows] * (255 * weight) + base[rows, :, :3] * there + whole // 2) // np.maximum(whole, 1)
        mixed = np.concatenate([colours, (whole + 127) // 255], axis=2)
        done[rows] = np.where(weight > 0, mixed, base[rows])
    return done


def matched(made: Bytes, original: Bytes, ring: NDArray[np.bool_], mask: Bytes) -> Bytes:
    """`made` with the colours that it should have, judged by a `ring` where it should be `original`; only its rows
    where `mask` is not black are of use.

    Mean and spread of L, a and b are brought to the original's (Reinhard et al. 2001, "Color Transfer between Images"),
    over the middle of what there is, and the spread not by more than a quarter. A ring too small to tell leaves it.
    """
    if int(ring.sum()) < LEAST_RING:
        return made
    there, wanted = _middle(_lab_where(made, ring)), _middle(_lab_where(original, ring))
    gain = ((wanted[1] + EASED) / (there[1] + EASED)).clip(1 / MOST_GAIN, MOST_GAIN)
    done = made.copy()
    for rows in _bands(mask):
        done[rows] = _rgb(((_lab(made[rows]) - there[0]) * gain + wanted[0]).astype(np.float32))
    return done


def ring_around(mask: Bytes, inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The pixels near a mask that it leaves alone, of those that are `inside` the picture."""
    painted = (mask > 0).astype(np.uint8)
    return (grown(painted, RING) > 0) & (painted == 0) & inside


def _middle(colours: Floats) -> tuple[Floats, Floats]:
    """Mean and standard deviation of each channel of (n, 3), over its middle percentiles."""
    low, high = np.percentile(colours, MIDDLE, axis=0)
    clipped = colours.clip(low, high)
    return clipped.mean(axis=0).astype(np.float32), clipped.std(axis=0).astype(np.float32)


def _lab_where(rgb: Bytes, where: NDArray[np.bool_]) -> Floats:
    """The colours of some pixels, (n, 3)."""
    return np.concatenate([_lab(rgb[rows])[where[rows]] for rows in _bands(where)])


def _bands(mask: Bytes | NDArray[np.bool_]) -> Iterator[slice]:
    """The rows of a mask, as many at once as memory should hold of a large picture, without those where it is 0."""
    height, width = mask.shape
    step = max(1, BAND // max(1, width))
    for top in range(0, height, step):
        rows = slice(top, min(height, top + step))
        if mask[rows].any():
            yield rows


def _lab(rgb: Bytes) -> Floats:
    return np.asarray(cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2LAB), np.float32)


def _rgb(lab: Floats) -> Bytes:
    rgb = np.asarray(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB), np.float32)
    return (rgb * 255).round().clip(0, 255).astype(np.uint8)
