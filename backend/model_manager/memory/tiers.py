"""Networks in RAM and on the device: what comes, what goes when there is no room, what must stay."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from threading import RLock
from typing import TypeVar

import torch
from torch import Tensor, nn

from backend.errors import UserError
from backend.families.family import Component
from backend.model_manager.memory.budgets import Budgets, Space, ram_budget, ram_shortage, vram_budget
from backend.model_manager.memory.components import ComponentStore, Stored, WatchedFile, fingerprint, packed_size
from backend.model_manager.memory.devices import Device, in_ram
from backend.model_manager.memory.rescue import Shortage, attempt
from backend.model_manager.memory.shells import Shell, Shells
from backend.model_manager.memory.swaps import SwapClock
from backend.model_manager.patches import LoraUse, match

T = TypeVar("T")
TAKES_TURNS = "each network is there only while it computes, which takes longer"


@dataclass(eq=False, kw_only=True)
class InUse:
    """The networks of one lease by role, the shells that hold them, and the LoRAs that are for each; `name` is their
    checkpoint's, `remarks` a sentence for each thing that does not fit. `offloaded` ones are on the device only while
    they compute."""

    name: str
    parts: Mapping[str, Stored]
    shells: Mapping[str, Shell]
    loras: Mapping[str, Sequence[LoraUse]]
    remarks: tuple[str, ...] = ()
    offloaded: bool = False


@dataclass(frozen=True, kw_only=True)
class _Matched:
    """Which networks a LoRA changes, and a sentence for each thing of it that changes none."""

    roles: frozenset[str]
    remarks: tuple[str, ...]


class Tiers:
    """Every network in memory, each at most once in RAM and once on the device.

    What a job leases is never dropped, and what it needs is always tried; the budgets say what is kept beside it. The
    least recently used goes first. Nothing is ever copied back from the device. Callers hold `work`.
    """

    def __init__(
        self,
        device: Device,
        budgets: Budgets,
        ram: Callable[[], Space],
        *,
        prepare: Callable[[nn.Module, Stored], None],
        kept: Callable[[Stored], bool],
    ):
        """`ram` says what RAM there is, `prepare` is told of each new module, `kept(stored)` stays in RAM unless a job
        cannot run otherwise."""
        self.device = device
        self.budgets = budgets
        self.store = ComponentStore()
        self.work = RLock()  # held while something is loaded, moved or dropped, never while a job computes
        self._ram = ram
        self._kept = kept
        self._shells = Shells(device.place, prepare)
        self._in_use: list[InUse] = []
        self._matched: dict[Hashable, _Matched] = {}  # by a LoRA and the modules that it was matched with

    def fitted(self, component: Component) -> Component:
        """The component with nothing but what its network needs. Raises `ModelFileError` if it lacks something."""
        return self._shells.fitted(component)

    def load(
        self, component: Component, files: tuple[WatchedFile, ...], lease: ExitStack, clock: SwapClock, name: str
    ) -> Stored:
        """The network in RAM and leased: the one that is there already, if every bit of it is the same.

        Raises `UserError` if there is not enough memory; `name` is its checkpoint's.
        """
        key = fingerprint(component)
        stored = self.store.find(component, key)
        if stored is None:
            stored = self._cast(component, files, key, name)
            clock.moved("disk", stored.source)
        lease.enter_context(self.store.lease(stored))
        return stored

    def _cast(self, component: Component, files: tuple[WatchedFile, ...], key: str, name: str) -> Stored:
        full = component.full_precision and self.device.dtype == torch.float16
        dtype = torch.float32 if full else self.device.dtype
        cast = [tensor for tensor in component.tensors.values() if tensor.is_floating_point() and tensor.dtype != dtype]
        need = packed_size(cast, dtype)
        self._make_ram(need)
        sentence = (
            f"There is not enough memory to load {name}: its {component.role} takes {need / 1e9:,.2f} GB of RAM; close "
            "other programs, or use a smaller checkpoint."
        )
        if need > self._ram().most:
            self._drop_idle()
        if need > self._ram().most:
            raise UserError(sentence)  # the system would promise the memory, and end us when we use it

        stored = self.tried(lambda: Stored.of(component, key, dtype, files, in_ram), sentence)
        self.store.add(stored)
        return stored

    def tried(self, work: Callable[[], T], sentence: str) -> T:
        """What `work` returns, if need be without anything idle in RAM. Raises `UserError(sentence)` if that is not
        enough."""
        result = _attempt_twice(work, self._drop_idle)
        if isinstance(result, Shortage):
            raise UserError(sentence)
        return result

    def use(
        self, name: str, parts: Mapping[str, Stored], loras: Sequence[LoraUse], lease: ExitStack, clock: SwapClock
    ) -> InUse:
        """Put networks on the device, point shells at them and put LoRAs on, until the lease ends.

        Where they do not fit together, each is there only while it computes. Raises `UserError` if that does not help
        either, and `ModelFileError` for a LoRA that does not fit; `name` is their checkpoint's.
        """
        shells = {
            role: lease.enter_context(self._shells.lease(stored, shared=not loras)) for role, stored in parts.items()
        }
        for_each, remarks = self._for_each(loras, shells, name)
        user = InUse(name=name, parts=parts, shells=shells, loras=for_each, remarks=remarks)
        self._in_use.append(user)
        lease.callback(self._in_use.remove, user)
        if self.device.shares_ram or self._all_copied(user, clock):
            put_on = _attempt_twice(lambda: self._put_on(user), self.free_idle)
            if isinstance(put_on, Shortage) and not self.offload():
                raise UserError(f"There is not enough memory to put the LoRAs on {name}: use fewer of them.")
        else:
            self.offload()
        if user.offloaded:
            user.remarks += (f"{name} does not fit on the device as a whole: {TAKES_TURNS}.",)
            largest = max(parts, key=lambda role: parts[role].size)
            if isinstance(attempt(lambda: self._bring(user, largest)), Shortage):
                raise UserError(
                    f"There is not enough memory on the device for {name}: its {largest} takes "
                    f"{parts[largest].size / 1e9:,.2f} GB; use a smaller checkpoint, or --device cpu."
                )
        return user

    def _for_each(
        self, loras: Sequence[LoraUse], shells: Mapping[str, Shell], name: str
    ) -> tuple[dict[str, Sequence[LoraUse]], tuple[str, ...]]:
        """Which of the LoRAs change which network, and what of them changes none."""
        modules = {role: shell.module for role, shell in shells.items() if role != "vae"}
        roles: dict[str, list[LoraUse]] = {role: [] for role in modules}
        remarks: list[str] = []
        for use in loras:
            # Told by the shapes alone, which do not change.
            key = (use.lora.sha256, *(id(module) for module in modules.values()))
            if key not in self._matched:
                matched = match(use.lora, modules, name)
                touched = frozenset(target.role for target in matched.targets)
                self._matched[key] = _Matched(roles=touched, remarks=matched.remarks)
            remarks += self._matched[key].remarks
            for role in self._matched[key].roles:
                roles[role].append(use)
        return {role: tuple(uses) for role, uses in roles.items()}, tuple(dict.fromkeys(remarks))

    def _put_on(self, user: InUse) -> None:
        for role in user.parts:
            self._point(user, role)

    def _point(self, user: InUse, role: str) -> None:
        stored, shell = user.parts[role], user.shells[role]
        clean = stored.tensors if self.device.shares_ram else _placed(stored)
        shell.point(stored, clean)
        if role in user.loras:
            shell.patcher.apply({role: shell.module}, {role: clean}, user.loras[role], user.name)

    def _all_copied(self, user: InUse, clock: SwapClock) -> bool:
        """Copy what is not on the device yet; False if it does not fit even when all that is idle has gone."""
        absent = [stored for stored in user.parts.values() if stored.placed is None]
        self._make_vram(sum(stored.size for stored in absent))
        if sum(stored.size for stored in user.parts.values()) > self.vram_budget():
            return False
        for stored in absent:
            if isinstance(_attempt_twice(lambda now=stored: self._copy(now, clock), self.free_idle), Shortage):
                return False
        return True

    def _copy(self, stored: Stored, clock: SwapClock) -> None:
        way = "ram" if stored.copies else "disk"
        with clock.measured(way):
            stored.place(self.device.empty)
            self.device.wait()
        if way == "ram":
            clock.moved(way, stored.size)

    def offload(self) -> bool:
        """Keep each network in use on the device only while it computes, until its lease ends; False where that is so
        already, or makes no difference."""
        changing = [] if self.device.shares_ram else [user for user in self._in_use if not user.offloaded]
        for user in changing:
            self._offload(user)
        self.device.trim()
        return bool(changing)

    def _offload(self, user: InUse) -> None:
        user.offloaded = True
        for role, shell in user.shells.items():
            self._take_off(user, role)
            shell.before_use(lambda now=role: self._bring(user, now))

    def _take_off(self, user: InUse, role: str) -> None:
        user.shells[role].clear(user.parts[role].dtype)
        user.parts[role].placed = None

    def _bring(self, user: InUse, role: str) -> None:
        """Put one network on the device for its turn."""
        stored, shell = user.parts[role], user.shells[role]
        if shell.holds is stored:
            return
        with self.work, torch.inference_mode(False), torch.no_grad():
            for other in self._in_use:
                for theirs in other.parts if other.offloaded else ():
                    if other.parts[theirs] is not stored:
                        self._take_off(other, theirs)
            self._make_vram(stored.size)
            stored.place(self.device.empty)
            self._point(user, role)

    def free_idle(self) -> int:
        """Drop everything that no job uses from where networks compute; returns its bytes."""
        size = _ram if self.device.shares_ram else _vram
        idle = self.store.idle(size, sum(map(size, self.store)), kept=lambda _stored: False)
        freed = sum(map(size, idle))
        for stored in idle:
            (self.drop if self.device.shares_ram else self._leave_device)(stored)
        for shell in self._shells:
            if not shell.leases:
                freed += shell.patcher.size
                shell.patcher.restore()
        self.device.trim()
        return freed

    def drop(self, stored: Stored) -> None:
        """Let it go from RAM and device: now, or when its last lease ends."""
        if not stored.leases:
            self._shells.forget(stored)
        self.store.drop(stored)

    def tidy(self) -> None:
        """Drop what was wanted gone while it was in use, and what the rest of the machine needs."""
        for stored in self.store:
            if stored.unwanted:
                self.drop(stored)
        self._make_ram(0)

    @property
    def patched(self) -> int:
        """Bytes of the weights that LoRAs have changed, beside the clean ones."""
        return sum(shell.patcher.size for shell in self._shells)

    def vram_budget(self) -> int:
        """Bytes that models may fill on the device; 0 where it has no memory of its own."""
        if self.device.shares_ram:
            return 0
        return vram_budget(self.budgets.vram, self.device.space(), self.store.vram + self.patched)

    def ram_budget(self) -> int:
        """Bytes of RAM that models may fill."""
        return ram_budget(self.budgets.ram, self._ram())

    def _make_ram(self, need: int) -> None:
        space = self._ram()
        patched = self.patched if self.device.shares_ram else 0
        over_budget = self.store.ram + patched + need - ram_budget(self.budgets.ram, space)
        short = ram_shortage(replace(space, free=space.free - need))
        for stored in self.store.idle(_ram, max(over_budget, short), self._kept):
            self.drop(stored)

    def _make_vram(self, need: int) -> None:
        excess = self.store.vram + self.patched + need - self.vram_budget()
        for stored in self.store.idle(_vram, excess, kept=lambda _stored: False):
            self._leave_device(stored)

    def _leave_device(self, stored: Stored) -> None:
        """What once had to make room will have to come back: keep it where it is copied from fastest."""
        self._shells.forget(stored)
        self.store.leave_device(stored)
        pinned = sum(other.ram for other in self.store)
        staging = None if stored.own else self.device.staging(pinned, stored.size)
        if staging is not None and self.store.ram + stored.size <= self.ram_budget():
            attempt(lambda: stored.settle(staging))

    def _drop_idle(self) -> None:
        for stored in self.store.idle(_ram, self.store.ram, kept=lambda _stored: False):
            self.drop(stored)


def _attempt_twice(work: Callable[[], T], make_room: Callable[[], object]) -> T | Shortage:
    """What `work` returns, the second time with the room that `make_room()` made if the first time there was too
    little; or the second shortage."""
    result = attempt(work)
    if isinstance(result, Shortage):
        make_room()
        result = attempt(work)
    return result


def _ram(stored: Stored) -> int:
    return stored.ram


def _vram(stored: Stored) -> int:
    return stored.vram


def _placed(stored: Stored) -> Mapping[str, Tensor]:
    if stored.placed is None:
        raise RuntimeError(f"the {stored.role} is not on the device")
    return stored.placed.tensors
