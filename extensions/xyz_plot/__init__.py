"""X/Y/Z plots: one request, made once for every combination of values on up to three axes.

Its parameters have AUTOMATIC1111's names and order, so that programs written for that count them as they did there.
"""

from collections.abc import Sequence
from typing import Any

from pydantic import StrictInt, StrictStr

from backend.extension_api import (
    NOTHING,
    Axis,
    ExtensionApi,
    Field,
    GenerationRequest,
    InvalidRequest,
    Look,
    Params,
    Script,
    ScriptTurn,
    Several,
    find_axis,
    hook,
)

from .numbers import AXES, axes
from .plot import SCRIPT, Plot, Plotted

Kind = StrictInt | StrictStr
Names = tuple[str, ...] | str
VALUES = "1, 3, 8 · 1-10 (+2) · 1-10 [5]"


def _kind(letter: str, first: str = NOTHING) -> Any:
    """The name of an axis, or its number among AUTOMATIC1111's."""
    how = {"suffix": f"xyz_plot_{letter}_type", "row": letter, "axis": True, "first": first, "type": "string"}
    return Field(default=NOTHING, title=f"{letter.upper()} type", examples=[*AXES], json_schema_extra=how)


def _values(letter: str) -> Any:
    """What the axis reads, which says what is wrong with it."""
    kind = f"{letter}_type"
    how: dict[str, Any] = {"suffix": f"xyz_plot_{letter}_values", "row": letter, "fill": kind, "needs": kind}
    how |= {"type": "string", "placeholder": VALUES, "fill_suffix": f"xyz_plot_fill_{letter}"}
    return Field(default="", title=f"{letter.upper()} values", json_schema_extra=how)


def _chosen(letter: str) -> Any:
    """The values of an axis that has choices, as AUTOMATIC1111's page sends them."""
    return Field(default=(), title=f"{letter.upper()} values", json_schema_extra={"page": False})


def _flag(title: str, suffix: str, *, on: bool = False, **how: Any) -> Any:
    return Field(default=on, title=title, json_schema_extra={"suffix": f"xyz_plot_{suffix}", **how})


class XyzPlot(Params):
    """What a plot is asked for. Where `csv_mode` is off and names are chosen in a ``dropdown``, these are the values of
    an axis that has choices; `include_lone_images` is about what a program is answered."""

    x_type: Kind = _kind("x", first="Seed")
    x_values: Any = _values("x")
    x_values_dropdown: Names = _chosen("x")
    y_type: Kind = _kind("y")
    y_values: Any = _values("y")
    y_values_dropdown: Names = _chosen("y")
    z_type: Kind = _kind("z")
    z_values: Any = _values("z")
    z_values_dropdown: Names = _chosen("z")
    draw_legend: bool = _flag("Draw legend", "draw_legend", on=True, row="look")
    include_lone_images: bool = _flag("Include Sub Images", "include_lone_images", page=False)
    include_sub_grids: bool = _flag("Include sub grids", "include_sub_grids", row="look", needs="z_type")
    no_fixed_seeds: bool = _flag("Keep -1 for seeds", "no_fixed_seeds")
    vary_seeds_x: bool = _flag("Vary seeds for X", "vary_seeds_x", row="varied", needs="x_type")
    vary_seeds_y: bool = _flag("Vary seeds for Y", "vary_seeds_y", row="varied", needs="y_type")
    vary_seeds_z: bool = _flag("Vary seeds for Z", "vary_seeds_z", row="varied", needs="z_type")
    margin_size: int = Field(
        default=0,
        ge=0,
        le=500,
        title="Grid margins (px)",
        json_schema_extra={"suffix": "xyz_plot_margin_size", "step": 2},
    )
    csv_mode: bool = _flag("Use text inputs instead of dropdowns", "csv_mode", page=False)


@hook
def register(api: ExtensionApi) -> None:
    api.script(Script(title=SCRIPT, kind=XyzPlot, plan=_plan, grid=True))


def _plan(request: GenerationRequest, params: XyzPlot, turn: ScriptTurn) -> Several:
    img2img = request.init is not None
    plot = Plot(
        x=_plotted(params, "x", turn.axes, img2img=img2img),
        y=_plotted(params, "y", turn.axes, img2img=img2img),
        z=_plotted(params, "z", turn.axes, img2img=img2img),
        vary_x=params.vary_seeds_x,
        vary_y=params.vary_seeds_y,
        vary_z=params.vary_seeds_z,
        keep_random=params.no_fixed_seeds,
        look=Look(legend=params.draw_legend, margin=params.margin_size, sub_grids=params.include_sub_grids),
    )
    return Several(grid=plot.grid(request, turn.axes), lone=params.include_lone_images)


def _plotted(params: XyzPlot, letter: str, there: Sequence[Axis], *, img2img: bool) -> Plotted:
    """An axis, by its number or its name, and its values: of one with choices those that are chosen, if any are and
    the text is not what counts. Raises `InvalidRequest`."""
    kind, text, chosen = (getattr(params, f"{letter}_{each}") for each in ("type", "values", "values_dropdown"))
    if isinstance(kind, int):
        names = axes(img2img=img2img)
        if not 0 <= kind < len(names):
            raise InvalidRequest(f"{letter}_type must be from 0 to {len(names) - 1} or a name, not {kind}.")
        kind = names[kind]
    axis = find_axis(kind, there)
    names = (chosen,) if isinstance(chosen, str) and chosen else tuple(chosen)
    if names and axis.choices and not params.csv_mode:
        text = ", ".join('"{}"'.format(each.replace('"', '""')) for each in names)
    values: Any = str(text) if isinstance(text, int | float) and not isinstance(text, bool) else text
    return Plotted(axis=axis.name, values=values)
