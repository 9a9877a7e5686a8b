"""Scripts on the page: plots, prompt matrices and lists of prompts, what they will cost, and how they are asked for.

Which there are, and which fields they have, extensions say (`backend.extension_api.Script`).
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gradio as gr

from backend.any_request import Request
from backend.app import App
from backend.errors import InvalidRequest, UserError
from backend.grids.axes import NOTHING, choices_of, find_axis
from backend.grids.cost import cost_of, cost_of_grid
from backend.grids.grid import Grid
from backend.grids.scripts import NONE
from backend.grids.styled import with_styles
from backend.infotext.fields import SOME_PICTURE
from backend.request import GenerationRequest
from ui.extension_fields import plain
from ui.form import SHORT_EVENT, Form
from ui.generate import Batch
from ui.painted import PAINTING
from ui.pieces import hint, script_cost
from ui.script_fields import Shown, Stand

AskedFor = Callable[[Mapping[str, Any]], GenerationRequest]


def place(app: App, form: Form) -> gr.HTML:
    """Stand here in the layout: the list of scripts, the fields of the chosen one (``scripts.css``), and its cost."""
    with gr.Column(elem_id=form.id("script"), elem_classes=["part", "scripts"]):
        form.place("script")
        for shown in form.scripts:
            with gr.Column(elem_id=form.id(f"script_{shown.id}"), elem_classes=["script-rest"]):
                if shown.hint or shown.problem:
                    hint(plain(shown.problem or shown.hint))
                for row, stands in shown.lines:
                    _line(app, form, shown, row, stands)
        listed = [axis.name for axis in app.scripts.axes() if axis.choices]
        return script_cost(form.prefix, [_drawn(form, shown) for shown in form.scripts], listed, NOTHING)


def _line(app: App, form: Form, shown: Shown, row: str, stands: Sequence[Stand]) -> None:
    """Fields side by side, or one alone."""
    if not row:
        for stand in stands:
            _field(app, form, shown, stand)
        return
    chooses = any(stand.hints.get("axis") for stand in stands)
    classes = ["axis", f"axis-{row}"] if chooses else ["pair"] if len(stands) < 3 else ["varied"]
    with gr.Row(elem_classes=classes):
        for stand in stands:
            _field(app, form, shown, stand)


def _field(app: App, form: Form, shown: Shown, stand: Stand) -> None:
    name, hints = shown.place(stand.name), stand.hints
    if hints.get("file"):
        with gr.Column(elem_classes="with-file"):
            form.place(name)
            gr.Button("Choose a text file", size="sm", elem_classes="lines-file")
    elif hints.get("fill"):
        _fill(app, form, shown, stand, form.place(name, elem_classes="axis-values"))
    else:
        form.place(name, **({"elem_classes": "segments"} if hints.get("segments") else {}))
    if hints.get("description"):
        hint(plain(str(hints["description"])))


def _fill(app: App, form: Form, shown: Shown, stand: Stand, values: Any) -> None:
    """A button that fills a field with every choice of the axis that is chosen beside it."""
    kind: Any = form.components[shown.place(str(stand.hints["fill"]))]
    words = f"Fill in every choice for {stand.field.label}"
    fill = gr.Button(words, elem_id=form.id(_fill_suffix(stand)), elem_classes=["icon-button", "fill"])

    def filled_in(name: object, now: object) -> Any:
        try:
            axis = find_axis(str(name), app.scripts.axes())
            return _listed(choices_of(axis, app.catalog.names)) or now
        except UserError:
            return now

    fill.click(filled_in, [kind, values], values, preprocess=False, **SHORT_EVENT)


def _fill_suffix(stand: Stand) -> str:
    return str(stand.hints.get("fill_suffix", f"{stand.field.suffix}_fill"))


def _drawn(form: Form, shown: Shown) -> dict[str, Any]:
    """What ``scripts.js`` has to know of a script: which fields are seen only with an axis, and which can be filled."""
    needs = [
        {"id": form.id(stand.field.suffix), "axis": shown.place(str(stand.hints["needs"]))}
        for stand in shown.stands
        if "needs" in stand.hints
    ]
    fills = [
        {"id": form.id(_fill_suffix(stand)), "axis": shown.place(str(stand.hints["fill"]))}
        for stand in shown.stands
        if "fill" in stand.hints
    ]
    part = form.id(f"script_{shown.id}")
    return {"title": shown.title, "id": part, "grid": shown.grid, "needs": needs, "fills": fills}


def _listed(names: Sequence[str]) -> str:
    """Names as the values of an axis: in quotes where there is a comma in one."""
    quoted = ('"{}"'.format(name.replace('"', '""')) if set(name) & set(',"') else name for name in names)
    return ", ".join(quoted)


def asked(app: App, form: Form, values: Mapping[str, Any], one: AskedFor) -> Sequence[Request | Grid] | Batch:
    """What a click on *Generate* asks for: one request as `one` reads it from the values, or what the chosen script
    makes of that. The words of the chosen styles are put on last, as in AUTOMATIC1111: a script sees the prompt as it
    was typed. Raises `UserError`."""
    script, chosen = values.get("script") or NONE, chosen_styles(values)
    if script == NONE:
        return [with_styles(one(values), chosen, app.styles)]
    offered = app.scripts.find(str(script), form.prefix)
    own = f"script.{offered.id}."
    params = offered.params({name.removeprefix(own): value for name, value in values.items() if name.startswith(own)})
    found = app.scripts.plan(offered, one(values), params, chosen)
    if found.grid is not None:
        return [found.grid]
    return Batch(requests=[("", each) for each in found.requests], remarks=found.remarks)


def chosen_styles(values: Mapping[str, Any]) -> list[str]:
    """The names of the styles that are chosen in the form. Raises `InvalidRequest` for what are none."""
    names = values.get("styles") or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InvalidRequest("Styles must be a list of names.")
    return names


def tell_cost(app: App, form: Form, one: AskedFor, told: gr.HTML) -> None:
    """Let `told` say what the chosen script will cost, or what is wrong with it, whenever ``scripts.js`` asks. Of a
    canvas only the size is known then, which is all that it takes. The answer repeats the number that was sent."""

    def estimate(event: gr.EventData, **values: Any) -> dict[str, Any]:
        number = {"number": each} if isinstance(each := _sent(event).get("number"), int) else {}
        try:
            wanted = asked(app, form, _imagined(values, event), one)
            return {"sentence": _sentence(wanted), **number}
        except UserError as error:
            return {"problem": str(error), **number}

    send: Any = told
    form.on(send.estimate, estimate, told)


def _sent(event: gr.EventData) -> Mapping[str, Any]:
    return event._data if isinstance(event._data, dict) else {}


def _imagined(values: Mapping[str, Any], event: gr.EventData) -> Mapping[str, Any]:
    size = _sent(event).get("size")
    if PAINTING not in values or not size:
        return values
    painting = {"picture": SOME_PICTURE, "mask": SOME_PICTURE, "pictureSize": size}
    return {**values, PAINTING: json.dumps(painting)}


def _sentence(wanted: Sequence[Request | Grid] | Batch) -> str:
    if isinstance(wanted, Batch):
        requests = [each for _, each in wanted.requests if isinstance(each, GenerationRequest)]
        return " ".join([cost_of(requests).sentence, *wanted.remarks])
    return " ".join(cost_of_grid(each).sentence for each in wanted if isinstance(each, Grid))
