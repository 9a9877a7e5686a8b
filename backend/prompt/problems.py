"""The mistakes in a prompt, each where it was typed, for a page to show. But for those in tokens of networks,
none keeps a picture from being made: what a sentence says is what AUTOMATIC1111 makes of it, in silence."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from backend.prompt.attention import BREAK, MOST_NESTED, PAIRS, weight_of
from backend.prompt.composition import AND, subprompts
from backend.prompt.editing import read_editing
from backend.prompt.grammar import TOKEN, Problem, read_prompt, words_in
from backend.prompt.passage import Passage

MOST_PROBLEMS = 20
_SIGN = re.compile(r"\\[()\[\]\\]?|[()\[\]:]|" + BREAK.pattern)
_NUMBER = re.compile(r"[+-]?[.\d]+")
_LONGEST_QUOTE = 40


def problems_in(prompt: str, *, negative: bool = False, literal: bool = False) -> tuple[Problem, ...]:
    """What is wrong in a prompt, in the order in which it stands there, at most the first `MOST_PROBLEMS`.

    Tokens of networks are among it, and stop a generation (`ReadPrompt.check`). In a negative prompt they are words,
    and so is ``AND``. With `literal` brackets weigh nothing, so that none of them can be wrong.
    """
    words = words_in(prompt, negative=negative)
    found: list[Problem] = []
    if negative:
        passages = [words]
        for sign, said in (
            (AND, "AND joins nothing in the negative prompt: it is a word there."),
            (TOKEN, "Nothing is put on by a negative prompt: move this to the prompt."),
        ):
            found += [_problem(said, words, *match.span()) for match in sign.finditer(words.text)]
    else:
        found += read_prompt(prompt).problems
        parts = subprompts(words)
        passages = [part.passage for part in parts]
        if len(parts) == 1 and (at := parts[0].weight_at) is not None:
            said = f"The number at the end makes all of the prompt count {parts[0].weight:g} times: put a comma there."
            found.append(Problem(message=said, start=at[0], end=at[1]))
    for passage in passages:
        found += [] if literal else _of_brackets(passage)
        found += [
            _problem(fault.message, passage, fault.start, fault.end) for fault in read_editing(passage.text).faults
        ]
    return tuple(sorted(found, key=lambda problem: (problem.start, problem.end))[:MOST_PROBLEMS])


def _problem(message: str, passage: Passage, start: int, end: int) -> Problem:
    first, last = passage.span(start, end)
    return Problem(message=message, start=first, end=last)


@dataclass(kw_only=True)
class _Bracket:
    """One that is open: where, behind which sign its weight would stand, and where BREAK stands in it."""

    sign: str
    start: int
    colon: int | None = None
    breaks: list[int] = field(default_factory=list)


def _of_brackets(passage: Passage) -> Iterator[Problem]:
    """Brackets that do not match, weights that are no numbers, and BREAK where it is a word."""
    opened: list[_Bracket] = []
    many = dict.fromkeys(PAIRS.values(), 0)
    for match in _SIGN.finditer(passage.text):
        sign, start = match[0], match.start()
        if sign in many:
            opened.append(_Bracket(sign=sign, start=start))
            many[sign] += 1
            if len(opened) == MOST_NESTED + 1:
                yield _problem(f"Only {MOST_NESTED} brackets in one another count.", passage, start, start + 1)
        elif sign in PAIRS and not many[PAIRS[sign]]:
            said = f"This {sign} closes nothing: write \\{sign} for the sign itself."
            yield _problem(said, passage, start, start + 1)
        elif sign in PAIRS:
            while (bracket := opened.pop()).sign != PAIRS[sign]:
                many[bracket.sign] -= 1
                yield _unclosed(bracket, passage)
            many[bracket.sign] -= 1
            yield from _of_attention(bracket, start, passage, opened)
        elif sign == ":" and opened:
            opened[-1].colon = start
        elif sign == "BREAK" and opened:
            opened[-1].breaks.append(start)
    for bracket in opened:
        yield _unclosed(bracket, passage)


def _unclosed(bracket: _Bracket, passage: Passage) -> Problem:
    said = f"This {bracket.sign} is never closed: write \\{bracket.sign} for the sign itself."
    return _problem(said, passage, bracket.start, bracket.start + 1)


def _of_attention(bracket: _Bracket, end: int, passage: Passage, outer: list[_Bracket]) -> Iterator[Problem]:
    """What is wrong in round brackets; what stands in square ones may be editing, which has its own faults."""
    if bracket.sign != "(":
        return
    weight = None
    if bracket.colon is not None:
        text = passage.text[bracket.colon + 1 : end].strip()
        weight = weight_of(text) if _NUMBER.fullmatch(text) else None
        if weight is None and not set(text) & set("([])"):
            said = f"{text[:_LONGEST_QUOTE]!r} is no weight and is read as words: write a number like 1.2 there."
            yield _problem(said, passage, bracket.colon, end)
    if weight == 1 and outer:
        outer[-1].breaks += bracket.breaks
    elif weight != 1:
        for start in bracket.breaks:
            said = "BREAK in brackets that weigh is a word: close them before it and open them again after it."
            yield _problem(said, passage, start, start + len("BREAK"))
