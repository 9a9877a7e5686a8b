"""What a canvas gives to a request: its picture, mask, sketch and box, and the size that follows from them."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from backend.errors import InvalidRequest, unknown_name
from backend.inputs import StoredInput
from backend.request import SIZE_RANGE, SIZE_STEP
from ui.fields import AS_PICTURE, BY_FACTOR, FACTOR_RANGE, TO_SIZE

PAINTING = "painting"  # the value of a form that the canvas gives, as JSON,
FOLDER = "folder"  # and the one that names the pictures of a folder,
PICTURE_FOLDER = "picture_folder"  # or the folder itself, where it lies on this machine
ELSEWHERE = (PAINTING, FOLDER, PICTURE_FOLDER, "sizing", "factor")  # of those of a form, no value of a request
MOST_PICTURES = 1000  # of a folder

NO_PICTURES = "There are no pictures yet: choose files first, or drop some."


@dataclass(frozen=True, kw_only=True)
class Painting:
    """What lies on a canvas, by the names that the store of inputs has for it; `size` is the picture's."""

    picture: str = ""
    mask: str = ""
    sketch: str = ""
    depth: str = ""
    box: Mapping[str, Any] | None = None
    size: tuple[int, int] = (0, 0)

    @classmethod
    def read(cls, text: object) -> Self:
        """What the browser's script handed over. Raises `InvalidRequest` where it could not."""
        values = _handed_over(text)
        if not isinstance(values, dict):
            raise InvalidRequest("The canvas is not ready yet: wait a moment, and try again.")
        if not values.get("picture"):
            raise InvalidRequest("There is no picture on the canvas: drop one there, or choose a file.")
        box = values.get("box")
        width, height = _size(values.get("pictureSize"))
        return cls(
            picture=str(values["picture"]),
            mask=str(values.get("mask") or ""),
            sketch=str(values.get("sketch") or ""),
            depth=str(values.get("depth") or ""),
            box=box if isinstance(box, dict) else None,
            size=(width, height),
        )

    @property
    def area(self) -> tuple[int, int]:
        """Width and height of what is to be made new: the box, else the whole picture."""
        return _size((self.box.get("width"), self.box.get("height"))) if self.box else self.size


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """A picture that was chosen from a disk: its name there, and as what it was put in, or why it was not."""

    title: str
    stored: StoredInput | None = None
    problem: str = ""

    def taken(self) -> StoredInput:
        """What it was put in as. Raises `InvalidRequest` if it was not."""
        if self.stored is None:
            raise InvalidRequest(self.problem)
        return self.stored


def chosen(text: object) -> list[Chosen]:
    """The pictures that were chosen from the disk, from what the browser's script handed over. Raises `InvalidRequest`
    if they are too many, or nothing that is known."""
    pictures = _handed_over(text)
    if not isinstance(pictures, list):
        raise InvalidRequest(NO_PICTURES)
    if len(pictures) > MOST_PICTURES:
        raise InvalidRequest(f"{MOST_PICTURES:,} pictures may be queued at once, not {len(pictures):,}.")
    return [_chosen(each if isinstance(each, dict) else {}) for each in pictures]


def _chosen(read: Mapping[str, Any]) -> Chosen:
    title = str(read.get("title") or "")
    if read.get("problem"):
        return Chosen(title=title, problem=str(read["problem"]))
    width, height = _size((read.get("width"), read.get("height")))
    return Chosen(title=title, stored=StoredInput(name=str(read.get("name", "")), width=width, height=height))


def chosen_pictures(text: object) -> list[StoredInput]:
    """The same where all of them are needed. Raises `InvalidRequest` if there are none, and for one that was refused,
    with its name."""
    pictures = chosen(text)
    for each in pictures:
        if each.problem and each.title:
            raise InvalidRequest(f"{each.title}: {each.problem}")
    if not pictures:
        raise InvalidRequest(NO_PICTURES)
    return [each.taken() for each in pictures]


def _handed_over(text: object) -> Any:
    """JSON of the browser's script; None if it is none. Raises `InvalidRequest` with the problem that it had."""
    try:
        values = json.loads(text) if isinstance(text, str) else None
    except ValueError:
        return None
    if isinstance(values, dict) and values.get("problem"):
        raise InvalidRequest(str(values["problem"]))
    return values


def with_painting(values: Mapping[str, Any], painting: Painting, native: tuple[int, int]) -> dict[str, Any]:
    """The values of a form with what is painted in them, and with the size that they ask for. `native` is the size
    that suits the checkpoint. Raises `InvalidRequest` for a way to choose the size that there is not."""
    read = {name: value for name, value in values.items() if name not in ELSEWHERE}
    read |= {"init.picture": painting.picture, "init.sketch": painting.sketch, "init.depth": painting.depth}
    if painting.box:
        read["init.box"] = dict(painting.box)
    if any(name.startswith("init.inpainting.") for name in values):
        read["init.inpainting.mask"] = painting.mask
    sizing = values.get("sizing")
    if sizing == AS_PICTURE:
        read["width"], read["height"] = of_ratio(painting.area, native)
    elif sizing == BY_FACTOR:
        read["width"], read["height"] = _enlarged(painting.area, values.get("factor"))
    elif sizing != TO_SIZE:
        raise InvalidRequest(unknown_name("way to choose the size", str(sizing), (AS_PICTURE, TO_SIZE, BY_FACTOR)))
    return read


def of_ratio(area: tuple[int, int], native: tuple[int, int]) -> tuple[int, int]:
    """A size in the ratio of `area` with about as many pixels as `native`, in multiples of 8."""
    scale = math.sqrt(native[0] * native[1] / (area[0] * area[1]))
    width, height = (max(SIZE_RANGE[0], min(SIZE_RANGE[1], _stepped(side * scale))) for side in area)
    return width, height


def within_range(width: int, height: int) -> tuple[int, int]:
    """The nearest size that can be generated, in the same ratio as far as that goes."""
    scale = min(1.0, SIZE_RANGE[1] / max(width, height))
    sides = (max(SIZE_RANGE[0], min(SIZE_RANGE[1], _stepped(side * scale))) for side in (width, height))
    return next(sides), next(sides)


def _enlarged(area: tuple[int, int], factor: object) -> tuple[int, int]:
    least, most = FACTOR_RANGE
    if isinstance(factor, bool) or not isinstance(factor, int | float) or not least <= factor <= most:
        raise InvalidRequest(f"Resize by must be from {least:g} to {most:g}, not {factor!r}.")
    width, height = (int(side * factor) // SIZE_STEP * SIZE_STEP for side in area)
    low, high = SIZE_RANGE
    if not (low <= width <= high and low <= height <= high):
        raise InvalidRequest(
            f"Resized by {factor:g} it would have {width} x {height} pixels; a side may have {low} to {high}."
        )
    return width, height


def _stepped(side: float) -> int:
    return round(side / SIZE_STEP) * SIZE_STEP


def _size(pair: Any) -> tuple[int, int]:
    try:
        width, height = (int(side) for side in pair)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidRequest("It is not known how large the picture is: put it in again.") from error
    return max(1, width), max(1, height)
