"""Schedules: how the noise levels of a generation are spaced between the model's largest one and zero.

A noise level (sigma) is the standard deviation of the noise when the picture's latents have unit scale, as in Karras et
al. 2022, "Elucidating the Design Space of Diffusion-Based Generative Models". Everything here is float64.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from backend.errors import InvalidRequest
from backend.sampling.lookup import find_row

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

AUTOMATIC = "Automatic"
KARRAS_RHO = 7.0  # the value Karras et al. recommend for sampling


class SigmaTable:
    """The noise levels a network was trained on, and the fractional timesteps between them.

    `alphas_cumprod` is the share of signal left at each training timestep, (1000,), falling. Give it in the precision
    the checkpoint has it (float32 for Stable Diffusion): 1 - a of the first entries amplifies its rounding, and the
    same rounding gives the same picture. `timesteps` names the timestep of each entry where they are not 0, 1, 2, ...
    """

    def __init__(self, alphas_cumprod: "ArrayLike", *, timesteps: "ArrayLike | None" = None) -> None:
        alphas = np.asarray(alphas_cumprod, dtype=np.float64)
        self._alphas = alphas.copy()
        self._timesteps = np.arange(alphas.size) if timesteps is None else np.array(timesteps)
        self._quantized = timesteps is not None
        self._log_sigmas = 0.5 * (np.log1p(-alphas) - np.log(alphas))
        self.sigmas = np.exp(self._log_sigmas)
        self.sigmas.setflags(write=False)

    @property
    def sigma_min(self) -> float:
        return float(self.sigmas[0])

    @property
    def sigma_max(self) -> float:
        return float(self.sigmas[-1])

    @property
    def t_min(self) -> float:
        """The timestep of `sigma_min`."""
        return float(self._timesteps[0])

    @property
    def t_max(self) -> float:
        """The timestep of `sigma_max`."""
        return float(self._timesteps[-1])

    def t_to_sigma(self, t: float) -> float:
        """The noise level at a fractional timestep, linear in log sigma between the entries; ends are held."""
        return math.exp(np.interp(t, self._timesteps, self._log_sigmas))

    def sigma_to_t(self, sigma: float) -> float:
        """The timestep to tell the network for a noise level above 0: the inverse of `t_to_sigma`.

        In a table made by `every` it is the nearest entry in log sigma instead, for a network that knows no other.
        """
        if self._quantized:
            return float(self._timesteps[np.abs(self._log_sigmas - math.log(sigma)).argmin()])
        return float(np.interp(math.log(sigma), self._log_sigmas, self._timesteps))

    def t_to_sigma_in_log_alpha(self, t: float) -> float:
        """The noise level at a fractional timestep, linear in log(alphas_cumprod) as in the DPM-Solver papers.

        Between two entries it differs from `t_to_sigma` in the fourth digit; on them it does not.
        """
        return math.sqrt(math.expm1(-np.interp(t, self._timesteps, np.log(self._alphas))))

    def every(self, stride: int) -> "SigmaTable":
        """Every `stride`-th entry, counted so that the last one stays: what a distilled network has learned."""
        return SigmaTable(self._alphas[stride - 1 :: stride], timesteps=self._timesteps[stride - 1 :: stride])


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """A row of the table. `sigmas(steps, table)` gives `steps` falling noise levels and a final 0."""

    name: str
    aliases: tuple[str, ...]
    sigmas: Callable[[int, SigmaTable], list[float]]


def uniform(steps: int, table: SigmaTable) -> list[float]:
    """Evenly spaced timesteps, both ends included (Song et al. 2021, DDIM, "linear")."""
    return [*(table.t_to_sigma(t) for t in np.linspace(table.t_max, table.t_min, steps)), 0.0]


def sgm_uniform(steps: int, table: SigmaTable) -> list[float]:
    """Evenly spaced timesteps without the last, as in Stability's generative-models: zero follows a larger sigma."""
    return [*(table.t_to_sigma(t) for t in np.linspace(table.t_max, table.t_min, steps + 1)[:-1]), 0.0]


def karras(steps: int, table: SigmaTable) -> list[float]:
    """Equation 5 of Karras et al. 2022 with rho = 7: evenly spaced in sigma^(1/7)."""
    ramp = np.linspace(table.sigma_max ** (1 / KARRAS_RHO), table.sigma_min ** (1 / KARRAS_RHO), steps)
    return [*(ramp**KARRAS_RHO).tolist(), 0.0]


def exponential(steps: int, table: SigmaTable) -> list[float]:
    """Evenly spaced in log sigma, so in log signal-to-noise ratio (Lu et al. 2022, DPM-Solver, "logSNR")."""
    return [*np.exp(np.linspace(math.log(table.sigma_max), math.log(table.sigma_min), steps)).tolist(), 0.0]


def simple(steps: int, table: SigmaTable) -> list[float]:
    """Every (1000/steps)-th entry of the table from its noisy end, rounded down: no level between two entries."""
    stride = len(table.sigmas) / steps
    return [*(float(table.sigmas[-1 - int(i * stride)]) for i in range(steps)), 0.0]


def _by_name(*rows: Schedule) -> Mapping[str, Schedule]:
    return MappingProxyType({row.name: row for row in rows})


# Names and order of AUTOMATIC1111. Its Normal asks the table for the timesteps of both ends and so equals its Uniform.
SCHEDULES: Mapping[str, Schedule] = _by_name(
    Schedule(name="Uniform", aliases=(), sigmas=uniform),
    Schedule(name="Karras", aliases=(), sigmas=karras),
    Schedule(name="Exponential", aliases=(), sigmas=exponential),
    Schedule(name="SGM Uniform", aliases=("sgm_uniform", "SGMUniform"), sigmas=sgm_uniform),
    Schedule(name="Simple", aliases=(), sigmas=simple),
    Schedule(name="Normal", aliases=(), sigmas=uniform),
)
SCHEDULE_NAMES: tuple[str, ...] = (AUTOMATIC, *SCHEDULES)


def find_schedule(name: str) -> Schedule:
    """The schedule with this name or alias, in any case.

    Raises `InvalidRequest` for an unknown name, and for "Automatic", which only a sampler can resolve.
    """
    if is_automatic(name):
        raise InvalidRequest(f"{AUTOMATIC} is the sampler's choice, not a schedule; there are {', '.join(SCHEDULES)}.")
    return find_row("schedule", name, SCHEDULES, SCHEDULE_NAMES)


def is_automatic(name: str) -> bool:
    """Whether this names the sampler's own choice."""
    return name.strip().casefold() == AUTOMATIC.casefold()
