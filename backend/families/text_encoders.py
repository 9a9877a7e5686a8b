"""The text encoders of the single-file layouts: CLIP's in transformers' names, OpenCLIP's in its own.

Both are the same network (Radford et al. 2021); they differ in widths, in the activation, and in that OpenCLIP keeps
the three projections of an attention in one matrix.
"""

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from backend.families.family import Component
from backend.families.ldm import below, count
from backend.model_manager.header import Header

if TYPE_CHECKING:  # the table of families is read before torch is loaded
    from torch import Tensor

HEAD_WIDTH = 64
# OpenCLIP's names within a layer, and transformers'.
_OPENCLIP = (
    ("ln_1.", "layer_norm1."),
    ("ln_2.", "layer_norm2."),
    ("mlp.c_fc.", "mlp.fc1."),
    ("mlp.c_proj.", "mlp.fc2."),
    ("attn.out_proj.", "self_attn.out_proj."),
)
_OPENCLIP_ENDS = {
    "token_embedding.weight": "embeddings.token_embedding.weight",
    "positional_embedding": "embeddings.position_embedding.weight",
    "ln_final.weight": "final_layer_norm.weight",
    "ln_final.bias": "final_layer_norm.bias",
}


def heads(width: int) -> int:
    """The number of attention heads of a text encoder of this width."""
    return max(1, width // HEAD_WIDTH)


def clip_prefix(header: Header, prefix: str) -> str:
    """`prefix`, and ``text_model.`` below it where the file keeps that level; some old ones do not."""
    nested = prefix + "text_model."
    return nested if any(key.startswith(nested) for key in header.tensors) else prefix


def clip_config(header: Header, prefix: str) -> dict[str, Any]:
    """The constructor arguments of CLIP-L's text encoder, whose tensors begin with `prefix`."""
    prefix = clip_prefix(header, prefix)
    tokens, width = header.shape(f"{prefix}embeddings.token_embedding.weight")
    return {
        "vocab_size": tokens,
        "hidden_size": width,
        "intermediate_size": header.shape(f"{prefix}encoder.layers.0.mlp.fc1.weight")[0],
        "num_hidden_layers": count(header, f"{prefix}encoder.layers."),
        "num_attention_heads": heads(width),
        "max_position_embeddings": header.shape(f"{prefix}embeddings.position_embedding.weight")[0],
        "hidden_act": "quick_gelu",
    }


def clip_component(header: Header, tensors: "Mapping[str, Tensor]", prefix: str, role: str) -> Component:
    """CLIP-L's text encoder."""
    named = below(tensors, clip_prefix(header, prefix))
    return text_component(role, clip_config(header, prefix), named)


def openclip_config(header: Header, prefix: str, *, layers: int, projected: bool) -> dict[str, Any]:
    """The constructor arguments of the first `layers` layers of an OpenCLIP text encoder."""
    tokens, width = header.shape(f"{prefix}token_embedding.weight")
    config = {
        "vocab_size": tokens,
        "hidden_size": width,
        "intermediate_size": header.shape(f"{prefix}transformer.resblocks.0.mlp.c_fc.weight")[0],
        "num_hidden_layers": layers,
        "num_attention_heads": heads(width),
        "max_position_embeddings": header.shape(f"{prefix}positional_embedding")[0],
        "hidden_act": "gelu",
    }
    return config | {"projection_dim": header.shape(f"{prefix}text_projection")[1]} if projected else config


def openclip_component(tensors: "Mapping[str, Tensor]", prefix: str, role: str, config: Mapping[str, Any]) -> Component:
    """An OpenCLIP text encoder, as many layers of it as `config` has."""
    named: dict[str, Tensor] = {}
    for key, tensor in below(tensors, prefix).items():
        if key in _OPENCLIP_ENDS:
            named[_OPENCLIP_ENDS[key]] = tensor
        elif key == "text_projection" and "projection_dim" in config:
            # The one tensor that is copied: read across its rows, the same numbers would be added in another order.
            named["text_projection.weight"] = tensor.T.contiguous()
        elif key.startswith("transformer.resblocks."):
            number, _, rest = key.removeprefix("transformer.resblocks.").partition(".")
            if int(number) < config["num_hidden_layers"]:
                named |= {f"encoder.layers.{number}.{name}": part for name, part in _openclip_layer(rest, tensor)}
    return text_component(role, config, named)


def _openclip_layer(key: str, tensor: "Tensor") -> "list[tuple[str, Tensor]]":
    """One tensor of a layer by transformers' names: three views of it where it is of all three projections."""
    if key.startswith("attn.in_proj_"):
        kind = key.removeprefix("attn.in_proj_")
        return [(f"self_attn.{name}_proj.{kind}", part) for name, part in zip("qkv", tensor.chunk(3), strict=True)]
    for theirs, ours in _OPENCLIP:
        key = key.replace(theirs, ours)
    return [(key, tensor)]


def text_component(role: str, config: Mapping[str, Any], tensors: "Mapping[str, Tensor]") -> Component:
    """A text encoder from tensors in transformers' names below the model (``embeddings.``, ``encoder.``, ...)."""
    from backend.families.networks import architecture, text_prefix, text_shell

    prefix = text_prefix(projected="projection_dim" in config)
    return Component(
        role=role,
        architecture=architecture("text", config),
        blank=partial(text_shell, config),
        tensors={
            name if name.startswith("text_projection.") else prefix + name: tensor
            for name, tensor in tensors.items()
            if not name.endswith("position_ids")
        },
    )
