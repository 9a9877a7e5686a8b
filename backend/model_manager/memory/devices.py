"""What networks run on, as a place to put bytes."""

import sys
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from backend.errors import UserError
from backend.model_manager.memory.budgets import PINNED_SHARE, Space, ram_block, ram_space


class Device(Protocol):
    """Where weights are put before they compute.

    `place` and `dtype` are what networks compute on and in, `shares_ram` says that it computes straight from RAM, so
    that there is no second copy. There is no way back from a device: what leaves it is dropped.
    """

    place: torch.device
    dtype: torch.dtype
    shares_ram: bool

    def empty(self, size: int) -> Tensor:
        """`size` bytes there. Raises what the allocator raises when there are not so many."""
        ...

    def staging(self, held: int, size: int) -> Callable[[int], Tensor] | None:
        """An allocator of RAM that is copied from fastest, if `size` bytes beside `held` ones may be such."""
        ...

    def space(self) -> Space:
        """What there is of its memory; what a freed block of ours left behind is free."""
        ...

    def trim(self) -> None:
        """Give memory that nobody uses any more back to the system."""
        ...

    def wait(self) -> None:
        """Return when all that was asked of it is done."""
        ...


PRECISIONS = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}


def in_ram(size: int) -> Tensor:
    """A block of RAM as bytes. Raises `OSError` or `MemoryError` if there is not so much."""
    return torch.frombuffer(ram_block(size), dtype=torch.uint8) if size else torch.empty(0, dtype=torch.uint8)


class Processor:
    """The CPU: RAM and "device" are one."""

    shares_ram = True

    def __init__(self, dtype: torch.dtype = torch.float32):
        """Halves are several times slower on most CPUs, and exactness matters more there than memory."""
        self.place = torch.device("cpu")
        self.dtype = dtype

    def empty(self, size: int) -> Tensor:
        """See `Device`."""
        return in_ram(size)

    def staging(self, held: int, size: int) -> None:
        """See `Device`: nothing is copied from here."""

    def space(self) -> Space:
        """See `Device`."""
        return ram_space()

    def trim(self) -> None:
        """See `Device`: the system's allocator does that by itself."""

    def wait(self) -> None:
        """See `Device`: a call returns when it is done."""


class Accelerator:
    """A GPU with memory of its own (CUDA), or with a share of the machine's that torch keeps apart (Apple)."""

    shares_ram = False

    def __init__(self, place: torch.device, dtype: torch.dtype = torch.float16):
        self.place = place
        self.dtype = dtype
        # Windows (and WSL with it) lets a program lock only little memory, and fails late.
        self._pins = place.type == "cuda" and sys.platform == "linux"

    def empty(self, size: int) -> Tensor:
        """See `Device`."""
        return torch.empty(size, dtype=torch.uint8, device=self.place)

    def staging(self, held: int, size: int) -> Callable[[int], Tensor] | None:
        """See `Device`: page-locked memory, for a part of the RAM."""
        if not self._pins or held + size > ram_space().total * PINNED_SHARE:
            return None
        return lambda size: torch.empty(size, dtype=torch.uint8, pin_memory=True)

    def space(self) -> Space:
        """See `Device`."""
        if self.place.type == "mps":
            total = torch.mps.recommended_max_memory()
            return Space(total=total, free=max(0, total - torch.mps.current_allocated_memory()))
        free, total = torch.cuda.mem_get_info(self.place)
        cached = torch.cuda.memory_reserved(self.place) - torch.cuda.memory_allocated(self.place)
        return Space(total=total, free=free + cached)

    def trim(self) -> None:
        """See `Device`."""
        (torch.mps if self.place.type == "mps" else torch.cuda).empty_cache()

    def wait(self) -> None:
        """See `Device`."""
        (torch.mps if self.place.type == "mps" else torch.cuda).synchronize()


def choose_device(wanted: str, precision: str = "auto") -> Device:
    """The device to run on: `wanted`, or for ``auto`` the best there is, computing in `precision` (of `PRECISIONS`), or
    for ``auto`` in what suits it. Raises `UserError` if it is not there, or does not compute so."""
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if wanted == "auto":
        wanted = next(name for name, there in available.items() if there)
    if not available[wanted]:
        there = ", ".join(name for name, is_there in available.items() if is_there)
        raise UserError(f"There is no {wanted} device here; --device can be auto or one of: {there}.")
    dtype = PRECISIONS.get(precision, torch.float32 if wanted == "cpu" else torch.float16)
    if dtype == torch.bfloat16 and wanted == "cuda" and not torch.cuda.is_bf16_supported():
        raise UserError("This GPU does not compute in bf16; --precision can be auto, fp16 or fp32.")
    return Processor(dtype) if wanted == "cpu" else Accelerator(torch.device(wanted), dtype)


def describe(place: torch.device) -> str:
    """The device in words a person knows."""
    if place.type == "cuda":
        return torch.cuda.get_device_name(place)
    return {"cpu": "CPU", "mps": "Apple GPU"}[place.type]
