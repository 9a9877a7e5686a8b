"""The schedules against k-diffusion's noise levels and AUTOMATIC1111's tables."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from backend.errors import InvalidRequest
from backend.sampling.schedules import SCHEDULE_NAMES, SCHEDULES, SigmaTable, find_schedule, is_automatic
from backend.sampling_options import SamplingOptions
from bench.mixture import alphas_cumprod
from bench.trajectories import STEPS, reference_levels

REFERENCES = reference_levels()
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


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("name", SCHEDULES)
def test_levels_are_those_of_the_references(name: str, steps: int) -> None:
    # k-diffusion's table rounds timesteps to float32.
    tolerance = 2e-7 if name in ("Uniform", "Normal", "SGM Uniform") else 1e-11
    assert levels(name, steps) == pytest.approx(REFERENCES[f"{name}/{steps}"].tolist(), rel=tolerance)


def test_both_ends_can_be_chosen_where_a_schedule_has_them() -> None:
    """The settings of A1111's first Karras schedule; what reads the table, or was optimized for it, has none."""
    asked = SamplingOptions(schedule_min_sigma=0.1, schedule_max_sigma=10.0)
    chosen = {name: row.sigmas(10, TABLE, asked) for name, row in SCHEDULES.items()}
    ends = {name: (sigmas[0], [sigma for sigma in sigmas if sigma][-1]) for name, sigmas in chosen.items()}
    heeding = {name for name, (high, low) in ends.items() if (high, low) == pytest.approx((10, 0.1), rel=1e-9)}
    assert heeding == {"Karras", "Exponential", "Polyexponential", "KL Optimal", "Normal", "Beta"}
    assert chosen["SGM Uniform"][:-1] == pytest.approx(SCHEDULES["Normal"].sigmas(11, TABLE, asked)[:-2])
    others = set(SCHEDULES) - heeding - {"SGM Uniform"}
    assert all(chosen[name] == levels(name, 10) for name in others)
    assert SCHEDULES["Karras"].sigmas(3, TABLE, asked)[1] == pytest.approx(((10 ** (1 / 7) + 0.1 ** (1 / 7)) / 2) ** 7)
    one = SamplingOptions(schedule_max_sigma=10.0)
    assert SCHEDULES["Karras"].sigmas(3, TABLE, one)[2] == pytest.approx(TABLE.sigma_min)


def test_ends_that_leave_nothing_between_them_are_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"from 14\.6146 down to 20"):
        SCHEDULES["Karras"].sigmas(10, TABLE, SamplingOptions(schedule_min_sigma=20))


def test_rho_is_heeded_by_the_two_that_have_one() -> None:
    asked = SamplingOptions(schedule_rho=3)
    heeding = {name for name, row in SCHEDULES.items() if row.sigmas(10, TABLE, asked) != levels(name, 10)}
    assert heeding == {"Karras", "Polyexponential"}
    middle = ((TABLE.sigma_min ** (1 / 3) + TABLE.sigma_max ** (1 / 3)) / 2) ** 3
    assert SCHEDULES["Karras"].sigmas(3, TABLE, asked)[1] == pytest.approx(middle)
    eighth = TABLE.sigma_min * (TABLE.sigma_max / TABLE.sigma_min) ** 0.125
    assert SCHEDULES["Polyexponential"].sigmas(3, TABLE, asked)[1] == pytest.approx(eighth)
    assert levels("Polyexponential", 20) == pytest.approx(levels("Exponential", 20), rel=1e-12)


def test_beta_is_even_where_its_distribution_is() -> None:
    even = SCHEDULES["Beta"].sigmas(5, TABLE, SamplingOptions(beta_alpha=1, beta_beta=1))
    assert even[:-1] == pytest.approx(np.linspace(TABLE.sigma_max, TABLE.sigma_min, 5).tolist())
    # x^2 is the distribution function of Beta(2, 1).
    risen = SCHEDULES["Beta"].sigmas(5, TABLE, SamplingOptions(beta_alpha=2, beta_beta=1))
    span = TABLE.sigma_max - TABLE.sigma_min
    assert risen[1] == pytest.approx(TABLE.sigma_min + span * math.sqrt(0.75))


def test_kl_optimal_is_even_in_the_angle_and_has_no_zero() -> None:
    sigmas = levels("KL Optimal", 20)
    assert len(sigmas) == 21
    assert (sigmas[0], sigmas[-1]) == pytest.approx((TABLE.sigma_max, TABLE.sigma_min))
    assert np.ptp(np.diff(np.arctan(sigmas))) < 1e-12


@pytest.mark.parametrize(
    ("steps", "entries"),
    [
        (1, [999]),  # AUTOMATIC1111's single step begins at 1
        (2, [501, 1]),
        (7, [995, 853, 711, 569, 427, 285, 143, 1]),
        (20, [*range(951, 0, -50)]),
        (150, [*range(997, 0, -6)]),
    ],
)
def test_ddim_takes_whole_strides_from_entry_1(steps: int, entries: list[int]) -> None:
    assert levels("DDIM", steps) == [*TABLE.sigmas[entries].tolist(), 0.0]


@pytest.mark.parametrize(
    ("steps", "entries"), [(1, [999]), (4, [999, 749, 499, 249]), (3, [999, 666, 332]), (8, [*range(999, 0, -125)])]
)
def test_turbo_takes_the_end_of_each_part(steps: int, entries: list[int]) -> None:
    assert levels("Turbo", steps) == pytest.approx([*TABLE.sigmas[entries].tolist(), 0.0], rel=1e-12)


@pytest.mark.parametrize(
    ("name", "count", "last", "of_sdxl"),
    [
        ("Align Your Steps", 11, 0.029, 6.315),
        ("Align Your Steps 11", 11, 0.029, 6.315),
        ("Align Your Steps GITS", 11, 0.029, 4.734),
        ("Align Your Steps 32", 32, 0.015, 11.1491618),
    ],
)
def test_aligned_steps_are_the_published_ones_and_read_between_them(
    name: str, count: int, last: float, of_sdxl: float
) -> None:
    whole = levels(name, count)
    assert (whole[0], whole[-2], whole[-1]) == (14.615, last, 0.0)
    assert levels(name, 1) == [14.615, 0.0]
    between = levels(name, 2 * count - 1)
    assert between[:-1:2] == pytest.approx(whole[:-1], rel=1e-12)
    assert between[1] == pytest.approx(math.sqrt(whole[0] * whole[1]), rel=1e-12)
    sdxl = SigmaTable(alphas_cumprod(), aligned_for="sdxl")
    assert SCHEDULES[name].sigmas(count, sdxl)[1] == of_sdxl != whole[1]
    assert sdxl.every(20).aligned_for == "sdxl"


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
    assert all(isinstance(sigma, float) for sigma in sigmas)
    assert all(a > b for a, b in pairwise(sigmas))
    if name != "DDIM" or steps == 1:
        assert len(sigmas) == steps + 1
        assert sigmas[0] == pytest.approx(TABLE.sigma_max, rel=3e-5)  # published levels have five digits
    if name == "KL Optimal":
        assert sigmas[-1] == pytest.approx(TABLE.sigma_min, rel=1e-12)
        return
    assert sigmas[-1] == 0
    if steps > 1 and name in ("Uniform", "Normal", "Karras", "Exponential", "Polyexponential", "Beta"):
        assert sigmas[-2] == pytest.approx(TABLE.sigma_min, rel=1e-12)


def test_names_and_order_are_those_of_automatic1111() -> None:
    assert SCHEDULE_NAMES[:12] == (
        *("Automatic", "Uniform", "Karras", "Exponential", "Polyexponential", "SGM Uniform", "KL Optimal"),
        *("Align Your Steps", "Simple", "Normal", "DDIM", "Beta"),
    )
    assert SCHEDULE_NAMES[12:] == ("Turbo", "Align Your Steps GITS", "Align Your Steps 11", "Align Your Steps 32")
    assert tuple(SCHEDULES) == SCHEDULE_NAMES[1:]


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("Karras", "Karras"),
        ("karras", "Karras"),
        ("SGM Uniform", "SGM Uniform"),
        ("sgm_uniform", "SGM Uniform"),
        ("SGMUniform", "SGM Uniform"),
        ("kl_optimal", "KL Optimal"),
        ("align_your_steps", "Align Your Steps"),
        ("align_your_steps_GITS", "Align Your Steps GITS"),
        ("align_your_steps_11", "Align Your Steps 11"),
        ("align_your_steps_32", "Align Your Steps 32"),
        ("ddim", "DDIM"),
        ("beta", "Beta"),
        ("turbo", "Turbo"),
    ],
)
def test_find_schedule_by_name_and_alias(asked: str, name: str) -> None:
    assert find_schedule(asked) is SCHEDULES[name]


@pytest.mark.parametrize("asked", ["Karas", "Banana", "", "Gamma"])
def test_unknown_schedule_is_refused_with_what_there_is(asked: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        find_schedule(asked)
    assert repr(asked) in str(refusal.value)
    expected = ["Karras"] if asked == "Karas" else [] if asked == "Gamma" else SCHEDULE_NAMES
    assert all(name in str(refusal.value) for name in expected)


def test_automatic_is_no_schedule() -> None:
    assert is_automatic("automatic")
    assert not is_automatic("Uniform")
    with pytest.raises(InvalidRequest, match=r"Automatic .* Uniform, Karras"):
        find_schedule("Automatic")
