"""Stable Diffusion XL (Podell et al. 2023): a 3-level UNet that is told about the picture's size, and two text
encoders, CLIP-L's and OpenCLIP-bigG's; the refiner, of 4 levels, has only the second and is told how fine the picture
should be. SSD-1B is the same with fewer layers, which the header tells.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from backend.families import ldm
from backend.families.family import Component, Family, LatentFormat, TextEncoding
from backend.families.text_encoders import clip_component, clip_prefix, heads, openclip_component, openclip_config
from backend.model_manager.header import Header

if TYPE_CHECKING:  # the table of families is read before torch is loaded
    from torch import Tensor

FIRST = "conditioner.embedders.0.transformer."
SECOND = "conditioner.embedders.1.model."
ONLY = "conditioner.embedders.0.model."
CHANNELS = (4, 8, 9)  # plain, edit, inpainting
FINE, COARSE = 6.0, 2.5  # aesthetic scores of what is wanted and of what is not, as AUTOMATIC1111 sets them
LATENTS = LatentFormat(channels=4, factor=8, scale=0.13025)


def bears_marks(header: Header) -> bool:
    """A UNet with an added condition, its VAE, and both text encoders."""
    return (
        ldm.has_unet(header, channels=CHANNELS, linear=True, sizes=True)
        and clip_prefix(header, FIRST) + "embeddings.token_embedding.weight" in header.tensors
        and SECOND + "token_embedding.weight" in header.tensors
    )


def bears_refiner_marks(header: Header) -> bool:
    """The same with the one text encoder of the refiner."""
    return (
        ldm.has_unet(header, channels=CHANNELS, linear=True, sizes=True)
        and ONLY + "token_embedding.weight" in header.tensors
    )


def components(header: Header, tensors: "Mapping[str, Tensor]") -> tuple[Component, ...]:
    """UNet, VAE and two text encoders."""
    return (
        ldm.unet_component(header, tensors, heads),
        ldm.vae_component(header, tensors, full_precision=True),
        clip_component(header, tensors, FIRST, "text_encoder"),
        _second(header, tensors, SECOND, "text_encoder_2"),
    )


def refiner_components(header: Header, tensors: "Mapping[str, Tensor]") -> tuple[Component, ...]:
    """UNet, VAE and one text encoder."""
    return (
        ldm.unet_component(header, tensors, heads),
        ldm.vae_component(header, tensors, full_precision=True),
        _second(header, tensors, ONLY, "text_encoder"),
    )


def _second(header: Header, tensors: "Mapping[str, Tensor]", prefix: str, role: str) -> Component:
    layers = ldm.count(header, prefix + "transformer.resblocks.")
    config = openclip_config(header, prefix, layers=layers, projected=True)
    return openclip_component(tensors, prefix, role, config)


def sizes(width: int, height: int, *, negative: bool) -> tuple[float, ...]:  # noqa: ARG001  the column's signature
    """Original height and width, top and left of the crop, target height and width (section 2.2 of the paper)."""
    return height, width, 0, 0, height, width


def refiner_sizes(width: int, height: int, *, negative: bool) -> tuple[float, ...]:
    """Original height and width, top and left of the crop, and the aesthetic score."""
    return height, width, 0, 0, COARSE if negative else FINE


SDXL = Family(
    name="sdxl",
    title="Stable Diffusion XL",
    native_size=1024,
    latent_format=LATENTS,
    text=(
        TextEncoding(role="text_encoder", penultimate=True),
        TextEncoding(role="text_encoder_2", pad=0, penultimate=True, pooled=True),
    ),
    bears_marks=bears_marks,
    components=components,
    prediction=ldm.prediction,
    alphas_cumprod=ldm.alphas_cumprod,
    sizes=sizes,
    empty_negative_is_zero=True,
    full_precision_vae=True,
    aligned_for="sdxl",
)
SDXL_REFINER = Family(
    name="sdxl-refiner",
    title="Stable Diffusion XL Refiner",
    native_size=1024,
    latent_format=LATENTS,
    text=(TextEncoding(role="text_encoder", pad=0, penultimate=True, pooled=True),),
    bears_marks=bears_refiner_marks,
    components=refiner_components,
    prediction=ldm.prediction,
    alphas_cumprod=ldm.alphas_cumprod,
    sizes=refiner_sizes,
    empty_negative_is_zero=True,
    full_precision_vae=True,
    aligned_for="sdxl",
)
