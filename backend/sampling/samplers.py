"""Samplers: the algorithms a person can choose, with what each needs to know besides its noise levels."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Protocol

from backend.errors import InvalidRequest
from backend.sampling.ancestral import (
    sample_ddpm,
    sample_dpm_2_ancestral,
    sample_dpmpp_2s_ancestral,
    sample_euler_ancestral,
    sample_lcm,
)
from backend.sampling.dpm_solver import sample_dpm_adaptive, sample_dpm_fast
from backend.sampling.lookup import Table
from backend.sampling.multistep import sample_deis, sample_dpmpp_2m, sample_ipndm, sample_ipndm_v, sample_lms
from backend.sampling.restart import sample_restart
from backend.sampling.schedules import SCHEDULES, Schedule, SigmaTable, find_schedule
from backend.sampling.sde import sample_dpmpp_2m_sde, sample_dpmpp_3m_sde, sample_dpmpp_sde
from backend.sampling.solvers import (
    Churn,
    Noise,
    OnStep,
    sample_dpm_2,
    sample_euler,
    sample_heun,
    sample_heunpp2,
)
from backend.sampling.timesteps import Grid, ddim_grid, ddim_steps, sample_ddim, sample_ddim_cfgpp, sample_plms
from backend.sampling.unipc import sample_unipc, unipc_grid, unipc_steps
from backend.sampling_options import SamplingOptions

if TYPE_CHECKING:
    from torch import Tensor

LCM_STRIDE = 20  # latent consistency models are distilled on 50 of the 1000 timesteps
SAME_SAMPLER = "Use same sampler"  # A1111's word for the first pass's
CFGPP_DIVISOR = 12.5  # A1111's scales from 0 to 12.5 are CFG++'s from 0 to 1


class SampleFunction(Protocol):
    """What every solver is; see `backend.sampling.solvers`."""

    def __call__(
        self, denoise: Any, x: "Tensor", sigmas: Sequence[float], *, noise: Noise, on_step: OnStep
    ) -> "Tensor": ...


class OwnGrid(Protocol):
    """Noise levels of a sampler's own: for `steps`, or in img2img for the last `taken` of them.

    `scheduled` are those that the schedule has for it, of which some samplers take the ends.
    """

    def __call__(
        self,
        steps: int,
        taken: int | None,
        table: SigmaTable,
        options: SamplingOptions,
        scheduled: Sequence[float],
    ) -> Grid: ...


def one_each(steps: int) -> int:
    """Once in every step."""
    return steps


def two_each(steps: int) -> int:
    """Twice in every step but the last, which ends at zero."""
    return 2 * steps - 1


def _plms_evaluations(steps: int) -> int:
    """Two in its first step, unless that is the only one and ends at zero."""
    return ddim_steps(steps) + 1 if steps > 1 else 1


def _up_to_three_each(steps: int) -> int:
    return max(3 * steps - 3, 1)


def _nothing(options: SamplingOptions) -> Mapping[str, Any]:
    del options
    return {}


def _churn(options: SamplingOptions) -> Mapping[str, Any]:
    return {
        "churn": Churn(
            amount=options.sigma_churn,
            lowest=options.sigma_tmin,
            highest=options.sigma_tmax or float("inf"),
            s_noise=options.sigma_noise,
        )
    }


def _eta(options: SamplingOptions) -> Mapping[str, Any]:
    return {} if options.eta is None else {"eta": options.eta}


def _eta_and_noise(options: SamplingOptions) -> Mapping[str, Any]:
    return {**_eta(options), "s_noise": options.sigma_noise}


def _unipc(options: SamplingOptions) -> Mapping[str, Any]:
    return {
        "variant": options.unipc_variant,
        "order": options.unipc_order,
        "lower_order_final": options.unipc_lower_order_final,
    }


def _log_even_grid(
    steps: int, taken: int | None, table: SigmaTable, options: SamplingOptions, scheduled: Sequence[float]
) -> Grid:
    """Even in log sigma between the checkpoint's ends, or in img2img from the schedule's first level to its last but
    one; but where that is the same, to the checkpoint's last."""
    del options
    first, last, count = table.sigma_max, table.sigma_min, steps
    if taken is not None:
        first, count = scheduled[0], len(scheduled) - 1
        last = scheduled[-2] if scheduled[-2] < first else min(table.sigma_min, first / 2)
    levels = [first * (last / first) ** (i / count) for i in range(count)]
    return Grid(sigmas=[*levels, last], noised_at=scheduled[0])


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """A row of the table.

    `automatic_schedule` is the schedule that "Automatic" means for it. `noise` says where its noise comes from:
    `ImageNoise.next`, a `BrownianNoise`, or nowhere; one that `uses_ensd` draws with the seed plus the eta noise seed
    delta after the first noise, unless eta is 0. `told(options)` are the keyword arguments that the options mean for
    its function. With `discard_penultimate` the last level but one of a schedule of one more step is left out.

    `second_order` is A1111's word for one whose prompt editing counts two evaluations a step. `evaluations(steps)` is
    how often the denoiser is asked where that many were asked for and end at zero, None where only the run can tell.
    `own_grid` replaces the levels of any schedule, and then `taken(steps)` is how many steps that is. One of
    `unit_variance` begins with latents of variance 1 whatever its levels, and ends with such. `stride` above 1 means
    that it knows only every such timestep. The CFG scale is divided by `cfg_divisor`. One that is `joint` chooses its
    steps by all pictures of a batch together: for the same picture again, it has to have one at a time.
    """

    name: str
    aliases: tuple[str, ...]
    function: SampleFunction
    automatic_schedule: str = "Uniform"
    noise: Literal["none", "image", "brownian"] = "none"
    uses_ensd: bool = False
    told: Callable[[SamplingOptions], Mapping[str, Any]] = _nothing
    discard_penultimate: bool = False
    second_order: bool = False
    evaluations: Callable[[int], int] | None = one_each
    own_grid: OwnGrid | None = None
    taken: Callable[[int], int] = one_each
    unit_variance: bool = False
    stride: int = 1
    cfg_divisor: float = 1.0
    joint: bool = False

    def solver(self, options: SamplingOptions) -> SampleFunction:
        """The function, with what the options mean for it."""
        return partial(self.function, **self.told(options))


def _table(*rows: Sampler) -> Table[Sampler]:
    return Table("sampler", rows, reserved=(SAME_SAMPLER,))


# Names, aliases, order, automatic schedules and marks of AUTOMATIC1111; the last five are Forge's.
SAMPLERS = _table(
    Sampler(name="DPM++ 2M", aliases=("k_dpmpp_2m",), function=sample_dpmpp_2m, automatic_schedule="Karras"),
    Sampler(
        name="DPM++ SDE",
        aliases=("k_dpmpp_sde",),
        function=sample_dpmpp_sde,
        automatic_schedule="Karras",
        noise="brownian",
        told=_eta_and_noise,
        second_order=True,
        evaluations=two_each,
    ),
    Sampler(
        name="DPM++ 2M SDE",
        aliases=("k_dpmpp_2m_sde",),
        function=sample_dpmpp_2m_sde,
        automatic_schedule="Exponential",
        noise="brownian",
        told=_eta_and_noise,
    ),
    Sampler(
        name="DPM++ 2M SDE Heun",
        aliases=("k_dpmpp_2m_sde_heun",),
        function=partial(sample_dpmpp_2m_sde, solver_type="heun"),
        automatic_schedule="Exponential",
        noise="brownian",
        told=_eta_and_noise,
    ),
    Sampler(
        name="DPM++ 2S a",
        aliases=("k_dpmpp_2s_a",),
        function=sample_dpmpp_2s_ancestral,
        automatic_schedule="Karras",
        noise="image",
        uses_ensd=True,
        told=_eta_and_noise,
        second_order=True,
        evaluations=two_each,
    ),
    Sampler(
        name="DPM++ 3M SDE",
        aliases=("k_dpmpp_3m_sde",),
        function=sample_dpmpp_3m_sde,
        automatic_schedule="Exponential",
        noise="brownian",
        told=_eta_and_noise,
        discard_penultimate=True,
    ),
    Sampler(
        name="Euler a",
        aliases=("k_euler_a", "k_euler_ancestral"),
        function=sample_euler_ancestral,
        noise="image",
        uses_ensd=True,
        told=_eta,
    ),
    Sampler(name="Euler", aliases=("k_euler",), function=sample_euler, noise="image", told=_churn),
    Sampler(name="LMS", aliases=("k_lms",), function=sample_lms),
    Sampler(
        name="Heun",
        aliases=("k_heun",),
        function=sample_heun,
        noise="image",
        told=_churn,
        second_order=True,
        evaluations=two_each,
    ),
    Sampler(
        name="DPM2",
        aliases=("k_dpm_2",),
        function=sample_dpm_2,
        automatic_schedule="Karras",
        noise="image",
        told=_churn,
        discard_penultimate=True,
        second_order=True,
        evaluations=two_each,
    ),
    Sampler(
        name="DPM2 a",
        aliases=("k_dpm_2_a",),
        function=sample_dpm_2_ancestral,
        automatic_schedule="Karras",
        noise="image",
        uses_ensd=True,
        told=_eta_and_noise,
        discard_penultimate=True,
        second_order=True,
        evaluations=two_each,
    ),
    Sampler(
        name="DPM fast",
        aliases=("k_dpm_fast",),
        function=sample_dpm_fast,
        noise="image",
        uses_ensd=True,
        told=_eta_and_noise,
        own_grid=_log_even_grid,
    ),
    Sampler(
        name="DPM adaptive",
        aliases=("k_dpm_ad",),
        function=sample_dpm_adaptive,
        noise="image",
        uses_ensd=True,
        told=_eta,
        evaluations=None,
        own_grid=_log_even_grid,
        joint=True,
    ),
    Sampler(
        name="Restart",
        aliases=(),
        function=sample_restart,
        automatic_schedule="Karras",
        noise="image",
        second_order=True,
        evaluations=two_each,
    ),
    Sampler(
        name="DDIM",
        aliases=(),
        function=sample_ddim,
        noise="image",
        told=_eta,
        evaluations=ddim_steps,
        own_grid=ddim_grid,
        taken=ddim_steps,
        unit_variance=True,
    ),
    Sampler(
        name="DDIM CFG++",
        aliases=("ddim_cfgpp",),
        function=sample_ddim_cfgpp,
        noise="image",
        told=_eta,
        evaluations=ddim_steps,
        own_grid=ddim_grid,
        taken=ddim_steps,
        unit_variance=True,
        cfg_divisor=CFGPP_DIVISOR,
    ),
    Sampler(
        name="PLMS",
        aliases=(),
        function=sample_plms,
        evaluations=_plms_evaluations,
        own_grid=ddim_grid,
        taken=ddim_steps,
        unit_variance=True,
    ),
    Sampler(
        name="UniPC",
        aliases=(),
        function=sample_unipc,
        told=_unipc,
        evaluations=unipc_steps,
        own_grid=unipc_grid,
        taken=unipc_steps,
        unit_variance=True,
    ),
    Sampler(name="LCM", aliases=("k_lcm",), function=sample_lcm, noise="image", stride=LCM_STRIDE),
    Sampler(name="HeunPP2", aliases=(), function=sample_heunpp2, evaluations=_up_to_three_each),
    Sampler(name="IPNDM", aliases=(), function=sample_ipndm),
    Sampler(name="IPNDM_V", aliases=(), function=sample_ipndm_v),
    Sampler(name="DEIS", aliases=(), function=sample_deis),
    Sampler(name="DDPM", aliases=(), function=sample_ddpm, noise="image"),
)
SAMPLER_NAMES: tuple[str, ...] = tuple(SAMPLERS)  # ours alone


def find_sampler(name: str) -> Sampler:
    """The sampler with this name or alias, in any case. Raises `InvalidRequest` for an unknown name."""
    return SAMPLERS.find(name)


def split_name(name: str) -> tuple[Sampler, Schedule | None]:
    """The sampler and the schedule of a name as A1111 had them before 1.9, ``DPM++ 2M SDE Karras``.

    A sampler's own name or alias has no schedule in it. Raises `InvalidRequest` for an unknown name.
    """
    try:
        return find_sampler(name), None
    except InvalidRequest:
        wanted = name.strip().casefold()
        for row in SCHEDULES.values():
            for known in (row.name, *row.aliases):
                if wanted.endswith(f" {known.casefold()}"):
                    return find_sampler(wanted[: -len(known)]), find_schedule(known)
        raise


def calls(sampler: Sampler, steps: int) -> int | None:
    """How often the denoiser is evaluated when `steps` are asked for and end at zero; None if only the run can tell."""
    return None if sampler.evaluations is None else sampler.evaluations(steps)
