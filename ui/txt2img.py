"""The tab that makes pictures from words."""

import asyncio
import json
from typing import Any

import gradio as gr
from gradio.blocks import Block

from backend.app import App
from backend.errors import InvalidRequest, ModelFileError, UserError
from backend.model_manager.identity import Kind
from backend.request import AUTOMATIC_VAE, OWN_VAE, GenerationRequest
from backend.server.owner import owner_of
from ui.form import SHORT_EVENT, Form
from ui.pieces import live_view, notice, prompt_chips
from ui.static_files import read

RATIOS = ("1:1", "3:2", "2:3", "4:3", "3:4", "16:9", "9:16")


def build(page: gr.Blocks, app: App, form: Form) -> None:
    """Lay the tab out and tie it to the queue. `form` already has the checkpoint."""
    with gr.Row(elem_id="txt2img_layout"):
        with gr.Column(elem_id="txt2img_words"):
            form.place("prompt")
            prompt_chips("txt2img_loras")
            form.place("negative_prompt")
            with gr.Column(elem_id="txt2img_actions"):
                message = notice("txt2img_message")
                with gr.Row(elem_id="txt2img_buttons"):
                    generate = gr.Button("Generate", variant="primary", elem_id="txt2img_generate")
                    gr.Button("Skip", elem_id="txt2img_skip", elem_classes="ender")
                    gr.Button("Interrupt", elem_id="txt2img_interrupt", elem_classes="ender")
        with gr.Column(elem_id="txt2img_controls"):
            _controls(page, app, form)
        view = live_view("txt2img_results")

    in_turn = asyncio.Lock()

    async def submit(request: gr.Request, **values: Any) -> str:
        async with in_turn:  # quick clicks arrive one after the other, and on threads they could overtake each other
            return await asyncio.to_thread(_submit, app, form, request, values)

    form.on(generate.click, submit, message)
    _reuse(app, form, view, message)
    _remember(page, form)


def _submit(app: App, form: Form, request: gr.Request, values: dict[str, Any]) -> str:
    try:
        app.queue.submit(form.request(values), _owner(request))
    except UserError as error:
        return str(error)
    return ""


def _owner(request: gr.Request) -> str:
    assert request.request is not None  # an event that waits in no queue comes with the browser's own request
    return owner_of(request.request)


def _controls(page: gr.Blocks, app: App, form: Form) -> None:
    with gr.Row(elem_classes="pair"):
        form.place("sampler")
        form.place("schedule")
    with gr.Row(elem_classes="pair"):
        form.place("steps")
        form.place("cfg_scale")
    with gr.Row(elem_id="txt2img_size"):
        width: Any = form.place("width")
        swap = gr.Button("Swap width and height", elem_id="txt2img_res_switch_btn", elem_classes="icon-button swap")
        height: Any = form.place("height")
    size = [width, height]
    tell_size = "(...size) => { window.atelierSize = size; dispatchEvent(new Event('atelier-size')); }"
    gr.on([page.load, width.change, height.change], None, size, js=tell_size, api_visibility="private")
    swap.click(None, size, size, js="(width, height) => [height, width]", api_visibility="private")
    with gr.Row(elem_id="txt2img_ratios"):
        for ratio in RATIOS:
            chip = gr.Button(ratio, size="sm", min_width=0, elem_classes="ratio")
            chip.click(None, size, size, js=_ratio(ratio), api_visibility="private")
    with gr.Row(elem_id="txt2img_seed_row"):
        seed = form.place("seed")
        dice = gr.Button("Random seed", elem_id="txt2img_random_seed", elem_classes="icon-button dice")
        again = gr.Button("Reuse seed", elem_id="txt2img_reuse_seed", elem_classes="icon-button recycle")
    dice.click(None, None, seed, js="() => '-1'", api_visibility="private")
    again.click(None, seed, seed, js="(seed) => window.atelier?.shownSeed() ?? seed", api_visibility="private")
    with gr.Row(elem_classes="pair"):
        form.place("batch_count")
        form.place("batch_size")
    with gr.Accordion("Advanced", open=False, elem_id="txt2img_advanced"):
        form.place("clip_skip")
        vae: Any = form.place("vae")

    def choices() -> Any:
        return gr.update(choices=[AUTOMATIC_VAE, OWN_VAE, *app.catalog.names(Kind.VAE)])

    gr.on([page.load, vae.focus], choices, None, vae, **SHORT_EVENT)


def _ratio(ratio: str) -> str:
    """The script that keeps the area and takes the ratio."""
    across, down = ratio.split(":")
    return f"(width, height) => window.atelier?.withRatio(width, height, {across}, {down}) ?? [width, height]"


def _reuse(app: App, form: Form, view: gr.HTML, message: gr.HTML) -> None:
    """Fill the form from a picture, or from a job that made none."""
    checkpoint, seed = form.components["checkpoint"], form.components["seed"]

    def reuse(event: gr.EventData, request: gr.Request) -> dict[Block, Any]:
        try:
            wanted = _wanted(app, event, request)
        except UserError as error:
            return {message: str(error)}
        changes = {**form.updates(wanted), message: ""}
        try:
            name = app.catalog.find(wanted.checkpoint).name
            changes[checkpoint] = gr.update(value=name, choices=app.catalog.names())
        except ModelFileError as error:
            changes[message] = f"Everything is filled in but the checkpoint. {error}"
        return changes

    def reuse_seed(event: gr.EventData, request: gr.Request) -> dict[Block, Any]:
        try:
            return {seed: str(_wanted(app, event, request).seed), message: ""}
        except UserError as error:
            return {message: str(error)}

    view.reuse(reuse, None, [*form.components.values(), message], **SHORT_EVENT)
    view.reuse_seed(reuse_seed, None, [seed, message], **SHORT_EVENT)


def _wanted(app: App, event: gr.EventData, request: gr.Request) -> GenerationRequest:
    """The request of the picture that was picked, or, where no number came with the job's id, of the whole job."""
    picked = event._data if isinstance(event._data, dict) else {}
    job = app.queue.find(str(picked.get("job", "")), _owner(request))
    if "index" not in picked:
        return job.request
    for image in job.images:
        if image.index == picked["index"]:
            return GenerationRequest.from_json(image.request)
    raise InvalidRequest("This job has no such picture.")


def _remember(page: gr.Blocks, form: Form) -> None:
    """Keep what was typed through a reload, in the browser alone; the checkpoint is remembered by the settings."""
    kept = {name: component for name, component in form.components.items() if name != "checkpoint"}
    fields: list[Any] = list(kept.values())
    script = read("remember.js").replace("FIELD_NAMES", json.dumps(list(kept)))
    gr.on(
        [field.change for field in fields],
        None,
        fields,
        js=f"(...values) => {{ {script} keep(values); return []; }}",
        api_visibility="private",
    )
    page.load(
        None, fields, fields, js=f"(...values) => {{ {script} return restore(values); }}", api_visibility="private"
    )
