"""Composition: prompts that AND joins, each with a guess of its own (Liu et al. 2022, "Compositional Visual Generation
with Composable Diffusion Models")."""

import re
from dataclasses import dataclass

from backend.prompt.passage import Passage

AND = re.compile(r"\bAND\b")
_NUMBER = re.compile(r"\s*([-+]?(?:\d+\.?|\d*\.\d+))")


@dataclass(frozen=True, kw_only=True)
class Subprompt:
    """One of the prompts that ``AND`` joins, and how much of the guidance it has. `weight_at` is where in the whole
    prompt its weight stands, from the colon on, if it has one."""

    passage: Passage
    weight: float = 1.0
    weight_at: tuple[int, int] | None = None

    @property
    def text(self) -> str:
        return self.passage.text


def subprompts(prompt: Passage) -> list[Subprompt]:
    """What ``AND`` joins, at least one; ``a cat :0.6`` has the weight 0.6. As in AUTOMATIC1111 a prompt without AND may
    have one too, and blanks at the end of each do not count."""
    found: list[Subprompt] = []
    start = 0
    for joint in [*(match.span() for match in AND.finditer(prompt.text)), (len(prompt.text), 0)]:
        found.append(_weighed(prompt.between(start, joint[0])))
        start = joint[1]
    return found


def _weighed(passage: Passage) -> Subprompt:
    text = passage.text.rstrip()
    before, colon, after = text.rpartition(":")
    number = _NUMBER.fullmatch(after) if colon else None
    if number is None:
        return Subprompt(passage=passage.between(0, len(text)))
    return Subprompt(
        passage=passage.between(0, len(before.rstrip())),
        weight=float(number[1]),
        weight_at=passage.span(len(before), len(text)),
    )
