"""The form: one table, bound to components and to the request."""

from dataclasses import fields
from typing import Any

import gradio as gr
import pytest
from gradio.blocks import Block

from backend.errors import InvalidRequest
from backend.request import LARGEST_SEED, GenerationRequest, label
from backend.settings import Settings
from ui.fields import FIELDS
from ui.form import Form

SUITED = {"width": 192, "height": 128}


def placed(settings: Settings | None = None) -> Form:
    form = Form("txt2img", settings or Settings(), SUITED)
    with gr.Blocks(analytics_enabled=False):
        form.adopt("checkpoint", gr.Dropdown(["starter"], label="Checkpoint"))
        for field in FIELDS:
            form.place(field.name)
    return form


def values(form: Form, updates: dict[Block, Any]) -> dict[str, Any]:
    """What the browser would send after these updates."""
    names = {component: name for name, component in form.components.items()}
    return {names[component]: value for component, value in updates.items()}


def test_every_value_of_a_request_has_its_field() -> None:
    assert set(placed().components) == {field.name for field in fields(GenerationRequest)}


def test_the_ids_are_those_that_scripts_know() -> None:
    known = (
        "prompt neg_prompt sampling scheduler steps cfg_scale width height seed batch_count batch_size vae clip_skip"
    )
    assert {field.suffix for field in FIELDS} == set(known.split(" "))
    assert {name: component(placed(), name).elem_id for name in ("prompt", "seed")} == {
        "prompt": "txt2img_prompt",
        "seed": "txt2img_seed",
    }


def test_the_words_are_those_of_the_messages() -> None:
    for name, component in placed().components.items():
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
