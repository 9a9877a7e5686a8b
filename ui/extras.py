"""The tab that enlarges finished pictures as they are."""

from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr

from backend.app import App
from backend.errors import InvalidRequest, unknown_name
from backend.imaging.upscale import NONE
from backend.upscaling.request import LABELS, MOST_PICTURES, UpscaleRequest
from ui import canvas_tab, operations
from ui.fields import SCALE_BY, SCALE_TO
from ui.form import SHORT_EVENT, Form, filled
from ui.generate import Actions, Sender, actions, remember
from ui.operations import ShownOperation
from ui.painted import chosen_pictures
from ui.pieces import hint, live_view, picture_files

INPUTS = "inputs"  # the value of the form that names the pictures, as JSON


def build(page: gr.Blocks, app: App, form: Form, sender: Sender, added: Sequence[ShownOperation] = ()) -> Actions:
    """Lay the tab out and tie it to the queue; `added` are operations of extensions, whose fields the form has."""
    with gr.Row(elem_id="extras_layout", elem_classes="tab-layout"):
        with gr.Column(elem_id="extras_words", elem_classes="tab-words"):
            picture_files("extras_files", most=MOST_PICTURES)
            buttons = actions(form, "Upscale")
        with gr.Column(elem_id="extras_controls", elem_classes="tab-controls"):
            first: Any = form.place("upscaler")
            _size(form)
            second: Any = form.place("upscaler_2")
            form.place("visibility_2")
            form.place("keep_metadata")
            operations.place(form, added)
        live_view("extras")
    form.adopt(INPUTS, gr.Textbox(visible=False, elem_id="extras_inputs"))

    def choices() -> tuple[Any, Any]:
        names = app.upscalers.names()
        return gr.update(choices=[name for name in names if name != NONE]), gr.update(choices=names)

    gr.on([page.load, first.focus, second.focus], choices, None, [first, second], **SHORT_EVENT)
    asked = canvas_tab.script(form, INPUTS, "withFiles")
    sender.tie(form, buttons.generate, buttons.message, lambda values: [request_of(values)], js=asked)
    remember(page, form)
    return buttons


def _size(form: Form) -> None:
    form.place("sizing", elem_classes=["segments", "ways"])
    with gr.Column(elem_classes=["way", "way-1"]):
        with gr.Row(elem_classes="pair"):
            form.place("scale")
            form.place("max_side")
        hint("No side becomes longer than the second; 0 sets no limit.")
    with gr.Column(elem_classes=["way", "way-2"]):
        with gr.Row(elem_classes="pair"):
            form.place("width")
            form.place("height")
        hint("Covers width x height. 0 leaves a side to the ratio.")
        form.place("crop")


def request_of(values: Mapping[str, Any]) -> UpscaleRequest:
    """What the values of the form ask for. Raises `InvalidRequest` with a sentence."""
    read = dict(values)
    asked = operations.taken(read)
    sizing, pictures = read.pop("sizing", None), read.pop(INPUTS, None)
    if sizing not in (SCALE_BY, SCALE_TO):
        raise InvalidRequest(unknown_name("way to choose the size", str(sizing), (SCALE_BY, SCALE_TO)))
    other = ("width", "height") if sizing == SCALE_BY else ("scale", "max_side")
    read = {name: value for name, value in read.items() if name not in other}
    names = [each.name for each in chosen_pictures(pictures)]
    request = UpscaleRequest.from_values({**filled(read, LABELS.__getitem__), "inputs": names, "operations": asked})
    if sizing == SCALE_TO and not request.by_size:
        raise InvalidRequest("Width and Height are both 0: at least one must say how large a picture becomes.")
    return request
