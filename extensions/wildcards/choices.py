"""Words that are drawn by chance, in the signs of Dynamic Prompts: ``{red|blue}``, ``{2$$a|b|c}``, ``{0.5::a|b}`` and
``__name__``.

Braces without a ``|`` of their own or a ``$$`` are plain signs, as everywhere before; so is what stands behind a ``\\``
or in a comment, and a ``|`` in square or round brackets belongs to these.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from backend.extension_api import InvalidRequest

MOST_NESTED = 50  # braces in braces, and wildcards in wildcards
MOST_DRAWS = 10_000
LONGEST_PROMPT = 65_536  # characters: as a request may have
USUAL_JOINER = ", "
_PLAIN = re.compile(r"\\.|#[^\n]*", re.DOTALL)
NAME = re.compile(r"__(?=[\w*?])([\w./*? -]*?[\w*?])__(?!_)")
_COUNT = re.compile(r"\s*(?:(\d{1,3})(?:-(\d{0,3}))?|-(\d{1,3}))\$\$")
_JOINER = re.compile(r"([^{}|$]*)\$\$")
_WEIGHT = re.compile(r"\s*(\d{1,9}(?:\.\d{0,9})?|\.\d{1,9})::")
_CLOSES = {"]": "[", ")": "("}

Item: TypeAlias = "str | Wildcard | Choice"
Items: TypeAlias = tuple[Item, ...]


@dataclass(frozen=True, kw_only=True)
class Wildcard:
    """A line of the file of this name, which stands at ``text[start:end]``."""

    name: str
    start: int
    end: int


@dataclass(frozen=True, kw_only=True)
class Option:
    """One of several, drawn as often as its weight among theirs."""

    items: Items
    weight: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Choice:
    """`low` to `high` different ones of the options, or to all of them, joined; without a `joiner` one as it stands."""

    options: tuple[Option, ...]
    low: int = 1
    high: int | None = 1
    joiner: str | None = None


class Draws:
    """The chance of one picture. Number k (from 0) of a seed is the first 53 bits of sha256 of ``SEED/k`` in ASCII as a
    fraction, so that a seed means the same words on every machine."""

    def __init__(self, seed: int):
        self._seed = seed
        self._drawn = 0

    def fraction(self) -> float:
        """From 0 to below 1. Raises `InvalidRequest` where a text asks for too many."""
        if self._drawn == MOST_DRAWS:
            raise InvalidRequest(f"This prompt draws more than {MOST_DRAWS:,} times: its wildcards name too many.")
        digest = hashlib.sha256(f"{self._seed}/{self._drawn}".encode()).digest()
        self._drawn += 1
        return (int.from_bytes(digest[:8]) >> 11) / 2**53

    def whole(self, low: int, high: int) -> int:
        """From `low` to `high`, both among them."""
        return low + int(self.fraction() * (high - low + 1))

    def weighted(self, weights: Sequence[float]) -> int:
        """The place of one of these; one of weight 0 never comes."""
        aim = self.fraction() * sum(weights)
        for place, weight in enumerate(weights):
            if aim < weight:
                return place
            aim -= weight
        return max(place for place, weight in enumerate(weights) if weight > 0)  # what rounding left over


Lines: TypeAlias = Callable[[str], Sequence[Option]]


def read_choices(text: str) -> Items:
    """The text with what is to be drawn in it. Raises `InvalidRequest` for braces that are too deep."""
    if "{" not in text and "__" not in text:
        return (text,) if text else ()
    return _Reader(text).items(0, len(text), 0)


def read_option(line: str) -> Option:
    """A line of a wildcard's file: a weight, if there is one, and what it says. Raises as `read_choices` does."""
    weight = _WEIGHT.match(line)
    items = read_choices(line[weight.end() :] if weight else line)
    return Option(items=items, weight=float(weight[1]) if weight else 1.0)


def has_choices(text: str) -> bool:
    """Whether anything in the text is drawn."""
    return any(not isinstance(item, str) for item in read_choices(text))


def wildcards_in(items: Items) -> Iterator[Wildcard]:
    """Every wildcard that is named, also in options, in the order of the text."""
    for item in items:
        if isinstance(item, Wildcard):
            yield item
        elif isinstance(item, Choice):
            for option in item.options:
                yield from wildcards_in(option.items)


def in_plain_words(text: str) -> tuple[str, list[int]]:
    """The text as it can be read before anything is drawn, all options one after the other, each where it stands; and
    where in it something is drawn. Raises as `read_choices` does."""
    items = read_choices(text)
    if all(isinstance(item, str) for item in items):
        return text, []
    reader = _Reader(text)
    return reader.blanked(), sorted([*reader.starts, *(each.start for each in wildcards_in(items))])


def drawn(text: str, lines: Lines, draws: Draws) -> str:
    """The text with everything drawn, from left to right and outside in; `lines` are those of a wildcard.

    Raises what `lines` does, and `InvalidRequest` for a text that grows beyond every measure.
    """
    return _Drawing(lines, draws).words(read_choices(text), 0)


class _Drawing:
    def __init__(self, lines: Lines, draws: Draws):
        self._lines = lines
        self._draws = draws

    def words(self, items: Items, depth: int) -> str:
        if depth > MOST_NESTED:
            raise InvalidRequest(f"Wildcards name one another more than {MOST_NESTED} deep.")
        texts: list[str] = []
        length = 0
        for item in items:
            texts.append(item if isinstance(item, str) else self._chosen(item, depth))
            length += len(texts[-1])
            if length > LONGEST_PROMPT:
                raise InvalidRequest(f"What is drawn has more than {LONGEST_PROMPT:,} characters.")
        return "".join(texts)

    def _chosen(self, item: Wildcard | Choice, depth: int) -> str:
        if isinstance(item, Wildcard):
            item = Choice(options=tuple(self._lines(item.name)))
        options = list(item.options)
        if item.joiner is not None and len(options) == 1 and len(options[0].items) == 1:
            only = options[0].items[0]
            options = list(self._lines(only.name)) if isinstance(only, Wildcard) else options
        if item.joiner is None:
            return self.words(self._one(options).items, depth + 1)
        high = len(options) if item.high is None else min(item.high, len(options))
        texts = []
        for _ in range(self._draws.whole(min(item.low, high), high)):
            if not any(option.weight for option in options):
                break
            texts.append(self.words(self._one(options, take=True).items, depth + 1).strip())
        return item.joiner.join(filter(None, texts))

    def _one(self, options: list[Option], *, take: bool = False) -> Option:
        if not any(option.weight for option in options):
            raise InvalidRequest("All options of a choice have the weight 0: give one of them another.")
        place = self._draws.weighted([option.weight for option in options])
        return options.pop(place) if take else options[place]


class _Brackets:
    """Finds out which braces mean something: where each of them ends, and where its bars are."""

    def __init__(self, text: str, plain: Mapping[int, int]):
        self.meant: dict[int, tuple[int, list[int]]] = {}
        self._text = text
        self._opened: list[tuple[str, int, list[int]]] = []
        # How many brackets of each kind are open since the last brace: most signs that close find none, and look no
        # further.
        self._many: list[dict[str, int]] = [dict.fromkeys(_CLOSES.values(), 0)]
        at = 0
        while at < len(text):
            if at not in plain:
                self._take(text[at], at)
            at = plain.get(at, at + 1)

    def _take(self, sign: str, at: int) -> None:
        if sign == "{":
            self._many.append(dict.fromkeys(_CLOSES.values(), 0))
            self._opened.append((sign, at, []))
        elif sign in self._many[-1]:
            self._many[-1][sign] += 1
            self._opened.append((sign, at, []))
        elif sign == "|" and self._opened:
            self._opened[-1][2].append(at)
        elif sign == "}" and len(self._many) > 1:
            start, bars = self._close("{")
            self._many.pop()
            if bars or _COUNT.match(self._text, start + 1, at):
                self.meant[start] = (at, sorted(bars))
        elif sign in _CLOSES and self._many[-1][_CLOSES[sign]]:
            self._close(_CLOSES[sign])

    def _close(self, sign: str) -> tuple[int, list[int]]:
        """Where it began, and its bars, also those of brackets in it that are left open and so were never meant."""
        bars: list[int] = []
        while True:
            inner, start, its = self._opened.pop()
            bars += its
            if inner in self._many[-1]:
                self._many[-1][inner] -= 1
            if inner == sign:
                return start, bars


class _Reader:
    """Reads the text around the braces that mean something, and what stands in them."""

    def __init__(self, text: str):
        self._text = text
        self._plain = {found.start(): found.end() for found in _PLAIN.finditer(text)}
        self._meant = _Brackets(text, self._plain).meant

    @property
    def starts(self) -> list[int]:
        """Where choices begin."""
        return list(self._meant)

    def items(self, start: int, end: int, depth: int) -> Items:
        found: list[Item] = []
        at = begun = start
        while at < end:
            if at in self._plain:
                at = self._plain[at]
                continue
            name = NAME.match(self._text, at, end) if self._text[at] == "_" else None
            if name is None and at not in self._meant:
                at += 1
                continue
            found += [self._text[begun:at]] if at > begun else []
            if name:
                found.append(Wildcard(name=name[1].strip(), start=at, end=name.end()))
                at = begun = name.end()
            else:
                found.append(self._choice(at, depth + 1))
                at = begun = self._meant[at][0] + 1
        return (*found, self._text[begun:end]) if begun < end else tuple(found)

    def _choice(self, start: int, depth: int) -> Choice:
        if depth > MOST_NESTED:
            raise InvalidRequest(f"Only {MOST_NESTED} braces in one another can be read.")
        count, at = self._count(start)
        low, high, joiner = count or (1, 1, None)
        options = [
            Option(items=self.items(first, edge, depth), weight=weight)
            for first, edge, weight in self._options(start, at)
        ]
        return Choice(options=tuple(options), low=low, high=high, joiner=joiner)

    def _count(self, start: int) -> tuple[tuple[int, int | None, str] | None, int]:
        """How many are drawn and how they are joined, if that is said, and where the options begin."""
        end = self._meant[start][0]
        count = _COUNT.match(self._text, start + 1, end)
        if count is None:
            return None, start + 1
        said = _JOINER.match(self._text, count.end(), end)
        return (*_bounds(*count.groups()), said[1] if said else USUAL_JOINER), (said or count).end()

    def _options(self, start: int, at: int) -> Iterator[tuple[int, int, float]]:
        """Where the words of each option begin and end, and its weight; `at` is where the first one begins."""
        end, bars = self._meant[start]
        for edge in [*(bar for bar in bars if bar >= at), end]:
            weight = _WEIGHT.match(self._text, at, edge)
            yield weight.end() if weight else at, edge, float(weight[1]) if weight else 1.0
            at = edge + 1

    def blanked(self) -> str:
        """The text with blanks in the place of all signs of choices."""
        signs = list(self._text)
        for start, (end, _) in self._meant.items():
            kept = start
            for first, edge, _ in [*self._options(start, self._count(start)[1]), (end + 1, end + 1, 1.0)]:
                signs[kept:first] = " " * (first - kept)
                kept = edge
        return "".join(signs)


def _bounds(first: str | None, last: str | None, most: str | None) -> tuple[int, int | None]:
    """What ``2``, ``2-3``, ``2-`` and ``-3`` mean."""
    if most is not None:
        return min(1, int(most)), int(most)
    low = int(first or 0)
    if last is None:
        return low, low
    return (low, None) if not last else (min(low, int(last)), max(low, int(last)))
