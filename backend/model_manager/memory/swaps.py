"""How long swaps took, and so how long the next one will take."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from statistics import median
from typing import Literal

REMEMBERED = 8
LEAST = 1024 * 1024  # bytes: what is smaller says more about the machine's mood than about its speed
FARTHEST = 16  # times the largest swap seen: of what is larger still it says nothing, as small ones mostly wait

Way = Literal["disk", "ram"]


class SwapHistory:
    """The last loads from disk and copies from RAM, in bytes and seconds."""

    def __init__(self, least: int = LEAST) -> None:
        """Swaps of fewer than `least` bytes are not remembered."""
        self._least = least
        self._seen: dict[Way, deque[tuple[int, float]]] = {
            "disk": deque(maxlen=REMEMBERED),
            "ram": deque(maxlen=REMEMBERED),
        }

    def add(self, way: Way, size: int, seconds: float) -> None:
        """`size` bytes became ready to compute within `seconds`, from the disk or from RAM."""
        if size >= self._least and seconds > 0:
            self._seen[way].append((size, seconds))

    def seconds(self, sizes: Mapping[Way, int]) -> float | None:
        """What it will take to make so many bytes ready, by the larger ones of the swaps seen; None while those are too
        few or too small to tell."""
        total = 0.0
        for way, size in sizes.items():
            largest = max((seen for seen, _ in self._seen[way]), default=0)
            if size > FARTHEST * largest:
                return None
            rates = [seen / seconds for seen, seconds in self._seen[way] if 2 * seen >= largest]
            total += size / median(rates) if size else 0.0
        return total


class SwapClock:
    """Measures one swap, which may come partly from disk and partly from RAM."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter):
        self._clock = clock
        self._spent: dict[Way, tuple[int, float]] = {"disk": (0, 0.0), "ram": (0, 0.0)}

    @contextmanager
    def measured(self, way: Way) -> Iterator[None]:
        """The time of what is done in the `with` belongs to that way."""
        started = self._clock()
        yield
        size, seconds = self._spent[way]
        self._spent[way] = size, seconds + self._clock() - started

    def moved(self, way: Way, size: int) -> None:
        """So many bytes came that way."""
        before, seconds = self._spent[way]
        self._spent[way] = before + size, seconds

    def report(self, history: SwapHistory) -> None:
        """The swap is done."""
        for way, (size, seconds) in self._spent.items():
            history.add(way, size, seconds)
