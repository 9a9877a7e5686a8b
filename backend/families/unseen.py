"""The picture that some UNets look at besides the noisy latents, and what stands for it where there is none."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor

from backend.errors import ModelFileError
from backend.families.family import LatentFormat
from backend.families.networks import Networks
from backend.imaging.vae import encode


def no_picture(networks: Networks, latent: LatentFormat, width: int, height: int) -> Tensor | None:
    """What stands for the picture that a UNet with more input channels expects, where there is none: (1, channels,
    height / 8, width / 8), or nothing for a plain UNet.

    Inpainting checkpoints get what AUTOMATIC1111's txt2img gives them, a grey picture to be repainted everywhere. For
    InstructPix2Pix and depth, where it fails, there are no latents to edit and one depth everywhere. Raises
    `ModelFileError` for a number of channels that belongs to nothing known.
    """
    channels = networks.unet.config["in_channels"] - latent.channels
    if channels == 0:
        return None
    if channels not in BY_CHANNELS:
        raise ModelFileError(f"This checkpoint expects {channels} channels of another picture; 1, 4 and 5 are known.")
    return BY_CHANNELS[channels](networks, latent, width, height)


def _all_masked(networks: Networks, latent: LatentFormat, width: int, height: int) -> Tensor:
    """A mask of ones and the latents of a grey picture (the inpainting checkpoints of Rombach et al. 2022)."""
    vae = networks.vae
    grey = encode(vae, torch.zeros(1, 3, height, width, device=vae.device), latent.scale)
    return torch.cat([torch.ones_like(grey[:, :1]), grey], dim=1)


def _nothing_to_edit(networks: Networks, latent: LatentFormat, width: int, height: int) -> Tensor:
    """Zeros for the latents of the picture to edit, as Brooks et al. 2023 train the unconditional case."""
    size = (height // latent.factor, width // latent.factor)
    return torch.zeros(1, latent.channels, *size, device=networks.unet.device)


def _flat_depth(networks: Networks, latent: LatentFormat, width: int, height: int) -> Tensor:
    """The middle of the depths from -1 to 1, everywhere."""
    return _nothing_to_edit(networks, latent, width, height)[:, :1]


BY_CHANNELS: Mapping[int, Callable[[Networks, LatentFormat, int, int], Tensor]] = MappingProxyType(
    {1: _flat_depth, 4: _nothing_to_edit, 5: _all_masked}
)
