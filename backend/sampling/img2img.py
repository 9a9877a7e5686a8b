"""How sampling begins with a picture, and how it keeps what is not masked.

All follows AUTOMATIC1111: the number of steps, noise on top of the clean latents, and a mask that acts on each guess of
the clean picture, not on the noisy latents.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from backend.sampling.timesteps import TRAINING_TIMESTEPS

if TYPE_CHECKING:
    from torch import Tensor

    from backend.init_image import SoftInpainting
    from backend.sampling.timesteps import Guided

MOST = 0.999  # of the noise: at 1 there is one step less than were asked for
SMALL = 1e-5


@dataclass(frozen=True, kw_only=True)
class Steps:
    """The last `taken` steps of a schedule that has `scheduled`."""

    scheduled: int
    taken: int


def shortened(steps: int, strength: float) -> Steps:
    """img2img: the part of `steps` that `strength` asks for, and one more: 20 at 0.75 take 16."""
    return Steps(scheduled=steps, taken=min(steps, int(min(strength, MOST) * steps) + 1))


def lengthened(steps: int, strength: float) -> Steps:
    """Hires fix: exactly `steps`, of a schedule that is as much longer: 20 at 0.7 are the last of 28."""
    scheduled = int(steps / min(strength, MOST)) if strength > 0 else TRAINING_TIMESTEPS
    return Steps(scheduled=max(steps, min(scheduled, TRAINING_TIMESTEPS)), taken=steps)


@dataclass(frozen=True, kw_only=True)
class Known:
    """What sampling begins with: clean `latents` of unit variance, (pictures, channels, height, width).

    `mask`, (1, 1, height, width), is 1 where they are made new and 0 where they stay; without one all is made new.
    """

    latents: "Tensor"
    mask: "Tensor | None" = None
    soft: "SoftInpainting | None" = None

    def part(self, start: int, count: int) -> "Known":
        """What some of the pictures begin with, where they do not all begin with the same."""
        return self if len(self.latents) == 1 else replace(self, latents=self.latents[start : start + count])

    def emptied(self, noise: "Tensor | None") -> "Known":
        """The same with noise of variance 1, or nothing, where the mask is: A1111's "latent noise" and "nothing"."""
        if self.mask is None:
            return self
        kept = self.latents * (1 - self.mask)
        return replace(self, latents=kept if noise is None else kept + noise * self.mask)

    def kept(self, denoise: "Guided") -> "Guided":
        """`denoise` whose guesses are these latents outside the mask; those without words are as they were."""
        return denoise if self.mask is None else _Keeping(self, denoise)

    def finished(self, latents: "Tensor") -> "Tensor":
        """Sampled latents with what was to be kept; a soft mask has been at work long enough."""
        if self.mask is None or self.soft is not None:
            return latents
        return latents * self.mask + self.latents * (1 - self.mask)

    def blended(self, denoised: "Tensor", sigma: float) -> "Tensor":
        """A guess at a noise level, with these latents outside the mask."""
        assert self.mask is not None
        if self.soft is None:
            return denoised * self.mask + self.latents * (1 - self.mask)
        return soft_blend(self.soft, self.latents, denoised, soft_mask(self.soft, self.mask, sigma))


class _Keeping:
    """A denoiser with what is known outside a mask."""

    def __init__(self, known: Known, denoise: "Guided"):
        self.last_uncond: Tensor | None = None
        self._known = known
        self._denoise = denoise

    def __call__(self, x: "Tensor", sigma: float) -> "Tensor":
        denoised = self._known.blended(self._denoise(x, sigma), sigma)
        self.last_uncond = self._denoise.last_uncond
        return denoised


def soft_mask(soft: "SoftInpainting", mask: "Tensor", sigma: float) -> "Tensor":
    """The mask at a noise level: the less noise is left, the nearer it comes to all (Levin & Fried 2023, section 3.2,
    in A1111's form mask^(sigma^bias x strength))."""
    return mask ** (sigma**soft.schedule_bias * soft.preservation_strength)


def soft_blend(soft: "SoftInpainting", kept: "Tensor", made: "Tensor", mask: "Tensor") -> "Tensor":
    """Both by the mask, with lengths that do not shrink where their directions differ.

    The length of each latent is the power mean of both lengths, with the contrast boost as its exponent.
    """
    mixed = kept * (1 - mask) + made * mask
    power = soft.transition_contrast_boost
    length = mixed.norm(dim=1, keepdim=True) + SMALL
    far = [latents.norm(dim=1, keepdim=True) for latents in (kept, made)]
    largest = far[0].maximum(far[1]).clamp(min=SMALL)  # in its measure no power is too large for float32
    wanted = (far[0] / largest) ** power * (1 - mask) + (far[1] / largest) ** power * mask
    return mixed * (wanted ** (1 / power) * largest / length)


def seen_difference(soft: "SoftInpainting", known: "Known", latents: "Tensor") -> "Tensor":
    """How much of each latent's result is to be seen, (pictures, height, width) from 0 to 1, by how far it has come.

    The distance of both latents, of which the largest in the neighbourhood counts, against a threshold which
    `mask_influence` lets depend on the mask; a smooth step makes it a share.
    """
    import torch

    assert known.mask is not None
    scalar = 1 - known.mask[:, 0].clamp(0, 1) ** (soft.preservation_strength / 2)
    scalar = 0.5 * (1 - soft.mask_influence) + scalar * soft.mask_influence
    threshold = soft.difference_threshold * scalar / (1.00001 - scalar)
    far = _upper_tenth((latents - known.latents).norm(dim=1))
    kept = 1 / (1 + (far / threshold.clamp(min=SMALL)) ** soft.difference_contrast)
    kept = torch.where(far == 0, torch.ones_like(kept), kept).clamp(0, 1)
    return 1 - kept**3 * (kept * (kept * 6 - 15) + 10)


def _upper_tenth(distance: "Tensor") -> "Tensor":
    """Of the 5 x 5 neighbours of each place, weighted by a Gaussian of 1.5, the mean of the largest tenth."""
    import torch
    from torch.nn.functional import pad

    offsets = torch.arange(-2.0, 3.0, device=distance.device)
    row = torch.exp(-(offsets**2) / (2 * 1.5**2))
    weights = (row[:, None] * row).flatten()
    height, width = distance.shape[-2:]
    around = pad(torch.stack([distance, torch.ones_like(distance)], dim=1), (2, 2, 2, 2))
    values, there = around.unfold(2, 5, 1).unfold(3, 5, 1).reshape(len(distance), 2, height, width, 25).unbind(dim=1)
    order = values.argsort(dim=-1)
    values = values.gather(-1, order)
    shares = (there * weights).gather(-1, order)
    reached = shares.cumsum(-1) / shares.sum(-1, keepdim=True)
    before = reached - shares / shares.sum(-1, keepdim=True)
    counted = (reached - before.clamp(min=0.9)).clamp(min=0)
    return (values * counted).sum(-1) / counted.sum(-1).clamp(min=SMALL)
