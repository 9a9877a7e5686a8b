"""Networks to the single-file layout of Stable Diffusion 1.x and back, by renaming.

The product reads such files with its own loader; this is the other direction, for whoever makes one: the starter's
training, the benchmark's full-size file, the tests' tiny ones. `write` and `read` are exact inverses.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

UNET, VAE, TEXT = "model.diffusion_model.", "first_stage_model.", "cond_stage_model.transformer.text_model."
LEVELS = 4

_UNET_FIXED = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "mid_block.resnets.0": "middle_block.0",
    "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.1": "middle_block.2",
}
_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}
_VAE_NAMES = (
    ("downsamplers.0", "downsample"),
    ("upsamplers.0", "upsample"),
    ("mid_block.resnets.0", "mid.block_1"),
    ("mid_block.resnets.1", "mid.block_2"),
    ("mid_block.attentions.0", "mid.attn_1"),
    ("conv_norm_out", "norm_out"),
    ("conv_shortcut", "nin_shortcut"),
    ("group_norm", "norm"),
    ("to_q", "q"),
    ("to_k", "k"),
    ("to_v", "v"),
    ("to_out.0", "proj_out"),
)


def _unet_blocks() -> Iterator[tuple[str, str]]:
    yield from _UNET_FIXED.items()
    for level in range(LEVELS):
        for layer in (0, 1):
            block = f"input_blocks.{3 * level + layer + 1}"
            yield f"down_blocks.{level}.resnets.{layer}", f"{block}.0"
            yield f"down_blocks.{level}.attentions.{layer}", f"{block}.1"
        yield f"down_blocks.{level}.downsamplers.0.conv", f"input_blocks.{3 * level + 3}.0.op"
        for layer in (0, 1, 2):
            block = f"output_blocks.{3 * level + layer}"
            yield f"up_blocks.{level}.resnets.{layer}", f"{block}.0"
            yield f"up_blocks.{level}.attentions.{layer}", f"{block}.1"
        # The last level before full resolution has no attention, so its upsampler moves up one place.
        yield f"up_blocks.{level}.upsamplers.0.conv", f"output_blocks.{3 * level + 2}.{1 if level == 0 else 2}.conv"


def _unet_name(name: str) -> str:
    for ours, theirs in _unet_blocks():
        if name.startswith(ours + "."):
            rest = name[len(ours) + 1 :]
            if ".resnets." in f".{ours}":
                module, _, leaf = rest.rpartition(".")
                rest = f"{_RESNET[module]}.{leaf}"
            return f"{theirs}.{rest}"
    raise KeyError(name)


def _vae_name(name: str) -> str:
    for ours, theirs in _VAE_NAMES:
        name = re.sub(rf"(?<![^.]){re.escape(ours)}(?![^.])", theirs, name)
    name = re.sub(r"down_blocks\.(\d)\.resnets\.", r"down.\1.block.", name)
    name = re.sub(r"down_blocks\.(\d)\.", r"down.\1.", name)
    name = re.sub(r"up_blocks\.(\d)\.resnets\.", lambda m: f"up.{LEVELS - 1 - int(m[1])}.block.", name)
    return re.sub(r"up_blocks\.(\d)\.", lambda m: f"up.{LEVELS - 1 - int(m[1])}.", name)


def _is_vae_projection(name: str) -> bool:
    """Attention projections of the VAE are 1x1 convolutions in the file and matrices in diffusers."""
    return bool(re.search(r"\.(to_[qkv]|to_out\.0)\.weight$", name))


def file_names(unet: nn.Module, vae: nn.Module, text_encoder: nn.Module) -> dict[str, tuple[str, str]]:
    """Single-file key -> (network, its own key), for every tensor of the three networks."""
    names = {UNET + _unet_name(k): ("unet", k) for k in unet.state_dict()}
    names |= {VAE + _vae_name(k): ("vae", k) for k in vae.state_dict()}
    for key in text_encoder.state_dict():
        if not key.endswith("position_ids"):
            names[TEXT + key.removeprefix("text_model.")] = ("text_encoder", key)
    return names


def write(
    path: Path, unet: nn.Module, vae: nn.Module, text_encoder: nn.Module, metadata: Mapping[str, str] | None = None
) -> None:
    """Write the three networks to `path` in half precision, the SD 1.x layout; `metadata` goes into the header."""
    states = {"unet": unet.state_dict(), "vae": vae.state_dict(), "text_encoder": text_encoder.state_dict()}
    tensors: dict[str, Tensor] = {}
    for key, (network, own) in file_names(unet, vae, text_encoder).items():
        tensor = states[network][own].detach().to("cpu", torch.float16)
        if network == "vae" and _is_vae_projection(own):
            tensor = tensor[..., None, None]
        tensors[key] = tensor.contiguous()
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    save_file(tensors, partial, metadata=dict(metadata or {}))
    partial.chmod(0o644)  # safetensors makes files that only their owner may read
    partial.replace(path)


def read(path: Path, unet: nn.Module, vae: nn.Module, text_encoder: nn.Module) -> None:
    """Fill the three networks from a file that `write` made (their sizes must be the file's)."""
    tensors = load_file(path)
    networks = {"unet": unet, "vae": vae, "text_encoder": text_encoder}
    states: dict[str, dict[str, Tensor]] = {name: {} for name in networks}
    for key, (network, own) in file_names(unet, vae, text_encoder).items():
        tensor = tensors[key].float()
        states[network][own] = tensor[..., 0, 0] if network == "vae" and _is_vae_projection(own) else tensor
    for name, network in networks.items():
        missing = network.load_state_dict(states[name], strict=False).missing_keys
        lacking = [key for key in missing if not key.endswith("position_ids")]
        if lacking:
            raise KeyError(f"{path} lacks {lacking[0]} and {len(lacking) - 1} more tensors of the {name}")
