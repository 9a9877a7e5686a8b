"""Which checkpoints are in memory, in which of its tiers, and what is ready to compute."""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from diffusers.utils import logging as diffusers_logging
from torch import nn
from transformers import CLIPTokenizer

from backend.errors import ModelFileError, UserError
from backend.families.clip_tokenizer import clip_tokenizer
from backend.families.family import Family
from backend.families.networks import Networks
from backend.imaging.preview import Previewer
from backend.model_manager.inventory.hashes import HashIndex
from backend.model_manager.inventory.record import ModelRecord
from backend.model_manager.memory.budgets import Budgets, Space, ram_space
from backend.model_manager.memory.components import Stored
from backend.model_manager.memory.devices import Device, describe
from backend.model_manager.memory.reading import Reading, read_checkpoint, read_vae, state
from backend.model_manager.memory.shells import use_xformers
from backend.model_manager.memory.status import MemoryReport, Occupant, StatusBoard, Swap
from backend.model_manager.memory.swaps import SwapClock, SwapHistory
from backend.model_manager.memory.tiers import InUse, Tiers
from backend.model_manager.patches import LoraUse
from backend.sampling.denoiser import CLEAN
from backend.sampling.schedules import SigmaTable

diffusers_logging.set_verbosity_error()


@dataclass(frozen=True)
class LoadedModel:
    """A checkpoint ready to run: its networks on `device`, and what goes with them.

    `contents` stands for the weights in each network, by its role, LoRAs included: while it is the same, so is what the
    network computes. `remarks` say what of the LoRAs does not fit.
    """

    record: ModelRecord
    family: Family
    networks: Networks
    tokenizer: CLIPTokenizer
    table: SigmaTable
    device: torch.device
    sha256: "Future[str]"
    contents: Mapping[str, Hashable]
    remarks: tuple[str, ...]
    fit_previewer: Callable[[], Previewer]

    @property
    def previewer(self) -> Previewer:
        """Fitted to this checkpoint's VAE when it is first wanted."""
        return self.fit_previewer()


@dataclass(eq=False, kw_only=True)
class _Checkpoint:
    """What is known of a file in one state of it: `parts` are its networks that are in memory, `sizes` the bytes of all
    of them in the file, `models` what was made of them with each VAE."""

    record: ModelRecord
    parts: dict[str, Stored] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    reading: Reading | None = None
    models: dict[Hashable, LoadedModel] = field(default_factory=dict)


class Residency:
    """Keeps checkpoints in RAM and on the device, and swaps them by pointing modules at other tensors.

    One thread makes pictures; reports, `unload` and `keep_warm` may come from any. What a job uses stays where it is
    until the job ends; of the rest the least recently used goes first.
    """

    def __init__(
        self,
        device: Device,
        status: StatusBoard,
        hashes: HashIndex,
        *,
        budgets: Budgets | None = None,
        xformers: bool = False,
        ram: Callable[[], Space] = ram_space,
    ):
        """`ram` says what RAM there is."""
        self.device = device
        self._status = status
        self._hashes = hashes
        self._xformers = xformers
        self._tiers = Tiers(device, budgets or Budgets(), ram, prepare=self._prepare, kept=self._is_kept)
        self._files: dict[Path, _Checkpoint] = {}
        self._kept: frozenset[Path] = frozenset()
        self._history = SwapHistory()
        status.post(device=describe(device.place), attention="PyTorch SDPA", memory=self.report())

    @contextmanager
    def ready(
        self, record: ModelRecord, *, vae: ModelRecord | None = None, loras: Sequence[LoraUse] = ()
    ) -> Iterator[LoadedModel]:
        """The checkpoint of `record`, ready to compute, with another file's VAE if `vae` says so, and `loras` on it.

        Raises `ModelFileError` if a file cannot be loaded or a LoRA does not fit, and `UserError` if there is not
        enough memory; what was loaded before is then as usable as it was.
        """
        with ExitStack() as lease:
            lease.callback(self._tidy)
            with self._tiers.work, torch.inference_mode(False), torch.no_grad():
                model = self._ready(record, vae, loras, lease)
            yield model

    def swap(self, record: ModelRecord) -> Swap:
        """How far `record` is from being ready, by what is in memory now and how long past swaps took."""
        known = self._files.get(record.path)
        if known is None or not known.sizes or not _is_current(known):
            return Swap(temperature="cold", seconds=self._history.seconds({"disk": record.size}))
        parts = {role: stored for role, stored in list(known.parts.items()) if stored in self._tiers.store}
        missing = sum(size for role, size in known.sizes.items() if role not in parts)
        copies = 0 if self.device.shares_ram else sum(part.size for part in parts.values() if part.placed is None)
        temperature = "cold" if missing else "warm" if copies else "hot"
        return Swap(temperature=temperature, seconds=self._history.seconds({"disk": missing, "ram": copies}))

    def report(self) -> MemoryReport:
        """What occupies memory now."""
        names: dict[Stored, list[str]] = {}
        for known in list(self._files.values()):
            for stored in list(known.parts.values()):
                names.setdefault(stored, []).append(known.record.name)
        occupants = tuple(
            Occupant(
                fingerprint=stored.fingerprint,
                role=stored.role,
                checkpoints=tuple(sorted(names.get(stored, []))),
                ram=stored.ram,
                mapped=stored.mapped,
                vram=stored.vram,
                leased=stored.leases > 0,
                kept=self._is_kept(stored),
            )
            for stored in self._tiers.store
        )
        return MemoryReport(
            occupants=occupants,
            ram=sum(occupant.ram for occupant in occupants),
            ram_budget=self._tiers.ram_budget(),
            mapped=sum(occupant.mapped for occupant in occupants),
            vram=sum(occupant.vram for occupant in occupants),
            vram_budget=self._tiers.vram_budget(),
            patched=self._tiers.patched,
        )

    def set_budgets(self, budgets: Budgets) -> None:
        """Other limits from now on; what is over them goes when the next job begins or ends."""
        self._tiers.budgets = budgets

    def unload(self, record: ModelRecord | None = None) -> None:
        """Let go of a file, or of all: at once, or when the job that uses it ends. What another one in memory shares
        with it stays."""
        with self._tiers.work:
            going = [known for path, known in self._files.items() if record is None or path == record.path]
            staying = {part for known in self._files.values() if known not in going for part in known.parts.values()}
            for stored in {part for known in going for part in known.parts.values()} - staying:
                self._tiers.drop(stored)
            for known in going:
                known.parts.clear()
            self.device.trim()
        self._status.post(memory=self.report())

    def keep_warm(self, record: ModelRecord, kept: bool) -> None:
        """Keep a checkpoint in RAM from its next use on, whatever else is loaded; or no longer."""
        with self._tiers.work:
            self._kept = self._kept | {record.path} if kept else self._kept - {record.path}
        self._status.post(memory=self.report())

    def free_idle(self) -> int:
        """Drop everything that no job uses from where networks compute; returns its bytes."""
        with self._tiers.work:
            return self._tiers.free_idle()

    def offload(self) -> bool:
        """From now on keep each network in use on the device only while it computes, until its job ends; False where
        that is so already, or makes no difference."""
        with self._tiers.work, torch.inference_mode(False):
            return self._tiers.offload()

    def _ready(
        self, record: ModelRecord, vae: ModelRecord | None, loras: Sequence[LoraUse], lease: ExitStack
    ) -> LoadedModel:
        clock = SwapClock()
        try:
            known = self._known(record)
            parts, reading = self._parts(known, lease, clock)
            if vae is not None and vae.path != record.path:
                parts["vae"] = self._other_vae(vae, parts["vae"], lease, clock)
            if not self.device.shares_ram and any(part.placed is None for part in parts.values()):
                self._status.post(loading=record.name, problem="")
            user = self._tiers.use(record.name, parts, loras, lease, clock)
        except UserError as error:
            self._status.post(problem=str(error))
            raise
        finally:
            if self._status.value.loading:
                self._status.post(loading="")
        clock.report(self._history)
        model = self._model(known, _as_identified(reading, record), user)
        size = sum(stored.size for stored in parts.values())
        title = model.family.title
        self._status.post(checkpoint=record.name, family=title, size=size, problem="", memory=self.report())
        return model

    def _known(self, record: ModelRecord) -> _Checkpoint:
        """What is known of a file, if it is still the same; else it begins anew."""
        size, modified = state(record)
        known = self._files.get(record.path)
        if known is None or (known.record.size, known.record.modified) != (size, modified):
            return _Checkpoint(record=replace(record, size=size, modified=modified))
        for role, stored in list(known.parts.items()):
            if not stored.intact:
                self._tiers.drop(stored)
            if stored.unwanted:
                del known.parts[role]
        return known

    def _parts(self, known: _Checkpoint, lease: ExitStack, clock: SwapClock) -> tuple[dict[str, Stored], Reading]:
        """All networks of a checkpoint, in RAM and leased, and what its file said."""
        for stored in known.parts.values():
            lease.enter_context(self._tiers.store.lease(stored))
        reading = known.reading
        if reading is None or len(known.parts) < len(known.sizes):
            with clock.measured("disk"):
                reading = known.reading = self._load(known, lease, clock)
        return dict(known.parts), reading

    def _load(self, known: _Checkpoint, lease: ExitStack, clock: SwapClock) -> Reading:
        """Read what is not in memory. Nothing is dropped for it before all of the file is known to fit."""
        record = known.record
        self._status.post(loading=record.name, problem="")
        reading = self._tiers.tried(
            lambda: read_checkpoint(record),
            f"There is not enough memory to open {record.name}: close other programs, or use a smaller checkpoint.",
        )
        try:
            components = [self._tiers.fitted(component) for component in reading.components]
        except ModelFileError as error:
            raise ModelFileError(f"{record.path.name} cannot be loaded as {reading.family.title}: {error}.") from error
        self._remember(known)
        known.sizes = {part.role: sum(tensor.nbytes for tensor in part.tensors.values()) for part in components}
        for part in components:
            if part.role not in known.parts:
                known.parts[part.role] = self._tiers.load(part, reading.files, lease, clock, record.name)
        return replace(reading, files=(), components=())  # pages stay mapped only where they are used

    def _other_vae(self, vae: ModelRecord, own: Stored, lease: ExitStack, clock: SwapClock) -> Stored:
        """The VAE of another file, in the precision that the checkpoint's `own` one computes in."""
        known = self._known(vae)
        stored = known.parts.get("vae")
        if stored is not None and stored.dtype == own.dtype:
            lease.enter_context(self._tiers.store.lease(stored))
            return stored
        self._status.post(loading=vae.name, problem="")
        with clock.measured("disk"):
            files, component = read_vae(vae, full_precision=own.full_precision)
            try:
                component = self._tiers.fitted(component)
            except ModelFileError as error:
                raise ModelFileError(f"{vae.path.name} cannot be used as a VAE: {error}.") from error
            self._remember(known)
            stored = self._tiers.load(component, files, lease, clock, vae.name)
        # As part of a checkpoint it may be wanted in another precision than here.
        known.parts.setdefault("vae", stored)
        known.sizes.setdefault("vae", stored.source)
        return stored

    def _remember(self, known: _Checkpoint) -> None:
        """Know this file from now on; what only another state of it needed goes when no job needs it any more."""
        before = self._files.get(known.record.path)
        self._files[known.record.path] = known
        if before is not None and before is not known:
            needed = {stored for other in self._files.values() for stored in other.parts.values()}
            for stored in set(before.parts.values()) - needed:
                self._tiers.drop(stored)

    def _model(self, known: _Checkpoint, reading: Reading, user: InUse) -> LoadedModel:
        """What is computed once for the same networks in the same modules is kept."""
        modules: dict[str, Any] = {role: shell.module for role, shell in user.shells.items()}
        networks_key = tuple((user.parts[role].serial, id(module)) for role, module in modules.items())
        key = (reading.prediction, reading.zero_terminal_snr, networks_key)
        contents = {role: (user.parts[role].serial, shell.patcher.applied(role)) for role, shell in user.shells.items()}
        if key not in known.models:
            family = reading.family
            networks = Networks(
                **modules,
                prediction=reading.prediction,
                zero_terminal_snr=reading.zero_terminal_snr,
                full_precision=frozenset(role for role, part in user.parts.items() if part.full_precision),
            )
            known.models[key] = LoadedModel(
                record=known.record,
                family=family,
                networks=networks,
                tokenizer=clip_tokenizer(),
                table=SigmaTable(
                    family.alphas_cumprod(zero_terminal_snr=reading.zero_terminal_snr).tolist(),
                    aligned_for=family.aligned_for,
                ),
                device=self.device.place,
                sha256=self._hashes.sha256(known.record),
                contents=contents,
                remarks=user.remarks,
                fit_previewer=cache(lambda: Previewer(networks.vae, family.latent_format.scale)),
            )
        return replace(known.models[key], contents=contents, remarks=user.remarks)

    def _prepare(self, module: nn.Module, stored: Stored) -> None:
        if self._xformers and stored.role == "unet":
            self._status.post(attention=use_xformers(module, self.device.place, stored.dtype))

    def _is_kept(self, stored: Stored) -> bool:
        return any(stored in known.parts.values() for path, known in list(self._files.items()) if path in self._kept)

    def _tidy(self) -> None:
        with self._tiers.work:
            self._tiers.tidy()
        self._status.post(memory=self.report())


def _as_identified(reading: Reading, record: ModelRecord) -> Reading:
    """The reading with what the identity says of the training, which knows more metadata than a family does and what a
    person said; only where it went by the file's name do the tensors decide."""
    identity = record.identity
    guessed = "prediction" in identity.suggested and not record.chosen
    said = identity.prediction if identity.prediction in CLEAN and not guessed else reading.prediction
    rescaled = identity.zero_terminal_snr or (reading.zero_terminal_snr and not record.chosen)
    return replace(reading, prediction=said, zero_terminal_snr=rescaled)


def _is_current(known: _Checkpoint) -> bool:
    try:
        return (known.record.size, known.record.modified) == state(known.record)
    except ModelFileError:
        return False
