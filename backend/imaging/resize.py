"""AUTOMATIC1111's ways to bring a picture to another size, and the way back."""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from backend.init_image import RESIZE_MODES

JUST_RESIZE, CROP, FILL, LATENT = RESIZE_MODES
LANCZOS = Image.Resampling.LANCZOS
MOST_BESIDE = 16  # times the area's pixels that are made to be cut off, as A1111 does
Size = tuple[int, int]
Rectangle = tuple[int, int, int, int]  # left, top, right, bottom


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where a picture of `size` lies in an area of `area` pixels once it is resized to `width` x `height`: its corner
    is at `left`, `top`, which may be outside."""

    size: Size
    area: Size
    left: int
    top: int
    width: int
    height: int

    def put(self, picture: Image.Image) -> Image.Image:
        """The area with the picture in it; what it leaves free goes on with its edges."""
        if self.width * self.height > MOST_BESIDE * self.area[0] * self.area[1]:
            return self._only_seen(picture)
        resized = picture if picture.size == (self.width, self.height) else _resized(picture, self.width, self.height)
        if resized.size == self.area:
            return resized
        columns = np.arange(-self.left, self.area[0] - self.left).clip(0, self.width - 1)
        rows = np.arange(-self.top, self.area[1] - self.top).clip(0, self.height - 1)
        return Image.fromarray(np.asarray(resized)[rows[:, None], columns])

    def _only_seen(self, picture: Image.Image) -> Image.Image:
        """The area as `put` gives it, but for the last bits, without making what lies outside: a thin picture that
        covers the area would be enormous."""
        across, down = picture.width / self.width, picture.height / self.height
        left, top = -self.left * across, -self.top * down
        right = min(float(picture.width), left + self.area[0] * across)
        bottom = min(float(picture.height), top + self.area[1] * down)
        return picture.resize(self.area, LANCZOS, box=(left, top, right, bottom))

    @property
    def seen(self) -> Rectangle:
        """The whole pixels of the picture that can be seen in the area."""
        left, right = _visible(self.left, self.width, self.size[0], self.area[0])
        top, bottom = _visible(self.top, self.height, self.size[1], self.area[1])
        return left, top, right, bottom

    def taken(self, area: Image.Image, part: Rectangle | None = None) -> Image.Image:
        """What lies in `seen` of the picture, or in a `part` of that, from an area that was made of it.

        In the picture's own pixels.
        """
        left, top, right, bottom = part or self.seen
        across, down = self.width / self.size[0], self.height / self.size[1]
        box = (left * across + self.left, top * down + self.top, right * across + self.left, bottom * down + self.top)
        wide, high = self.area
        box = (max(0.0, box[0]), max(0.0, box[1]), min(float(wide), box[2]), min(float(high), box[3]))
        size = (right - left, bottom - top)
        if size == self.area and box == (0.0, 0.0, float(wide), float(high)):
            return area
        return area.resize(size, LANCZOS, box=box)


def placement(mode: str, size: Size, area: Size) -> Placement:
    """How `mode` brings a picture of `size` into `area`: as it comes, covering it (crop), or lying within it (fill)."""
    (wide, high), (width, height) = size, area
    covers = {CROP: True, FILL: False}.get(mode)
    if covers is None:
        return Placement(size=size, area=area, left=0, top=0, width=width, height=height)
    by_width = (width / height > wide / high) == covers
    if width / height == wide / high:
        by_width = True
    resized = (width, max(1, high * width // wide)) if by_width else (max(1, wide * height // high), height)
    return Placement(
        size=size,
        area=area,
        left=width // 2 - resized[0] // 2,
        top=height // 2 - resized[1] // 2,
        width=resized[0],
        height=resized[1],
    )


def resize(picture: Image.Image, mode: str, width: int, height: int) -> Image.Image:
    """A picture at `width` x `height` by one of A1111's modes, with Lanczos as there."""
    return placement(mode, picture.size, (width, height)).put(picture)


def _resized(picture: Image.Image, width: int, height: int) -> Image.Image:
    return picture.resize((width, height), LANCZOS)


def _visible(start: int, length: int, size: int, area: int) -> tuple[int, int]:
    """From and to which pixel of `size` a picture is seen that lies at `start`, `length` long, in an area: the one in
    the middle, where no pixel is seen as a whole."""
    scale = size / length
    first = max(0, math.ceil(-start * scale - 1e-9))
    last = min(size, math.floor((area - start) * scale + 1e-9))
    middle = min(size - 1, max(0, math.floor((area / 2 - start) * scale)))
    return (first, last) if last > first else (middle, middle + 1)
