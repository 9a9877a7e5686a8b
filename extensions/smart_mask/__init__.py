"""Masks by one press: what has the pressed colour, or the whole thing that stands there."""

from typing import Any

import cv2
import numpy as np

from backend.extension_api import BaseModel, ConfigDict, ExtensionApi, Field, Image, Settings, hook

LARGEST = 640  # pixels along a side on which GrabCut works: it takes seconds beyond
ROUNDS = 4  # of GrabCut, which changes little after them
FAR, NEAR = 1.0, 0.4  # of the larger side of what was found: how far the rest of a thing may reach, and probably does
Array = np.ndarray[Any, np.dtype[np.uint8]]


class SmartMask(BaseModel):
    """Settings of both tools."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tolerance: int = Field(default=12, ge=0, le=100, title="Tolerance", description="Distance in CIELAB.")
    grow: int = Field(default=4, ge=0, le=64, title="Grow", description="Pixels by which the mask is made larger.")


class Tools:
    """Both tools, with the settings as they are when a place is pressed."""

    def __init__(self, settings: Settings[SmartMask]):
        self._settings = settings

    def similar(self, picture: Image.Image, place: tuple[int, int]) -> Image.Image:
        """What joins the place and is like it."""
        found = flood(np.asarray(picture.convert("RGB")), place, self._settings.value.tolerance)
        return self._grown(found)

    def whole(self, picture: Image.Image, place: tuple[int, int]) -> Image.Image:
        """What joins the place, and the rest of the thing that it is a part of."""
        scale = min(1.0, LARGEST / max(picture.size))
        width, height = (max(1, round(side * scale)) for side in picture.size)
        small = picture.convert("RGB").resize((width, height), Image.Resampling.BOX)
        at = tuple(min(int(x * scale), side - 1) for x, side in zip(place, small.size, strict=True))
        pixels = np.asarray(small)
        found = cut_out(pixels, flood(pixels, (at[0], at[1]), self._settings.value.tolerance))
        whole = np.asarray(Image.fromarray(found).resize(picture.size, Image.Resampling.BILINEAR))
        return self._grown(np.where(whole > 127, 255, 0).astype(np.uint8))

    def _grown(self, mask: Array) -> Image.Image:
        grow = self._settings.value.grow
        if grow:
            disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * grow + 1, 2 * grow + 1))
            mask = np.asarray(cv2.dilate(mask, disc), dtype=np.uint8)
        return Image.fromarray(mask, "L")


def flood(pixels: Array, place: tuple[int, int], tolerance: int) -> Array:
    """255 where pixels (height, width, 3) join `place` and are within `tolerance` of it, in each of L, a and b.

    OpenCV keeps CIELAB in bytes: L from 0 to 255 in place of 100, a and b as they are.
    """
    lab = cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2LAB)
    mask = np.zeros((pixels.shape[0] + 2, pixels.shape[1] + 2), np.uint8)
    span = (tolerance * 2.55, float(tolerance), float(tolerance))
    flags = 8 | (255 << 8) | cv2.FLOODFILL_FIXED_RANGE | cv2.FLOODFILL_MASK_ONLY
    cv2.floodFill(lab, mask, place, (0, 0, 0), span, span, flags)
    return mask[1:-1, 1:-1].copy()


def cut_out(pixels: Array, seed: Array) -> Array:
    """255 on the thing that `seed` is a part of: the seed is it for sure, what lies far from the seed is not, and
    GrabCut decides about the rest. Where it has nothing to decide the seed is the answer."""
    left, top, width, height = cv2.boundingRect(seed)
    trimap = np.full(seed.shape, cv2.GC_BGD, np.uint8)
    for reach, guess in ((FAR, cv2.GC_PR_BGD), (NEAR, cv2.GC_PR_FGD)):
        by = max(4, round(max(width, height) * reach))
        trimap[max(0, top - by) : top + height + by, max(0, left - by) : left + width + by] = guess
    trimap[seed > 0] = cv2.GC_FGD
    if not (trimap == cv2.GC_BGD).any() and not (trimap == cv2.GC_PR_BGD).any():
        return seed
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.setRNGSeed(0)  # its clusters begin at random, and one press is to give one mask
    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    cv2.grabCut(bgr, trimap, (0, 0, 1, 1), *models, ROUNDS, cv2.GC_INIT_WITH_MASK)  # which reads no rectangle
    return np.where((trimap == cv2.GC_FGD) | (trimap == cv2.GC_PR_FGD), 255, 0).astype(np.uint8)


@hook
def register(api: ExtensionApi) -> None:
    """Two tools and their settings."""
    tools = Tools(api.settings(SmartMask))
    api.canvas_tool("Similar colours", tools.similar, hint="Press a colour: all of it that joins is masked.")
    api.canvas_tool("Whole thing", tools.whole, hint="Press a thing: its outline is looked for.")
