"""The values of an axis as they are typed: AUTOMATIC1111's syntax."""

import csv
import io
import math
import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import chain, permutations
from typing import TypeVar

from backend.errors import InvalidRequest

N = TypeVar("N", int, float)

MOST_CELLS = 1000
_WHOLE = r"([+-]?\s*\d{1,20})"
_NUMBER = r"([+-]?\s*\d{1,20}(?:\.\d{0,20})?|[+-]?\s*\.\d{1,20})"
_TAIL = r"(?:\(\s*{step}\s*\)|\[\s*(\d{{1,9}})\s*\])?\s*"
_RANGES = {
    kind: re.compile(rf"\s*{number}\s*-\s*{number}\s*{_TAIL.format(step=number)}")
    for kind, number in ((int, _WHOLE), (float, _NUMBER))
}


def listed(text: str) -> list[str]:
    """The items of a comma-separated text, trimmed; one with a comma in it stands in double quotes. Raises
    `InvalidRequest`, as all of these do."""
    try:
        rows = csv.reader(io.StringIO(text.replace("\0", "")), skipinitialspace=True)
        return [item.strip() for item in chain.from_iterable(rows)]
    except csv.Error as error:
        raise InvalidRequest(f"The values {_quote(text)} cannot be read as a list: {error}.") from error


def whole_numbers(what: str, text: str) -> list[int]:
    """Whole numbers: ``1, 3``, ``1-5``, ``1-10 (+2)``, ``10-5 (-3)``, and ``1-10 [5]`` for five of them, evenly spread
    and rounded towards zero. A range ends at its last number, or before it where a step would pass it (AUTOMATIC1111
    stops earlier where it counts down, and goes one too far where it counts in fractions)."""
    return list(chain.from_iterable(_read(what, item, int) for item in listed(text) if item))


def numbers(what: str, text: str) -> list[float]:
    """Numbers, in the same ways: ``0.5-1 (+0.25)``, ``0-1 [3]``."""
    return list(chain.from_iterable(_read(what, item, float) for item in listed(text) if item))


def orders(what: str, text: str) -> list[tuple[str, ...]]:
    """Every order of the items."""
    items = [item for item in listed(text) if item]
    if math.factorial(min(len(items), 20)) > MOST_CELLS:
        raise InvalidRequest(
            f"{what} has {len(items)} items, which have {math.factorial(len(items)):,} orders; {MOST_CELLS:,} are "
            "allowed."
        )
    return list(permutations(items))


def _read(what: str, item: str, kind: Callable[[str], N]) -> Sequence[N]:
    found = _RANGES[int if kind is int else float].fullmatch(item)
    try:
        if found is None:
            return [_number(item, kind)]
        start, end = (_number(text, kind) for text in (found[1], found[2]))
        if found[4]:
            return _spread(what, start, end, int(found[4]), kind)
        return _stepped(what, item, start, end, _number(found[3] or "1", kind), kind)
    except (ValueError, OverflowError):
        plain = "a whole number" if kind is int else "a number"
        raise InvalidRequest(
            f"{what} has the value {_quote(item)}, which is neither {plain} nor a range such as 1-5, 1-10 (+2) or "
            "1-10 [5]."
        ) from None


def _number(text: str, kind: Callable[[str], N]) -> N:
    value = kind(re.sub(r"\s", "", text))
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def _spread(what: str, start: N, end: N, count: int, kind: Callable[[str], N]) -> list[N]:
    if not 1 <= count <= MOST_CELLS:
        raise InvalidRequest(f"{what} asks for {count:,} values; 1 to {MOST_CELLS:,} are allowed.")
    first, last = Fraction(start), Fraction(end)
    spread = [first + (last - first) * k / max(count - 1, 1) for k in range(count)]
    return [kind(str(int(value) if kind is int else _tidy(value))) for value in spread]


def _stepped(what: str, item: str, start: N, end: N, step: N, kind: Callable[[str], N]) -> list[N]:
    # As decimal fractions, as they are typed: in binary ones 0.1 times 3 passes 0.3.
    first, last, by = (Fraction(str(value)) for value in (start, end, step))
    count = (last - first) // by + 1 if by else 0
    if count < 1:
        way = "up with (+1)" if last > first else "down with (-1)"
        raise InvalidRequest(f"{what} has the range {_quote(item)}, in which there is nothing: count {way}.")
    if count > MOST_CELLS:
        raise InvalidRequest(f"{what} has {count:,} values in {_quote(item)}; {MOST_CELLS:,} are allowed.")
    return [kind(str(int(value) if kind is int else _tidy(value))) for value in (first + by * k for k in range(count))]


def _tidy(value: Fraction) -> float:
    """Without what a third leaves behind."""
    return float(f"{float(value):.12g}")


def _quote(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:57]}...")
