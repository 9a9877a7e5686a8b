"""Modules without weights of their own: to swap a network is to point its parameters at other tensors."""

import logging
import threading
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from backend.errors import ModelFileError
from backend.families.family import Component
from backend.model_manager.memory.components import Stored
from backend.model_manager.memory.devices import describe
from backend.model_manager.memory.rescue import first_line
from backend.model_manager.patches import Patcher

log = logging.getLogger(__name__)
# Libraries patch `register_parameter` for the whole process while they build a module.
CONSTRUCTION = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class Slot:
    """Where a tensor belongs: the attribute `name` of `module`, a parameter or a buffer."""

    module: nn.Module
    name: str
    shape: torch.Size
    is_parameter: bool

    def fill(self, tensor: Tensor) -> None:
        """Put `tensor` there. A parameter keeps its identity, on which hooks and compiled code rely."""
        if not self.is_parameter:
            self.module._buffers[self.name] = tensor
            return
        parameter = self.module._parameters[self.name]
        if parameter is None or parameter.is_meta:
            self.module._parameters[self.name] = nn.Parameter(tensor, requires_grad=False)
        else:
            parameter.data = tensor


class Shell:
    """A module of one architecture, and the network that it is pointed at now, if any."""

    def __init__(self, make: Callable[[], nn.Module], place: torch.device):
        """`make()` gives a module with parameters on the meta device; what buffers it has go to `place`."""
        with CONSTRUCTION:
            self.module = make().eval().requires_grad_(False)
        self._place = place
        self.patcher = Patcher()
        self.holds: Stored | None = None
        self.leases = 0
        self.prepared = False
        self._hooks: list[Any] = []
        self._slots: dict[str, Slot] = {}
        for path, tensor in self.module.state_dict(keep_vars=True).items():
            owner, _, name = path.rpartition(".")
            module = self.module.get_submodule(owner)
            is_parameter = name in module._parameters
            # Whole numbers are counters and positions, which no file knows better than the module.
            if is_parameter or tensor.is_floating_point():
                self._slots[path] = Slot(module=module, name=name, shape=tensor.shape, is_parameter=is_parameter)
        for module in self.module.modules():
            for name, buffer in module._buffers.items():
                if buffer is not None and not buffer.is_meta:
                    module._buffers[name] = buffer.to(place)

    def chosen(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Those of `tensors` that belong into this module, in its own order. Raises `ModelFileError`, which says what
        it lacks or has in another shape."""
        missing = [path for path, slot in self._slots.items() if slot.is_parameter and path not in tensors]
        if missing:
            raise ModelFileError(f"it lacks {len(missing)} of {len(self._slots)} tensors, the first is {missing[0]}")
        chosen = {path: tensors[path] for path in self._slots if path in tensors}
        for path, tensor in chosen.items():
            if tensor.shape != self._slots[path].shape:
                wanted, is_now = ("x".join(map(str, shape)) for shape in (self._slots[path].shape, tensor.shape))
                raise ModelFileError(f"its {path} is {is_now} where {wanted} belongs")
        return chosen

    def point(self, stored: Stored, tensors: Mapping[str, Tensor]) -> None:
        """Make every parameter one of `tensors`, which are those of `stored`: nothing is copied."""
        if self.holds is stored:
            return
        for path, tensor in tensors.items():
            self._slots[path].fill(tensor)
        self.holds = stored

    def clear(self, dtype: torch.dtype | None = None) -> None:
        """Hold no weights any more. What is left has no bytes to speak of, but still says shape, device and precision:
        `dtype`, if that is what it will compute in next."""
        self.holds = None
        self.patcher.restore()
        nothing: dict[torch.dtype, Tensor] = {}
        for slot in self._slots.values():
            held = getattr(slot.module, slot.name)
            kind = dtype if dtype is not None and held.is_floating_point() else held.dtype
            if kind not in nothing:
                nothing[kind] = torch.zeros((), dtype=kind, device=self._place)
            slot.fill(nothing[kind].expand(slot.shape))

    def before_use(self, bring: Callable[[], None]) -> None:
        """Call `bring()` each time before the module, or one of its first-level parts, computes."""
        # A VAE is asked to encode or decode, never called.
        for module in (self.module, *self.module.children()):
            self._hooks.append(module.register_forward_pre_hook(lambda _module, _args: bring()))

    def without_hooks(self) -> None:
        """Undo `before_use`."""
        while self._hooks:
            self._hooks.pop().remove()


class Shells:
    """One shell for each architecture; more only where jobs use several networks of the same at once."""

    def __init__(self, place: torch.device, prepare: Callable[[nn.Module, Stored], None]):
        """`prepare(module, stored)` is called once for each new shell, with the first network that it will hold."""
        self._place = place
        self._prepare = prepare
        self._shells: dict[Hashable, list[Shell]] = {}

    def fitted(self, component: Component) -> Component:
        """The component without what does not belong into its shell. Raises `ModelFileError` if it lacks something."""
        shells = self._shells.setdefault(component.architecture, [])
        if not shells:
            shells.append(Shell(component.blank, self._place))
        return replace(component, tensors=shells[0].chosen(component.tensors))

    def __iter__(self) -> Iterator[Shell]:
        return iter([shell for shells in tuple(self._shells.values()) for shell in tuple(shells)])

    @contextmanager
    def lease(self, stored: Stored, *, shared: bool) -> Iterator[Shell]:
        """The shell that holds `stored` already, else one that is free; nobody points it elsewhere meanwhile. One that
        is in use with no LoRA on it may be `shared`."""
        shells = self._shells.setdefault(stored.architecture, [])
        free = [
            shell
            for shell in shells
            if not shell.leases or (shared and shell.holds is stored and not shell.patcher.size)
        ]
        if not free:
            free = [Shell(stored.blank, self._place)]
            shells += free
        shell = next((shell for shell in free if shell.holds is stored), free[0])
        if not shell.prepared:
            self._prepare(shell.module, stored)
            shell.prepared = True
        shell.leases += 1
        try:
            yield shell
        finally:
            shell.leases -= 1
            if not shell.leases:
                shell.without_hooks()

    def forget(self, stored: Stored) -> None:
        """Let go of the tensors of `stored`."""
        for shell in self:
            if shell.holds is stored:
                shell.clear()


def use_xformers(unet: Any, place: torch.device, dtype: torch.dtype) -> str:
    """Switch the UNet to xformers' attention if that runs on `place`; returns what is used, in a sentence."""
    try:
        # An optional extra: not there in every environment that is checked.
        from xformers.ops import memory_efficient_attention  # pyright: ignore[reportMissingImports]

        probe = torch.zeros(1, 8, 1, 8, device=place, dtype=dtype)
        memory_efficient_attention(probe, probe, probe)
    except (ImportError, NotImplementedError, RuntimeError, ValueError, OSError) as error:
        sentence = f"PyTorch SDPA (xformers does not run on {describe(place)}: {first_line(error)})"
        log.warning("--xformers: using %s", sentence)
        return sentence
    unet.enable_xformers_memory_efficient_attention()
    return "xformers"
