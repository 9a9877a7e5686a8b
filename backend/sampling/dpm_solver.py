"""DPM-Solver of Lu et al. 2022a (arXiv 2206.00927) with steps of its own choice: DPM fast and DPM adaptive.

Both go from the first to the last of `sigmas` (or the last but one, if that is 0, which has no logarithm) and space
their steps evenly in its logarithm, or as an error estimate wants; k-diffusion's form, with the ancestral noise that
AUTOMATIC1111 gives them unless `eta` is 0. They take the levels between only as a measure of how far they are, so that
what `on_step` is told agrees with `len(sigmas) - 1` steps.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from backend.sampling.solvers import Denoise, Noise, OnStep, Split, ancestral_split, renoise, slope

if TYPE_CHECKING:
    from torch import Tensor

THIRD, TWO_THIRDS = 1 / 3, 2 / 3
FIRST_STEP = 0.05  # in log sigma
SMALLEST_REST = 1e-5  # in log sigma: nearer than this is there
RELATIVE, ABSOLUTE = 0.05, 0.0078  # what error is as good as none: of the latents, and half of a byte's step
SAFETY = 0.81  # a step is taken again if the next one would be shorter than this
ORDER, NOISY_ORDER = 3, 1.5  # how the error falls with the step; less steeply where there is noise
NEVER_ZERO = 1e-8


class _Step:
    """One step of a single-step solver from `x` at `sigma`, where the prediction is `denoised`.

    What is beyond first order comes apart from it, and from differences of predictions: written with slopes, which at
    the start are small differences of large latents, float32 would choose other steps than float64.
    """

    def __init__(self, denoise: Denoise, x: "Tensor", denoised: "Tensor", sigma: float):
        self._denoise = denoise
        self._denoised = denoised
        self._sigma = sigma
        self._first = slope(x, denoised, sigma)
        self._changes: dict[float, Tensor] = {}

    def order_1(self, end: float) -> "Tensor":
        return self._denoised + self._first * end

    def beyond_2(self, end: float, share: float) -> "Tensor":
        """What order 2 adds, with a second slope at a `share` of the step in log sigma."""
        return self._change(end, share) * ((end - self._sigma) / (2 * share))

    def beyond_3(self, end: float) -> "Tensor":
        """What order 3 adds, with a third slope at two thirds, which is found with that at one third."""
        h = math.log(self._sigma / end)
        between = self._level(end, TWO_THIRDS)
        bend = TWO_THIRDS / THIRD * (math.expm1(TWO_THIRDS * h) / (TWO_THIRDS * h) - 1)
        x = self.order_1(between) - self._change(end, THIRD) * (between * bend)
        change = (self._denoised - self._denoise(x, between)) / between - self._change(end, THIRD) * bend
        return change * (-end / TWO_THIRDS * (math.expm1(h) / h - 1))

    def _level(self, end: float, share: float) -> float:
        return self._sigma * (end / self._sigma) ** share

    def _change(self, end: float, share: float) -> "Tensor":
        """Of the slope, up to a `share` of the step; asked for once."""
        if share not in self._changes:
            level = self._level(end, share)
            self._changes[share] = (self._denoised - self._denoise(self.order_1(level), level)) / level
        return self._changes[share]


def sample_dpm_fast(
    denoise: Denoise,
    x: "Tensor",
    sigmas: Sequence[float],
    *,
    noise: Noise,
    on_step: OnStep,
    eta: float = 1.0,
    s_noise: float = 1.0,
) -> "Tensor":
    """DPM-Solver-fast (appendix D.3): steps of order 3, and one or two of lower order, with one evaluation for each of
    `len(sigmas) - 1`. It is evaluations that are counted as steps."""
    evaluations = len(sigmas) - 1
    orders = fast_orders(evaluations)
    start, end = sigmas[0], sigmas[-1] or sigmas[-2]
    levels = [start * (end / start) ** (i / len(orders)) for i in range(len(orders))] + [end]
    told = 0

    def watched(x: "Tensor", sigma: float) -> "Tensor":
        nonlocal told
        denoised = denoise(x, sigma)
        on_step(told, denoised)
        told += 1
        return denoised

    for order, sigma, sigma_next in zip(orders, levels, levels[1:], strict=False):
        split = _above(end, ancestral_split(sigma, sigma_next, eta), sigma_next)
        step = _Step(watched, x, watched(x, sigma), sigma)
        x = step.order_1(split.down)
        if order > 1:
            x = x + (step.beyond_2(split.down, 0.5) if order == 2 else step.beyond_3(split.down))
        x = renoise(x, sigma_next, split, partial(noise, sigma, sigma_next), s_noise)
    return x


def fast_orders(evaluations: int) -> list[int]:
    """The orders of DPM-Solver-fast's steps, which together are its evaluations."""
    threes, rest = divmod(evaluations, 3)
    return [*[3] * (threes - 1), 2, 1] if rest == 0 else [*[3] * threes, rest]


def sample_dpm_adaptive(
    denoise: Denoise,
    x: "Tensor",
    sigmas: Sequence[float],
    *,
    noise: Noise,
    on_step: OnStep,
    eta: float = 1.0,
) -> "Tensor":
    """DPM-Solver-23 (appendix C): steps of order 3, as long as the difference to order 2 allows.

    The error is that of all of `x` together. `on_step` is told the number of the step of `sigmas` that it is in, so the
    same one more than once, or not each.
    """
    start, end = sigmas[0], sigmas[-1] or sigmas[-2]
    whole = math.log(start / end)
    order = NOISY_ORDER if eta > 0 else ORDER
    sigma, h, low_before = start, FIRST_STEP, x
    while (rest := math.log(sigma / end)) > SMALLEST_REST:
        sigma_next = end if h >= rest else sigma * math.exp(-h)
        split = _above(end, ancestral_split(sigma, sigma_next, eta), sigma_next)
        denoised = denoise(x, sigma)
        on_step(int((1 - rest / whole) * (len(sigmas) - 1)), denoised)
        step = _Step(denoise, x, denoised, sigma)
        first = step.order_1(split.down)
        beyond_low, beyond_high = step.beyond_2(split.down, THIRD), step.beyond_3(split.down)
        low = first + beyond_low
        factor = _growth(_error(beyond_high - beyond_low, low, low_before), order)
        if factor >= SAFETY:
            x = renoise(first + beyond_high, sigma_next, split, partial(noise, sigma, sigma_next), s_noise=1.0)
            low_before, sigma = low, sigma_next
        h *= factor
    return x


def _above(end: float, split: Split, sigma_next: float) -> Split:
    """The split that does not go below the last level."""
    if split.down >= end:
        return split
    return Split(down=end, up=math.sqrt(max(sigma_next**2 - end**2, 0.0)))


def _error(difference: "Tensor", low: "Tensor", low_before: "Tensor") -> float:
    """The difference of both orders in parts of what is tolerable, as a root mean square."""
    tolerable = (low.abs().maximum(low_before.abs()) * RELATIVE).clamp(min=ABSOLUTE)
    return float((difference / tolerable).square().mean().sqrt())


def _growth(error: float, order: float) -> float:
    """By how much the step may grow: what makes the error 1, smoothly kept between 0.2 and 2.6."""
    wanted = (1 / (error + NEVER_ZERO)) ** (1 / order)
    return 1 + math.atan(wanted - 1)
