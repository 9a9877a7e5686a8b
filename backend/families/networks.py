"""The networks of a latent diffusion checkpoint, side by side."""

from dataclasses import dataclass

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import nn
from transformers import CLIPTextModel


@dataclass(frozen=True)
class Networks:
    """UNet, VAE and text encoder of one checkpoint, all in evaluation mode and without gradients."""

    unet: UNet2DConditionModel
    vae: AutoencoderKL
    text_encoder: CLIPTextModel

    def modules(self) -> tuple[nn.Module, nn.Module, nn.Module]:
        return self.unet, self.vae, self.text_encoder

    def to(self, device: torch.device, dtype: torch.dtype) -> None:
        """Move all of them; the VAE and text encoder keep the UNet's precision."""
        for module in self.modules():
            nn.Module.to(module, device, dtype)  # diffusers would warn of exceptions that none of these has

    @property
    def size(self) -> int:
        """Bytes of all parameters."""
        return sum(p.numel() * p.element_size() for module in self.modules() for p in module.parameters())
