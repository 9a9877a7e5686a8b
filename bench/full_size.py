"""A checkpoint of Stable Diffusion 1.5's size with random weights: as heavy as a real one, and nothing to download."""

import sys
import time
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel

from bench import WORK
from starter import layout

CHECKPOINT = WORK / "full-size-random.safetensors"
SEED = 0
VAE: dict[str, Any] = {  # apart, because diffusers annotates these tuples as of one element
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
    "latent_channels": 4,
}


def networks() -> tuple[UNet2DConditionModel, AutoencoderKL, CLIPTextModel]:
    """UNet, VAE and text encoder in SD 1.5's dimensions, on the meta device: shapes without memory."""
    with torch.device("meta"):
        unet = UNet2DConditionModel(
            block_out_channels=(320, 640, 1280, 1280), cross_attention_dim=768, attention_head_dim=8
        )
        vae = AutoencoderKL(**VAE)
        text = CLIPTextConfig(
            hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12,
            hidden_act="quick_gelu",
        )  # fmt: skip
        return unet, vae, CLIPTextModel(text)


def write(path: Path, unet: nn.Module, vae: nn.Module, text_encoder: nn.Module) -> None:
    """Give the three networks random weights in half precision and write them in the SD 1.x layout.

    What they held is lost: no memory is taken but the half-precision weights' own.
    """
    generator = torch.Generator().manual_seed(SEED)
    for network in (unet, vae, text_encoder):
        network.to(torch.float16).to_empty(device="cpu")
        _fill(network, generator)
    layout.write(path, unet, vae, text_encoder)


def require(checkpoint: Path) -> None:
    """See to it that a checkpoint is there: ours is written once, any other must be."""
    if checkpoint == CHECKPOINT and not checkpoint.exists():
        started = time.monotonic()
        print(f"writing {checkpoint} (2.1 GB, once)", file=sys.stderr, flush=True)
        write(checkpoint, *networks())
        print(f"written in {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    if not checkpoint.is_file():
        sys.exit(f"There is no {checkpoint}: name a checkpoint in the SD 1.x layout with --checkpoint.")


@torch.no_grad()
def _fill(network: nn.Module, generator: torch.Generator) -> None:
    """Variance 1 / fan-in, norms that change nothing, no bias: activations neither die out nor overflow in fp16."""
    for name, parameter in network.named_parameters():
        if parameter.ndim > 1:
            fan_in = parameter[0].numel()
            parameter.normal_(0, fan_in**-0.5, generator=generator)
        else:
            parameter.fill_(1.0 if name.endswith("weight") else 0.0)
