"""The parts of a request that begin with a picture, or go on from one: img2img, inpainting, outpainting, hires fix.

Pictures are named by what `backend.inputs` knows them under, never by a path.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType

from backend import checked
from backend.checked import LARGEST_SIDE
from backend.errors import InvalidRequest
from backend.request_parts import PART_LABELS

RESIZE_MODES = ("Just resize", "Crop and resize", "Resize and fill", "Just resize (latent upscale)")  # A1111's order
MASKED_CONTENT = ("fill", "original", "latent noise", "latent nothing", "blur", "Navier-Stokes")  # A1111's four first
AREAS = ("Whole picture", "Only masked")
# A1111's names: how latents are interpolated, and whether they are smoothed before they are reduced.
LATENT_UPSCALERS: Mapping[str, tuple[str, bool]] = MappingProxyType(
    {
        "Latent": ("bilinear", False),
        "Latent (antialiased)": ("bilinear", True),
        "Latent (bicubic)": ("bicubic", False),
        "Latent (bicubic antialiased)": ("bicubic", True),
        "Latent (nearest)": ("nearest", False),
        "Latent (nearest-exact)": ("nearest-exact", False),
    }
)
SIZE_STEP = 8  # pixels per latent
SMALLEST_SIDE = 64
LARGEST_HIRES = 8192
MASK_BLUR_RANGE = (0, 64)
PADDING_RANGE = (0, 256)
HIRES_SCALE_RANGE = (1.0, 4.0)
IMAGE_CFG_RANGE = (0.0, 3.0)
NOISE_MULTIPLIER_RANGE = (0.0, 1.5)
EXTRA_NOISE_RANGE = (0.0, 1.0)
TILED_SCALE_RANGE = (1.0, 8.0)
OVERLAP_RANGE = (0, 256)
HIGHEST_STEPS = 150
HIGHEST_CFG = 30.0

PICTURE_NAME = re.compile(r"[0-9a-f]{64}")  # of a picture that was put in


def _put(part: object, name: str, value: object) -> None:
    object.__setattr__(part, name, value)


@dataclass(frozen=True, kw_only=True)
class Box:
    """The area to generate, in the picture's own pixels; what lies outside the picture is outpainting."""

    left: int
    top: int
    width: int
    height: int

    def __post_init__(self) -> None:
        for name in ("left", "top"):
            said = PART_LABELS[f"init.box.{name}"]
            _put(self, name, checked.whole(said, getattr(self, name), -LARGEST_SIDE, LARGEST_SIDE))
        for name in ("width", "height"):
            said = PART_LABELS[f"init.box.{name}"]
            _put(self, name, checked.whole(said, getattr(self, name), SIZE_STEP, LARGEST_SIDE))

    @property
    def rectangle(self) -> tuple[int, int, int, int]:
        """Left, top, right, bottom."""
        return self.left, self.top, self.left + self.width, self.top + self.height


SOFT_RANGES: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "schedule_bias": (0, 8),
        "preservation_strength": (0, 8),
        "transition_contrast_boost": (1, 32),
        "mask_influence": (0, 1),
        "difference_threshold": (0, 8),
        "difference_contrast": (0, 8),
    }
)


@dataclass(frozen=True, kw_only=True)
class SoftInpainting:
    """Differential diffusion (Levin & Fried 2023, arXiv 2306.00950) with AUTOMATIC1111's names and defaults."""

    schedule_bias: float = 1.0
    preservation_strength: float = 0.5
    transition_contrast_boost: float = 4.0
    mask_influence: float = 0.0
    difference_threshold: float = 0.5
    difference_contrast: float = 2.0

    def __post_init__(self) -> None:
        for name, (low, high) in SOFT_RANGES.items():
            said = PART_LABELS[f"init.inpainting.soft.{name}"]
            _put(self, name, checked.number(said, getattr(self, name), low, high))


@dataclass(frozen=True, kw_only=True)
class Inpainting:
    """What of the picture is made new, and from what.

    White of the `mask` is repainted, or what is opaque where it has transparency; without one it is what a box reaches
    of the outside. `mask_blur` and `padding` are pixels of the picture. `mask_weight` is how much of the masked part an
    inpainting checkpoint does not see. With `exact_outside` the result has the picture's size and its very pixels where
    nothing is repainted; without, "Whole picture" gives AUTOMATIC1111's resized one. `seam_pass` samples once more,
    lightly, over the seam of an outpainting.
    """

    mask: str = ""
    mask_blur: int = 4
    inverted: bool = False
    masked_content: str = "original"
    area: str = "Whole picture"
    padding: int = 32
    mask_weight: float = 1.0
    colour_match: bool = True
    exact_outside: bool = True
    seam_pass: bool = False
    soft: SoftInpainting | None = None

    def __post_init__(self) -> None:
        said = {name: PART_LABELS[f"init.inpainting.{name}"] for name in (each.name for each in fields(self))}
        _check_name(said["mask"], self.mask)
        _put(self, "mask_blur", checked.whole(said["mask_blur"], self.mask_blur, *MASK_BLUR_RANGE))
        _put(self, "padding", checked.whole(said["padding"], self.padding, *PADDING_RANGE))
        _put(self, "mask_weight", checked.number(said["mask_weight"], self.mask_weight, 0, 1))
        checked.choice(said["masked_content"], self.masked_content, MASKED_CONTENT)
        checked.choice(said["area"], self.area, AREAS)
        for name in ("inverted", "colour_match", "exact_outside", "seam_pass"):
            checked.flag(said[name], getattr(self, name))
        _check_part(said["soft"], self.soft, SoftInpainting)

    @property
    def only_masked(self) -> bool:
        """Whether only the mask's surroundings go to the model."""
        return self.area == AREAS[1]


@dataclass(frozen=True, kw_only=True)
class TiledUpscale:
    """The picture `scale` times as large, and made new tile by tile: AUTOMATIC1111's SD upscale.

    A tile is as large as what the request generates, and shares at least `overlap` pixels with the next.
    """

    upscaler: str = "Lanczos"
    scale: float = 2.0
    overlap: int = 64

    def __post_init__(self) -> None:
        said = {name: PART_LABELS[f"init.upscale.{name}"] for name in (each.name for each in fields(self))}
        checked.text(said["upscaler"], self.upscaler)
        _put(self, "scale", checked.number(said["scale"], self.scale, *TILED_SCALE_RANGE))
        _put(self, "overlap", checked.whole(said["overlap"], self.overlap, *OVERLAP_RANGE))

    def target(self, width: int, height: int) -> tuple[int, int]:
        """What becomes of a picture of that size. Raises `InvalidRequest` if that would be too large to be made."""
        wide, high = max(1, round(width * self.scale)), max(1, round(height * self.scale))
        if max(wide, high) > LARGEST_SIDE:
            raise InvalidRequest(
                f"A picture of {width:,} x {height:,} would become {wide:,} x {high:,}; {LARGEST_SIDE:,} pixels along "
                "a side are allowed."
            )
        return wide, high


@dataclass(frozen=True, kw_only=True)
class InitImage:
    """The picture to begin with. `sketch` is painted over it; `depth` is for depth checkpoints, which compute one
    without; `image_cfg_scale` is for InstructPix2Pix. The noise that is put on the picture is multiplied by
    `noise_multiplier`, and `extra_noise` times as much is put on besides. With `upscale` nothing is resized to what is
    generated, so that `resize_mode` has no say."""

    picture: str
    sketch: str = ""
    depth: str = ""
    denoising_strength: float = 0.75
    resize_mode: str = RESIZE_MODES[0]
    image_cfg_scale: float = 1.5
    noise_multiplier: float = 1.0
    extra_noise: float = 0.0
    box: Box | None = None
    inpainting: Inpainting | None = None
    upscale: TiledUpscale | None = None

    def __post_init__(self) -> None:
        said = {name: PART_LABELS[f"init.{name}"] for name in (each.name for each in fields(self))}
        for name in ("picture", "sketch", "depth"):
            _check_name(said[name], getattr(self, name))
        if not self.picture:
            raise InvalidRequest(f"{said['picture']} is missing: img2img and inpainting begin with one.")
        for name, (low, high) in {
            "denoising_strength": (0.0, 1.0),
            "image_cfg_scale": IMAGE_CFG_RANGE,
            "noise_multiplier": NOISE_MULTIPLIER_RANGE,
            "extra_noise": EXTRA_NOISE_RANGE,
        }.items():
            _put(self, name, checked.number(said[name], getattr(self, name), low, high))
        checked.choice(said["resize_mode"], self.resize_mode, RESIZE_MODES)
        _check_part(said["box"], self.box, Box)
        _check_part(said["inpainting"], self.inpainting, Inpainting)
        _check_part(said["upscale"], self.upscale, TiledUpscale)
        for name in ("box", "inpainting", "depth"):
            if self.upscale is not None and getattr(self, name):
                raise InvalidRequest(f"{said['upscale']} is for whole pictures: leave out {said[name].lower()}, or it.")
        if self.inpainting is not None and not self.inpainting.mask and self.box is None:
            raise InvalidRequest("Mask is missing: inpainting needs one, or a box that reaches outside the picture.")

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of all pictures this needs."""
        mask = self.inpainting.mask if self.inpainting else ""
        return tuple(name for name in (self.picture, self.sketch, self.depth, mask) if name)


@dataclass(frozen=True, kw_only=True)
class HiresFix:
    """A second pass at a larger size: by `scale`, or to `width` x `height` (of which one may be 0: by the ratio).
    `extra_noise` is that of `InitImage`.

    Everything else that is empty or 0 is as in the first pass.
    """

    upscaler: str = "Latent"
    scale: float = 2.0
    width: int = 0
    height: int = 0
    steps: int = 0
    denoising_strength: float = 0.7
    sampler: str = ""
    schedule: str = ""
    checkpoint: str = ""
    prompt: str = ""
    negative_prompt: str = ""
    cfg_scale: float = 0.0
    extra_noise: float = 0.0

    def __post_init__(self) -> None:
        said = {name: PART_LABELS[f"hires.{name}"] for name in (each.name for each in fields(self))}
        for name in ("upscaler", "sampler", "schedule", "checkpoint", "prompt", "negative_prompt"):
            checked.text(said[name], getattr(self, name))
        _put(self, "scale", checked.number(said["scale"], self.scale, *HIRES_SCALE_RANGE))
        _put(self, "denoising_strength", checked.number(said["denoising_strength"], self.denoising_strength, 0, 1))
        _put(self, "extra_noise", checked.number(said["extra_noise"], self.extra_noise, *EXTRA_NOISE_RANGE))
        _put(self, "steps", checked.whole(said["steps"], self.steps, 0, HIGHEST_STEPS))
        scale = checked.number(said["cfg_scale"], self.cfg_scale, 0, HIGHEST_CFG)
        if 0 < scale < 1:
            raise InvalidRequest(f"{said['cfg_scale']} must be 0 or from 1 to {HIGHEST_CFG:g}, not {scale:g}.")
        _put(self, "cfg_scale", scale)
        for name in ("width", "height"):
            value = checked.whole(said[name], getattr(self, name), 0, LARGEST_HIRES)
            _put(self, name, checked.multiple(said[name], value, SIZE_STEP))
            if 0 < value < SMALLEST_SIDE:
                raise InvalidRequest(f"{said[name]} must be 0 or from {SMALLEST_SIDE} to {LARGEST_HIRES}, not {value}.")

    def check_latents(self, *, same: bool) -> None:
        """Raises `InvalidRequest` if latents are enlarged and do not mean the `same` to both checkpoints."""
        if self.upscaler in LATENT_UPSCALERS and not same:
            raise InvalidRequest(
                f"{self.upscaler} cannot go from one checkpoint to another of a different kind: choose an upscaler "
                "that works on pictures."
            )

    def target(self, width: int, height: int) -> tuple[int, int]:
        """The size of the second pass for a first one of `width` x `height`: multiples of 8."""
        if not self.width and not self.height:
            wide, high = int(width * self.scale), int(height * self.scale)
        else:
            wide = self.width or self.height * width // height
            high = self.height or self.width * height // width
        return max(SIZE_STEP, wide - wide % SIZE_STEP), max(SIZE_STEP, high - high % SIZE_STEP)

    def enlarged(self, width: int, height: int) -> tuple[int, int]:
        """The size to enlarge to before the edges are cut off to `target`: it covers that in the picture's ratio."""
        wide, high = self.target(width, height)
        if not (self.width and self.height):
            return wide, high
        if width * high < height * wide:
            return wide, max(high, wide * height // width // SIZE_STEP * SIZE_STEP)
        return max(wide, high * width // height // SIZE_STEP * SIZE_STEP), high


def _check_name(what: str, value: object) -> None:
    if checked.text(what, value) and not PICTURE_NAME.fullmatch(str(value)):
        raise InvalidRequest(f"{what} must be the name of a picture that was put in, not {str(value)[:80]!r}.")


def _check_part(what: str, value: object, kind: type) -> None:
    if value is not None and not isinstance(value, kind):
        raise InvalidRequest(f"{what} must be a {kind.__name__} or nothing, not {value!r}.")
