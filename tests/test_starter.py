"""The shipped checkpoint: it obeys what any reader of the layout assumes, and what its card says is so."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from backend.families import identify
from backend.families.sd1 import configs
from backend.model_manager.header import Header, read_header
from backend.paths import MODELS
from starter import score
from starter.layout import read
from starter.scenes import draw, scenes
from starter.train import networks, pixels

STARTER = MODELS / "checkpoints" / "starter.safetensors"
INPAINTING = STARTER.with_name("starter-inpainting.safetensors")
CARD = STARTER.with_suffix(".md")
SCORE = Path(score.__file__).with_name("score.json")
LATENT_SCALE = 0.18215


@pytest.fixture(scope="module")
def header() -> Header:
    return read_header(STARTER)


def test_it_is_light() -> None:
    assert STARTER.stat().st_size <= 24_000_000
    assert INPAINTING.stat().st_size <= 24_000_000
    assert sum(path.stat().st_size for path in MODELS.rglob("*.safetensors")) <= 52_000_000


def test_it_is_what_its_layout_says(header: Header) -> None:
    assert identify(header, STARTER.name).name == "sd1"
    assert {info.dtype for info in header.tensors.values()} == {"F16"}
    config = configs(header)
    assert len(config["unet"]["block_out_channels"]) == 4
    assert all(width % 32 == 0 for width in config["unet"]["block_out_channels"])
    assert config["text_encoder"]["vocab_size"] == 49408
    assert config["text_encoder"]["hidden_size"] == 64 * config["text_encoder"]["num_attention_heads"]
    blocks = {key.split(".")[3] for key in header.tensors if key.startswith("model.diffusion_model.input_blocks.")}
    assert len(blocks) == 12
    attended = {key.split(".")[3] for key in header.tensors if ".input_blocks." in key and ".attn2." in key}
    assert attended == {"1", "2", "4", "5", "7", "8"}


def test_the_inpainting_starter_is_the_starter_with_another_unet(header: Header) -> None:
    other = read_header(INPAINTING)
    assert identify(other, INPAINTING.name).name == "sd1"
    assert configs(other)["unet"]["in_channels"] == 9
    assert other.tensors.keys() == header.tensors.keys()
    ours, theirs = load_file(INPAINTING), load_file(STARTER)
    same = {name.startswith("model.diffusion_model."): True for name in ours}
    for name, tensor in ours.items():
        same[name.startswith("model.diffusion_model.")] &= torch.equal(tensor, theirs[name])
    assert same == {True: False, False: True}


def test_our_loader_reads_every_tensor_as_the_maker_does(header: Header) -> None:
    """Two independent readings of the file's names: diffusers' converter and the starter's own table."""
    loaded = identify(header, STARTER.name).build(header, load_file(STARTER))
    unet, vae, text_encoder = networks()
    read(STARTER, unet, vae, text_encoder)
    for ours, theirs in zip(loaded.modules(), (unet, vae, text_encoder), strict=True):
        expected = theirs.state_dict()
        for name, tensor in ours.state_dict().items():
            if not name.endswith("position_ids"):
                assert torch.equal(tensor.float().reshape(expected[name].shape), expected[name]), name


@torch.inference_mode()
def test_latents_have_unit_variance(header: Header) -> None:
    loaded = identify(header, STARTER.name).build(header, load_file(STARTER))
    vae = loaded.vae.float()
    rng = np.random.default_rng(7)
    drawn = scenes(rng)
    native = 64 if "64x64" in header.metadata["modelspec.resolution"] else 128
    pictures = pixels([np.asarray(draw(next(drawn), rng, native)) for _ in range(64)], torch.device("cpu"))
    posteriors = [vae.encode(part, return_dict=False)[0] for part in pictures.split(8)]
    latents = torch.cat([posterior.mean for posterior in posteriors]) * LATENT_SCALE
    assert latents.std().item() == pytest.approx(1, abs=0.15)
    assert latents.mean().item() == pytest.approx(0, abs=0.15)


def test_the_card_states_the_score() -> None:
    """The table that `python -m starter.score --json` wrote stands in the card, figure by figure."""
    figures = json.loads(SCORE.read_text(encoding="utf-8"))["figures"]
    text = CARD.read_text(encoding="utf-8")
    for figure in figures:
        assert f"| {figure['name']} | {figure['value']:.1f} %" in text


@pytest.mark.slow
def test_the_score_is_reached_again() -> None:
    """All 200 captions through the product's engine, within a point of what the card says."""
    written = {figure["name"]: figure["value"] for figure in json.loads(SCORE.read_text(encoding="utf-8"))["figures"]}
    wanted = score.asked(200)
    shares = score.shares(score.score(wanted, score.pictures(wanted, STARTER, score.native_side(STARTER))))
    for name, value in written.items():
        assert shares[name] == pytest.approx(value, abs=1), shares
