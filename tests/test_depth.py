"""The depth network of a checkpoint under transformers' names; and depth checkpoints with and without one."""

import io
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from transformers import DPTConfig, DPTForDepthEstimation

from backend.app import App, Options
from backend.errors import ModelFileError
from backend.events import Event, Failed, Finished, Progress
from backend.families.depth import DepthEstimator, hybrid_config, renamed
from backend.families.sd1 import SD1
from backend.families.unseen import DEPTH, EDIT, INPAINTING, Shown, other_picture
from backend.imaging.vae import encode
from backend.init_image import InitImage, TiledUpscale
from backend.jobs import Job
from tests.checkpoints import tiny, write_single_file
from tests.test_engine import REQUEST, interrupted


def backbone(shapes: dict[str, tuple[int, ...]]) -> None:
    """The three stages of its ResNet."""
    width = 64
    for stage, (blocks, inner) in enumerate(((3, 64), (4, 128), (9, 256))):
        for block in range(blocks):
            place = f"pretrained.model.patch_embed.backbone.stages.{stage}.blocks.{block}"
            if block == 0:
                shapes[f"{place}.downsample.conv.weight"] = (inner * 4, width, 1, 1)
                shapes |= {f"{place}.downsample.norm.{part}": (inner * 4,) for part in ("weight", "bias")}
            for k, (out, into, side) in enumerate(
                ((inner, width, 1), (inner, inner, 3), (inner * 4, inner, 1)), start=1
            ):
                shapes[f"{place}.conv{k}.weight"] = (out, into, side, side)
                shapes |= {f"{place}.norm{k}.{part}": (out,) for part in ("weight", "bias")}
            width = inner * 4


def midas() -> dict[str, Tensor]:
    """Names and shapes as MiDaS 3.0 writes DPT-Hybrid, spelled out from its modules."""
    shapes: dict[str, tuple[int, ...]] = {
        "pretrained.model.cls_token": (1, 1, 768),
        "pretrained.model.pos_embed": (1, 577, 768),
        "pretrained.model.patch_embed.proj.weight": (768, 1024, 1, 1),
        "pretrained.model.patch_embed.proj.bias": (768,),
        "pretrained.model.patch_embed.backbone.stem.conv.weight": (64, 3, 7, 7),
        "pretrained.act_postprocess4.4.weight": (768, 768, 3, 3),
        "pretrained.act_postprocess4.4.bias": (768,),
        "pretrained.model.head.weight": (1000, 768),
        "pretrained.model.head.bias": (1000,),
    }

    def pair(name: str, *shape: int) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = shape, shape[:1]

    pair("pretrained.model.patch_embed.backbone.stem.norm", 64)
    backbone(shapes)
    for block in range(12):
        place = f"pretrained.model.blocks.{block}"
        for name, *shape in (("norm1", 768), ("norm2", 768), ("attn.qkv", 2304, 768), ("attn.proj", 768, 768)):
            pair(f"{place}.{name}", *shape)
        pair(f"{place}.mlp.fc1", 3072, 768)
        pair(f"{place}.mlp.fc2", 768, 3072)
    pair("pretrained.model.norm", 768)
    for level in (3, 4):
        pair(f"pretrained.act_postprocess{level}.0.project.0", 768, 1536)
        pair(f"pretrained.act_postprocess{level}.3", 768, 768, 1, 1)
    for level, into in enumerate((256, 512, 768, 768), start=1):
        shapes[f"scratch.layer{level}_rn.weight"] = (256, into, 3, 3)
        pair(f"scratch.refinenet{level}.out_conv", 256, 256, 1, 1)
        for unit in (1, 2):
            for conv in (1, 2):
                pair(f"scratch.refinenet{level}.resConfUnit{unit}.conv{conv}", 256, 256, 3, 3)
    for k, (out, into, side) in {0: (128, 256, 3), 2: (32, 128, 3), 4: (1, 32, 1)}.items():
        pair(f"scratch.output_conv.{k}", out, into, side, side)
    return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}


def test_every_parameter_of_the_hybrid_network_is_found_in_its_shape() -> None:
    with torch.device("meta"):
        network = DPTForDepthEstimation(hybrid_config())
    wanted = {name: tuple(value.shape) for name, value in network.named_parameters()}
    found = {new: tuple(value.shape) for old, tensor in midas().items() for new, value in renamed(old, tensor)}
    assert found == wanted


def small_dpt(folder: Path) -> None:
    torch.manual_seed(0)
    config = DPTConfig(
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=384,
        patch_size=32,
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[16, 16, 16, 16],
        fusion_hidden_size=16,
        is_hybrid=False,
    )
    DPTForDepthEstimation(config).save_pretrained(folder)


def halves() -> Image.Image:
    picture = Image.new("RGB", (96, 64), (220, 30, 30))
    picture.paste((20, 30, 220), (48, 0, 96, 64))
    return picture


@torch.inference_mode()
def test_depths_have_the_pictures_size_and_are_no_brightness(tmp_path: Path) -> None:
    small_dpt(tmp_path)
    nothing = tmp_path / "model.ckpt"
    depth = np.asarray(DepthEstimator(nothing, tmp_path, torch.device("cpu"))(halves()))
    assert depth.shape == (64, 96)
    assert np.isfinite(depth).all() and depth.std() > 0


@torch.inference_mode()
def test_both_sides_may_be_said_if_they_are_a_square(tmp_path: Path) -> None:
    small_dpt(tmp_path)
    nothing, cpu = tmp_path / "model.ckpt", torch.device("cpu")
    number = DepthEstimator(nothing, tmp_path, cpu)(halves()).tobytes()
    config = tmp_path / "config.json"
    text = config.read_text()
    assert '"image_size": 384' in text
    config.write_text(text.replace('"image_size": 384', '"image_size": [384, 384]'))
    assert DepthEstimator(nothing, tmp_path, cpu)(halves()).tobytes() == number
    config.write_text(text.replace('"image_size": 384', '"image_size": [384, 512]'))
    with pytest.raises(ModelFileError, match="cannot be used"):
        DepthEstimator(nothing, tmp_path, cpu)


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[App]:
    checkpoints = tmp_path / "checkpoints"
    checkpoints.mkdir()
    write_single_file(checkpoints / "deep.safetensors", tiny("sd2-depth"))
    options = Options(data_dir=tmp_path / "data", installation=tmp_path, checkpoint_dirs=(checkpoints,), device="cpu")
    app = App(options)
    app.start()
    yield app
    app.close()


def put(app: App, picture: Image.Image) -> str:
    data = io.BytesIO()
    picture.save(data, "PNG")
    return app.inputs.put(data.getvalue()).name


def test_a_depth_checkpoint_takes_a_map_or_computes_one_and_else_says_what_is_missing(studio: App) -> None:
    request = replace(REQUEST, checkpoint="deep", init=InitImage(picture=put(studio, halves())))

    def made(request_: object) -> bytes:
        job = studio.queue.submit(request_, "me")  # pyright: ignore[reportArgumentType]
        ending = list(job.follow())[-1]
        assert ending == Finished(), ending
        return Image.open(job.images[0].path).tobytes()

    ending = list(studio.queue.submit(request, "me").follow())[-1]
    assert isinstance(ending, Failed)
    assert ending.message.startswith("deep.safetensors needs a depth map and brings no network that computes one")

    assert request.init is not None
    near_left = Image.linear_gradient("L").rotate(90).resize((96, 64))
    left, right = (
        made(replace(request, init=replace(request.init, depth=put(studio, each))))
        for each in (near_left, near_left.rotate(180))
    )
    assert left != right
    small_dpt(studio.options.depth_folder)
    assert made(request) not in (left, right)


def test_the_depth_network_is_read_once_for_all_tiles(studio: App) -> None:
    """Its folder is gone when the second tile comes."""
    small_dpt(studio.options.depth_folder)

    class Remover(Job):
        def emit(self, event: Event) -> None:
            super().emit(event)
            if isinstance(event, Progress):
                shutil.rmtree(studio.options.depth_folder, ignore_errors=True)

    init = InitImage(picture=put(studio, halves()), upscale=TiledUpscale(overlap=0))
    job = Remover(studio.prepare(replace(REQUEST, checkpoint="deep", init=init)), "me")
    (ready,) = interrupted(studio, job)
    assert job.state == "finished", job.since()[-1]
    assert (ready.width, ready.height) == (192, 128)
    assert not studio.options.depth_folder.exists()


@torch.inference_mode()
def test_what_a_unet_is_shown_of_a_picture() -> None:
    """Channel by channel: what each kind of checkpoint was trained to see."""
    pixels = torch.rand(1, 3, 64, 72) * 2 - 1
    mask = torch.zeros(1, 1, 64, 72)
    mask[..., :32, :40] = 1
    latent = SD1.latent_format
    inpainting = tiny("sd1-inpainting")
    seen = other_picture(inpainting, latent, Shown(pixels=pixels, mask=mask))  # pyright: ignore[reportArgumentType]
    assert seen is not None and seen.shape == (1, INPAINTING, 8, 9)
    assert torch.equal(seen[:, :1], mask[..., ::8, ::8])
    torch.testing.assert_close(seen[:, 1:], encode(inpainting.vae, pixels * (1 - mask), latent.scale))
    half = other_picture(
        inpainting,  # pyright: ignore[reportArgumentType]
        latent,
        Shown(pixels=pixels, mask=mask, mask_weight=0.5),
    )
    assert half is not None
    torch.testing.assert_close(half[:, 1:], encode(inpainting.vae, pixels * (1 - mask / 2), latent.scale))

    edit = tiny("sd1-instruct-pix2pix")
    seen = other_picture(edit, latent, Shown(pixels=pixels))  # pyright: ignore[reportArgumentType]
    assert seen is not None and seen.shape == (1, EDIT, 8, 9)
    torch.testing.assert_close(seen, edit.vae.encode(pixels, return_dict=False)[0].mean)

    deep = tiny("sd2-depth")
    depth = torch.linspace(3, 11, 72).expand(1, 1, 64, 72)
    seen = other_picture(deep, latent, Shown(pixels=pixels, depth=depth))  # pyright: ignore[reportArgumentType]
    assert seen is not None and seen.shape == (1, DEPTH, 8, 9)
    assert (float(seen.min()), float(seen.max())) == (-1, 1)
    assert (seen.diff(dim=-1) > 0).all()
    flat = other_picture(deep, latent, Shown(pixels=pixels, depth=depth * 0))  # pyright: ignore[reportArgumentType]
    assert flat is not None and not flat.any()
