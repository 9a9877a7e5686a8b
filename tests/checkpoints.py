"""Checkpoints that tests write themselves: the real layout, small random networks."""

from pathlib import Path

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from starter import layout


def tiny_networks(seed: int = 0) -> tuple[UNet2DConditionModel, AutoencoderKL, CLIPTextModel]:
    """UNet, VAE and text encoder of Stable Diffusion 1.x's shape, as narrow as 32 groups allow."""
    torch.manual_seed(seed)
    unet = UNet2DConditionModel(block_out_channels=(32, 32, 64, 64), cross_attention_dim=64, attention_head_dim=8)
    vae = AutoencoderKL(
        # Annotated as tuples of one, whatever the number of levels.
        block_out_channels=(32, 32, 32, 32),  # pyright: ignore[reportArgumentType]
        down_block_types=("DownEncoderBlock2D",) * 4,  # pyright: ignore[reportArgumentType]
        up_block_types=("UpDecoderBlock2D",) * 4,  # pyright: ignore[reportArgumentType]
        layers_per_block=2,
        latent_channels=4,
    )
    text = CLIPTextConfig(
        hidden_size=64, intermediate_size=64, num_hidden_layers=2, num_attention_heads=1, hidden_act="quick_gelu"
    )
    return unet, vae, CLIPTextModel(text)


def write_tiny_checkpoint(path: Path, seed: int = 0) -> None:
    """Write such networks in the single-file layout."""
    layout.write(path, *tiny_networks(seed))
