"""Checkpoints that tests write themselves: the real layouts, small random networks."""

import functools
import json
import re
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from starter import layout


def tiny_vae() -> AutoencoderKL:
    """An autoencoder of four levels, as narrow as 32 groups allow."""
    return AutoencoderKL(
        # Annotated as tuples of one, whatever the number of levels.
        block_out_channels=(32, 32, 32, 32),  # pyright: ignore[reportArgumentType]
        down_block_types=("DownEncoderBlock2D",) * 4,  # pyright: ignore[reportArgumentType]
        up_block_types=("UpDecoderBlock2D",) * 4,  # pyright: ignore[reportArgumentType]
        layers_per_block=2,
        latent_channels=4,
    )


def tiny_networks(seed: int = 0) -> tuple[UNet2DConditionModel, AutoencoderKL, CLIPTextModel]:
    """UNet, VAE and text encoder of Stable Diffusion 1.x's shape, as narrow as 32 groups allow."""
    torch.manual_seed(seed)
    unet = UNet2DConditionModel(block_out_channels=(32, 32, 64, 64), cross_attention_dim=64, attention_head_dim=8)
    vae = tiny_vae()
    text = CLIPTextConfig(
        hidden_size=64, intermediate_size=64, num_hidden_layers=2, num_attention_heads=1, hidden_act="quick_gelu"
    )
    return unet, vae, CLIPTextModel(text)


def write_tiny_checkpoint(path: Path, seed: int = 0) -> None:
    """Write such networks in the single-file layout."""
    layout.write(path, *tiny_networks(seed))


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A family and variant: the arguments of its tiny UNet, and its text encoders by their prefix in a single file."""

    family: str
    unet: Mapping[str, Any]
    text: Mapping[str, Callable[[], nn.Module]]
    variant: str = ""
    unused_layers: int = 0

    @property
    def name(self) -> str:
        return "-".join(filter(None, (self.family, self.variant)))


@dataclass(frozen=True, kw_only=True)
class Tiny:
    """The random networks of a kind. `text` are its text encoders by their prefix in a single file."""

    kind: Kind
    unet: UNet2DConditionModel
    vae: AutoencoderKL
    text: Mapping[str, nn.Module]


def _clip() -> nn.Module:
    return CLIPTextModel(
        CLIPTextConfig(
            hidden_size=64, intermediate_size=64, num_hidden_layers=3, num_attention_heads=1, hidden_act="quick_gelu"
        )
    )


def _openclip(width: int, *, projected: bool) -> Callable[[], nn.Module]:
    config: dict[str, Any] = {
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "num_hidden_layers": 3,
        "num_attention_heads": width // 64,
        "hidden_act": "gelu",
    }
    if not projected:
        return lambda: CLIPTextModel(CLIPTextConfig(**config))
    return lambda: CLIPTextModelWithProjection(CLIPTextConfig(**config, projection_dim=width))


_SD1 = {"block_out_channels": (32, 32, 64, 64), "cross_attention_dim": 64, "attention_head_dim": 8}
_SD2 = {
    "block_out_channels": (32, 64, 128, 128),
    "cross_attention_dim": 64,
    "attention_head_dim": (1, 1, 2, 2),
    "use_linear_projection": True,
}
_SDXL = {
    "block_out_channels": (32, 64, 128),
    "cross_attention_dim": 64 + 128,
    "attention_head_dim": (1, 1, 2),
    "transformer_layers_per_block": (1, 2, 3),
    "use_linear_projection": True,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 128 + 6 * 256,
}
_SSD = _SDXL | {
    "transformer_layers_per_block": ((1, 1), (2, 2), (3, 3)),
    "reverse_transformer_layers_per_block": ((3, 3, 4), (2, 1, 1), (1, 1, 1)),
    "mid_block_type": "UNetMidBlock2D",
}
_REFINER = _SDXL | {
    "block_out_channels": (32, 64, 128, 128),
    "cross_attention_dim": 128,
    "attention_head_dim": (1, 1, 2, 2),
    "transformer_layers_per_block": 2,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "projection_class_embeddings_input_dim": 128 + 5 * 256,
}
_TEXT: Mapping[str, Mapping[str, Callable[[], nn.Module]]] = {
    "sd1": {"cond_stage_model.transformer.": _clip},
    "sd2": {"cond_stage_model.model.": _openclip(64, projected=False)},
    "sdxl": {
        "conditioner.embedders.0.transformer.": _clip,
        "conditioner.embedders.1.model.": _openclip(128, projected=True),
    },
    "sdxl-refiner": {"conditioner.embedders.0.model.": _openclip(128, projected=True)},
}
_CHANNELS = {"": 4, "depth": 5, "instruct-pix2pix": 8, "inpainting": 9}


def _kind(family: str, unet: Mapping[str, Any], variant: str = "") -> Kind:
    return Kind(
        family=family,
        variant=variant,
        unet={**unet, "in_channels": _CHANNELS.get(variant, 4)},
        text=_TEXT[family],
        unused_layers=1 if family == "sd2" else 0,
    )


KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        _kind("sd1", _SD1),
        _kind("sd1", _SD1, "inpainting"),
        _kind("sd1", _SD1, "instruct-pix2pix"),
        _kind("sd2", _SD2),
        _kind("sd2", _SD2, "inpainting"),
        _kind("sd2", _SD2, "depth"),
        _kind("sdxl", _SDXL),
        _kind("sdxl", _SDXL, "inpainting"),
        _kind("sdxl", _SDXL, "instruct-pix2pix"),
        _kind("sdxl", _SSD, "ssd-1b"),
        _kind("sdxl-refiner", _REFINER),
    )
}


def tiny(name: str, seed: int = 0) -> Tiny:
    """Random networks of a row of `KINDS`."""
    kind = KINDS[name]
    torch.manual_seed(seed)
    networks = Tiny(
        kind=kind,
        unet=UNet2DConditionModel(**kind.unet),
        vae=tiny_vae(),
        text={prefix: make() for prefix, make in kind.text.items()},
    )
    for module in (networks.unet, networks.vae, *networks.text.values()):
        module.eval().requires_grad_(False)
    return networks


def single_file(networks: Tiny) -> dict[str, Tensor]:
    """The tensors of these networks by their original names, those that no reader uses among them."""
    state = networks.unet.state_dict()
    tensors = {f"model.diffusion_model.{_unet_name(k, state)}": v for k, v in state.items()}
    of_vae = networks.vae.state_dict()
    for name, own in _vae_names().items():
        is_projection = re.search(r"\.(to_[qkv]|to_out\.0)\.weight$", own)
        tensors[name] = of_vae[own][..., None, None] if is_projection else of_vae[own]
    torch.manual_seed(0)  # what no reader uses is random, and the same in every file
    for prefix, module in networks.text.items():
        state = {k: v for k, v in module.state_dict().items() if not k.endswith("position_ids")}
        if prefix.endswith("transformer."):
            tensors |= {f"{prefix}text_model.{k.removeprefix('text_model.')}": v for k, v in state.items()}
        else:
            tensors |= {prefix + k: v for k, v in _openclip_names(state, networks.kind.unused_layers).items()}
    return tensors | {"model_ema.decay": torch.zeros(1)}


@functools.cache
def _vae_names() -> Mapping[str, str]:
    """The autoencoder's names in a file and its own. All families share them, and the starter's table knows them."""
    names = layout.file_names(*tiny_networks())
    return {name: own for name, (network, own) in names.items() if network == "vae"}


def unused(name: str) -> bool:
    """Whether a tensor of `single_file` is in every such file and means nothing."""
    sd2 = name.startswith("cond_stage_model.model.") and (".resblocks.3." in name or name.endswith("text_projection"))
    return sd2 or name.endswith("logit_scale") or name.startswith("model_ema.")


def write_single_file(
    path: Path, networks: Tiny, dtype: torch.dtype = torch.float32, metadata: Mapping[str, str] | None = None
) -> None:
    """Write the networks in their original layout."""
    tensors = {name: tensor.to(dtype).contiguous() for name, tensor in single_file(networks).items()}
    save_file(tensors, path, metadata=dict(metadata or {}))


_UNET_ENDS = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
_RESIDUAL = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}


def _unet_name(name: str, all_names: Container[str]) -> str:
    """A tensor's name in CompVis' layout, for a UNet of any number of levels with two residual blocks each."""
    module, _, leaf = name.rpartition(".")
    if module in _UNET_ENDS:
        return f"{_UNET_ENDS[module]}.{leaf}"
    place = re.match(r"(down_blocks|up_blocks|mid_block)\.(?:(\d)\.)?(\w+?)\.(\d)\.(.*)", name)
    assert place, name
    part, level, kind, number = place[1], int(place[2] or 0), place[3], int(place[4])
    match part, kind:
        case "mid_block", "resnets":
            block = f"middle_block.{2 * number}"
        case "mid_block", _:
            block = "middle_block.1"
        case "down_blocks", "downsamplers":
            return f"input_blocks.{3 * level + 3}.0.op.{leaf}"
        case "down_blocks", _:
            block = f"input_blocks.{3 * level + number + 1}.{int(kind == 'attentions')}"
        case _, "upsamplers":
            attends = f"up_blocks.{level}.attentions.0.norm.weight" in all_names
            return f"output_blocks.{3 * level + 2}.{1 + attends}.conv.{leaf}"
        case _:
            block = f"output_blocks.{3 * level + number}.{int(kind == 'attentions')}"
    rest = place[5]
    if kind == "resnets":
        own, _, leaf = rest.rpartition(".")
        rest = f"{_RESIDUAL[own]}.{leaf}"
    return f"{block}.{rest}"


def _openclip_names(state: Mapping[str, Tensor], unused_layers: int) -> dict[str, Tensor]:
    """A text encoder in OpenCLIP's names, with as many random layers behind it as its readers leave out."""
    names = {
        "embeddings.token_embedding.weight": "token_embedding.weight",
        "embeddings.position_embedding.weight": "positional_embedding",
        "final_layer_norm.weight": "ln_final.weight",
        "final_layer_norm.bias": "ln_final.bias",
    }
    within = {
        "layer_norm1": "ln_1",
        "layer_norm2": "ln_2",
        "mlp.fc1": "mlp.c_fc",
        "mlp.fc2": "mlp.c_proj",
        "self_attn.out_proj": "attn.out_proj",
    }
    own = {key.removeprefix("text_model."): tensor for key, tensor in state.items()}
    width = own["final_layer_norm.bias"].shape[0]
    named = {"logit_scale": torch.ones(()), "text_projection": torch.randn(width, width)}
    layers = 0
    for key, tensor in own.items():
        if key in names:
            named[names[key]] = tensor
        elif key == "text_projection.weight":
            named["text_projection"] = tensor.T
        elif part := re.match(r"encoder\.layers\.(\d+)\.(.*)\.(weight|bias)", key):
            layers = max(layers, int(part[1]) + 1)
            block = f"transformer.resblocks.{part[1]}."
            if part[2] in within:
                named[f"{block}{within[part[2]]}.{part[3]}"] = tensor
            elif part[2] == "self_attn.q_proj":
                fused = [own[key.replace("q_proj", f"{letter}_proj")] for letter in "qkv"]
                named[f"{block}attn.in_proj_{part[3]}"] = torch.cat(fused)
    for extra in range(layers, layers + unused_layers):
        model = {key: tensor for key, tensor in named.items() if ".resblocks.0." in key}
        named |= {key.replace(".0.", f".{extra}.", 1): torch.randn_like(tensor) for key, tensor in model.items()}
    return named


def write_folder(
    path: Path,
    networks: Tiny,
    *,
    scheduler: Mapping[str, Any] | None = None,
    variant: str | None = None,
    shard: str = "10GB",
) -> None:
    """Write the networks as diffusers and transformers save them, with the JSON that a pipeline has around them."""
    refiner = networks.kind.family == "sdxl-refiner"
    names = ["text_encoder_2"] if refiner else ["text_encoder", "text_encoder_2"]
    text = dict(zip(names, networks.text.values(), strict=False))
    networks.unet.save_pretrained(path / "unet", variant=variant, max_shard_size=shard)
    networks.vae.save_pretrained(path / "vae", variant=variant)
    for name, module in text.items():
        module.save_pretrained(path / name, variant=variant)  # pyright: ignore[reportCallIssue]
    entries: dict[str, Any] = {"_class_name": "StableDiffusionPipeline", "text_encoder": [None, None]}
    entries |= {name: ["transformers", type(module).__name__] for name, module in text.items()}
    (path / "model_index.json").write_text(json.dumps(entries))
    (path / "scheduler").mkdir()
    (path / "scheduler" / "scheduler_config.json").write_text(json.dumps(dict(scheduler or {})))
