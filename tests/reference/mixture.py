"""A denoising problem with an exact answer, for comparing samplers with each other.

Every number of the latents is independently drawn from a mixture of four Gaussians, shifted from number to number, so
that the ideal denoiser is smooth, far from linear, and known in closed form. Nothing here depends on a generator whose
stream could change: `numpy.random.RandomState` is frozen.
"""

import numpy as np
import torch
from torch import Tensor

SHAPE = (2, 4, 8, 8)
MEANS = -2.9, -0.9, 0.6, 2.4
SPREADS = 0.3, 0.5, 0.2, 0.6
WEIGHTS = 0.2, 0.3, 0.3, 0.2


def alphas_cumprod() -> np.ndarray:
    """The table of Stable Diffusion 1 and 2: "scaled linear" betas from 0.00085 to 0.012, (1000,), float64."""
    return np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2)


def denoise(x: Tensor, sigma: float) -> Tensor:
    """The mean of the clean latents given the noisy ones, the minimum of equation 2 of Karras et al. 2022."""
    shift = torch.sin(torch.arange(x[0].numel(), dtype=x.dtype)).reshape(x[0].shape) * 0.4
    posteriors, means = [], []
    for mean, spread, weight in zip(MEANS, SPREADS, WEIGHTS, strict=True):
        variance = spread**2 + sigma**2
        distance = x - (mean + shift)
        posteriors.append(-(distance**2) / (2 * variance) + np.log(weight) - np.log(variance) / 2)
        means.append(mean + shift + distance * (spread**2 / variance))
    return (torch.stack(posteriors).softmax(0) * torch.stack(means)).sum(0)


def normal(index: int) -> np.ndarray:
    """Frozen standard normal numbers number `index`, `SHAPE`, float64."""
    return np.random.RandomState(index).standard_normal(SHAPE)


class ScriptedNoise:
    """The same noise for every implementation, which shows in its size at which levels it was asked for."""

    def __init__(self, dtype: torch.dtype) -> None:
        self._drawn = 0
        self._dtype = dtype

    def __call__(self, sigma: float, sigma_next: float) -> Tensor:
        self._drawn += 1
        size = 1 + 0.1 * np.sin(float(sigma)) + 0.1 * np.cos(3 * float(sigma_next))
        return torch.from_numpy(normal(self._drawn) * size).to(self._dtype)
