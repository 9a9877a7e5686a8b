"""Encoded prompts that are kept, so that the same words are not encoded again for the next picture."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import TypeAlias

from backend.sampling.conditioning import Conditioning

LARGEST = 64 * 2**20  # bytes: some two hundred chunks of SDXL

Encoded: TypeAlias = Sequence[Sequence[Conditioning]]
# Gives what was encoded for a key, or what the function encodes now.
Kept: TypeAlias = Callable[[Hashable, Callable[[], Encoded]], Encoded]


class ConditioningCache:
    """What was encoded last, on the device where it was, up to `largest` bytes; the least recently used goes first."""

    def __init__(self, largest: int = LARGEST):
        self._largest = largest
        self._kept: OrderedDict[Hashable, Encoded] = OrderedDict()
        self._sizes: dict[Hashable, int] = {}

    def kept(self, state: Hashable) -> Kept:
        """What is kept for one state of the text encoders: `state` has to be another for other weights."""

        def get(key: Hashable, make: Callable[[], Encoded]) -> Encoded:
            whole = (state, key)
            if whole in self._kept:
                self._kept.move_to_end(whole)
                return self._kept[whole]
            made = make()
            self._keep(whole, made)
            return made

        return get

    @property
    def size(self) -> int:
        """The bytes that are kept."""
        return sum(self._sizes.values())

    def clear(self) -> None:
        """Let go of everything."""
        self._kept.clear()
        self._sizes.clear()

    def _keep(self, key: Hashable, made: Encoded) -> None:
        size = _bytes_of(made)
        if size > self._largest:
            return
        self._kept[key], self._sizes[key] = made, size
        while self.size > self._largest:
            oldest, _ = self._kept.popitem(last=False)
            del self._sizes[oldest]


def _bytes_of(encoded: Encoded) -> int:
    tensors = {
        id(tensor): tensor.nbytes
        for group in encoded
        for each in group
        for tensor in (each.context, each.pooled)
        if tensor is not None
    }
    return sum(tensors.values())
