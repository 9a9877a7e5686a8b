"""Networks as bytes: packed without loss, told apart by content, and never dropped while they are in use."""

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from backend.errors import ModelFileError
from backend.families.family import Component
from backend.model_manager.memory.components import (
    ALIGNMENT,
    ComponentStore,
    Stored,
    WatchedFile,
    fingerprint,
    pack,
    packed_size,
)
from tests.counting_device import CountingDevice, Traffic


def block(size: int) -> Tensor:
    return torch.empty(size, dtype=torch.uint8)


def component(tensors: dict[str, Tensor], architecture: str = "a", role: str = "vae") -> Component:
    return Component(role=role, architecture=architecture, blank=nn.Identity, tensors=tensors)


def tensors(seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        "scalar": torch.rand((), generator=generator).half(),
        "odd": torch.rand(3, 5, generator=generator).half(),
        "none": torch.empty(0, 4).half(),
        "turned": torch.rand(7, 4, generator=generator).half().T,
        "large": torch.rand(50_000, generator=generator).half(),
    }


def stored(parts: Component, dtype: torch.dtype = torch.float32) -> Stored:
    return Stored.of(parts, fingerprint(parts), dtype, (), block)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.bfloat16])
def test_packed_is_the_same_in_one_block(dtype: torch.dtype) -> None:
    loose = tensors() | {"positions": torch.arange(9)}
    packed = pack(loose, dtype, block)
    assert packed.size == packed_size(loose.values(), dtype) == packed.block.numel()
    assert packed.tensors.keys() == loose.keys()
    for name, tensor in loose.items():
        wanted = dtype if tensor.is_floating_point() else tensor.dtype
        assert torch.equal(packed.tensors[name], tensor.to(wanted)), name
        assert packed.tensors[name].dtype == wanted
        assert packed.tensors[name].untyped_storage().data_ptr() == packed.block.data_ptr()
        assert (packed.tensors[name].data_ptr() - packed.block.data_ptr()) % ALIGNMENT == 0


def test_a_block_is_copied_in_one_operation() -> None:
    device = CountingDevice(10_000_000)
    packed = pack(tensors(), torch.float32, block)
    with Traffic(device) as traffic:
        copy = packed.copied(device.empty)
    assert (traffic.inward, traffic.copies, traffic.outward) == (packed.size, 1, 0)
    for name, tensor in packed.tensors.items():
        assert torch.equal(copy.tensors[name], tensor)
        assert device.owns(copy.tensors[name]) or not tensor.numel()


def test_a_fingerprint_follows_content_and_layout() -> None:
    base = component(tensors())
    assert fingerprint(base) == fingerprint(component(dict(reversed(tensors().items()))))  # files differ in order
    assert fingerprint(base) == fingerprint(replace(base, role="vae of another"))
    different = {
        "content": component(tensors(1)),
        "architecture": replace(base, architecture="b"),
        "names": component({f"x.{name}": tensor for name, tensor in tensors().items()}),
        "type": component({name: tensor.float() for name, tensor in tensors().items()}),
        "shape": component(tensors() | {"odd": tensors()["odd"].T}),
        "precision": replace(base, full_precision=True),
    }
    prints = {fingerprint(base), *map(fingerprint, different.values())}
    assert len(prints) == 1 + len(different)


def test_what_a_fingerprint_overlooks_is_still_told_apart() -> None:
    """One number of fifty thousand is changed, where no sample was taken."""
    base = component({"large": torch.zeros(5_000_000)})
    store = ComponentStore()
    store.add(stored(base))
    assert store.find(component({"large": torch.zeros(5_000_000)}), fingerprint(base)) is not None
    overlooked = 0
    for place in range(0, 5_000_000, 500_000):
        changed = torch.zeros(5_000_000)
        changed[place] = 1
        other = component({"large": changed})
        overlooked += fingerprint(other) == fingerprint(base)
        assert store.find(other, fingerprint(base)) is None
    assert overlooked, "the samples saw every change: this shows nothing"


def test_equal_is_equal_to_the_bit() -> None:
    nan = component({"x": torch.tensor([torch.nan, 0.0, 1.0])})
    kept = stored(nan)
    assert kept.holds(nan)
    assert not kept.holds(component({"x": torch.tensor([torch.nan, -0.0, 1.0])}))
    assert not kept.holds(component({"x": torch.tensor([torch.nan, 0.0, 1.0]), "y": torch.zeros(1)}))
    halves = component(tensors())
    assert stored(halves).holds(halves)
    assert not stored(halves).holds(component(tensors(1)))


def test_only_what_does_not_compute_as_it_is_takes_memory() -> None:
    mixed = {"half": torch.ones(100).half(), "single": torch.ones(100), "whole": torch.arange(4)}
    kept = stored(component(mixed))
    assert kept.tensors["single"] is mixed["single"]
    assert kept.tensors["whole"] is mixed["whole"]
    assert kept.tensors["half"].dtype == torch.float32
    assert (kept.ram, kept.mapped, kept.source) == (packed_size([mixed["half"]], torch.float32), 432, 632)
    assert kept.size == packed_size(mixed.values(), torch.float32)


def test_a_file_is_watched(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"12345678")
    watched = WatchedFile(path)
    assert watched.intact
    (tmp_path / "new").write_bytes(b"other")
    (tmp_path / "new").replace(path)
    assert watched.intact  # another file of that name: the one that was mapped is still there
    again = WatchedFile(path)
    with path.open("r+b") as file:
        file.truncate(2)
    assert not again.intact
    with pytest.raises(ModelFileError, match=r"^missing\.safetensors cannot be read: "):
        WatchedFile(tmp_path / "missing.safetensors")


def never(_stored: Stored) -> bool:
    return False


@pytest.fixture
def three() -> tuple[ComponentStore, list[Stored]]:
    store = ComponentStore()
    parts = [stored(component(tensors(seed))) for seed in range(3)]
    for part in parts:
        store.add(part)
    return store, parts


def test_the_least_recently_used_goes_first(three: tuple[ComponentStore, list[Stored]]) -> None:
    store, (a, b, c) = three
    size = a.ram
    assert store.ram == 3 * size
    assert store.idle(lambda s: s.ram, 1, never) == [a]
    with store.lease(a):
        pass
    assert store.idle(lambda s: s.ram, size, never) == [b]
    assert store.idle(lambda s: s.ram, size + 1, never) == [b, c]
    assert store.idle(lambda s: s.ram, size + 1, kept=lambda s: s is b) == [c, a]
    assert store.idle(lambda s: s.ram, 0, never) == []
    assert store.idle(lambda s: s.vram, 10**9, never) == []
    store.drop(c)
    assert list(store) == [a, b]
    assert store.ram == 2 * size
    assert c.tensors == {}  # nobody who still knows it holds its memory
    assert len({a.serial, b.serial, c.serial}) == 3


def test_what_is_leased_stays(three: tuple[ComponentStore, list[Stored]]) -> None:
    store, (a, b, c) = three
    a.place(block)
    with ExitStack() as leases:
        leases.enter_context(store.lease(a))
        leases.enter_context(store.lease(a))
        assert store.idle(lambda s: s.ram, 10**9, never) == [b, c]
        assert not store.leave_device(a)
        assert not store.drop(a)
        assert (a in store, a.vram > 0, a.unwanted) == (True, True, True)
    assert store.idle(lambda s: s.ram, 1, never) == [b]
    assert store.leave_device(a)
    assert (a.vram, a in store) == (0, True)
    assert store.drop(a)
    assert not store.drop(a)
