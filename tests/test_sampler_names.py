"""The table of samplers: names that AUTOMATIC1111 and its forks write, and what is refused."""

import subprocess
import sys
from pathlib import Path

import pytest

from backend.errors import InvalidRequest
from backend.sampling.samplers import SAMPLER_NAMES, SAMPLERS, find_sampler, split_name
from backend.sampling.schedules import SCHEDULES


def test_names_order_and_marks_are_those_of_automatic1111() -> None:
    assert SAMPLER_NAMES[:20] == (
        *("DPM++ 2M", "DPM++ SDE", "DPM++ 2M SDE", "DPM++ 2M SDE Heun", "DPM++ 2S a", "DPM++ 3M SDE", "Euler a"),
        *("Euler", "LMS", "Heun", "DPM2", "DPM2 a", "DPM fast", "DPM adaptive", "Restart", "DDIM", "DDIM CFG++"),
        *("PLMS", "UniPC", "LCM"),
    )
    assert SAMPLER_NAMES[20:] == ("HeunPP2", "IPNDM", "IPNDM_V", "DEIS", "DDPM")

    def names(mark: str, value: object = True) -> set[str]:
        return {row.name for row in SAMPLERS.values() if getattr(row, mark) == value}

    assert names("automatic_schedule", "Karras") == {
        *("DPM++ 2M", "DPM++ SDE", "DPM++ 2S a", "DPM2", "DPM2 a", "Restart")
    }
    assert names("automatic_schedule", "Exponential") == {"DPM++ 2M SDE", "DPM++ 2M SDE Heun", "DPM++ 3M SDE"}
    assert len(names("automatic_schedule", "Uniform")) == len(SAMPLERS) - 9
    assert names("discard_penultimate") == {"DPM2", "DPM2 a", "DPM++ 3M SDE"}
    assert names("second_order") == {"DPM++ SDE", "DPM++ 2S a", "Heun", "DPM2", "DPM2 a", "Restart"}
    assert names("uses_ensd") == {"DPM++ 2S a", "Euler a", "DPM2 a", "DPM fast", "DPM adaptive"}
    assert names("noise", "brownian") == {"DPM++ SDE", "DPM++ 2M SDE", "DPM++ 2M SDE Heun", "DPM++ 3M SDE"}
    assert names("unit_variance") == {"DDIM", "DDIM CFG++", "PLMS", "UniPC"}


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
        ("k_dpmpp_2m_sde_heun", "DPM++ 2M SDE Heun"),
        ("k_dpmpp_2s_a", "DPM++ 2S a"),
        ("k_dpmpp_3m_sde", "DPM++ 3M SDE"),
        ("k_lms", "LMS"),
        ("k_dpm_2", "DPM2"),
        ("k_dpm_2_a", "DPM2 a"),
        ("k_dpm_fast", "DPM fast"),
        ("k_dpm_ad", "DPM adaptive"),
        ("restart", "Restart"),
        ("ddim_cfgpp", "DDIM CFG++"),
        ("plms", "PLMS"),
        ("heunpp2", "HeunPP2"),
        ("ipndm_v", "IPNDM_V"),
    ],
)
def test_find_sampler_by_name_and_alias(asked: str, name: str) -> None:
    assert find_sampler(asked) is SAMPLERS[name]


@pytest.mark.parametrize(
    ("asked", "sampler", "schedule"),
    [
        ("DPM++ 2M Karras", "DPM++ 2M", "Karras"),
        ("DPM++ 2M SDE Heun Exponential", "DPM++ 2M SDE Heun", "Exponential"),
        ("dpm2 a karras", "DPM2 a", "Karras"),
        ("Euler SGMUniform", "Euler", "SGM Uniform"),
        ("Euler sgm_uniform", "Euler", "SGM Uniform"),
        ("DPM++ 2M SDE Heun", "DPM++ 2M SDE Heun", None),
        ("k_dpmpp_2m", "DPM++ 2M", None),
        ("DDIM", "DDIM", None),
    ],
)
def test_a_name_from_before_schedules_had_their_own_is_split(asked: str, sampler: str, schedule: str | None) -> None:
    assert split_name(asked) == (SAMPLERS[sampler], SCHEDULES[schedule] if schedule else None)


@pytest.mark.parametrize("asked", ["Euler Kerras", "Banana Karras", "Karras", " Karras"])
def test_a_name_that_is_no_sampler_with_a_schedule_is_refused(asked: str) -> None:
    with pytest.raises(InvalidRequest):
        split_name(asked)


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


def test_names_can_be_listed_without_torch() -> None:
    """The page lists samplers and schedules before torch, which takes seconds, is there."""
    code = "import sys, backend.sampling.samplers; sys.exit('torch' in sys.modules)"
    root = Path(__file__).parents[1]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
