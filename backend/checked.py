"""Values as they come from outside, checked: each comes back as what it should be, or is refused in a sentence.

`what` is always the words that the page uses for the value.
"""

import math
from collections.abc import Sequence

from backend.errors import InvalidRequest, unknown_name

LONGEST_PROMPT = 65_536  # characters
LARGEST_SIDE = 16_384  # pixels of a picture or a box that is asked for


def text(what: str, value: object) -> str:
    """A text that every container can keep. Raises `InvalidRequest`, as all of these do."""
    if not isinstance(value, str):
        raise InvalidRequest(f"{what} must be text, not {value!r}.")
    if len(value) > LONGEST_PROMPT:
        raise InvalidRequest(f"{what} has {len(value):,} characters; {LONGEST_PROMPT:,} are allowed.")
    if any(0xD800 <= ord(character) <= 0xDFFF or character == "\0" for character in value):
        raise InvalidRequest(f"{what} contains characters that are no text (a broken surrogate or a zero byte).")
    return value


def number(what: str, value: object, low: float, high: float) -> float:
    """A finite number from `low` to `high`."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidRequest(f"{what} must be a number from {low:g} to {high:g}, not {value!r}.")
    if not math.isfinite(value) or not low <= value <= high:
        raise InvalidRequest(f"{what} must be from {low:g} to {high:g}, not {value}.")
    return float(value)


def whole(what: str, value: object, low: int, high: int) -> int:
    """A whole number from `low` to `high`."""
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        value = int(value)  # JSON from a browser does not tell 20.0 from 20
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidRequest(f"{what} must be a whole number from {low} to {high}, not {value!r}.")
    if not low <= value <= high:
        raise InvalidRequest(f"{what} must be from {low} to {high}, not {value}.")
    return value


def flag(what: str, value: object) -> bool:
    """Yes or no."""
    if not isinstance(value, bool):
        raise InvalidRequest(f"{what} must be true or false, not {value!r}.")
    return value


def choice(what: str, value: object, names: Sequence[str]) -> str:
    """One of `names`, exactly."""
    if not isinstance(value, str) or value not in names:
        raise InvalidRequest(unknown_name(what.lower(), str(value)[:80], names))
    return value


def multiple(what: str, value: int, step: int) -> int:
    """A multiple of `step`; the sentence names the two nearest."""
    if value % step:
        below = value - value % step
        raise InvalidRequest(f"{what} {value} is not a multiple of {step}; {below} or {below + step} would do.")
    return value
