"""How far away what a picture shows is: the depth network in a checkpoint, or one in a folder.

Both are DPT (Ranftl et al. 2021, "Vision Transformers for Dense Prediction"). Stable Diffusion 2's depth checkpoint
carries the hybrid one, which it was trained with, under MiDaS' names; transformers has it under its own.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors import safe_open
from torch import Tensor, nn
from transformers import BitConfig, DPTConfig, DPTForDepthEstimation

from backend.errors import ModelFileError

PREFIX = "depth_model.model."
SIDE = 384  # pixels that the networks were trained on
# MiDaS' names to those of transformers, in order; `qkv` is split besides.
RENAMES = tuple(
    (re.compile(pattern), name)
    for pattern, name in (
        (r"^pretrained\.model\.cls_token$", "dpt.embeddings.cls_token"),
        (r"^pretrained\.model\.pos_embed$", "dpt.embeddings.position_embeddings"),
        (r"^pretrained\.model\.patch_embed\.proj\.", "dpt.embeddings.projection."),
        (
            r"^pretrained\.model\.patch_embed\.backbone\.stem\.conv\.",
            "dpt.embeddings.backbone.bit.embedder.convolution.",
        ),
        (r"^pretrained\.model\.patch_embed\.backbone\.stem\.norm\.", "dpt.embeddings.backbone.bit.embedder.norm."),
        (
            r"^pretrained\.model\.patch_embed\.backbone\.stages\.(\d+)\.blocks\.(\d+)\.",
            r"dpt.embeddings.backbone.bit.encoder.stages.\1.layers.\2.",
        ),
        (r"^pretrained\.model\.norm\.", "dpt.layernorm."),
        (r"^pretrained\.model\.blocks\.(\d+)\.norm1\.", r"dpt.encoder.layer.\1.layernorm_before."),
        (r"^pretrained\.model\.blocks\.(\d+)\.norm2\.", r"dpt.encoder.layer.\1.layernorm_after."),
        (r"^pretrained\.model\.blocks\.(\d+)\.attn\.proj\.", r"dpt.encoder.layer.\1.attention.output.dense."),
        (r"^pretrained\.model\.blocks\.(\d+)\.mlp\.fc1\.", r"dpt.encoder.layer.\1.intermediate.dense."),
        (r"^pretrained\.model\.blocks\.(\d+)\.mlp\.fc2\.", r"dpt.encoder.layer.\1.output.dense."),
        (r"^pretrained\.act_postprocess3\.0\.project\.0\.", "neck.reassemble_stage.readout_projects.2.0."),
        (r"^pretrained\.act_postprocess4\.0\.project\.0\.", "neck.reassemble_stage.readout_projects.3.0."),
        (r"^pretrained\.act_postprocess3\.3\.", "neck.reassemble_stage.layers.2.projection."),
        (r"^pretrained\.act_postprocess4\.3\.", "neck.reassemble_stage.layers.3.projection."),
        (r"^pretrained\.act_postprocess4\.4\.", "neck.reassemble_stage.layers.3.resize."),
        (r"^scratch\.output_conv\.", "head.head."),
    )
)
QKV = re.compile(r"^pretrained\.model\.blocks\.(\d+)\.attn\.qkv\.(weight|bias)$")
NARROWED = re.compile(r"^scratch\.layer(\d)_rn\.")
REFINED = re.compile(r"^scratch\.refinenet(\d)\.(?:(out_conv)|resConfUnit(\d)\.conv(\d))\.")


class DepthEstimator:
    """The network in a checkpoint that tells depths, else the one in a folder: read once, however many pictures it is
    asked about, and on the device only while it is."""

    def __init__(self, checkpoint: Path, folder: Path, device: torch.device):
        """Reads the network. Raises `ModelFileError` if neither has one, or it cannot be used."""
        self._network = _network(checkpoint, folder).eval()
        self._device = device
        self._side = _side(self._network.config.image_size, folder)

    def __call__(self, picture: Image.Image) -> Image.Image:
        """The depths of a picture in RGB, at its size, near is bright (mode F, any unit)."""
        small = picture.resize((self._side, self._side), Image.Resampling.BICUBIC)
        pixels = torch.from_numpy(np.array(small, np.float32)).movedim(-1, 0)[None].to(self._device) / 127.5 - 1
        try:
            nn.Module.to(self._network, self._device)  # transformers' own is typed for something else
            depth = self._network(pixel_values=pixels).predicted_depth[0].float().cpu().numpy()
        finally:
            nn.Module.to(self._network, "cpu")
        return Image.fromarray(depth).resize(picture.size, Image.Resampling.BICUBIC)


def _side(said: object, folder: Path) -> int:
    """The side of the square that a network looks at, of the ``image_size`` in its configuration: a number, or both
    sides. Raises `ModelFileError` for anything else, as transformers' DPT knows squares only."""
    if said is None:
        return SIDE
    sides = set(said) if isinstance(said, list | tuple) else {said}
    side = sides.pop() if len(sides) == 1 else None
    if not isinstance(side, int) or side < 1:
        raise ModelFileError(f"The depth model in {folder} cannot be used: its image_size is {said}, and no square.")
    return side


def _network(checkpoint: Path, folder: Path) -> DPTForDepthEstimation:
    if checkpoint.suffix == ".safetensors":
        with safe_open(checkpoint, "pt") as file:
            names = [name for name in file.keys() if name.startswith(PREFIX)]  # noqa: SIM118 - no mapping
            if names:
                return _of_checkpoint({name.removeprefix(PREFIX): file.get_tensor(name) for name in names}, checkpoint)
    if not (folder / "config.json").is_file():
        raise ModelFileError(
            f"{checkpoint.name} needs a depth map and brings no network that computes one: give a depth map, or put a "
            f"DPT model (config.json and model.safetensors) into {folder}."
        )
    try:
        return DPTForDepthEstimation.from_pretrained(folder, local_files_only=True, use_safetensors=True)
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        raise ModelFileError(f"The depth model in {folder} cannot be used: {error}".splitlines()[0] + ".") from error


def _of_checkpoint(tensors: Mapping[str, Tensor], checkpoint: Path) -> DPTForDepthEstimation:
    own = {name: tensor.float() for old, value in tensors.items() for name, tensor in renamed(old, value)}
    network = DPTForDepthEstimation(hybrid_config())
    # The first fusion has nothing to add, so some files leave its first half out.
    needed = [name for name, _ in network.named_parameters() if "fusion_stage.layers.0.residual_layer1." not in name]
    missing = [name for name in needed if name not in own]
    try:
        network.load_state_dict(own, strict=False)
    except RuntimeError as error:
        raise ModelFileError(f"The depth network in {checkpoint.name} cannot be used: it has other shapes.") from error
    if missing:
        raise ModelFileError(f"The depth network in {checkpoint.name} is not whole: there is no {missing[0]}.")
    return network


def hybrid_config() -> DPTConfig:
    """DPT-Hybrid: a ResNet-50 of weight-standardised convolutions before a ViT-B (MiDaS 3.0)."""
    return DPTConfig(
        is_hybrid=True,
        hidden_size=768,
        num_hidden_layers=12,
        num_attention_heads=12,
        intermediate_size=3072,
        image_size=SIDE,
        patch_size=16,
        backbone_out_indices=[2, 5, 8, 11],
        neck_hidden_sizes=[256, 512, 768, 768],
        neck_ignore_stages=[0, 1],
        readout_type="project",
        reassemble_factors=[1, 1, 1, 0.5],
        backbone_featmap_shape=[1, 1024, 24, 24],
        backbone_config=BitConfig(
            global_padding="same",
            layer_type="bottleneck",
            depths=[3, 4, 9],
            out_features=["stage1", "stage2", "stage3"],  # pyright: ignore[reportCallIssue]
            embedding_dynamic_padding=True,
        ),
    )


def renamed(name: str, tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
    """A tensor of MiDaS under the names that transformers has for it; nothing for what it has none for."""
    if found := QKV.match(name):
        for part, piece in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
            yield f"dpt.encoder.layer.{found[1]}.attention.attention.{part}.{found[2]}", piece
    elif found := NARROWED.match(name):
        yield f"neck.convs.{int(found[1]) - 1}.{name[found.end() :]}", tensor
    elif found := REFINED.match(name):
        way = "projection" if found[2] else f"residual_layer{found[3]}.convolution{found[4]}"
        yield f"neck.fusion_stage.layers.{4 - int(found[1])}.{way}.{name[found.end() :]}", tensor
    else:
        for pattern, new in RENAMES:
            if pattern.match(name):
                yield pattern.sub(new, name), tensor
                return
