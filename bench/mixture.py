"""A denoising problem with an exact answer, for comparing samplers with each other.

Every number of the latents is independently drawn from a mixture of four Gaussians, shifted from number to number, so
that the ideal denoiser is smooth, far from linear, and known in closed form. Nothing here depends on a generator whose
stream could change: `numpy.random.RandomState` is frozen.
"""

import math
from functools import lru_cache

import numpy as np
import torch
from scipy.special import ndtr
from torch import Tensor

SHAPE = (2, 4, 8, 8)
MEANS = -2.9, -0.9, 0.6, 2.4
SPREADS = 0.3, 0.5, 0.2, 0.6
WEIGHTS = 0.2, 0.3, 0.3, 0.2
HALVINGS = 60
FARTHEST = 200.0  # no noisy latent of the largest level is farther from 0


def alphas_cumprod() -> np.ndarray:
    """The table of Stable Diffusion 1 and 2: "scaled linear" betas from 0.00085 to 0.012, (1000,), float64."""
    return np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2)


def denoise(x: Tensor, sigma: float) -> Tensor:
    """The mean of the clean latents given the noisy ones, the minimum of equation 2 of Karras et al. 2022."""
    centres, spreads, weights = _parts(x.shape[1:], x.dtype)
    variances = spreads**2 + sigma**2
    distances = x - centres
    posteriors = (weights.log() - variances.log() / 2 - distances**2 / (2 * variances)).softmax(0)
    return (posteriors * (centres + distances * (spreads**2 / variances))).sum(0)


@lru_cache
def _parts(shape: torch.Size, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Centres, spreads and weights of the Gaussians, each (parts, 1, ...) for latents of that shape."""
    shift = torch.sin(torch.arange(shape.numel(), dtype=dtype)).reshape(shape) * 0.4
    means, spreads, weights = (
        torch.tensor(values, dtype=dtype).reshape(-1, 1, *[1] * len(shape)) for values in (MEANS, SPREADS, WEIGHTS)
    )
    return means + shift, spreads, weights


def quantiles(x: np.ndarray, sigma: float) -> np.ndarray:
    """What share of the noisy latents of a level lie below each number of `x`, (pictures, ...)."""
    shift = np.sin(np.arange(x[0].size)).reshape(x[0].shape) * 0.4
    shares = [
        weight * ndtr((x - mean - shift) / math.hypot(spread, sigma))
        for mean, spread, weight in zip(MEANS, SPREADS, WEIGHTS, strict=True)
    ]
    return np.sum(shares, axis=0)


def carried(x: np.ndarray, sigma: float, sigma_next: float) -> np.ndarray:
    """Where the probability flow takes latents from one noise level to another: what no sampler gives and all approach.

    Every number is a problem of its own in one dimension, where the flow cannot change the order of two paths: each
    keeps its quantile while the noise falls.
    """
    wanted = quantiles(x, sigma)
    low, high = np.full(x.shape, -FARTHEST), np.full(x.shape, FARTHEST)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        below = quantiles(middle, sigma_next) < wanted
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return (low + high) / 2


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


class PlainNoise:
    """The same noise for every implementation where it does not say for which levels."""

    def __init__(self, dtype: torch.dtype) -> None:
        self._drawn = 0
        self._dtype = dtype

    def __call__(self, *_: object) -> Tensor:
        self._drawn += 1
        return torch.from_numpy(normal(self._drawn)).to(self._dtype)
