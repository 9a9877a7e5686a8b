"""Stable Diffusion 2.x: OpenCLIP-H's text encoder, and a UNet whose heads are 64 wide and project with matrices.

The base, inpainting and depth kinds guess noise, 2.0-v and 2.1-v the velocity (Salimans & Ho 2022).
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from backend.families import ldm
from backend.families.family import Component, Family, LatentFormat, TextEncoding
from backend.families.ldm import UNET
from backend.families.text_encoders import heads, openclip_component, openclip_config
from backend.model_manager.header import Header
from backend.model_manager.identity import Prediction
from backend.model_manager.recognition.unet_identity import V_PREDICTION_BIAS, V_PREDICTION_SPREAD

if TYPE_CHECKING:  # the table of families is read before torch is loaded
    from torch import Tensor

TEXT = "cond_stage_model.model."
CHANNELS = (4, 5, 9)  # plain, depth, inpainting
LAYERS = 23  # of OpenCLIP-H's 24: the last was never used, and some files leave it out


def bears_marks(header: Header) -> bool:
    """A UNet with linear `proj_in`, its VAE, and OpenCLIP's text encoder."""
    return (
        ldm.has_unet(header, channels=CHANNELS, linear=True, sizes=False)
        and TEXT + "token_embedding.weight" in header.tensors
    )


def components(header: Header, tensors: "Mapping[str, Tensor]") -> tuple[Component, ...]:
    """UNet, VAE, and the text encoder without its last layer."""
    there = ldm.count(header, TEXT + "transformer.resblocks.")
    layers = there if there == LAYERS else there - 1
    text = openclip_config(header, TEXT, layers=layers, projected=False)
    return (
        ldm.unet_component(header, tensors, heads),
        ldm.vae_component(header, tensors),
        openclip_component(tensors, TEXT, "text_encoder", text),
    )


def prediction(header: Header, tensors: "Mapping[str, Tensor]") -> Prediction:
    """What the metadata say, else what one bias of a plain UNet tells."""
    said = header.metadata.get("modelspec.prediction_type", "")
    plain = header.shape(UNET + "input_blocks.0.0.weight")[1] == 4
    if said or not plain or V_PREDICTION_BIAS not in tensors:
        return ldm.prediction(header, tensors)
    spread = float(tensors[V_PREDICTION_BIAS].float().std())
    return "v" if spread > V_PREDICTION_SPREAD else ldm.prediction(header, tensors)


SD2 = Family(
    name="sd2",
    title="Stable Diffusion 2.x",
    native_size=512,
    native_size_of_v=768,
    latent_format=LatentFormat(channels=4, factor=8, scale=0.18215),
    text=(TextEncoding(role="text_encoder", pad=0),),
    bears_marks=bears_marks,
    components=components,
    prediction=prediction,
    alphas_cumprod=ldm.alphas_cumprod,
)
