"""Restart of Xu et al. 2023 ("Restart Sampling for Improving Generative Processes", arXiv 2306.14878).

See `backend.sampling.solvers` for the signature.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from backend.sampling.solvers import Denoise, Noise, OnStep, heun_step

if TYPE_CHECKING:
    from torch import Tensor

RHO = 7.0
FROM, TO = 0.1, 2.0  # the noise levels between which a restart goes back
FEWEST, MANY = 20, 36  # steps from which on there is one restart, and two


def sample_restart(
    denoise: Denoise, x: "Tensor", sigmas: Sequence[float], *, noise: Noise, on_step: OnStep
) -> "Tensor":
    """Heun steps that, near the end, add noise again and go once or twice more through the same levels."""
    reached = sigmas[0]
    for i, (sigma, sigma_next) in enumerate(restarted(sigmas)):
        if sigma > reached:
            x = x + noise(reached, sigma) * math.sqrt(sigma**2 - reached**2)
        x = heun_step(denoise, x, sigma, sigma_next, index=i, on_step=on_step)
        reached = sigma_next
    return x


def restarted(sigmas: Sequence[float]) -> list[tuple[float, float]]:
    """The steps, from level to level, of AUTOMATIC1111's choice of restarts; as many as `sigmas` has.

    Below 20 steps there is none. From 20 on 9 of them, from 36 on twice a quarter of them, are spent on restarts, and
    the others are a Karras schedule between the ends of `sigmas`, whatever that is. A restart is one too.
    """
    steps = len(sigmas) - 1
    if steps < FEWEST:
        return list(pairwise(sigmas))
    times, length = (2, steps // 4) if steps >= MANY else (1, 9)
    main = [*_karras(steps - length * times, sigmas[0], sigmas[-2]), 0.0]
    low, high = (min(range(len(main)), key=lambda k: abs(main[k] - level)) for level in (FROM, TO))
    pairs = list(pairwise(main))
    if high < low:
        pairs[low:low] = list(pairwise(_karras(length + 1, main[high], main[low]))) * times
    return pairs


def _karras(count: int, high: float, low: float) -> list[float]:
    """Equation 5 of Karras et al. 2022."""
    return (np.linspace(high ** (1 / RHO), low ** (1 / RHO), count) ** RHO).tolist()
