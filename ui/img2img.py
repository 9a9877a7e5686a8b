"""The tab that begins with a picture and changes all of it."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import gradio as gr

from backend.app import App
from backend.errors import InvalidRequest, UserError
from backend.grids.styled import with_styles
from backend.imaging.upscale import NONE
from backend.inputs import StoredInput
from ui import canvas_tab, controls, extension_fields, scripts
from ui.canvas import canvas
from ui.form import SHORT_EVENT, Form
from ui.generate import Actions, Batch, Sender, remember
from ui.painted import FOLDER, MOST_PICTURES, NO_PICTURES, PICTURE_FOLDER, Painting, chosen
from ui.picture_folders import picture_folders, put_in, taken_from
from ui.pieces import hint, live_view, picture_files


def build(page: gr.Blocks, app: App, form: Form, sender: Sender) -> Actions:
    """Lay the tab out and tie it to the queue. `form` already has the checkpoint."""
    with gr.Row(elem_id="img2img_layout", elem_classes=["tab-layout", "with-canvas"]):
        buttons = controls.words(page, app, form)
        with gr.Column(elem_id="img2img_controls", elem_classes="tab-controls"):
            form.place("init.denoising_strength")
            canvas_tab.picture_guidance(page, app, form)
            _depth(page, app, form)
            canvas_tab.size(page, form)
            form.place("init.resize_mode")
            controls.sampling(form)
            controls.seed(form)
            controls.batch(form)
            _tiled(page, app, form)
            with gr.Accordion("A folder of pictures", open=False, elem_id="img2img_batch", elem_classes="quiet"):
                picture_files("img2img_files", most=MOST_PICTURES, folders=True)
                _folder(page, app, form)
                start = gr.Button("Queue them all", elem_id="img2img_batch_generate", elem_classes="queue-all")
            controls.refiner(form)
            controls.advanced(page, app, form)
            extension_fields.place(form)
            cost = scripts.place(app, form)
        canvas("img2img", "img2img_canvas", mask=False, box=False)
        live_view("img2img")
    form.adopt(FOLDER, gr.Textbox(visible=False, elem_id="img2img_folder"))
    canvas_tab.tie(app, form, sender, buttons, cost)

    script = canvas_tab.script(form, FOLDER, "withFiles")
    sender.tie(form, start, buttons.message, lambda values: _batch(app, form, values), js=script)
    remember(page, form)
    return buttons


def _batch(app: App, form: Form, values: Mapping[str, Any]) -> Batch:
    """A request for each picture, as if it lay on the canvas alone. Raises `InvalidRequest` if there are none, or too
    many."""
    requests, refused = [], []
    styles = scripts.chosen_styles(values)
    for title, store in _pictures(app, values):
        try:
            stored = store()
            painting = Painting(picture=stored.name, size=(stored.width, stored.height))
            requests.append(
                (title, with_styles(canvas_tab.request_of(app, form, values, painting), styles, app.styles))
            )
        except UserError as error:
            refused.append((title, str(error)))
    if not requests and not refused:
        raise InvalidRequest(NO_PICTURES)
    return Batch(requests=requests, refused=refused)


def _pictures(app: App, values: Mapping[str, Any]) -> Iterator[tuple[str, Callable[[], StoredInput]]]:
    """The names of all pictures that are meant, each with what puts it into the store if it is not there yet."""
    files, folder = chosen(values.get(FOLDER)), values.get(PICTURE_FOLDER)
    paths = taken_from(str(folder), app.settings.value, MOST_PICTURES - len(files)) if folder else []
    for each in files:
        yield each.title, each.taken
    for path in paths:
        yield path.name, lambda path=path: put_in(path, app.inputs)


def _folder(page: gr.Blocks, app: App, form: Form) -> None:
    """A folder on this machine, if the settings declare any."""
    folder: Any = gr.Dropdown(
        [("None", "")], value="", label="Or a folder on this machine", elem_id="img2img_picture_folder"
    )
    folder.visible = False
    form.adopt(PICTURE_FOLDER, folder)

    def choices() -> Any:
        found = [("None", ""), *((name, name) for name in picture_folders(app.settings.value))]
        return gr.update(choices=found, visible=len(found) > 1)

    gr.on([page.load, folder.focus], choices, None, folder, **SHORT_EVENT)


def _depth(page: gr.Blocks, app: App, form: Form) -> None:
    """The depth map, which only depth checkpoints have a use for."""
    part = picture_files("img2img_depth", most=1, ask="Depth map: bright is near. Without one it is computed.")
    part.visible = False
    canvas_tab.shown_for(page, app, form, canvas_tab.DEPTH, part)


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
