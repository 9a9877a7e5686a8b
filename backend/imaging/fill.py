"""What stands in a hole before the model sees it: something of the colours around it."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter, ImageOps

from backend.imaging.resize import Rectangle

# Radius and how often it is laid over the one before, from far to near: A1111's "fill".
LAYERS = ((256, 1), (64, 1), (16, 2), (4, 4), (2, 2), (0, 1))
NAVIER_STOKES_SIDE = 256  # pixels: it takes time with the cube of a hole's width, and what it draws is smooth
NAVIER_STOKES_RADIUS = 3
NOTHING_KNOWN = 127


def fill(content: str, picture: Image.Image, mask: Image.Image) -> Image.Image:
    """The RGB `picture` with its hole, where `mask` (L) is white, filled by the way that `content` names; as it is for
    contents that are no way to fill."""
    return FILLS[content](picture, mask) if content in FILLS else picture


def extended(picture: Image.Image, region: Rectangle) -> Image.Image:
    """A rectangle of a picture which may reach outside, where the picture's edge goes on."""
    left, top, right, bottom = region
    if left >= 0 and top >= 0 and right <= picture.width and bottom <= picture.height:
        return picture.crop(region)
    columns = np.arange(left, right).clip(0, picture.width - 1)
    rows = np.arange(top, bottom).clip(0, picture.height - 1)
    return Image.fromarray(np.asarray(picture)[rows[:, None], columns])


def _layered(picture: Image.Image, mask: Image.Image) -> Image.Image:
    """Ever sharper blurs of what is known, one over the other (A1111's "fill")."""
    known = Image.new("RGBa", picture.size)
    known.paste(picture.convert("RGBA").convert("RGBa"), mask=ImageOps.invert(mask))
    filled = Image.new("RGBA", picture.size)
    for radius, times in LAYERS:
        layer = known.filter(ImageFilter.GaussianBlur(radius)).convert("RGBA")
        for _ in range(times):
            filled.alpha_composite(layer)
    return filled.convert("RGB")


def _blurred(picture: Image.Image, mask: Image.Image) -> Image.Image:
    """Push and pull over a pyramid of halves (Gortler et al. 1996, "The Lumigraph", section 3.3): each hole takes the
    colours of the finest level that knows some, however large it is."""
    colours = np.asarray(picture, np.float32)
    known = (1 - np.asarray(mask, np.float32)[..., None] / 255).astype(np.float32)
    if not known.any():
        return Image.new("RGB", picture.size, (NOTHING_KNOWN,) * 3)
    return _as_picture(_pulled(colours, known))


def _pulled(colours: NDArray[np.float32], known: NDArray[np.float32]) -> NDArray[np.float32]:
    height, width = colours.shape[:2]
    if known.min() >= 1 or max(height, width) == 1:
        return colours
    half = ((width + 1) // 2, (height + 1) // 2)
    weights = _channel(cv2.resize(known, half, interpolation=cv2.INTER_AREA))
    sums = cv2.resize(colours * known, half, interpolation=cv2.INTER_AREA).reshape(*weights.shape[:2], 3)
    coarse = _pulled(
        (sums / np.maximum(weights, 1e-6)).astype(np.float32), np.minimum(1, weights * 4).astype(np.float32)
    )
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR).reshape(colours.shape)
    return (colours * known + smooth * (1 - known)).astype(np.float32)


def _channel(values: object) -> NDArray[np.float32]:
    array = np.asarray(values, np.float32)
    return array.reshape(*array.shape[:2], 1)


def _navier_stokes(picture: Image.Image, mask: Image.Image) -> Image.Image:
    """Lines of equal brightness go on into the hole (Bertalmio et al. 2001, "Navier-Stokes, Fluid Dynamics, and Image
    and Video Inpainting"), as OpenCV does it, on a reduced picture."""
    hole = np.asarray(mask)
    if hole.min() > 0:
        return _blurred(picture, mask)
    scale = min(1.0, NAVIER_STOKES_SIDE / max(picture.size))
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    # Filled first, so that what is reduced next to the hole has nothing of it.
    small = np.asarray(_blurred(picture, mask).resize(size, Image.Resampling.BOX))
    unknown = np.asarray(mask.resize(size, Image.Resampling.BOX)) > 0
    if unknown.all():
        return _blurred(picture, mask)
    filled = cv2.inpaint(small, unknown.astype(np.uint8) * 255, NAVIER_STOKES_RADIUS, cv2.INPAINT_NS)
    large = Image.fromarray(np.asarray(filled, np.uint8)).resize(picture.size, Image.Resampling.BICUBIC)
    return Image.composite(large, picture, mask)


def _as_picture(colours: NDArray[np.float32]) -> Image.Image:
    return Image.fromarray(colours.round().clip(0, 255).astype(np.uint8))


FILLS: Mapping[str, Callable[[Image.Image, Image.Image], Image.Image]] = MappingProxyType(
    {"fill": _layered, "blur": _blurred, "Navier-Stokes": _navier_stokes}
)
