"""Tiny upscalers with random weights, in the layouts that published ones have."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from spandrel.architectures.Compact import Compact
from spandrel.architectures.DAT import DAT
from spandrel.architectures.ESRGAN import ESRGAN
from spandrel.architectures.SwinIR import SwinIR
from torch import Tensor, nn

# Of the two newer spellings of ESRGAN: BSRGAN's, and that of Real-ESRGAN.
_PLACES = {
    "bsrgan": ("RRDB_trunk.{}.RDB{}.conv{}.{}", "trunk_conv", "upconv{}", "HRconv"),
    "real-esrgan": ("body.{}.rdb{}.conv{}.{}", "conv_body", "conv_up{}", "conv_hr"),
}


def _weights(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.contiguous() for name, tensor in network.state_dict().items()}


def esrgan(factor: int = 4, *, channels: int = 3) -> dict[str, Tensor]:
    """ESRGAN as its authors first published it: everything in ``model.N``."""
    return _weights(ESRGAN(in_nc=channels, out_nc=channels, num_filters=8, num_blocks=2, scale=factor))


def renamed_esrgan(style: str) -> dict[str, Tensor]:
    """The same four times larger, in one of the newer spellings."""
    block, trunk, up, last = _PLACES[style]
    places = {"0": "conv_first", "1.sub.2": trunk, "3": up.format(1), "6": up.format(2), "8": last, "10": "conv_last"}
    found: dict[str, Tensor] = {}
    for name, tensor in esrgan(4).items():
        if inner := re.fullmatch(r"model\.1\.sub\.(\d)\.RDB(\d)\.conv(\d)\.0\.(\w+)", name):
            found[block.format(*inner.groups())] = tensor
        else:
            place, _, kind = name.removeprefix("model.").rpartition(".")
            found[f"{places[place]}.{kind}"] = tensor
    return found


def swinir(factor: int = 2) -> dict[str, Tensor]:
    """SwinIR for photographs, as SwinIR-M is."""
    network = SwinIR(
        img_size=16,
        embed_dim=12,
        depths=[2, 2],
        num_heads=[2, 2],
        window_size=8,
        mlp_ratio=2.0,
        upscale=factor,
        upsampler="nearest+conv" if factor == 4 else "pixelshuffle",
    )
    return _weights(network)


def dat(factor: int = 2) -> dict[str, Tensor]:
    """DAT with its usual head."""
    network = DAT(
        img_size=16,
        embed_dim=32,
        split_size=[4, 8],
        depth=[3],
        num_heads=[2],
        expansion_factor=2.0,
        upscale=factor,
        upsampler="pixelshuffle",
    )
    return _weights(network)


def compact(factor: int = 2) -> dict[str, Tensor]:
    """Real-ESRGAN's small one."""
    return _weights(Compact(num_feat=8, num_conv=2, upscale=factor))


LAYOUTS: Mapping[str, tuple[int, Callable[[], dict[str, Tensor]]]] = {
    "esrgan-old": (4, esrgan),
    "esrgan-bsrgan": (4, lambda: renamed_esrgan("bsrgan")),
    "esrgan-real": (4, lambda: renamed_esrgan("real-esrgan")),
    "esrgan-2x": (2, lambda: esrgan(2)),
    "esrgan-1x": (1, lambda: esrgan(1)),
    "swinir": (2, swinir),
    "swinir-real": (4, lambda: swinir(4)),
    "dat": (2, dat),
    "compact": (2, compact),
}


def write_upscaler(path: Path, tensors: Mapping[str, Tensor], *, prefix: str = "") -> Path:
    """A file of these tensors."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({prefix + name: tensor for name, tensor in tensors.items()}, path)
    return path


def doubling() -> dict[str, Tensor]:
    """An upscaler whose picture is known: this layout adds to what it computes every pixel four times, and of zeros it
    computes nothing."""
    return {name: torch.zeros_like(tensor) for name, tensor in compact(2).items()}
