"""The training as a machine: stages, resuming, files. What it learns is the score's business."""

import argparse
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from backend.families import identify
from backend.families.sd1 import SD1
from backend.model_manager.catalog import native_size
from backend.model_manager.header import read_header
from starter import train
from starter.scenes import scenes
from starter.stage import Stage
from starter.train import coarse_and_fine


def trained(folder: Path, **changes: object) -> Path:
    """Train a few steps of each stage in a folder; returns the file."""
    output = folder / "trained.safetensors"
    arguments: dict[str, object] = {
        "device": "cpu",
        "seed": 3,
        "continue_from": None,
        "work": folder / "work",
        "output": output,
        "pictures": 8,
        "vae_pictures": 16,
        "vae_steps": 2,
        "text_steps": 2,
        "small_steps": 4,
        "native_steps": 0,
        "small_batch": 2,
        "native_batch": 2,
    }
    train.train(argparse.Namespace(**(arguments | changes)))
    return output


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a training that nothing interrupted."""
    return trained(tmp_path_factory.mktemp("whole"))


def test_an_interrupted_training_ends_in_the_same_file(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(Exception):
        pass

    def killed_after_two(self: Stage) -> None:
        save(self)
        if self.name == "unet64" and self.step == 2:
            raise Killed

    save = Stage.save
    monkeypatch.setattr(Stage, "save", killed_after_two)
    original = Stage.__post_init__

    def often(self: Stage) -> None:
        self.save_every = 1
        original(self)

    monkeypatch.setattr(Stage, "__post_init__", often)
    with pytest.raises(Killed):
        trained(tmp_path)
    monkeypatch.setattr(Stage, "save", save)
    resumed, expected = load_file(trained(tmp_path)), load_file(whole)
    assert resumed.keys() == expected.keys()
    assert all(torch.equal(resumed[key], expected[key]) for key in expected)


def test_it_goes_on_from_the_shipped_file_alone(whole: Path, tmp_path: Path) -> None:
    second = trained(tmp_path, continue_from=whole, vae_steps=0, text_steps=0, native_steps=2)
    first, more = load_file(whole), load_file(second)
    changed = {key for key in first if not torch.equal(first[key], more[key])}
    assert changed
    assert all(key.startswith("model.diffusion_model.") for key in changed)
    header = read_header(second)
    assert native_size(header, identify(header, "second")) == (128, 128)
    assert native_size(read_header(whole), identify(header, "first")) == (64, 64)


def test_coarse_errors_count_more_and_fine_ones_as_they_are() -> None:
    flat = torch.ones(1, 4, 8, 8)
    checks = torch.ones(8, 8)
    checks[::2, 1::2] = checks[1::2, ::2] = -1
    fine = checks.expand(1, 4, 8, 8)
    assert coarse_and_fine(flat).item() == pytest.approx(1 + 4 + 8)
    assert coarse_and_fine(fine).item() == pytest.approx(1)


def test_the_noise_schedule_is_that_of_stable_diffusion() -> None:
    sigmas = ((1 - SD1.alphas_cumprod()) / SD1.alphas_cumprod()).sqrt()
    assert sigmas[[0, -1]].tolist() == pytest.approx([0.0291672, 14.6146412], rel=1e-4)


def test_every_attribute_a_scene_can_have_is_taught() -> None:
    drawn = scenes(np.random.default_rng(0))
    for _ in range(500):
        scene = next(drawn)
        for name, values in train.ATTRIBUTES.items():
            assert getattr(scene, name) in values
