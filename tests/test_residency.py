"""Checkpoints among disk, RAM and a device: what is copied, what is shared, what goes and what stays."""

import gc
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from backend.errors import ModelFileError, UserError
from backend.families.networks import Networks
from backend.families.sd1 import SD1
from backend.model_manager.header import read_header
from backend.model_manager.identity import Identity, Kind
from backend.model_manager.inventory.hashes import HashIndex
from backend.model_manager.inventory.record import ModelRecord
from backend.model_manager.lora.lora_file import read_lora
from backend.model_manager.memory.budgets import GIB, Budgets, Space
from backend.model_manager.memory.devices import Device, Processor
from backend.model_manager.memory.status import ModelStatus, StatusBoard
from backend.model_manager.memory.swaps import SwapHistory
from backend.model_manager.patches import LoraUse
from backend.model_manager.residency import LoadedModel, Residency
from tests.checkpoints import write_tiny_checkpoint
from tests.counting_device import CountingDevice, Traffic
from tests.loras import kohya, random_lora, write_lora

VAE, TEXT, UNET = "first_stage_model.", "cond_stage_model.", "model.diffusion_model."
PLENTY = Space(total=64 * GIB, free=60 * GIB)
ROOT = Path(__file__).resolve().parent.parent
PADDING = 64 * 1024  # bytes: what alignment may add to a network


def record(path: Path) -> ModelRecord:
    stat = path.stat()
    return ModelRecord(
        path=path,
        name=path.stem,
        family="sd1",
        problem="",
        native_size=(512, 512),
        size=stat.st_size,
        modified=stat.st_mtime_ns,
    )


def variant(source: Path, name: str, *changed: str, dtype: torch.dtype = torch.float16) -> ModelRecord:
    """A checkpoint beside `source` that differs from it where the names begin with one of `changed`."""
    generator = torch.Generator().manual_seed(sum(map(ord, name)))
    tensors = {key: tensor.to(dtype) for key, tensor in load_file(source).items()}
    for key, tensor in tensors.items():
        if key.startswith(changed) and tensor.is_floating_point():
            tensors[key] = tensor + torch.randn(tensor.shape, generator=generator).to(dtype) / 50
    path = source.with_name(f"{name}.safetensors")
    save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, path)
    return record(path)


Manage = Callable[..., Residency]


@pytest.fixture
def manage(tmp_path: Path) -> Manage:
    """Makes a residency, on a machine with plenty of RAM unless `ram` says otherwise."""

    def make(device: Device | None = None, *, ram: Space = PLENTY, budgets: Budgets | None = None) -> Residency:
        status = StatusBoard(ModelStatus())
        hashes = HashIndex(tmp_path / "models.sqlite3")
        return Residency(device or Processor(), status, hashes, budgets=budgets, ram=lambda: ram)

    return make


@pytest.fixture
def tiny(tiny_checkpoint: Path) -> ModelRecord:
    return record(tiny_checkpoint)


@torch.inference_mode()
def answers(model: LoadedModel) -> list[Tensor]:
    """What each network makes of the same input."""
    networks = model.networks
    words, guessed = guess(networks)
    picture = networks.vae.decode(given(networks.unet.dtype), return_dict=False)[0]  # pyright: ignore[reportArgumentType]
    return [words, guessed, picture]


@torch.inference_mode()
def guess(networks: Networks) -> tuple[Tensor, Tensor]:
    """The text encoder's words, which are always the same, and what the UNet makes of them and of the same latents."""
    words = networks.text_encoder(torch.arange(77)[None]).last_hidden_state
    latents = given(networks.unet.dtype)
    return words, networks.unet(latents, torch.tensor(500.0), encoder_hidden_states=words, return_dict=False)[0]


def given(dtype: torch.dtype) -> Tensor:
    return torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1)).to(dtype)


def built(checkpoint: ModelRecord) -> list[Tensor]:
    """The same from networks that are made for this alone."""
    networks = SD1.build(read_header(checkpoint.path), load_file(checkpoint.path))
    for module in networks.modules():
        torch.nn.Module.to(module, dtype=torch.float32)

    class Built:
        pass

    model = Built()
    model.networks = networks  # pyright: ignore[reportAttributeAccessIssue]
    return answers(model)  # pyright: ignore[reportArgumentType]


def alike(ours: list[Tensor], theirs: list[Tensor]) -> list[bool]:
    """Words, guess and picture."""
    return [torch.equal(a, b) for a, b in zip(ours, theirs, strict=True)]


def after(residency: Residency, checkpoint: ModelRecord, **also: object) -> list[Tensor]:
    with residency.ready(checkpoint, **also) as model:  # pyright: ignore[reportArgumentType]
        return answers(model)


def size(model: LoadedModel, role: str) -> int:
    return sum(p.numel() * p.element_size() for p in getattr(model.networks, role).parameters())


@pytest.mark.parametrize("kind", ["cpu", "device"])
def test_swapping_changes_the_weights_and_nothing_else(kind: str, manage: Manage, tiny: ModelRecord) -> None:
    other = variant(tiny.path, "other", UNET, VAE, TEXT)
    residency = manage(CountingDevice(GIB) if kind == "device" else None)
    with residency.ready(tiny) as first:
        modules = first.networks.modules()
        identities = [id(parameter) for parameter in first.networks.unet.parameters()]
        assert all(alike(answers(first), built(tiny)))
    with residency.ready(other) as second:
        assert all(a is b for a, b in zip(second.networks.modules(), modules, strict=True))
        assert [id(parameter) for parameter in second.networks.unet.parameters()] == identities
        assert all(alike(answers(second), built(other)))
        assert not any(module.training for module in modules)
        assert not any(p.requires_grad for module in modules for p in module.parameters())
    assert all(alike(after(residency, tiny), built(tiny)))


def test_what_checkpoints_share_is_in_ram_once(manage: Manage, tiny: ModelRecord) -> None:
    other = variant(tiny.path, "other", UNET)
    residency = manage()
    for checkpoint in (tiny, other):
        after(residency, checkpoint)
    report = residency.report()
    shared = {occupant.role: occupant.checkpoints for occupant in report.occupants if len(occupant.checkpoints) > 1}
    assert shared == {"vae": ("other", "tiny"), "text_encoder": ("other", "tiny")}
    assert sorted(o.checkpoints for o in report.occupants if o.role == "unet") == [("other",), ("tiny",)]
    assert report.ram == sum(occupant.ram for occupant in report.occupants)
    assert (report.vram, report.vram_budget, report.mapped) == (0, 0, 0)  # one tier, and no half computes here
    with residency.ready(other) as model:
        both = sum(size(model, role) for role in ("unet", "vae", "text_encoder")) + size(model, "unet")
    assert both <= report.ram <= both + 4 * PADDING


def test_only_what_differs_is_copied_to_the_device_and_nothing_back(manage: Manage, tiny: ModelRecord) -> None:
    unet, vae = variant(tiny.path, "unet", UNET), variant(tiny.path, "vae", VAE)
    device = CountingDevice(GIB)
    residency = manage(device)
    with residency.ready(tiny) as model:
        sizes = {role: size(model, role) for role in ("unet", "vae", "text_encoder")}
    inward = []
    for checkpoint in (unet, vae, tiny, unet, vae):
        with Traffic(device) as traffic, residency.ready(checkpoint) as model:
            assert all(device.owns(p) for module in model.networks.modules() for p in module.parameters())
        assert traffic.outward == 0
        inward.append(traffic.inward)
    assert sizes["unet"] <= inward[0] <= sizes["unet"] + PADDING
    assert sizes["vae"] <= inward[1] <= sizes["vae"] + PADDING
    assert inward[2:] == [0, 0, 0]
    assert all(alike(after(residency, vae), built(vae)))
    with Traffic(device) as traffic:
        residency.unload()
    assert (traffic.outward, device.used, residency.report().occupants) == (0, 0, ())


def test_leaving_the_device_is_forgetting(manage: Manage, tiny: ModelRecord) -> None:
    """There is room for one UNet: the least recently used goes, the copy in RAM brings it back, nothing is read."""
    other = variant(tiny.path, "other", UNET)
    device = CountingDevice(GIB)
    residency = manage(device)
    after(residency, tiny)
    residency.set_budgets(Budgets(vram=residency.report().vram + PADDING))
    with Traffic(device) as there, residency.ready(other):
        pass
    assert residency.swap(tiny).temperature == "warm"
    assert residency.swap(other).temperature == "hot"
    with Traffic(device) as back, residency.ready(tiny):
        pass
    assert (there.outward, back.outward) == (0, 0)
    unet = next(o.vram for o in residency.report().occupants if o.role == "unet" and o.vram)
    assert back.inward == unet
    assert unet - PADDING <= there.inward <= unet
    assert all(alike(after(residency, tiny), built(tiny)))


def test_what_is_mapped_moves_into_staging_memory_when_it_leaves(manage: Manage, tiny: ModelRecord) -> None:
    """In half precision RAM holds nothing but the file's pages, until a swap back would have to copy from them."""
    other = variant(tiny.path, "other", UNET)
    device = CountingDevice(GIB, torch.float16, stages=True)
    residency = manage(device)
    after(residency, tiny)
    first = residency.report()
    assert (first.ram, device.staged) == (0, 0)
    assert first.mapped > 0
    residency.set_budgets(Budgets(vram=first.vram + PADDING))
    after(residency, other)
    assert residency.report().ram == device.staged > 0
    with Traffic(device) as traffic, residency.ready(tiny):
        pass
    assert traffic.copies == 1  # the UNet in one piece


def test_a_leased_network_is_never_evicted(manage: Manage, tiny: ModelRecord) -> None:
    """Under budgets that allow nothing, each way of getting rid of it, from another thread too."""
    others = [variant(tiny.path, f"other{k}", UNET, VAE, TEXT) for k in range(3)]
    device = CountingDevice(GIB)
    residency = manage(device, budgets=Budgets(ram=0))
    with residency.ready(tiny) as model:
        before = answers(model)
        pointers = [p.data_ptr() for module in model.networks.modules() for p in module.parameters()]
        for other in others:
            assert all(alike(after(residency, other), built(other)))
        residency.free_idle()
        for order in (residency.unload, lambda: residency.unload(tiny)):
            thread = threading.Thread(target=order)
            thread.start()
            thread.join()
        assert [p.data_ptr() for module in model.networks.modules() for p in module.parameters()] == pointers
        assert all(device.owns(p) for module in model.networks.modules() for p in module.parameters())
        assert all(alike(answers(model), before))
        assert {o.leased for o in residency.report().occupants} == {True}
    assert residency.report().occupants == ()  # it was asked to go
    gc.collect()
    assert device.used == 0


def test_the_ram_budget_holds_and_the_least_recently_used_goes(manage: Manage, tiny: ModelRecord) -> None:
    a, b, c = (variant(tiny.path, name, UNET, VAE, TEXT) for name in "abc")
    residency = manage()
    after(residency, a)
    one = residency.report().ram
    residency.set_budgets(Budgets(ram=2 * one + PADDING))
    names = []
    for checkpoint in (b, a, c, b):
        after(residency, checkpoint)
        report = residency.report()
        assert report.ram <= report.ram_budget == 2 * one + PADDING
        names.append({name for occupant in report.occupants for name in occupant.checkpoints})
    assert names == [{"a", "b"}, {"a", "b"}, {"a", "c"}, {"c", "b"}]
    residency.keep_warm(c, kept=True)
    after(residency, a)
    after(residency, b)
    report = residency.report()
    assert {o.checkpoints for o in report.occupants if o.kept} == {("c",)}
    assert {o.checkpoints for o in report.occupants} == {("b",), ("c",)}
    residency.keep_warm(c, kept=False)
    after(residency, a)
    assert {o.checkpoints for o in residency.report().occupants} == {("a",), ("b",)}


def test_little_free_ram_empties_what_is_idle(manage: Manage, tiny: ModelRecord) -> None:
    """Whatever the budget says, the rest of the machine comes first."""
    other = variant(tiny.path, "other", UNET, VAE, TEXT)
    residency = manage(ram=Space(total=64 * GIB, free=GIB))
    after(residency, tiny)
    assert residency.report().occupants == ()
    with residency.ready(other):
        assert {o.checkpoints for o in residency.report().occupants} == {("other",)}


def test_a_checkpoint_that_does_not_fit_into_ram_gets_a_sentence(manage: Manage, tiny: ModelRecord) -> None:
    residency = manage(ram=Space(total=64 * GIB, free=1000))
    with pytest.raises(UserError, match=r"^There is not enough memory to load tiny: its \w+ takes 0\.\d\d GB of RAM;"):
        after(residency, tiny)
    assert residency.report().occupants == ()


def test_unload_leaves_what_another_one_needs(manage: Manage, tiny: ModelRecord) -> None:
    other = variant(tiny.path, "other", UNET)
    residency = manage()
    for checkpoint in (tiny, other):
        after(residency, checkpoint)
    residency.unload(tiny)
    assert sorted((o.role, o.checkpoints) for o in residency.report().occupants) == [
        (role, ("other",)) for role in ("text_encoder", "unet", "vae")
    ]
    assert residency.swap(tiny).temperature == "cold"
    assert all(alike(after(residency, tiny), built(tiny)))


def test_swaps_are_told_from_what_was_seen(manage: Manage, tiny: ModelRecord) -> None:
    other = variant(tiny.path, "other", UNET)
    residency = manage(CountingDevice(GIB))
    assert (residency.swap(tiny).temperature, residency.swap(tiny).seconds) == ("cold", None)
    after(residency, tiny)
    assert (residency.swap(tiny).temperature, residency.swap(tiny).seconds) == ("hot", 0)
    cold = residency.swap(other)
    assert cold.temperature == "cold"
    assert cold.seconds is not None
    residency.free_idle()
    assert (residency.swap(tiny).temperature, residency.swap(tiny).seconds) == ("warm", None)
    after(residency, tiny)
    residency.free_idle()
    warm = residency.swap(tiny)
    assert warm.temperature == "warm"
    assert warm.seconds is not None
    assert residency.swap(replace(other, size=2 * other.size)).seconds == pytest.approx(2 * cold.seconds)


def test_a_broken_file_leaves_what_was_loaded(manage: Manage, tiny: ModelRecord) -> None:
    residency = manage(budgets=Budgets(ram=0))
    good = after(residency, tiny)
    before = residency.report().occupants
    whole = load_file(tiny.path)
    faults = {
        "short": lambda path: path.write_bytes(tiny.path.read_bytes()[:-1000]),
        "lacking": lambda path: save_file({k: t for k, t in whole.items() if "out.2" not in k}, path),
        "misshapen": lambda path: save_file(whole | {f"{UNET}out.2.bias": torch.zeros(7)}, path),
        "gone": lambda path: path.unlink(),
    }
    for name, spoil in faults.items():
        path = tiny.path.with_name(f"{name}.safetensors")
        path.write_bytes(tiny.path.read_bytes())
        broken = record(path)
        spoil(path)
        with pytest.raises(ModelFileError, match=rf"^{name}\.safetensors .*\.$"):
            after(residency, broken)
    with residency.ready(tiny) as model:
        assert all(alike(answers(model), good))
    assert len(before) == 0  # the budget allows nothing
    assert residency.swap(tiny).temperature == "cold"


def test_a_file_that_changed_is_read_anew(manage: Manage, tiny: ModelRecord) -> None:
    residency = manage()
    after(residency, tiny)
    other = variant(tiny.path, "other", UNET)
    other.path.replace(tiny.path)
    assert residency.swap(tiny).temperature == "cold"
    changed = after(residency, tiny)
    assert all(alike(changed, built(tiny)))
    assert len(residency.report().occupants) == 3  # the former UNet is gone


def test_a_mapped_file_that_was_cut_is_not_touched(manage: Manage, tiny: ModelRecord) -> None:
    """In its own precision a checkpoint is its file's pages, and a page that is not there any more kills. The text
    encoder and the VAE of the other checkpoint are the first one's pages, too."""
    first = variant(tiny.path, "first", dtype=torch.float32)
    second = variant(first.path, "second", UNET, dtype=torch.float32)
    residency = manage()
    after(residency, first)
    after(residency, second)
    report = residency.report()
    assert (report.ram, len(report.occupants)) == (0, 4)
    with first.path.open("r+b") as file:
        file.truncate(4096)
    with pytest.raises(ModelFileError, match=r"^first\.safetensors is cut short: "):
        after(residency, first)
    assert all(alike(after(residency, second), built(second)))
    assert {o.checkpoints for o in residency.report().occupants if o.role != "unet"} == {("second",)}


def test_a_vae_can_be_chosen(manage: Manage, tiny: ModelRecord) -> None:
    other = variant(tiny.path, "other", VAE)
    alone = tiny.path.with_name("alone.safetensors")
    save_file({k.removeprefix(VAE): t for k, t in load_file(other.path).items() if k.startswith(VAE)}, alone)
    residency = manage()
    with residency.ready(tiny) as model:
        own, contents = answers(model), model.contents
    with residency.ready(tiny, vae=record(alone)) as model:
        assert alike(answers(model), own) == [True, True, False]
        assert alike(answers(model), built(other)) == [True, True, True]
        assert [model.contents[role] == contents[role] for role in ("unet", "text_encoder", "vae")] == [
            True,
            True,
            False,
        ]
    assert all(alike(after(residency, tiny, vae=other), built(other)))
    assert len([o for o in residency.report().occupants if o.role == "vae"]) == 2  # alone or not, it is the same
    assert all(alike(after(residency, tiny), own))
    none = tiny.path.with_name("none.safetensors")
    save_file({"x": torch.zeros(1)}, none)
    with pytest.raises(ModelFileError, match=r"^none\.safetensors cannot be used as a VAE: "):
        after(residency, tiny, vae=record(none))


def lora_for(model: LoadedModel, path: Path) -> LoraUse:
    torch.manual_seed(3)
    modules = {"unet": model.networks.unet, "text_encoder": model.networks.text_encoder}
    layers = random_lora(modules, r".*(to_q|q_proj)$")
    return LoraUse(lora=read_lora(write_lora(path, kohya(layers))))


def test_loras_come_and_go_with_their_checkpoint(manage: Manage, tiny: ModelRecord, tmp_path: Path) -> None:
    other = variant(tiny.path, "other", UNET)
    residency = manage()
    with residency.ready(tiny) as model:
        plain, contents = answers(model), model.contents
        use = lora_for(model, tmp_path / "lora.safetensors")
    with residency.ready(tiny, loras=[use]) as model:
        patched = answers(model)
        assert alike(patched, plain) == [False, False, True]
        assert model.contents["unet"] != contents["unet"]
        assert model.previewer is model.previewer
        assert residency.report().patched > 0
    # The other one has the same text encoder, in the same module.
    assert all(alike(after(residency, other), built(other)))
    assert residency.report().patched == 0
    assert all(alike(after(residency, tiny, loras=[use]), patched))
    with residency.ready(tiny, loras=[use]) as model, residency.ready(tiny) as inner:
        assert all(alike(answers(inner), plain))  # in modules of its own
        assert all(alike(answers(model), patched))
    assert all(alike(after(residency, tiny), plain))


@pytest.mark.parametrize("patched", [False, True])
def test_what_does_not_fit_together_takes_turns(
    patched: bool, manage: Manage, tiny: ModelRecord, tmp_path: Path
) -> None:
    whole = manage()
    with whole.ready(tiny) as model:
        use = lora_for(model, tmp_path / "lora.safetensors")
        sizes = {role: size(model, role) for role in ("unet", "vae", "text_encoder")}
    loras = [use] if patched else []
    expected = after(whole, tiny, loras=loras)
    # Room for the largest and what is put on it, but not for all: by the budget, and by the allocator alone.
    for device, budget in (
        (CountingDevice(GIB), max(sizes.values()) + 4 * PADDING),
        (CountingDevice(sum(sizes.values()) - PADDING), None),
    ):
        residency = manage(device, budgets=Budgets(vram=budget))
        with Traffic(device) as traffic, residency.ready(tiny, loras=loras) as model:
            assert all(alike(answers(model), expected))
            assert device.most < sum(sizes.values())
            assert {module.training for module in model.networks.modules()} == {False}
        assert all(alike(after(residency, tiny, loras=loras), expected))
        assert traffic.inward >= sum(sizes.values())
        module = model.networks.unet
        assert not any(part._forward_pre_hooks for part in module.modules())  # what is put on is taken off


def test_offloading_in_the_middle_of_a_job(manage: Manage, tiny: ModelRecord) -> None:
    device = CountingDevice(GIB)
    residency = manage(device)
    with residency.ready(tiny) as model:
        before, used = answers(model), device.used
        assert residency.offload()
        assert not residency.offload()
        assert device.used < 1000
        assert all(alike(answers(model), before))
        assert 1000 < device.used < used
        assert model.networks.text_encoder.device == device.place
        assert model.networks.unet.dtype == torch.float32
    assert not manage().offload()


def test_a_device_that_is_too_small_gets_a_sentence_and_the_next_job_works(manage: Manage, tiny: ModelRecord) -> None:
    device = CountingDevice(10_000)
    residency = manage(device)
    with pytest.raises(
        UserError, match=r"^There is not enough memory on the device for tiny: its \w+ takes 0\.\d\d GB"
    ):
        after(residency, tiny)
    assert device.used < 1000
    device.total = GIB
    assert all(alike(after(residency, tiny), built(tiny)))


def test_idle_networks_make_room_when_the_allocator_says_no(manage: Manage, tiny: ModelRecord) -> None:
    """By its own account there is room, so nothing is dropped before it is needed; then it is."""
    other = variant(tiny.path, "other", UNET, VAE, TEXT)
    device = CountingDevice(GIB)
    residency = manage(device)
    after(residency, tiny)
    device.total = device.used + 100_000
    device.space = lambda: Space(total=GIB, free=GIB)
    assert all(alike(after(residency, other), built(other)))
    assert {o.checkpoints for o in residency.report().occupants if o.vram} == {("other",)}


@pytest.mark.parametrize("kind", ["cpu", "mapped", "device"])
def test_a_hundred_swaps_take_no_more_memory(kind: str, manage: Manage, tiny: ModelRecord) -> None:
    """Shared and private parts, budgets that force some out each time, two jobs at once now and then."""
    dtype = torch.float32 if kind == "mapped" else torch.float16
    records = [variant(tiny.path, name, *parts, dtype=dtype) for name, parts in
               {"a": (UNET,), "b": (UNET, VAE), "c": (UNET, VAE, TEXT), "d": (TEXT,)}.items()]  # fmt: skip
    device = CountingDevice(GIB) if kind == "device" else Processor()
    residency = manage(device)
    after(residency, records[2])
    one = max(residency.report().ram, residency.report().vram)
    residency.set_budgets(Budgets(ram=2 * one, vram=2 * one))
    expected = {known.name: built(known) for known in records}
    process = psutil.Process()
    tensors: list[int] = []
    resident: list[int] = []
    for turn in range(100):
        checkpoint = records[(turn * turn + turn // 7) % len(records)]
        second = records[turn % len(records)]
        with ExitStack() as jobs:
            model = jobs.enter_context(residency.ready(checkpoint))
            jobs.enter_context(residency.ready(second) if turn % 10 == 3 else nullcontext())
            assert torch.equal(guess(model.networks)[1], expected[checkpoint.name][1])
        if turn % 20 == 19:
            gc.collect()
            residency.unload()
            assert residency.report().occupants == ()
            if isinstance(device, CountingDevice):
                assert device.used < 1000
            tensors.append(sum(issubclass(type(thing), Tensor) for thing in gc.get_objects()))
            resident.append(process.memory_info().rss)
    assert len(set(tensors)) == 1
    # A UNet takes some 5 MB, so that eighty left behind would be 400.
    assert resident[-1] - resident[0] < 64_000_000, resident


def test_anyone_may_ask_while_something_is_loaded(manage: Manage, tiny: ModelRecord) -> None:
    """Reports come from the page's threads, in the middle of everything."""
    other = variant(tiny.path, "other", UNET, VAE, TEXT)
    residency = manage(CountingDevice(GIB), budgets=Budgets(ram=1, vram=1))
    stop = threading.Event()
    faults: list[BaseException] = []
    seen: set[int] = set()

    def ask() -> None:
        try:
            while not stop.is_set():
                report = residency.report()
                seen.add(len(report.occupants))
                assert report.vram == sum(occupant.vram for occupant in report.occupants)
                residency.swap(tiny)
                residency.unload(other)
                stop.wait(0.001)  # the two together would leave the loading no time
        except BaseException as error:  # noqa: BLE001  shown below, in the test's own thread
            faults.append(error)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for turn in range(12):
        after(residency, (tiny, other)[turn % 2])
    stop.set()
    for thread in threads:
        thread.join()
    assert faults == []
    assert len(seen) > 1


def test_the_status_tells_what_happens(manage: Manage, tiny: ModelRecord) -> None:
    residency = manage()
    board = residency._status
    told: list[ModelStatus] = []
    board.subscribe(lambda: told.append(board.value))
    with residency.ready(tiny) as model:
        during = board.value
    assert "tiny" in {status.loading for status in told}
    assert (during.checkpoint, during.family, during.loading) == ("tiny", "Stable Diffusion 1.x", "")
    assert {o.leased for o in during.memory.occupants} == {True}
    assert {o.leased for o in board.value.memory.occupants} == {False}
    assert during.size == pytest.approx(sum(size(model, role) for role in ("unet", "vae", "text_encoder")), abs=PADDING)
    told.clear()
    with residency.ready(tiny):
        pass
    assert {status.loading for status in told} == {""}  # nothing had to be loaded
    missing = replace(tiny, path=tiny.path.with_name("missing.safetensors"), name="missing")
    with pytest.raises(ModelFileError):
        after(residency, missing)
    assert board.value.problem.startswith("missing.safetensors cannot be read: ")
    assert board.value.checkpoint == "tiny"


STARVED = """
import resource, sys
from pathlib import Path
from backend.errors import UserError
from tests.test_residency import after, alike, built, record
from backend.model_manager.memory.devices import Processor
from backend.model_manager.inventory.hashes import HashIndex
from backend.model_manager.residency import Residency
from backend.model_manager.memory.status import ModelStatus, StatusBoard
from backend.model_manager.memory.swaps import SwapHistory

small, large, index = map(Path, sys.argv[1:])
residency = Residency(Processor(), StatusBoard(ModelStatus()), HashIndex(index))
small = record(small)
expected = built(small)
assert all(alike(after(residency, small), expected))
taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
limit = taken + 2 * large.stat().st_size + 40_000_000  # safetensors maps twice; but it cannot be cast
resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
try:
    after(residency, record(large))
except UserError as error:
    print(error)
else:
    raise SystemExit("there was enough memory: this shows nothing")
assert all(alike(after(residency, small), expected))
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
after(residency, record(large))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="address space can be limited on Linux only")
def test_an_allocator_that_fails_is_survived(tiny: ModelRecord, tmp_path: Path) -> None:
    """The real allocator, in a process that may have no more address space."""
    large = tmp_path / "large.safetensors"
    tensors = load_file(tiny.path)
    words = f"{TEXT}transformer.text_model.embeddings.token_embedding.weight"
    tensors[words] = torch.zeros(2_000_000, tensors[words].shape[1], dtype=torch.float16)
    save_file(tensors, large)
    arguments = [str(tiny.path), str(large), str(tmp_path / "models.sqlite3")]
    ran = subprocess.run(
        [sys.executable, "-c", STARVED, *arguments],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("There is not enough memory to load large: its text_encoder takes 0.51 GB of RAM;")


def test_a_checkpoint_of_another_seed_shares_nothing(manage: Manage, tiny: ModelRecord) -> None:
    path = tiny.path.with_name("seed.safetensors")
    write_tiny_checkpoint(path, seed=9)
    residency = manage()
    for checkpoint in (tiny, record(path)):
        after(residency, checkpoint)
    assert sorted(o.role for o in residency.report().occupants) == ["text_encoder"] * 2 + ["unet"] * 2 + ["vae"] * 2


def test_the_identity_decides_how_a_network_was_trained(manage: Manage, tiny: ModelRecord) -> None:
    """It knows what trainers write and what a person said; the file's own marks count where it guessed."""
    residency = manage()
    said = Identity(kind=Kind.CHECKPOINT, title="SD 1.x", family="sd1", prediction="v", zero_terminal_snr=True)
    with residency.ready(tiny) as model:
        assert (model.networks.prediction, model.networks.zero_terminal_snr) == ("epsilon", False)
        plain = model.table.sigma_max
    with residency.ready(replace(tiny, identity=said)) as model:
        assert (model.networks.prediction, model.networks.zero_terminal_snr) == ("v", True)
        assert model.table.sigma_max > 100 * plain
    with residency.ready(replace(tiny, identity=replace(said, suggested=("prediction",)))) as model:
        assert model.networks.prediction == "epsilon"


def test_a_small_swap_says_nothing_of_a_large_one() -> None:
    history = SwapHistory()
    assert history.seconds({"disk": 0, "ram": 0}) == 0
    assert history.seconds({"disk": 50_000_000}) is None
    history.add("disk", 50_000_000, 5.0)  # the first load waits for much that is no reading
    assert history.seconds({"disk": 100_000_000}) == pytest.approx(10)
    assert history.seconds({"disk": 6_900_000_000}) is None
    history.add("disk", 2_000_000_000, 2.0)
    assert history.seconds({"disk": 6_900_000_000}) == pytest.approx(6.9)
