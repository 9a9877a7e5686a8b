"""The picture that some UNets look at besides the noisy latents, and what stands for it where there is none."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from backend.errors import InvalidRequest, ModelFileError
from backend.families.family import LatentFormat
from backend.families.networks import Networks
from backend.imaging.vae import encode

DEPTH, EDIT, INPAINTING = 1, 4, 5  # channels besides those of the noisy latents


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What a UNet with more input channels may be shown.

    `pixels` are (1, 3, height, width) around 0, `mask` (1, 1, height, width) is 1 where they are made new, `depth`,
    of the same shape, is larger for what is nearer, in any unit. `mask_weight` is how much of the masked part is hidden
    (A1111's ``inpainting_mask_weight``). `tile` is that of the encoder, in pixels.
    """

    pixels: Tensor
    mask: Tensor | None = None
    mask_weight: float = 1.0
    depth: Tensor | None = None
    tile: int | None = None


def further_channels(networks: Networks, latent: LatentFormat) -> int:
    """How many channels of another picture a UNet expects. Raises `ModelFileError` for a number that belongs to nothing
    known."""
    channels = networks.unet.config["in_channels"] - latent.channels
    if channels and channels not in BY_CHANNELS:
        raise ModelFileError(f"This checkpoint expects {channels} channels of another picture; 1, 4 and 5 are known.")
    return channels


def other_picture(networks: Networks, latent: LatentFormat, shown: Shown) -> Tensor | None:
    """The channels that a UNet expects besides the noisy latents, of a picture: (1, channels, height / 8, width / 8),
    or nothing for a plain UNet. Raises `ModelFileError` as `further_channels`."""
    channels = further_channels(networks, latent)
    return BY_CHANNELS[channels][0](networks, latent, shown) if channels else None


def no_picture(networks: Networks, latent: LatentFormat, width: int, height: int) -> Tensor | None:
    """What stands for that where there is no picture.

    Inpainting checkpoints get what AUTOMATIC1111's txt2img gives them, a grey picture to be repainted everywhere. For
    InstructPix2Pix and depth, where it fails, there are no latents to edit and one depth everywhere. Raises
    `ModelFileError` as `further_channels`.
    """
    channels = further_channels(networks, latent)
    return BY_CHANNELS[channels][1](networks, latent, width, height) if channels else None


def _masked(networks: Networks, latent: LatentFormat, shown: Shown) -> Tensor:
    """The mask and the latents of the picture without its masked part (the inpainting checkpoints of Rombach et al.
    2022). The mask is reduced by taking every eighth pixel, as they were trained."""
    mask = torch.ones_like(shown.pixels[:, :1]) if shown.mask is None else shown.mask
    seen = shown.pixels * (1 - mask * shown.mask_weight)
    latents = encode(networks.vae, seen, latent.scale, tile=shown.tile)
    return torch.cat([interpolate(mask, size=latents.shape[-2:], mode="nearest"), latents], dim=1)


def _all_masked(networks: Networks, latent: LatentFormat, width: int, height: int) -> Tensor:
    return _masked(networks, latent, Shown(pixels=torch.zeros(1, 3, height, width, device=networks.vae.device)))


def _to_edit(networks: Networks, latent: LatentFormat, shown: Shown) -> Tensor:
    """The latents as the VAE gives them, not brought to unit variance (Brooks et al. 2023)."""
    return encode(networks.vae, shown.pixels, latent.scale, tile=shown.tile) / latent.scale


def _nothing_to_edit(networks: Networks, latent: LatentFormat, width: int, height: int) -> Tensor:
    """Zeros for the latents of the picture to edit, as Brooks et al. 2023 train the unconditional case."""
    size = (height // latent.factor, width // latent.factor)
    return torch.zeros(1, latent.channels, *size, device=networks.unet.device)


def _depth(networks: Networks, latent: LatentFormat, shown: Shown) -> Tensor:
    """The depths at the latents' size, from -1, the farthest, to 1 (Stable Diffusion 2's depth checkpoint)."""
    if shown.depth is None:
        raise InvalidRequest("This checkpoint needs a depth map of the picture.")
    size = (shown.pixels.shape[-2] // latent.factor, shown.pixels.shape[-1] // latent.factor)
    small = interpolate(shown.depth.to(networks.unet.device), size=size, mode="bicubic", align_corners=False)
    low, high = small.amin(), small.amax()
    return torch.zeros_like(small) if high <= low else (small - low) / (high - low) * 2 - 1


def _flat_depth(networks: Networks, latent: LatentFormat, width: int, height: int) -> Tensor:
    """The middle of the depths from -1 to 1, everywhere."""
    return _nothing_to_edit(networks, latent, width, height)[:, :1]


Channels = tuple[
    Callable[[Networks, LatentFormat, Shown], Tensor], Callable[[Networks, LatentFormat, int, int], Tensor]
]
# With a picture, and without.
BY_CHANNELS: Mapping[int, Channels] = MappingProxyType(
    {DEPTH: (_depth, _flat_depth), EDIT: (_to_edit, _nothing_to_edit), INPAINTING: (_masked, _all_masked)}
)
