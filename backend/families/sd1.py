"""Stable Diffusion 1.x (Rombach et al. 2022): CLIP-L's text encoder, a 4-level UNet, an f=8 autoencoder.

Its inpainting and InstructPix2Pix (Brooks et al. 2023) kinds have more input channels and are the same otherwise.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from backend.families import ldm
from backend.families.family import Component, Family, LatentFormat, TextEncoding
from backend.families.ldm import UNET, VAE
from backend.families.text_encoders import clip_component, clip_config, clip_prefix
from backend.model_manager.header import Header

if TYPE_CHECKING:  # the table of families is read before torch is loaded
    from torch import Tensor

__all__ = ["SD1", "TEXT", "UNET", "VAE", "bears_marks", "components", "configs"]

TEXT = "cond_stage_model.transformer."
HEADS = 8
CHANNELS = (4, 8, 9)  # plain, InstructPix2Pix, inpainting


def bears_marks(header: Header) -> bool:
    """A UNet with convolutional `proj_in`, its VAE, and transformers' CLIP text encoder."""
    return (
        ldm.has_unet(header, channels=CHANNELS, linear=False, sizes=False)
        and clip_prefix(header, TEXT) + "embeddings.token_embedding.weight" in header.tensors
    )


def heads(_width: int) -> int:
    """Eight heads at every width."""
    return HEADS


def configs(header: Header) -> dict[str, dict[str, Any]]:
    """The constructor arguments of the three networks by role."""
    return {
        "unet": ldm.unet_config(header, heads),
        "vae": ldm.vae_config(header),
        "text_encoder": clip_config(header, TEXT),
    }


def components(header: Header, tensors: "Mapping[str, Tensor]") -> tuple[Component, ...]:
    """UNet, VAE and text encoder."""
    return (
        ldm.unet_component(header, tensors, heads),
        ldm.vae_component(header, tensors),
        clip_component(header, tensors, TEXT, "text_encoder"),
    )


SD1 = Family(
    name="sd1",
    title="Stable Diffusion 1.x",
    native_size=512,
    latent_format=LatentFormat(channels=4, factor=8, scale=0.18215),
    text=(TextEncoding(role="text_encoder", obeys_clip_skip=True),),
    bears_marks=bears_marks,
    components=components,
    prediction=ldm.prediction,
    alphas_cumprod=ldm.alphas_cumprod,
)
