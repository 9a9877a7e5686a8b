"""The controls that the tabs share, each group as one function that stands where it is called."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gradio as gr

from backend.app import App
from backend.model_manager.identity import Kind
from backend.request import AUTOMATIC_VAE, OWN_VAE
from ui.form import SHORT_EVENT, Form
from ui.generate import Actions, actions
from ui.pieces import prompt_chips

RATIOS = ("1:1", "3:2", "2:3", "4:3", "3:4", "16:9", "9:16")


def words(form: Form) -> Actions:
    """Prompt and negative prompt with the buttons below them."""
    with gr.Column(elem_id=form.id("words"), elem_classes="tab-words"):
        form.place("prompt")
        prompt_chips(form.id("loras"))
        form.place("negative_prompt")
        return actions(form)


def sampling(form: Form) -> None:
    """How it is sampled."""
    with gr.Row(elem_classes="pair"):
        form.place("sampler")
        form.place("schedule")
    with gr.Row(elem_classes="pair"):
        form.place("steps")
        form.place("cfg_scale")


def size(page: gr.Blocks, form: Form) -> None:
    """Width and height, a button that swaps them, and ratios."""
    with gr.Row(elem_id=form.id("size"), elem_classes="tab-size"):
        width: Any = form.place("width")
        swap = gr.Button(
            "Swap width and height", elem_id=form.id("res_switch_btn"), elem_classes=["icon-button", "swap"]
        )
        height: Any = form.place("height")
    both = [width, height]
    tell = f"(...size) => {{ window.atelier?.tellSize('{form.prefix}', size); }}"
    gr.on([page.load, width.change, height.change], None, both, js=tell, api_visibility="private")
    swap.click(None, both, both, js="(width, height) => [height, width]", api_visibility="private")
    with gr.Row(elem_id=form.id("ratios"), elem_classes="tab-ratios"):
        for ratio in RATIOS:
            chip = gr.Button(ratio, size="sm", min_width=0, elem_classes="ratio")
            chip.click(None, both, both, js=_ratio(ratio), api_visibility="private")


def _ratio(ratio: str) -> str:
    """The script that keeps the area and takes the ratio."""
    across, down = ratio.split(":")
    return f"(width, height) => window.atelier?.withRatio(width, height, {across}, {down}) ?? [width, height]"


def seed(form: Form) -> None:
    """The seed, a die, and a button for the seed of the picture on the stage."""
    with gr.Row(elem_id=form.id("seed_row"), elem_classes="tab-seed"):
        number = form.place("seed")
        dice = gr.Button("Random seed", elem_id=form.id("random_seed"), elem_classes=["icon-button", "dice"])
        again = gr.Button("Reuse seed", elem_id=form.id("reuse_seed"), elem_classes=["icon-button", "recycle"])
    dice.click(None, None, number, js="() => '-1'", api_visibility="private")
    shown = f"(seed) => window.atelier?.shownSeed('{form.prefix}') ?? seed"
    again.click(None, number, number, js=shown, api_visibility="private")


def batch(form: Form) -> None:
    """How many pictures."""
    with gr.Row(elem_classes="pair"):
        form.place("batch_count")
        form.place("batch_size")


@contextmanager
def switched(form: Form, name: str, elem_id: str) -> Iterator[None]:
    """The switch of a part of the request, and what is laid out within: only seen while the part is on."""
    with gr.Column(elem_id=elem_id, elem_classes="part"):
        form.place(name, elem_classes="part-switch")
        with gr.Column(elem_classes="part-rest"):
            yield


def advanced(page: gr.Blocks, app: App, form: Form) -> None:
    """What is rarely changed."""
    with gr.Accordion("Advanced", open=False, elem_id=form.id("advanced"), elem_classes="quiet"):
        form.place("clip_skip")
        vae: Any = form.place("vae")

    def choices() -> Any:
        return gr.update(choices=[AUTOMATIC_VAE, OWN_VAE, *app.catalog.names(Kind.VAE)])

    gr.on([page.load, vae.focus], choices, None, vae, **SHORT_EVENT)
