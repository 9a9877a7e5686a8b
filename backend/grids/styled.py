"""Styles in plots and lists of prompts: the words of more styles, put on what is asked for."""

from collections.abc import Sequence
from dataclasses import replace

from backend.grids.axes import Axis, Value
from backend.grids.grid import Grid
from backend.grids.values import listed
from backend.request import GenerationRequest
from backend.styles import Styles

NAME = "Styles"


def with_styles(request: GenerationRequest, names: Sequence[str], styles: Styles) -> GenerationRequest:
    """The request with the words of these styles in its prompts, and in those that its second pass has of its own.
    Raises `InvalidRequest` for a name that no style has."""
    prompt, negative = styles.applied(names, request.prompt, request.negative_prompt)
    hires = request.hires
    if hires is not None:
        second = styles.applied(names, hires.prompt, hires.negative_prompt)
        words = {
            name: styled if getattr(hires, name) else ""  # what is empty there is as in the first pass
            for name, styled in zip(("prompt", "negative_prompt"), second, strict=True)
        }
        hires = replace(hires, **words)
    return replace(request, prompt=prompt, negative_prompt=negative, hires=hires)


def styled_grid(grid: Grid, names: Sequence[str], styles: Styles) -> Grid:
    """The grid with the words of these styles in every picture: put on last, as in AUTOMATIC1111, so that a script sees
    the prompt as it was written. A Styles axis has put them on before its own. Raises `InvalidRequest`."""
    if not names or NAME in (grid.x.name, grid.y.name, grid.z.name):
        return grid
    cells = tuple(replace(cell, request=with_styles(cell.request, names, styles)) for cell in grid.cells)
    return replace(grid, cells=cells, base=with_styles(grid.base, names, styles))


def styles_axis(styles: Styles, chosen: Sequence[str] = ()) -> Axis:
    """The axis of AUTOMATIC1111's that puts styles on, after those that are `chosen`; several at once in quotes."""

    def apply(request: GenerationRequest, value: str, _values: Sequence[Value]) -> GenerationRequest:
        return with_styles(request, [*chosen, *listed(value)], styles)

    return Axis(
        name=NAME,
        read=lambda _what, text: [item for item in listed(text) if item],
        apply=apply,
        choices=lambda _names: [style.name for style in styles.all()],
        said="alone",
        follows=True,
    )
