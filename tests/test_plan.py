"""From a sampler, a schedule and a number of steps to what is sampled: beginnings, and steps that are told."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from backend.errors import InvalidRequest
from backend.sampling.img2img import lengthened, shortened
from backend.sampling.plan import plan_for, sigmas_for, steps_taken, table_for
from backend.sampling.samplers import SAMPLER_NAMES, SAMPLERS
from backend.sampling.schedules import SCHEDULES, SigmaTable
from backend.sampling_options import SamplingOptions
from bench.mixture import alphas_cumprod

TABLE = SigmaTable(alphas_cumprod())


class Half:
    """A denoiser that guesses half of what it sees."""

    last_uncond: Tensor | None = None

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        return x / (2 * math.hypot(1, sigma))


def told(sampler: str, steps: int, taken: int | None) -> tuple[list[int], int]:
    """The steps that a sampler tells of, and how many its plan has."""
    row = SAMPLERS[sampler]
    plan = plan_for(row, "Automatic", steps, TABLE, taken=taken)
    seen: list[int] = []
    x = plan.start(torch.ones(1, 4, 2, 2), None if taken is None else torch.zeros(1, 4, 2, 2))
    row.solver(SamplingOptions())(
        Half(), x, plan.sigmas, noise=lambda _a, _b: torch.ones_like(x), on_step=lambda step, _: seen.append(step)
    )
    return seen, plan.steps


@pytest.mark.parametrize("sampler", [name for name, row in SAMPLERS.items() if not row.joint])
@pytest.mark.parametrize(
    ("steps", "taken"), [(1, None), (7, None), (20, None), (40, None), (20, 16), (20, 1), (20, 2), (28, 20)]
)
def test_every_step_is_told_once_and_in_order(sampler: str, steps: int, taken: int | None) -> None:
    seen, planned = told(sampler, steps, taken)
    assert seen == list(range(planned))


def test_a_sampler_that_chooses_its_steps_stays_within_the_plan() -> None:
    for taken in (None, 16, 1):
        seen, planned = told("DPM adaptive", 20, taken)
        assert seen == sorted(seen)
        assert (seen[0], seen[-1] < planned) == (0, True)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_number_of_steps_is_known_without_a_checkpoint(schedule: str) -> None:
    zero = SigmaTable([*alphas_cumprod()[:-1], 4.9e-8])
    for name in ("Euler", "DPM2 a", "DDIM", "UniPC", "DPM fast", "LCM"):
        for steps in (1, 7, 20):
            for other in (None, shortened(steps, 0.5), lengthened(steps, 0.5)):
                scheduled, taken = (other.scheduled, other.taken) if other else (steps, None)
                for table in (TABLE, zero):
                    plan = plan_for(SAMPLERS[name], schedule, scheduled, table, taken=taken)
                    assert steps_taken(SAMPLERS[name], schedule, scheduled, taken=taken) == plan.steps


@pytest.mark.parametrize("sampler", ["Euler", "DDIM", "UniPC", "DPM fast"])
def test_extra_noise_is_of_variance_one_in_the_latents_that_the_sampler_has(sampler: str) -> None:
    """A1111 adds it after the latents were noised: for DDIM and its kin those are of unit variance."""
    row = SAMPLERS[sampler]
    plan = plan_for(row, "Automatic", 20, TABLE, taken=10)
    noise, clean = torch.ones(1, 1, 1, 1), torch.full((1, 1, 1, 1), 3.0)
    more = plan.start(noise, clean, 0.25) - plan.start(noise, clean)
    as_the_sampler_has_it = more / math.hypot(1, plan.sigmas[0]) if row.unit_variance else more
    torch.testing.assert_close(as_the_sampler_has_it.item(), 0.25, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", SAMPLER_NAMES)
def test_automatic_is_the_samplers_own_schedule(name: str) -> None:
    sampler = SAMPLERS[name]
    automatic = sigmas_for(sampler, "Automatic", 10, TABLE)
    assert automatic == sigmas_for(sampler, "automatic", 10, TABLE)
    assert automatic == sigmas_for(sampler, sampler.automatic_schedule, 10, TABLE)
    others = [sigmas_for(sampler, name, 10, TABLE) for name in ("Uniform", "Karras", "Exponential", "SGM Uniform")]
    assert others.count(automatic) == (1 if sampler.own_grid is None else 4)


@pytest.mark.parametrize("name", SAMPLER_NAMES)
def test_wrong_schedules_and_steps_are_refused(name: str) -> None:
    with pytest.raises(InvalidRequest, match=r"Kerras.*Karras"):
        sigmas_for(SAMPLERS[name], "Kerras", 10, TABLE)
    for steps in (0, -1, 1001):
        with pytest.raises(InvalidRequest, match=str(steps)):
            sigmas_for(SAMPLERS[name], "Automatic", steps, TABLE)


@pytest.mark.parametrize("steps", [1, 2, 3, 150, 999, 1000])
@pytest.mark.parametrize("name", SAMPLER_NAMES)
def test_noise_levels_fall_for_any_number_of_steps(name: str, steps: int) -> None:
    row = SAMPLERS[name]
    for schedule in SCHEDULES:
        sigmas = sigmas_for(row, schedule, steps, TABLE)
        assert all(a >= b for a, b in pairwise(sigmas)), schedule
        # LCM knows 50 noise levels, and Turbo 1000; DDIM begins with 999 twice from 501 steps on.
        repeats = steps > 500 and row.unit_variance
        repeats = repeats or (schedule in ("Simple", "Turbo") and steps > (50 if name == "LCM" else 998))
        assert repeats or len(set(sigmas)) == len(sigmas), schedule
        if row.own_grid is None and schedule != "DDIM":
            assert len(sigmas) == steps + 1
            assert (sigmas[-1] == 0) == (schedule != "KL Optimal")


def test_discarding_leaves_out_the_last_level_but_one_of_a_longer_schedule() -> None:
    longer = SCHEDULES["Karras"].sigmas(11, TABLE)
    wanted = [*longer[:10], 0.0]
    assert sigmas_for(SAMPLERS["DPM2"], "Karras", 10, TABLE) == wanted
    discarding = SamplingOptions(discard_penultimate=True)
    assert sigmas_for(SAMPLERS["Euler"], "Karras", 10, TABLE, discarding) == wanted
    assert sigmas_for(SAMPLERS["DPM2"], "Karras", 10, TABLE, discarding) == wanted
    assert sigmas_for(SAMPLERS["Euler"], "Karras", 1, TABLE, discarding) == pytest.approx([TABLE.sigma_max, 0])
    # DDIM's timesteps are those of one step more: 1000 // 11 is a stride of 90.
    assert sigmas_for(SAMPLERS["DDIM"], "Karras", 10, TABLE, discarding)[0] == pytest.approx(TABLE.sigmas[991])


@pytest.mark.parametrize("name", SAMPLER_NAMES)
def test_the_first_latents_have_the_levels_noise(name: str) -> None:
    """The SGM noise multiplier makes them as large as noise and a picture of unit variance, as DDIM's always are."""
    row, noise = SAMPLERS[name], torch.ones(1)
    plain = plan_for(row, "Automatic", 20, TABLE)
    multiplied = plan_for(row, "Automatic", 20, TABLE, SamplingOptions(sgm_noise_multiplier=True))
    whole = math.hypot(1, plain.sigmas[0])
    assert float(plain.start(noise)) == pytest.approx(whole if row.unit_variance else plain.sigmas[0])
    assert float(multiplied.start(noise)) == pytest.approx(whole)


# (steps, strength), and the evaluations of AUTOMATIC1111's img2img.
@pytest.mark.parametrize(("steps", "taken"), [(20, 16), (30, 13), (50, 50), (10, 1)])
@pytest.mark.parametrize("schedule", ["Karras", "KL Optimal", "SGM Uniform", "Beta"])
def test_img2img_takes_the_last_steps(steps: int, taken: int, schedule: str) -> None:
    whole = sigmas_for(SAMPLERS["Euler"], schedule, steps, TABLE)
    plan = plan_for(SAMPLERS["Euler"], schedule, steps, TABLE, taken=taken)
    assert plan.sigmas == whole[steps - taken :]
    assert plan.steps == taken
    assert plan.span == (min(s for s in whole if s), whole[0])
    clean, noise = torch.full((1,), 3.0), torch.ones(1)
    assert float(plan.start(noise, clean)) == pytest.approx(3 + plan.sigmas[0])


def test_img2img_counts_the_ddim_schedule_from_its_start() -> None:
    """It has more levels than steps where 1000 is no multiple of them: 9 for 7 steps, of which the first go."""
    whole = sigmas_for(SAMPLERS["Euler"], "DDIM", 7, TABLE)
    assert len(whole) == 9
    assert plan_for(SAMPLERS["Euler"], "DDIM", 7, TABLE, taken=3).sigmas == whole[4:]


@pytest.mark.parametrize(("taken", "noised", "first"), [(16, 751, 701), (3, 101, 51), (2, 51, 51), (1, 51, 51)])
def test_img2img_begins_ddim_a_timestep_below_its_noise(taken: int, noised: int, first: int) -> None:
    plan = plan_for(SAMPLERS["DDIM"], "Automatic", 20, TABLE, taken=taken)
    levels = (TABLE.sigmas[noised], TABLE.sigmas[first], TABLE.sigmas[1])
    assert (plan.noised_at, plan.sigmas[0], plan.sigmas[-1]) == pytest.approx(levels)
    assert plan.steps == max(1, taken - 2)
    clean, noise = torch.full((1,), 3.0), torch.ones(1)
    unit_variance = (3 + TABLE.sigmas[noised]) / math.hypot(1, TABLE.sigmas[noised])
    assert float(plan.start(noise, clean)) / math.hypot(1, plan.sigmas[0]) == pytest.approx(unit_variance)


@pytest.mark.parametrize(("taken", "noised", "first"), [(16, 751, 701), (3, 101, 51), (2, 51, 51), (1, 51, 51)])
def test_img2img_begins_unipc_with_as_many_steps_as_ddim_has_timesteps(taken: int, noised: int, first: int) -> None:
    plan = plan_for(SAMPLERS["UniPC"], "Automatic", 20, TABLE, taken=taken)
    levels = (TABLE.sigmas[noised], TABLE.sigmas[first], TABLE.sigma_min)
    assert (plan.noised_at, plan.sigmas[0], plan.sigmas[-1]) == pytest.approx(levels)
    assert plan.steps == max(1, taken - 1)


@pytest.mark.parametrize("name", ["DPM fast", "DPM adaptive"])
def test_the_dpm_solvers_go_between_two_ends(name: str) -> None:
    row = SAMPLERS[name]
    whole = plan_for(row, "Align Your Steps", 20, TABLE)
    assert (whole.sigmas[0], whole.sigmas[-1]) == (TABLE.sigma_max, TABLE.sigma_min)
    assert whole.first == pytest.approx(14.615, rel=1e-12)  # the schedule's, as in AUTOMATIC1111
    karras = sigmas_for(SAMPLERS["Euler"], "Karras", 20, TABLE)
    part = plan_for(row, "Karras", 20, TABLE, taken=11)
    assert (part.sigmas[0], part.sigmas[-1], part.steps) == (karras[9], karras[-2], 11)
    assert part.noised_at == karras[9]
    one = plan_for(row, "Karras", 20, TABLE, taken=1)
    assert one.sigmas[0] == karras[-2] > one.sigmas[-1] > 0


@pytest.mark.parametrize(
    ("steps", "timesteps"),
    [
        (2, [501, 1]),
        (4, [751, 501, 251, 1]),
        (7, [995, 853, 711, 569, 427, 285, 143, 1]),
        (20, [951, 901, 851, 801, 751, 701, 651, 601, 551, 501, 451, 401, 351, 301, 251, 201, 151, 101, 51, 1]),
        (300, [999, *range(997, 0, -3)]),
        (1000, [999, 999, *range(998, 0, -1)]),
    ],
)
def test_ddim_grid(steps: int, timesteps: list[int]) -> None:
    grid = sigmas_for(SAMPLERS["DDIM"], "Automatic", steps, TABLE)
    wanted = [math.sqrt((1 - a) / a) for a in alphas_cumprod()[timesteps]]
    assert grid == pytest.approx(wanted, rel=1e-12)
    assert sigmas_for(SAMPLERS["PLMS"], "Automatic", steps, TABLE) == grid


@pytest.mark.parametrize(("steps", "taken"), [(1, 1), (2, 2), (7, 8), (20, 20), (300, 334)])
def test_unipc_grid(steps: int, taken: int) -> None:
    grid = sigmas_for(SAMPLERS["UniPC"], "Automatic", steps, TABLE)
    assert len(grid) == taken + 1
    assert (grid[0], grid[-1]) == pytest.approx((TABLE.sigma_max, TABLE.sigma_min), rel=1e-12)
    spacing = -np.diff([TABLE.sigma_to_t(sigma) for sigma in grid])
    # Between the entries the two ways of interpolating differ by less than a fortieth of a timestep.
    assert spacing == pytest.approx([999 / taken] * taken, abs=0.025)


def test_unipc_can_space_its_steps_in_other_ways() -> None:
    quadratic = sigmas_for(SAMPLERS["UniPC"], "Automatic", 10, TABLE, SamplingOptions(unipc_skip_type="time_quadratic"))
    roots = [math.sqrt(TABLE.sigma_to_t(sigma) + 1) for sigma in quadratic]
    assert -np.diff(roots) == pytest.approx([(math.sqrt(1000) - 1) / 10] * 10, rel=1e-3)
    even = sigmas_for(SAMPLERS["UniPC"], "Automatic", 10, TABLE, SamplingOptions(unipc_skip_type="logSNR"))
    ratios = [a / b for a, b in pairwise(even)]
    assert ratios == pytest.approx([(TABLE.sigma_max / TABLE.sigma_min) ** 0.1] * 10, rel=1e-9)


def test_lcm_knows_every_twentieth_timestep() -> None:
    table = table_for(SAMPLERS["LCM"], TABLE)
    assert [table.sigma_to_t(sigma) for sigma in table.sigmas] == list(range(19, 1000, 20))
    assert sigmas_for(SAMPLERS["LCM"], "Automatic", 2, TABLE) == pytest.approx([TABLE.sigma_max, TABLE.sigmas[19], 0])
    # log sigma halfway between two entries goes to the nearer of them, never between.
    assert table.sigma_to_t(table.sigmas[7] * 1.001) == 159
    assert table_for(SAMPLERS["Euler"], TABLE) is TABLE
