"""What the two tabs with a canvas share: the size of what is generated, and how a click becomes a request."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import gradio as gr

from backend.any_request import Request
from backend.app import App
from backend.errors import ModelFileError
from backend.grids.grid import Grid
from backend.request import GenerationRequest
from ui import controls, scripts
from ui.form import SHORT_EVENT, Form
from ui.generate import Actions, Batch, Sender
from ui.painted import PAINTING, Painting, with_painting
from ui.suited import suited_values

GUIDED = "instruct-pix2pix"  # the variant of a checkpoint that is guided by the picture too,
DEPTH = "depth"  # and of one that is guided by how far away things are


def size(page: gr.Blocks, form: Form) -> None:
    """Three ways to the size; of the last two, ``painted.css`` shows the controls while they are chosen."""
    form.place("sizing", elem_classes=["segments", "ways"])
    with gr.Column(elem_classes=["way", "way-2"]):
        controls.size(page, form)
    with gr.Column(elem_classes=["way", "way-3"]):
        form.place("factor")


def picture_guidance(page: gr.Blocks, app: App, form: Form) -> None:
    """The guidance by the picture, which only InstructPix2Pix has."""
    shown_for(page, app, form, GUIDED, form.place("init.image_cfg_scale"))


def shown_for(page: gr.Blocks, app: App, form: Form, variant: str, part: Any) -> None:
    """Show a part of the page while the checkpoint is of that variant."""
    checkpoint: Any = form.components["checkpoint"]

    def look(name: object) -> Any:
        return gr.update(visible=_variant(app, name) == variant)

    gr.on([page.load, checkpoint.change], look, checkpoint, part, preprocess=False, **SHORT_EVENT)


def _variant(app: App, name: object) -> str:
    try:
        return app.catalog.find(str(name or "")).identity.variant
    except ModelFileError:
        return ""


def tie(app: App, form: Form, sender: Sender, buttons: Actions, cost: gr.HTML) -> None:
    """Let *Generate* send what lies on the canvas with the values of the form, which must be whole by now; `cost` says
    what a script will cost."""
    form.adopt(PAINTING, gr.Textbox(visible=False, elem_id=form.id("painting")))

    def one(values: Mapping[str, Any]) -> GenerationRequest:
        return request_of(app, form, values, Painting.read(values.get(PAINTING)))

    def asked(values: Mapping[str, Any]) -> Sequence[Request | Grid] | Batch:
        return scripts.asked(app, form, values, one)

    sender.tie(form, buttons.generate, buttons.message, asked, js=script(form, PAINTING, "withPainting"))
    scripts.tell_cost(app, form, one, cost)


def script(form: Form, name: str, act: str) -> str:
    """The script that lets `act` of ``painted_tabs.js`` put the value `name` in its place among those of the form."""
    place = list(form.components).index(name)
    return f"(...values) => window.atelier.{act}('{form.prefix}', values, {place})"


def request_of(app: App, form: Form, values: Mapping[str, Any], painting: Painting) -> GenerationRequest:
    """What the values ask for with this painting, whose depth map is for those checkpoints alone that have a use for
    one. Raises `UserError`."""
    record = app.catalog.find(str(values.get("checkpoint") or app.settings.value.checkpoint))
    suited = suited_values(record, app.settings.value)
    used = painting if record.identity.variant == DEPTH else replace(painting, depth="")
    return form.request(with_painting(values, used, (suited["width"], suited["height"])))
