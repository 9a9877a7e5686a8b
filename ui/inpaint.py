"""The tab that paints into a picture, and beyond its edges."""

import gradio as gr

from backend.app import App
from ui import canvas_tab, controls, extension_fields, scripts
from ui.canvas import canvas
from ui.form import Form
from ui.generate import Actions, Sender, remember
from ui.pieces import hint, live_view

SOFT = (
    ("schedule_bias", "preservation_strength"),
    ("transition_contrast_boost", "mask_influence"),
    ("difference_threshold", "difference_contrast"),
)


def build(page: gr.Blocks, app: App, form: Form, sender: Sender) -> Actions:
    """Lay the tab out and tie it to the queue. `form` already has the checkpoint."""
    with gr.Row(elem_id="inpaint_layout", elem_classes=["tab-layout", "with-canvas", "wide-canvas"]):
        buttons = controls.words(page, app, form)
        with gr.Column(elem_id="inpaint_controls", elem_classes="tab-controls"):
            form.place("init.denoising_strength")
            canvas_tab.picture_guidance(page, app, form)
            _mask(form)
            canvas_tab.size(page, form)
            controls.sampling(form)
            controls.seed(form)
            controls.batch(form)
            _soft(form)
            _edges(form)
            controls.refiner(form)
            controls.advanced(page, app, form)
            extension_fields.place(form)
            cost = scripts.place(app, form)
        canvas("inpaint", "inpaint_canvas")
        live_view("inpaint")
    canvas_tab.tie(app, form, sender, buttons, cost)
    remember(page, form)
    return buttons


def _mask(form: Form) -> None:
    """What is made new, and from what."""
    form.place("init.inpainting.area", elem_classes="segments")
    form.place("init.inpainting.masked_content")
    with gr.Row(elem_classes="pair"):
        form.place("init.inpainting.mask_blur")
        form.place("init.inpainting.padding")
    form.place("init.inpainting.inverted")


def _soft(form: Form) -> None:
    with controls.switched(form, "init.inpainting.soft", "inpaint_soft_inpainting"):
        hint("Old and new are blended by the greys of the mask: blur it, or paint it softly.")
        for pair in SOFT:
            with gr.Row(elem_classes="pair"):
                for name in pair:
                    form.place(f"init.inpainting.soft.{name}")


def _edges(form: Form) -> None:
    with gr.Accordion("Edges and colours", open=False, elem_id="inpaint_edges", elem_classes="quiet"):
        form.place("init.inpainting.colour_match")
        form.place("init.inpainting.seam_pass")
        form.place("init.inpainting.exact_outside")
        hint(
            "The second pass is for outpainting. Without the third, the whole picture is resized as AUTOMATIC1111 does."
        )
        form.place("init.resize_mode")
        form.place("init.inpainting.mask_weight")
        hint("The last is for inpainting checkpoints: how much of what is masked they do not see.")
