"""The schedules against k-diffusion's noise levels and AUTOMATIC1111's tables."""

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from backend.errors import InvalidRequest
from backend.sampling.schedules import SCHEDULE_NAMES, SCHEDULES, SigmaTable, find_schedule, is_automatic
from tests.reference.mixture import alphas_cumprod

REFERENCES = dict(np.load(Path(__file__).parent / "reference" / "trajectories.npz", allow_pickle=False))
TABLE = SigmaTable(alphas_cumprod())


def levels(name: str, steps: int) -> list[float]:
    return SCHEDULES[name].sigmas(steps, TABLE)


def test_table_of_stable_diffusion() -> None:
    assert (TABLE.sigma_min, TABLE.sigma_max) == pytest.approx((0.0291672, 14.6146412), abs=5e-8)
    assert len(TABLE.sigmas) == 1000
    assert (np.diff(TABLE.sigmas) > 0).all()
    assert (TABLE.t_min, TABLE.t_max) == (0, 999)


def test_table_keeps_the_precision_of_what_it_is_made_from() -> None:
    """Checkpoints bring float32; as a tensor, an array or a list it gives the same, float64 levels."""
    rounded = alphas_cumprod().astype(np.float32)
    tables = [SigmaTable(given) for given in (rounded, rounded.tolist(), torch.from_numpy(rounded))]
    wanted = np.sqrt((1 - rounded.astype(np.float64)) / rounded.astype(np.float64))
    for table in tables:
        assert table.sigmas.dtype == np.float64
        np.testing.assert_allclose(table.sigmas, wanted, rtol=1e-12)
    assert tables[0].sigma_min != TABLE.sigma_min


def test_table_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        TABLE.sigmas[0] = 1.0


def test_timesteps_and_levels_are_inverse() -> None:
    for t in np.linspace(0, 999, 1234):
        assert TABLE.sigma_to_t(TABLE.t_to_sigma(t)) == pytest.approx(t, abs=1e-9)
    assert [TABLE.t_to_sigma(t) for t in range(1000)] == pytest.approx(TABLE.sigmas.tolist(), rel=1e-14)


def test_levels_between_entries_are_linear_in_log_sigma() -> None:
    assert TABLE.t_to_sigma(500.5) == pytest.approx(math.sqrt(TABLE.sigmas[500] * TABLE.sigmas[501]), rel=1e-12)
    assert TABLE.t_to_sigma(10.25) == pytest.approx(TABLE.sigmas[10] ** 0.75 * TABLE.sigmas[11] ** 0.25, rel=1e-12)


def test_levels_between_entries_can_be_linear_in_log_alpha() -> None:
    alphas = alphas_cumprod()
    a = math.sqrt(alphas[10] * alphas[11])
    assert TABLE.t_to_sigma_in_log_alpha(10.5) == pytest.approx(math.sqrt((1 - a) / a), rel=1e-12)
    assert TABLE.t_to_sigma_in_log_alpha(10.5) != pytest.approx(TABLE.t_to_sigma(10.5), rel=1e-4)
    assert TABLE.t_to_sigma_in_log_alpha(10) == pytest.approx(TABLE.sigmas[10], rel=1e-12)


@pytest.mark.parametrize(("sigma", "t"), [(1000.0, 999), (0.001, 0)])
def test_levels_outside_the_table_go_to_its_ends(sigma: float, t: float) -> None:
    assert TABLE.sigma_to_t(sigma) == t


def test_a_thinned_table_knows_only_its_entries() -> None:
    table = TABLE.every(20)
    assert table.sigmas.tolist() == pytest.approx(TABLE.sigmas[19::20].tolist(), rel=1e-14)
    for t in np.linspace(0, 999, 321):
        nearest = min(range(19, 1000, 20), key=lambda k: abs(math.log(TABLE.sigmas[k] / TABLE.t_to_sigma(t))))
        assert table.sigma_to_t(TABLE.t_to_sigma(t)) == nearest
    assert table.t_to_sigma(29) == pytest.approx(math.sqrt(TABLE.sigmas[19] * TABLE.sigmas[39]), rel=1e-12)


# AUTOMATIC1111's levels for 20 steps as far as they are printed; the rest of the module derives the others.
@pytest.mark.parametrize(
    ("name", "first", "last"),
    [
        ("Uniform", [14.6146, 10.7468, 8.0815, 6.2049, 4.8557], [0.0292, 0]),
        ("Normal", [14.6146, 10.7468, 8.0815, 6.2049, 4.8557], [0.0292, 0]),
        ("Karras", [14.6146, 11.7254, 9.3402, 7.3836, 5.7894], [0.0779, 0.0485, 0.0292, 0]),
    ],
)
def test_twenty_steps_of_automatic1111(name: str, first: list[float], last: list[float]) -> None:
    sigmas = levels(name, 20)
    assert sigmas[: len(first)] == pytest.approx(first, abs=5.1e-5)
    assert sigmas[-len(last) :] == pytest.approx(last, abs=5.1e-5)


@pytest.mark.parametrize("steps", [1, 2, 20])
@pytest.mark.parametrize("name", ["Karras", "Exponential", "Uniform"])
def test_levels_are_those_of_k_diffusion(name: str, steps: int) -> None:
    # Its table rounds timesteps to float32.
    tolerance = 2e-7 if name == "Uniform" else 1e-12
    assert levels(name, steps) == pytest.approx(REFERENCES[f"{name}/{steps}"].tolist(), rel=tolerance)


def test_exponential_has_one_ratio() -> None:
    ratios = [b / a for a, b in pairwise(levels("Exponential", 20)[:-1])]
    assert ratios == pytest.approx([(TABLE.sigma_min / TABLE.sigma_max) ** (1 / 19)] * 19, rel=1e-12)


@pytest.mark.parametrize("steps", [1, 2, 7, 20])
def test_sgm_uniform_is_uniform_without_its_last_level(steps: int) -> None:
    longer = levels("Uniform", steps + 1)
    assert levels("SGM Uniform", steps) == [*longer[:-2], 0.0]


@pytest.mark.parametrize(
    ("steps", "entries"),
    [(1, [999]), (2, [999, 499]), (7, [999, 857, 714, 571, 428, 285, 142]), (20, [*range(999, 0, -50)])],
)
def test_simple_takes_entries_of_the_table(steps: int, entries: list[int]) -> None:
    assert levels("Simple", steps) == [*TABLE.sigmas[entries].tolist(), 0.0]


@pytest.mark.parametrize("steps", [1, 2, 20, 150])
@pytest.mark.parametrize("name", SCHEDULES)
def test_levels_fall_from_the_largest_to_zero(name: str, steps: int) -> None:
    sigmas = levels(name, steps)
    assert len(sigmas) == steps + 1
    assert all(isinstance(sigma, float) for sigma in sigmas)
    assert all(a > b for a, b in pairwise(sigmas))
    assert sigmas[0] == pytest.approx(TABLE.sigma_max, rel=1e-12)
    assert sigmas[-1] == 0
    if steps > 1 and name not in ("SGM Uniform", "Simple"):
        assert sigmas[-2] == pytest.approx(TABLE.sigma_min, rel=1e-12)


def test_names_and_order_are_those_of_automatic1111() -> None:
    assert SCHEDULE_NAMES == ("Automatic", "Uniform", "Karras", "Exponential", "SGM Uniform", "Simple", "Normal")
    assert tuple(SCHEDULES) == SCHEDULE_NAMES[1:]


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("Karras", "Karras"),
        ("karras", "Karras"),
        ("SGM Uniform", "SGM Uniform"),
        ("sgm_uniform", "SGM Uniform"),
        ("SGMUniform", "SGM Uniform"),
    ],
)
def test_find_schedule_by_name_and_alias(asked: str, name: str) -> None:
    assert find_schedule(asked) is SCHEDULES[name]


@pytest.mark.parametrize("asked", ["Karas", "Banana", "", "Beta"])
def test_unknown_schedule_is_refused_with_what_there_is(asked: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        find_schedule(asked)
    assert repr(asked) in str(refusal.value)
    expected = ["Karras"] if asked == "Karas" else [] if asked == "Beta" else SCHEDULE_NAMES
    assert all(name in str(refusal.value) for name in expected)


def test_automatic_is_no_schedule() -> None:
    assert is_automatic("automatic")
    assert not is_automatic("Uniform")
    with pytest.raises(InvalidRequest, match=r"Automatic .* Uniform, Karras"):
        find_schedule("Automatic")
