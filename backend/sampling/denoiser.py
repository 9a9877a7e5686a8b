"""The one callable that samplers see: noisy latents and a sigma in, the network's guess of the clean picture out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor

from backend.model_manager.identity import Prediction
from backend.sampling.schedules import SigmaTable


@dataclass(frozen=True, kw_only=True)
class Conditioning:
    """What a UNet is told about one picture.

    `context` are the encoded words, (tokens, width). Some UNets are also told the text as a whole, `pooled`, (width,),
    and numbers about the picture, `sizes`.
    """

    context: Tensor
    pooled: Tensor | None = None
    sizes: tuple[float, ...] = ()

    def without_words(self) -> "Conditioning":
        """The same, all zeros where there were words."""
        pooled = None if self.pooled is None else torch.zeros_like(self.pooled)
        return replace(self, context=torch.zeros_like(self.context), pooled=pooled)


@dataclass(frozen=True)
class _Batch:
    """Conditionings that go through the network in one call, stacked."""

    context: Tensor
    pooled: Tensor | None
    sizes: Tensor
    pictures: Tensor | None

    @classmethod
    def of(cls, parts: Sequence[Conditioning], pictures: Tensor | None, dtype: torch.dtype) -> "_Batch":
        context = torch.stack([part.context for part in parts]).to(dtype)
        pooled = [part.pooled.to(dtype) for part in parts if part.pooled is not None]
        sizes = torch.tensor([part.sizes for part in parts], dtype=torch.float32, device=context.device)
        return cls(context, torch.stack(pooled) if pooled else None, sizes, pictures)

    def __len__(self) -> int:
        return len(self.context)

    def beside(self, x: Tensor) -> Tensor:
        """`x` for each conditioning, with the picture that it is shown."""
        repeated = x.repeat(len(self), 1, 1, 1)
        if self.pictures is None:
            return repeated
        return torch.cat([repeated, self.pictures.repeat_interleave(len(x), dim=0)], dim=1)

    def arguments(self, pictures: int) -> dict[str, Any]:
        """What the UNet is called with, for that many pictures of each conditioning."""
        arguments: dict[str, Any] = {"encoder_hidden_states": self.context.repeat_interleave(pictures, dim=0)}
        if self.pooled is not None:
            arguments["added_cond_kwargs"] = {
                "text_embeds": self.pooled.repeat_interleave(pictures, dim=0),
                "time_ids": self.sizes.repeat_interleave(pictures, dim=0),
            }
        return arguments


def _from_noise(x: Tensor, guess: Tensor, sigma: float) -> Tensor:
    """x - sigma eps."""
    return x - sigma * guess


def _from_velocity(x: Tensor, guess: Tensor, sigma: float) -> Tensor:
    """Salimans & Ho 2022, appendix D, v = alpha eps - sigma x0, solved for x0 with x in sigma space."""
    variance = sigma * sigma + 1
    return x / variance - guess * (sigma / variance**0.5)


# How the clean picture follows from what the network guesses.
CLEAN: Mapping[Prediction, Callable[[Tensor, Tensor, float], Tensor]] = MappingProxyType(
    {"epsilon": _from_noise, "v": _from_velocity}
)


class GuidedDenoiser:
    """A UNet with classifier-free guidance (Ho & Salimans 2022, eq. 6) in Karras et al.'s terms.

    With x in sigma space the network sees x / sqrt(sigma^2 + 1) and t(sigma). If it guesses the noise,
    D(x; sigma) = x - sigma * eps (Karras et al. 2022, table 1, VP row). Guidance mixes the D of both conditionings.
    Both go through the network in one batch where they are of one length; padding the shorter would change the picture,
    so otherwise they go one after the other.

    A UNet that edits a picture is asked a third time, without words, and guided towards the picture as well (Brooks et
    al. 2023, "InstructPix2Pix", eq. 3).
    """

    def __init__(
        self,
        unet: UNet2DConditionModel,
        table: SigmaTable,
        cond: Conditioning,
        uncond: Conditioning | None,
        cfg_scale: float,
        *,
        prediction: Prediction = "epsilon",
        picture: Tensor | None = None,
        image_cfg_scale: float | None = None,
    ):
        """Without `uncond`, or at a scale of 1, only `cond` is asked. `picture`, (1, channels, height, width), is what
        a UNet with more input channels sees beside the noisy latents. With an `image_cfg_scale` other than 1, guidance
        goes from no picture, all zeros, to the picture with it, and from there to the words with `cfg_scale`."""
        self._unet = unet
        self._dtype = unet.dtype  # once: diffusers looks through every module for it
        self._table = table
        self._cfg_scale = cfg_scale
        self._clean = CLEAN[prediction]
        conditionings, pictures = [cond], [picture]
        if uncond is not None and cfg_scale != 1:
            conditionings, pictures = [cond, uncond], [picture] * 2
            if picture is not None and image_cfg_scale is not None and image_cfg_scale != 1:
                conditionings, pictures = [*conditionings, uncond], [*pictures, torch.zeros_like(picture)]
        self._image_cfg_scale = image_cfg_scale if len(conditionings) > 2 else None
        together = len({len(c.context) for c in conditionings}) == 1
        rows = list(zip(conditionings, pictures, strict=True))
        # Each batch goes through the network in one call; cond comes before uncond.
        self._batches = [
            _Batch.of([words for words, _ in group], _stacked([seen for _, seen in group], self._dtype), self._dtype)
            for group in ([rows] if together else [[row] for row in rows])
        ]

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        """`x` is (batch, channels, height, width), float32; so is what comes back."""
        inputs = (x * (sigma * sigma + 1) ** -0.5).to(self._dtype)
        t = torch.tensor(self._table.sigma_to_t(sigma), dtype=torch.float32, device=x.device)
        guesses: list[Tensor] = []
        for batch in self._batches:
            size = len(batch)
            output = self._unet(batch.beside(inputs), t, **batch.arguments(len(x)), return_dict=False)[0]
            guesses += [self._clean(x, part.to(x.dtype), sigma) for part in output.chunk(size)]
        if len(guesses) == 1:
            return guesses[0]
        cond, uncond, *unseen = guesses
        if self._image_cfg_scale is None:
            return uncond + self._cfg_scale * (cond - uncond)
        return unseen[0] + self._cfg_scale * (cond - uncond) + self._image_cfg_scale * (uncond - unseen[0])


def _stacked(pictures: Sequence[Tensor | None], dtype: torch.dtype) -> Tensor | None:
    seen = [picture.to(dtype) for picture in pictures if picture is not None]
    return torch.cat(seen) if seen else None
