"""The sampling algorithms: from noise to a picture in falling noise levels.

All share one signature. `denoise(x, sigma)` predicts the clean latents; `x` are the noisy ones, (pictures, channels,
height, width), of variance about 1 + sigma^2; `sigmas` are the noise levels to visit, one more than there are steps;
`noise(sigma, sigma_next)` is standard normal, shaped like `x`; `on_step(index, denoised)` is called once per step with
its first prediction, before `x` moves, and may raise to end the run. The caller decides about gradients and devices.

Two moves make up all of them, both towards a `target`, which is the prediction or a better estimate of it made from
several. With rho = sigma_next / sigma, half the log signal-to-noise ratio grows by h = -log(rho), and for a prediction
that is constant over the step

- `_descend` solves the probability flow ODE: what is left of the noise is multiplied by rho;
- `_descend_and_renoise` solves the reverse SDE: the noise is multiplied by rho^2, and fresh noise fills it up to
  sigma_next.
"""

# ruff: noqa: ARG001  one signature for all, and those that solve an ODE need no noise

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from torch import Tensor

Denoise: TypeAlias = "Callable[[Tensor, float], Tensor]"
Noise: TypeAlias = "Callable[[float, float], Tensor]"
OnStep: TypeAlias = "Callable[[int, Tensor], None]"


def sample_euler(denoise: Denoise, x: "Tensor", sigmas: Sequence[float], *, noise: Noise, on_step: OnStep) -> "Tensor":
    """Algorithm 2 (Euler steps) of Karras et al. 2022, without churn."""
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        denoised = denoise(x, sigma)
        on_step(i, denoised)
        x = _descend(x, denoised, sigma, sigma_next)
    return x


def sample_euler_ancestral(
    denoise: Denoise, x: "Tensor", sigmas: Sequence[float], *, noise: Noise, on_step: OnStep
) -> "Tensor":
    """Ancestral sampling: each step draws from the posterior of Ho et al. 2020 (DDPM), equations 6 and 7."""
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        denoised = denoise(x, sigma)
        on_step(i, denoised)
        x = _descend_and_renoise(x, denoised, sigma, sigma_next, noise)
    return x


def sample_heun(denoise: Denoise, x: "Tensor", sigmas: Sequence[float], *, noise: Noise, on_step: OnStep) -> "Tensor":
    """Algorithm 2 (Heun steps) of Karras et al. 2022, without churn; the step to zero is an Euler step."""
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        denoised = denoise(x, sigma)
        on_step(i, denoised)
        x_euler = _descend(x, denoised, sigma, sigma_next)
        if sigma_next == 0:
            return x_euler
        slope = (x - denoised) / sigma
        slope_next = (x_euler - denoise(x_euler, sigma_next)) / sigma_next
        x = x + (slope + slope_next) * ((sigma_next - sigma) / 2)
    return x


def sample_dpmpp_2m(
    denoise: Denoise, x: "Tensor", sigmas: Sequence[float], *, noise: Noise, on_step: OnStep
) -> "Tensor":
    """Algorithm 2, DPM-Solver++(2M), of Lu et al. 2022b ("DPM-Solver++", arXiv 2211.01095).

    The first step has no previous prediction to extrapolate from, and the one to zero wants the last one as it is.
    """
    previous = None
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        target = denoised = denoise(x, sigma)
        on_step(i, denoised)
        if previous is not None and sigma_next > 0:
            target = _to_midpoint(denoised, previous, sigmas[i - 1], sigma, sigma_next)
        x = _descend(x, target, sigma, sigma_next)
        previous = denoised
    return x


def sample_dpmpp_2m_sde(
    denoise: Denoise, x: "Tensor", sigmas: Sequence[float], *, noise: Noise, on_step: OnStep
) -> "Tensor":
    """SDE-DPM-Solver++(2M) of Lu et al. 2022b, which is k-diffusion's with the "midpoint" solver and eta = 1."""
    previous = None
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        target = denoised = denoise(x, sigma)
        on_step(i, denoised)
        if previous is not None and sigma_next > 0:
            target = _to_midpoint(denoised, previous, sigmas[i - 1], sigma, sigma_next)
        x = _descend_and_renoise(x, target, sigma, sigma_next, noise)
        previous = denoised
    return x


def sample_dpmpp_sde(
    denoise: Denoise, x: "Tensor", sigmas: Sequence[float], *, noise: Noise, on_step: OnStep
) -> "Tensor":
    """DPM-Solver++ 2S of Lu et al. 2022b (Algorithm 1) as an SDE solver, k-diffusion's with r = 1/2 and eta = 1.

    A half step in log sigma finds the prediction of the middle, which the whole step then uses; the noise of the half
    step is part of that of the whole one, so `noise` has to be a Brownian path. The step to zero is an Euler step.
    """
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        target = denoised = denoise(x, sigma)
        on_step(i, denoised)
        if sigma_next > 0:
            sigma_middle = math.sqrt(sigma * sigma_next)
            x_middle = _descend_and_renoise(x, denoised, sigma, sigma_middle, noise)
            target = denoise(x_middle, sigma_middle)
        x = _descend_and_renoise(x, target, sigma, sigma_next, noise)
    return x


def sample_lcm(denoise: Denoise, x: "Tensor", sigmas: Sequence[float], *, noise: Noise, on_step: OnStep) -> "Tensor":
    """Algorithm 1 (multistep consistency sampling) of Song et al. 2023, "Consistency Models", down to sigma 0."""
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        x = denoise(x, sigma)
        on_step(i, x)
        if sigma_next > 0:
            x = x + noise(sigma, sigma_next) * sigma_next
    return x


def _descend(x: "Tensor", target: "Tensor", sigma: float, sigma_next: float) -> "Tensor":
    """Keep rho of the distance to the target: exactly the target if sigma_next is 0."""
    return target + (x - target) * (sigma_next / sigma)


def _descend_and_renoise(x: "Tensor", target: "Tensor", sigma: float, sigma_next: float, noise: Noise) -> "Tensor":
    """Keep rho^2 of the distance and add sigma_next sqrt(1 - rho^2) of noise: together sigma_next again."""
    if sigma_next == 0:
        return target
    ratio = sigma_next / sigma
    fresh = noise(sigma, sigma_next) * (sigma_next * math.sqrt((1 - ratio) * (1 + ratio)))
    return target + (x - target) * ratio**2 + fresh


def _to_midpoint(
    denoised: "Tensor", previous: "Tensor", sigma_before: float, sigma: float, sigma_next: float
) -> "Tensor":
    """The prediction extrapolated in log sigma from the last two to the middle of the coming step."""
    h_last, h = math.log(sigma_before / sigma), math.log(sigma / sigma_next)
    return denoised + (denoised - previous) * (h / h_last / 2)
