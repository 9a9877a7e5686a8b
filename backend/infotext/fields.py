"""Which key of an infotext is which value of a request, and whether that can be."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from backend.init_image import Box, HiresFix, InitImage, Inpainting, SoftInpainting, TiledUpscale
from backend.request import GenerationRequest
from backend.sampling.guidance import find_guidance
from backend.sampling_options import Guidance, Refiner, SamplingOptions, Variation

_SIZE = re.compile(r"\s*(\d{1,6})\s*[xX×]\s*(\d{1,6})\s*")
_BOX = re.compile(r"(-?\d{1,6}) (-?\d{1,6}) (\d{1,6})x(\d{1,6})")
SOME_PICTURE = "0" * 64
PARTS: Mapping[str, type] = MappingProxyType(
    {
        "": GenerationRequest,
        "sampling": SamplingOptions,
        "guidance": Guidance,
        "variation": Variation,
        "refiner": Refiner,
        "hires": HiresFix,
        "init": InitImage,
        "init.box": Box,
        "init.upscale": TiledUpscale,
        "init.inpainting": Inpainting,
        "init.inpainting.soft": SoftInpainting,
    }
)
# What else a part cannot be made without.
_NEEDED: Mapping[str, Mapping[str, object]] = MappingProxyType(
    {
        "refiner": {"checkpoint": "any"},
        "init": {"picture": SOME_PICTURE},
        "init.inpainting": {"mask": SOME_PICTURE},
        "init.box": {"left": 0, "top": 0, "width": 64, "height": 64},
    }
)


@dataclass(frozen=True, kw_only=True)
class Row:
    """Keys that mean one field, the first of them A1111's; `read` raises `ValueError` for what it cannot read."""

    keys: tuple[str, ...]
    field: str
    read: Callable[[str], object]


def whole(text: str) -> int:
    """A whole number, also as 20.0."""
    try:
        return int(text)
    except ValueError:
        value = float(text)
        if not value.is_integer():
            raise
        return int(value)


def flag(text: str) -> bool:
    """Python's and everybody's words for yes and no."""
    words = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
    if text.strip().casefold() not in words:
        raise ValueError(f"{text!r} is neither True nor False")
    return words[text.strip().casefold()]


def size(text: str) -> tuple[int, int]:
    """Width and height in pixels."""
    found = _SIZE.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no size such as 512x768")
    return int(found[1]), int(found[2])


def box(text: str) -> tuple[int, int, int, int]:
    """Left, top, width, height."""
    found = _BOX.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no box such as 0 -64 512x576")
    left, top, width, height = map(int, found.groups())
    return left, top, width, height


def _inverted(text: str) -> bool:
    modes = {"Inpaint masked": False, "Inpaint not masked": True}
    if text not in modes:
        raise ValueError(f"{text!r} is none of {', '.join(modes)}")
    return modes[text]


def _row(keys: str | tuple[str, ...], field: str, read: Callable[[str], object] = str) -> Row:
    return Row(keys=(keys,) if isinstance(keys, str) else keys, field=field, read=read)


PLAIN: tuple[Row, ...] = (
    _row("Steps", "steps", whole),
    _row("CFG scale", "cfg_scale", float),
    _row("Seed", "seed", whole),
    _row(("Clip skip", "CLiP-skip"), "clip_skip", whole),
    _row("Seed resize from", "seed_resize", size),
    _row("RNG", "noise_source"),
    _row("Tiling", "tiling", flag),
    _row("Emphasis", "emphasis"),
    _row("Old prompt editing timelines", "old_prompt_editing", flag),
    _row("Comma padding backtrack", "comma_backtrack", whole),
    _row(("Eta", "Eta DDIM"), "sampling.eta", float),
    _row("ENSD", "sampling.ensd", whole),
    _row("Sigma churn", "sampling.sigma_churn", float),
    _row("Sigma tmin", "sampling.sigma_tmin", float),
    _row("Sigma tmax", "sampling.sigma_tmax", float),
    _row("Sigma noise", "sampling.sigma_noise", float),
    _row("Schedule min sigma", "sampling.schedule_min_sigma", float),
    _row("Schedule max sigma", "sampling.schedule_max_sigma", float),
    _row("Schedule rho", "sampling.schedule_rho", float),
    _row(("Beta schedule alpha", "Beta scheduler alpha"), "sampling.beta_alpha", float),
    _row(("Beta schedule beta", "Beta scheduler beta"), "sampling.beta_beta", float),
    _row("Discard penultimate sigma", "sampling.discard_penultimate", flag),
    _row(("SGM noise multiplier", "SGM noise multplier"), "sampling.sgm_noise_multiplier", flag),
    _row("UniPC variant", "sampling.unipc_variant"),
    _row("UniPC skip type", "sampling.unipc_skip_type"),
    _row("UniPC order", "sampling.unipc_order", whole),
    _row("UniPC lower order final", "sampling.unipc_lower_order_final", flag),
    _row("NGMS", "guidance.ngms", float),
    _row("NGMS all steps", "guidance.ngms_all_steps", flag),
    _row("Skip Early CFG", "guidance.skip_early", float),
    _row(("CFG Rescale", "CFG rescale"), "guidance.rescale", float),
    _row("Pad conds", "guidance.pad_conds", flag),
    _row("Guidance method", "guidance.method", lambda text: find_guidance(text).name),
)
VARIATION: tuple[Row, ...] = (
    _row("Variation seed", "variation.seed", whole),
    _row("Variation seed strength", "variation.strength", float),
)
REFINER: tuple[Row, ...] = (
    _row("Refiner switch at", "refiner.switch_at", float),
    _row("Refiner switch by sampling steps", "refiner.by_sampling_steps", flag),
)
HIRES: tuple[Row, ...] = (
    _row("Denoising strength", "hires.denoising_strength", float),
    _row("Hires upscale", "hires.scale", float),
    _row("Hires steps", "hires.steps", whole),
    _row("Extra noise", "hires.extra_noise", float),
    _row("Hires prompt", "hires.prompt"),
    _row("Hires negative prompt", "hires.negative_prompt"),
    _row(("Hires CFG Scale", "Hires CFG scale"), "hires.cfg_scale", float),
)
IMAGE: tuple[Row, ...] = (
    _row("Denoising strength", "init.denoising_strength", float),
    _row("Image CFG scale", "init.image_cfg_scale", float),
    _row("Noise multiplier", "init.noise_multiplier", float),
    _row("Extra noise", "init.extra_noise", float),
    _row("Resize mode", "init.resize_mode"),
    _row("Mask mode", "init.inpainting.inverted", _inverted),
    _row("Mask blur", "init.inpainting.mask_blur", whole),
    _row("Inpaint area", "init.inpainting.area"),
    _row("Masked area padding", "init.inpainting.padding", whole),
    _row("Masked content", "init.inpainting.masked_content"),
    _row("Conditional mask weight", "init.inpainting.mask_weight", float),
    *(
        _row(f"Soft inpainting {name.replace('_', ' ')}", f"init.inpainting.soft.{name}", float)
        for name in SoftInpainting.__dataclass_fields__
    ),
    _row("SD upscale overlap", "init.upscale.overlap", whole),
    _row("SD upscale by", "init.upscale.scale", float),
)


def checked_value(field: str, value: object) -> object:
    """The value as a request has it. Raises `InvalidRequest` with a sentence for one that it cannot have."""
    place, _, name = field.rpartition(".")
    made = PARTS[place](**{**_NEEDED.get(place, {}), name: value})
    return getattr(made, name)
