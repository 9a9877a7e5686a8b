"""Those who want to know when something changes, and look for themselves what it is now."""

from collections.abc import Callable


class Listeners:
    """Functions to call after each change, on the thread that made it. Safe to use from any thread."""

    def __init__(self) -> None:
        self._listeners: set[Callable[[], None]] = set()

    def add(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener()` from now on; returns the function that ends it."""
        self._listeners.add(listener)
        return lambda: self._listeners.discard(listener)

    def tell(self) -> None:
        """Call them all."""
        for listener in tuple(self._listeners):
            listener()
