"""What the two tabs with a canvas share: the size of what is generated, and how a click becomes a request."""

from collections.abc import Mapping
from typing import Any

import gradio as gr

from backend.app import App
from backend.errors import ModelFileError
from backend.request import GenerationRequest
from ui import controls
from ui.form import SHORT_EVENT, Form
from ui.generate import Actions, Sender
from ui.painted import PAINTING, Painting, with_painting
from ui.suited import suited_values

GUIDED = "instruct-pix2pix"  # the variant of a checkpoint that is guided by the picture too


def size(page: gr.Blocks, form: Form) -> None:
    """Three ways to the size; of the last two, ``painted.css`` shows the controls while they are chosen."""
    form.place("sizing", elem_classes=["segments", "ways"])
    with gr.Column(elem_classes=["way", "way-2"]):
        controls.size(page, form)
    with gr.Column(elem_classes=["way", "way-3"]):
        form.place("factor")


def picture_guidance(page: gr.Blocks, app: App, form: Form) -> None:
    """The guidance by the picture, which only InstructPix2Pix has."""
    guidance: Any = form.place("init.image_cfg_scale")
    checkpoint: Any = form.components["checkpoint"]

    def look(name: object) -> Any:
        try:
            variant = app.catalog.find(str(name or "")).identity.variant
        except ModelFileError:
            variant = ""
        return gr.update(visible=variant == GUIDED)

    gr.on([page.load, checkpoint.change], look, checkpoint, guidance, preprocess=False, **SHORT_EVENT)


def tie(app: App, form: Form, sender: Sender, buttons: Actions) -> None:
    """Let *Generate* send what lies on the canvas with the values of the form, which must be whole by now."""
    form.adopt(PAINTING, gr.Textbox(visible=False, elem_id=form.id("painting")))

    def asked(values: Mapping[str, Any]) -> list[GenerationRequest]:
        return [request_of(app, form, values, Painting.read(values.get(PAINTING)))]

    sender.tie(form, buttons.generate, buttons.message, asked, js=script(form, PAINTING, "withPainting"))


def script(form: Form, name: str, act: str) -> str:
    """The script that lets `act` of ``painted_tabs.js`` put the value `name` in its place among those of the form."""
    place = list(form.components).index(name)
    return f"(...values) => window.atelier.{act}('{form.prefix}', values, {place})"


def request_of(app: App, form: Form, values: Mapping[str, Any], painting: Painting) -> GenerationRequest:
    """What the values ask for with this painting. Raises `UserError`."""
    record = app.catalog.find(str(values.get("checkpoint") or app.settings.value.checkpoint))
    suited = suited_values(record, app.settings.value)
    return form.request(with_painting(values, painting, (suited["width"], suited["height"])))
