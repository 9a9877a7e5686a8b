"""A grid as a value: what its axes say, which requests its cells are, and how it is drawn. It is saved as JSON."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from backend import checked
from backend.errors import InvalidRequest
from backend.grids.axes import NOTHING
from backend.grids.values import MOST_CELLS
from backend.request import GenerationRequest

SCHEMA = 1
MARGIN_RANGE = (0, 500)  # pixels
LONGEST_OWNER = 64


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of a legend; one that is not `active` is crossed out."""

    text: str
    active: bool = True


@dataclass(frozen=True, kw_only=True)
class Side:
    """An axis of a grid: its name, its values as they were typed, the legend of each, and seeds chosen for -1."""

    name: str = NOTHING
    text: str = ""
    legends: tuple[tuple[Line, ...], ...] = ((),)
    fixed: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One place of a grid, from 0, its request, and the job that makes it; empty before there is one."""

    x: int
    y: int
    z: int
    request: GenerationRequest
    job: str = ""

    @property
    def shown(self) -> GenerationRequest:
        """The request of the picture that stands here: the first of a batch, as its file says it."""
        varied = self.request.variation_seeds(0)
        return self.request.single(self.request.seeds(0)[0], varied[0] if varied else None)


@dataclass(frozen=True, kw_only=True)
class Look:
    """How the picture of a grid is drawn. With `sub_grids` each value of z has a picture of its own too."""

    legend: bool = True
    margin: int = 0
    sub_grids: bool = False

    def __post_init__(self) -> None:
        checked.flag("Draw legend", self.legend)
        checked.flag("Include sub grids", self.sub_grids)
        object.__setattr__(self, "margin", checked.whole("Grid margins (px)", self.margin, *MARGIN_RANGE))


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Cells in the order in which they are made. `script` is the word that AUTOMATIC1111 has for such a grid; `base`
    the request it was made from."""

    script: str
    base: GenerationRequest
    cells: tuple[Cell, ...]
    x: Side
    y: Side
    z: Side
    look: Look
    owner: str = ""

    def __post_init__(self) -> None:
        if not 1 <= len(self.cells) <= MOST_CELLS:
            raise InvalidRequest(f"A grid of {len(self.cells):,} pictures is too large: {MOST_CELLS:,} are allowed.")
        for cell in self.cells:
            for name, side in (("x", self.x), ("y", self.y), ("z", self.z)):
                if not 0 <= getattr(cell, name) < len(side.legends):
                    raise InvalidRequest("This grid has a cell that lies on none of its lines.")

    @property
    def first(self) -> Cell:
        """The cell in the corner, whose parameters stand for all."""
        return min(self.cells, key=lambda cell: (cell.z, cell.y, cell.x))

    @property
    def title(self) -> str:
        """The grid in a line."""
        sides = [side.name for side in (self.x, self.y, self.z) if side.name != NOTHING]
        return f"{self.script}: {' × '.join(sides)}" if sides else self.script

    def pairs(self, *, with_z: bool = True) -> Mapping[str, str]:
        """What AUTOMATIC1111 says of a grid in its infotext, beside what it says of the first picture."""
        found = {"Script": self.script}
        for letter, side in {"X": self.x, "Y": self.y, **({"Z": self.z} if with_z else {})}.items():
            if side.name == NOTHING:
                continue
            found |= {f"{letter} Type": side.name, f"{letter} Values": side.text}
            if side.fixed:
                found[f"Fixed {letter} Values"] = ", ".join(map(str, side.fixed))
        return found

    def with_jobs(self, jobs: Mapping[str, str]) -> Self:
        """The same with its cells' jobs, by what their requests write."""
        return replace(self, cells=tuple(replace(c, job=jobs.get(c.request.to_json(), c.job)) for c in self.cells))

    def to_json(self) -> str:
        """Lossless and in ASCII. Beside each request stand its seeds, for whoever reads the file."""
        cells = [
            {
                **{name: getattr(cell, name) for name in ("x", "y", "z", "job")},
                "seeds": [seed for batch in range(cell.request.batch_count) for seed in cell.request.seeds(batch)],
                "request": json.loads(cell.request.to_json()),
            }
            for cell in self.cells
        ]
        sides = {name: asdict(getattr(self, name)) for name in ("x", "y", "z", "look")}
        values = {
            "schema": SCHEMA,
            "script": self.script,
            "owner": self.owner,
            "base": json.loads(self.base.to_json()),
            **sides,
            "cells": cells,
        }
        return json.dumps(values, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote. Raises `InvalidRequest` for anything else, and for what a newer version wrote."""
        try:
            values = json.loads(text)
            if values["schema"] != SCHEMA:
                raise InvalidRequest(f"This grid was saved by another version of Atelier ({values['schema']!r}).")
            return cls(
                script=checked.text("Script", values["script"]),
                owner=checked.text("Owner", values["owner"]),
                base=GenerationRequest.from_values(values["base"]),
                cells=tuple(_cell(each) for each in values["cells"]),
                x=_side(values["x"]),
                y=_side(values["y"]),
                z=_side(values["z"]),
                look=Look(**values["look"]),
            )
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise InvalidRequest(f"This grid cannot be read: {error!r}.") from error


def _cell(values: Any) -> Cell:
    x, y, z = (checked.whole("A place in the grid", values[name], 0, MOST_CELLS) for name in ("x", "y", "z"))
    return Cell(x=x, y=y, z=z, request=GenerationRequest.from_values(values["request"]), job=str(values["job"]))


def _side(values: Any) -> Side:
    return Side(
        name=checked.text("Axis", values["name"]),
        text=checked.text("Values", values["text"]),
        legends=tuple(tuple(Line(**line) for line in legend) for legend in values["legends"]),
        fixed=tuple(map(int, values["fixed"])),
    )
