"""What all parts of a request have in common: the words for their values, and how one is read from a mapping."""

from collections.abc import Mapping
from dataclasses import is_dataclass
from types import MappingProxyType
from typing import Any, TypeVar, get_args, get_type_hints

from backend.errors import InvalidRequest

P = TypeVar("P")

# Words of the page and of every message, by the place in a request.
PART_LABELS: Mapping[str, str] = MappingProxyType(
    {
        "init.picture": "Picture",
        "init.sketch": "Sketch",
        "init.depth": "Depth map",
        "init.denoising_strength": "Denoising strength",
        "init.resize_mode": "Resize mode",
        "init.image_cfg_scale": "Image CFG scale",
        "init.noise_multiplier": "Noise multiplier",
        "init.extra_noise": "Extra noise",
        "init.box": "Box",
        "init.inpainting": "Inpainting",
        "init.upscale": "Tiled upscale",
        "init.box.left": "Left of the box",
        "init.box.top": "Top of the box",
        "init.box.width": "Width of the box",
        "init.box.height": "Height of the box",
        "init.inpainting.mask": "Mask",
        "init.inpainting.mask_blur": "Mask blur",
        "init.inpainting.inverted": "Inpaint not masked",
        "init.inpainting.masked_content": "Masked content",
        "init.inpainting.area": "Inpaint area",
        "init.inpainting.padding": "Only masked padding, pixels",
        "init.inpainting.mask_weight": "Conditional mask weight",
        "init.inpainting.colour_match": "Match colours around the mask",
        "init.inpainting.exact_outside": "Keep what is outside, bit for bit",
        "init.inpainting.seam_pass": "Second pass over the seam",
        "init.inpainting.soft": "Soft inpainting",
        "init.inpainting.soft.schedule_bias": "Schedule bias",
        "init.inpainting.soft.preservation_strength": "Preservation strength",
        "init.inpainting.soft.transition_contrast_boost": "Transition contrast boost",
        "init.inpainting.soft.mask_influence": "Mask influence",
        "init.inpainting.soft.difference_threshold": "Difference threshold",
        "init.inpainting.soft.difference_contrast": "Difference contrast",
        "init.upscale.upscaler": "Upscaler",
        "init.upscale.scale": "Upscale by",
        "init.upscale.overlap": "Tile overlap",
        "hires.upscaler": "Upscaler",
        "hires.scale": "Upscale by",
        "hires.width": "Resize width to",
        "hires.height": "Resize height to",
        "hires.steps": "Hires steps",
        "hires.denoising_strength": "Denoising strength",
        "hires.sampler": "Hires sampling method",
        "hires.schedule": "Hires schedule type",
        "hires.checkpoint": "Hires checkpoint",
        "hires.prompt": "Hires prompt",
        "hires.negative_prompt": "Hires negative prompt",
        "hires.cfg_scale": "Hires CFG scale",
        "hires.extra_noise": "Extra noise",
        "template.prompt": "Template of the prompt",
        "template.negative_prompt": "Template of the negative prompt",
        "template.hires_prompt": "Template of the hires prompt",
        "template.hires_negative_prompt": "Template of the hires negative prompt",
    }
)


def part_from(kind: type[P], values: Any, place: str) -> P | None:
    """The part at `place` of a request from a mapping of names, which may hold further parts.

    Raises `InvalidRequest` for what is no such mapping.
    """
    if values is None or isinstance(values, kind):
        return values
    if not isinstance(values, Mapping):
        raise InvalidRequest(f"{place} must be an object with named values, not {values!r}.")
    hints = get_type_hints(kind)
    unknown = sorted(str(name) for name in set(values) - set(hints))
    if unknown:
        raise InvalidRequest(f"There is no parameter called {place + '.' + unknown[0]!r}.")
    read = dict(values)
    for name, value in values.items():
        inner = next((each for each in get_args(hints[name]) if is_dataclass(each)), None)
        if isinstance(inner, type):
            read[name] = part_from(inner, value, f"{place}.{name}")
    try:
        return kind(**read)
    except TypeError as error:  # one that has no default is not there
        raise InvalidRequest(f"{place} is not complete: {error}.") from error
