"""How often somebody may guess."""

import threading
import time
from collections import deque
from collections.abc import Callable

TRIES = 5  # of one address or one known browser
ALL_TRIES = 20  # of everybody whom we do not know
WINDOW = 60.0  # seconds
MOST_KEYS = 10_000


class Throttle:
    """Counts tries in a sliding window, for each who tries and for all of them together.

    The sum is what stops guesses from many addresses. It does not count browsers that have logged in before, so that
    nobody can lock them out. Safe to use from any thread.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic):
        self._now = now
        self._lock = threading.Lock()
        self._tries: dict[str, deque[float]] = {}
        self._all: deque[float] = deque()

    def wait(self, key: str, *, known: bool = False) -> float:
        """Seconds until `key` may try; 0.0 where it may now, and then this try is counted."""
        with self._lock:
            now = self._now()
            counts = [(self._of(key, now), TRIES)] if known else [(self._of(key, now), TRIES), (self._all, ALL_TRIES)]
            for tries, _ in counts:
                while tries and tries[0] <= now - WINDOW:
                    tries.popleft()
            waits = [tries[len(tries) - most] + WINDOW - now for tries, most in counts if len(tries) >= most]
            if waits:
                return max(waits)
            for tries, _ in counts:
                tries.append(now)
            return 0.0

    def forgive(self, key: str) -> None:
        """Forget the tries of somebody who was right; those of all go on being counted."""
        with self._lock:
            tries = self._tries.pop(key, deque())
            if tries and self._all and tries[-1] == self._all[-1]:
                self._all.pop()

    def _of(self, key: str, now: float) -> deque[float]:
        if key not in self._tries and len(self._tries) >= MOST_KEYS:
            old = [each for each, tries in self._tries.items() if not tries or tries[-1] <= now - WINDOW]
            # If all are of late, those who came first lose their count; the sum holds all the same.
            for each in old or list(self._tries)[: MOST_KEYS // 10]:
                del self._tries[each]
        return self._tries.setdefault(key, deque())
