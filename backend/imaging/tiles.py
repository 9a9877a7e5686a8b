"""Pictures in tiles: where they lie, and how what becomes of them is put together without a seam.

Only a band of tiles is held besides the picture that goes in and the one that comes out, however large these are.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from PIL import Image

REACH = 3  # pixels to each side that Lanczos looks at, at the larger of the two scales

Make = Callable[[Image.Image, int], Image.Image]
OnTile = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Span:
    """What a tile covers of one side, in pixels: `length` from `start` on. From `fade_from` to `fade_to` it takes over
    from the tile before; in front of that it is not seen. The first one is seen from the beginning."""

    start: int
    length: int
    fade_from: int
    fade_to: int

    @property
    def end(self) -> int:
        """Where the next pixel would be."""
        return self.start + self.length

    def weights(self, factor: int) -> np.ndarray:
        """How much of the tile is seen at each of its pixels, 0 to 1, once it is enlarged by `factor`."""
        if self.fade_to == self.fade_from:
            return (np.arange(self.length * factor) >= (self.fade_from - self.start) * factor).astype(np.float32)
        at = np.arange(self.length * factor, dtype=np.float32) + 0.5 + (self.start - self.fade_from) * factor
        return (at / ((self.fade_to - self.fade_from) * factor)).clip(0, 1)


def spans(side: int, tile: int, overlap: int) -> list[Span]:
    """The fewest tiles of length `tile` that cover `side` pixels and share at least `overlap` with the next, evenly
    spread; a side shorter than a tile is one.

    Where they share more, they still change over within `overlap` pixels, in the middle of what they share: what lies
    nearer to a tile's edge was made with less around it. Raises `ValueError` if more than half of a tile would be
    shared.
    """
    if side <= tile:
        return [Span(start=0, length=side, fade_from=0, fade_to=0)]
    if not 0 <= overlap <= tile // 2:
        raise ValueError(f"tiles of {tile} pixels can share 0 to {tile // 2}, not {overlap}")
    last = math.ceil((side - tile) / (tile - overlap))
    starts = [(side - tile) * k // last for k in range(last + 1)]
    found = [Span(start=0, length=tile, fade_from=0, fade_to=0)]
    for before, start in pairwise(starts):
        fade_from = start + (before + tile - start - overlap) // 2
        found.append(Span(start=start, length=tile, fade_from=fade_from, fade_to=fade_from + overlap))
    return found


def count(width: int, height: int, tile: tuple[int, int], overlap: int) -> int:
    """How many tiles of that width and height a picture is made of."""
    return len(spans(width, tile[0], overlap)) * len(spans(height, tile[1], overlap))


def in_tiles(
    picture: Image.Image,
    make: Make,
    *,
    tile: tuple[int, int],
    overlap: int,
    size: tuple[int, int] | None = None,
    on_tile: OnTile | None = None,
) -> Image.Image:
    """What `make(tile, index)` makes of every tile of `picture`, row by row, put together; brought to `size` by Lanczos
    if that is given.

    `make` may enlarge, by the same whole number each time, and gives RGB. Where tiles meet, one fades into the next in
    a straight line: what all of them agree on stays as it is, to the byte. `on_tile(done, of)` is told of each tile;
    what it raises ends the work. Sizes are (width, height) in pixels, `overlap` is in those of `picture`. Raises
    `ValueError` if `make` gives another size than its first tile promised.
    """
    columns, rows = spans(picture.width, tile[0], overlap), spans(picture.height, tile[1], overlap)
    mosaic: _Mosaic | None = None
    for down, row in enumerate(rows):
        for across, column in enumerate(columns):
            index = down * len(columns) + across
            piece = make(picture.crop((column.start, row.start, column.end, row.end)), index)
            mosaic = mosaic or _Mosaic(picture.size, max(1, piece.width // column.length), size)
            mosaic.put(piece, column, row)
            if on_tile:
                on_tile(index + 1, len(rows) * len(columns))
        assert mosaic is not None  # there is always a first tile
        mosaic.lay(row, rows[down + 1].fade_from if down + 1 < len(rows) else picture.height)
    assert mosaic is not None
    return mosaic.picture


class _Mosaic:
    """A picture that grows downwards: the rows that no later tile changes are brought to their size and let go."""

    def __init__(self, source: tuple[int, int], factor: int, size: tuple[int, int] | None):
        self._factor = factor
        self._width, self._height = source[0] * factor, source[1] * factor
        self.picture = Image.new("RGB", size or (self._width, self._height))
        self._seam = Image.new("RGB", (self._width, 0))  # rows of tiles that are to fade over those above
        self._band = self._seam  # the rows that are not given yet, or still looked at
        self._top = 0  # where the band begins, in enlarged rows
        self._given = 0  # rows of the picture that are done
        self._scale = self._height / self.picture.height  # enlarged rows to one of the picture's

    def put(self, piece: Image.Image, column: Span, row: Span) -> None:
        """Set an enlarged tile beside the one before it."""
        factor = self._factor
        if piece.size != (column.length * factor, row.length * factor):
            raise ValueError(f"a tile of {column.length}x{row.length} became {piece.width}x{piece.height}")
        if column.start == 0:
            self._reach_down(row.end * factor)
            self._seam = Image.new("RGB", (self._width, (row.fade_to - row.fade_from) * factor))
        faded, whole = ((at - row.start) * factor for at in (row.fade_from, row.fade_to))
        seam = piece.crop((0, faded, piece.width, whole))
        rest = piece.crop((0, whole, *piece.size))
        left, seen = column.start * factor, column.weights(factor)
        # What fades is put together first: of four tiles that meet, each is then seen as far as its row and column say.
        self._seam.paste(seam, (left, 0), _mask(seen, seam.size))
        self._band.paste(rest, (left, row.fade_to * factor - self._top), _mask(seen, rest.size))

    def lay(self, row: Span, until: int) -> None:
        """The row of tiles is whole: let it fade over the one above. Rows of the source before `until` are then as they
        will be, and are brought to their size."""
        faded, whole = ((at - row.start) * self._factor for at in (row.fade_from, row.fade_to))
        mask = _mask(row.weights(self._factor)[faded:whole, None], self._seam.size)
        self._band.paste(self._seam, (0, row.fade_from * self._factor - self._top), mask)
        self._give(until * self._factor)

    def _give(self, final: int) -> None:
        """Enlarged rows before `final` will not change."""
        reach = REACH * max(1.0, self._scale)
        ready = self.picture.height
        if final < self._height:
            ready = max(self._given, math.floor((final - reach) / self._scale - 0.5) + 1)
        if ready > self._given:
            above, below = (row * self._scale - self._top for row in (self._given, ready))
            # Lanczos also looks at what of the band lies outside of the box.
            box = (0, above, self._width, min(below, self._band.height))
            strip = self._band.resize((self.picture.width, ready - self._given), Image.Resampling.LANCZOS, box)
            self.picture.paste(strip, (0, self._given))
            self._given = ready
        self._let_go(max(self._top, math.floor(ready * self._scale - reach) - 1))

    def _reach_down(self, bottom: int) -> None:
        height = bottom - self._top
        if height > self._band.height:
            band = Image.new("RGB", (self._width, height))
            band.paste(self._band)
            self._band = band

    def _let_go(self, top: int) -> None:
        self._band = self._band.crop((0, top - self._top, self._width, self._band.height))
        self._top = top


def _mask(seen: np.ndarray, size: tuple[int, int]) -> Image.Image:
    """Weights of a row or a column, as a mask of width and height `size`."""
    levels = (seen * 255).round().astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(np.broadcast_to(levels, size[::-1])))


def redraw_in_tiles(
    picture: Image.Image, make: Make, *, tile: tuple[int, int], overlap: int = 64, on_tile: OnTile | None = None
) -> Image.Image:
    """`picture` with every tile replaced by what `make(tile, index)` draws in its place: A1111's SD upscale, once the
    picture was enlarged.

    Every tile has the width and height of `tile`, multiples of 8; a picture that is smaller is continued by its edge,
    and cut again. Tile `index` (from 0) is to be drawn with the seed that many after the first. `make` gives RGB of its
    tile's size; the rest as in `in_tiles`.
    """
    if any(side % 8 or side < 8 for side in tile):
        raise ValueError(f"a tile's sides are multiples of 8, not {tile[0]}x{tile[1]}")
    width, height = (max(sides) for sides in zip(picture.size, tile, strict=True))
    drawn = in_tiles(_continued(in_rgb(picture), width, height), make, tile=tile, overlap=overlap, on_tile=on_tile)
    return drawn if drawn.size == picture.size else drawn.crop((0, 0, *picture.size))


def in_rgb(picture: Image.Image) -> Image.Image:
    """The picture itself if it is in RGB: a copy of a large one costs what it weighs."""
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def _continued(picture: Image.Image, width: int, height: int) -> Image.Image:
    """The picture with its last column and row repeated up to a size."""
    if (width, height) == picture.size:
        return picture
    right, below = width - picture.width, height - picture.height
    return Image.fromarray(np.pad(np.asarray(picture), ((0, below), (0, right), (0, 0)), mode="edge"))
