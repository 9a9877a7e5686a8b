"""Adaptive projected guidance (Sadat, Hilliges & Weber 2024, "Eliminating Oversaturation and Artifacts of High Guidance
Scales in Diffusion Models", arXiv 2410.02416).

What leads away from the negative prompt is taken apart: what points along the guess itself makes colours loud and is
weighed down, what stands upright on it makes the picture better and stays. Beforehand its length is limited.
"""

from typing import TYPE_CHECKING

from backend.extension_api import BaseModel, ConfigDict, ExtensionApi, Field, GuidanceFunction, Settings, hook

if TYPE_CHECKING:
    from torch import Tensor

MEASURED_ON = 4 * 128 * 128  # numbers of the latents for which the paper gives lengths: 1024 x 1024 pixels


class Apg(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    parallel: float = Field(
        default=0.0, ge=0, le=1, title="Parallel part", description="eta: how much of what makes colours loud stays"
    )
    length: float = Field(
        default=15.0,
        ge=0,
        le=100,
        title="Largest length",
        description="r, for 1024 x 1024; in proportion for other sizes. 0: any",
    )


@hook
def register(api: ExtensionApi) -> None:
    settings = api.settings(Apg)
    api.guidance("Adaptive projected", _guide(settings))


def _guide(settings: Settings[Apg]) -> GuidanceFunction:
    def guide(cond: "Tensor", uncond: "Tensor", scale: float, x: "Tensor", sigma: float) -> "Tensor":  # noqa: ARG001
        return projected(cond, uncond, scale, settings.value)

    return guide


def projected(cond: "Tensor", uncond: "Tensor", scale: float, how: Apg) -> "Tensor":
    """D_c + (w - 1) (the upright part + eta times the parallel part of D_c - D_u), whose length is at most r: the
    paper's algorithm without momentum. `cond` and `uncond` are guesses of clean latents, (pictures, channels, height,
    width)."""
    import torch

    every = (1, 2, 3)
    way = (cond - uncond).float()
    if how.length:
        most = how.length * (cond[0].numel() / MEASURED_ON) ** 0.5
        long = torch.linalg.vector_norm(way, dim=every, keepdim=True)
        way = way * (most / long.clamp_min(most))
    along = torch.nn.functional.normalize(cond.float().flatten(1)).view_as(cond)
    parallel = (way * along).sum(dim=every, keepdim=True) * along
    led = way - (1 - how.parallel) * parallel
    return cond + ((scale - 1) * led).to(cond.dtype)
