"""Where one checkpoint at a time is at work for a request."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from backend.imaging.vae import in_float32
from backend.model_manager.inventory.record import ModelRecord
from backend.model_manager.patches import LoraUse
from backend.model_manager.residency import LoadedModel, Residency
from backend.tiling import seamless


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """A checkpoint with the VAE and the LoRAs that a request puts on it."""

    record: ModelRecord
    vae: ModelRecord | None
    loras: Sequence[LoraUse]


class Workplace:
    """A lease, with what a request puts on the modules besides: tiling, and full precision where it must be.

    Who takes the place lets go of who had it: two checkpoints of an architecture share their modules, and two of any
    take twice the memory. All is undone at the end of the `with`.
    """

    def __init__(self, residency: Residency, *, tiling: bool):
        self._residency = residency
        self._tiling = tiling
        self._chosen: Chosen | None = None
        self._model: LoadedModel | None = None
        self._lease = ExitStack()
        self._precise: ExitStack | None = None
        self._offloads = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()

    @property
    def model(self) -> LoadedModel:
        """Who has the place."""
        assert self._model is not None
        return self._model

    @property
    def is_precise(self) -> bool:
        """Whether its UNet computes in float32, whatever its weights are in."""
        return self._precise is not None

    def offload(self) -> bool:
        """From now on each network is on the device only while it computes, whosever it is; False where that makes no
        difference."""
        self._offloads = self._residency.offload() or self._offloads
        return self._offloads

    def take(self, chosen: Chosen) -> LoadedModel:
        """`chosen`, ready to compute. Raises as `Residency.ready`."""
        if self._chosen is chosen:
            return self.model
        self.leave()
        with ExitStack() as lease:
            model = lease.enter_context(self._residency.ready(chosen.record, vae=chosen.vae, loras=chosen.loras))
            if self._offloads:
                self._residency.offload()
            if self._tiling:
                lease.enter_context(seamless(model.networks.unet, model.networks.vae))
            if self._precise is not None:
                self._precise.enter_context(in_float32(model.networks.unet))
            self._lease = lease.pop_all()
        self._chosen, self._model = chosen, model
        return model

    @contextmanager
    def full_precision(self) -> Iterator[None]:
        """Until the end of the `with` the UNet computes in float32, whosever it is."""
        self._precise = ExitStack()
        try:
            self._precise.enter_context(in_float32(self.model.networks.unet))
            yield
        finally:
            self._precise.close()
            self._precise = None

    def leave(self) -> None:
        """Nobody has the place, until somebody takes it."""
        if self._precise is not None:
            self._precise.close()
        self._chosen = self._model = None
        self._lease.close()
