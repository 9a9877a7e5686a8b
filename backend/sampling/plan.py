"""From a sampler, a schedule and a number of steps to the noise levels that are visited, and how sampling begins."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from backend.errors import InvalidRequest
from backend.sampling.samplers import Sampler
from backend.sampling.schedules import DEFAULTS, SigmaTable, find_schedule, is_automatic
from backend.sampling.timesteps import TRAINING_TIMESTEPS
from backend.sampling_options import SamplingOptions

if TYPE_CHECKING:
    from torch import Tensor

ALPHAS = (0.999, 0.005)  # about where every table begins and ends


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a sampler does with a number of steps.

    `sigmas` are the levels that its solver is given. Noise of variance 1 is multiplied by `first` where there is
    nothing else, and put on clean latents at the level `noised_at`, which are then multiplied by `scale`; what is put
    on besides is multiplied by `beside`. `span` are the smallest and the largest level of the whole schedule, also
    where only its end is sampled: a Brownian path lives there.
    """

    sigmas: list[float]
    first: float
    noised_at: float
    scale: float
    beside: float
    span: tuple[float, float]

    @property
    def steps(self) -> int:
        """How many steps `on_step` is told of."""
        return len(self.sigmas) - 1

    def start(self, noise: "Tensor", clean: "Tensor | None" = None, extra: float = 0.0) -> "Tensor":
        """What sampling begins with: noise of variance 1, or clean latents and noise; of that `extra` times as much
        more than the level asks for."""
        if clean is None:
            return noise * self.first
        x = (clean + noise * self.noised_at) * self.scale
        return x + noise * (extra * self.beside) if extra else x


def plan_for(
    sampler: Sampler,
    schedule: str,
    steps: int,
    table: SigmaTable,
    options: SamplingOptions = DEFAULTS,
    *,
    taken: int | None = None,
) -> Plan:
    """The plan for `steps`, or for the last `taken` of them, counted as AUTOMATIC1111's img2img does.

    `schedule` is a name, an alias or "Automatic"; `table` that of the checkpoint. Raises `InvalidRequest` for an
    unknown schedule, also where the sampler will not use it, and for a number of steps that has no grid.
    """
    whole = _scheduled(sampler, schedule, steps, table, options)
    sigmas = whole if taken is None else whole[max(0, steps - taken) :]
    noised_at = sigmas[0]
    if sampler.own_grid is not None:
        asked = steps + 1 if options.discard_penultimate and sampler.unit_variance else steps
        grid = sampler.own_grid(asked, taken, table_for(sampler, table), options, sigmas)
        sigmas, noised_at = grid.sigmas, grid.noised_at
    first, scale = noised_at, 1.0
    if sampler.unit_variance:
        first = math.hypot(1, sigmas[0])
        scale = first / math.hypot(1, noised_at)
    elif options.sgm_noise_multiplier:
        first = math.hypot(1, noised_at)
    return Plan(
        sigmas=sigmas,
        first=first,
        noised_at=noised_at,
        scale=scale,
        beside=first if sampler.unit_variance else 1.0,  # A1111 puts it on latents as the sampler has them
        span=(min(sigma for sigma in whole if sigma > 0), max(whole)),
    )


def steps_taken(
    sampler: Sampler, schedule: str, steps: int, options: SamplingOptions = DEFAULTS, *, taken: int | None = None
) -> int:
    """How many steps the plan has, which is the same for every checkpoint. Raises as `plan_for`."""
    any_table = SigmaTable(np.linspace(*ALPHAS, TRAINING_TIMESTEPS))
    return plan_for(sampler, schedule, steps, any_table, options, taken=taken).steps


def sigmas_for(
    sampler: Sampler, schedule: str, steps: int, table: SigmaTable, options: SamplingOptions = DEFAULTS
) -> list[float]:
    """The falling noise levels to sample at: those of `plan_for`."""
    return plan_for(sampler, schedule, steps, table, options).sigmas


def table_for(sampler: Sampler, table: SigmaTable) -> SigmaTable:
    """The noise levels this sampler's checkpoints know: the denoiser takes its timesteps from this table."""
    return table if sampler.stride == 1 else table.every(sampler.stride)


def _scheduled(sampler: Sampler, schedule: str, steps: int, table: SigmaTable, options: SamplingOptions) -> list[float]:
    if not 1 <= steps <= TRAINING_TIMESTEPS:
        raise InvalidRequest(f"{steps} steps cannot be sampled: 1 to {TRAINING_TIMESTEPS} can.")
    row = find_schedule(sampler.automatic_schedule if is_automatic(schedule) else schedule)
    levels = row.sigmas
    if sampler.discard_penultimate or options.discard_penultimate:
        sigmas = levels(steps + 1, table_for(sampler, table), options)
        return [*sigmas[:-2], sigmas[-1]]
    return levels(steps, table_for(sampler, table), options)
