"""The one input of a generation: everything that changes the pixels, and nothing else."""

import json
import math
import secrets
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Self

from backend.errors import InvalidRequest

SIZE_STEP = 8  # pixels per latent
SIZE_RANGE = (64, 2048)
STEPS_RANGE = (1, 150)
CFG_RANGE = (1.0, 30.0)
CLIP_SKIP_RANGE = (1, 12)
BATCH_SIZE_RANGE = (1, 8)
BATCH_COUNT_RANGE = (1, 100)
LARGEST_SEED = 2**64 - 1
LARGEST_RANDOM_SEED = 2**32 - 1
AUTOMATIC_VAE = "Automatic"  # the one that lies beside the checkpoint under its name, else the checkpoint's own
OWN_VAE = "None"  # A1111's words for both
LONGEST_PROMPT = 65_536  # characters


@dataclass(frozen=True, kw_only=True)
class GenerationRequest:
    """What to make. Frozen: whoever wants another one makes it with `dataclasses.replace`.

    Widths and heights are pixels; `seed` -1 means "choose one", which happens once, at the door (`resolved`).
    `checkpoint` is the name in the catalog; empty means the one that the settings name, else the starter, else the
    first. `vae` is a name in the catalog too, or `AUTOMATIC_VAE`, which is decided at the door, or `OWN_VAE`.
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

    def __post_init__(self) -> None:
        for name in ("prompt", "negative_prompt", "checkpoint", "vae", "sampler", "schedule"):
            _check_text(name, getattr(self, name))
        for name, (low, high) in {
            "steps": STEPS_RANGE,
            "clip_skip": CLIP_SKIP_RANGE,
            "width": SIZE_RANGE,
            "height": SIZE_RANGE,
            "batch_size": BATCH_SIZE_RANGE,
            "batch_count": BATCH_COUNT_RANGE,
            "seed": (-1, LARGEST_SEED),
        }.items():
            object.__setattr__(self, name, _whole(name, getattr(self, name), low, high))
        object.__setattr__(self, "cfg_scale", _number("cfg_scale", self.cfg_scale, *CFG_RANGE))
        for name in ("width", "height"):
            value = getattr(self, name)
            if value % SIZE_STEP:
                below = value - value % SIZE_STEP
                raise InvalidRequest(
                    f"{label(name)} {value} is not a multiple of {SIZE_STEP}; {below} or {below + SIZE_STEP} would do."
                )

    @property
    def pictures(self) -> int:
        """How many pictures the whole request makes."""
        return self.batch_size * self.batch_count

    def resolved(self) -> Self:
        """The same request with a seed that is a number: chosen now if it was -1."""
        return self if self.seed >= 0 else replace(self, seed=secrets.randbelow(LARGEST_RANDOM_SEED + 1))

    def seeds(self, batch: int) -> list[int]:
        """The seeds of batch number `batch` (from 0): each picture of a request has the next one."""
        first = self.seed + batch * self.batch_size
        return [(first + k) % (LARGEST_SEED + 1) for k in range(self.batch_size)]

    def single(self, seed: int) -> Self:
        """The request that makes one picture of this one again."""
        return replace(self, seed=seed, batch_size=1, batch_count=1)

    def to_json(self) -> str:
        """Lossless and in ASCII, which every container of texts keeps: `from_json` gives an equal request."""
        return json.dumps(asdict(self), sort_keys=True)

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
        return cls(**values)


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
}


def label(name: str) -> str:
    """The words the page and every message use for a field."""
    return LABELS[name]


def _check_text(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise InvalidRequest(f"{label(name)} must be text, not {value!r}.")
    if len(value) > LONGEST_PROMPT:
        raise InvalidRequest(f"{label(name)} has {len(value):,} characters; {LONGEST_PROMPT:,} are allowed.")
    if any(0xD800 <= ord(character) <= 0xDFFF or character == "\0" for character in value):
        raise InvalidRequest(f"{label(name)} contains characters that are no text (a broken surrogate or a zero byte).")


def _number(name: str, value: object, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidRequest(f"{label(name)} must be a number from {low:g} to {high:g}, not {value!r}.")
    if not math.isfinite(value) or not low <= value <= high:
        raise InvalidRequest(f"{label(name)} must be from {low:g} to {high:g}, not {value}.")
    return float(value)


def _whole(name: str, value: object, low: int, high: int) -> int:
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        value = int(value)  # JSON from a browser does not tell 20.0 from 20
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidRequest(f"{label(name)} must be a whole number from {low} to {high}, not {value!r}.")
    if not low <= value <= high:
        raise InvalidRequest(f"{label(name)} must be from {low} to {high}, not {value}.")
    return value
