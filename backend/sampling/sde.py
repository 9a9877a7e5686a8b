"""Samplers that solve the reverse SDE of Lu et al. 2022b ("DPM-Solver++", arXiv 2211.01095), on a Brownian path.

See `backend.sampling.solvers` for their signature. `eta` is the rate at which noise is renewed, 0 that of the ODE.
"""

import math
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from backend.sampling.solvers import (
    Denoise,
    Noise,
    OnStep,
    ancestral_split,
    descend,
    renoise,
    sde_split,
    to_middle,
)

if TYPE_CHECKING:
    from torch import Tensor


def sample_dpmpp_sde(
    denoise: Denoise,
    x: "Tensor",
    sigmas: Sequence[float],
    *,
    noise: Noise,
    on_step: OnStep,
    eta: float = 1.0,
    s_noise: float = 1.0,
) -> "Tensor":
    """DPM-Solver++ 2S of Lu et al. 2022b (Algorithm 1) as an SDE solver, k-diffusion's with r = 1/2.

    A half step in log sigma finds the prediction of the middle, which the whole step then uses; the noise of the half
    step is part of that of the whole one, so `noise` has to be a Brownian path. The step to zero is an Euler step.
    """
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        target = denoised = denoise(x, sigma)
        on_step(i, denoised)
        if sigma_next > 0:
            middle = math.sqrt(sigma * sigma_next)
            split = ancestral_split(sigma, middle, eta)
            x_middle = descend(x, denoised, sigma, split.down)
            x_middle = renoise(x_middle, middle, split, partial(noise, sigma, middle), s_noise)
            target = denoise(x_middle, middle)
        split = ancestral_split(sigma, sigma_next, eta)
        x = descend(x, target, sigma, split.down)
        x = renoise(x, sigma_next, split, partial(noise, sigma, sigma_next), s_noise)
    return x


def sample_dpmpp_2m_sde(
    denoise: Denoise,
    x: "Tensor",
    sigmas: Sequence[float],
    *,
    noise: Noise,
    on_step: OnStep,
    eta: float = 1.0,
    s_noise: float = 1.0,
    solver_type: Literal["midpoint", "heun"] = "midpoint",
) -> "Tensor":
    """SDE-DPM-Solver++(2M) of Lu et al. 2022b in both forms of k-diffusion.

    They differ in the weight of the last two predictions' difference: "midpoint" takes that of the middle of the step,
    "heun" integrates it exactly.
    """
    previous = None
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        target = denoised = denoise(x, sigma)
        on_step(i, denoised)
        if previous is not None and sigma_next > 0:
            if solver_type == "midpoint":
                target = to_middle(denoised, previous, sigmas, i)
            else:
                h_last, h = math.log(sigmas[i - 1] / sigma), math.log(sigma / sigma_next)
                weight = -1 / math.expm1(-h * (1 + eta)) - 1 / (h * (1 + eta))
                target = denoised + (denoised - previous) * (weight * h / h_last)
        split = sde_split(sigma, sigma_next, eta)
        x = descend(x, target, sigma, split.down)
        x = renoise(x, sigma_next, split, partial(noise, sigma, sigma_next), s_noise)
        previous = denoised
    return x


def sample_dpmpp_3m_sde(
    denoise: Denoise,
    x: "Tensor",
    sigmas: Sequence[float],
    *,
    noise: Noise,
    on_step: OnStep,
    eta: float = 1.0,
    s_noise: float = 1.0,
) -> "Tensor":
    """The same with three predictions, k-diffusion's DPM-Solver++(3M) SDE: the first and second derivative of the
    prediction in log sigma, integrated exactly. One step and two have one and two predictions to go by."""
    history: list[tuple[Tensor, float]] = []  # predictions and the step each was followed by, newest first
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        target = denoised = denoise(x, sigma)
        on_step(i, denoised)
        split = sde_split(sigma, sigma_next, eta)
        x = descend(x, target, sigma, split.down)
        if sigma_next > 0:
            h = math.log(sigma / sigma_next)
            x = x + _beyond_first_order(denoised, history, h, eta) if history else x
            history = [(denoised, h), *history][:2]
        x = renoise(x, sigma_next, split, partial(noise, sigma, sigma_next), s_noise)
    return x


def _beyond_first_order(denoised: "Tensor", history: "list[tuple[Tensor, float]]", h: float, eta: float) -> "Tensor":
    """What the derivatives of the prediction add to a step of `h`, in the terms of phi_2 and phi_3 of Lu et al. 2022b.

    The derivatives are per `h`, as differences of neighbours, of which the second corrects the first.
    """
    h_eta = h * (1 + eta)
    phi_2 = math.expm1(-h_eta) / h_eta + 1
    (previous, h_1), *older = history
    first = (denoised - previous) / (h_1 / h)
    if not older:
        return first * phi_2
    before, h_2 = older[0]
    change = first - (previous - before) / (h_2 / h)
    phi_3 = phi_2 / h_eta - 0.5
    return (first + change * (h_1 / (h_1 + h_2))) * phi_2 - change * (h / (h_1 + h_2) * phi_3)
