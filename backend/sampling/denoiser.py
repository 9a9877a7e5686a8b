"""The one callable that samplers see: noisy latents and a sigma in, the network's guess of the clean picture out."""

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor

from backend.sampling.schedules import SigmaTable


class GuidedDenoiser:
    """An eps-predicting UNet with classifier-free guidance (Ho & Salimans 2022, eq. 6) in Karras et al.'s terms.

    With x in sigma space, D(x; sigma) = x - sigma * eps(x / sqrt(sigma^2 + 1), t(sigma)) (Karras et al. 2022, table 1,
    VP row); guidance mixes the D of both conditionings. Both go through the network in one batch where they are of one
    length; padding the shorter would change the picture, so otherwise they go one after the other.
    """

    def __init__(
        self, unet: UNet2DConditionModel, table: SigmaTable, cond: Tensor, uncond: Tensor | None, cfg_scale: float
    ):
        """`cond` and `uncond` are (tokens, width); without `uncond`, or at a scale of 1, only `cond` is asked."""
        self._unet = unet
        self._dtype = unet.dtype  # once: diffusers looks through every module for it
        self._table = table
        self._cfg_scale = cfg_scale
        guided = uncond is not None and cfg_scale != 1
        conditionings = [cond, uncond] if guided and uncond is not None else [cond]
        together = len({len(c) for c in conditionings}) == 1
        # Each group goes through the network in one call; cond comes before uncond.
        self._groups = [torch.stack(conditionings)] if together else [c[None] for c in conditionings]

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        """`x` is (batch, channels, height, width), float32; so is what comes back."""
        scaled = (x * (sigma * sigma + 1) ** -0.5).to(self._dtype)
        t = torch.tensor(self._table.sigma_to_t(sigma), dtype=torch.float32, device=x.device)
        guesses: list[Tensor] = []
        for group in self._groups:
            size = len(group)
            context = group.repeat_interleave(len(x), dim=0)
            eps = self._unet(scaled.repeat(size, 1, 1, 1), t, encoder_hidden_states=context, return_dict=False)[0]
            guesses += [x - sigma * part.to(x.dtype) for part in eps.chunk(size)]
        if len(guesses) == 1:
            return guesses[0]
        cond, uncond = guesses
        return uncond + self._cfg_scale * (cond - uncond)
