"""Attention: which words of a prompt count for more, or for less.

``(words)`` count 1.1 times as much, ``[words]`` that much less, ``(words:1.3)`` as said; a ``\\`` makes the sign that
follows it a plain one. All is read as AUTOMATIC1111 reads it, mistakes included: a bracket that is never closed holds
up to the end, and one that closes nothing is a plain sign.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from types import MappingProxyType

FACTORS: Mapping[str, float] = MappingProxyType({"(": 1.1, "[": 1 / 1.1})
PAIRS: Mapping[str, str] = MappingProxyType({")": "(", "]": "["})
MOST_NESTED = 100  # brackets in brackets; what is deeper has no weight of its own
BREAK = re.compile(r"\bBREAK\b")
_BREAK_WEIGHT = -1.0
_SIGN = re.compile(r"\\([()\[\]\\]?)|([(\[])|:\s*([+-]?[.\d]+)\s*\)|([)\]])|[^\\()\[\]:]+|:")


@dataclass(frozen=True)
class Fragment:
    """Words that count alike. Where `is_break`, the next chunk is to begin."""

    text: str
    weight: float = 1.0

    @property
    def is_break(self) -> bool:
        # In brackets it has another weight, and is the word: as A1111 has it.
        return self.text == "BREAK" and self.weight == _BREAK_WEIGHT


def fragments(text: str) -> list[Fragment]:
    """The words of a text with their weights, at least one fragment; neighbours differ in weight."""
    pieces = _Pieces()
    for sign in _SIGN.finditer(text):
        escaped, opening, weight, closing = sign.groups()
        bracket = "(" if weight is not None else PAIRS.get(closing, "")
        if escaped is not None:
            pieces.add(escaped)
        elif opening:
            pieces.open(opening)
        elif bracket and pieces.opened[bracket]:
            number = None if weight is None else weight_of(weight)
            if weight is not None and number is None:
                pieces.add(sign[0][:-1])
            pieces.close(bracket, FACTORS[bracket] if number is None else number)
        else:
            for fragment in _around_breaks(sign[0]):
                pieces.add(fragment.text, fragment.weight)
    pieces.close_all()
    return pieces.joined() or [Fragment("")]


def weight_of(text: str) -> float | None:
    """The number that a weight says, if it is one."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


class _Pieces:
    """What is read so far, and for each kind of bracket that is open the piece that it begins with."""

    def __init__(self) -> None:
        self.opened: dict[str, list[int]] = {bracket: [] for bracket in FACTORS}
        self._texts: list[str] = []
        self._weights: list[float] = []

    def add(self, text: str, weight: float = 1.0) -> None:
        self._texts.append(text)
        self._weights.append(weight)

    def open(self, bracket: str) -> None:
        deep = sum(map(len, self.opened.values())) >= MOST_NESTED
        self.opened[bracket].append(-1 if deep else len(self._texts))

    def close(self, bracket: str, factor: float) -> None:
        self._weigh(self.opened[bracket].pop(), factor)

    def close_all(self) -> None:
        for bracket, factor in FACTORS.items():
            for start in self.opened[bracket]:
                self._weigh(start, factor)

    def joined(self) -> list[Fragment]:
        weighed = zip(self._weights, self._texts, strict=True)
        runs = groupby(weighed, key=lambda piece: piece[0])
        return [Fragment("".join(text for _, text in run), weight) for weight, run in runs]

    def _weigh(self, start: int, factor: float) -> None:
        if start >= 0:
            self._weights[start:] = [weight * factor for weight in self._weights[start:]]


def _around_breaks(text: str) -> Iterator[Fragment]:
    parts = BREAK.split(text)
    for number, part in enumerate(parts):
        if number:
            yield Fragment("BREAK", _BREAK_WEIGHT)
        words = part.lstrip() if number else part
        yield Fragment(words if number == len(parts) - 1 else words.rstrip())
