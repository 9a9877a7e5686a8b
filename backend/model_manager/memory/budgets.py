"""How much memory there is, and how much of it may be filled with models."""

import contextlib
import mmap
import os
from dataclasses import dataclass
from pathlib import Path

import psutil

GIB = 1024**3
CGROUPS = Path("/sys/fs/cgroup")
LEAST_FREE_RAM = 2 * GIB  # what the rest of the machine is left; with less, everything on it slows down
WORKING_VRAM = 3 * GIB  # activations of a large picture and its decoding
PINNED_SHARE = 0.25  # of the RAM: memory that cannot be moved is taken from everybody else


@dataclass(frozen=True, kw_only=True)
class Space:
    """Bytes of one kind of memory: `total` is all there is, `free` is what could be had now, `swap` what the system
    could put aside on the disk for more."""

    total: int
    free: int
    swap: int = 0

    @property
    def most(self) -> int:
        """Bytes that can be asked for without being ended for it."""
        return self.free + self.swap


@dataclass(frozen=True, kw_only=True)
class Budgets:
    """The most bytes that models may fill; what is None is decided by what there is.

    A budget says what is kept beside the job that runs. What that job itself needs is always tried.
    """

    ram: int | None = None
    vram: int | None = None


def ram_space(cgroups: Path = CGROUPS) -> Space:
    """The machine's RAM, or what its container may use of it. Page cache that can be dropped counts as free."""
    here = psutil.virtual_memory()
    space = Space(total=here.total, free=here.available, swap=psutil.swap_memory().free)
    limit, used = _container(cgroups)
    if limit is None or limit >= space.total:
        return space
    return Space(total=limit, free=max(0, min(space.free, limit - used)))


def ram_block(size: int) -> mmap.mmap | bytearray:
    """So many bytes of RAM that go back to the system the moment they are let go of, which what is left of a heap does
    not. In huge pages where there are some: filling them takes a fraction of the time. Raises `OSError`."""
    if os.name == "nt" or not size:
        return bytearray(size)
    block = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # a system without them
            block.madvise(mmap.MADV_HUGEPAGE)
    return block


def ram_budget(wanted: int | None, space: Space) -> int:
    """Bytes of RAM for models: `wanted`, else half of all there is; never more than the machine can spare."""
    most = max(0, space.total - LEAST_FREE_RAM)
    return min(most, space.total // 2) if wanted is None else min(wanted, most)


def ram_shortage(space: Space) -> int:
    """Bytes that should be given back at once, whatever the budget: 0 while enough is free."""
    return max(0, min(LEAST_FREE_RAM, space.total // 8) - space.free)


def vram_budget(wanted: int | None, space: Space, own: int) -> int:
    """Bytes of VRAM for models: what is free and what they occupy already (`own`), less working memory.

    A quarter of a small card is left for work. `wanted` can only make it less.
    """
    most = max(0, space.free + own - min(WORKING_VRAM, space.total // 4))
    return most if wanted is None else min(wanted, most)


def _container(cgroups: Path) -> tuple[int | None, int]:
    """The limit of the container we are in, and the bytes of it that cannot be dropped; None where there is none."""
    for folder, limit, used in (
        (cgroups, "memory.max", "memory.current"),
        (cgroups / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
    ):
        try:
            most = (folder / limit).read_text(encoding="utf-8").strip()
            now = int((folder / used).read_text(encoding="utf-8"))
            stat = (folder / "memory.stat").read_text(encoding="utf-8")
        except (OSError, ValueError):
            continue
        cached = sum(
            int(line.split()[1]) for line in stat.splitlines() if line.startswith(("active_file ", "inactive_file "))
        )
        return (int(most) if most.isdigit() else None), max(0, now - cached)
    return None, 0
