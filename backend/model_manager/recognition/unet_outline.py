"""The shape of a U-Net, read off a header: what tells one family of Stable Diffusion from another."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count

from backend.model_manager.header import TensorInfo

Tensors = Mapping[str, TensorInfo]
UNET = "model.diffusion_model."  # before the names of a U-Net in a whole checkpoint


@dataclass(frozen=True, kw_only=True)
class UNetOutline:
    """A denoiser, or the half of one that a ControlNet copies.

    `depths` are the transformer blocks of each level's first attention, 0 where a level has none; `middle` is the same
    of the middle block. `linear` says whether attention begins with a matrix or a 1x1 convolution, `context` is the
    width of the text it attends to, `vector` the width of the pooled conditioning, 0 for none. `classes` is true where
    that is a table of noise levels instead. `layers` are the residual blocks of a level.
    """

    channels: int
    depths: tuple[int, ...]
    middle: int
    layers: int
    linear: bool
    context: int
    vector: int
    classes: bool
    temporal: bool


def find_unet(tensors: Tensors) -> tuple[str, UNetOutline] | None:
    """The prefix and the outline of a checkpoint's denoiser, nothing if there is none: unlike a ControlNet's half it
    has a last layer."""
    for prefix in (UNET, "", "diffusion_model.", "model."):
        whole = f"{prefix}out.2.weight" in tensors or f"{prefix}conv_out.weight" in tensors
        if whole and (outline := read_outline(tensors, prefix)):
            return prefix, outline
    return None


def read_outline(tensors: Tensors, prefix: str) -> UNetOutline | None:
    """The outline of the U-Net whose names begin with `prefix`, in CompVis' naming or in diffusers'; nothing if there
    is none, or if it attends to no text."""
    if f"{prefix}input_blocks.0.0.weight" in tensors:
        return _original(tensors, prefix)
    if f"{prefix}down_blocks.0.resnets.0.norm1.weight" in tensors and f"{prefix}conv_in.weight" in tensors:
        return _diffusers(tensors, prefix)
    return None


def _original(tensors: Tensors, prefix: str) -> UNetOutline | None:
    levels: list[list[str]] = [[]]
    for block in count(1):
        name = f"{prefix}input_blocks.{block}"
        if f"{name}.0.in_layers.0.weight" in tensors:
            levels[-1].append(f"{name}.1")
        elif f"{name}.0.op.weight" in tensors:
            levels.append([])
        else:
            break
    return _outline(
        tensors,
        first=f"{prefix}input_blocks.0.0.weight",
        levels=levels,
        middle=f"{prefix}middle_block.1",
        vector=(f"{prefix}label_emb.0.0.weight",),
        table=f"{prefix}label_emb.weight",
        temporal=f"{prefix}input_blocks.1.0.time_stack.emb_layers.1.bias",
    )


def _diffusers(tensors: Tensors, prefix: str) -> UNetOutline | None:
    levels: list[list[str]] = []
    for level in count():
        name = f"{prefix}down_blocks.{level}"
        if f"{name}.resnets.0.norm1.weight" not in tensors:
            break
        layers = count_up(tensors, f"{name}.resnets.{{}}.norm1.weight")
        levels.append([f"{name}.attentions.{layer}" for layer in range(layers)])
    return _outline(
        tensors,
        first=f"{prefix}conv_in.weight",
        levels=levels,
        middle=f"{prefix}mid_block.attentions.0",
        vector=(f"{prefix}add_embedding.linear_1.weight", f"{prefix}class_embedding.linear_1.weight"),
        table=f"{prefix}class_embedding.weight",
        temporal=f"{prefix}down_blocks.0.resnets.0.temporal_res_block.norm1.weight",
    )


def _outline(
    tensors: Tensors,
    *,
    first: str,
    levels: list[list[str]],
    middle: str,
    vector: tuple[str, ...],
    table: str,
    temporal: str,
) -> UNetOutline | None:
    attended = [name for level in levels for name in level if f"{name}.proj_in.weight" in tensors]
    shape = tensors[first].shape
    if not attended or len(shape) != 4:
        return None
    context = tensors.get(f"{attended[0]}.transformer_blocks.0.attn2.to_k.weight")
    pooled = next((tensors[key].shape for key in vector if key in tensors), ())
    return UNetOutline(
        channels=shape[1],
        depths=tuple(_depth(tensors, level[0]) if level else 0 for level in levels),
        middle=_depth(tensors, middle),
        layers=len(levels[0]),
        linear=len(tensors[f"{attended[0]}.proj_in.weight"].shape) == 2,
        context=context.shape[1] if context and len(context.shape) == 2 else 0,
        vector=pooled[1] if len(pooled) == 2 else 0,
        classes=table in tensors,
        temporal=temporal in tensors,
    )


def _depth(tensors: Tensors, attention: str) -> int:
    return count_up(tensors, f"{attention}.transformer_blocks.{{}}.norm1.weight")


def count_up(tensors: Tensors, pattern: str) -> int:
    """How many of the names that `pattern` makes of 0, 1, 2 ... there are before the first is missing."""
    return next(number for number in count() if pattern.format(number) not in tensors)
