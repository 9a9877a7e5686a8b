"""Scripts on the page: plots, prompt matrices and lists of prompts, what they will cost, and how they are asked for."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gradio as gr

from backend.any_request import Request
from backend.app import App
from backend.errors import InvalidRequest, UserError, unknown_name
from backend.grids.axes import AXES, choices_of, find_axis
from backend.grids.cost import cost_of, cost_of_grid
from backend.grids.grid import Grid, Look
from backend.grids.matrix import Matrix
from backend.grids.plot import Plot, Plotted
from backend.grids.prompt_lines import PromptLines
from backend.grids.styled import NAME as STYLES
from backend.grids.styled import styled_grid, styles_axis, with_styles
from backend.infotext.fields import SOME_PICTURE
from backend.request import GenerationRequest
from ui.form import SHORT_EVENT, Form, filled
from ui.generate import Batch
from ui.painted import PAINTING
from ui.pieces import hint, script_cost
from ui.script_fields import LETTERS, LINES, MATRIX, NONE, PLOT, SCRIPT_FIELDS, SCRIPTS

AskedFor = Callable[[Mapping[str, Any]], GenerationRequest]
_SAID = {field.name: field.label for field in SCRIPT_FIELDS}
_MAY_BE_EMPTY = ("script.lines", *(f"script.{letter}_values" for letter in LETTERS))


def place(app: App, form: Form) -> gr.HTML:
    """Stand here in the layout: the list of scripts, the fields of the chosen one (``scripts.css``), and its cost."""
    with gr.Column(elem_id=form.id("script"), elem_classes=["part", "scripts"]):
        form.place("script")
        with gr.Column(elem_classes=["script-rest", "of-plot"]):
            _plot(app, form)
        with gr.Column(elem_classes=["script-rest", "of-matrix"]):
            hint("a boat|red|at dusk: every combination of what stands behind a |")
            with gr.Row(elem_classes="pair"):
                form.place("script.matrix_prompt", elem_classes="segments")
                form.place("script.matrix_joiner", elem_classes="segments")
            form.place("script.matrix_at_start")
            form.place("script.matrix_seeds")
            form.place("script.matrix_margin")
        with gr.Column(elem_classes=["script-rest", "of-lines"]):
            form.place("script.lines")
            gr.Button("Choose a text file", size="sm", elem_classes="lines-file")
            form.place("script.lines_place", elem_classes="segments")
            form.place("script.lines_iterate")
            form.place("script.lines_same")
        return script_cost(form.prefix, [*(axis.name for axis in AXES if axis.choices), STYLES])


def _plot(app: App, form: Form) -> None:
    for letter in LETTERS:
        with gr.Row(elem_classes=["axis", f"axis-{letter}"]):
            kind: Any = form.place(f"script.{letter}_type")
            values: Any = form.place(f"script.{letter}_values", elem_classes="axis-values")
            fill = gr.Button(
                f"Fill in every choice of {letter.upper()}",
                elem_id=form.id(f"xyz_plot_fill_{letter}"),
                elem_classes=["icon-button", "fill"],
            )

        def filled_in(name: object, now: object) -> Any:
            try:
                axis = find_axis(str(name), [styles_axis(app.styles)])
                return _listed(choices_of(axis, app.catalog.names)) or now
            except UserError:
                return now

        fill.click(filled_in, [kind, values], values, preprocess=False, **SHORT_EVENT)
    with gr.Row(elem_classes="pair"):
        form.place("script.legend")
        form.place("script.sub_grids", elem_classes="sub-grids")
    with gr.Row(elem_classes="varied"):
        for letter in LETTERS:
            form.place(f"script.vary_{letter}", elem_classes=f"vary-{letter}")
    form.place("script.keep_random")
    form.place("script.margin")


def _listed(names: Sequence[str]) -> str:
    """Names as the values of an axis: in quotes where there is a comma in one."""
    quoted = ('"{}"'.format(name.replace('"', '""')) if set(name) & set(',"') else name for name in names)
    return ", ".join(quoted)


def asked(app: App, values: Mapping[str, Any], one: AskedFor) -> Sequence[Request | Grid] | Batch:
    """What a click on *Generate* asks for: one request as `one` reads it from the values, or what the chosen script
    makes of that. The words of the chosen styles are put on last, as in AUTOMATIC1111: a script sees the prompt as it
    was typed. Raises `InvalidRequest`."""
    script, styles, chosen = values.get("script") or NONE, app.styles, chosen_styles(values)
    if script == NONE:
        return [with_styles(one(values), chosen, styles)]
    options = _options(values)
    if script == LINES:
        found = _lines(options).requests(one(values), styles)
        requests = [("", with_styles(each, chosen, styles)) for each in found.requests]
        return Batch(requests=requests, remarks=found.remarks)
    if script == MATRIX:
        return [styled_grid(_matrix(options).grid(one(values)), chosen, styles)]
    if script == PLOT:
        return [styled_grid(_plot_of(options).grid(one(values), [styles_axis(styles, chosen)]), chosen, styles)]
    raise InvalidRequest(unknown_name("script", str(script)[:40], SCRIPTS))


def chosen_styles(values: Mapping[str, Any]) -> list[str]:
    """The names of the styles that are chosen in the form. Raises `InvalidRequest` for what are none."""
    names = values.get("styles") or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InvalidRequest("Styles must be a list of names.")
    return names


def _options(values: Mapping[str, Any]) -> dict[str, Any]:
    own = {name: value for name, value in values.items() if name.startswith("script.")}
    needed = filled({name: value for name, value in own.items() if name not in _MAY_BE_EMPTY}, _SAID.__getitem__)
    empty = {name: own.get(name) or "" for name in _MAY_BE_EMPTY}
    return {name.removeprefix("script."): value for name, value in {**needed, **empty}.items()}


def _plot_of(options: Mapping[str, Any]) -> Plot:
    axes = {x: Plotted(axis=str(options[f"{x}_type"]), values=options[f"{x}_values"]) for x in LETTERS}
    look = Look(legend=options["legend"], margin=options["margin"], sub_grids=options["sub_grids"])
    flags = {name: options[name] for name in ("keep_random", *(f"vary_{x}" for x in LETTERS))}
    return Plot(**axes, **flags, look=look)


def _matrix(options: Mapping[str, Any]) -> Matrix:
    return Matrix(
        at_start=options["matrix_at_start"],
        different_seeds=options["matrix_seeds"],
        prompt=options["matrix_prompt"],
        joiner=options["matrix_joiner"],
        look=Look(margin=options["matrix_margin"]),
    )


def _lines(options: Mapping[str, Any]) -> PromptLines:
    return PromptLines(
        text=options["lines"],
        iterate=options["lines_iterate"],
        same_seed=options["lines_same"],
        place=options["lines_place"],
    )


def tell_cost(app: App, form: Form, one: AskedFor, told: gr.HTML) -> None:
    """Let `told` say what the chosen script will cost, or what is wrong with it, whenever ``scripts.js`` asks. Of a
    canvas only the size is known then, which is all that it takes."""

    def estimate(event: gr.EventData, **values: Any) -> dict[str, Any]:
        try:
            wanted = asked(app, _imagined(values, event), one)
            return {"sentence": _sentence(wanted)}
        except UserError as error:
            return {"problem": str(error)}

    send: Any = told
    form.on(send.estimate, estimate, told)


def _imagined(values: Mapping[str, Any], event: gr.EventData) -> Mapping[str, Any]:
    size = event._data.get("size") if isinstance(event._data, dict) else None
    if PAINTING not in values or not size:
        return values
    painting = {"picture": SOME_PICTURE, "mask": SOME_PICTURE, "pictureSize": size}
    return {**values, PAINTING: json.dumps(painting)}


def _sentence(wanted: Sequence[Request | Grid] | Batch) -> str:
    if isinstance(wanted, Batch):
        requests = [each for _, each in wanted.requests if isinstance(each, GenerationRequest)]
        return " ".join([cost_of(requests).sentence, *wanted.remarks])
    return " ".join(cost_of_grid(each).sentence for each in wanted if isinstance(each, Grid))
