"""The tab that makes pictures from words."""

from typing import Any

import gradio as gr

from backend.app import App
from backend.errors import InvalidRequest
from backend.imaging.upscale import NONE
from backend.init_image import LATENT_UPSCALERS, HiresFix
from ui import controls, extension_fields, scripts
from ui.form import SHORT_EVENT, Form
from ui.generate import Actions, Sender, remember
from ui.pieces import hint, live_view, told


def build(page: gr.Blocks, app: App, form: Form, sender: Sender) -> Actions:
    """Lay the tab out and tie it to the queue. `form` already has the checkpoint."""
    with gr.Row(elem_id="txt2img_layout", elem_classes="tab-layout"):
        buttons = controls.words(page, app, form)
        with gr.Column(elem_id="txt2img_controls", elem_classes="tab-controls"):
            controls.sampling(form)
            controls.size(page, form)
            controls.seed(form)
            controls.batch(form)
            _hires(page, app, form)
            controls.refiner(form)
            controls.advanced(page, app, form)
            extension_fields.place(form)
            cost = scripts.place(app, form)
        live_view("txt2img")

    sender.tie(form, buttons.generate, buttons.message, lambda values: scripts.asked(app, form, values, form.request))
    scripts.tell_cost(app, form, form.request, cost)
    remember(page, form)
    return buttons


def _hires(page: gr.Blocks, app: App, form: Form) -> None:
    """The second pass. What it leaves open is as in the first, and stands in an accordion of its own."""
    with controls.switched(form, "hires", "txt2img_hr"):
        upscaler: Any = form.place("hires.upscaler")
        with gr.Row(elem_classes="pair"):
            form.place("hires.denoising_strength")
            form.place("hires.steps")
        form.place("hires.scale")
        with gr.Row(elem_classes="pair"):
            form.place("hires.width")
            form.place("hires.height")
        _enlarged(page, form)
        hint("0 steps: as many as in the first pass. A width or a height goes before the factor, and 0 leaves it open.")
        with gr.Accordion("Otherwise than the first pass", open=False, elem_id="txt2img_hr_own", elem_classes="quiet"):
            with gr.Row(elem_classes="pair"):
                form.place("hires.sampler")
                form.place("hires.schedule")
            checkpoint: Any = form.place("hires.checkpoint")
            with gr.Row(elem_classes="pair"):
                form.place("hires.cfg_scale")
                form.place("hires.extra_noise")
            form.place("hires.prompt")
            form.place("hires.negative_prompt")
            hint("What is empty or 0 is as in the first pass.")

    def choices() -> tuple[Any, Any]:
        others = [name for name in app.upscalers.names() if name != NONE]
        checkpoints = [("Use same checkpoint", ""), *((name, name) for name in app.catalog.names())]
        return gr.update(choices=[*LATENT_UPSCALERS, *others]), gr.update(choices=checkpoints)

    gr.on([page.load, upscaler.focus, checkpoint.focus], choices, None, [upscaler, checkpoint], **SHORT_EVENT)


def _enlarged(page: gr.Blocks, form: Form) -> None:
    """From which size to which."""
    line = told("txt2img_hr_sizes")
    names = ("width", "height", "hires.scale", "hires.width", "hires.height")
    fields: list[Any] = [form.components[name] for name in names]

    def look(width: Any, height: Any, scale: Any, wide: Any, high: Any) -> str:
        try:
            target = HiresFix(scale=scale, width=wide, height=high).target(int(width), int(height))
        except (InvalidRequest, TypeError, ValueError):
            return ""  # while it is typed; what is wrong is said when it is asked for
        return f"From {width} × {height} to {target[0]} × {target[1]}"

    gr.on([page.load, *(field.change for field in fields)], look, fields, line, preprocess=False, **SHORT_EVENT)
