"""What Extras is asked for: pictures to be enlarged as they are, without a prompt."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any, ClassVar, Self

from backend import checked
from backend.checked import LARGEST_SIDE
from backend.errors import InvalidRequest
from backend.request_extras import fixed_extras

SCALE_RANGE = (1.0, 8.0)
LARGEST_RESULT = 268_435_456  # pixels: 16,384 x 16,384, a gigabyte in memory
LONGEST_RESULT = 65_500  # pixels of a side, which a JPEG can have
MOST_PICTURES = 1000
NOTHING = "None"  # no second upscaler

LABELS: Mapping[str, str] = MappingProxyType(
    {
        "inputs": "Pictures",
        "upscaler": "Upscaler",
        "upscaler_2": "Upscaler 2",
        "visibility_2": "Upscaler 2 visibility",
        "scale": "Scale by",
        "max_side": "Max side length",
        "width": "Width",
        "height": "Height",
        "crop": "Crop to fit",
        "keep_metadata": "Keep metadata",
        "operations": "Operations",
    }
)


@dataclass(frozen=True, kw_only=True)
class Target:
    """What a picture becomes: enlarged to `width` x `height`, and then, if `crop` says so, cut to its size around the
    middle."""

    width: int
    height: int
    crop: tuple[int, int] | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Of the result."""
        return self.crop or (self.width, self.height)


@dataclass(frozen=True, kw_only=True)
class UpscaleRequest:
    """Which pictures to enlarge, with what, and how far. Frozen, as `GenerationRequest` is; every value is checked, and
    a wrong one raises `InvalidRequest` with a sentence.

    `inputs` are names in `Inputs`. Of the second upscaler's result as much shows as `visibility_2` says, 0 to 1. With
    `width` and `height` both 0 the size follows from `scale`, with no side longer than `max_side` unless that is 0;
    else pictures are enlarged to cover width x height, of which one may be 0 for what the ratio gives, and, with
    `crop`, cut to it. `operations` are done to the result, in the order of their names, each with its parameters: see
    `backend.upscaling.operations`. With `keep_metadata` what the original says of itself stands in the result too.
    """

    KIND: ClassVar[str] = "upscale"

    inputs: tuple[str, ...]
    upscaler: str = "Lanczos"
    upscaler_2: str = NOTHING
    visibility_2: float = 0.0
    scale: float = 4.0
    max_side: int = 0
    width: int = 0
    height: int = 0
    crop: bool = True
    keep_metadata: bool = True
    operations: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        given = self.inputs
        if not isinstance(given, list | tuple) or not given or len(given) > MOST_PICTURES:
            raise InvalidRequest(f"{LABELS['inputs']} must be 1 to {MOST_PICTURES:,} pictures that were put in.")
        self._put("inputs", tuple(checked.text(LABELS["inputs"], name) for name in given))
        for name in ("upscaler", "upscaler_2"):
            self._put(name, checked.text(LABELS[name], getattr(self, name)))
        if self.upscaler == "" or (self.upscaler == NOTHING and not self.operations):
            raise InvalidRequest("An upscaler must be chosen: without one the picture stays as it is.")
        for name, (low, high) in {"visibility_2": (0.0, 1.0), "scale": SCALE_RANGE}.items():
            self._put(name, checked.number(LABELS[name], getattr(self, name), low, high))
        for name in ("max_side", "width", "height"):
            self._put(name, checked.whole(LABELS[name], getattr(self, name), 0, LARGEST_SIDE))
        for name in ("crop", "keep_metadata"):
            self._put(name, checked.flag(LABELS[name], getattr(self, name)))
        self._put("operations", fixed_extras(self.operations, LABELS["operations"]))

    def _put(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    @property
    def by_size(self) -> bool:
        """Whether the size is named, and not a factor."""
        return bool(self.width or self.height)

    @property
    def blended(self) -> bool:
        """Whether anything is seen of a second upscaler."""
        return self.upscaler_2 not in ("", NOTHING) and self.visibility_2 > 0

    def is_limited(self, width: int, height: int) -> bool:
        """Whether a picture of that size meets the longest side allowed."""
        return not self.by_size and 0 < self.max_side < max(width, height) * self.scale

    def target(self, width: int, height: int) -> Target:
        """What becomes of a picture of that size. Raises `InvalidRequest` if that would be too large to be made."""
        target = self._target(width, height)
        if target.width * target.height > LARGEST_RESULT or max(target.width, target.height) > LONGEST_RESULT:
            raise InvalidRequest(
                f"A picture of {width:,} x {height:,} would become {target.width:,} x {target.height:,}; "
                f"{LARGEST_RESULT // 1_000_000} million pixels are allowed, and {LONGEST_RESULT:,} along a side."
            )
        return target

    def _target(self, width: int, height: int) -> Target:
        if not self.by_size:
            scale = self.max_side / max(width, height) if self.is_limited(width, height) else self.scale
            return Target(width=_pixels(width * scale), height=_pixels(height * scale))
        scale = max(self.width / width, self.height / height)
        # Rounding must not leave a side short of what it is to cover.
        wide, tall = max(self.width, _pixels(width * scale)), max(self.height, _pixels(height * scale))
        cut = self.crop and self.width > 0 and self.height > 0 and (wide, tall) != (self.width, self.height)
        return Target(width=wide, height=tall, crop=(self.width, self.height) if cut else None)

    def single(self, name: str) -> Self:
        """The request for one of the pictures."""
        return replace(self, inputs=(name,))

    def to_json(self) -> str:
        """Lossless and in ASCII: `from_json` gives an equal request."""
        values = {name: value for name, value in asdict(self).items() if value or name != "operations"}
        return json.dumps({"kind": self.KIND, **values}, sort_keys=True)

    @classmethod
    def wrote(cls, text: str) -> bool:
        """Whether `text` is what a request of this kind writes."""
        try:
            values = json.loads(text)
        except ValueError:
            return False
        return isinstance(values, dict) and values.get("kind") == cls.KIND

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote. Raises `InvalidRequest` for anything else."""
        if not cls.wrote(text):
            raise InvalidRequest("These parameters cannot be read: they are not those of an upscale.")
        values = json.loads(text)
        del values["kind"]
        return cls.from_values(values)

    @classmethod
    def from_values(cls, values: Any) -> Self:
        """A request from a mapping of field names; unknown names raise `InvalidRequest`."""
        if not isinstance(values, dict):
            raise InvalidRequest("These parameters cannot be read: an object with named values is expected.")
        unknown = sorted(set(values) - {f.name for f in fields(cls)})
        if unknown:
            raise InvalidRequest(f"There is no parameter called {unknown[0]!r}.")
        return cls(**{"inputs": (), **values})

    # What a list of jobs shows of each, by the names that a generation has for it.

    @property
    def pictures(self) -> int:
        """How many there will be."""
        return len(self.inputs)

    @property
    def prompt(self) -> str:
        """The whole request in words."""
        far = f"to {self.width or 'any'} x {self.height or 'any'}" if self.by_size else f"{self.scale:g} times"
        second = f" and {self.upscaler_2}" if self.blended else ""
        then = f", then {', '.join(sorted(self.operations))}" if self.operations else ""
        return f"Upscale {far} with {self.upscaler}{second}{then}"

    @property
    def checkpoint(self) -> str:
        """None is used."""
        return ""

    @property
    def sampler(self) -> str:
        """None is used."""
        return ""

    @property
    def steps(self) -> int:
        """There are none."""
        return 0

    @property
    def seed(self) -> int:
        """There is none."""
        return -1

    def resolved(self) -> Self:
        """Itself: nothing is left to chance."""
        return self


def _pixels(side: float) -> int:
    return max(1, round(side))
