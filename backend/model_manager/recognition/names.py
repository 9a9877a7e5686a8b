"""The names of a file's tensors as one text, and what was found in it."""

import re
from collections.abc import Iterable
from functools import cache


class Names:
    """Names, one to a line. Each question about them is answered by a search once: a trainer names the same thousand
    tensors whatever their shapes, so one list of names is many files'."""

    def __init__(self, text: str):
        """`text` has a line feed before and behind every name."""
        self.count = cache(text.count)
        """How often a mark occurs."""
        self.holds = cache(text.__contains__)
        """Whether a mark occurs."""
        self._flat_holds = cache(text.replace(".", "_").__contains__)
        self._search = cache(lambda pattern: pattern.search(text))

    def any_flat(self, marks: Iterable[str]) -> bool:
        """Whether one of the marks occurs where dots are written as underscores."""
        return any(map(self._flat_holds, marks))

    def first(self, pattern: re.Pattern[str]) -> str:
        """What the first match of a pattern's group is, empty if there is none."""
        found = self._search(pattern)
        return found[1] if found else ""
