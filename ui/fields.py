"""The fields of the forms, as tables: what each is called in a request, in the page, and what it looks like."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import gradio as gr
from gradio.components import Component

from backend.init_image import (
    AREAS,
    EXTRA_NOISE_RANGE,
    HIGHEST_CFG,
    HIGHEST_STEPS,
    HIRES_SCALE_RANGE,
    IMAGE_CFG_RANGE,
    LARGEST_HIRES,
    LATENT_UPSCALERS,
    MASK_BLUR_RANGE,
    MASKED_CONTENT,
    NOISE_MULTIPLIER_RANGE,
    OVERLAP_RANGE,
    PADDING_RANGE,
    RESIZE_MODES,
    SOFT_RANGES,
    TILED_SCALE_RANGE,
    HiresFix,
    InitImage,
    Inpainting,
    SoftInpainting,
    TiledUpscale,
)
from backend.request import (
    AUTOMATIC_VAE,
    BATCH_COUNT_RANGE,
    BATCH_SIZE_RANGE,
    CFG_RANGE,
    CLIP_SKIP_RANGE,
    OWN_VAE,
    SEED_RESIZE_RANGE,
    SIZE_RANGE,
    SIZE_STEP,
    STEPS_RANGE,
    GenerationRequest,
    label,
)
from backend.sampling.guidance import GUIDANCE
from backend.sampling.samplers import SAMPLERS
from backend.sampling.schedules import schedule_names
from backend.sampling_options import (
    COMMA_BACKTRACK_RANGE,
    EMPHASIS_MODES,
    ENSD_RANGE,
    GUIDANCE_RANGES,
    NOISE_SOURCES,
    SAMPLING_RANGES,
    UNIPC_ORDER_RANGE,
    UNIPC_SKIP_TYPES,
    UNIPC_VARIANTS,
    Guidance,
    Refiner,
    SamplingOptions,
    Variation,
)
from backend.settings import Settings
from backend.upscaling.request import LABELS as EXTRAS_LABELS
from backend.upscaling.request import LARGEST_SIDE, NOTHING, SCALE_RANGE, UpscaleRequest


@dataclass(frozen=True, kw_only=True)
class Field:
    """A row of a table. `name` is its place in the request, ``init.inpainting.mask_blur``; that of a part as a whole,
    ``hires``, is a switch. `suffix` follows the tab's name in the element's id and is AUTOMATIC1111's where it has one;
    `default` reads the value of a newly opened page off the settings. `choices` are asked for when a page is made,
    where extensions add to them. `said` are its words on the page, the request's own unless given."""

    name: str
    suffix: str
    make: Callable[..., Component]
    default: Callable[[Settings], Any]
    options: Mapping[str, Any] = field(default_factory=dict)
    choices: Callable[[], Sequence[Any]] | None = None
    said: str = ""

    @property
    def label(self) -> str:
        """Its words on the page and in every message."""
        return self.said or label(self.name)


# Every part of a request as it is when nothing is said. The picture's name stands for any.
_PLAIN: Mapping[str, object] = MappingProxyType(
    {
        "": GenerationRequest(),
        "sampling": SamplingOptions(),
        "guidance": Guidance(),
        "variation": Variation(),
        "refiner": Refiner(checkpoint="any"),
        "hires": HiresFix(),
        "init": InitImage(picture="0" * 64),
        "init.upscale": TiledUpscale(),
        "init.inpainting": Inpainting(),
        "init.inpainting.soft": SoftInpainting(),
        "extras": UpscaleRequest(inputs=("0" * 64,)),
    }
)


def _row(
    name: str,
    suffix: str,
    make: Callable[..., Component],
    options: Mapping[str, Any],
    *,
    part: str | None = None,
    choices: Callable[[], Sequence[Any]] | None = None,
) -> Field:
    """A field that begins with the request's own default."""
    place, _, last = name.rpartition(".")
    first = getattr(_PLAIN[place if part is None else part], last)
    said = EXTRAS_LABELS[name] if part == "extras" else ""
    return Field(
        name=name, suffix=suffix, make=make, default=lambda _: first, options=options, choices=choices, said=said
    )


def _slider(allowed: tuple[float, float], step: float = 1) -> dict[str, Any]:
    return {"minimum": allowed[0], "maximum": allowed[1], "step": step, "buttons": []}


def _own(names: Iterable[str], words: str) -> list[tuple[str, str]]:
    """Choices among which the empty one is as in the first pass."""
    return [(words, ""), *((name, name) for name in names)]


_SIZE = _slider(SIZE_RANGE, SIZE_STEP)

FIELDS = (
    _row("prompt", "prompt", gr.Textbox, {"lines": 3, "max_lines": 12, "placeholder": "What should the picture show?"}),
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
        choices=lambda: list(SAMPLERS),
    ),
    Field(
        name="schedule",
        suffix="scheduler",
        make=gr.Dropdown,
        default=lambda settings: settings.default_schedule,
        choices=schedule_names,
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
    Field(name="width", suffix="width", make=gr.Slider, default=lambda settings: settings.default_width, options=_SIZE),
    Field(
        name="height", suffix="height", make=gr.Slider, default=lambda settings: settings.default_height, options=_SIZE
    ),
    Field(
        # Text, because a number in JavaScript is exact only up to 2**53 and a seed goes to 2**64.
        name="seed",
        suffix="seed",
        make=gr.Textbox,
        default=lambda _: str(GenerationRequest().seed),
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
    _row("vae", "vae", gr.Dropdown, {"choices": [AUTOMATIC_VAE, OWN_VAE]}),
    _row("clip_skip", "clip_skip", gr.Slider, _slider(CLIP_SKIP_RANGE)),
)


def _number(allowed: tuple[float, float], step: float) -> dict[str, Any]:
    return {"minimum": allowed[0], "maximum": allowed[1], "step": step}


def _sampling(name: str, suffix: str, step: float) -> Field:
    """A slider, or, where what is allowed is wide, a number."""
    allowed = SAMPLING_RANGES[name]
    if allowed[1] > 100:
        return _row(f"sampling.{name}", suffix, gr.Number, _number(allowed, step))
    return _row(f"sampling.{name}", suffix, gr.Slider, _slider(allowed, step))


_SEED_SIDE = _slider((0, SEED_RESIZE_RANGE[1]), SIZE_STEP)
# Of the last suffixes those that A1111 has as settings are called as these.
OPTIONS = (
    Field(
        name="styles",
        suffix="styles",
        make=gr.Dropdown,
        default=lambda _: [],
        options={"choices": [], "multiselect": True},
        said="Styles",
    ),
    Field(name="extra", suffix="subseed_show", make=gr.Checkbox, default=lambda _: False, said="Extra"),
    Field(
        name="variation.seed",
        suffix="subseed",
        make=gr.Textbox,
        default=lambda _: str(Variation().seed),
        options={"lines": 1, "max_lines": 1, "placeholder": "-1 chooses one"},
    ),
    _row("variation.strength", "subseed_strength", gr.Slider, _slider((0, 1), 0.01)),
    Field(
        name="seed_resize.width",
        suffix="seed_resize_from_w",
        make=gr.Slider,
        default=lambda _: 0,
        options=_SEED_SIDE,
        said="Resize seed from width",
    ),
    Field(
        name="seed_resize.height",
        suffix="seed_resize_from_h",
        make=gr.Slider,
        default=lambda _: 0,
        options=_SEED_SIDE,
        said="Resize seed from height",
    ),
    Field(name="refiner", suffix="enable-checkbox", make=gr.Checkbox, default=lambda _: False),
    Field(
        name="refiner.checkpoint",
        suffix="checkpoint",
        make=gr.Dropdown,
        default=lambda _: "",
        options={"choices": _own((), "Choose one")},
        said="Refiner checkpoint",
    ),
    _row("refiner.switch_at", "switch_at", gr.Slider, _slider((0, 1), 0.01)),
    _row("refiner.by_sampling_steps", "refiner_switch_by_sample_steps", gr.Checkbox, {}),
    _row("tiling", "tiling", gr.Checkbox, {}),
    _row("emphasis", "emphasis", gr.Dropdown, {"choices": list(EMPHASIS_MODES)}),
    _row("comma_backtrack", "comma_padding_backtrack", gr.Slider, _slider(COMMA_BACKTRACK_RANGE)),
    _row("old_prompt_editing", "use_old_scheduling", gr.Checkbox, {}),
    _row("noise_source", "randn_source", gr.Radio, {"choices": list(NOISE_SOURCES)}),
    _row("sampling.ensd", "eta_noise_seed_delta", gr.Number, _number(ENSD_RANGE, 1)),
    _row("sampling.eta", "eta", gr.Number, {**_number((0, 1), 0.01), "placeholder": "The sampler's own"}),
    _sampling("sigma_churn", "s_churn", 0.1),
    _sampling("sigma_noise", "s_noise", 0.001),
    _sampling("sigma_tmin", "s_tmin", 0.01),
    _sampling("sigma_tmax", "s_tmax", 0.1),
    _sampling("schedule_min_sigma", "sigma_min", 0.001),
    _sampling("schedule_max_sigma", "sigma_max", 0.001),
    _sampling("schedule_rho", "rho", 0.1),
    _row("sampling.discard_penultimate", "always_discard_next_to_last_sigma", gr.Checkbox, {}),
    _row("sampling.sgm_noise_multiplier", "sgm_noise_multiplier", gr.Checkbox, {}),
    _sampling("beta_alpha", "beta_dist_alpha", 0.01),
    _sampling("beta_beta", "beta_dist_beta", 0.01),
    _row("sampling.unipc_variant", "uni_pc_variant", gr.Dropdown, {"choices": list(UNIPC_VARIANTS)}),
    _row("sampling.unipc_skip_type", "uni_pc_skip_type", gr.Dropdown, {"choices": list(UNIPC_SKIP_TYPES)}),
    _row("sampling.unipc_order", "uni_pc_order", gr.Slider, _slider(UNIPC_ORDER_RANGE)),
    _row("sampling.unipc_lower_order_final", "uni_pc_lower_order_final", gr.Checkbox, {}),
    _row("guidance.ngms", "s_min_uncond", gr.Slider, _slider(GUIDANCE_RANGES["ngms"], 0.01)),
    _row("guidance.ngms_all_steps", "s_min_uncond_all", gr.Checkbox, {}),
    _row("guidance.skip_early", "skip_early_cond", gr.Slider, _slider(GUIDANCE_RANGES["skip_early"], 0.01)),
    _row("guidance.rescale", "cfg_rescale", gr.Slider, _slider(GUIDANCE_RANGES["rescale"], 0.01)),
    _row("guidance.pad_conds", "pad_cond_uncond", gr.Checkbox, {}),
    _row("guidance.method", "guidance_method", gr.Dropdown, {}, choices=lambda: list(GUIDANCE)),
)

# The fields that stand in accordions which are closed at first, by the ends of their ids.
FOLDED: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "advanced": ("clip_skip", "vae", "tiling", "emphasis", "comma_backtrack", "old_prompt_editing"),
        "sampling_options": (
            *("noise_source", "init.noise_multiplier", "init.extra_noise"),
            *(field.name for field in OPTIONS if field.name.startswith("sampling.")),
        ),
        "guidance": tuple(field.name for field in OPTIONS if field.name.startswith("guidance.")),
    }
)

_WORDS = {"lines": 2, "max_lines": 8, "placeholder": "As in the first pass"}
HIRES = (
    Field(name="hires", suffix="hr-checkbox", make=gr.Checkbox, default=lambda _: False),
    _row("hires.upscaler", "hr_upscaler", gr.Dropdown, {"choices": list(LATENT_UPSCALERS)}),
    _row("hires.scale", "hr_scale", gr.Slider, _slider(HIRES_SCALE_RANGE, 0.05)),
    _row("hires.width", "hr_resize_x", gr.Slider, _slider((0, LARGEST_HIRES), SIZE_STEP)),
    _row("hires.height", "hr_resize_y", gr.Slider, _slider((0, LARGEST_HIRES), SIZE_STEP)),
    _row("hires.steps", "hires_steps", gr.Slider, _slider((0, HIGHEST_STEPS))),
    _row("hires.denoising_strength", "denoising_strength", gr.Slider, _slider((0, 1), 0.01)),
    _row("hires.sampler", "hr_sampler", gr.Dropdown, {}, choices=lambda: _own(SAMPLERS, "Use same sampler")),
    _row(
        "hires.schedule", "hr_scheduler", gr.Dropdown, {}, choices=lambda: _own(schedule_names(), "Use same scheduler")
    ),
    _row("hires.checkpoint", "hr_checkpoint", gr.Dropdown, {"choices": _own((), "Use same checkpoint")}),
    _row("hires.cfg_scale", "hr_cfg", gr.Slider, _slider((0, HIGHEST_CFG), 0.5)),
    _row("hires.extra_noise", "hr_extra_noise", gr.Slider, _slider(EXTRA_NOISE_RANGE, 0.01)),
    _row("hires.prompt", "hr_prompt", gr.Textbox, _WORDS),
    _row("hires.negative_prompt", "hr_neg_prompt", gr.Textbox, _WORDS),
)

# How large what is generated becomes. Not in the request, where there is a width and a height.
AS_PICTURE, TO_SIZE, BY_FACTOR = "As the picture", "To a size", "By a factor"
FACTOR_RANGE = (0.05, 4.0)
INIT = (
    _row("init.denoising_strength", "denoising_strength", gr.Slider, _slider((0, 1), 0.01)),
    _row("init.resize_mode", "resize_mode", gr.Dropdown, {"choices": list(RESIZE_MODES)}),
    _row("init.image_cfg_scale", "image_cfg_scale", gr.Slider, _slider(IMAGE_CFG_RANGE, 0.05)),
    _row("init.noise_multiplier", "initial_noise_multiplier", gr.Slider, _slider(NOISE_MULTIPLIER_RANGE, 0.01)),
    _row("init.extra_noise", "img2img_extra_noise", gr.Slider, _slider(EXTRA_NOISE_RANGE, 0.01)),
    Field(
        name="sizing",
        suffix="sizing",
        make=gr.Radio,
        default=lambda _: AS_PICTURE,
        options={"choices": [AS_PICTURE, TO_SIZE, BY_FACTOR]},
        said="Size of what is generated",
    ),
    Field(
        name="factor",
        suffix="scale",
        make=gr.Slider,
        default=lambda _: 1.0,
        options=_slider(FACTOR_RANGE, 0.05),
        said="Resize by",
    ),
)

TILED = (
    Field(name="init.upscale", suffix="tiled", make=gr.Checkbox, default=lambda _: False),
    _row("init.upscale.upscaler", "tiled_upscaler", gr.Dropdown, {"choices": ["Lanczos"]}),
    _row("init.upscale.scale", "tiled_scale", gr.Slider, _slider(TILED_SCALE_RANGE, 0.05)),
    _row("init.upscale.overlap", "tiled_overlap", gr.Slider, _slider(OVERLAP_RANGE, 8)),
)

INPAINTING = (
    _row("init.inpainting.mask_blur", "mask_blur", gr.Slider, _slider(MASK_BLUR_RANGE)),
    _row("init.inpainting.inverted", "mask_mode", gr.Checkbox, {}),
    _row("init.inpainting.masked_content", "inpainting_fill", gr.Dropdown, {"choices": list(MASKED_CONTENT)}),
    _row("init.inpainting.area", "inpaint_full_res", gr.Radio, {"choices": list(AREAS)}),
    _row("init.inpainting.padding", "inpaint_full_res_padding", gr.Slider, _slider(PADDING_RANGE, 4)),
    _row("init.inpainting.mask_weight", "mask_weight", gr.Slider, _slider((0, 1), 0.05)),
    _row("init.inpainting.colour_match", "colour_match", gr.Checkbox, {}),
    _row("init.inpainting.exact_outside", "exact_outside", gr.Checkbox, {}),
    _row("init.inpainting.seam_pass", "seam_pass", gr.Checkbox, {}),
    Field(name="init.inpainting.soft", suffix="soft", make=gr.Checkbox, default=lambda _: False),
    *(
        _row(f"init.inpainting.soft.{name}", f"soft_{name}", gr.Slider, _slider(allowed, step))
        for (name, allowed), step in zip(SOFT_RANGES.items(), (0.1, 0.05, 0.5, 0.05, 0.25, 0.25), strict=True)
    ),
)

# What Extras asks for, and how far: by a factor or to a size, of which only one goes into the request.
SCALE_BY, SCALE_TO = "Scale by", "Scale to"
_SIDE = _slider((0, LARGEST_SIDE), SIZE_STEP)
EXTRAS = (
    _row("upscaler", "upscaler_1", gr.Dropdown, {"choices": ["Lanczos"]}, part="extras"),
    _row("upscaler_2", "upscaler_2", gr.Dropdown, {"choices": [NOTHING]}, part="extras"),
    _row("visibility_2", "upscaler_2_visibility", gr.Slider, _slider((0, 1), 0.01), part="extras"),
    Field(
        name="sizing",
        suffix="resize_mode",
        make=gr.Radio,
        default=lambda _: SCALE_BY,
        options={"choices": [SCALE_BY, SCALE_TO]},
        said="How large",
    ),
    _row("scale", "upscaling_resize", gr.Slider, _slider(SCALE_RANGE, 0.05), part="extras"),
    _row("max_side", "max_side_length", gr.Slider, _SIDE, part="extras"),
    _row("width", "upscaling_resize_w", gr.Slider, _SIDE, part="extras"),
    _row("height", "upscaling_resize_h", gr.Slider, _SIDE, part="extras"),
    _row("crop", "upscaling_crop", gr.Checkbox, {}, part="extras"),
    _row("keep_metadata", "keep_metadata", gr.Checkbox, {}, part="extras"),
)
