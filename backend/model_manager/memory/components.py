"""The networks of checkpoints as bytes: each kept once, however many checkpoints share it."""

import hashlib
import os
import threading
import weakref
from bisect import bisect_right
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate, count
from pathlib import Path

import torch
from torch import Tensor, nn

from backend.errors import ModelFileError
from backend.families.family import Component

ALIGNMENT = 64  # bytes: what vector instructions and torch's own allocator like
SAMPLES = 16  # places of a network's bytes that its fingerprint looks at; what agrees there is compared in full
SAMPLE = 4096  # bytes
BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}

Allocate = Callable[[int], Tensor]


class WatchedFile:
    """A file whose pages are mapped. Raises `ModelFileError` if it cannot be opened.

    To read a page behind the file's new end kills the process (SIGBUS), so ask `intact` before each use.
    """

    def __init__(self, path: Path):
        try:
            self._handle = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        except OSError as error:
            raise ModelFileError(f"{path.name} cannot be read: {error.strerror or error}.") from error
        weakref.finalize(self, os.close, self._handle)
        self._state = _stamp(os.fstat(self._handle))

    @property
    def intact(self) -> bool:
        """Whether it is still as it was when it was opened; another file that took its name does not matter."""
        return _stamp(os.fstat(self._handle)) == self._state


def _stamp(stat: os.stat_result) -> tuple[int, int]:
    return stat.st_size, stat.st_mtime_ns


@dataclass(frozen=True, kw_only=True)
class Packed:
    """Tensors side by side in one block, which is taken, copied and freed in one piece."""

    block: Tensor
    tensors: Mapping[str, Tensor]

    @property
    def size(self) -> int:
        """Bytes of the block."""
        return self.block.numel()

    def copied(self, allocate: Allocate) -> "Packed":
        """The same in another block, by a single copy."""
        block = allocate(self.size)
        block.copy_(self.block, non_blocking=True)
        start = self.block.data_ptr()
        tensors = {
            name: block[at : at + t.nbytes].view(t.dtype).view(t.shape)
            for name, t in self.tensors.items()
            for at in (t.data_ptr() - start if t.nbytes else 0,)
        }
        return Packed(block=block, tensors=tensors)


def packed_size(tensors: Iterable[Tensor], dtype: torch.dtype) -> int:
    """Bytes that `pack` takes for them."""
    return sum(-(-t.numel() * _kind(t, dtype).itemsize // ALIGNMENT) * ALIGNMENT for t in tensors)


def pack(tensors: Mapping[str, Tensor], dtype: torch.dtype, allocate: Allocate) -> Packed:
    """Copy tensors into a block that `allocate(size)` gives, floating-point ones cast to `dtype` on the way."""
    block = allocate(packed_size(tensors.values(), dtype))
    views: dict[str, Tensor] = {}
    end = 0
    for name, tensor in tensors.items():
        kind = _kind(tensor, dtype)
        views[name] = block[end : end + tensor.numel() * kind.itemsize].view(kind).view(tensor.shape)
        end += packed_size((tensor,), dtype)
    # In the order of the file, for disks on which that matters.
    for name in sorted(tensors, key=lambda name: tensors[name].data_ptr()):
        views[name].copy_(tensors[name], non_blocking=True)
    return Packed(block=block, tensors=views)


def _kind(tensor: Tensor, dtype: torch.dtype) -> torch.dtype:
    return dtype if tensor.is_floating_point() else tensor.dtype


def fingerprint(component: Component) -> str:
    """Tells networks apart by architecture, names, shapes, types and some of their bytes, at places that follow from
    all those. Networks with equal ones are very likely equal, which `Stored.holds` makes sure of."""
    tensors = [component.tensors[name] for name in sorted(component.tensors)]
    layout = [(name, tuple(t.shape), str(t.dtype)) for name, t in sorted(component.tensors.items())]
    said = repr((component.architecture, component.full_precision, layout)).encode()
    digest = hashlib.blake2b(said, digest_size=16)
    ends = list(accumulate(tensor.nbytes for tensor in tensors))
    for sample in range(SAMPLES if ends and ends[-1] else 0):
        place = hashlib.blake2b(said, digest_size=8, salt=sample.to_bytes(2, "little")).digest()
        at = int.from_bytes(place, "little") % ends[-1]
        index = bisect_right(ends, at)
        tensor = tensors[index].reshape(-1)
        first = (at - (ends[index] - tensor.nbytes)) // tensor.itemsize
        digest.update(_bits(tensor[first : first + SAMPLE // tensor.itemsize]).contiguous().numpy().tobytes())
    return digest.hexdigest()


def _bits(tensor: Tensor) -> Tensor:
    """The same memory as whole numbers: equal where every bit is, NaN or not."""
    return tensor.view(BITS[tensor.itemsize])


@dataclass(eq=False, kw_only=True)
class Stored:
    """One network in RAM, and on the device if `placed`.

    `tensors` are never written to: pages of the mapped `files` where those have the precision that computes (`dtype`),
    views of `own` otherwise. `source` is their bytes in the file, `size` on a device; `mapped` of them are pages of the
    file, `ram` are ours. `leases` counts the jobs that use it, `used` orders by last use, `unwanted` goes when the last
    lease ends, `copies` counts those made to the device, `serial` is another for each one that was ever loaded. A
    dropped one is empty.
    """

    fingerprint: str
    role: str
    blank: Callable[[], nn.Module]
    architecture: Hashable
    full_precision: bool
    dtype: torch.dtype
    tensors: Mapping[str, Tensor]
    source: int
    size: int
    mapped: int
    files: tuple[WatchedFile, ...]
    own: Packed | None
    placed: Packed | None = None
    leases: int = 0
    used: int = 0
    unwanted: bool = False
    copies: int = 0
    serial: int = 0

    @classmethod
    def of(
        cls, component: Component, key: str, dtype: torch.dtype, files: tuple[WatchedFile, ...], allocate: Allocate
    ) -> "Stored":
        """Cast what is not in `dtype`, straight from the file's pages; the rest stays mapped."""
        other = {name: t for name, t in component.tensors.items() if _kind(t, dtype) != t.dtype}
        own = pack(other, dtype, allocate) if other else None
        tensors = {**component.tensors, **(own.tensors if own else {})}
        return cls(
            fingerprint=key,
            role=component.role,
            blank=component.blank,
            architecture=component.architecture,
            full_precision=component.full_precision,
            dtype=dtype,
            tensors=tensors,
            source=sum(tensor.nbytes for tensor in component.tensors.values()),
            size=packed_size(tensors.values(), dtype),
            mapped=sum(tensor.nbytes for name, tensor in tensors.items() if name not in other),
            files=files if len(other) < len(tensors) else (),
            own=own,
        )

    @property
    def ram(self) -> int:
        """Bytes of RAM that are ours: what is mapped, the system takes back by itself."""
        return self.own.size if self.own else 0

    @property
    def vram(self) -> int:
        """Bytes on the device."""
        return self.placed.size if self.placed else 0

    @property
    def intact(self) -> bool:
        """Whether its pages can be read; memory of ours always can."""
        return all(file.intact for file in self.files)

    def holds(self, component: Component) -> bool:
        """Whether every bit of `component` is here, compared in the precision that computes."""
        return self.tensors.keys() == component.tensors.keys() and all(
            torch.equal(_bits(kept), _bits(component.tensors[name].to(kept.dtype)))
            for name, kept in self.tensors.items()
        )

    def place(self, allocate: Allocate) -> None:
        """Copy it to the device."""
        whole = self.own is not None and len(self.own.tensors) == len(self.tensors)
        self.placed = self.own.copied(allocate) if self.own and whole else pack(self.tensors, self.dtype, allocate)
        self.copies += 1

    def settle(self, allocate: Allocate) -> None:
        """Move it from the file's pages into RAM of ours."""
        self.own = pack(self.tensors, self.dtype, allocate)
        self.tensors, self.files, self.mapped = self.own.tensors, (), 0


class ComponentStore:
    """All networks in memory. Safe to use from any thread; one that is leased cannot be dropped."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._stored: list[Stored] = []
        self._clock = count(1)

    def __iter__(self) -> Iterator[Stored]:
        with self._lock:
            return iter(tuple(self._stored))

    def __contains__(self, stored: object) -> bool:
        with self._lock:
            return stored in self._stored

    @property
    def ram(self) -> int:
        """Bytes of RAM of ours."""
        return sum(stored.ram for stored in self)

    @property
    def vram(self) -> int:
        """Bytes on the device."""
        return sum(stored.vram for stored in self)

    def find(self, component: Component, key: str) -> Stored | None:
        """The network that holds what `component` does, every bit of it."""
        candidates = [s for s in self if s.fingerprint == key and s.intact]
        return next((stored for stored in candidates if stored.holds(component)), None)

    def add(self, stored: Stored) -> None:
        """Keep one more."""
        with self._lock:
            stored.used = stored.serial = next(self._clock)
            self._stored.append(stored)

    @contextmanager
    def lease(self, stored: Stored) -> Iterator[None]:
        """Until the end of the `with` it stays."""
        with self._lock:
            stored.unwanted &= stored.leases > 0
            stored.leases += 1
            stored.used = next(self._clock)
        try:
            yield
        finally:
            with self._lock:
                stored.leases -= 1

    def drop(self, stored: Stored) -> bool:
        """Let it go from device and RAM; False, and `unwanted` from now on, if it is in use."""
        with self._lock:
            stored.unwanted = True
            if stored.leases or stored not in self._stored:
                return False
            stored.placed = stored.own = None
            stored.tensors, stored.files = {}, ()
            self._stored.remove(stored)
            return True

    def leave_device(self, stored: Stored) -> bool:
        """Let its copy on the device go, and only that; False if it is in use."""
        with self._lock:
            if stored.leases:
                return False
            stored.placed = None
            return True

    def idle(self, size: Callable[[Stored], int], excess: int, kept: Callable[[Stored], bool]) -> list[Stored]:
        """The least recently used ones that nobody leases or wants `kept`, until their `size` covers `excess` bytes."""
        chosen: list[Stored] = []
        with self._lock:
            for stored in sorted(self._stored, key=lambda stored: stored.used):
                if excess <= 0:
                    break
                if size(stored) and not stored.leases and not kept(stored):
                    chosen.append(stored)
                    excess -= size(stored)
        return chosen
