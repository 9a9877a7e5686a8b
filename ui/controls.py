"""The controls that the tabs share, each group as one function that stands where it is called."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gradio as gr

from backend.app import App
from backend.model_manager.identity import Kind
from backend.request import AUTOMATIC_VAE, OWN_VAE
from backend.sampling.guidance import GUIDANCE
from ui.form import SHORT_EVENT, Form
from ui.generate import Actions, actions
from ui.pieces import choices_preview, heading, hint, prompt_chips

RATIOS = ("1:1", "3:2", "2:3", "4:3", "3:4", "16:9", "9:16")


def words(page: gr.Blocks, app: App, form: Form) -> Actions:
    """Prompt and negative prompt with what is put on them and the buttons below them."""
    with gr.Column(elem_id=form.id("words"), elem_classes="tab-words"):
        form.place("prompt")
        prompt_chips(form.id("loras"))
        choices_preview(form.prefix)
        form.place("negative_prompt")
        _styles(page, app, form)
        return actions(form)


def _styles(page: gr.Blocks, app: App, form: Form) -> None:
    """The styles, and three buttons that ``recipes.js`` listens to."""
    with gr.Row(elem_id=form.id("tools"), elem_classes="tab-tools"):
        styles: Any = form.place("styles", container=False)
        for words, suffix, sign in (
            ("Read parameters from the prompt, or of the newest picture", "paste", "paste"),
            ("Edit styles", "styles_edit_button", "styles-editor"),
            ("Presets", "presets", "presets"),
        ):
            gr.Button(words, elem_id=form.id(suffix), elem_classes=["icon-button", sign])

    def choices() -> Any:
        return gr.update(choices=[style.name for style in app.styles.all()])

    gr.on([page.load, styles.focus], choices, None, styles, **SHORT_EVENT)


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
        form.place("extra", elem_classes="seed-extra")
    dice.click(None, None, number, js="() => '-1'", api_visibility="private")
    shown = f"(seed) => window.atelier?.shownSeed('{form.prefix}') ?? seed"
    again.click(None, number, number, js=shown, api_visibility="private")
    _variation(form, shown)


def _variation(form: Form, shown: str) -> None:
    """How the seed's noise is varied, and which size it was drawn at; `shown` is the script for the seed that is seen.
    All of it is only seen, and only counts, while *Extra* is on (``recipes.css``)."""
    with gr.Column(elem_id=form.id("subseed_row"), elem_classes="seed-more"):
        with gr.Row(elem_classes="tab-seed"):
            number = form.place("variation.seed")
            dice = gr.Button(
                "Random variation seed", elem_id=form.id("random_subseed"), elem_classes=["icon-button", "dice"]
            )
            again = gr.Button(
                "Reuse variation seed", elem_id=form.id("reuse_subseed"), elem_classes=["icon-button", "recycle"]
            )
        form.place("variation.strength")
        with gr.Row(elem_classes="pair"):
            form.place("seed_resize.width")
            form.place("seed_resize.height")
        hint("Resizing keeps what a picture of that size shows; 0 leaves it.")
    dice.click(None, None, number, js="() => '-1'", api_visibility="private")
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


def refiner(form: Form) -> None:
    """Another checkpoint that ends what the first one began."""
    with switched(form, "refiner", form.id("enable")):
        form.place("refiner.checkpoint")
        form.place("refiner.switch_at")
        form.place("refiner.by_sampling_steps")


def advanced(page: gr.Blocks, app: App, form: Form) -> None:
    """What is rarely changed, in accordions that are closed; the refiner stands on the page by now."""
    with gr.Accordion("Advanced", open=False, elem_id=form.id("advanced"), elem_classes="quiet"):
        form.place("clip_skip")
        vae: Any = form.place("vae")
        form.place("tiling")
        with gr.Row(elem_classes="pair"):
            form.place("emphasis")
            form.place("comma_backtrack")
        form.place("old_prompt_editing")

    checkpoint: Any = form.components["refiner.checkpoint"]

    def choices() -> tuple[Any, Any]:
        vaes = [AUTOMATIC_VAE, OWN_VAE, *app.catalog.names(Kind.VAE)]
        checkpoints = [("Choose one", ""), *((name, name) for name in app.catalog.names())]
        return gr.update(choices=vaes), gr.update(choices=checkpoints)

    gr.on([page.load, vae.focus, checkpoint.focus], choices, None, [vae, checkpoint], **SHORT_EVENT)
    _sampling_options(form)
    _guidance(form)


def _sampling_options(form: Form) -> None:
    """What samplers and schedules are told; what only one of them heeds is seen with it alone."""
    with gr.Accordion("Sampling options", open=False, elem_id=form.id("sampling_options"), elem_classes="quiet"):
        heading("Noise")
        form.place("noise_source", elem_classes="segments")
        for pair in (("eta", "ensd"), ("sigma_churn", "sigma_noise"), ("sigma_tmin", "sigma_tmax")):
            _pair(form, "sampling", pair)
        if "init.noise_multiplier" in form.names:
            _pair(form, "init", ("noise_multiplier", "extra_noise"))
        hint("Each sampler heeds what it knows. A sigma tmax of 0 sets no limit.")
        heading("Schedule")
        _pair(form, "sampling", ("schedule_min_sigma", "schedule_max_sigma"))
        form.place("sampling.schedule_rho")
        hint("0 leaves it to the checkpoint and the schedule.")
        form.place("sampling.discard_penultimate")
        form.place("sampling.sgm_noise_multiplier")
        with gr.Column(visible=False) as beta:
            _pair(form, "sampling", ("beta_alpha", "beta_beta"))
        with gr.Column(visible=False) as unipc:
            heading("UniPC")
            _pair(form, "sampling", ("unipc_variant", "unipc_skip_type"))
            form.place("sampling.unipc_order")
            form.place("sampling.unipc_lower_order_final")
    choice: list[Any] = [form.components["sampler"], form.components["schedule"]]

    def look(sampler: object, schedule: object) -> tuple[Any, Any]:
        return gr.update(visible=schedule == "Beta"), gr.update(visible=sampler == "UniPC")

    # Components report their values when the page is opened, too.
    gr.on([each.change for each in choice], look, choice, [beta, unipc], preprocess=False, **SHORT_EVENT)


def _guidance(form: Form) -> None:
    with gr.Accordion("Guidance", open=False, elem_id=form.id("guidance"), elem_classes="quiet"):
        # The one there always is needs no list; what a request has stays, also where no list is seen.
        form.place("guidance.method", visible=True if len(GUIDANCE) > 1 else "hidden")
        form.place("guidance.rescale")
        hint("Takes back some of the contrast that a high CFG scale adds.")
        form.place("guidance.skip_early")
        hint("The share of the first steps that go without the negative prompt.")
        form.place("guidance.ngms")
        form.place("guidance.ngms_all_steps")
        hint("Below this noise the negative prompt is left out of every other step, or of all.")
        form.place("guidance.pad_conds")


def _pair(form: Form, part: str, names: tuple[str, str]) -> None:
    with gr.Row(elem_classes="pair"):
        for name in names:
            form.place(f"{part}.{name}")
