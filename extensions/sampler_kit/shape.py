"""An axis of the X/Y/Z plot: shapes at the area that the request has."""

import math
import re
from collections.abc import Sequence
from dataclasses import replace

from backend.extension_api import Axis, GenerationRequest, InvalidRequest

STEP, SMALLEST, LARGEST = 8, 64, 2048  # pixels of a side


def read(what: str, text: str) -> list[str]:
    """Shapes such as 3:2, parted by commas. Raises `InvalidRequest` for anything else."""
    found = [item.strip() for item in text.split(",") if item.strip()]
    for item in found:
        if not re.fullmatch(r"\s*[1-9]\d{0,2}\s*:\s*[1-9]\d{0,2}\s*", item):
            raise InvalidRequest(f"{what} has the value {item[:40]!r}, which is no shape such as 3:2.")
    return [re.sub(r"\s", "", item) for item in found]


def shaped(request: GenerationRequest, shape: str, _shapes: Sequence[str]) -> GenerationRequest:
    """The request with the nearest sides that have this shape and its area."""
    wide, high = map(int, shape.split(":"))
    width = math.sqrt(request.width * request.height * wide / high)
    return replace(request, width=_side(width), height=_side(width * high / wide))


def _side(pixels: float) -> int:
    return min(max(STEP * round(pixels / STEP), SMALLEST), LARGEST)


ASPECT = Axis(name="Aspect ratio", read=read, apply=shaped, choices=lambda _names: ("1:1", "3:2", "2:3", "16:9"))
