"""The samplers that AUTOMATIC1111 runs on timesteps of their own, whatever schedule is chosen: DDIM, DDIM CFG++, PLMS.

It keeps latents of unit variance there, x' = sqrt(a) x0 + sqrt(1 - a) noise, while everything else here keeps
x = x0 + sigma noise with sigma^2 = (1 - a) / a. So x' = x / sqrt(1 + sigma^2): all start from plain noise of unit
variance (`Sampler.unit_variance`), and as no such grid ends in zero, the last latents are scaled back.

The grid follows from whole strides of the 1000 training timesteps: 1, 1 + s, 1 + 2s, ... with s = 1000 // steps,
nothing above 999. If 1000 is not a multiple of `steps` there are more of them than steps: 8 for 7 steps (1, 143, ...,
995), 334 for 300. DDIM goes from each to the one before, which is one evaluation less than there are timesteps, and
starts below the largest noise level (at 951 for 20 steps, at 501 for 2). Above 1000 steps there is no grid.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Protocol

from backend.sampling.ancestral import sample_euler_ancestral
from backend.sampling.multistep import EVEN_WEIGHTS
from backend.sampling.schedules import SigmaTable
from backend.sampling.solvers import Denoise, Noise, OnStep, ancestral_split, descend, renoise, slope
from backend.sampling_options import SamplingOptions

if TYPE_CHECKING:
    from torch import Tensor

TRAINING_TIMESTEPS = 1000


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Falling noise levels of a sampler's own, and the one at which noise is put on what it begins with."""

    sigmas: list[float]
    noised_at: float


class Guided(Protocol):
    """A denoiser that keeps what it predicted without the words: of its last call, or None if it did not ask for it."""

    last_uncond: "Tensor | None"

    def __call__(self, x: "Tensor", sigma: float, /) -> "Tensor": ...


def ddim_timesteps(steps: int) -> list[int]:
    """The rising timesteps of DDIM, one more than it takes steps.

    For a single step AUTOMATIC1111 has no more than the 1, and returns the noise it was given.
    """
    if steps == 1:
        return [1, TRAINING_TIMESTEPS - 1]
    return [min(t + 1, TRAINING_TIMESTEPS - 1) for t in range(0, TRAINING_TIMESTEPS, TRAINING_TIMESTEPS // steps)]


def ddim_steps(steps: int) -> int:
    """How many steps DDIM takes when `steps` are asked for."""
    return len(ddim_timesteps(steps)) - 1


def ddim_grid(
    steps: int, taken: int | None, table: SigmaTable, options: SamplingOptions, scheduled: Sequence[float]
) -> Grid:
    """The noise levels of DDIM's timesteps, falling; the last is that of timestep 1, but a single step goes to zero.

    In img2img, where the last `taken` of `steps` are, it is AUTOMATIC1111's: noise is put on at timestep number
    `taken`, and the first prediction is at the one before. Where that leaves no step there is one all the same.
    """
    del options, scheduled
    timesteps = ddim_timesteps(steps)
    first = len(timesteps) - 1 if taken is None else max(1, taken - 1)
    visited = timesteps if taken is None else timesteps[: max(2, first)]
    sigmas = [table.t_to_sigma(t) for t in reversed(visited)]
    if steps == 1:
        sigmas[-1] = 0.0
    return Grid(sigmas=sigmas, noised_at=table.t_to_sigma(timesteps[first]))


def sample_ddim(
    denoise: Denoise, x: "Tensor", sigmas: Sequence[float], *, noise: Noise, on_step: OnStep, eta: float = 0.0
) -> "Tensor":
    """Equation 12 of Song et al. 2021 ("Denoising Diffusion Implicit Models"), with `eta` of its equation 16.

    In x and sigma it is the ancestral step: its equation 13. The result is of unit variance.
    """
    x = sample_euler_ancestral(denoise, x, sigmas, noise=noise, on_step=on_step, eta=eta)
    return to_unit_variance(x, sigmas[-1])


def sample_ddim_cfgpp(
    denoise: Guided, x: "Tensor", sigmas: Sequence[float], *, noise: Noise, on_step: OnStep, eta: float = 0.0
) -> "Tensor":
    """DDIM with CFG++ (Chung et al. 2024, "CFG++", arXiv 2406.08070, algorithm 2): the noise that is kept is the one
    predicted without the words. It takes CFG scales from 0 to 1, so a `Sampler.cfg_divisor` goes with it."""
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        denoised = denoise(x, sigma)
        uncond = denoised if denoise.last_uncond is None else denoise.last_uncond
        on_step(i, denoised)
        split = ancestral_split(sigma, sigma_next, eta)
        x = denoised + slope(x, uncond, sigma) * split.down
        x = renoise(x, sigma_next, split, partial(noise, sigma, sigma_next), 1.0)
    return to_unit_variance(x, sigmas[-1])


def sample_plms(denoise: Denoise, x: "Tensor", sigmas: Sequence[float], *, noise: Noise, on_step: OnStep) -> "Tensor":
    """Pseudo linear multistep (Liu et al. 2022, "PNDM", arXiv 2202.09778) as latent diffusion's authors have it:
    Adams-Bashforth with equal weights up to order 4 for the noise, and an improved Euler step at the start, which asks
    for two predictions. The result is of unit variance."""
    del noise
    slopes: list[Tensor] = []
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        denoised = denoise(x, sigma)
        on_step(i, denoised)
        slopes = [slope(x, denoised, sigma), *slopes][: len(EVEN_WEIGHTS)]
        if i == 0 and sigma_next > 0:
            ahead = descend(x, denoised, sigma, sigma_next)
            mean = (slopes[0] + slope(ahead, denoise(ahead, sigma_next), sigma_next)) / 2
        else:
            weights = EVEN_WEIGHTS[len(slopes) - 1]
            mean = slopes[0] * weights[0]
            for older, weight in zip(slopes[1:], weights[1:], strict=True):
                mean = mean + older * weight
        x = x + mean * (sigma_next - sigma)
    return to_unit_variance(x, sigmas[-1])


def to_unit_variance(x: "Tensor", sigma: float) -> "Tensor":
    """x' of latents at a noise level."""
    return x / math.sqrt(1 + sigma**2)
