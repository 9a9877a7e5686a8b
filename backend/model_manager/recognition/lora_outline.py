"""What a file of weight changes is for: its algorithm, its base, and the width of the text it attends to.

Names decide, in the spellings of kohya-ss/sd-scripts, LyCORIS, diffusers and PEFT.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from backend.model_manager.header import TensorInfo
from backend.model_manager.recognition.names import Names

Tensors = Mapping[str, TensorInfo]
MOST_TENSORS_A_LAYER = 6

# Algorithm -> what occurs once in each of its layers.
_MARKS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("lora", (".lora_down.", ".lora_A.", "lora.down.", "lora_linear_layer.down.", "_lora1.down.", "_lora2.down.")),
    ("loha", (".hada_w1_a\n",)),
    ("lokr", (".lokr_w2\n", ".lokr_w2_a\n")),
    ("oft", (".oft_blocks\n", ".oft_diag\n", ".oft_R.weight\n")),
    ("glora", (".b1.weight\n",)),
    ("ia3", (".on_input\n",)),
    ("full", (".diff\n",)),
)
_DECOMPOSED = (".dora_scale\n", ".lora_magnitude_vector")
_MIDDLE = ".lora_mid."
# Ending of the tensor of a layer whose second side is the layer's input.
_INPUT_SIDES = (
    *(".lora_down.weight", ".lora_A.weight", ".lora_A.default.weight", ".lora.down.weight", "_lora.down.weight"),
    *(".lora_linear_layer.down.weight", ".hada_w1_b", ".b2.weight", ".diff"),
)
_DOWN_SIDES = (".lora_down.weight", ".lora_A.weight")
_UP_SIDES = (".lora_up.weight", ".lora_B.weight")

# Family -> what stands in its layers' names, dots written as underscores; tried from the top.
_TRANSFORMERS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("hidream", ("double_stream_blocks_",)),
    ("hunyuan-video", ("_txt_mod_linear", "_img_mod_linear", "_img_mlp_fc1", "individual_token_refiner")),
    ("chroma", ("distilled_guidance_layer",)),
    ("flux2", ("to_qkv_mlp_proj", "double_stream_modulation", "single_stream_modulation")),
    ("flux1", ("double_blocks_", "single_blocks_", "single_transformer_blocks_")),
    ("krea2", ("txtfusion_",)),
    ("qwen-image", ("_img_mlp_", "_txt_mlp_", "_img_mod_", "_txt_mod_")),
    ("sd3", ("joint_blocks_", "_attn_add_k_proj", "_attn_add_q_proj", "_attn_add_v_proj")),
    ("cosmos", ("_cross_attn_k_proj", "_cross_attn_q_proj", "_cross_attn_v_proj")),
    ("wan", ("_cross_attn_k_", "_cross_attn_q_", "_cross_attn_v_", "_cross_attn_o_")),
    ("z-image", ("_attention_to_", "_attention_qkv", "_feed_forward_w1", "_adaLN_modulation_")),
)
_UNET = ("down_blocks_", "up_blocks_", "input_blocks_", "output_blocks_", "mid_block_", "middle_block_")
_FULL_RESOLUTION = ("down_blocks_0_attentions", "up_blocks_3_", "input_blocks_1_1_", "input_blocks_2_1_")
_DEEP = "_transformer_blocks_1_"
_SECOND_TEXT = ("lora_te2_", "text_encoder_2_")
_NUMBERED_TEXT = "lora_te1_"
_THIRTEENTH = "text_model_encoder_layers_12_"  # CLIP-L has twelve
_CROSS = re.compile(r"^(\S*attn2[._](?:processor\.)?to_[kv])(?=[._])", re.MULTILINE)
_PROJECTION = re.compile(r"^(\S*[._]proj_in)(?=\.)", re.MULTILINE)
_FEED = re.compile(
    r"^(\S*(?:single_blocks[._]\d+[._]linear1|double_blocks[._]\d+[._]img_mlp[._]0))(?=\.)", re.MULTILINE
)
_ATTENTION = re.compile(r"^(\S*layers[._]\d+[._]attention[._]\w+?)(?=\.)", re.MULTILINE)
_TEXT_LAYER = re.compile(r"^(\S*text_model[._]encoder[._]layers[._]\d+[._]mlp[._]fc1)(?=\.)", re.MULTILINE)
_BY_WIDTH = {768: "sd1", 1024: "sd2", 2048: "sdxl"}


@dataclass(frozen=True, kw_only=True)
class LoraOutline:
    """`algorithm` and `family` as in `Identity`, the family empty where names and shapes leave it open; `width` is that
    of the text it attends to, 0 where that is not told."""

    algorithm: str
    family: str
    width: int

    def context_widths(self, family: str) -> tuple[int, ...]:
        """As in `Identity`, for a LoRA that is of this family."""
        if (family, self.width) == ("sdxl", 2048):
            return 768, 1280
        return (self.width,) if self.width else ()


def read_lora(tensors: Tensors, names: Names) -> LoraOutline | None:
    """What kind of LoRA these tensors of these names are, nothing if they are none."""
    layers = {algorithm: sum(map(names.count, marks)) for algorithm, marks in _MARKS}
    algorithm = max(layers, key=lambda name: layers[name])
    if layers[algorithm] * MOST_TENSORS_A_LAYER < len(tensors) or not layers[algorithm]:
        return None
    if algorithm == "lora":
        algorithm = _lora_kind(tensors, names)
    family, width = _base(tensors, names)
    return LoraOutline(algorithm=algorithm, family=family, width=width)


def _lora_kind(tensors: Tensors, names: Names) -> str:
    if any(map(names.holds, _DECOMPOSED)):
        return "dora"
    spatial = (name for name, info in tensors.items() if info.shape[2:] == (3, 3) and name.endswith(_INPUT_SIDES))
    return "locon" if names.holds(_MIDDLE) or next(spatial, "") else "lora"


def _base(tensors: Tensors, names: Names) -> tuple[str, int]:
    """The family, empty where it is left open, and the width of the text it attends to, 0 where that is not told."""
    if names.any_flat(_UNET):
        width = _first_width(tensors, names, _CROSS)
        return _unet_family(tensors, names, width), width
    for family, marks in _TRANSFORMERS:
        if names.any_flat(marks):
            return _refined(tensors, names, family), 0
    width = _first_width(tensors, names, _TEXT_LAYER)
    if names.any_flat(_SECOND_TEXT):
        return "sdxl", 0
    if names.any_flat((_NUMBERED_TEXT,)) or not width:
        return "", 0  # the first of SDXL's two, or FLUX.1's
    return "sd2" if names.any_flat((_THIRTEENTH,)) else _BY_WIDTH.get(width, ""), width


def _first_width(tensors: Tensors, names: Names, layer: re.Pattern[str]) -> int:
    """How wide the input of the first such layer is, 0 where there is none or its tensors do not tell."""
    found = names.first(layer)
    return _input_width(tensors, found) if found else 0


def _unet_family(tensors: Tensors, names: Names, width: int) -> str:
    """SDXL by its depth or its second text encoder; SD 1.x and 2.x by what attention begins with, else by width."""
    shallow = names.any_flat(_FULL_RESOLUTION)
    second_text = names.any_flat(_SECOND_TEXT)
    if not shallow and (second_text or names.any_flat((_DEEP,))):
        return "sdxl-refiner" if width == 1280 and not second_text else "sdxl"
    projection = names.first(_PROJECTION)
    if shallow and projection:
        ends = (*_DOWN_SIDES, ".diff")
        down = next((tensors[projection + end] for end in ends if projection + end in tensors), None)
        if down:
            return "sd1" if len(down.shape) == 4 else "sd2"
    return _BY_WIDTH.get(width, "")


def _refined(tensors: Tensors, names: Names, family: str) -> str:
    """The right one of two families that share their names."""
    if family == "flux1" and names.holds(".img_attn_qkv."):
        return "hunyuan-video"
    if family == "flux1" and (feed := names.first(_FEED)):
        out = next((tensors[feed + end].shape[:1] for end in _UP_SIDES if feed + end in tensors), ())
        into = _input_width(tensors, feed)
        # FLUX.2's feed-forward is gated: 6 (with q, k, v: 9) times as wide as the stream, FLUX.1's 4 (7) times.
        if into and out in ((6 * into,), (9 * into,)):
            return "flux2"
    if family == "z-image" and _first_width(tensors, names, _ATTENTION) == 2304:
        return "lumina2"
    return family


def _input_width(tensors: Tensors, layer: str) -> int:
    """How many numbers go into a layer, 0 where its tensors do not tell."""
    for ending in _INPUT_SIDES:
        if (info := tensors.get(layer + ending)) and len(info.shape) > 1:
            return info.shape[1]
    factors = [
        next(
            (tensors[f"{layer}.lokr_{half}{end}"] for end in ("", "_b") if f"{layer}.lokr_{half}{end}" in tensors), None
        )
        for half in ("w1", "w2")
    ]
    if all(factor and len(factor.shape) > 1 for factor in factors):
        return factors[0].shape[1] * factors[1].shape[1]  # pyright: ignore[reportOptionalMemberAccess]
    return 0
