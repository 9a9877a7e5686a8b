"""Two ways of doing the same, timed in alternation, so that whatever slows the machine down slows both."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median, quantiles


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Seconds of two ways: `first[k]` and `second[k]` were taken one right after the other."""

    first: tuple[float, ...]
    second: tuple[float, ...]

    @property
    def ratios(self) -> list[float]:
        """The first way's time over the second's, pair by pair."""
        return [a / b for a, b in zip(self.first, self.second, strict=True)]

    @property
    def ratio(self) -> float:
        """The median of the pairs' ratios, which a few disturbed pairs do not move."""
        return median(self.ratios)

    @property
    def spread(self) -> tuple[float, float]:
        """The quartiles around it: how far pairs disagree."""
        if len(self.ratios) == 1:
            return self.ratio, self.ratio
        low, _, high = quantiles(self.ratios, n=4, method="inclusive")
        return low, high


def alternate(
    first: Callable[[], object],
    second: Callable[[], object],
    count: int,
    clock: Callable[[], float] = time.perf_counter,
) -> Pairs:
    """Run both ways `count` times. Every other pair is turned around (ABBA), so that neither always comes after the
    other. A way has to return only when its work is done."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for pair in range(count):
        order = (0, 1) if pair % 2 == 0 else (1, 0)
        for way in order:
            started = clock()
            (first, second)[way]()
            seconds[way].append(clock() - started)
    return Pairs(first=tuple(seconds[0]), second=tuple(seconds[1]))
