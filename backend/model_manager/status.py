"""What is loaded, on what, and what is being loaded: told to whoever shows it."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True, kw_only=True)
class ModelStatus:
    """`device` is what the networks run on, in words; `loading` and `problem` are empty where nothing is to be said."""

    checkpoint: str = ""
    family: str = ""
    size: int = 0
    device: str = ""
    attention: str = ""
    loading: str = ""
    problem: str = ""


class StatusBoard:
    """The current `ModelStatus`, and those who want to know when it changes. Safe to use from any thread."""

    def __init__(self, value: ModelStatus):
        self.value = value
        self._lock = threading.Lock()
        self._listeners: set[Callable[[], None]] = set()

    def post(self, **changes: Any) -> None:
        """Change some fields and tell every listener."""
        with self._lock:
            self.value = replace(self.value, **changes)
        for listener in tuple(self._listeners):
            listener()

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener()` after each change, on the thread that made it; returns the function that ends it."""
        self._listeners.add(listener)
        return lambda: self._listeners.discard(listener)
