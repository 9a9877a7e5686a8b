"""A sampler and a schedule that were published, and that Atelier does not have."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from backend.extension_api import Noise, OnStep

if TYPE_CHECKING:
    from torch import Tensor

GAMMA = 2.0  # the paper's
CENTRE, SCALE = 0.0, 0.5  # of ln sigma: the paper's mu = 0 and b = 1 are of the log signal-to-noise ratio, -2 ln sigma


def sample_gradient_estimation(
    denoise: "Callable[[Tensor, float], Tensor]",
    x: "Tensor",
    sigmas: Sequence[float],
    *,
    noise: Noise,  # noqa: ARG001 - it solves an ODE
    on_step: OnStep,
) -> "Tensor":
    """Algorithm 2 of Permenter & Yuan 2023 (arXiv 2306.04848): Euler steps along gamma e_t + (1 - gamma) e_(t+1), where
    e are the predicted noises of this step and of the one before.

    The step to zero is an Euler step: it ends at the prediction itself.
    """
    before: Tensor | None = None
    for number, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        denoised = denoise(x, sigma)
        on_step(number, denoised)
        if sigma_next == 0:
            return denoised
        predicted = (x - denoised) / sigma
        led = predicted if before is None else GAMMA * predicted + (1 - GAMMA) * before
        x = x + led * (sigma_next - sigma)
        before = predicted
    return x


def laplace(steps: int, lowest: float, highest: float) -> list[float]:
    """Even quantiles of a Laplace distribution of ln sigma that is cut off at both ends (Hang et al. 2024, arXiv
    2407.03297, table 1), from `highest` to `lowest`."""
    low, high = _share_below(math.log(lowest)), _share_below(math.log(highest))
    inner = [math.exp(_quantile(high + (low - high) * step / (steps - 1))) for step in range(1, steps - 1)]
    return [highest, *inner, lowest][:steps]


def _share_below(value: float) -> float:
    """The distribution function of Laplace(`CENTRE`, `SCALE`)."""
    away = (value - CENTRE) / SCALE
    return 0.5 * math.exp(away) if away < 0 else 1 - 0.5 * math.exp(-away)


def _quantile(share: float) -> float:
    """Its inverse."""
    return CENTRE + SCALE * (math.log(2 * share) if share < 0.5 else -math.log(2 * (1 - share)))
