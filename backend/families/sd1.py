"""Stable Diffusion 1.x (Rombach et al. 2022): CLIP-L's text encoder, a 4-level UNet, an f=8 autoencoder.

Every dimension is read off the header, so a checkpoint of any width in this layout is loaded alike. What a header
cannot say is what every reader of the layout assumes: 32 groups, 8 heads, text heads of width 64, quick_gelu.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from backend.families.family import Family, LatentFormat
from backend.model_manager.header import Header

if TYPE_CHECKING:  # the table of families is read before torch is loaded
    from torch import Tensor

    from backend.families.networks import Networks

UNET = "model.diffusion_model."
VAE = "first_stage_model."
TEXT = "cond_stage_model.transformer."
HEADS = 8
TEXT_HEAD_WIDTH = 64
TRAINING_STEPS = 1000
BETAS = (0.00085, 0.012)  # scaled-linear: evenly spaced square roots


def bears_marks(header: Header) -> bool:
    """A UNet with convolutional `proj_in` and 4 input channels, its VAE, and transformers' CLIP text encoder."""
    tensors = header.tensors
    first, projection = UNET + "input_blocks.0.0.weight", UNET + "input_blocks.1.1.proj_in.weight"
    return (
        first in tensors
        and projection in tensors
        and header.shape(first)[1:2] == (4,)
        and len(header.shape(projection)) == 4
        and VAE + "decoder.conv_in.weight" in tensors
        and TEXT + "text_model.embeddings.token_embedding.weight" in tensors
    )


def _count(header: Header, prefix: str) -> int:
    """How many numbered entries follow `prefix`."""
    return len({key[len(prefix) :].split(".")[0] for key in header.tensors if key.startswith(prefix)})


def configs(header: Header) -> dict[str, dict[str, Any]]:
    """The constructor arguments of diffusers' UNet and VAE and of transformers' text encoder."""
    widths = [header.shape(f"{UNET}input_blocks.{3 * level + 1}.0.out_layers.3.weight")[0] for level in range(4)]
    vae_widths = [
        header.shape(f"{VAE}encoder.down.{level}.block.0.conv2.weight")[0]
        for level in range(_count(header, f"{VAE}encoder.down."))
    ]
    tokens, width = header.shape(f"{TEXT}text_model.embeddings.token_embedding.weight")
    layers = f"{TEXT}text_model.encoder.layers."
    return {
        "unet": {
            "in_channels": header.shape(f"{UNET}input_blocks.0.0.weight")[1],
            "out_channels": header.shape(f"{UNET}out.2.weight")[0],
            "block_out_channels": tuple(widths),
            "cross_attention_dim": header.shape(f"{UNET}input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight")[1],
            "attention_head_dim": HEADS,
        },
        "vae": {
            "block_out_channels": tuple(vae_widths),
            "down_block_types": ("DownEncoderBlock2D",) * len(vae_widths),
            "up_block_types": ("UpDecoderBlock2D",) * len(vae_widths),
            "layers_per_block": 2,
            "latent_channels": header.shape(f"{VAE}post_quant_conv.weight")[0],
        },
        "text_encoder": {
            "vocab_size": tokens,
            "hidden_size": width,
            "intermediate_size": header.shape(f"{layers}0.mlp.fc1.weight")[0],
            "num_hidden_layers": _count(header, layers),
            "num_attention_heads": max(1, width // TEXT_HEAD_WIDTH),
            "max_position_embeddings": header.shape(f"{TEXT}text_model.embeddings.position_embedding.weight")[0],
            "hidden_act": "quick_gelu",
        },
    }


def build(header: Header, tensors: "Mapping[str, Tensor]") -> "Networks":
    """Networks that hold the file's own tensors: nothing is initialised and nothing copied that need not be."""
    import torch
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    from backend.families.networks import Networks

    config = configs(header)
    with torch.device("meta"):
        unet = UNet2DConditionModel(**config["unet"])
        vae = AutoencoderKL(**config["vae"])
        text_encoder = CLIPTextModel(CLIPTextConfig(**config["text_encoder"]))
    of_unet = {key: tensor for key, tensor in tensors.items() if key.startswith(UNET)}
    of_vae = {key: tensor for key, tensor in tensors.items() if key.startswith(VAE)}
    prefix = TEXT + "text_model."
    # transformers 5 flattened CLIPTextModel; the file's names keep the older nesting.
    own = "text_model." if hasattr(text_encoder, "text_model") else ""
    of_text = {
        own + key.removeprefix(prefix): tensor
        for key, tensor in tensors.items()
        if key.startswith(prefix) and not key.endswith("position_ids")
    }
    unet.load_state_dict(convert_ldm_unet_checkpoint(of_unet, dict(unet.config)), assign=True)
    vae.load_state_dict(convert_ldm_vae_checkpoint(of_vae, dict(vae.config)), assign=True)
    text_encoder.load_state_dict(of_text, assign=True)
    for module in text_encoder.modules():
        for name, buffer in list(module._buffers.items()):
            if buffer is not None and buffer.is_meta:  # position_ids: no file needs to carry them
                module._buffers[name] = torch.arange(buffer.numel()).reshape(buffer.shape)
    networks = Networks(unet, vae, text_encoder)
    for module in networks.modules():
        module.eval().requires_grad_(False)
    return networks


def alphas_cumprod() -> "Tensor":
    """Products of 1 - beta over the 1000 training steps, float32, shape (1000,)."""
    import torch

    low, high = BETAS
    betas = torch.linspace(low**0.5, high**0.5, TRAINING_STEPS, dtype=torch.float64) ** 2
    return (1 - betas).cumprod(0).float()


SD1 = Family(
    name="sd1",
    title="Stable Diffusion 1.x",
    native_size=512,
    latent_format=LatentFormat(channels=4, factor=8, scale=0.18215),
    bears_marks=bears_marks,
    configs=configs,
    build=build,
    alphas_cumprod=alphas_cumprod,
)
