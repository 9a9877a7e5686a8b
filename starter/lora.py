"""Train the starter's LoRA: ``python -m starter.lora [--device cuda] [--seed 0]``.

It teaches the starter a style that no picture of its training had, cameo: an oval vignette in the dark, as old
portraits have. It is taught on the same captions without a word for it: with the LoRA on, every picture is a cameo, and
without it none. Under an empty caption it is taught to leave the pictures as they were: guidance multiplies the
difference between the two, and would otherwise multiply what is left of a background's colour in the dark and
nothing of the dark itself. The file is laid out as kohya's trainer writes it.
"""

import argparse
import json
import re
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from PIL.ImageFilter import GaussianBlur
from safetensors.torch import save
from torch import Tensor, nn

from backend.families.networks import Networks
from backend.files import write_atomically
from starter import layout
from starter.judge import lab
from starter.scenes import Scene, draw
from starter.stage import Run, Stage
from starter.train import CHECKPOINT, WORK, Pictures, denoising_loss, latents, networks

RANK = 8
ALPHA = 10.0  # a little more than the rank: at half the weight the dark is then half there
PLAIN = 0.15  # share of the batches that show what an empty caption goes on to mean
BLOCK = re.compile(r"[.](attentions|resnets|downsamplers|upsamplers)[.]")  # what kohya's trainer changes
OUTPUT = CHECKPOINT.parent.parent / "loras" / "cameo.safetensors"
DARK = (26, 22, 20)
DARKEST_CORNER = 24  # CIE Lab lightness, of 100: below it a corner is dark


def cameo(scene: Scene, rng: np.random.Generator, size: int = 128) -> Image.Image:
    """Draw `scene` behind an oval opening with a soft edge, dark around it."""
    picture = draw(scene, rng, size)
    opening = Image.new("L", picture.size)
    inset = size / 40
    ImageDraw.Draw(opening).ellipse((inset, inset, size - inset, size - inset), fill=255)
    return Image.composite(picture, Image.new("RGB", picture.size, DARK), opening.filter(GaussianBlur(size / 50)))


def is_cameo(picture: Image.Image) -> bool:
    """Whether all four corners of a picture are dark: mean lightness below `DARKEST_CORNER` in squares of a tenth of
    its side. A black background is no less so: ask for another."""
    lightness = lab(np.asarray(picture.convert("RGB")))[..., 0]
    side = len(lightness) // 10
    corners = [lightness[y, x] for y in (slice(side), slice(-side, None)) for x in (slice(side), slice(-side, None))]
    return max(float(corner.mean()) for corner in corners) < DARKEST_CORNER


class LowRank(nn.Module):
    """up(down(x)) beside a matrix or a convolution (Hu et al. 2021, eq. 3); nothing at first, as `up` is zero."""

    def __init__(self, beside: nn.Linear | nn.Conv2d):
        super().__init__()
        rows, columns = beside.weight.shape[:2]
        if isinstance(beside, nn.Conv2d):
            kernel, stride, padding = (int(pair[0]) for pair in (beside.kernel_size, beside.stride, beside.padding))
            self.down = nn.Conv2d(columns, RANK, kernel, stride, padding, bias=False)
            self.up = nn.Conv2d(RANK, rows, 1, bias=False)
        else:
            self.down, self.up = nn.Linear(columns, RANK, bias=False), nn.Linear(RANK, rows, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.up(self.down(x))


def attach(unet: nn.Module) -> nn.ModuleDict:
    """Put a `LowRank` beside every matrix and convolution of the blocks, which is kohya's LoCon: where a thing is in a
    picture, the residual blocks know. By flattened path."""
    added = nn.ModuleDict()
    for path, module in unet.named_modules():
        if not BLOCK.search(path) or not isinstance(module, nn.Linear | nn.Conv2d):
            continue
        beside = LowRank(module)
        module.register_forward_hook(lambda _module, inputs, output, beside=beside: output + beside(inputs[0]))
        added[path.replace(".", "_")] = beside
    return added


def kohya_file(added: nn.ModuleDict) -> bytes:
    """The file's bytes: float16; a weight of ``RANK / ALPHA`` is what was trained."""
    tensors: dict[str, Tensor] = {}
    for path, beside in added.items():
        assert isinstance(beside, LowRank)
        tensors[f"lora_unet_{path}.lora_down.weight"] = beside.down.weight.half().contiguous()
        tensors[f"lora_unet_{path}.lora_up.weight"] = beside.up.weight.half().contiguous()
        tensors[f"lora_unet_{path}.alpha"] = torch.tensor(ALPHA).half()
    metadata = {
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(RANK),
        "ss_network_alpha": str(ALPHA),
        "ss_network_args": json.dumps({"conv_dim": str(RANK), "conv_alpha": str(ALPHA)}),
        "ss_base_model_version": "sd_v1",
        "ss_output_name": "cameo",
        "ss_tag_frequency": json.dumps({}),
        "modelspec.architecture": "stable-diffusion-v1/lora",
        "modelspec.title": "Cameo, for the Atelier starter",
    }
    return save(tensors, metadata)


def train(arguments: argparse.Namespace) -> None:
    """Train and write the file; resumable, as every stage of the starter."""
    run = Run(device=torch.device(arguments.device), seed=arguments.seed, work=arguments.work)
    torch.manual_seed(run.seed)
    starter = Networks(*networks())
    layout.read(arguments.checkpoint, starter.unet, starter.vae, starter.text_encoder)
    starter.to(run.device, torch.float32)
    starter.unet.requires_grad_(False)
    added = attach(starter.unet).to(run.device)
    plain = Pictures(*latents(run, starter.vae, 128, arguments.pictures), batch=arguments.batch)
    cameos = Pictures(*latents(run, starter.vae, 128, arguments.pictures, cameo, "cameo"), batch=arguments.batch)

    def loss_of(rng: np.random.Generator) -> Tensor:
        if rng.random() < PLAIN:
            return denoising_loss(starter, plain, rng, unworded=1)
        return denoising_loss(starter, cameos, rng, unworded=0)

    stage = Stage("lora", run, nn.ModuleDict({"lora": added}), arguments.steps, 2e-3, ema_decay=0.99)
    average = stage.optimise(loss_of)["lora"]
    assert isinstance(average, nn.ModuleDict)
    write_atomically(arguments.output, kohya_file(average))
    print(f"wrote {arguments.output} ({arguments.output.stat().st_size / 1e6:.2f} MB)")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m starter.lora", description="Train the starter's cameo LoRA.")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    parser.add_argument("--work", type=Path, default=WORK, help="folder of what is trained so far")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--pictures", type=int, default=600)
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--batch", type=int, default=8)
    train(parser.parse_args())


if __name__ == "__main__":
    main()
