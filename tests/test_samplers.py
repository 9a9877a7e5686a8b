"""The samplers against other people's, and against the exact answer (tests/trajectories)."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from backend.sampling.dpm_solver import fast_orders
from backend.sampling.noise import BrownianNoise
from backend.sampling.plan import plan_for, sigmas_for
from backend.sampling.restart import restarted
from backend.sampling.samplers import SAMPLER_NAMES, SAMPLERS, Sampler, calls
from backend.sampling.schedules import SCHEDULES, SigmaTable
from backend.sampling.solvers import Churn, Noise
from backend.sampling_options import SamplingOptions
from bench.mixture import ScriptedNoise, alphas_cumprod, denoise, normal
from bench.trajectories import STEPS, Run, Watched, difference, error, references, unevenness

REFERENCES = references()
TABLE = SigmaTable(alphas_cumprod())
FIDELITY = 1e-4  # of the last latents in float32, which reach from 3.5 to 32 where two steps overshoot
# References are stored in float32; k-diffusion's own table of noise levels, in Uniform and its kin, rounds to 1e-7.
STORED = 2e-6
# One that chooses its steps by an error estimate chooses a little differently where all is rounded more.
CHOOSES_STEPS = 1e-3
WITH_SCHEDULE = (
    *("DPM++ 2M", "DPM++ SDE", "DPM++ 2M SDE", "DPM++ 2M SDE Heun", "DPM++ 2S a", "DPM++ 3M SDE"),
    *("Euler a", "Euler", "LMS", "Heun", "DPM2", "DPM2 a"),
)
OWN_GRID = "DPM fast", "DPM adaptive", "DDIM", "PLMS", "UniPC"
NO_REFERENCE = "Restart", "DDIM CFG++", "HeunPP2", "IPNDM", "IPNDM_V", "DEIS", "DDPM"
# On the way to zero these do not take their last prediction as it is, but what a polynomial makes of several.
EXTRAPOLATE = "LMS", "IPNDM", "IPNDM_V", "PLMS"
LARGEST_STATISTIC = 1.63  # Kolmogorov's, of which one in a hundred is larger where nothing is wrong


def no_step(_index: int, _denoised: Tensor) -> None:
    """For runs that nobody watches."""


def sample(
    sampler: Sampler, sigmas: list[float], dtype: torch.dtype = torch.float64, watched: Watched | None = None
) -> tuple[Tensor, Watched]:
    watched = watched or Watched()
    x = (torch.from_numpy(normal(0)) * math.hypot(sigmas[0], 1 if sampler.unit_variance else 0)).to(dtype)
    return sampler.function(watched, x, sigmas, noise=ScriptedNoise(dtype), on_step=watched.on_step), watched


def test_every_pair_has_a_reference_or_is_said_to_have_none() -> None:
    assert {*WITH_SCHEDULE, *OWN_GRID, "LCM", *NO_REFERENCE} == set(SAMPLERS)
    there = {name for name in REFERENCES if name.count("/") == 2}
    wanted = {f"{sampler}/{schedule}/{n}" for sampler in WITH_SCHEDULE for schedule in SCHEDULES for n in STEPS}
    one_step = {f"{name}/{schedule}/1" for name in WITH_SCHEDULE[2:6] for schedule in SCHEDULES}
    cannot = {name for name in one_step if "SDE" in name and "KL Optimal" not in name}
    wanted -= cannot
    own = {f"{name}/own/{n}" for name in ("DPM fast", "UniPC") for n in STEPS}
    own |= {f"{name}/own/{n}" for name in ("DDIM", "PLMS") for n in STEPS[1:]}
    assert there == wanted | own | {"DPM adaptive/own/20"} | {f"LCM/Uniform/{n}" for n in STEPS}


@pytest.mark.parametrize("sampler", [*WITH_SCHEDULE, *OWN_GRID, "LCM"])
def test_last_latents_are_the_references(sampler: str) -> None:
    runs = {name: reference for name, reference in REFERENCES.items() if name.startswith(f"{sampler}/")}
    found = {name: difference(Run.named(name), runs[name], torch.float32) for name in runs}
    limit = CHOOSES_STEPS if SAMPLERS[sampler].joint else FIDELITY
    assert {name: far for name, far in found.items() if far > limit} == {}


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in REFERENCES
        if name.count("/") == 3 or "/Karras/10" in name or "/own/10" in name or "adapt" in name
    ],
)
def test_in_float64_they_are_the_references_to_the_last_digit(name: str) -> None:
    """With options too; eta, churn, the noise's size, UniPC's variant."""
    assert difference(Run.named(name), REFERENCES[name], torch.float64) <= STORED


@pytest.mark.parametrize("name", ["HeunPP2", "IPNDM", "IPNDM_V", "DEIS", "PLMS", "UniPC", "DDIM CFG++"])
def test_a_thousand_steps_come_to_the_exact_solution(name: str) -> None:
    """As near as Euler's method of first order at least, of which a hundred steps are ten times as far off."""
    assert error(name, 1000) <= 1.1 * error("Euler", 1000) < error("Euler", 100) / 5


@pytest.mark.parametrize(
    "options",
    [
        SamplingOptions(unipc_variant="bh2"),
        SamplingOptions(unipc_variant="vary_coeff"),
        SamplingOptions(unipc_skip_type="time_quadratic"),
        SamplingOptions(unipc_skip_type="logSNR"),
        SamplingOptions(unipc_order=1),
        SamplingOptions(unipc_order=2),
        SamplingOptions(unipc_lower_order_final=False),
    ],
)
def test_every_kind_of_unipc_comes_to_the_exact_solution(options: SamplingOptions) -> None:
    assert error("UniPC", 400, options=options) <= 1.1 * error("Euler", 400)


@pytest.mark.parametrize("name", ["Restart", "DDPM", "DPM++ 2M SDE", "DPM++ 3M SDE", "DPM fast", "DPM adaptive"])
def test_a_thousand_noisy_steps_come_to_the_exact_distribution(name: str) -> None:
    assert unevenness(name, 1000, side=32) < LARGEST_STATISTIC


def test_that_distribution_can_be_missed() -> None:
    assert unevenness("Euler a", 5, side=32) > 2 * LARGEST_STATISTIC


def test_cfgpp_keeps_the_noise_that_is_predicted_without_words() -> None:
    """With both predictions constant the steps have a closed form: the noise is that of the last one, unguided."""
    picture, unguided = torch.from_numpy(normal(1)), torch.from_numpy(normal(2))
    row = SAMPLERS["DDIM CFG++"]
    x, sigmas = torch.from_numpy(normal(0)) * 9, [9.0, 4.0, 0.5]
    watched = Watched(lambda _x, _sigma: picture)
    watched.last_uncond = unguided
    made = row.function(watched, x, sigmas, noise=ScriptedNoise(x.dtype), on_step=watched.on_step)
    first = picture + (x - unguided) * (4 / 9)
    wanted = (picture + (first - unguided) * (0.5 / 4)) / math.hypot(1, 0.5)
    torch.testing.assert_close(made, wanted, rtol=0, atol=1e-12)
    assert row.cfg_divisor == 12.5
    watched.last_uncond = None
    plain = SAMPLERS["DDIM"].function(watched, x, sigmas, noise=ScriptedNoise(x.dtype), on_step=no_step)
    same = row.function(watched, x, sigmas, noise=ScriptedNoise(x.dtype), on_step=no_step)
    torch.testing.assert_close(same, plain, rtol=0, atol=1e-12)


def test_even_steps_make_ipndm_a_linear_multistep_method() -> None:
    sigmas = [10.0, 9.0, 8.0, 7.0, 6.0, 5.0, 4.0]
    wanted, _ = sample(SAMPLERS["LMS"], sigmas)
    torch.testing.assert_close(sample(SAMPLERS["IPNDM"], sigmas)[0], wanted, rtol=0, atol=1e-11)
    # Up to three slopes; its authors' weights of a fourth are their own.
    made, wanted = (sample(SAMPLERS[name], sigmas[:4])[0] for name in ("IPNDM_V", "LMS"))
    torch.testing.assert_close(made, wanted, rtol=0, atol=1e-11)
    made, wanted = (sample(SAMPLERS[name], [10.0, 7.0, 5.0])[0] for name in ("IPNDM_V", "LMS"))
    torch.testing.assert_close(made, wanted, rtol=0, atol=1e-11)


def test_restarts_are_where_automatic1111_puts_them() -> None:
    karras = sigmas_for(SAMPLERS["Restart"], "Karras", 50, TABLE)
    pairs = restarted(karras)
    back = [k for k, ((_, reached), (sigma, _)) in enumerate(pairwise(pairs)) if sigma > reached]
    assert len(pairs) == 50
    assert len(back) == 2
    for k in back:
        # To the levels of the main schedule, of 26 steps, that are nearest to 0.1 and 2.
        assert (pairs[k][1], pairs[k + 1][0]) == pytest.approx((0.1, 2), rel=0.25)
    assert restarted(karras[-20:]) == list(pairwise(karras[-20:]))  # 19 steps: none
    assert sum(sigma > reached for (_, reached), (sigma, _) in pairwise(restarted(karras[-21:]))) == 1


def test_the_orders_of_dpm_fast_add_up_to_its_evaluations() -> None:
    assert [fast_orders(n) for n in (1, 2, 3, 4, 6)] == [[1], [2], [2, 1], [3, 1], [3, 2, 1]]
    assert all(sum(fast_orders(n)) == n for n in range(1, 151))


def test_churn_draws_in_every_step_or_in_none() -> None:
    """AUTOMATIC1111's k-diffusion draws also where the level is not between both bounds, if anything is churned."""
    x, drawn = torch.zeros(1), []

    def noise(sigma: float, raised: float) -> Tensor:
        drawn.append((sigma, raised))
        return torch.ones(1)

    assert Churn().stirred(x, 5.0, 10, noise) == (x, 5.0)
    assert drawn == []
    stirred, level = Churn(amount=2.0, lowest=1.0, s_noise=1.5).stirred(x, 5.0, 10, noise)
    assert (level, float(stirred)) == pytest.approx((6.0, 1.5 * math.sqrt(36 - 25)))
    assert Churn(amount=2.0, lowest=6.0).stirred(x, 5.0, 10, noise) == (x, 5.0)
    assert Churn(amount=100.0).stirred(x, 5.0, 10, noise)[1] == pytest.approx(5.0 * math.sqrt(2))
    assert len(drawn) == 3


@pytest.mark.parametrize("steps", [1, 2, 7, 20, 50])
@pytest.mark.parametrize("name", SAMPLER_NAMES)
def test_steps_and_calls_are_as_announced(name: str, steps: int) -> None:
    row = SAMPLERS[name]
    plan = plan_for(row, "Automatic", steps, TABLE)
    made, watched = sample(row, plan.sigmas)
    assert made.isfinite().all()
    assert min(watched.levels) > 0
    if row.evaluations is None:
        assert watched.steps == sorted(watched.steps)
        assert watched.steps[0] == 0
        assert watched.steps[-1] < plan.steps
    else:
        assert watched.steps == list(range(plan.steps))
        assert len(watched.levels) == calls(row, steps)
    assert plan.steps == row.taken(steps)


@pytest.mark.parametrize("steps", [1, 2, 20])
@pytest.mark.parametrize("name", [row.name for row in SAMPLERS.values() if row.own_grid is None])
def test_the_last_prediction_is_the_picture(name: str, steps: int) -> None:
    """On the way to zero a sampler takes its last prediction as it is, to the bit: a preview shows the result."""
    result, watched = sample(SAMPLERS[name], sigmas_for(SAMPLERS[name], "Karras", steps, TABLE), torch.float32)
    assert torch.equal(result, watched.predictions[-1]) == (name not in EXTRAPOLATE or steps == 1)


@pytest.mark.parametrize("name", [row.name for row in SAMPLERS.values() if row.unit_variance])
def test_own_grids_end_in_latents_of_unit_variance(name: str) -> None:
    """A denoiser that knows the picture: what is left is its sqrt(a) and the sqrt(1 - a) of the first noise."""
    picture = torch.from_numpy(normal(1))
    sigmas = sigmas_for(SAMPLERS[name], "Automatic", 20, TABLE)
    a, a_first = 1 / (1 + sigmas[-1] ** 2), 1 / (1 + sigmas[0] ** 2)
    result, _ = sample(SAMPLERS[name], sigmas, watched=Watched(lambda _x, _sigma: picture))
    remaining = (torch.from_numpy(normal(0)) - math.sqrt(a_first) * picture) / math.sqrt(1 - a_first)
    assert sigmas[-1] > 0
    torch.testing.assert_close(result, math.sqrt(a) * picture + math.sqrt(1 - a) * remaining, rtol=0, atol=1e-12)


def test_one_step_of_ddim_and_its_kin_makes_a_picture() -> None:
    """AUTOMATIC1111 returns the noise."""
    for name in ("DDIM", "DDIM CFG++", "PLMS"):
        assert sigmas_for(SAMPLERS[name], "Automatic", 1, TABLE) == [TABLE.sigma_max, 0.0]
        result, watched = sample(SAMPLERS[name], [TABLE.sigma_max, 0.0])
        torch.testing.assert_close(result, watched.predictions[-1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", [name for name in SAMPLER_NAMES if name not in ("DPM fast", "DPM adaptive")])
def test_any_grid_that_ends_in_zero_gives_the_picture(name: str) -> None:
    """The samplers with grids of their own too, should somebody hand them another."""
    picture = torch.from_numpy(normal(1))
    result, _ = sample(SAMPLERS[name], [14.0, 3.0, 0.5, 0.0], watched=Watched(lambda _x, _sigma: picture))
    torch.testing.assert_close(result, picture, rtol=0, atol=1e-13)


TOLD_ETA = [row.name for row in SAMPLERS.values() if "eta" in row.told(SamplingOptions(eta=1))]


@pytest.mark.parametrize("eta", [1.0, 0.4, 0.0])
@pytest.mark.parametrize("name", [name for name in TOLD_ETA if SAMPLERS[name].own_grid is None or "DDIM" in name])
def test_added_noise_restores_the_level(name: str, eta: float) -> None:
    """With the true picture as prediction, what is left after one step is noise of the next level's variance.

    DPM fast and adaptive add none in their last step.
    """
    row = SAMPLERS[name]
    shape = (1, 4, 64, 64)
    x = torch.from_numpy(np.random.RandomState(0).standard_normal(shape)) * 10
    fresh = torch.from_numpy(np.random.RandomState(1).standard_normal(shape))
    path = BrownianNoise(x, 2.0, 10.0, [1])
    noise: Noise = path if row.noise == "brownian" else lambda _sigma, _sigma_next: fresh
    watched = Watched(lambda x, _sigma: x * 0)
    result = row.solver(SamplingOptions(eta=eta))(watched, x, [10.0, 2.0], noise=noise, on_step=no_step)
    # The deviation of 16384 numbers is known to 0.55 %; five of that.
    assert float(result.std()) == pytest.approx(2.0 / (math.hypot(1, 2) if row.unit_variance else 1), rel=0.0275)
    descended = x * 0.2 / (math.hypot(1, 2) if row.unit_variance else 1)
    assert (float((result - descended).abs().max()) < 1e-12) == (eta == 0)


@pytest.mark.parametrize("name", [row.name for row in SAMPLERS.values() if row.own_grid is None])
def test_an_eta_of_none_is_the_samplers_own(name: str) -> None:
    row, sigmas = SAMPLERS[name], [9.0, 2.0, 0.5, 0.0]
    made = [
        row.solver(options)(
            Watched(), torch.from_numpy(normal(0)) * 9, sigmas, noise=ScriptedNoise(torch.float64), on_step=no_step
        )
        for options in (SamplingOptions(), SamplingOptions(eta=1.0), SamplingOptions(eta=0.5))
    ]
    assert torch.equal(made[0], made[1])
    assert torch.equal(made[0], made[2]) == (name not in TOLD_ETA)


@pytest.mark.parametrize(("name", "order"), [("Euler", 1), ("HeunPP2", 1), ("Heun", 2), ("DPM2", 2), ("DPM++ 2M", 2)])
def test_convergence_order_on_the_exact_problem(name: str, order: int) -> None:
    """Halving the steps in log sigma multiplies the error by 2^order, against a solution of 1024 Heun steps."""

    def solve(sampler: str, steps: int) -> Tensor:
        return sample(SAMPLERS[sampler], np.exp(np.linspace(math.log(10), math.log(0.5), steps + 1)).tolist())[0]

    exact = solve("Heun", 1024)
    errors = [float((solve(name, steps) - exact).square().mean().sqrt()) for steps in (64, 128)]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.3)


def test_a_run_can_be_ended_from_on_step() -> None:
    seen = []

    def on_step(index: int, _denoised: Tensor) -> None:
        seen.append(index)
        if index == 2:
            raise InterruptedError

    x = torch.from_numpy(normal(0)) * TABLE.sigma_max
    sigmas = sigmas_for(SAMPLERS["Euler"], "Karras", 20, TABLE)
    with pytest.raises(InterruptedError):
        SAMPLERS["Euler"].function(denoise, x, sigmas, noise=ScriptedNoise(x.dtype), on_step=on_step)
    assert seen == [0, 1, 2]


@pytest.mark.parametrize("name", SAMPLER_NAMES)
def test_the_first_latents_are_left_as_they_were(name: str) -> None:
    """Hires and retries start from them again."""
    sigmas = sigmas_for(SAMPLERS[name], "Automatic", 4, TABLE)
    x = torch.from_numpy(normal(0)).to(torch.float32) * sigmas[0]
    before = x.clone()
    SAMPLERS[name].function(Watched(), x, sigmas, noise=ScriptedNoise(x.dtype), on_step=no_step)
    assert torch.equal(x, before)
