"""What the queue carries behind the cells of a grid: that its picture is to be drawn."""

import json
import re
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from backend import checked
from backend.errors import InvalidRequest
from backend.init_image import InitImage
from backend.request import GenerationRequest

PLACE = re.compile(r"\d{4}-\d\d-\d\d/\d{6}-[0-9a-f]{8}")


@dataclass(frozen=True, kw_only=True)
class GridRequest:
    """Draw the grid at `place`, a folder among the grids; `title` says in a line what it is, `base` what it was made
    from. One that was `resumed` does not do so again."""

    KIND: ClassVar[str] = "grid"

    place: str
    title: str
    base: GenerationRequest
    resumed: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.place, str) or not PLACE.fullmatch(self.place):
            raise InvalidRequest(f"There is no grid at {str(self.place)[:80]!r}.")
        checked.text("Title", self.title)
        checked.flag("Resumed", self.resumed)
        if not isinstance(self.base, GenerationRequest):
            raise InvalidRequest("A grid must say what it was made from.")

    def to_json(self) -> str:
        """Lossless and in ASCII: `from_json` gives an equal request."""
        values = {name: getattr(self, name) for name in ("place", "title", "resumed")}
        return json.dumps({"kind": self.KIND, **values, "base": json.loads(self.base.to_json())}, sort_keys=True)

    @classmethod
    def wrote(cls, text: str) -> bool:
        """Whether `text` is what a request of this kind writes."""
        return _object(text).get("kind") == cls.KIND

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote. Raises `InvalidRequest` for anything else."""
        values = _object(text)
        if values.pop("kind", None) != cls.KIND or set(values) != {"place", "title", "resumed", "base"}:
            raise InvalidRequest("These parameters cannot be read: they are not those of a grid.")
        return cls(**{**values, "base": GenerationRequest.from_values(values["base"])})

    def again(self) -> Self:
        """The request for the same grid once what was lost of it is made."""
        return replace(self, resumed=True)

    # What a list of jobs shows of each, by the names that a generation has for it.

    @property
    def pictures(self) -> int:
        """One, and one for each value of z where that is wanted."""
        return 1

    @property
    def inputs(self) -> tuple[str, ...]:
        """What its cells need, so that they can be made again."""
        return self.base.inputs

    @property
    def init(self) -> InitImage | None:
        """What its cells begin with."""
        return self.base.init

    @property
    def prompt(self) -> str:
        """The whole request in words."""
        return f"{self.title}, {self.base.prompt}"

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
    def width(self) -> int:
        """Of a cell."""
        return self.base.width

    @property
    def height(self) -> int:
        """Of a cell."""
        return self.base.height

    @property
    def seed(self) -> int:
        """There is none."""
        return -1

    def resolved(self) -> Self:
        """Itself: nothing is left to chance."""
        return self


def _object(text: str) -> dict[str, Any]:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}
