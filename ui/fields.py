"""The fields of the form, as a table: what each is called in a request, in the page, and what it looks like."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import gradio as gr
from gradio.components import Component

from backend.request import (
    AUTOMATIC_VAE,
    BATCH_COUNT_RANGE,
    BATCH_SIZE_RANGE,
    CFG_RANGE,
    CLIP_SKIP_RANGE,
    OWN_VAE,
    SIZE_RANGE,
    SIZE_STEP,
    STEPS_RANGE,
    GenerationRequest,
)
from backend.sampling.samplers import SAMPLER_NAMES
from backend.sampling.schedules import SCHEDULE_NAMES
from backend.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Field:
    """A row of the table. `name` is the one in `GenerationRequest`; `suffix` follows the tab's name in the element's id
    and is AUTOMATIC1111's; `default` reads the value of a newly opened page off the settings."""

    name: str
    suffix: str
    make: Callable[..., Component]
    default: Callable[[Settings], Any]
    options: Mapping[str, Any] = field(default_factory=dict)


def _slider(allowed: tuple[float, float], step: float = 1) -> dict[str, Any]:
    return {"minimum": allowed[0], "maximum": allowed[1], "step": step, "buttons": []}


_PLAIN = GenerationRequest()

FIELDS = (
    Field(
        name="prompt",
        suffix="prompt",
        make=gr.Textbox,
        default=lambda _: _PLAIN.prompt,
        options={"lines": 3, "max_lines": 12, "placeholder": "What should the picture show?"},
    ),
    Field(
        name="negative_prompt",
        suffix="neg_prompt",
        make=gr.Textbox,
        default=lambda settings: settings.default_negative_prompt,
        options={"lines": 2, "max_lines": 8, "placeholder": "What should it not show?"},
    ),
    Field(
        name="sampler",
        suffix="sampling",
        make=gr.Dropdown,
        default=lambda settings: settings.default_sampler,
        options={"choices": list(SAMPLER_NAMES)},
    ),
    Field(
        name="schedule",
        suffix="scheduler",
        make=gr.Dropdown,
        default=lambda settings: settings.default_schedule,
        options={"choices": list(SCHEDULE_NAMES)},
    ),
    Field(
        name="steps",
        suffix="steps",
        make=gr.Slider,
        default=lambda settings: settings.default_steps,
        options=_slider(STEPS_RANGE),
    ),
    Field(
        name="cfg_scale",
        suffix="cfg_scale",
        make=gr.Slider,
        default=lambda settings: settings.default_cfg_scale,
        options=_slider(CFG_RANGE, 0.5),
    ),
    Field(
        name="width",
        suffix="width",
        make=gr.Slider,
        default=lambda settings: settings.default_width,
        options=_slider(SIZE_RANGE, SIZE_STEP),
    ),
    Field(
        name="height",
        suffix="height",
        make=gr.Slider,
        default=lambda settings: settings.default_height,
        options=_slider(SIZE_RANGE, SIZE_STEP),
    ),
    Field(
        # Text, because a number in JavaScript is exact only up to 2**53 and a seed goes to 2**64.
        name="seed",
        suffix="seed",
        make=gr.Textbox,
        default=lambda _: str(_PLAIN.seed),
        options={"lines": 1, "max_lines": 1, "placeholder": "-1 chooses one"},
    ),
    Field(
        name="batch_count",
        suffix="batch_count",
        make=gr.Slider,
        default=lambda settings: settings.default_batch_count,
        options=_slider(BATCH_COUNT_RANGE),
    ),
    Field(
        name="batch_size",
        suffix="batch_size",
        make=gr.Slider,
        default=lambda settings: settings.default_batch_size,
        options=_slider(BATCH_SIZE_RANGE),
    ),
    Field(
        name="vae",
        suffix="vae",
        make=gr.Dropdown,
        default=lambda _: _PLAIN.vae,
        options={"choices": [AUTOMATIC_VAE, OWN_VAE]},
    ),
    Field(
        name="clip_skip",
        suffix="clip_skip",
        make=gr.Slider,
        default=lambda _: _PLAIN.clip_skip,
        options=_slider(CLIP_SKIP_RANGE),
    ),
)
