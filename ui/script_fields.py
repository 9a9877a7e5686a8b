"""The fields of the scripts: ways to many pictures from one form. None of them is a value of a request."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

import gradio as gr

from backend.errors import UserError
from backend.grids.axes import Axis
from backend.grids.scripts import NONE, Offered
from ui.extension_fields import rows
from ui.fields import Field

LIST = "script"  # the field of the list, and what the names of all others begin with


@dataclass(frozen=True, kw_only=True)
class Stand:
    """A field of a script, and what it says of how it stands in the form (see `backend.extension_api.Script`)."""

    name: str
    field: Field
    hints: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A script of a tab, its fields in their order, and what is wrong where they cannot be shown."""

    id: str
    title: str
    hint: str = ""
    grid: bool = False
    stands: tuple[Stand, ...] = field(default=())
    problem: str = ""

    @property
    def lines(self) -> Iterator[tuple[str, list[Stand]]]:
        """The fields line by line: those of one row stand together, under its name."""
        numbered = [(str(each.hints.get("row", "")), each) for each in self.stands]
        alone = iter(range(len(numbered)))
        for (row, _), found in groupby(numbered, key=lambda each: (each[0], "" if each[0] else next(alone))):
            yield row, [stand for _, stand in found]

    def place(self, name: str) -> str:
        """The name of a field among the values of the form."""
        return f"{LIST}.{self.id}.{name}"


def shown_scripts(offered: Sequence[Offered], axes: Sequence[Axis]) -> tuple[Shown, ...]:
    """What a tab shows of its scripts; `axes` are those that a field for one offers."""
    return tuple(_shown(each, [axis.name for axis in axes]) for each in offered)


def script_fields(scripts: Sequence[Shown]) -> tuple[Field, ...]:
    """The list, and the fields of all scripts that stand in it."""
    choices = [NONE, *(each.title for each in scripts)]
    first = Field(
        name=LIST,
        suffix="script_list",
        make=gr.Dropdown,
        default=lambda _: NONE,
        options={"choices": choices},
        said="Script",
    )
    return (first, *(stand.field for each in scripts for stand in each.stands))


def _shown(offered: Offered, axes: Sequence[str]) -> Shown:
    script = offered.script
    shown = Shown(id=offered.id, title=script.title, hint=script.hint, grid=script.grid)
    try:
        made = rows(script.kind, f"{LIST}.{offered.id}", f"script_{offered.id}")
    except UserError as error:
        return replace(shown, problem=str(error))
    schema = offered.schema
    stands = []
    for row in made:
        name = row.name.rpartition(".")[2]
        hints = schema[name]
        stands.append(Stand(name=name, field=_as_hinted(row, hints, axes), hints=hints))
    return replace(shown, stands=tuple(stands))


def _as_hinted(row: Field, hints: Mapping[str, Any], axes: Sequence[str]) -> Field:
    if "first" in hints:
        row = replace(row, default=lambda _: hints["first"])
    if hints.get("axis"):
        return replace(row, make=gr.Dropdown, options={"choices": list(axes)})
    if hints.get("segments"):
        return replace(row, make=gr.Radio)
    if hints.get("file"):
        return replace(row, options={**row.options, "max_lines": 14})
    if hints.get("fill"):
        return replace(row, options={**row.options, "lines": 1, "max_lines": 4})
    return row
