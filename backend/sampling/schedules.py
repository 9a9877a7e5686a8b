"""Schedules: how the noise levels of a generation are spaced between the model's largest one and zero.

A noise level (sigma) is the standard deviation of the noise when the picture's latents have unit scale, as in Karras et
al. 2022, "Elucidating the Design Space of Diffusion-Based Generative Models". Everything here is float64.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from backend.errors import InvalidRequest
from backend.sampling.aligned import AlignedFor, Alignment
from backend.sampling.lookup import Table
from backend.sampling_options import SamplingOptions

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

AUTOMATIC = "Automatic"
SAME_SCHEDULE = "Use same scheduler"  # A1111's word for the first pass's
KARRAS_RHO = 7.0  # the value Karras et al. recommend for sampling
POLYEXPONENTIAL_RHO = 1.0
DEFAULTS = SamplingOptions()


class SigmaTable:
    """The noise levels a network was trained on, and the fractional timesteps between them.

    `alphas_cumprod` is the share of signal left at each training timestep, (1000,), falling. Give it in the precision
    the checkpoint has it (float32 for Stable Diffusion): 1 - a of the first entries amplifies its rounding, and the
    same rounding gives the same picture. `timesteps` names the timestep of each entry where they are not 0, 1, 2, ...
    `aligned_for` says whose levels "Align Your Steps" and its kin are.
    """

    def __init__(
        self,
        alphas_cumprod: "ArrayLike",
        *,
        timesteps: "ArrayLike | None" = None,
        aligned_for: AlignedFor = "sd1",
    ) -> None:
        self.aligned_for: AlignedFor = aligned_for
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
        return SigmaTable(
            self._alphas[stride - 1 :: stride],
            timesteps=self._timesteps[stride - 1 :: stride],
            aligned_for=self.aligned_for,
        )


class Levels(Protocol):
    """What every schedule is: from a number of steps to falling noise levels, the last of which is nearly always 0."""

    def __call__(self, steps: int, table: SigmaTable, options: SamplingOptions = DEFAULTS) -> list[float]: ...


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """A row of the table. `sigmas(steps, table, options)` gives `steps` falling noise levels and a final 0.

    Two are different, as in AUTOMATIC1111: KL Optimal ends at the smallest level and has no 0, and DDIM has one level
    for every whole stride of timesteps, which are more than `steps` where 1000 is not a multiple of them.
    """

    name: str
    aliases: tuple[str, ...]
    sigmas: Levels


# ruff: noqa: ARG001  one signature for all, and those that read the table have no ends to choose


def uniform(steps: int, table: SigmaTable, options: SamplingOptions = DEFAULTS) -> list[float]:
    """Evenly spaced timesteps, both ends included (Song et al. 2021, DDIM, "linear")."""
    return [*(table.t_to_sigma(t) for t in np.linspace(table.t_max, table.t_min, steps)), 0.0]


def normal(steps: int, table: SigmaTable, options: SamplingOptions = DEFAULTS) -> list[float]:
    """Evenly spaced timesteps between those of the chosen ends: Uniform, where none are chosen."""
    low, high = ends(table, options)
    timesteps = np.linspace(table.sigma_to_t(high), table.sigma_to_t(low), steps)
    return [*(table.t_to_sigma(t) for t in timesteps), 0.0]


def sgm_uniform(steps: int, table: SigmaTable, options: SamplingOptions = DEFAULTS) -> list[float]:
    """Evenly spaced timesteps without the last, as in Stability's generative-models: zero follows a larger sigma."""
    return [*normal(steps + 1, table, options)[:-2], 0.0]


def karras(steps: int, table: SigmaTable, options: SamplingOptions = DEFAULTS) -> list[float]:
    """Equation 5 of Karras et al. 2022: evenly spaced in sigma^(1/rho), with rho = 7 where none is chosen."""
    low, high = ends(table, options)
    rho = options.schedule_rho or KARRAS_RHO
    return [*(np.linspace(high ** (1 / rho), low ** (1 / rho), steps) ** rho).tolist(), 0.0]


def polyexponential(steps: int, table: SigmaTable, options: SamplingOptions = DEFAULTS) -> list[float]:
    """A polynomial in log sigma: falling powers of an even ramp; the same as Exponential with rho = 1."""
    low, high = ends(table, options)
    ramp = np.linspace(1, 0, steps) ** (options.schedule_rho or POLYEXPONENTIAL_RHO)
    return [*np.exp(math.log(low) + ramp * math.log(high / low)).tolist(), 0.0]


def exponential(steps: int, table: SigmaTable, options: SamplingOptions = DEFAULTS) -> list[float]:
    """Evenly spaced in log sigma, so in log signal-to-noise ratio (Lu et al. 2022, DPM-Solver, "logSNR")."""
    low, high = ends(table, options)
    return [*np.exp(np.linspace(math.log(high), math.log(low), steps)).tolist(), 0.0]


def kl_optimal(steps: int, table: SigmaTable, options: SamplingOptions = DEFAULTS) -> list[float]:
    """Evenly spaced in arctan(sigma), which Sabour et al. 2024 ("Align Your Steps") show to be optimal in KL divergence
    for Gaussian data. `steps` + 1 levels, of which the last is the smallest one: no 0."""
    low, high = ends(table, options)
    return np.tan(np.linspace(math.atan(high), math.atan(low), steps + 1)).tolist()


def simple(steps: int, table: SigmaTable, options: SamplingOptions = DEFAULTS) -> list[float]:
    """Every (1000/steps)-th entry of the table from its noisy end, rounded down: no level between two entries."""
    stride = len(table.sigmas) / steps
    return [*(float(table.sigmas[-1 - int(i * stride)]) for i in range(steps)), 0.0]


def ddim(steps: int, table: SigmaTable, options: SamplingOptions = DEFAULTS) -> list[float]:
    """The entries 1, 1 + s, 1 + 2s, ... of the table with a whole stride s, falling: the levels of DDIM's timesteps.

    A single step, which AUTOMATIC1111 begins and ends at entry 1, begins at the largest level here.
    """
    stride = max(len(table.sigmas) // steps, 1)
    return [*table.sigmas[1::stride][::-1].tolist(), 0.0] if steps > 1 else [table.sigma_max, 0.0]


def beta(steps: int, table: SigmaTable, options: SamplingOptions = DEFAULTS) -> list[float]:
    """Quantiles of a beta distribution between both ends, after Lee et al. 2024 ("Beta Sampling is All You Need"),
    which spaces timesteps so; AUTOMATIC1111 spaces sigma."""
    from scipy.special import betaincinv

    low, high = ends(table, options)
    quantiles = betaincinv(options.beta_alpha, options.beta_beta, 1 - np.linspace(0, 1, steps))
    return [*(low + quantiles * (high - low)).tolist(), 0.0]


def turbo(steps: int, table: SigmaTable, options: SamplingOptions = DEFAULTS) -> list[float]:
    """The timesteps at the end of each of `steps` equal parts, four of which adversarial distillation trains (Sauer et
    al. 2023). Which way a half is rounded follows from the float32 of Forge."""
    ends = np.arange(1, steps + 1, dtype=np.float32) * np.float32(1000 / steps) - 1
    timesteps = np.clip(np.round(ends[::-1]), table.t_min, table.t_max)
    return [*(table.t_to_sigma(t) for t in timesteps), 0.0]


def _aligned(alignment: Alignment) -> Levels:
    def levels(steps: int, table: SigmaTable, options: SamplingOptions = DEFAULTS) -> list[float]:
        return [*alignment.levels(steps, table.aligned_for), 0.0]

    return levels


def ends(table: SigmaTable, options: SamplingOptions) -> tuple[float, float]:
    """The lowest and the highest level of a schedule that heeds the chosen ones. Raises `InvalidRequest` where they are
    the wrong way around."""
    low = options.schedule_min_sigma or table.sigma_min
    high = options.schedule_max_sigma or table.sigma_max
    if low >= high:
        raise InvalidRequest(f"Noise levels from {high:g} down to {low:g} are none: choose other ends of the schedule.")
    return low, high


def _table(*rows: Schedule) -> Table[Schedule]:
    return Table("schedule", rows, reserved=(AUTOMATIC, SAME_SCHEDULE))


# Names and order of AUTOMATIC1111, and from Turbo on Forge's.
SCHEDULES = _table(
    Schedule(name="Uniform", aliases=(), sigmas=uniform),
    Schedule(name="Karras", aliases=(), sigmas=karras),
    Schedule(name="Exponential", aliases=(), sigmas=exponential),
    Schedule(name="Polyexponential", aliases=(), sigmas=polyexponential),
    Schedule(name="SGM Uniform", aliases=("sgm_uniform", "SGMUniform"), sigmas=sgm_uniform),
    Schedule(name="KL Optimal", aliases=("kl_optimal",), sigmas=kl_optimal),
    Schedule(name="Align Your Steps", aliases=("align_your_steps",), sigmas=_aligned(Alignment.OF_11)),
    Schedule(name="Simple", aliases=(), sigmas=simple),
    Schedule(name="Normal", aliases=(), sigmas=normal),
    Schedule(name="DDIM", aliases=(), sigmas=ddim),
    Schedule(name="Beta", aliases=(), sigmas=beta),
    Schedule(name="Turbo", aliases=(), sigmas=turbo),
    Schedule(name="Align Your Steps GITS", aliases=("align_your_steps_GITS",), sigmas=_aligned(Alignment.GITS)),
    Schedule(name="Align Your Steps 11", aliases=("align_your_steps_11",), sigmas=_aligned(Alignment.OF_11)),
    Schedule(name="Align Your Steps 32", aliases=("align_your_steps_32",), sigmas=_aligned(Alignment.OF_32)),
)
SCHEDULE_NAMES: tuple[str, ...] = (AUTOMATIC, *SCHEDULES)  # ours alone


def schedule_names() -> tuple[str, ...]:
    """Every name that a request can have: ours, and those of extensions that are on."""
    return (AUTOMATIC, *SCHEDULES)


def find_schedule(name: str) -> Schedule:
    """The schedule with this name or alias, in any case.

    Raises `InvalidRequest` for an unknown name, and for "Automatic", which only a sampler can resolve.
    """
    if is_automatic(name):
        raise InvalidRequest(f"{AUTOMATIC} is the sampler's choice, not a schedule; there are {', '.join(SCHEDULES)}.")
    return SCHEDULES.find(name, allowed=schedule_names())


def is_automatic(name: str) -> bool:
    """Whether this names the sampler's own choice."""
    return name.strip().casefold() == AUTOMATIC.casefold()
