"""The samplers against other people's, on a problem with an exact answer (tests/reference)."""

import math
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from backend.errors import InvalidRequest
from backend.sampling.noise import BrownianNoise
from backend.sampling.samplers import (
    SAMPLER_NAMES,
    SAMPLERS,
    Noise,
    Sampler,
    calls,
    find_sampler,
    sigmas_for,
    table_for,
)
from backend.sampling.schedules import SCHEDULES, SigmaTable
from tests.reference.mixture import ScriptedNoise, alphas_cumprod, denoise, normal

# In parts of a result's largest number, which is 3.5, or 19 where two Heun steps overshoot. A float64 run of ours
# agrees with the references to 1e-13; they are stored in float32. A float32 run adds its own rounding, which is 1e-6 at
# sigma 14.6 and grows where the mixture's parts meet.
STORED = 1e-7
FLOAT32 = 1e-5

REFERENCES = dict(np.load(Path(__file__).parent / "reference" / "trajectories.npz", allow_pickle=False))
RUNS = sorted(name.removesuffix("/result") for name in REFERENCES if name.endswith("/result"))
TABLE = SigmaTable(alphas_cumprod())


class Recorder:
    """What a run did: its predictions, and how often the denoiser was evaluated, at which noise levels."""

    def __init__(self, denoiser: Callable[[Tensor, float], Tensor] = denoise) -> None:
        self.predictions: list[Tensor] = []
        self.levels: list[float] = []
        self._denoiser = denoiser

    def denoise(self, x: Tensor, sigma: float) -> Tensor:
        self.levels.append(sigma)
        return self._denoiser(x, sigma)

    def on_step(self, index: int, denoised: Tensor) -> None:
        assert index == len(self.predictions)
        self.predictions.append(denoised)


def first_latents(sampler: Sampler, sigma: float, dtype: torch.dtype) -> Tensor:
    scale = math.sqrt(1 + sigma**2) if sampler.unit_variance_start else sigma
    return (torch.from_numpy(normal(0)) * scale).to(dtype)


def no_step(_index: int, _denoised: Tensor) -> None:
    """For runs that nobody watches."""


def sample(sampler: Sampler, sigmas: list[float], dtype: torch.dtype = torch.float64) -> tuple[Tensor, Recorder]:
    recorder = Recorder()
    x = first_latents(sampler, sigmas[0], dtype)
    noise = ScriptedNoise(dtype)
    return sampler.function(recorder.denoise, x, sigmas, noise=noise, on_step=recorder.on_step), recorder


def test_every_sampler_has_references() -> None:
    assert {name.split("/")[0] for name in RUNS} == set(SAMPLERS)
    assert len(RUNS) == 7 * 2 * 3 - 2 + 2 * 3


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, STORED), (torch.float32, FLOAT32)])
@pytest.mark.parametrize("run", RUNS)
def test_trajectory_is_the_reference_one(run: str, dtype: torch.dtype, tolerance: float) -> None:
    name, *grid, steps = run.split("/")
    sampler = SAMPLERS[name]
    sigmas = REFERENCES[f"{grid[0]}/{steps}"].tolist() if grid else sigmas_for(sampler, "Automatic", int(steps), TABLE)
    result, recorder = sample(sampler, sigmas, dtype)
    assert result.dtype == dtype
    predictions = torch.stack([d.flatten()[::32] for d in recorder.predictions])
    for ours, theirs in ((predictions, REFERENCES[f"{run}/denoised"]), (result, REFERENCES[f"{run}/result"])):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance * np.abs(theirs).max())


@pytest.mark.parametrize("steps", [1, 2, 7, 20])
@pytest.mark.parametrize("name", SAMPLER_NAMES)
def test_steps_and_calls_are_as_announced(name: str, steps: int) -> None:
    sampler = SAMPLERS[name]
    sigmas = sigmas_for(sampler, "Automatic", steps, TABLE)
    _, recorder = sample(sampler, sigmas)
    assert len(recorder.predictions) == len(sigmas) - 1
    assert len(recorder.levels) == calls(sampler, steps)
    assert min(recorder.levels) > 0
    assert recorder.levels == sorted(recorder.levels, reverse=True)


@pytest.mark.parametrize("steps", [1, 2, 20])
@pytest.mark.parametrize("name", [row.name for row in SAMPLERS.values() if row.timesteps is None])
def test_the_last_prediction_is_the_picture(name: str, steps: int) -> None:
    """On the way to zero every sampler takes its last prediction as it is, to the bit: a preview shows the result."""
    result, recorder = sample(SAMPLERS[name], sigmas_for(SAMPLERS[name], "Karras", steps, TABLE), torch.float32)
    assert torch.equal(result, recorder.predictions[-1])


@pytest.mark.parametrize("name", [row.name for row in SAMPLERS.values() if row.timesteps is not None])
def test_own_grids_end_in_latents_of_unit_variance(name: str) -> None:
    """A denoiser that knows the picture: what is left is its sqrt(a) and the sqrt(1 - a) of the first noise."""
    sampler = SAMPLERS[name]
    picture = torch.from_numpy(normal(1))
    sigmas = sigmas_for(sampler, "Automatic", 20, TABLE)
    a = 1 / (1 + sigmas[-1] ** 2)
    a_first = 1 / (1 + sigmas[0] ** 2)
    first = first_latents(sampler, sigmas[0], torch.float64)
    recorder = Recorder(lambda _x, _sigma: picture)
    result = sampler.function(
        recorder.denoise, first, sigmas, noise=ScriptedNoise(first.dtype), on_step=recorder.on_step
    )
    remaining = (torch.from_numpy(normal(0)) - math.sqrt(a_first) * picture) / math.sqrt(1 - a_first)
    assert sigmas[-1] > 0
    torch.testing.assert_close(result, math.sqrt(a) * picture + math.sqrt(1 - a) * remaining, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", SAMPLER_NAMES)
def test_any_grid_that_ends_in_zero_gives_the_picture(name: str) -> None:
    """The samplers with grids of their own too, should somebody hand them another."""
    picture = torch.from_numpy(normal(1))
    recorder = Recorder(lambda _x, _sigma: picture)
    x = torch.from_numpy(normal(0)) * 14.0
    noise = ScriptedNoise(x.dtype)
    result = SAMPLERS[name].function(recorder.denoise, x, [14.0, 3.0, 0.5, 0.0], noise=noise, on_step=recorder.on_step)
    assert torch.equal(result, picture)


@pytest.mark.parametrize("name", [row.name for row in SAMPLERS.values() if row.noise != "none"])
def test_added_noise_restores_the_level(name: str) -> None:
    """With the true picture as prediction, what is left after one step is noise of the next level's variance."""
    sampler = SAMPLERS[name]
    shape = (1, 4, 128, 128)
    x = torch.from_numpy(np.random.RandomState(0).standard_normal(shape)) * 10
    fresh = torch.from_numpy(np.random.RandomState(1).standard_normal(shape))
    path = BrownianNoise(x, 2.0, 10.0, [1])
    noise: Noise = path if sampler.noise == "brownian" else lambda _sigma, _sigma_next: fresh

    result = sampler.function(lambda x, _sigma: x * 0, x, [10.0, 2.0], noise=noise, on_step=no_step)
    # The deviation of 65536 numbers is known to 0.3 %; five of that.
    assert float(result.std()) == pytest.approx(2.0, rel=0.015)


@pytest.mark.parametrize(("name", "order"), [("Euler", 1), ("Heun", 2), ("DPM++ 2M", 2)])
def test_convergence_order_on_the_exact_problem(name: str, order: int) -> None:
    """Halving the steps in log sigma multiplies the error by 2^order, against a solution of 1024 Heun steps."""

    def solve(sampler: str, steps: int) -> Tensor:
        sigmas = np.exp(np.linspace(math.log(10), math.log(0.5), steps + 1)).tolist()
        recorder = Recorder()
        x = torch.from_numpy(normal(0)) * sigmas[0]
        noise = ScriptedNoise(x.dtype)
        return SAMPLERS[sampler].function(recorder.denoise, x, sigmas, noise=noise, on_step=recorder.on_step)

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
    x = first_latents(SAMPLERS[name], sigmas[0], torch.float32)
    before = x.clone()
    SAMPLERS[name].function(denoise, x, sigmas, noise=ScriptedNoise(x.dtype), on_step=no_step)
    assert torch.equal(x, before)


def test_names_and_order_are_those_of_automatic1111() -> None:
    assert SAMPLER_NAMES == (
        "DPM++ 2M",
        "DPM++ SDE",
        "DPM++ 2M SDE",
        "Euler a",
        "Euler",
        "Heun",
        "DDIM",
        "UniPC",
        "LCM",
    )
    assert [SAMPLERS[name].automatic_schedule for name in SAMPLER_NAMES[:6]] == [
        "Karras",
        "Karras",
        "Exponential",
        "Uniform",
        "Uniform",
        "Uniform",
    ]
    assert all(row.automatic_schedule in SCHEDULES for row in SAMPLERS.values())


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("Euler a", "Euler a"),
        ("euler A", "Euler a"),
        ("k_euler_ancestral", "Euler a"),
        ("k_euler", "Euler"),
        ("K_DPMPP_2M_SDE", "DPM++ 2M SDE"),
        ("unipc", "UniPC"),
        ("ddim", "DDIM"),
        ("k_lcm", "LCM"),
    ],
)
def test_find_sampler_by_name_and_alias(asked: str, name: str) -> None:
    assert find_sampler(asked) is SAMPLERS[name]


def test_names_and_aliases_are_of_one_sampler_each() -> None:
    known = [name.casefold() for row in SAMPLERS.values() for name in {row.name.casefold(), *row.aliases}]
    assert len(known) == len(set(known))


@pytest.mark.parametrize("asked", ["Euler b", "Banana", ""])
def test_unknown_sampler_is_refused_with_what_there_is(asked: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        find_sampler(asked)
    assert repr(asked) in str(refusal.value)
    expected = ["Euler a"] if asked == "Euler b" else SAMPLER_NAMES
    assert all(name in str(refusal.value) for name in expected)


@pytest.mark.parametrize("name", SAMPLER_NAMES)
def test_automatic_is_the_samplers_own_schedule(name: str) -> None:
    sampler = SAMPLERS[name]
    automatic = sigmas_for(sampler, "Automatic", 10, TABLE)
    assert automatic == sigmas_for(sampler, "automatic", 10, TABLE)
    assert automatic == sigmas_for(sampler, sampler.automatic_schedule, 10, TABLE)
    others = [sigmas_for(sampler, s, 10, TABLE) for s in ("Uniform", "Karras", "Exponential", "SGM Uniform", "Simple")]
    if sampler.timesteps is None:
        assert others.count(automatic) == 1
    else:
        assert others.count(automatic) == 5


@pytest.mark.parametrize("name", SAMPLER_NAMES)
def test_wrong_schedules_and_steps_are_refused(name: str) -> None:
    with pytest.raises(InvalidRequest, match=r"Kerras.*Karras"):
        sigmas_for(SAMPLERS[name], "Kerras", 10, TABLE)
    for steps in (0, -1, 1001):
        with pytest.raises(InvalidRequest, match=str(steps)):
            sigmas_for(SAMPLERS[name], "Automatic", steps, TABLE)


@pytest.mark.parametrize("steps", [1, 2, 3, 150, 999, 1000])
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("name", SAMPLER_NAMES)
def test_noise_levels_fall_for_any_number_of_steps(name: str, schedule: str, steps: int) -> None:
    sigmas = sigmas_for(SAMPLERS[name], schedule, steps, TABLE)
    assert all(a >= b for a, b in pairwise(sigmas))
    # LCM knows 50 noise levels, which Simple repeats for more steps; DDIM begins with 999 twice from 501 steps on.
    may_repeat = name == "DDIM" or ((name, schedule) == ("LCM", "Simple") and steps > 50)
    assert may_repeat or len(set(sigmas)) == len(sigmas)
    if SAMPLERS[name].timesteps is None:
        assert len(sigmas) == steps + 1
        assert sigmas[-1] == 0


@pytest.mark.parametrize(
    ("steps", "timesteps"),
    [
        (1, [999, 1]),
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


@pytest.mark.parametrize(("steps", "taken"), [(1, 1), (2, 2), (7, 8), (20, 20), (300, 334)])
def test_unipc_grid(steps: int, taken: int) -> None:
    grid = sigmas_for(SAMPLERS["UniPC"], "Automatic", steps, TABLE)
    assert len(grid) == taken + 1
    assert (grid[0], grid[-1]) == pytest.approx((TABLE.sigma_max, TABLE.sigma_min), rel=1e-12)
    spacing = -np.diff([TABLE.sigma_to_t(sigma) for sigma in grid])
    # Between the entries the two ways of interpolating differ by less than a fortieth of a timestep.
    assert spacing == pytest.approx([999 / taken] * taken, abs=0.025)


def test_lcm_knows_every_twentieth_timestep() -> None:
    table = table_for(SAMPLERS["LCM"], TABLE)
    assert [table.sigma_to_t(sigma) for sigma in table.sigmas] == list(range(19, 1000, 20))
    assert sigmas_for(SAMPLERS["LCM"], "Automatic", 2, TABLE) == pytest.approx([TABLE.sigma_max, TABLE.sigmas[19], 0])
    # log sigma halfway between two entries goes to the nearer of them, never between.
    assert table.sigma_to_t(table.sigmas[7] * 1.001) == 159
    assert table_for(SAMPLERS["Euler"], TABLE) is TABLE


def test_names_can_be_listed_without_torch() -> None:
    """The page lists samplers and schedules before torch, which takes seconds, is there."""
    code = "import sys, backend.sampling.samplers; sys.exit('torch' in sys.modules)"
    root = Path(__file__).parents[1]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
