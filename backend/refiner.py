"""The refiner: a second checkpoint that goes on with a picture in the middle of a sampler's run."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from backend.sampling.denoiser import GuidedDenoiser
from backend.sampling.schedules import SigmaTable
from backend.sampling.timesteps import TRAINING_TIMESTEPS

if TYPE_CHECKING:
    from torch import Tensor

ROUNDING = 1e-3  # of a timestep that went through a noise level and back


@dataclass(frozen=True, kw_only=True)
class Switch:
    """When the refiner takes over: at the share `at` of the timesteps of `table`, or with `by_sampling_steps` of the
    `calls` of the run.

    Which timestep a noise level is follows AUTOMATIC1111: the one of the nearest level, or where the sampler is
    `by_timestep`, the whole part of its own.
    """

    at: float
    by_sampling_steps: bool
    calls: int
    table: SigmaTable
    by_timestep: bool

    def is_due(self, call: int, sigma: float) -> bool:
        """Before which call, counted from 0, and noise level."""
        if self.by_sampling_steps:
            return call / self.calls >= self.at
        return (TRAINING_TIMESTEPS - 1 - self._timestep(sigma)) / TRAINING_TIMESTEPS >= self.at

    def _timestep(self, sigma: float) -> int:
        if self.by_timestep:
            return int(self.table.sigma_to_t(sigma) + ROUNDING)
        return int(np.abs(self.table.sigmas - sigma).argmin())


class Relay:
    """A denoiser from which another one takes over, and counts on. It sees the same latents, and the sampler does not
    notice: what it remembers of its last steps holds."""

    def __init__(self, first: GuidedDenoiser, switch: Switch, take_over: Callable[[], GuidedDenoiser]):
        """`take_over()` lets go of the first one's checkpoint and gives the refiner's denoiser."""
        self.refined = False
        self.last_uncond: Tensor | None = None
        self._now = first
        self._switch = switch
        self._take_over = take_over

    @property
    def now(self) -> GuidedDenoiser:
        """Who makes the guesses."""
        return self._now

    def restart(self, call: int = 0) -> None:
        """As `GuidedDenoiser.restart`; it does not go back to the first one."""
        self._now.restart(call)

    def __call__(self, x: "Tensor", sigma: float) -> "Tensor":
        call = self._now.call
        if not self.refined and self._switch.is_due(call, sigma):
            self._now = self._take_over()
            self._now.restart(call)
            self.refined = True
        denoised = self._now(x, sigma)
        self.last_uncond = self._now.last_uncond
        return denoised
