"""A device without a GPU: memory of its own that can run out, and a count of what is copied to and from it."""

import weakref
from collections.abc import Callable, Mapping, Sequence
from mmap import mmap
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from backend.model_manager.memory.budgets import Space


class CountingDevice:
    """Blocks that count as taken as long as any tensor looks into them, and no more than `total` bytes of them.

    It computes on the CPU, so networks on it really run. Only what the product asks of every device is here: which
    bytes are copied when is the product's doing, and is seen by `Traffic`, not told by it.
    """

    shares_ram = False
    place = torch.device("cpu")

    def __init__(self, total: int, dtype: torch.dtype = torch.float32, *, stages: bool = False):
        """With `stages` it has RAM that it is copied from fastest, as CUDA has."""
        self.total = total
        self.dtype = dtype
        self.used = 0
        self.most = 0
        self.staged = 0
        self._stages = stages
        self._blocks: dict[int, int] = {}

    def empty(self, size: int) -> Tensor:
        if self.used + size > self.total:
            raise torch.OutOfMemoryError(f"{size:,} bytes asked for, {self.total - self.used:,} free")
        block = mmap(-1, max(1, size))  # goes back to the system at once, as a device's memory does
        tensor = torch.frombuffer(block, dtype=torch.uint8)[:size]
        start = tensor.data_ptr()
        self._blocks[start] = size
        self.used += size
        self.most = max(self.most, self.used)
        weakref.finalize(block, self._freed, start)
        return tensor

    def staging(self, held: int, size: int) -> Callable[[int], Tensor] | None:
        return self._staged if self._stages and held + size <= self.total else None

    def _staged(self, size: int) -> Tensor:
        self.staged += size
        return torch.empty(size, dtype=torch.uint8)

    def space(self) -> Space:
        return Space(total=self.total, free=self.total - self.used)

    def trim(self) -> None:
        pass

    def wait(self) -> None:
        pass

    def owns(self, tensor: Tensor) -> bool:
        """Whether it lies on this device."""
        at = tensor.untyped_storage().data_ptr()
        return any(start <= at < start + size for start, size in self._blocks.items())

    def _freed(self, start: int) -> None:
        self.used -= self._blocks.pop(start)


class Traffic(TorchDispatchMode):
    """Counts the bytes that operations of torch bring to the device, and those that they take off it, while active."""

    def __init__(self, device: CountingDevice):
        super().__init__()
        self.inward = 0
        self.outward = 0
        self.copies = 0  # operations that brought some
        self._device = device

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor) and leaf.numel() > 1]
        made = [leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor) and leaf.numel() > 1]
        from_device = any(self._device.owns(tensor) for tensor in given)
        for tensor in made:
            if self._device.owns(tensor) and not all(self._device.owns(each) for each in given):
                self.inward += tensor.nbytes
                self.copies += 1
            elif from_device and not self._device.owns(tensor):
                self.outward += tensor.nbytes
        return out
