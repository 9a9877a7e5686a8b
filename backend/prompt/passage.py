"""Text that remembers where in the prompt it stands, so that a mistake can be shown where it was typed."""

import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Passage:
    """A text, and `places`: where in the prompt each of its characters stands, and its end."""

    text: str
    places: Sequence[int]

    @classmethod
    def of(cls, prompt: str) -> "Passage":
        """All of a prompt."""
        return cls(prompt, range(len(prompt) + 1))

    def between(self, start: int, end: int) -> "Passage":
        """What stands at ``text[start:end]``."""
        return Passage(self.text[start:end], self.places[start : end + 1])

    def replaced(self, pattern: re.Pattern[str], by: str) -> "Passage":
        """With `by` wherever `pattern` matches; it stands where the match begins."""
        texts: list[str] = []
        places: list[int] = []
        done = 0
        for found in pattern.finditer(self.text):
            texts += [self.text[done : found.start()], by]
            places += [*self.places[done : found.start()], *[self.places[found.start()]] * len(by)]
            done = found.end()
        if not done and not texts:
            return self
        return Passage("".join([*texts, self.text[done:]]), [*places, *self.places[done:]])

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The first and the last place of ``text[start:end]`` in the prompt, as a slice of it."""
        first = self.places[start]
        return first, self.places[end - 1] + 1 if end > start else first
