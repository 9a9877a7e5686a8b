"""The one input of a generation: everything that changes the pixels, and nothing else."""

import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any, Self

from backend import checked
from backend.errors import InvalidRequest
from backend.init_image import HIGHEST_CFG, HIGHEST_STEPS, PICTURE_NAME, SIZE_STEP, HiresFix, InitImage
from backend.prompt.template import Template
from backend.request_extras import fixed_extras
from backend.request_parts import PART_LABELS, part_from
from backend.sampling_options import (
    CFG,
    COMMA_BACKTRACK_RANGE,
    EMPHASIS_MODES,
    LARGEST_SEED,
    NOISE_SOURCES,
    OPTION_LABELS,
    Guidance,
    Refiner,
    SamplingOptions,
    Variation,
)

SIZE_RANGE = (64, 2048)
STEPS_RANGE = (1, HIGHEST_STEPS)
SEED_RESIZE_RANGE = (SIZE_STEP, SIZE_RANGE[1])
CFG_RANGE = (1.0, HIGHEST_CFG)
CLIP_SKIP_RANGE = (1, 12)
BATCH_SIZE_RANGE = (1, 8)
BATCH_COUNT_RANGE = (1, 100)
LARGEST_RANDOM_SEED = 2**32 - 1
AUTOMATIC_VAE = "Automatic"  # the one that lies beside the checkpoint under its name, else the checkpoint's own
OWN_VAE = "None"  # A1111's words for both
PARTS: Mapping[str, type] = MappingProxyType(
    {
        "init": InitImage,
        "hires": HiresFix,
        "sampling": SamplingOptions,
        "guidance": Guidance,
        "variation": Variation,
        "refiner": Refiner,
        "template": Template,
    }
)
ALWAYS_THERE = ("sampling", "guidance")  # parts of which every request has one


@dataclass(frozen=True)
class PictureSeeds:
    """The seed of one picture's noise, and of what that is varied towards, if it is."""

    seed: int
    variation: int | None = None


@dataclass(frozen=True, kw_only=True)
class GenerationRequest:
    """What to make. Frozen: whoever wants another one makes it with `dataclasses.replace`.

    Widths and heights are pixels; `seed` -1 means "choose one", which happens once, at the door (`resolved`).
    `checkpoint` is the name in the catalog; empty means the one that the settings name, else the starter, else the
    first. `vae` is a name in the catalog too, or `AUTOMATIC_VAE`, which is decided at the door (and stays
    where the second pass has another checkpoint: each then has what lies beside it), or `OWN_VAE`.
    `init` is the picture that img2img and inpainting begin with: what is generated is `width` x `height` all the same,
    and brought there and back; where the picture is upscaled in tiles, it is one tile. `hires` makes the pictures of
    the words once more, larger. `template` is what the words were drawn from, where they were. `extras` are the values
    of the extensions that are to take part, by their ids and names: fixed, and exact once they were at the door.
    Making one checks every value; a wrong one raises `InvalidRequest` with a sentence.
    """

    prompt: str = ""
    negative_prompt: str = ""
    checkpoint: str = ""
    vae: str = AUTOMATIC_VAE
    sampler: str = "DPM++ 2M"
    schedule: str = "Automatic"
    steps: int = 20
    cfg_scale: float = 7.0
    clip_skip: int = 1
    width: int = 512
    height: int = 512
    seed: int = -1
    batch_size: int = 1
    batch_count: int = 1
    init: InitImage | None = None
    hires: HiresFix | None = None
    sampling: SamplingOptions = field(default_factory=SamplingOptions)
    guidance: Guidance = field(default_factory=Guidance)
    variation: Variation | None = None
    refiner: Refiner | None = None
    noise_source: str = NOISE_SOURCES[0]
    seed_resize: tuple[int, int] | None = None
    tiling: bool = False
    emphasis: str = EMPHASIS_MODES[0]
    old_prompt_editing: bool = False
    comma_backtrack: int = 20
    template: Template | None = None
    extras: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("prompt", "negative_prompt", "checkpoint", "vae", "sampler", "schedule"):
            checked.text(label(name), getattr(self, name))
        for name, (low, high) in {
            "steps": STEPS_RANGE,
            "clip_skip": CLIP_SKIP_RANGE,
            "width": SIZE_RANGE,
            "height": SIZE_RANGE,
            "batch_size": BATCH_SIZE_RANGE,
            "batch_count": BATCH_COUNT_RANGE,
            "seed": (-1, LARGEST_SEED),
            "comma_backtrack": COMMA_BACKTRACK_RANGE,
        }.items():
            object.__setattr__(self, name, checked.whole(label(name), getattr(self, name), low, high))
        object.__setattr__(self, "cfg_scale", checked.number(label("cfg_scale"), self.cfg_scale, *CFG_RANGE))
        for name in ("width", "height"):
            checked.multiple(label(name), getattr(self, name), SIZE_STEP)
        for name, names in {"noise_source": NOISE_SOURCES, "emphasis": EMPHASIS_MODES}.items():
            checked.choice(label(name), getattr(self, name), names)
        for name in ("tiling", "old_prompt_editing"):
            checked.flag(label(name), getattr(self, name))
        if self.seed_resize is not None:
            object.__setattr__(self, "seed_resize", _size(label("seed_resize"), self.seed_resize))
        object.__setattr__(self, "extras", fixed_extras(self.extras))
        self._check_parts()

    def _check_parts(self) -> None:
        for name, kind in PARTS.items():
            if not isinstance(getattr(self, name), kind if name in ALWAYS_THERE else kind | None):
                raise InvalidRequest(f"{label(name)} must be an object with named values.")
        if self.init is not None and self.hires is not None:
            raise InvalidRequest(f"{label('hires')} is for pictures from words alone: leave it out, or the picture.")
        if self.init is not None and self.init.upscale is not None:
            overlap, most = self.init.upscale.overlap, min(self.width, self.height) // 2
            if overlap > most:
                raise InvalidRequest(
                    f"{label('init.upscale.overlap')} {overlap} is more than half of a tile of {self.width} x "
                    f"{self.height}; up to {most} would do."
                )

    @property
    def pictures(self) -> int:
        """How many pictures the whole request makes."""
        return self.batch_size * self.batch_count

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the pictures that were put in and that it needs; in extras every text that is such a name."""
        texts = (value for values in self.extras.values() for value in values.values() if isinstance(value, str))
        return (*(self.init.inputs if self.init else ()), *filter(PICTURE_NAME.fullmatch, texts))

    def resolved(self) -> Self:
        """The same request with seeds that are numbers: chosen now where they were -1."""
        chosen: dict[str, Any] = {} if self.seed >= 0 else {"seed": _random_seed()}
        if self.variation is not None and self.variation.seed < 0:
            chosen["variation"] = replace(self.variation, seed=_random_seed())
        return replace(self, **chosen) if chosen else self

    def seeds(self, batch: int) -> list[int]:
        """The seeds of batch number `batch` (from 0): each picture of a request has the next one.

        Where they are varied, all have the same, and the next variation seed each: AUTOMATIC1111's rule.
        """
        if self.variation is not None and self.variation.strength > 0:
            return [self.seed] * self.batch_size
        return self._counted(self.seed, batch)

    def variation_seeds(self, batch: int) -> list[int]:
        """The variation seeds of batch number `batch` (from 0); empty where nothing is varied."""
        return [] if self.variation is None else self._counted(self.variation.seed, batch)

    def picture_seeds(self, batch: int) -> list[PictureSeeds]:
        """Both of each picture of batch number `batch` (from 0)."""
        varied = self.variation_seeds(batch) or [None] * self.batch_size
        return [PictureSeeds(*both) for both in zip(self.seeds(batch), varied, strict=True)]

    def _counted(self, first: int, batch: int) -> list[int]:
        first += batch * self.batch_size
        return [(first + k) % (LARGEST_SEED + 1) for k in range(self.batch_size)]

    def single(self, seed: int, variation_seed: int | None = None) -> Self:
        """The request that makes one picture of this one again; without a variation seed that stays as it is."""
        variation = self.variation
        if variation is not None and variation_seed is not None:
            variation = replace(variation, seed=variation_seed)
        return replace(self, seed=seed, variation=variation, batch_size=1, batch_count=1)

    def to_json(self) -> str:
        """Lossless and in ASCII, which every container of texts keeps: `from_json` gives an equal request."""
        values = {name: value for name, value in asdict(self).items() if value is not None}
        if self.guidance.method == CFG:  # not said where it is what there has always been
            del values["guidance"]["method"]
        if not self.extras:
            del values["extras"]
        return json.dumps(values, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote. Raises `InvalidRequest` for anything else."""
        try:
            values = json.loads(text)
        except ValueError as error:
            raise InvalidRequest(f"These parameters cannot be read: {error}.") from error
        return cls.from_values(values)

    @classmethod
    def from_values(cls, values: Any) -> Self:
        """A request from a mapping of field names; unknown names raise `InvalidRequest`."""
        if not isinstance(values, dict):
            raise InvalidRequest("These parameters cannot be read: an object with named values is expected.")
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise InvalidRequest(f"There is no parameter called {unknown[0]!r}.")
        parts = {name: part_from(kind, values.get(name), name) for name, kind in PARTS.items()}
        given = {name: value for name, value in values.items() if name not in parts}
        return cls(**given, **{name: part for name, part in parts.items() if part is not None})


def _random_seed() -> int:
    return secrets.randbelow(LARGEST_RANDOM_SEED + 1)


def _size(what: str, value: object) -> tuple[int, int]:
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise InvalidRequest(f"{what} must be a width and a height, not {str(value)[:80]!r}.")
    width, height = (checked.multiple(what, checked.whole(what, side, *SEED_RESIZE_RANGE), SIZE_STEP) for side in value)
    return width, height


LABELS = {
    "prompt": "Prompt",
    "negative_prompt": "Negative prompt",
    "checkpoint": "Checkpoint",
    "vae": "VAE",
    "sampler": "Sampling method",
    "schedule": "Schedule type",
    "steps": "Sampling steps",
    "cfg_scale": "CFG scale",
    "clip_skip": "Clip skip",
    "width": "Width",
    "height": "Height",
    "seed": "Seed",
    "batch_size": "Batch size",
    "batch_count": "Batch count",
    "init": "Picture to begin with",
    "hires": "Hires. fix",
    "sampling": "Sampling options",
    "guidance": "Guidance",
    "variation": "Variation",
    "refiner": "Refiner",
    "noise_source": "Random number generator source",
    "seed_resize": "Resize seed from",
    "tiling": "Tiling",
    "emphasis": "Emphasis mode",
    "old_prompt_editing": "Old prompt editing timelines",
    "comma_backtrack": "Comma backtrack",
    "template": "Template",
    "extras": "Extensions",
}


def label(name: str) -> str:
    """The words the page and every message use for a field; one of a part is named with it, ``init.resize_mode``."""
    return LABELS[name] if name in LABELS else {**PART_LABELS, **OPTION_LABELS}[name]
