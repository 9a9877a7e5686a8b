"""The tab that begins with a picture and changes all of it."""

from collections.abc import Mapping
from typing import Any

import gradio as gr

from backend.app import App
from backend.imaging.upscale import NONE
from backend.request import GenerationRequest
from ui import canvas_tab, controls
from ui.canvas import canvas
from ui.form import SHORT_EVENT, Form
from ui.generate import Actions, Sender, remember
from ui.painted import FOLDER, Painting, chosen_pictures
from ui.pieces import hint, live_view, picture_files


def build(page: gr.Blocks, app: App, form: Form, sender: Sender) -> Actions:
    """Lay the tab out and tie it to the queue. `form` already has the checkpoint."""
    with gr.Row(elem_id="img2img_layout", elem_classes=["tab-layout", "with-canvas"]):
        buttons = controls.words(form)
        with gr.Column(elem_id="img2img_controls", elem_classes="tab-controls"):
            form.place("init.denoising_strength")
            canvas_tab.picture_guidance(page, app, form)
            canvas_tab.size(page, form)
            form.place("init.resize_mode")
            controls.sampling(form)
            controls.seed(form)
            controls.batch(form)
            _tiled(page, app, form)
            with gr.Accordion("A folder of pictures", open=False, elem_id="img2img_batch", elem_classes="quiet"):
                picture_files("img2img_files", folders=True)
                start = gr.Button("Queue them all", elem_id="img2img_batch_generate", elem_classes="queue-all")
            controls.advanced(page, app, form)
        canvas("img2img", "img2img_canvas", mask=False, box=False)
        live_view("img2img")
    form.adopt(FOLDER, gr.Textbox(visible=False, elem_id="img2img_folder"))
    canvas_tab.tie(app, form, sender, buttons)

    def asked(values: Mapping[str, Any]) -> list[GenerationRequest]:
        """A request for each picture, as if it lay on the canvas alone."""
        pictures = chosen_pictures(values.get(FOLDER))
        paintings = [Painting(picture=each.name, size=(each.width, each.height)) for each in pictures]
        return [canvas_tab.request_of(app, form, values, each) for each in paintings]

    sender.tie(form, start, buttons.message, asked, js=canvas_tab.script(form, FOLDER, "withFiles"))
    remember(page, form)
    return buttons


def _tiled(page: gr.Blocks, app: App, form: Form) -> None:
    """For pictures larger than what can be generated at once."""
    with controls.switched(form, "init.upscale", "img2img_tiled_upscale"):
        hint("The picture is enlarged, and made new tile by tile. Strengths of 0.2 to 0.4 keep what it shows.")
        upscaler: Any = form.place("init.upscale.upscaler")
        with gr.Row(elem_classes="pair"):
            form.place("init.upscale.scale")
            form.place("init.upscale.overlap")

    def choices() -> Any:
        return gr.update(choices=[name for name in app.upscalers.names() if name != NONE])

    gr.on([page.load, upscaler.focus], choices, None, upscaler, **SHORT_EVENT)
