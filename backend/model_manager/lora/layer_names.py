"""Which layer and which part of an adapter a tensor's name means, in every naming that files are written in.

kohya flattens a layer's path into one word (``lora_unet_down_blocks_0_...``), with diffusers' block names or, for SDXL,
those of the original code (``lora_unet_input_blocks_4_1_...``); diffusers and PEFT keep the dots and put the network's
name in front (``unet.down_blocks.0...``), the older of them with the attention processor's. Flattened and with
diffusers' words for the blocks, all of them meet.
"""

import re
from dataclasses import dataclass

UNET = "unet"
TEXT_ENCODER = "text_encoder"
TEXT_ENCODER_2 = "text_encoder_2"


@dataclass(frozen=True, slots=True)
class Place:
    """A layer: `role` is its network's name in `Networks`, empty if the file does not say, and `layer` its path there,
    flattened as `flat_path` does."""

    role: str
    layer: str


_KEY = re.compile(
    r"""^(?P<layer>.+?)(?=\.|_lora\.)(?:
        (?P<up>(?:\.lora_up|[._]lora\.up|\.lora_linear_layer\.up|\.lora_B(?:\.[^.]+)?)\.weight)
      | (?P<down>(?:\.lora_down|[._]lora\.down|\.lora_linear_layer\.down|\.lora_A(?:\.[^.]+)?)\.weight)
      | (?P<up_bias>(?:\.lora_up|\.lora_B(?:\.[^.]+)?)\.bias)
      | (?P<mid>\.lora_mid\.weight)
      | (?P<alpha>(?:\.lora)?\.alpha)
      | (?P<magnitude>\.lora_magnitude_vector(?:\.[^.]+)*)
      | (?P<diff>\.(?:diff|w_norm))
      | (?P<diff_b>\.(?:diff_b|b_norm))
      | (?P<own>\.(?:hada_w[12]_[ab]|hada_t[12]|lokr_w[12](?:_[ab])?|lokr_t2|oft_blocks|rescale|on_input|scale
                  |dora_scale|weight|(?:[ab][12]|bm)\.weight))
    )$""",
    re.VERBOSE,
)
_NETWORKS = (
    (re.compile(r"lora_unet_|lycoris_unet_|unet\.|(?:model\.)?diffusion_model\."), UNET),
    (re.compile(r"lora_te1?_|text_encoder\.|clip_l\.|cond_stage_model\.|conditioner\.embedders\.0\."), TEXT_ENCODER),
    (re.compile(r"lora_te2_|text_encoder_2\.|clip_g\.|conditioner\.embedders\.1\."), TEXT_ENCODER_2),
    # A diffusion transformer stands where a UNet does, and no layer of it is found there.
    (re.compile(r"(?:lora_)?transformer[._](?!text_model|resblocks)"), UNET),
)
# Names that belong to one network only, for files that do not say which they mean.
_OF_UNET = re.compile(
    r"(?:down_blocks|mid_block|up_blocks|input_blocks|middle_block|output_blocks|time_embed(?:ding)?|label_emb"
    r"|add_embedding|conv_in|conv_out|conv_norm_out)_"
)
_OF_TEXT_ENCODER = re.compile(r"text_model_|encoder_layers_")


def split_key(key: str) -> tuple[str, str] | None:
    """The layer's name as the file has it, and the part of the adapter that the tensor is, in LyCORIS' words with the
    spellings of the others made one (``up``, ``down``, ``mid``, ``alpha``, ``magnitude``, ``diff``, ``hada_w1_a`` ...);
    nothing for what is no part of an adapter."""
    match = _KEY.match(key)
    if match is None or match.lastgroup is None:
        return None
    part = match.lastgroup
    if part == "own":
        part = match[part][1:]
        part = part if part == "weight" else part.removesuffix(".weight")
    return match["layer"], part


def place(layer: str) -> Place:
    """Where the layer of that name is."""
    role = ""
    name = layer.removeprefix("base_model.model.")
    for pattern, network in _NETWORKS:
        if found := pattern.match(name):
            role, name = network, name[found.end() :]
            break
    flat = name.removeprefix("base_model.model.").removeprefix("lycoris_").replace(".", "_")
    if not role:
        if _OF_UNET.match(flat):
            role = UNET
        elif _OF_TEXT_ENCODER.match(flat):
            role = TEXT_ENCODER
    flat = flat.replace("_processor_", "_")
    if role == UNET:
        return Place(role, _unet_layer(flat))
    return Place(role, _text_layer(flat))


def flat_path(path: str) -> str:
    """A module's dotted path in the form of `Place.layer`, the same for CLIP text encoders with and without the outer
    ``text_model`` that transformers 5 took away."""
    return path.replace(".", "_").removeprefix("text_model_")


# The original code counts blocks through, three to a level: two of layers and one that changes the resolution.
_BLOCK = re.compile(r"(?P<side>input_blocks|output_blocks)_(?P<number>\d+)_(?P<place>\d)_(?P<rest>.+)")
_MIDDLE = {"0": "resnets_0", "1": "attentions_0", "2": "resnets_1"}
_RESNET = {
    "in_layers_0": "norm1",
    "in_layers_2": "conv1",
    "emb_layers_1": "time_emb_proj",
    "out_layers_0": "norm2",
    "out_layers_3": "conv2",
    "skip_connection": "conv_shortcut",
}
_OUTSIDE = {
    "input_blocks_0_0": "conv_in",
    "time_embed_0": "time_embedding_linear_1",
    "time_embed_2": "time_embedding_linear_2",
    "label_emb_0_0": "add_embedding_linear_1",
    "label_emb_0_2": "add_embedding_linear_2",
    "out_0": "conv_norm_out",
    "out_2": "conv_out",
}


def _unet_layer(flat: str) -> str:
    """Diffusers' flattened name of a UNet's layer."""
    if flat in _OUTSIDE:
        return _OUTSIDE[flat]
    if flat.startswith("middle_block_"):
        number, _, rest = flat.removeprefix("middle_block_").partition("_")
        return f"mid_block_{_MIDDLE.get(number, number)}_{_RESNET.get(rest, rest)}"
    if found := _BLOCK.fullmatch(flat):
        return _numbered_layer(found["side"], int(found["number"]), found["place"], found["rest"])
    # Older files name the output projection without its place in the list that holds it.
    return re.sub(r"(_attn[12]_to_out)$", r"\1_0", flat)


def _numbered_layer(side: str, number: int, place: str, rest: str) -> str:
    if side == "input_blocks":
        (level, layer), way = divmod(number - 1, 3), "down"
    else:
        (level, layer), way = divmod(number, 3), "up"
    if rest in ("op", "conv"):
        return f"{way}_blocks_{level}_{way}samplers_0_conv"
    kind = "resnets" if place == "0" else "attentions"
    return f"{way}_blocks_{level}_{kind}_{layer}_{_RESNET.get(rest, rest)}"


_OPEN_CLIP = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp_c_fc": "mlp_fc1",
    "mlp_c_proj": "mlp_fc2",
    "attn_out_proj": "self_attn_out_proj",
    "attn_in_proj": "self_attn_in_proj",
}
FUSED = "self_attn_in_proj"
FUSED_FROM = ("self_attn_q_proj", "self_attn_k_proj", "self_attn_v_proj")  # row by row, in this order


def _text_layer(flat: str) -> str:
    """Transformers' flattened name of a CLIP text encoder's layer; OpenCLIP's fused projection keeps a name of its own
    (`FUSED`), because no single layer of transformers is it."""
    flat = re.sub(r"^(?:transformer_(?=text_model_)|model_(?=transformer_resblocks_))", "", flat)
    flat = flat.removeprefix("text_model_")
    if found := re.fullmatch(r"transformer_resblocks_(\d+)_(.+)", flat):
        return f"encoder_layers_{found[1]}_{_OPEN_CLIP.get(found[2], found[2])}"
    flat = re.sub(r"_self_attn_to_([qkv])$", r"_self_attn_\1_proj", flat)
    return re.sub(r"_self_attn_to_out(?:_0)?$", "_self_attn_out_proj", flat)
