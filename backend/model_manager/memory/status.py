"""What is loaded, on what, and what is being loaded: told to whoever shows it."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from backend.listeners import Listeners

Temperature = Literal["hot", "warm", "cold"]


@dataclass(frozen=True, kw_only=True)
class Occupant:
    """One network in memory: which checkpoints it belongs to, and its bytes. `ram` is memory of ours, `mapped` are the
    file's own pages, which the system takes back when it needs them; `vram` is 0 where it computes straight from RAM.
    `leased` is in use now, `kept` stays warm because somebody asked for it."""

    fingerprint: str
    role: str
    checkpoints: tuple[str, ...]
    ram: int
    mapped: int
    vram: int
    leased: bool
    kept: bool


@dataclass(frozen=True, kw_only=True)
class MemoryReport:
    """What occupies memory, in bytes, and the most that models may. `vram_budget` is 0 where there is no VRAM.
    `patched` are the weights that LoRAs have changed, beside the clean ones, where networks compute."""

    occupants: tuple[Occupant, ...] = ()
    ram: int = 0
    ram_budget: int = 0
    mapped: int = 0
    vram: int = 0
    vram_budget: int = 0
    patched: int = 0


@dataclass(frozen=True, kw_only=True)
class Swap:
    """What a swap to a checkpoint means: it is ``hot`` (ready to compute), ``warm`` (in RAM, to be copied to the
    device) or ``cold`` (on disk); `seconds` is the estimate by past swaps, None before there were any."""

    temperature: Temperature
    seconds: float | None


@dataclass(frozen=True, kw_only=True)
class ModelStatus:
    """`device` is what the networks run on, in words; `loading` and `problem` are empty where nothing is to be said.
    `size` is the bytes of the networks of `checkpoint`, as they compute."""

    checkpoint: str = ""
    family: str = ""
    size: int = 0
    device: str = ""
    attention: str = ""
    loading: str = ""
    problem: str = ""
    memory: MemoryReport = MemoryReport()


class StatusBoard:
    """The current `ModelStatus`, and those who want to know when it changes. Safe to use from any thread."""

    def __init__(self, value: ModelStatus):
        self.value = value
        self._lock = threading.Lock()
        self._listeners = Listeners()

    def post(self, **changes: Any) -> None:
        """Change some fields and tell every listener."""
        with self._lock:
            self.value = replace(self.value, **changes)
        self._listeners.tell()

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener()` after each change, on the thread that made it; returns the function that ends it."""
        return self._listeners.add(listener)
