"""Samplers: the algorithms a person can choose, with what each needs to know besides its noise levels."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, Protocol

from backend.errors import InvalidRequest
from backend.sampling.lookup import find_row
from backend.sampling.schedules import SigmaTable, find_schedule, is_automatic
from backend.sampling.solvers import (
    Denoise,
    Noise,
    OnStep,
    sample_dpmpp_2m,
    sample_dpmpp_2m_sde,
    sample_dpmpp_sde,
    sample_euler,
    sample_euler_ancestral,
    sample_heun,
    sample_lcm,
)
from backend.sampling.timesteps import (
    TRAINING_TIMESTEPS,
    ddim_grid,
    ddim_steps,
    sample_ddim,
    sample_unipc,
    unipc_grid,
    unipc_steps,
)

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "SAMPLERS",
    "SAMPLER_NAMES",
    "Denoise",
    "Noise",
    "OnStep",
    "SampleFunction",
    "Sampler",
    "calls",
    "find_sampler",
    "sample_ddim",
    "sample_dpmpp_2m",
    "sample_dpmpp_2m_sde",
    "sample_dpmpp_sde",
    "sample_euler",
    "sample_euler_ancestral",
    "sample_heun",
    "sample_lcm",
    "sample_unipc",
    "sigmas_for",
    "table_for",
]

LCM_STRIDE = 20  # latent consistency models are distilled on 50 of the 1000 timesteps


class SampleFunction(Protocol):
    """What every solver is; see `backend.sampling.solvers`."""

    def __call__(
        self, denoise: Denoise, x: "Tensor", sigmas: Sequence[float], *, noise: Noise, on_step: OnStep
    ) -> "Tensor": ...


def _one_each(steps: int) -> int:
    return steps


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """A row of the table.

    `automatic_schedule` is the schedule that "Automatic" means for it. `noise` says where its noise comes from:
    `ImageNoise.next`, a `BrownianNoise`, or nowhere. A `second_order` one evaluates the denoiser twice in every step
    but the last. `timesteps(steps, table)` gives the falling noise levels of a grid of its own, which replaces any
    schedule, and `taken(steps)` how many steps that is. With `unit_variance_start` the first latents are noise *
    sqrt(1 + sigma_0^2), otherwise noise * sigma_0. `stride` above 1 means that it knows only every such timestep.
    """

    name: str
    aliases: tuple[str, ...]
    function: SampleFunction
    automatic_schedule: str = "Uniform"
    noise: Literal["none", "image", "brownian"] = "none"
    second_order: bool = False
    timesteps: Callable[[int, SigmaTable], list[float]] | None = None
    taken: Callable[[int], int] = _one_each
    unit_variance_start: bool = False
    stride: int = 1


def _by_name(*rows: Sampler) -> Mapping[str, Sampler]:
    return MappingProxyType({row.name: row for row in rows})


# Names, aliases, order and automatic schedules of AUTOMATIC1111.
SAMPLERS: Mapping[str, Sampler] = _by_name(
    Sampler(name="DPM++ 2M", aliases=("k_dpmpp_2m",), function=sample_dpmpp_2m, automatic_schedule="Karras"),
    Sampler(
        name="DPM++ SDE",
        aliases=("k_dpmpp_sde",),
        function=sample_dpmpp_sde,
        automatic_schedule="Karras",
        noise="brownian",
        second_order=True,
    ),
    Sampler(
        name="DPM++ 2M SDE",
        aliases=("k_dpmpp_2m_sde",),
        function=sample_dpmpp_2m_sde,
        automatic_schedule="Exponential",
        noise="brownian",
    ),
    Sampler(name="Euler a", aliases=("k_euler_a", "k_euler_ancestral"), function=sample_euler_ancestral, noise="image"),
    Sampler(name="Euler", aliases=("k_euler",), function=sample_euler),
    Sampler(name="Heun", aliases=("k_heun",), function=sample_heun, second_order=True),
    Sampler(
        name="DDIM", aliases=(), function=sample_ddim, timesteps=ddim_grid, taken=ddim_steps, unit_variance_start=True
    ),
    Sampler(
        name="UniPC",
        aliases=(),
        function=sample_unipc,
        timesteps=unipc_grid,
        taken=unipc_steps,
        unit_variance_start=True,
    ),
    Sampler(name="LCM", aliases=("k_lcm",), function=sample_lcm, noise="image", stride=LCM_STRIDE),
)
SAMPLER_NAMES: tuple[str, ...] = tuple(SAMPLERS)


def find_sampler(name: str) -> Sampler:
    """The sampler with this name or alias, in any case. Raises `InvalidRequest` for an unknown name."""
    return find_row("sampler", name, SAMPLERS, SAMPLER_NAMES)


def table_for(sampler: Sampler, table: SigmaTable) -> SigmaTable:
    """The noise levels this sampler's checkpoints know: the denoiser takes its timesteps from this table."""
    return table if sampler.stride == 1 else table.every(sampler.stride)


def sigmas_for(sampler: Sampler, schedule: str, steps: int, table: SigmaTable) -> list[float]:
    """The falling noise levels to sample at: `steps` of them and a 0, or what the sampler's own grid demands.

    `schedule` is a name, an alias or "Automatic"; `table` that of the checkpoint. Raises `InvalidRequest` for an
    unknown schedule, also where the sampler will not use it, and for a number of steps that has no grid.
    """
    if not 1 <= steps <= TRAINING_TIMESTEPS:
        raise InvalidRequest(f"{steps} steps cannot be sampled: 1 to {TRAINING_TIMESTEPS} can.")
    row = find_schedule(sampler.automatic_schedule if is_automatic(schedule) else schedule)
    levels = sampler.timesteps or row.sigmas
    return levels(steps, table_for(sampler, table))


def calls(sampler: Sampler, steps: int) -> int:
    """How often the denoiser is evaluated when `steps` steps are asked for."""
    taken = sampler.taken(steps)
    return 2 * taken - 1 if sampler.second_order else taken
