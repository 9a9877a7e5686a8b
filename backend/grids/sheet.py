"""The picture of a grid: its cells in rows and columns, with what their values are beside them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from backend.grids.grid import Grid, Line

PAPER, INK, FAINT, EMPTY = "white", "black", (153, 153, 153), (236, 236, 236)
SMALLEST_FONT = 10  # pixels
PART_OF_CELL = 25  # of a cell's width and height together the text's height is this part, as in A1111
LEFT_PART = 0.75  # of a cell's width, for the legends of rows

PictureAt = Callable[[int, int, int], Path | None]


def draw(grid: Grid, picture_at: PictureAt) -> Iterator[Image.Image]:
    """Where z has several values, the picture of each if those are wanted; then that of the whole grid.

    `picture_at(x, y, z)` is the file of a cell; one without leaves an empty place, as does one that cannot be read. A
    picture that is smaller than the largest stands in the middle of its place.
    """
    sheet = _Sheet.of(grid, picture_at)
    depth = len(grid.z.legends)
    if depth == 1:
        yield sheet.plane(0)
        return
    legends = [legend if grid.look.legend else () for legend in grid.z.legends]
    whole: Image.Image | None = None
    top = at = 0
    for z, legend in enumerate(legends):
        plane = sheet.plane(z)
        if grid.look.sub_grids:
            yield plane
        if whole is None:
            texts = [sheet.pen.wrapped(each, plane.width) for each in legends]
            top = max(map(sheet.pen.height, texts))
            wide = depth * plane.width + (depth - 1) * grid.look.margin
            whole = Image.new("RGB", (wide, top + plane.height), PAPER)
        sheet.pen.write(whole, sheet.pen.wrapped(legend, plane.width), (at, 0, at + plane.width, top))
        whole.paste(plane, (at, top))
        at += plane.width + grid.look.margin
    assert whole is not None
    yield whole


@dataclass(frozen=True, kw_only=True)
class _Pen:
    """Writes legends, in the font that Pillow brings."""

    font: ImageFont.FreeTypeFont | ImageFont.ImageFont
    size: int

    @classmethod
    def of(cls, cell: tuple[int, int]) -> "_Pen":
        size = max(SMALLEST_FONT, sum(cell) // PART_OF_CELL)
        return cls(font=ImageFont.load_default(size), size=size)

    def wrapped(self, legend: Sequence[Line], width: int) -> list[Line]:
        """The lines of a legend, broken where they would be wider; within a word only where that alone would be."""
        found: list[Line] = []
        for line in legend:
            row = ""
            for word in line.text.split():
                joined = f"{row} {word}".strip()
                if self._fits(joined, width):
                    row = joined
                    continue
                found += [Line(text=row, active=line.active)] if row else []
                *full, row = self._cut(word, width)
                found += [Line(text=piece, active=line.active) for piece in full]
            found += [Line(text=row, active=line.active)] if row else []
        return found

    def height(self, lines: Sequence[Line]) -> int:
        """Of a block of lines with the air around it."""
        return len(lines) * self._pitch + self.size if lines else 0

    def write(self, canvas: Image.Image, lines: Sequence[Line], box: tuple[int, int, int, int]) -> None:
        """Into the middle of a box."""
        pen = ImageDraw.Draw(canvas)
        middle = (box[0] + box[2]) / 2
        top = (box[1] + box[3] - len(lines) * self._pitch) / 2
        for number, line in enumerate(lines):
            centre = top + (number + 0.5) * self._pitch
            pen.text((middle, centre), line.text, fill=INK if line.active else FAINT, font=self.font, anchor="mm")
            if not line.active:
                half = self.font.getlength(line.text) / 2
                pen.line((middle - half, centre, middle + half, centre), fill=FAINT, width=max(1, self.size // 14))

    @property
    def _pitch(self) -> int:
        return self.size * 4 // 3

    def _fits(self, text: str, width: int) -> bool:
        return self.font.getlength(text) <= width

    def _cut(self, word: str, width: int) -> list[str]:
        pieces = [""]
        for sign in word:
            if pieces[-1] and not self._fits(pieces[-1] + sign, width):
                pieces.append("")
            pieces[-1] += sign
        return pieces


@dataclass(frozen=True, kw_only=True)
class _Sheet:
    """A grid on its way to be drawn: the size of a place, and the legends of columns and rows in lines that fit."""

    grid: Grid
    picture_at: PictureAt
    cell: tuple[int, int]
    pen: _Pen
    columns: list[list[Line]]
    rows: list[list[Line]]

    @classmethod
    def of(cls, grid: Grid, picture_at: PictureAt) -> "_Sheet":
        sizes = [size for cell in grid.cells if (size := _size(picture_at(cell.x, cell.y, cell.z))) is not None]
        sizes = sizes or [(grid.base.width, grid.base.height)]
        cell = (max(width for width, _ in sizes), max(height for _, height in sizes))
        pen = _Pen.of(cell)
        shown = grid.look.legend
        columns = [pen.wrapped(legend, cell[0]) if shown else [] for legend in grid.x.legends]
        rows = [pen.wrapped(legend, int(cell[0] * LEFT_PART)) if shown else [] for legend in grid.y.legends]
        return cls(grid=grid, picture_at=picture_at, cell=cell, pen=pen, columns=columns, rows=rows)

    def plane(self, z: int) -> Image.Image:
        """All cells of one value of z."""
        (width, height), margin = self.cell, self.grid.look.margin
        left = int(width * LEFT_PART) + self.pen.size if any(self.rows) else 0
        top = max(map(self.pen.height, self.columns))
        lefts = [left + column * (width + margin) for column in range(len(self.columns))]
        tops = [top + row * (height + margin) for row in range(len(self.rows))]
        canvas = Image.new("RGB", (lefts[-1] + width, tops[-1] + height), PAPER)
        for x, lines in zip(lefts, self.columns, strict=True):
            self.pen.write(canvas, lines, (x, 0, x + width, top))
        for y, lines in zip(tops, self.rows, strict=True):
            self.pen.write(canvas, lines, (0, y, left, y + height))
        for cell in self.grid.cells:
            if cell.z == z:
                self._put(canvas, self.picture_at(cell.x, cell.y, z), lefts[cell.x], tops[cell.y])
        return canvas

    def _put(self, canvas: Image.Image, path: Path | None, x: int, y: int) -> None:
        width, height = self.cell
        picture = None if path is None else _opened(path)
        if picture is None:
            canvas.paste(EMPTY, (x, y, x + width, y + height))
            return
        canvas.paste(picture, (x + (width - picture.width) // 2, y + (height - picture.height) // 2))


def _size(path: Path | None) -> tuple[int, int] | None:
    if path is None:
        return None
    try:
        with Image.open(path) as picture:
            return picture.size
    except (OSError, ValueError):
        return None


def _opened(path: Path) -> Image.Image | None:
    try:
        with Image.open(path) as picture:
            return picture.convert("RGB")
    except (OSError, ValueError):
        return None
