"""The sampling algorithms: from noise to a picture in falling noise levels. These solve an ODE one step at a time.

All share one signature. `denoise(x, sigma)` predicts the clean latents; `x` are the noisy ones, (pictures, channels,
height, width), of variance about 1 + sigma^2; `sigmas` are the noise levels to visit, one more than there are steps;
`noise(sigma, sigma_next)` is standard normal, shaped like `x`; `on_step(index, denoised)` is called once per step with
its first prediction, before `x` moves, and may raise to end the run. The caller decides about gradients and devices.
What a person may choose besides comes as further keyword parameters, whose defaults are AUTOMATIC1111's.

Two moves make up all of them, both towards a `target`, which is the prediction or a better estimate of it made from
several. With rho = sigma_next / sigma, half the log signal-to-noise ratio grows by h = -log(rho), and for a prediction
that is constant over the step

- `descend` solves the probability flow ODE: what is left of the noise is multiplied by rho;
- `renoise` descends further, to a lower level, and fresh noise fills it up to sigma_next: the reverse SDE, where
  `sde_split` or `ancestral_split` say how low.
"""

# ruff: noqa: ARG001  one signature for all, and those that solve an ODE need no noise

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from torch import Tensor

Denoise: TypeAlias = "Callable[[Tensor, float], Tensor]"
Noise: TypeAlias = "Callable[[float, float], Tensor]"
OnStep: TypeAlias = "Callable[[int, Tensor], None]"

MOST_CHURN = math.sqrt(2) - 1


@dataclass(frozen=True, kw_only=True)
class Split:
    """A noise level in two: what is left of the old noise, `down`, and fresh noise, `up`. Their squares add up."""

    down: float
    up: float


@dataclass(frozen=True, kw_only=True)
class Churn:
    """Lines 4 to 6 of algorithm 2 of Karras et al. 2022: S_churn, S_tmin, S_tmax and S_noise."""

    amount: float = 0.0
    lowest: float = 0.0
    highest: float = math.inf
    s_noise: float = 1.0

    def stirred(self, x: "Tensor", sigma: float, steps: int, noise: Noise) -> "tuple[Tensor, float]":
        """The latents at a noise level that was raised, and that level.

        Where anything is churned noise is drawn in every step, also in those that do not use it: AUTOMATIC1111's
        k-diffusion does, and the later steps get what follows.
        """
        if self.amount == 0:
            return x, sigma
        gamma = min(self.amount / steps, MOST_CHURN) if self.lowest <= sigma <= self.highest else 0.0
        raised = sigma * (1 + gamma)
        fresh = noise(sigma, raised) * self.s_noise
        return (x + fresh * math.sqrt(raised**2 - sigma**2), raised) if gamma > 0 else (x, sigma)


STILL = Churn()


def sample_euler(
    denoise: Denoise, x: "Tensor", sigmas: Sequence[float], *, noise: Noise, on_step: OnStep, churn: Churn = STILL
) -> "Tensor":
    """Algorithm 2 (Euler steps) of Karras et al. 2022."""
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        x, sigma = churn.stirred(x, sigma, len(sigmas) - 1, noise)
        denoised = denoise(x, sigma)
        on_step(i, denoised)
        x = descend(x, denoised, sigma, sigma_next)
    return x


def sample_heun(
    denoise: Denoise, x: "Tensor", sigmas: Sequence[float], *, noise: Noise, on_step: OnStep, churn: Churn = STILL
) -> "Tensor":
    """Algorithm 2 (Heun steps) of Karras et al. 2022; the step to zero is an Euler step."""
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        x, sigma = churn.stirred(x, sigma, len(sigmas) - 1, noise)
        x = heun_step(denoise, x, sigma, sigma_next, index=i, on_step=on_step)
    return x


def heun_step(
    denoise: Denoise, x: "Tensor", sigma: float, sigma_next: float, *, index: int, on_step: OnStep
) -> "Tensor":
    """One step of the improved Euler method, which is told to `on_step` as number `index`."""
    denoised = denoise(x, sigma)
    on_step(index, denoised)
    x_euler = descend(x, denoised, sigma, sigma_next)
    if sigma_next == 0:
        return x_euler
    slope_next = slope(x_euler, denoise(x_euler, sigma_next), sigma_next)
    return x + (slope(x, denoised, sigma) + slope_next) * ((sigma_next - sigma) / 2)


def sample_heunpp2(
    denoise: Denoise, x: "Tensor", sigmas: Sequence[float], *, noise: Noise, on_step: OnStep
) -> "Tensor":
    """Heun++ as Forge has it: the slope of a step is an average of those at up to three noise levels, each but the
    first with its level's share of the largest one, so that it is an Euler step at the end."""
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        denoised = denoise(x, sigma)
        on_step(i, denoised)
        ahead = sigmas[i + 1 : min(i + 3, len(sigmas) - 1)]
        if not ahead:
            return descend(x, denoised, sigma, sigma_next)
        slopes = [slope(x, denoised, sigma)]
        x_ahead, level = x, sigma
        for sigma_ahead in ahead:
            x_ahead, level = x_ahead + slopes[-1] * (sigma_ahead - level), sigma_ahead
            slopes.append(slope(x_ahead, denoise(x_ahead, level), level))
        shares = [level / (len(slopes) * sigmas[0]) for level in ahead]
        mean = slopes[0] * (1 - sum(shares))
        for later, share in zip(slopes[1:], shares, strict=True):
            mean = mean + later * share
        x = x + mean * (sigma_next - sigma)
    return x


def sample_dpm_2(
    denoise: Denoise, x: "Tensor", sigmas: Sequence[float], *, noise: Noise, on_step: OnStep, churn: Churn = STILL
) -> "Tensor":
    """Algorithm 1, DPM-Solver-2, of Lu et al. 2022a ("DPM-Solver", arXiv 2206.00927), with Karras et al.'s churn.

    The slope in the middle, in log sigma, is that of the whole step; the step to zero is an Euler step.
    """
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        x, sigma = churn.stirred(x, sigma, len(sigmas) - 1, noise)
        denoised = denoise(x, sigma)
        on_step(i, denoised)
        x = midpoint_step(denoise, x, denoised, sigma, sigma_next)
    return x


def midpoint_step(denoise: Denoise, x: "Tensor", denoised: "Tensor", sigma: float, sigma_next: float) -> "Tensor":
    """A step of DPM-Solver-2 from where `denoised` is the prediction."""
    if sigma_next == 0:
        return denoised
    middle = math.sqrt(sigma * sigma_next)
    x_middle = descend(x, denoised, sigma, middle)
    return x + slope(x_middle, denoise(x_middle, middle), middle) * (sigma_next - sigma)


def slope(x: "Tensor", denoised: "Tensor", sigma: float) -> "Tensor":
    """dx/dsigma of the probability flow ODE (Karras et al. 2022, equation 3): the noise that is predicted."""
    return (x - denoised) / sigma


def descend(x: "Tensor", target: "Tensor", sigma: float, sigma_next: float) -> "Tensor":
    """Keep rho of the distance to the target: exactly the target if sigma_next is 0."""
    return target + (x - target) * (sigma_next / sigma)


def renoise(x: "Tensor", sigma_next: float, split: Split, noise: "Callable[[], Tensor]", s_noise: float) -> "Tensor":
    """Latents at the level `split.down` with fresh noise on top; none is drawn on the way to zero."""
    return x if sigma_next == 0 or split.up == 0 else x + noise() * (split.up * s_noise)


def ancestral_split(sigma: float, sigma_next: float, eta: float) -> Split:
    """How much noise the posterior of Ho et al. 2020 (DDPM), equations 6 and 7, renews; `eta` of it (DDIM, eq. 16)."""
    share = (1 - sigma_next / sigma) * (1 + sigma_next / sigma)
    up = min(sigma_next, eta * sigma_next * math.sqrt(max(share, 0.0)))
    return Split(down=math.sqrt(sigma_next**2 - up**2), up=up)


def sde_split(sigma: float, sigma_next: float, eta: float) -> Split:
    """How much noise the reverse SDE with `eta` times the usual rate of it renews while the prediction is constant."""
    rest = (sigma_next / sigma) ** eta
    return Split(down=sigma_next * rest, up=sigma_next * math.sqrt((1 - rest) * (1 + rest)))


def to_middle(denoised: "Tensor", previous: "Tensor", sigmas: Sequence[float], step: int) -> "Tensor":
    """The prediction extrapolated in log sigma from the last two to the middle of the coming step, number `step`."""
    h_last, h = math.log(sigmas[step - 1] / sigmas[step]), math.log(sigmas[step] / sigmas[step + 1])
    return denoised + (denoised - previous) * (h / h_last / 2)
