"""Names found while somebody types the beginning of one: quickly, among hundreds of thousands."""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate

EXACT, BEGINS, BEGINS_A_WORD, CONTAINS = range(4)
SHORTEST_INSIDE = 3  # characters: fewer stand within almost every name


@dataclass(frozen=True, kw_only=True)
class Hit:
    """`what` is named by `name`; `rank` says how well what was typed fits: `EXACT` to `CONTAINS`."""

    what: int
    name: str
    rank: int


_BLANKS = str.maketrans("_/\\\t\r", "     ")
_SPACE = re.compile(r" *\n *| {2,}")


def simple(names: str) -> str:
    """Names, a line each, as they are compared: case does not count, nor whether words are parted by blanks, lines or
    slashes."""
    lines = names.casefold().translate(_BLANKS).strip(" ")
    return _SPACE.sub(lambda found: "\n" if "\n" in found[0] else " ", lines)


class NameSearch:
    """Names of numbered things; a thing may have several.

    All are one text, a line each, in which the typed one is looked for: a loop over the names takes ten times as long.
    """

    def __init__(self, names: Iterable[tuple[str, int]]):
        """Each name with what it names; of those that fit alike the first are found first."""
        every = list(names)
        self._names = [name for name, _ in every]
        self._things = [thing for _, thing in every]
        lines = simple("\n".join(" ".join(name.split("\n")) for name in self._names))
        self._text = f"\n{lines}\n"
        # Where the lines begin: each a sign behind the end of the one before.
        self._starts = list(accumulate((len(line) + 1 for line in lines.split("\n")[:-1]), initial=1))

    def find(self, typed: str, *, most: int) -> list[Hit]:
        """At most `most` things that `typed` may begin to name, the best first."""
        wanted = simple(" ".join(typed.split()))
        if not wanted or wanted not in self._text:
            return []
        patterns = [(f"\n{wanted}\n", EXACT), (f"\n{wanted}", BEGINS), (f" {wanted}", BEGINS_A_WORD)]
        if len(wanted) >= SHORTEST_INSIDE:
            patterns.append((wanted, CONTAINS))
        found: dict[int, Hit] = {}
        for pattern, rank in patterns:
            for line in self._lines_with(pattern):
                thing = self._things[line]
                if thing not in found:
                    found[thing] = Hit(what=thing, name=self._names[line], rank=rank)
                    if len(found) == most:
                        return list(found.values())
        return list(found.values())

    def _lines_with(self, pattern: str) -> Iterator[int]:
        """The numbers of the lines in which a pattern stands."""
        at = self._text.find(pattern)
        while at >= 0:
            # A pattern that begins with a line's end stands in the line behind it.
            line = bisect_right(self._starts, at + (pattern[0] == "\n")) - 1
            yield line
            end = self._text.find("\n", self._starts[line])
            at = self._text.find(pattern, max(at + 1, end))
