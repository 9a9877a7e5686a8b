"""The form: one table, bound to components and to the request."""

from dataclasses import asdict, fields
from typing import Any

import gradio as gr
import pytest
from gradio.blocks import Block

from backend.errors import InvalidRequest
from backend.extension_api import Tab
from backend.init_image import Box, HiresFix, InitImage, Inpainting, SoftInpainting, TiledUpscale
from backend.request import LARGEST_SEED, GenerationRequest, label
from backend.sampling_options import Guidance, Refiner, SamplingOptions, Variation
from backend.settings import Settings
from ui.app import TABLES
from ui.fields import AS_PICTURE, BY_FACTOR, FIELDS, FOLDED, HIRES, INIT, INPAINTING, OPTIONS, TO_SIZE
from ui.form import SWITCHES, Form
from ui.painted import Painting, chosen_pictures, of_ratio, with_painting, within_range
from ui.presets import GROUPS, group_of
from ui.script_fields import script_fields

SUITED = {"width": 192, "height": 128}
PICTURE, MASK, SKETCH = "a" * 64, "b" * 64, "c" * 64
# On the page alone: the request has a width and a height, the final words, and a part or none.
OUTSIDE = ("script", "sizing", "factor", "styles", "extra", "seed_resize.width", "seed_resize.height")
OF_EXTENSIONS = {"extensions"}  # a group of fields that is there when they are
OTHERWISE_SAID = ("refiner.checkpoint",)
PARTS: dict[str, type] = {
    "init": InitImage,
    "init.upscale": TiledUpscale,
    "init.inpainting": Inpainting,
    "init.inpainting.soft": SoftInpainting,
    "hires": HiresFix,
    "sampling": SamplingOptions,
    "guidance": Guidance,
    "variation": Variation,
    "refiner": Refiner,
}
WITHOUT_A_FIELD = {  # the canvas gives these, or the selector above the tabs
    "checkpoint",
    "init.picture",
    "init.sketch",
    "init.box",
    "init.inpainting.mask",
    "init.depth",
    "seed_resize",  # two fields are its sides
    "template",  # comes of the words
    "extras",  # extensions bring theirs
}


def placed(settings: Settings | None = None, tab: Tab = "txt2img") -> Form:
    table = (*TABLES[tab], *script_fields([]))
    form = Form(tab, settings or Settings(), SUITED, table)
    with gr.Blocks(analytics_enabled=False):
        form.adopt("checkpoint", gr.Dropdown(["starter"], label="Checkpoint"))
        for field in table:
            form.place(field.name)
    return form


def places(kind: type, place: str = "") -> set[str]:
    """Every place in a request, and the parts that can be left out."""
    found = set()
    for field in fields(kind):
        part = PARTS.get(place + field.name)
        found |= places(part, f"{place}{field.name}.") if part else {place + field.name}
    return found


def values(form: Form, updates: dict[Block, Any]) -> dict[str, Any]:
    """What the browser would send after these updates."""
    names = {component: name for name, component in form.components.items()}
    return {names[component]: value for component, value in updates.items()}


def test_every_value_of_a_request_has_its_field() -> None:
    ours = {name for tab in TABLES for name in placed(tab=tab).components}
    assert ours - {*OUTSIDE, *SWITCHES} == (places(GenerationRequest) - WITHOUT_A_FIELD) | {"checkpoint"}


def test_the_ids_are_those_that_scripts_know() -> None:
    known = (
        "prompt neg_prompt sampling scheduler steps cfg_scale width height seed batch_count batch_size vae clip_skip"
    )
    assert {field.suffix for field in FIELDS} == set(known.split(" "))
    # A1111's, of the parts
    second_pass = "upscaler scale resize_x resize_y sampler scheduler checkpoint cfg prompt neg_prompt"
    known_ones = {
        "hr-checkbox",
        "hires_steps",
        "denoising_strength",
        "hr_extra_noise",
        *(f"hr_{name}" for name in second_pass.split(" ")),
    }
    assert {field.suffix for field in HIRES} == known_ones
    seeds = "subseed_show subseed subseed_strength seed_resize_from_w seed_resize_from_h"
    options = {field.suffix for field in OPTIONS}
    assert options > {*seeds.split(" "), "styles", "enable-checkbox", "checkpoint", "switch_at", "tiling"}
    painting = {field.suffix for field in (*INIT, *INPAINTING)}
    assert painting > {"denoising_strength", "resize_mode", "scale", "image_cfg_scale", "mask_blur", "inpainting_fill"}
    assert painting > {"inpaint_full_res", "inpaint_full_res_padding", "mask_mode"}
    assert {name: component(placed(), name).elem_id for name in ("prompt", "seed")} == {
        "prompt": "txt2img_prompt",
        "seed": "txt2img_seed",
    }


def test_the_words_are_those_of_the_messages() -> None:
    for tab in TABLES:
        for name, component in placed(tab=tab).components.items():
            if name not in (*OUTSIDE, *OTHERWISE_SAID):
                assert component.label == label(name)  # pyright: ignore[reportAttributeAccessIssue]


def test_what_the_form_is_filled_with_is_what_it_asks_for() -> None:
    form = placed()
    request = GenerationRequest(
        prompt="a boat\n(at dusk:1.2)",
        negative_prompt="fog",
        checkpoint="",
        sampler="Euler a",
        schedule="Karras",
        steps=33,
        cfg_scale=4.5,
        vae="sharp",
        clip_skip=2,
        width=640,
        height=384,
        seed=LARGEST_SEED,
        batch_size=3,
        batch_count=4,
    )
    assert Form.request(values(form, form.updates(request))) == request


def test_the_defaults_are_the_settings() -> None:
    form = placed(Settings(default_steps=31, default_sampler="Heun", default_negative_prompt="fog"))
    sent = {field.name: component(form, field.name).value for field in FIELDS}
    request = Form.request(sent)
    assert (request.steps, request.sampler, request.negative_prompt) == (31, "Heun", "fog")
    assert (request.width, request.height) == (192, 128)  # what suits the checkpoint goes before
    form.set_defaults(Settings(default_steps=7), {"width": 768, "height": 640})
    assert component(form, "steps").value == 7
    assert (component(form, "width").value, component(form, "height").value) == (768, 640)


def component(form: Form, name: str) -> Any:
    return form.components[name]


@pytest.mark.parametrize("text", ["-1", "0", " 12 ", str(2**53 + 1), str(LARGEST_SEED)])
def test_a_seed_is_exact(text: str) -> None:
    assert Form.request({"seed": text}).seed == int(text)


def test_an_empty_seed_means_choose_one() -> None:
    assert Form.request({"seed": ""}).seed == Form.request({"seed": None}).seed == -1


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("steps", 151, "Sampling steps must be from 1 to 150, not 151."),
        ("steps", None, "Sampling steps is empty; it needs a value."),
        ("steps", 2.5, "Sampling steps must be a whole number from 1 to 150, not 2.5."),
        ("steps", "many", "Sampling steps must be a whole number from 1 to 150, not 'many'."),
        ("cfg_scale", float("nan"), "CFG scale must be from 1 to 30, not nan."),
        ("width", 130, "Width 130 is not a multiple of 8; 128 or 136 would do."),
        ("height", 4096, "Height must be from 64 to 2048, not 4096."),
        ("seed", "abc", f"Seed must be a whole number from -1 to {LARGEST_SEED}, not 'abc'."),
        ("seed", "1e3", f"Seed must be a whole number from -1 to {LARGEST_SEED}, not '1e3'."),
        ("seed", str(LARGEST_SEED + 1), f"Seed must be from -1 to {LARGEST_SEED}, not {LARGEST_SEED + 1}."),
        ("seed", "9" * 5000, "Seed must be a whole number"),
        ("prompt", ["a"], "Prompt must be text, not ['a']."),
        ("sampler", None, "Sampling method is empty; it needs a value."),
        ("batch_count", True, "Batch count must be a whole number from 1 to 100, not True."),
        ("magic", 1, "There is no parameter called 'magic'."),
    ],
)
def test_a_bad_value_is_a_sentence(name: str, value: Any, words: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        Form.request({name: value})
    assert str(caught.value).startswith(words)


def test_a_browser_may_send_whole_numbers_as_floats() -> None:
    request = Form.request({"steps": 20.0, "width": 512.0, "batch_size": 1.0})
    assert (request.steps, request.width, request.batch_size) == (20, 512, 1)


def test_a_part_that_is_off_is_not_asked_for_and_its_values_do_not_matter() -> None:
    off = Form.request({"hires": False, "hires.scale": 99, "hires.upscaler": None})
    assert off.hires is None
    on = Form.request({"hires": True, "hires.scale": 1.5, "hires.sampler": None})
    assert on.hires == HiresFix(scale=1.5)
    with pytest.raises(InvalidRequest, match="Upscale by must be from 1 to 4, not 99"):
        Form.request({"hires": True, "hires.scale": 99})
    with pytest.raises(InvalidRequest, match="Upscaler is empty; it needs a value"):
        Form.request({"hires": True, "hires.upscaler": None})


def test_extra_values_of_the_seed_count_while_they_are_shown() -> None:
    varied = {"variation.seed": "12", "variation.strength": 0.5, "seed_resize.width": 320, "seed_resize.height": 256}
    on = Form.request({**varied, "extra": True})
    assert (on.variation, on.seed_resize) == (Variation(seed=12, strength=0.5), (320, 256))
    off = Form.request({**varied, "extra": False})
    assert (off.variation, off.seed_resize) == (None, None)
    # what varies nothing is not asked for, so that the same is asked for in the same words
    plain = Form.request({"extra": True, "variation.seed": "12", "variation.strength": 0, "seed_resize.width": 0})
    assert plain == GenerationRequest()
    with pytest.raises(InvalidRequest, match="Resize seed from needs a width and a height"):
        Form.request({"extra": True, "seed_resize.width": 320, "seed_resize.height": 0})
    with pytest.raises(InvalidRequest, match="Variation seed must be a whole number"):
        Form.request({"extra": True, "variation.seed": "x", "variation.strength": 0.5})


def test_a_refiner_needs_a_checkpoint_and_eta_may_be_the_sampler_s_own() -> None:
    with pytest.raises(InvalidRequest, match="Refiner is missing"):
        Form.request({"refiner": True, "refiner.checkpoint": None})
    assert Form.request({"refiner": False, "refiner.checkpoint": None}).refiner is None
    assert Form.request({"sampling.eta": None}).sampling.eta is None
    assert Form.request({"sampling.eta": 0}).sampling.eta == 0.0


def test_every_option_in_a_closed_accordion_is_counted_there() -> None:
    folded = [name for names in FOLDED.values() for name in names]
    assert len(folded) == len(set(folded))
    options = {field.name for field in OPTIONS}
    elsewhere = {name for name in options if name.partition(".")[0] in ("variation", "seed_resize", "refiner")}
    assert set(folded) == options - elsewhere - {"styles", "extra"} | {
        *("clip_skip", "vae", "init.noise_multiplier", "init.extra_noise")
    }


def test_every_field_of_a_form_can_be_in_a_preset() -> None:
    assert {group_of(name) for tab in TABLES for name in placed(tab=tab).components} == set(GROUPS) - OF_EXTENSIONS


PAINTED = {
    "txt2img": GenerationRequest(
        seed=3,
        variation=Variation(seed=LARGEST_SEED, strength=0.25),
        refiner=Refiner(checkpoint="fine", switch_at=0.6, by_sampling_steps=True),
        sampling=SamplingOptions(eta=0.3, schedule_rho=5, ensd=31337, unipc_order=2),
        guidance=Guidance(rescale=0.7, ngms_all_steps=True),
        tiling=True,
        noise_source="CPU",
        emphasis="No norm",
        comma_backtrack=0,
        hires=HiresFix(
            upscaler="Lanczos", scale=1.25, steps=7, sampler="Heun", prompt="finer", cfg_scale=3.5, width=640
        ),
    ),
    "img2img": GenerationRequest(
        seed=4,
        width=320,
        seed_resize=(256, 512),
        init=InitImage(
            picture=PICTURE,
            sketch=SKETCH,
            denoising_strength=0.4,
            resize_mode="Resize and fill",
            upscale=TiledUpscale(scale=3, overlap=32),
        ),
    ),
    "inpaint": GenerationRequest(
        seed=5,
        init=InitImage(
            picture=PICTURE,
            box=Box(left=-64, top=0, width=320, height=256),
            inpainting=Inpainting(
                mask=MASK,
                mask_blur=9,
                inverted=True,
                masked_content="fill",
                area="Only masked",
                padding=16,
                colour_match=False,
                soft=SoftInpainting(schedule_bias=2.5),
            ),
        ),
    ),
}


@pytest.mark.parametrize("tab", PAINTED)
def test_a_request_with_parts_comes_back_from_the_form_of_its_tab(tab: Tab) -> None:
    form, request = placed(tab=tab), PAINTED[tab]
    sent = {name: c.value for name, c in form.components.items()}  # pyright: ignore[reportAttributeAccessIssue]
    sent |= values(form, form.updates(request)) | {"checkpoint": ""}
    if request.init:
        box = asdict(request.init.box) if request.init.box else None
        painting = Painting(picture=PICTURE, mask=MASK, sketch=request.init.sketch, box=box, size=(256, 256))
        sent = with_painting({**sent, "sizing": TO_SIZE}, painting, (512, 512))
    assert Form.request(sent) == request


def test_what_a_request_leaves_out_is_switched_off_and_keeps_its_values() -> None:
    form = placed(tab="inpaint")
    told = values(form, form.updates(GenerationRequest(seed=1)))
    assert told["init.inpainting.soft"] is False
    assert not [name for name in told if name.startswith("init.") and name not in SWITCHES]


@pytest.mark.parametrize(
    ("sizing", "box", "size"),
    [
        (AS_PICTURE, None, (768, 336)),  # 1,000 x 440, brought to about 512 x 512 pixels
        (AS_PICTURE, {"left": 0, "top": 0, "width": 300, "height": 300}, (512, 512)),
        (BY_FACTOR, None, (496, 216)),
        (BY_FACTOR, {"left": 0, "top": 0, "width": 800, "height": 304}, (400, 152)),
        (TO_SIZE, None, (640, 384)),
    ],
)
def test_the_size_follows_from_the_canvas(sizing: str, box: dict[str, int] | None, size: tuple[int, int]) -> None:
    sent = {"sizing": sizing, "factor": 0.5, "width": 640, "height": 384}
    read = with_painting(sent, Painting(picture=PICTURE, size=(1000, 440), box=box), (512, 512))
    assert (read["width"], read["height"]) == size


@pytest.mark.parametrize("area", [(1, 1), (1, 5000), (12_000, 12_000), (513, 511), (64, 2048), (3000, 7)])
def test_every_canvas_gives_a_size_that_can_be_generated(area: tuple[int, int]) -> None:
    for width, height in (of_ratio(area, (512, 512)), of_ratio(area, (1024, 1024)), within_range(*area)):
        GenerationRequest(width=width, height=height)


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        ({"sizing": BY_FACTOR, "factor": 9}, "Resize by must be from 0.05 to 4, not 9."),
        ({"sizing": BY_FACTOR, "factor": None}, "Resize by must be from 0.05 to 4, not None."),
        ({"sizing": BY_FACTOR, "factor": 4}, "Resized by 4 it would have 4000 x 1760 pixels"),
        ({"sizing": "Somehow"}, "There is no way to choose the size called 'Somehow'"),
        ({}, "There is no way to choose the size called 'None'"),
    ],
)
def test_a_bad_size_is_a_sentence(sent: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        with_painting(sent, Painting(picture=PICTURE, size=(1000, 440)), (512, 512))
    assert str(caught.value).startswith(words)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "The canvas is not ready yet"),
        ("", "The canvas is not ready yet"),
        ("[]", "The canvas is not ready yet"),
        ('{"picture": ""}', "There is no picture on the canvas"),
        ('{"problem": "The disk is full."}', "The disk is full."),
        ('{"picture": "x"}', "It is not known how large the picture is"),
        ('{"picture": "x", "pictureSize": ["a", 1]}', "It is not known how large the picture is"),
    ],
)
def test_a_canvas_that_gives_nothing_is_a_sentence(text: Any, words: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        Painting.read(text)
    assert str(caught.value).startswith(words)


@pytest.mark.parametrize(
    "text", [None, "[]", "{}", "nothing", "[5]", '[{"name": "x"}]', str([{}] * 1001).replace("'", '"')]
)
def test_a_folder_that_gives_nothing_is_a_sentence(text: Any) -> None:
    with pytest.raises(InvalidRequest):
        chosen_pictures(text)
