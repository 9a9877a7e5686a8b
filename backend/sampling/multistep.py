"""Samplers that reuse the predictions of earlier steps and so ask for one prediction a step.

See `backend.sampling.solvers` for their signature. DPM++ 2M extrapolates predictions; the others are Adams-Bashforth
methods for the slope dx/dsigma: a polynomial through the last slopes is integrated over the step. They differ in the
variable that the polynomial is in.
"""

# ruff: noqa: ARG001  the signature of all solvers; these solve an ODE and need no noise

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from backend.sampling.solvers import Denoise, Noise, OnStep, descend, slope, to_middle

if TYPE_CHECKING:
    from torch import Tensor

# Of the newest slope first: Adams-Bashforth's weights for equal steps, by how many slopes there are.
EVEN_WEIGHTS: tuple[tuple[float, ...], ...] = (
    (1.0,),
    (3 / 2, -1 / 2),
    (23 / 12, -16 / 12, 5 / 12),
    (55 / 24, -59 / 24, 37 / 24, -9 / 24),
)
LMS_ORDER = 4
DEIS_ORDER = 3
NODES, NODE_WEIGHTS = np.polynomial.legendre.leggauss(32)  # exact for polynomials up to degree 63
# The variance-preserving process that DEIS's authors measure time in: its levels at two times.
DEIS_START, DEIS_FIRST_SIGMA, DEIS_LAST_SIGMA = 1e-3, 0.002, 80.0


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
            target = to_middle(denoised, previous, sigmas, i)
        x = descend(x, target, sigma, sigma_next)
        previous = denoised
    return x


def sample_lms(denoise: Denoise, x: "Tensor", sigmas: Sequence[float], *, noise: Noise, on_step: OnStep) -> "Tensor":
    """Adams-Bashforth of order 4 with a polynomial in sigma: the linear multistep method of Karras et al. 2022,
    appendix B, in k-diffusion's form."""
    return _adams_bashforth(denoise, x, sigmas, on_step, partial(_integrals, sigmas, LMS_ORDER))


def sample_ipndm(denoise: Denoise, x: "Tensor", sigmas: Sequence[float], *, noise: Noise, on_step: OnStep) -> "Tensor":
    """iPNDM of Zhang & Chen 2023 (DEIS, arXiv 2204.13902), after Liu et al. 2022: order 4, and the weights of equal
    steps for steps of any size."""

    def weights(step: int) -> list[float]:
        return [w * (sigmas[step + 1] - sigmas[step]) for w in EVEN_WEIGHTS[min(step, len(EVEN_WEIGHTS) - 1)]]

    return _adams_bashforth(denoise, x, sigmas, on_step, weights)


def sample_ipndm_v(
    denoise: Denoise, x: "Tensor", sigmas: Sequence[float], *, noise: Noise, on_step: OnStep
) -> "Tensor":
    """iPNDM with weights for steps of different sizes, as its authors' code has them (see `_uneven_weights`)."""
    return _adams_bashforth(denoise, x, sigmas, on_step, partial(_uneven_weights, sigmas))


def sample_deis(denoise: Denoise, x: "Tensor", sigmas: Sequence[float], *, noise: Noise, on_step: OnStep) -> "Tensor":
    """tAB-DEIS of order 3 (Zhang & Chen 2023, equation 15): the polynomial is in the time of a variance-preserving
    process. The step to zero is an Euler step."""

    def weights(step: int) -> list[float]:
        if sigmas[step + 1] == 0:
            return [sigmas[step + 1] - sigmas[step]]
        return _deis_integrals(sigmas, step)

    return _adams_bashforth(denoise, x, sigmas, on_step, weights)


def _adams_bashforth(
    denoise: Denoise,
    x: "Tensor",
    sigmas: Sequence[float],
    on_step: OnStep,
    weights: Callable[[int], Sequence[float]],
) -> "Tensor":
    """Add, in each step, as many of the last slopes as `weights(step)` are, the newest first.

    A single weight is an Euler step, which on the way to zero gives the prediction exactly.
    """
    slopes: list[Tensor] = []
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        denoised = denoise(x, sigma)
        on_step(i, denoised)
        slopes = [slope(x, denoised, sigma), *slopes][: len(EVEN_WEIGHTS)]
        now = weights(i)
        if len(now) == 1:
            x = descend(x, denoised, sigma, sigma_next)
            continue
        for each, weight in zip(slopes, now, strict=False):
            x = x + each * weight
    return x


def _integrals(sigmas: Sequence[float], order: int, step: int) -> list[float]:
    """The integrals over the step of the polynomials in sigma that are 1 at one of the last levels, 0 at the others."""
    places = np.array(sigmas[step - min(step, order - 1) : step + 1][::-1])
    half, middle = (sigmas[step + 1] - sigmas[step]) / 2, (sigmas[step + 1] + sigmas[step]) / 2
    return (_lagrange(places, middle + half * NODES) @ NODE_WEIGHTS * half).tolist()


def _deis_integrals(sigmas: Sequence[float], step: int) -> list[float]:
    """The integrals over sigma of the polynomials in time that are 1 at one of the last levels and 0 at the others.

    Gauss-Legendre nodes in log sigma; the integrand is smooth there, and 32 of them leave no error to be seen.
    """
    places = _vp_time(np.array(sigmas[step - min(step, DEIS_ORDER - 1) : step + 1][::-1]))
    start, end = math.log(sigmas[step]), math.log(sigmas[step + 1])
    nodes = np.exp((start + end) / 2 + (end - start) / 2 * NODES)
    return (_lagrange(places, _vp_time(nodes)) @ (NODE_WEIGHTS * nodes) * ((end - start) / 2)).tolist()


def _lagrange(places: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Each place's polynomial, 1 there and 0 at the others, (places, at)."""
    others = ~np.eye(len(places), dtype=bool)
    return np.array(
        [
            np.prod([(at - q) / (p - q) for q in places[o]], axis=0) * np.ones_like(at)
            for p, o in zip(places, others, strict=True)
        ]
    )


def _vp_time(sigma: np.ndarray) -> np.ndarray:
    """When the variance-preserving process of Song et al. 2021 (appendix B of Karras et al. 2022) has a noise level.

    log(1 + sigma^2) = beta_d t^2 / 2 + beta_min t, with the two betas that give the two levels of the constants.
    """
    first, last = math.log1p(DEIS_FIRST_SIGMA**2), math.log1p(DEIS_LAST_SIGMA**2)
    beta_d = 2 * (first / DEIS_START - last) / (DEIS_START - 1)
    beta_min = last - beta_d / 2
    return (np.sqrt(beta_min**2 + 2 * beta_d * np.log1p(sigma**2)) - beta_min) / beta_d


def _uneven_weights(sigmas: Sequence[float], step: int) -> list[float]:
    """The weights of the slopes in a step of iPNDM_v, in Newton's divided differences.

    `h` are the coming step and the three before it. For up to two slopes the weights are Adams-Bashforth's. For more,
    the factors of the second and third difference are those of the published code, which a derivation does not give:
    the second is exact for even steps alone, and a term of the third is added that would be subtracted. With exact ones
    this would be LMS; the pictures that are to be made again are from these.
    """
    h = [sigmas[step + 1 - k] - sigmas[step - k] for k in range(min(step, 3) + 1)]
    weights = [1.0]
    if step >= 1:
        half = h[0] / h[1] / 2
        weights = [1 + half, -half]
    if step >= 2:
        second = (1 - h[0] / (3 * (h[0] + h[1])) * (h[0] * (h[0] + h[1])) / (h[1] * (h[1] + h[2]))) / 2
        older = h[1] / h[2]
        weights = _sum([*weights, 0.0], [second, -(1 + older) * second, older * second])
    if step >= 3:
        reach = h[0] + h[1] + h[2]
        third = (1 - h[0] / (3 * (h[0] + h[1]))) / 2 + (1 - h[0] / (2 * (h[0] + h[1]))) * h[0] / (6 * reach)
        third *= h[0] * (h[0] + h[1]) * reach / (h[1] * (h[1] + h[2]) * (h[1] + h[2] + h[3]))
        older, oldest = h[1] / h[2], h[1] * (h[1] + h[2]) / (h[2] * (h[2] + h[3]))
        inner = oldest * (1 + h[2] / h[3])
        weights = _sum(
            [*weights, 0.0], [third, -(1 + older + oldest) * third, (older + inner) * third, -oldest * older * third]
        )
    return [w * h[0] for w in weights]


def _sum(first: Sequence[float], second: Sequence[float]) -> list[float]:
    return [a + b for a, b in zip(first, second, strict=True)]
