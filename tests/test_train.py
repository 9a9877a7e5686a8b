"""The training as a machine: stages, resuming, files. What it learns is the score's business."""

import argparse
from collections.abc import Callable
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

Run = Callable[..., dict[str, torch.Tensor]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Train a few steps of each stage in a folder of the test's own; returns the file's tensors."""

    def trained(work: str = "work", **changes: object) -> dict[str, torch.Tensor]:
        arguments: dict[str, object] = {
            "device": "cpu",
            "seed": 3,
            "continue_from": None,
            "work": tmp_path / work,
            "output": tmp_path / f"{work}.safetensors",
            "pictures": 8,
            "vae_steps": 2,
            "text_steps": 2,
            "small_steps": 4,
            "native_steps": 0,
            "small_batch": 2,
            "native_batch": 2,
        }
        train.train(argparse.Namespace(**(arguments | changes)))
        return load_file(tmp_path / f"{work}.safetensors")

    return trained


def test_an_interrupted_training_ends_in_the_same_file(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run("whole")

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
        run("halves")
    monkeypatch.setattr(Stage, "save", save)
    resumed = run("halves")
    assert resumed.keys() == whole.keys()
    assert all(torch.equal(resumed[key], whole[key]) for key in whole)


def test_it_goes_on_from_the_shipped_file_alone(run: Run, tmp_path: Path) -> None:
    first = run("first")
    more = run("second", continue_from=tmp_path / "first.safetensors", vae_steps=0, text_steps=0, native_steps=2)
    changed = {key for key in first if not torch.equal(first[key], more[key])}
    assert changed
    assert all(key.startswith("model.diffusion_model.") for key in changed)
    header = read_header(tmp_path / "second.safetensors")
    assert native_size(header, identify(header, "second")) == (128, 128)
    assert native_size(read_header(tmp_path / "first.safetensors"), identify(header, "first")) == (64, 64)


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
