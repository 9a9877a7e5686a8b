"""What is done when memory runs out: lighter ways one after the other, and a sentence when there is none left."""

import errno
import gc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

import torch

from backend.errors import OutOfMemory

T = TypeVar("T")
# torch has no type of its own for a failed allocation on the CPU.
ALLOCATOR_SAYS = (
    "DefaultCPUAllocator",
    "can't allocate memory",
    "out of memory",
    "bad_alloc",
    "Cannot allocate memory",
)


@dataclass(frozen=True, kw_only=True)
class Shortage:
    """Memory ran out; `reason` is the allocator's first line. A value, because an exception would hold the tensors of
    every frame that it went through."""

    reason: str


@dataclass(frozen=True, kw_only=True)
class Relief:
    """How a piece of work is made lighter: at most `batch` pictures at once, decoded in tiles, and each network on the
    device only while it runs."""

    batch: int
    tiled: bool = False
    offloaded: bool = False


def out_of_memory(error: BaseException) -> bool:
    """Whether an allocator said no, on any device."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and any(words in str(error) for words in ALLOCATOR_SAYS)


def first_line(error: BaseException) -> str:
    """The first line of what an error says, or its type where it says nothing."""
    return (str(error) or type(error).__name__).splitlines()[0]


def attempt(work: Callable[[], T]) -> T | Shortage:
    """What `work` returns, or the shortage that ended it; every other exception goes on."""
    try:
        return work()
    except (RuntimeError, MemoryError, OSError) as error:
        if not out_of_memory(error):
            raise
        reason = first_line(error)
    # Here the exception is gone, and its frames with it, but for those in reference cycles.
    gc.collect()
    return Shortage(reason=reason)


class Rescue:
    """The ways out of a shortage, in the order in which they cost the artist least."""

    def __init__(self, *, free: Callable[[], int], offload: Callable[[], bool], notice: Callable[[str], None]):
        """`free()` drops what is loaded and not in use and returns its bytes; `offload()` keeps each network on the
        device only while it runs from now on, and is False where that cannot be; `notice(sentence)` tells the artist
        what was done."""
        self._free = free
        self._offload = offload
        self._notice = notice

    def run(
        self, work: Callable[[Relief], T], relief: Relief, *, what: str, tiles: bool = False, batches: bool = False
    ) -> tuple[T, Relief]:
        """What `work(relief)` returns, and the relief with which it did: begin the next piece with that.

        `what` is the work in words (``decoding the picture``); `tiles` says that it can be tiled, `batches` that it can
        be done for fewer pictures at once. Raises `OutOfMemory` when nothing helps; what else `work` raises goes on.
        """
        result = attempt(lambda: work(relief))
        ways = self._ways(relief, tiles=tiles, batches=batches)
        while isinstance(result, Shortage) and (way := next(ways, None)):
            relief, sentence = way
            self._notice(f"Memory ran out while {what}: {sentence}.")
            result = attempt(lambda now=relief: work(now))
        if isinstance(result, Shortage):
            raise OutOfMemory(
                f"There is not enough memory for {what}, whatever was tried ({result.reason}): make the picture "
                "smaller, or close other programs."
            )
        return result, relief

    def _ways(self, relief: Relief, *, tiles: bool, batches: bool) -> Iterator[tuple[Relief, str]]:
        """Each next way, made ready when it is asked for."""
        if freed := self._free():
            yield relief, f"{freed / 1e6:,.0f} MB of models that were not in use were dropped"
        if tiles and not relief.tiled:
            relief = replace(relief, tiled=True)
            yield relief, "the picture was made in tiles"
        while batches and relief.batch > 1:
            relief = replace(relief, batch=(relief.batch + 1) // 2)
            yield relief, f"at most {relief.batch} at once from now on"
        if not relief.offloaded and self._offload():
            yield replace(relief, offloaded=True), "each network is loaded only while it runs, which takes longer"
