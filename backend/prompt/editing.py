"""Prompt editing: words that change while a picture is made.

``[from:to:when]``, ``[to:when]`` and ``[from::when]`` change once, ``[a|b]`` with every call. Brackets nest. All is
read as AUTOMATIC1111 reads it: an editing that cannot be read is left in the words as it stands, and a ``|`` anywhere
else leaves all of them so. (Where brackets are left over, its own parser chooses by chance; this reads what it can.)
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from backend.prompt.attention import PAIRS

Item: TypeAlias = "str | Group | Edit | Alternation"
Items: TypeAlias = Sequence[Item]

_SIGN = re.compile(r"\\.|[\[\]():|\\]|[^\\\[\]():|]+")
_NUMBER = re.compile(r"\s*([+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)\s*")
MOST_COLONS = 2


@dataclass(frozen=True, kw_only=True)
class Passes:
    """How the calls of the denoiser are counted: `total` are those that a request's steps ask for, two to a step where
    the sampler is of second order. In the second pass of hires fix `first` are those of the first pass. `old` is
    AUTOMATIC1111's rule before 1.6: a number below 1 is a share, and the second pass is as the first."""

    total: int
    first: int | None = None
    old: bool = False

    @property
    def counted(self) -> int:
        """What shares are shares of."""
        return self.first if self.old and self.first is not None else self.total

    def last_call(self, when: str) -> int:
        """The last call before a change at `when`: a share of all where it has a point, else a number of calls. 1.0 to
        2.0, and what is above the first pass's number, are those of the second pass. Below 1 there is none."""
        number = float(when)
        if self.old:
            number = number * self.counted if number < 1 else number
        elif "." in when:
            number = (number - (0 if self.first is None else 1)) * self.counted
        else:
            number -= self.first or 0
        return int(max(0, min(self.counted, number)))


@dataclass(frozen=True)
class Group:
    """What stands in brackets that say nothing here, with them."""

    items: Items

    def at(self, _call: int, _passes: Passes) -> Items:
        return self.items

    def options(self) -> tuple[Items, ...]:
        return (self.items,)


@dataclass(frozen=True)
class Edit:
    """Words that change once, at `when`, as written."""

    before: Items
    after: Items
    when: str

    def at(self, call: int, passes: Passes) -> Items:
        return self.before if call <= passes.last_call(self.when) else self.after

    def options(self) -> tuple[Items, ...]:
        return self.before, self.after


@dataclass(frozen=True)
class Alternation:
    """Words that take turns."""

    each: tuple[Items, ...]

    def at(self, call: int, _passes: Passes) -> Items:
        return self.each[(call - 1) % len(self.each)]

    def options(self) -> tuple[Items, ...]:
        return self.each


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A mistake at ``text[start:end]`` of what was read, in a sentence."""

    message: str
    start: int
    end: int


@dataclass(frozen=True, kw_only=True)
class Edited:
    """A text with what changes in it. `faults` are the places that were meant to change and do not."""

    items: Items
    faults: tuple[Fault, ...] = ()

    def texts(self, passes: Passes) -> list[tuple[int, str]]:
        """What is said when: the last call that each text is for, with the text, in rising order. It always has one for
        the last call of all; two neighbours may be alike."""
        ends = {passes.counted}
        for item in _walk(self.items):
            if isinstance(item, Alternation):
                ends.update(range(1, passes.counted + 1))
            elif isinstance(item, Edit) and (end := passes.last_call(item.when)) >= 1:
                ends.add(end)
        return [(end, _said(self.items, end, passes)) for end in sorted(ends)]

    def words(self) -> list[str]:
        """Every text that is said at some time, in pieces: what is always said, and each option."""
        pieces: list[str] = []
        waiting = [self.items]
        while waiting:
            plain: list[str] = []
            unread = list(reversed(waiting.pop()))
            while unread:
                item = unread.pop()
                if isinstance(item, str):
                    plain.append(item)
                elif isinstance(item, Group):
                    unread += reversed(item.items)
                else:
                    first, *others = item.options()
                    unread += reversed(first)
                    waiting += others
            pieces.append("".join(plain))
        return pieces


def _walk(items: Items) -> "Iterator[Group | Edit | Alternation]":
    unread = [items]
    while unread:
        for item in unread.pop():
            if not isinstance(item, str):
                yield item
                unread += item.options()


def _said(items: Items, call: int, passes: Passes) -> str:
    said: list[str] = []
    unread = list(reversed(items))
    while unread:
        item = unread.pop()
        if isinstance(item, str):
            said.append(item)
        else:
            unread += reversed(item.at(call, passes))
    return "".join(said)


@dataclass(kw_only=True)
class _Bracket:
    """One that is open, from `start` on, and what stands in it: `parts`, with `marks` between them, the first | of
    them at `bar`."""

    sign: str
    start: int
    bar: int | None = None
    parts: list[list[Item]] = field(default_factory=lambda: [[]])
    marks: list[str] = field(default_factory=list)

    def spelled(self) -> list[Item]:
        """All of it as it stands."""
        items: list[Item] = [self.sign, *self.parts[0]] if self.sign else list(self.parts[0])
        for mark, part in zip(self.marks, self.parts[1:], strict=True):
            items += [mark, *part]
        return items


class _Reader:
    """Reads signs from left to right. A bracket is made something of when it is closed; one that cannot be is, with all
    those around it, nothing but signs."""

    def __init__(self) -> None:
        self.open = [_Bracket(sign="", start=0)]
        self.faults: list[Fault] = []
        self.stray: tuple[str, int] | None = None  # a sign that leaves everything unread, and where

    def read(self, sign: str, start: int) -> None:
        top = self.open[-1]
        if sign in ("(", "["):
            self.open.append(_Bracket(sign=sign, start=start))
        elif sign in (")", "]"):
            self._close(sign, start)
        elif sign in (":", "|") and top.sign:
            top.marks.append(sign)
            top.parts.append([])
            if sign == "|" and top.bar is None:
                top.bar = start
        else:
            top.parts[-1].append(sign)
            if sign in ("|", "\\"):
                self._strays(sign, start)

    def spell(self) -> None:
        """Make all that is open nothing but signs."""
        for bracket in self.open[1:]:
            self.open[0].parts[-1] += bracket.spelled()
            if bracket.bar is not None:
                self._strays("|", bracket.bar)
        del self.open[1:]

    def _close(self, sign: str, start: int) -> None:
        bracket = self.open[-1]
        if bracket.sign != PAIRS[sign]:
            made, fault = None, ""
        else:
            made, fault = _round(bracket) if sign == ")" else _square(bracket)
        if made is not None:
            self.open.pop()
            self.open[-1].parts[-1].append(made)
            return
        # In round brackets alone two colons are no mistake: nothing is to change there.
        if fault and (sign == "]" or any(outer.sign == "[" for outer in self.open)):
            self.faults.append(Fault(message=fault, start=bracket.start, end=start + 1))
        self.spell()
        self.open[0].parts[-1].append(sign)

    def _strays(self, sign: str, start: int) -> None:
        self.stray = self.stray or (sign, start)


def _round(bracket: _Bracket) -> tuple[Group | None, str]:
    if bracket.bar is not None:
        return None, ""
    if len(bracket.marks) > 1:
        return None, "Round brackets with two colons keep the [ ] around them from changing: leave one out."
    return Group((*bracket.spelled(), ")")), ""


def _square(bracket: _Bracket) -> "tuple[Group | Edit | Alternation | None, str]":
    parts, colons = bracket.parts, bracket.marks.count(":")
    if not bracket.marks:
        return Group((*bracket.spelled(), "]")), ""
    if not colons:
        return Alternation(tuple(tuple(part) for part in parts)), ""
    if colons < len(bracket.marks):
        return None, "[ ] with both : and | is read as plain words: write one of them in brackets of its own."
    last = "".join(item if isinstance(item, str) else "[" for item in parts[-1])
    when = _NUMBER.fullmatch(last)
    if when is None:
        said = f"{last.strip()[:40]!r} is no number" if last.strip() else "there is no number"
        return None, f"In [from:to:when] {said} for when, so that it is read as plain words: write one like 0.5 or 8."
    if colons > MOST_COLONS:
        return None, "[ ] with more than two colons is read as plain words: [from:to:when] is allowed."
    before = tuple(parts[0]) if colons == MOST_COLONS else ()
    return Edit(before, tuple(parts[-2]), when[1]), ""


def read_editing(text: str) -> Edited:
    """Find what changes in a text."""
    reader = _Reader()
    for sign in _SIGN.finditer(text):
        reader.read(sign[0], sign.start())
    reader.spell()
    items, faults = reader.open[0].parts[0], reader.faults
    if reader.stray is None:
        return Edited(items=tuple(items), faults=tuple(faults))
    sign, start = reader.stray
    if any(not isinstance(item, Group) for item in _walk(items)):
        why = f"This {sign} keeps every [ ] of the prompt from changing: it belongs into [ ] where words are to change."
        if sign == "\\":
            why = "A \\ without a sign after it keeps every [ ] of the prompt from changing: take it out."
        faults.append(Fault(message=why, start=start, end=start + 1))
    return Edited(items=(text,), faults=tuple(faults))
