"""The samplers that AUTOMATIC1111 runs on grids of their own, whatever schedule is chosen: DDIM and UniPC.

It keeps latents of unit variance there, x' = sqrt(a) x0 + sqrt(1 - a) noise, while everything else here keeps
x = x0 + sigma noise with sigma^2 = (1 - a) / a. So x' = x / sqrt(1 + sigma^2): both start from plain noise of unit
variance (`Sampler.unit_variance_start`), and as neither grid ends in zero, the last latents are scaled back.

The grid follows from whole strides of the 1000 training timesteps: 1, 1 + s, 1 + 2s, ... with s = 1000 // steps,
nothing above 999. If 1000 is not a multiple of `steps` there are more of them than steps: 8 for 7 steps (1, 143, ...,
995), 334 for 300. DDIM goes from each to the one before, which is one evaluation less than there are timesteps, and
starts below the largest noise level (at 951 for 20 steps, at 501 for 2). UniPC only takes their number, and spaces that
many steps evenly from 999 to 0. Above 1000 steps there is no grid.
"""

# ruff: noqa: ARG001  the signature of all solvers; these two solve an ODE and need no noise

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from backend.sampling.schedules import SigmaTable
from backend.sampling.solvers import Denoise, Noise, OnStep, sample_euler

if TYPE_CHECKING:
    from torch import Tensor

TRAINING_TIMESTEPS = 1000
UNIPC_ORDER = 3


def ddim_timesteps(steps: int) -> list[int]:
    """The rising timesteps of DDIM, one more than it takes steps.

    A single step, for which AUTOMATIC1111 returns the noise it was given, goes from 999 to 1 here.
    """
    if steps == 1:
        return [1, TRAINING_TIMESTEPS - 1]
    return [min(t + 1, TRAINING_TIMESTEPS - 1) for t in range(0, TRAINING_TIMESTEPS, TRAINING_TIMESTEPS // steps)]


def ddim_steps(steps: int) -> int:
    """How many steps DDIM takes when `steps` are asked for."""
    return len(ddim_timesteps(steps)) - 1


def ddim_grid(steps: int, table: SigmaTable) -> list[float]:
    """The noise levels of DDIM's timesteps, falling; the last is that of timestep 1."""
    return [table.t_to_sigma(t) for t in reversed(ddim_timesteps(steps))]


def sample_ddim(denoise: Denoise, x: "Tensor", sigmas: Sequence[float], *, noise: Noise, on_step: OnStep) -> "Tensor":
    """Equation 12 of Song et al. 2021 ("Denoising Diffusion Implicit Models") with eta = 0.

    Its equation 13 says that this is the Euler step of the ODE in x and sigma. The result is of unit variance.
    """
    return _to_unit_variance(sample_euler(denoise, x, sigmas, noise=noise, on_step=on_step), sigmas[-1])


def unipc_steps(steps: int) -> int:
    """How many steps UniPC takes when `steps` are asked for."""
    return len(range(0, TRAINING_TIMESTEPS, TRAINING_TIMESTEPS // steps))


def unipc_grid(steps: int, table: SigmaTable) -> list[float]:
    """Noise levels at evenly spaced timesteps ("time_uniform"), read between entries as UniPC's authors do."""
    timesteps = np.linspace(table.t_max, table.t_min, unipc_steps(steps) + 1)
    return [table.t_to_sigma_in_log_alpha(t) for t in timesteps]


def sample_unipc(denoise: Denoise, x: "Tensor", sigmas: Sequence[float], *, noise: Noise, on_step: OnStep) -> "Tensor":
    """UniP-3 with UniC-3 for data prediction, B(h) = h ("bh1"), of Zhao et al. 2023 ("UniPC", arXiv 2302.04867).

    Each step extrapolates x from up to three predictions, denoises there, and corrects x with what came out. The order
    rises from 1 at the start, where there is no history, and falls to 1 at the end, where nothing is corrected: fewer
    than three steps, which AUTOMATIC1111 refuses, are of lower order. The result is of unit variance.
    """
    steps = len(sigmas) - 1
    predictions: list[Tensor] = [denoise(x, sigmas[0])]  # newest first, as many as the order
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        on_step(i, predictions[0])
        order = min(UNIPC_ORDER, i + 1, steps - i)
        h = _log_ratio(sigma, sigma_next)
        ages = [_log_ratio(sigma, sigmas[i - k]) / h for k in range(1, order)]  # r_k: -1 is one step of this size ago
        slopes = [(p - predictions[0]) / r for p, r in zip(predictions[1:order], ages, strict=True)]
        first_order = predictions[0] + (x - predictions[0]) * (sigma_next / sigma)
        x = _advance(first_order, slopes, ages, h)
        if i < steps - 1:
            newest = denoise(x, sigma_next)
            slopes.append(newest - predictions[0])
            x = _advance(first_order, slopes, [*ages, 1.0], h)
            predictions = [newest, *predictions][:UNIPC_ORDER]
    return _to_unit_variance(x, sigmas[-1])


def _advance(x: "Tensor", slopes: "Sequence[Tensor]", ages: Sequence[float], h: float) -> "Tensor":
    """Add what the slopes, differences of predictions that are `ages` steps away, say beyond first order."""
    for slope, weight in zip(slopes, _unipc_weights(ages, h), strict=True):
        x = x + slope * (weight * h)
    return x


def _unipc_weights(ages: Sequence[float], h: float) -> list[float]:
    """The weights of the slopes that meet the order conditions, R(h) rho = phi(h) / B(h), of Zhao et al. 2023.

    A single weight is 1/2 whatever h is, as in their code: the order stays the same.
    """
    if len(ages) < 2:
        return [0.5] * len(ages)
    powers = np.vander(ages, increasing=True).T
    phi = math.expm1(-h) / -h - 1  # -h phi_2(-h); the next phi functions follow by recurrence
    right, factorial = [], 1
    for k in range(1, len(ages) + 1):
        right.append(phi * factorial / -h)
        factorial *= k + 1
        phi = phi / -h - 1 / factorial
    return np.linalg.solve(powers, right).tolist()


def _log_ratio(sigma: float, sigma_next: float) -> float:
    """What half the log signal-to-noise ratio gains between two noise levels; infinite on the way to none."""
    return math.log(sigma / sigma_next) if sigma_next > 0 else math.inf


def _to_unit_variance(x: "Tensor", sigma: float) -> "Tensor":
    return x / math.sqrt(1 + sigma**2)
