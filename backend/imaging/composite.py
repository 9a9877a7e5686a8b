"""What was made, put back into the picture: not one bit of it changes where the mask is black."""

import cv2
import numpy as np
from numpy.typing import NDArray

from backend.imaging.mask import Bytes, grown

RING = 24  # pixels around a mask whose colours are compared
LEAST_RING = 32  # pixels: fewer say nothing
EASED = 2.0  # units of Lab: spreads below this are noise
MOST_GAIN = 1.25
MIDDLE = (10, 90)  # percentiles: what lies outside, an edge or a line, does not count

Floats = NDArray[np.float32]


def composite(base: Bytes, made: Bytes, mask: Bytes) -> Bytes:
    """`made` over `base`, both (height, width, channels), by `mask`, (height, width).

    Where the mask is 0 the result is `base`, where it is 255 `made`, between them the rounded mean.
    """
    weight = mask.astype(np.uint16)[..., None]  # 255 * 255 + 127 is less than 65,536
    mixed = (made * weight + base * (255 - weight) + 127) // 255
    return mixed.astype(np.uint8)


def matched(made: Bytes, original: Bytes, ring: NDArray[np.bool_]) -> Bytes:
    """`made` with the colours that it should have, judged by a `ring` where it should be `original`.

    Mean and spread of L, a and b are brought to the original's (Reinhard et al. 2001, "Color Transfer between Images"),
    over the middle of what there is, and the spread not by more than a quarter. A ring too small to tell leaves it.
    """
    if int(ring.sum()) < LEAST_RING:
        return made
    colours = _lab(made)
    there, wanted = _middle(colours[ring]), _middle(_lab(original)[ring])
    gain = ((wanted[1] + EASED) / (there[1] + EASED)).clip(1 / MOST_GAIN, MOST_GAIN)
    return _rgb(((colours - there[0]) * gain + wanted[0]).astype(np.float32))


def ring_around(mask: Bytes, inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The pixels near a mask that it leaves alone, of those that are `inside` the picture."""
    painted = (mask > 0).astype(np.uint8)
    return (grown(painted, RING) > 0) & (painted == 0) & inside


def _middle(colours: Floats) -> tuple[Floats, Floats]:
    """Mean and standard deviation of each channel of (n, 3), over its middle percentiles."""
    low, high = np.percentile(colours, MIDDLE, axis=0)
    clipped = colours.clip(low, high)
    return clipped.mean(axis=0).astype(np.float32), clipped.std(axis=0).astype(np.float32)


def _lab(rgb: Bytes) -> Floats:
    return np.asarray(cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2LAB), np.float32)


def _rgb(lab: Floats) -> Bytes:
    rgb = np.asarray(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB), np.float32)
    return (rgb * 255).round().clip(0, 255).astype(np.uint8)
