"""What is known of a prompt before its words are drawn by chance: asked of the extensions that draw them."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from backend.errors import UserError
from backend.extension_api import PromptWords, Sample
from backend.extensions.extension import Extension
from backend.extensions.extensions import Extensions
from backend.prompt.grammar import Problem

T = TypeVar("T")


class Wildcards:
    """The words that extensions know. One that fails has nothing to say. Safe to use from any thread."""

    def __init__(self, extensions: Extensions):
        self._extensions = extensions

    def names(self) -> list[str]:
        """What can be written between two ``__``."""
        return [name for words in self._all() for name in self._asked(words, "names", list, words[1].names)]

    def problems(self, text: str) -> tuple[Problem, ...]:
        """The mistakes of a prompt, each where it stands. Never raises."""
        found = (self._asked(words, "problems", tuple, words[1].problems, text) for words in self._all())
        return tuple(problem for problems in found for problem in problems)

    def plain(self, text: str) -> tuple[str, Sequence[int]]:
        """The text as it can be read before anything is drawn, and where in it something is drawn."""
        places: list[int] = []
        for words in self._all():
            text, found = self._asked(words, "plain", lambda read=text: (read, ()), words[1].plain, text)
            places += found
        return text, sorted(places)

    def open(self, *texts: str) -> bool:
        """Whether anything in these is left to chance."""
        return any(self._drawer(text) for text in texts)

    def samples(self, prompt: str, negative_prompt: str = "", *, seed: int = 0, count: int = 10) -> list[Sample]:
        """The words of pictures whose seeds go up from `seed`; none where nothing is left to chance. Raises `UserError`
        for prompts that cannot be."""
        drawer = self._drawer(prompt) or self._drawer(negative_prompt)
        if drawer is None:
            return [Sample(seed=seed + k, prompt=prompt, negative_prompt=negative_prompt) for k in range(count)]
        extension, words = drawer
        ask = self._extensions.calls.answer
        return list(ask(extension, "samples", words.samples, prompt, negative_prompt, seed=seed, count=count))

    def _drawer(self, text: str) -> tuple[Extension, PromptWords] | None:
        """The first that would draw something in this text."""
        for words in self._all():
            if self._asked(words, "open", bool, words[1].open, text):
                return words
        return None

    def _all(self) -> list[tuple[Extension, PromptWords]]:
        active = self._extensions.active()
        return [(each, each.brought.words) for each in active if each.brought.words is not None]

    def _asked(
        self,
        words: tuple[Extension, PromptWords],
        what: str,
        nothing: Callable[[], T],
        ask: Callable[..., T],
        *args: str,
    ) -> T:
        try:
            return self._extensions.calls.call_apart(words[0], what, ask, *args)
        except UserError:  # it is noted with the extension
            return nothing()
