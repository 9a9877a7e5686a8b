"""The networks of a latent diffusion checkpoint, side by side, and the empty shells that they are made from."""

import json
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import transformers
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from packaging import version
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from backend.families.family import Component
from backend.model_manager.identity import Prediction

# A text encoder that ends in a projection (SDXL's second, and the refiner's) keeps the other's interface.
TextEncoder = CLIPTextModel | CLIPTextModelWithProjection
FLATTENED = version.Version("5.6")
M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True)
class Networks:
    """UNet, VAE and text encoders of one checkpoint, all in evaluation mode and without gradients.

    `prediction` is what the UNet guesses, `zero_terminal_snr` whether it was trained to start from noise alone.
    `full_precision` names the networks that overflow in float16. The refiner's text encoder ends in a projection.
    """

    unet: UNet2DConditionModel
    vae: AutoencoderKL
    text_encoder: CLIPTextModel
    text_encoder_2: CLIPTextModelWithProjection | None = None
    prediction: Prediction = "epsilon"
    zero_terminal_snr: bool = False
    full_precision: frozenset[str] = frozenset()

    def modules(self) -> tuple[nn.Module, ...]:
        return self.unet, self.vae, *self.text_encoders()

    def text_encoders(self) -> tuple[TextEncoder, ...]:
        """One or two."""
        return (self.text_encoder,) if self.text_encoder_2 is None else (self.text_encoder, self.text_encoder_2)

    def to(self, device: torch.device, dtype: torch.dtype) -> None:
        """Move all of them; what overflows in float16 stays in float32 instead."""
        for module in self.modules():
            full = dtype == torch.float16 and module is self.vae and "vae" in self.full_precision
            # diffusers would warn of exceptions that none of these has
            nn.Module.to(module, device, torch.float32 if full else dtype)


def architecture(kind: str, config: Mapping[str, Any]) -> Hashable:
    """Equal for configurations whose shells are alike, whether they come from a header or from a folder's JSON."""
    return kind, json.dumps(config, sort_keys=True)


def unet_shell(config: Mapping[str, Any]) -> UNet2DConditionModel:
    """An empty UNet; see `Component.blank`."""
    with torch.device("meta"):
        return _evaluating(UNet2DConditionModel(**config))


def vae_shell(config: Mapping[str, Any]) -> AutoencoderKL:
    """An empty autoencoder with as many levels as `config` has widths."""
    levels = len(config["block_out_channels"])
    types: dict[str, Any] = {
        "down_block_types": ("DownEncoderBlock2D",) * levels,
        "up_block_types": ("UpDecoderBlock2D",) * levels,
    }
    with torch.device("meta"):
        return _evaluating(AutoencoderKL(**config, **types))


def text_shell(config: Mapping[str, Any]) -> TextEncoder:
    """An empty text encoder, with a projection if `config` has a ``projection_dim``."""
    kind = CLIPTextModelWithProjection if "projection_dim" in config else CLIPTextModel
    with torch.device("meta"):
        shell = _evaluating(kind(CLIPTextConfig(**config)))
    for module in shell.modules():
        for name, buffer in list(module._buffers.items()):
            if buffer is not None and buffer.is_meta:  # position_ids: no file needs to carry them
                module._buffers[name] = torch.arange(buffer.numel()).reshape(buffer.shape)
    return shell


def text_prefix(*, projected: bool) -> str:
    """What the names of a text encoder's tensors begin with: transformers flattened one of the two kinds."""
    return "text_model." if projected or version.parse(transformers.__version__) < FLATTENED else ""


def _evaluating(module: M) -> M:
    return module.eval().requires_grad_(False)


def fill(shell: nn.Module, component: Component) -> None:
    """Let the shell's parameters be the component's tensors themselves. What else the file holds is left alone.

    Raises `RuntimeError`, as torch does, if it lacks one or has it in another shape.
    """
    own = shell.state_dict()
    wrong = [name for name, empty in own.items() if getattr(component.tensors.get(name), "shape", None) != empty.shape]
    if wrong:
        more = f" and {len(wrong) - 1} more tensors" if len(wrong) > 1 else ""
        raise RuntimeError(f"there is no fitting {wrong[0]}{more} for the {component.role}")
    shell.load_state_dict({name: component.tensors[name] for name in own}, assign=True)
    shell.requires_grad_(False)


def assemble(
    components: Iterable[Component], *, prediction: Prediction = "epsilon", zero_terminal_snr: bool = False
) -> Networks:
    """Networks in shells of their own."""
    filled: dict[str, Any] = {}
    full_precision: set[str] = set()
    for component in components:
        filled[component.role] = component.blank()
        fill(filled[component.role], component)
        if component.full_precision:
            full_precision.add(component.role)
    return Networks(
        unet=filled["unet"],
        vae=filled["vae"],
        text_encoder=filled["text_encoder"],
        text_encoder_2=filled.get("text_encoder_2"),
        prediction=prediction,
        zero_terminal_snr=zero_terminal_snr,
        full_precision=frozenset(full_precision),
    )
