"""Which checkpoint is in memory, and on what it runs."""

import logging
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import torch
from diffusers.utils import logging as diffusers_logging
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import CLIPTokenizer

from backend.errors import ModelFileError, UserError
from backend.families import FAMILIES
from backend.families.clip_tokenizer import clip_tokenizer
from backend.families.family import Family
from backend.families.networks import Networks
from backend.imaging.preview import Previewer
from backend.model_manager.catalog import ModelRecord
from backend.model_manager.hashes import HashIndex
from backend.model_manager.header import read_header
from backend.model_manager.status import StatusBoard
from backend.sampling.schedules import SigmaTable

log = logging.getLogger(__name__)
diffusers_logging.set_verbosity_error()


@dataclass(frozen=True)
class LoadedModel:
    """A checkpoint ready to run: its networks on `device`, and what goes with them."""

    record: ModelRecord
    family: Family
    networks: Networks
    tokenizer: CLIPTokenizer
    table: SigmaTable
    device: torch.device
    sha256: "Future[str]"

    @cached_property
    def previewer(self) -> Previewer:
        """Fitted to this checkpoint's VAE when it is first wanted."""
        return Previewer(self.networks.vae, self.family.latent_format.scale)


class Residency:
    """Keeps one checkpoint loaded and swaps it for another when a request names that. Used by one thread."""

    def __init__(self, device: torch.device, status: StatusBoard, hashes: HashIndex, *, xformers: bool = False):
        self.device = device
        # Halves are several times slower on a CPU, and exactness matters more there than memory.
        self.dtype = torch.float32 if device.type == "cpu" else torch.float16
        self._status = status
        self._hashes = hashes
        self._xformers = xformers
        self._loaded: LoadedModel | None = None
        status.post(device=describe(device), attention="PyTorch SDPA")

    @contextmanager
    def ready(self, record: ModelRecord) -> Iterator[LoadedModel]:
        """The checkpoint of `record`, loaded. Raises `ModelFileError` if that fails; what was loaded then stays so."""
        if self._loaded is None or self._loaded.record != record:
            self._status.post(loading=record.name, problem="")
            try:
                self._loaded = self._load(record)
            except UserError as error:
                self._status.post(problem=str(error))
                raise
            finally:
                self._status.post(loading="")
            self._status.post(checkpoint=record.name, family=self._loaded.family.title, size=self._loaded.networks.size)
        yield self._loaded

    def _load(self, record: ModelRecord) -> LoadedModel:
        header = read_header(record.path)
        family = FAMILIES[record.family]
        try:
            networks = family.build(header, load_file(record.path))
        except (SafetensorError, RuntimeError, KeyError, OSError) as error:
            reason = str(error).splitlines()[0]
            raise ModelFileError(f"{record.path.name} cannot be loaded as {family.title}: {reason}") from error
        networks.to(self.device, self.dtype)
        if self._xformers:
            self._status.post(attention=use_xformers(networks, self.device))
        return LoadedModel(
            record=record,
            family=family,
            networks=networks,
            tokenizer=clip_tokenizer(),
            table=SigmaTable(family.alphas_cumprod().tolist()),
            device=self.device,
            sha256=self._hashes.sha256(record),
        )


def choose_device(wanted: str) -> torch.device:
    """The device to run on: `wanted`, or for ``auto`` the best there is. Raises `UserError` if it is not there."""
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if wanted == "auto":
        wanted = next(name for name, there in available.items() if there)
    if not available[wanted]:
        there = ", ".join(name for name, is_there in available.items() if is_there)
        raise UserError(f"There is no {wanted} device here; --device can be auto or one of: {there}.")
    return torch.device(wanted)


def describe(device: torch.device) -> str:
    """The device in words a person knows."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return {"cpu": "CPU", "mps": "Apple GPU"}[device.type]


def use_xformers(networks: Networks, device: torch.device) -> str:
    """Switch the UNet to xformers' attention if that runs on `device`; returns what is used, in a sentence."""
    try:
        # An optional extra: not there in every environment that is checked.
        from xformers.ops import memory_efficient_attention  # pyright: ignore[reportMissingImports]

        probe = torch.zeros(1, 8, 1, 8, device=device, dtype=networks.unet.dtype)
        memory_efficient_attention(probe, probe, probe)
    except (ImportError, NotImplementedError, RuntimeError, ValueError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        sentence = f"PyTorch SDPA (xformers does not run on {describe(device)}: {reason})"
        log.warning("--xformers: using %s", sentence)
        return sentence
    networks.unet.enable_xformers_memory_efficient_attention()
    return "xformers"
