"""UniPC of Zhao et al. 2023 ("UniPC", arXiv 2302.04867), on the timesteps that its authors' code chooses.

See `backend.sampling.timesteps` for the latents of unit variance that AUTOMATIC1111 keeps there.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from backend.sampling.schedules import SigmaTable
from backend.sampling.solvers import Denoise, Noise, OnStep, descend
from backend.sampling.timesteps import TRAINING_TIMESTEPS, Grid, ddim_timesteps, to_unit_variance
from backend.sampling_options import SamplingOptions

if TYPE_CHECKING:
    from torch import Tensor


def unipc_steps(steps: int) -> int:
    """How many steps UniPC takes when `steps` are asked for."""
    return len(range(0, TRAINING_TIMESTEPS, TRAINING_TIMESTEPS // steps))


def unipc_grid(
    steps: int, taken: int | None, table: SigmaTable, options: SamplingOptions, scheduled: Sequence[float]
) -> Grid:
    """Noise levels between entries of the table, read as UniPC's authors do: as many steps as DDIM has timesteps,
    spaced evenly in time ("time_uniform"), in its root ("time_quadratic") or in log sigma ("logSNR").

    In img2img it is AUTOMATIC1111's: noise is put on at DDIM's timestep number `taken`, and `taken` - 1 steps begin at
    the one before. Where that leaves one step or none, one begins at the second timestep.
    """
    del scheduled
    if taken is None:
        sigmas = _spaced(unipc_steps(steps), table.t_max, table, options)
        return Grid(sigmas=sigmas, noised_at=sigmas[0])
    timesteps = ddim_timesteps(steps)
    count = max(1, taken - 1)
    first = timesteps[max(1, count - 1)]
    return Grid(sigmas=_spaced(count, first, table, options), noised_at=table.t_to_sigma(timesteps[count]))


def _spaced(steps: int, first: float, table: SigmaTable, options: SamplingOptions) -> list[float]:
    """`steps` + 1 levels from a timestep on; UniPC's time is (timestep + 1) / 1000."""
    if options.unipc_skip_type == "logSNR":
        start, end = (math.log(table.t_to_sigma_in_log_alpha(t)) for t in (first, table.t_min))
        return np.exp(np.linspace(start, end, steps + 1)).tolist()
    power = 2 if options.unipc_skip_type == "time_quadratic" else 1
    times = np.linspace((first + 1) ** (1 / power), (table.t_min + 1) ** (1 / power), steps + 1) ** power
    return [table.t_to_sigma_in_log_alpha(time - 1) for time in times]


def sample_unipc(
    denoise: Denoise,
    x: "Tensor",
    sigmas: Sequence[float],
    *,
    noise: Noise,
    on_step: OnStep,
    variant: str = "bh1",
    order: int = 3,
    lower_order_final: bool = True,
) -> "Tensor":
    """UniP with UniC, both of `order`, for data prediction, with B(h) = h ("bh1"), B(h) = exp(h) - 1 ("bh2"), or the
    authors' varying coefficients ("vary_coeff").

    Each step extrapolates x from up to `order` predictions, denoises there, and corrects x with what came out. The
    order rises from 1 at the start, where there is no history, and falls to 1 at the end unless `lower_order_final` is
    off; the last step corrects nothing. Fewer steps than `order`, which AUTOMATIC1111 refuses, are of lower order. The
    result is of unit variance.
    """
    del noise
    steps = len(sigmas) - 1
    weights = _vary_weights if variant == "vary_coeff" else _b_of_h_weights
    predictions: list[Tensor] = [denoise(x, sigmas[0])]  # newest first, as many as the order
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        on_step(i, predictions[0])
        now = min(order, i + 1)
        if lower_order_final and (i >= order - 1 or steps < order):
            now = min(now, steps - i)
        h = _log_ratio(sigma, sigma_next)
        ages = [_log_ratio(sigma, sigmas[i - k]) / h for k in range(1, now)]  # r_k: -1 is one step of this size ago
        slopes = [(p - predictions[0]) / r for p, r in zip(predictions[1:now], ages, strict=True)]
        first_order = descend(x, predictions[0], sigma, sigma_next)
        x = _advance(first_order, slopes, weights(ages, h, variant, correcting=False))
        if i < steps - 1:
            newest = denoise(x, sigma_next)
            slopes.append(newest - predictions[0])
            x = _advance(first_order, slopes, weights([*ages, 1.0], h, variant, correcting=True))
            predictions = [newest, *predictions][:order]
    return to_unit_variance(x, sigmas[-1])


def _advance(x: "Tensor", slopes: "Sequence[Tensor]", weights: Sequence[float]) -> "Tensor":
    """Add what the slopes, differences of predictions per age, say beyond first order."""
    for slope, weight in zip(slopes, weights, strict=True):
        x = x + slope * weight
    return x


def _b_of_h_weights(ages: Sequence[float], h: float, variant: str, *, correcting: bool) -> list[float]:
    """The weights of the slopes that meet the order conditions, R(h) rho = phi(h) / B(h), of Zhao et al. 2023.

    A single weight is 1/2 whatever h is, as in their code: the order stays the same.
    """
    del correcting
    scale = h if variant == "bh1" else -math.expm1(-h)  # of B(h), which is -scale
    if len(ages) < 2:
        return [0.5 * scale] * len(ages)
    powers = np.vander(ages, increasing=True).T
    right = [phi * math.factorial(k + 1) for k, phi in enumerate(_phis(h, len(ages)))]
    return (-np.linalg.solve(powers, right)).tolist()


def _vary_weights(ages: Sequence[float], h: float, variant: str, *, correcting: bool) -> list[float]:
    """The same with coefficients that vary with h, by the inverse of a matrix of r_j^k / (k + 1)!.

    Of the newest slope, that of the prediction which corrects, the published code counts the last but one row alone,
    and the last one of no other: so do these.
    """
    del variant
    count = len(ages)
    if not count:
        return []
    rows = [math.factorial(k + 1) for k in range(count)]
    inverse = np.linalg.inv(np.vander(ages, increasing=True) / np.array(rows))
    phis = np.array(_phis(h, count))
    if not correcting:
        return (-(phis @ inverse)).tolist()
    weights = -(phis[: count - 1] @ inverse[: count - 1])
    weights[-1] = -phis[count - 1] * inverse[max(count - 2, 0), -1]
    return weights.tolist()


def _phis(h: float, count: int) -> list[float]:
    """-h phi_2(-h), h^2 phi_3(-h), ..., by recurrence from exp(-h) - 1."""
    phis, phi = [], math.expm1(-h)
    for k in range(1, count + 1):
        phi = phi / -h - 1 / math.factorial(k)
        phis.append(phi)
    return phis


def _log_ratio(sigma: float, sigma_next: float) -> float:
    """What half the log signal-to-noise ratio gains between two noise levels; infinite on the way to none."""
    return math.log(sigma / sigma_next) if sigma_next > 0 else math.inf
