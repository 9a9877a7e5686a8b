"""A plot as a value, and the grid that it is of a request."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from backend.extension_api import (
    LARGEST_SEED,
    MOST_CELLS,
    NOTHING,
    Axis,
    Cell,
    GenerationRequest,
    Grid,
    InvalidRequest,
    Line,
    Look,
    Side,
    Variation,
    find_axis,
)

SCRIPT = "X/Y/Z plot"
VARIED = ("Var. seed", "Var. strength")


@dataclass(frozen=True, kw_only=True)
class Plotted:
    """An axis that is chosen, and its values as they are typed."""

    axis: str = NOTHING
    values: str = ""


@dataclass(frozen=True, kw_only=True)
class Plot:
    """What an X/Y/Z plot is asked for. With `keep_random` a seed of -1 is another number in each cell, else one number
    for all. With `vary_x` and so on the seed counts up along that axis."""

    x: Plotted = field(default_factory=Plotted)
    y: Plotted = field(default_factory=Plotted)
    z: Plotted = field(default_factory=Plotted)
    keep_random: bool = False
    vary_x: bool = False
    vary_y: bool = False
    vary_z: bool = False
    look: Look = field(default_factory=Look)

    def grid(self, request: GenerationRequest, more: Sequence[Axis] = ()) -> Grid:
        """The grid of a request, cells in the order in which they are best made: axes that cost much to change are
        outermost. `more` are axes beside those of the table. Raises `InvalidRequest` for an axis, a value or a number
        of cells that cannot be."""
        fix = not self.keep_random
        lines = {letter: _Line.of(getattr(self, letter), more, fix=fix) for letter in "xyz"}
        cells = len(lines["x"].values) * len(lines["y"].values) * len(lines["z"].values)
        if cells > MOST_CELLS:
            raise InvalidRequest(f"This plot would have {cells:,} pictures; {MOST_CELLS:,} are allowed.")
        base = self._base(request, [line.axis.name for line in lines.values()])
        return Grid(
            script=SCRIPT,
            base=base,
            cells=tuple(self._cells(base, lines)),
            x=lines["x"].side,
            y=lines["y"].side,
            z=lines["z"].side,
            look=self.look,
        )

    def _base(self, request: GenerationRequest, axes: list[str]) -> GenerationRequest:
        """The request that is varied, with seeds chosen once for all where they are to be."""
        if request.variation is None and any(name in VARIED for name in axes):
            request = replace(request, variation=Variation())
        return request if self.keep_random else request.resolved()

    def _cells(self, base: GenerationRequest, lines: dict[str, "_Line"]) -> Iterator[Cell]:
        for place in _places(lines):
            request = base
            for letter in sorted(lines, key=lambda letter: (lines[letter].axis.follows, letter)):
                request = lines[letter].applied(request, place[letter])
            request = self._with_varied_seed(request, place, lines)
            yield Cell(x=place["x"], y=place["y"], z=place["z"], request=request)

    def _with_varied_seed(
        self, request: GenerationRequest, place: dict[str, int], lines: dict[str, "_Line"]
    ) -> GenerationRequest:
        wide = len(lines["x"].values) if self.vary_x else 1
        high = len(lines["y"].values) if self.vary_y else 1
        by = self.vary_x * place["x"] + self.vary_y * place["y"] * wide + self.vary_z * place["z"] * wide * high
        if request.seed < 0:
            return request
        return replace(request, seed=(request.seed + by) % (LARGEST_SEED + 1))


@dataclass(frozen=True, kw_only=True)
class _Line:
    """An axis with the values it has."""

    axis: Axis
    text: str
    values: list[Any]
    fixed: tuple[int, ...]

    @classmethod
    def of(cls, plotted: Plotted, more: Sequence[Axis], *, fix: bool) -> "_Line":
        axis = find_axis(plotted.axis, more)
        values = axis.values(plotted.values)
        fixed: tuple[int, ...] = ()
        if axis.seeds and fix:
            values = [GenerationRequest(seed=value).resolved().seed for value in values]
            fixed = tuple(values)
        return cls(axis=axis, text=plotted.values, values=values, fixed=fixed)

    @property
    def side(self) -> Side:
        legends = tuple(
            () if self.axis.name == NOTHING else (Line(text=self.axis.legend(each)),) for each in self.values
        )
        return Side(name=self.axis.name, text=self.text.strip(), legends=legends, fixed=self.fixed)

    def applied(self, request: GenerationRequest, place: int) -> GenerationRequest:
        return self.axis.apply(request, self.values[place], self.values)


def _places(lines: dict[str, _Line]) -> Iterator[dict[str, int]]:
    """All cells: z changes most rarely and x most often, but for what costs more to change."""
    order = sorted("zyx", key=lambda letter: -lines[letter].axis.cost)
    for first in range(len(lines[order[0]].values)):
        for second in range(len(lines[order[1]].values)):
            for third in range(len(lines[order[2]].values)):
                yield dict(zip(order, (first, second, third), strict=True))
