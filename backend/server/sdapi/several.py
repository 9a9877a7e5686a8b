"""Scripts that make several pictures of one body, with AUTOMATIC1111's titles and the order of its values (1.10)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from backend.errors import InvalidRequest
from backend.grids.axes import NOTHING, find_axis
from backend.grids.grid import MARGIN_RANGE, Grid, Look
from backend.grids.matrix import JOINERS, Matrix
from backend.grids.matrix import PROMPTS as MATRIX_PROMPTS
from backend.grids.matrix import SCRIPT as MATRIX_TITLE
from backend.grids.plot import SCRIPT as PLOT_TITLE
from backend.grids.plot import Plot, Plotted
from backend.grids.prompt_lines import PLACES, PromptLines
from backend.grids.styled import styled_grid, styles_axis, with_styles
from backend.request import GenerationRequest
from backend.server.sdapi.door import Refused
from backend.server.sdapi.scripts import Argument, Script
from backend.styles import Styles

LINES_TITLE = "Prompts from file or textbox"
LETTERS = ("x", "y", "z")
# Its axes in its order, which clients count, and those of them that one of its two tabs has not.
AXES = (
    *("Nothing", "Seed", "Var. seed", "Var. strength", "Steps", "Hires steps", "CFG Scale", "Image CFG Scale"),
    *("Prompt S/R", "Prompt order", "Sampler", "Hires sampler", "Checkpoint name", "Negative Guidance minimum sigma"),
    *("Sigma Churn", "Sigma min", "Sigma max", "Sigma noise", "Schedule type", "Schedule min sigma"),
    *("Schedule max sigma", "Schedule rho", "Beta schedule alpha", "Beta schedule beta", "Eta", "Clip skip"),
    *("Denoising", "Initial noise multiplier", "Extra noise", "Hires upscaler", "Cond. Image Mask Weight", "VAE"),
    *("Styles", "UniPC Order", "Face restore", "Token merging ratio", "Token merging ratio high-res"),
    *("Always discard next-to-last sigma", "SGM noise multiplier", "Refiner checkpoint", "Refiner switch at"),
    *("RNG source", "FP8 mode", "Size"),
)
NOT_OF_PICTURES = ("Hires steps", "Hires sampler", "Hires upscaler")
NOT_OF_WORDS = ("Image CFG Scale", "Cond. Image Mask Weight")


@dataclass(frozen=True, kw_only=True)
class Several:
    """What a script makes of a request: a grid, of which `lone` says whether its pictures are answered beside it, or
    requests one after the other."""

    requests: tuple[GenerationRequest, ...] = ()
    grid: Grid | None = None
    lone: bool = True

    def styled(self, names: Sequence[str], styles: Styles) -> "Several":
        """The same with the words of these styles in every picture: put on last, as there, so that a script sees the
        prompt as it was sent. Raises `InvalidRequest`."""
        return replace(
            self,
            requests=tuple(with_styles(each, names, styles) for each in self.requests),
            grid=self.grid and styled_grid(self.grid, names, styles),
        )


def _axis(letter: str) -> tuple[Argument, ...]:
    upper = letter.upper()
    return (
        Argument(name=f"{letter}_type", label=f"{upper} type", default=NOTHING, choices=AXES),
        Argument(name=f"{letter}_values", label=f"{upper} values", default=""),
        Argument(name=f"{letter}_values_dropdown", label=f"{upper} values", default=()),
    )


def _flag(name: str, label: str, *, default: bool = False) -> Argument:
    return Argument(name=name, label=label, default=default)


_MARGIN = Argument(name="margin_size", label="Grid margins (px)", default=0, range=MARGIN_RANGE, step=2)
PLOT = Script(
    title=PLOT_TITLE,
    for_words=True,
    arguments=(
        *(argument for letter in LETTERS for argument in _axis(letter)),
        _flag("draw_legend", "Draw legend", default=True),
        _flag("include_lone_images", "Include Sub Images"),
        _flag("include_sub_grids", "Include Sub Grids"),
        _flag("no_fixed_seeds", "Keep -1 for seeds"),
        *(_flag(f"vary_seeds_{letter}", f"Vary seeds for {letter.upper()}") for letter in LETTERS),
        _MARGIN,
        _flag("csv_mode", "Use text inputs instead of dropdowns"),
    ),
)
MATRIX = Script(
    title=MATRIX_TITLE,
    for_words=True,
    arguments=(
        _flag("put_at_start", "Put variable parts at start of prompt"),
        _flag("different_seeds", "Use different seed for each picture"),
        Argument(name="prompt_type", label="Select prompt", default=MATRIX_PROMPTS[0], choices=MATRIX_PROMPTS),
        Argument(name="variations_delimiter", label="Select joining char", default="comma", choices=tuple(JOINERS)),
        _MARGIN,
    ),
)
LINES = Script(
    title=LINES_TITLE,
    for_words=True,
    arguments=(
        _flag("checkbox_iterate", "Iterate seed every line"),
        _flag("checkbox_iterate_batch", "Use same random seed for all lines"),
        Argument(name="prompt_position", label="Insert prompts at the", default=PLACES[0], choices=PLACES),
        Argument(name="prompt_txt", label="List of prompt inputs", default=""),
    ),
)
SEVERAL: Mapping[str, Script] = MappingProxyType({each.title.lower(): each for each in (PLOT, MATRIX, LINES)})


def several(
    name: str | None,
    arguments: Sequence[Any],
    request: GenerationRequest,
    styles: Styles,
    chosen: Sequence[str],
    *,
    img2img: bool,
) -> Several:
    """What a body asks for whose script has that name, which may be one of a single picture, with the `chosen` styles.
    Raises `InvalidRequest`, and `Refused` for values that the script does not take."""
    return _plain(name, arguments, request, styles, chosen, img2img=img2img).styled(chosen, styles)


def _plain(
    name: str | None,
    arguments: Sequence[Any],
    request: GenerationRequest,
    styles: Styles,
    chosen: Sequence[str],
    *,
    img2img: bool,
) -> Several:
    script = SEVERAL.get((name or "").strip().casefold())
    if script is None:
        return Several(requests=(request,))
    given = script.values(arguments)
    if script is PLOT:
        grid = _plot(given, styles, img2img=img2img).grid(request, [styles_axis(styles, chosen)])
        return Several(grid=grid, lone=_truth(given, "include_lone_images"))
    if script is MATRIX:
        return Several(grid=_matrix(given).grid(request))
    lines = PromptLines(
        text=given["prompt_txt"],
        iterate=_truth(given, "checkbox_iterate"),
        same_seed=_truth(given, "checkbox_iterate_batch"),
        place=given["prompt_position"],
    )
    return Several(requests=lines.requests(request, styles).requests)


def axes(*, img2img: bool) -> tuple[str, ...]:
    """The axes that a client may count."""
    missing = NOT_OF_PICTURES if img2img else NOT_OF_WORDS
    return tuple(name for name in AXES if name not in missing)


def _plot(given: Mapping[str, Any], styles: Styles, *, img2img: bool) -> Plot:
    names = axes(img2img=img2img)
    look = Look(
        legend=_truth(given, "draw_legend"),
        margin=given["margin_size"],
        sub_grids=_truth(given, "include_sub_grids"),
    )
    x, y, z = (_plotted(given, letter, names, styles) for letter in LETTERS)
    vary_x, vary_y, vary_z = (_truth(given, f"vary_seeds_{letter}") for letter in LETTERS)
    random = _truth(given, "no_fixed_seeds")
    return Plot(x=x, y=y, z=z, vary_x=vary_x, vary_y=vary_y, vary_z=vary_z, keep_random=random, look=look)


def _plotted(given: Mapping[str, Any], letter: str, names: Sequence[str], styles: Styles) -> Plotted:
    """An axis, by its number or its name, and its values: of one with choices those that are chosen, if any are and
    the text is not what counts."""
    kind, text, chosen = (given[f"{letter}_{each}"] for each in ("type", "values", "values_dropdown"))
    if isinstance(kind, int) and not isinstance(kind, bool):
        if not 0 <= kind < len(names):
            raise Refused(f"{letter}_type must be from 0 to {len(names) - 1} or a name, not {kind}.", status=422)
        kind = names[kind]
    if not isinstance(kind, str):
        raise Refused(f"{letter}_type must be a number or a name, not {str(kind)[:60]!r}.", status=422)
    axis = find_axis(kind, [styles_axis(styles)])
    chosen = [chosen] if isinstance(chosen, str) and chosen else chosen or ()
    if not isinstance(chosen, list | tuple) or not all(isinstance(each, str) for each in chosen):
        raise Refused(f"{letter}_values_dropdown must be a list of names.", status=422)
    if chosen and axis.choices and not _truth(given, "csv_mode"):
        text = ", ".join('"{}"'.format(each.replace('"', '""')) for each in chosen)
    values: Any = str(text) if isinstance(text, int | float) and not isinstance(text, bool) else text
    return Plotted(axis=axis.name, values=values)


def _matrix(given: Mapping[str, Any]) -> Matrix:
    return Matrix(
        at_start=_truth(given, "put_at_start"),
        different_seeds=_truth(given, "different_seeds"),
        prompt=given["prompt_type"],
        joiner=given["variations_delimiter"],
        look=Look(margin=given["margin_size"]),
    )


def _truth(given: Mapping[str, Any], name: str) -> bool:
    """A flag; clients write it in words too."""
    words = {"true": True, "false": False, "": False}
    value = given[name]
    if isinstance(value, str) and value.casefold() in words:
        return words[value.casefold()]
    if value in (0, 1):
        return bool(value)
    raise InvalidRequest(f"{name} can be true or false, not {str(value)[:60]!r}.")
