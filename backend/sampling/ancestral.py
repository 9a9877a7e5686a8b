"""Samplers that take more noise away than a step needs and put fresh noise back: the ancestral ones, DDPM and LCM.

See `backend.sampling.solvers` for their signature. With `eta` 0 they solve the ODE, and `s_noise` scales what they add.
"""

import math
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

from backend.sampling.solvers import Denoise, Noise, OnStep, ancestral_split, descend, midpoint_step, renoise

if TYPE_CHECKING:
    from torch import Tensor


def sample_euler_ancestral(
    denoise: Denoise, x: "Tensor", sigmas: Sequence[float], *, noise: Noise, on_step: OnStep, eta: float = 1.0
) -> "Tensor":
    """Ancestral sampling: each step draws from the posterior of Ho et al. 2020 (DDPM), equations 6 and 7."""
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        denoised = denoise(x, sigma)
        on_step(i, denoised)
        split = ancestral_split(sigma, sigma_next, eta)
        x = descend(x, denoised, sigma, split.down)
        x = renoise(x, sigma_next, split, partial(noise, sigma, sigma_next), 1.0)
    return x


def sample_dpm_2_ancestral(
    denoise: Denoise,
    x: "Tensor",
    sigmas: Sequence[float],
    *,
    noise: Noise,
    on_step: OnStep,
    eta: float = 1.0,
    s_noise: float = 1.0,
) -> "Tensor":
    """Ancestral sampling with the steps of DPM-Solver-2 (Lu et al. 2022a, algorithm 1)."""
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        denoised = denoise(x, sigma)
        on_step(i, denoised)
        split = ancestral_split(sigma, sigma_next, eta)
        x = midpoint_step(denoise, x, denoised, sigma, split.down)
        x = renoise(x, sigma_next, split, partial(noise, sigma, sigma_next), s_noise)
    return x


def sample_dpmpp_2s_ancestral(
    denoise: Denoise,
    x: "Tensor",
    sigmas: Sequence[float],
    *,
    noise: Noise,
    on_step: OnStep,
    eta: float = 1.0,
    s_noise: float = 1.0,
) -> "Tensor":
    """Ancestral sampling with the steps of algorithm 1, DPM-Solver++(2S), of Lu et al. 2022b: the prediction of the
    middle, in log sigma, is that of the whole step. The step to zero is an Euler step."""
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        target = denoised = denoise(x, sigma)
        on_step(i, denoised)
        split = ancestral_split(sigma, sigma_next, eta)
        if split.down > 0:
            middle = math.sqrt(sigma * split.down)
            target = denoise(descend(x, denoised, sigma, middle), middle)
        x = descend(x, target, sigma, split.down)
        x = renoise(x, sigma_next, split, partial(noise, sigma, sigma_next), s_noise)
    return x


def sample_ddpm(denoise: Denoise, x: "Tensor", sigmas: Sequence[float], *, noise: Noise, on_step: OnStep) -> "Tensor":
    """Algorithm 2 of Ho et al. 2020, whose step, written in x and sigma, is the ancestral one at eta 1."""
    return sample_euler_ancestral(denoise, x, sigmas, noise=noise, on_step=on_step)


def sample_lcm(denoise: Denoise, x: "Tensor", sigmas: Sequence[float], *, noise: Noise, on_step: OnStep) -> "Tensor":
    """Algorithm 1 (multistep consistency sampling) of Song et al. 2023, "Consistency Models"."""
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        x = denoise(x, sigma)
        on_step(i, x)
        if sigma_next > 0:
            x = x + noise(sigma, sigma_next) * sigma_next
    return x
