"""What the single-file layouts of the Stable Diffusion families share (Rombach et al. 2022, CompVis' names).

Every dimension is read off the header, so a checkpoint of any width in these layouts is loaded alike. What a header
cannot say is what every reader of them assumes: 32 groups, two residual blocks a level, heads by the family's rule.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from backend.errors import ModelFileError
from backend.families.family import Component
from backend.model_manager.header import Header
from backend.model_manager.identity import Prediction

if TYPE_CHECKING:  # the table of families is read before torch is loaded
    from torch import Tensor

UNET = "model.diffusion_model."
VAE = "first_stage_model."
TRAINING_STEPS = 1000
BETAS = (0.00085, 0.012)  # scaled-linear: evenly spaced square roots
LEVEL = 3  # blocks to a level: two residual blocks, and one that changes the resolution
# What a UNet is told about its shape where a folder's JSON is silent; the keys are all that are ever read.
UNET_DEFAULTS: Mapping[str, Any] = {
    "in_channels": 4,
    "out_channels": 4,
    "block_out_channels": (320, 640, 1280, 1280),
    "layers_per_block": 2,
    "cross_attention_dim": 1280,
    "attention_head_dim": 8,  # diffusers' old name for the number of heads
    "transformer_layers_per_block": 1,
    "reverse_transformer_layers_per_block": None,
    "use_linear_projection": False,
    "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
    "mid_block_type": "UNetMidBlock2DCrossAttn",
    "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
    "addition_embed_type": None,
    "addition_time_embed_dim": None,
    "projection_class_embeddings_input_dim": None,
}


def count(header: Header, prefix: str) -> int:
    """How many numbered entries follow `prefix`."""
    return len({key[len(prefix) :].split(".")[0] for key in header.tensors if key.startswith(prefix)})


def has_unet(header: Header, *, channels: Iterable[int], linear: bool, sizes: bool) -> bool:
    """A UNet of this layout with one of these numbers of input channels, its VAE beside it. Its attention projects with
    matrices if `linear`, else with convolutions; it takes an added condition if `sizes`."""
    first, projection = f"{UNET}input_blocks.0.0.weight", f"{UNET}middle_block.1.proj_in.weight"
    if projection not in header.tensors:  # a distilled UNet may have no attention in its middle
        projection = next(
            (key for key in header.tensors if key.startswith(UNET) and key.endswith("proj_in.weight")), ""
        )
    return (
        first in header.tensors
        and header.shape(first)[1:2] in [(number,) for number in channels]
        and projection in header.tensors
        and (len(header.shape(projection)) == 2) is linear
        and (f"{UNET}label_emb.0.0.weight" in header.tensors) is sizes
        and VAE + "decoder.conv_in.weight" in header.tensors
    )


def _depth(header: Header, block: str) -> int:
    """How many transformer layers follow the residual block of this name."""
    return count(header, f"{UNET}{block}.1.transformer_blocks.")


def unet_config(header: Header, heads: Callable[[int], int]) -> dict[str, Any]:
    """The constructor arguments of diffusers' UNet; `heads` gives the number of attention heads at a width."""
    levels = range(count(header, f"{UNET}input_blocks.") // LEVEL)
    widths = [header.shape(f"{UNET}input_blocks.{LEVEL * level + 1}.0.out_layers.3.weight")[0] for level in levels]
    down = [[_depth(header, f"input_blocks.{LEVEL * level + k}") for k in (1, 2)] for level in levels]
    up = [[_depth(header, f"output_blocks.{LEVEL * level + k}") for k in (0, 1, 2)] for level in levels]
    middle = _depth(header, "middle_block")
    context = next(key for key in header.tensors if key.startswith(UNET) and key.endswith(".attn2.to_k.weight"))
    config: dict[str, Any] = {
        "in_channels": header.shape(f"{UNET}input_blocks.0.0.weight")[1],
        "out_channels": header.shape(f"{UNET}out.2.weight")[0],
        "block_out_channels": widths,
        "cross_attention_dim": header.shape(context)[1],
        "attention_head_dim": [heads(width) for width in widths],
        "down_block_types": ["CrossAttnDownBlock2D" if any(depths) else "DownBlock2D" for depths in down],
        "mid_block_type": "UNetMidBlock2DCrossAttn" if middle else "UNetMidBlock2D",
        "up_block_types": ["CrossAttnUpBlock2D" if any(depths) else "UpBlock2D" for depths in up],
        "use_linear_projection": len(header.shape(context.partition("transformer_blocks")[0] + "proj_in.weight")) == 2,
    }
    alike = [depths[0] for depths in down]
    if all(set(row) == {depth} for row, depth in zip([*down, *reversed(up)], [*alike, *alike], strict=True)):
        # The middle's depth is told by the last level, which has none of its own if it has no attention.
        config["transformer_layers_per_block"] = [*alike[:-1], middle or alike[-1]]
    else:
        config["transformer_layers_per_block"] = down
        config["reverse_transformer_layers_per_block"] = up
    if f"{UNET}label_emb.0.0.weight" in header.tensors:
        config |= {
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": SIZE_FEATURES,
            "projection_class_embeddings_input_dim": header.shape(f"{UNET}label_emb.0.0.weight")[1],
        }
    return whole_unet_config(config)


SIZE_FEATURES = 256  # sines and cosines that each number about the picture is told with


def whole_unet_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The same with everything said in one way, so that equal networks have equal configurations."""
    whole = {**UNET_DEFAULTS, **config}
    levels = len(whole["block_out_channels"])
    for name in ("attention_head_dim", "transformer_layers_per_block"):
        if isinstance(whole[name], int):
            whole[name] = [whole[name]] * levels
    # Whatever is said of the depth of a level without attention, it has none. The last level's is the middle's too.
    down = zip(whole["transformer_layers_per_block"], whole["down_block_types"], range(levels), strict=True)
    whole["transformer_layers_per_block"] = [
        1 if kind == "DownBlock2D" and level < levels - 1 else depths for depths, kind, level in down
    ]
    if whole["reverse_transformer_layers_per_block"] is not None:
        up = zip(whole["reverse_transformer_layers_per_block"], whole["up_block_types"], strict=True)
        whole["reverse_transformer_layers_per_block"] = [1 if kind == "UpBlock2D" else depths for depths, kind in up]
    return {name: list(value) if isinstance(value, tuple) else value for name, value in whole.items()}


def unet_component(header: Header, tensors: "Mapping[str, Tensor]", heads: Callable[[int], int]) -> Component:
    """The UNet of a single file."""
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint

    from backend.families.networks import architecture, unet_shell

    config = unet_config(header, heads)
    return Component(
        role="unet",
        architecture=architecture("unet", config),
        blank=partial(unet_shell, config),
        tensors=convert_ldm_unet_checkpoint(below(tensors, UNET, keep=True), config),
    )


def below(tensors: "Mapping[str, Tensor]", prefix: str, *, keep: bool = False) -> "dict[str, Tensor]":
    """The tensors whose names begin with `prefix`, without it unless it is to be kept."""
    return {
        key if keep else key.removeprefix(prefix): tensor for key, tensor in tensors.items() if key.startswith(prefix)
    }


def vae_config(header: Header, prefix: str = VAE) -> dict[str, Any]:
    """The constructor arguments of diffusers' autoencoder, from names in either layout."""
    ours = f"{prefix}encoder.down_blocks." if _has_diffusers_vae(header, prefix) else f"{prefix}encoder.down."
    block = "resnets" if ours.endswith("blocks.") else "block"
    return {
        "block_out_channels": [
            header.shape(f"{ours}{level}.{block}.0.conv2.weight")[0] for level in range(count(header, ours))
        ],
        "layers_per_block": count(header, f"{ours}0.{block}."),
        "latent_channels": header.shape(f"{prefix}post_quant_conv.weight")[0],
    }


def _has_diffusers_vae(header: Header, prefix: str) -> bool:
    return f"{prefix}decoder.mid_block.resnets.0.norm1.weight" in header.tensors


def vae_component(header: Header, tensors: "Mapping[str, Tensor]", *, full_precision: bool = False) -> Component:
    """The autoencoder of a checkpoint, or of a file that holds nothing else: CompVis' names with or without their
    prefix, or diffusers'. Raises `ModelFileError` for a file without an autoencoder of four latent channels."""
    from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint

    from backend.families.networks import architecture, vae_shell

    prefix = next((p for p in (VAE, "vae.", "") if f"{p}decoder.conv_in.weight" in header.tensors), None)
    if prefix is None or len(header.shape(f"{prefix}decoder.conv_in.weight")) != 4:
        raise ModelFileError("There is no autoencoder for pictures in this file.")
    if (
        header.tensors.get(f"{prefix}post_quant_conv.weight") is None
        or header.shape(f"{prefix}post_quant_conv.weight")[0] != 4
    ):
        channels = header.shape(f"{prefix}decoder.conv_in.weight")[1]
        raise ModelFileError(f"The autoencoder in this file has {channels} latent channels; Stable Diffusion's has 4.")
    config = vae_config(header, prefix)
    parts = ("encoder.", "decoder.", "quant_conv.", "post_quant_conv.")
    own = {key: tensor for key, tensor in below(tensors, prefix).items() if key.startswith(parts)}
    if _has_diffusers_vae(header, prefix):
        named = {attention_named(key): tensor for key, tensor in own.items()}
    else:
        levels = {"down_block_types": config["block_out_channels"], "up_block_types": config["block_out_channels"]}
        named = convert_ldm_vae_checkpoint(own, levels)
    return Component(
        role="vae",
        architecture=architecture("vae", config),
        blank=partial(vae_shell, config),
        tensors=named,
        full_precision=full_precision,
    )


def attention_named(key: str) -> str:
    """The name that diffusers has given to a VAE's attention since 0.15."""
    for old, new in {".query.": ".to_q.", ".key.": ".to_k.", ".value.": ".to_v.", ".proj_attn.": ".to_out.0."}.items():
        key = key.replace(old, new)
    return key


def alphas_cumprod(*, zero_terminal_snr: bool = False) -> "Tensor":
    """Products of 1 - beta over the 1000 training steps, float32, shape (1000,).

    With `zero_terminal_snr` rescaled so that the last has no signal (Lin et al. 2023, "Common Diffusion Noise Schedules
    and Sample Steps are Flawed", algorithm 1); as no noise level is infinite, it keeps the trace that AUTOMATIC1111
    leaves it.
    """
    import torch

    low, high = BETAS
    betas = torch.linspace(low**0.5, high**0.5, TRAINING_STEPS, dtype=torch.float64) ** 2
    alphas = (1 - betas).cumprod(0)
    if zero_terminal_snr:
        roots = alphas.sqrt()
        alphas = ((roots - roots[-1]) * (roots[0] / (roots[0] - roots[-1]))) ** 2
        alphas[-1] = LEAST_SIGNAL
    return alphas.float()


LEAST_SIGNAL = 4.8973451890853435e-08


def prediction(header: Header, _tensors: "Mapping[str, Tensor]") -> Prediction:
    """What the file says its UNet guesses, in ModelSpec's metadata or by a marker tensor; else noise."""
    said = header.metadata.get("modelspec.prediction_type", "")
    return "v" if said == "v" or "v_pred" in header.tensors else "epsilon"


def has_zero_terminal_snr(header: Header) -> bool:
    """Whether the file bears the marker of a model that was trained down to no signal at all."""
    return "ztsnr" in header.tensors
