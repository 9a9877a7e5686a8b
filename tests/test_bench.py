"""The benchmarks' logic, not their times: what is compared is the same work, and what is printed is what was found."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from PIL import Image
from safetensors.torch import load_file
from transformers import CLIPTextConfig, CLIPTextModel

from backend.families import identify
from backend.families.sd1 import SD1, TEXT, UNET, VAE
from backend.infotext.provenance import FileHashes
from backend.infotext.write import write_infotext
from backend.model_manager.header import read_header
from backend.outputs import encode
from backend.request import GenerationRequest
from bench import full_size, startup
from bench.engine import Case, cases, run
from bench.engine import main as engine_main
from bench.pairs import Pairs, alternate
from bench.report import Figure, machine
from bench.subject import Subject, Work, recorded
from starter import layout

LINE = re.compile(r"[^ ]+ \d+\.\d+ [a-z]+ \(aim <= \d+(\.\d+)?\) (ok|short)")
SMALL = GenerationRequest(
    prompt="a red circle", negative_prompt="blue", schedule="Karras", width=64, height=64, steps=3, seed=1
)


@pytest.mark.parametrize(
    ("value", "line"),
    [
        (1.0199, "starter.whole 1.020 ratio (aim <= 1.02) ok"),
        (1.0204, "starter.whole 1.020 ratio (aim <= 1.02) ok"),  # what is printed is what is judged
        (1.0206, "starter.whole 1.021 ratio (aim <= 1.02) short"),
        (0.5, "starter.whole 0.500 ratio (aim <= 1.02) ok"),
    ],
)
def test_a_figure_is_one_line(value: float, line: str) -> None:
    assert Figure(name="starter.whole", value=value, unit="ratio", aim=1.02, digits=3).line == line
    assert LINE.fullmatch(line)


def test_the_machine_is_named() -> None:
    assert re.match(r"machine: \S.*, \d+ cores", machine())


class Clock:
    """Time that goes on only when a way takes some."""

    def __init__(self) -> None:
        self.now = 0.0
        self.order = ""

    def way(self, name: str, *seconds: float) -> Callable[[], None]:
        left = iter(seconds)

        def take() -> None:
            self.order += name
            self.now += next(left)

        return take


def test_pairs_alternate_and_keep_each_way_s_own_time() -> None:
    clock = Clock()
    pairs = alternate(clock.way("A", 1, 2, 3, 4), clock.way("B", 10, 20, 30, 40), 4, lambda: clock.now)
    assert clock.order == "ABBAABBA"
    assert pairs == Pairs(first=(1, 2, 3, 4), second=(10, 20, 30, 40))
    assert pairs.ratios == [0.1] * 4


def test_the_ratio_is_the_median_of_the_pairs_own() -> None:
    """The machine was slower in the second pair and stumbled once in the last."""
    pairs = Pairs(first=(1.0, 4.0, 2.2, 1.2, 90.0), second=(1.0, 4.0, 2.0, 1.0, 1.0))
    assert pairs.ratio == pytest.approx(1.1)
    assert pairs.spread == pytest.approx((1.0, 1.2))
    assert Pairs(first=(3.0,), second=(2.0,)).spread == (1.5, 1.5)


def test_the_full_size_is_stable_diffusion_1_5() -> None:
    """Counted on the published checkpoint: tensors in the file and numbers in each network."""
    networks = full_size.networks()
    assert [sum(p.numel() for p in n.parameters()) for n in networks] == [859_520_964, 83_653_863, 123_060_480]
    assert all(p.is_meta for n in networks for p in n.parameters())
    names = layout.file_names(*networks)
    assert [sum(name.startswith(prefix) for name in names) for prefix in (UNET, VAE, TEXT)] == [686, 248, 196]


def narrow_networks() -> tuple[UNet2DConditionModel, AutoencoderKL, CLIPTextModel]:
    """As deep as the full size, and wider from level to level where that is."""
    unet = UNet2DConditionModel(block_out_channels=(32, 64, 96, 96), cross_attention_dim=64, attention_head_dim=8)
    vae = AutoencoderKL(**{**full_size.VAE, "block_out_channels": (32, 64, 96, 96)})
    text = CLIPTextConfig(hidden_size=64, intermediate_size=64, num_hidden_layers=12, num_attention_heads=1)
    return unet, vae, CLIPTextModel(text)


def test_what_is_written_loads_as_stable_diffusion_1(tmp_path: Path) -> None:
    path = tmp_path / "random.safetensors"
    full_size.write(path, *narrow_networks())
    header = read_header(path)
    assert identify(header, path.name) is SD1
    assert {info.dtype for info in header.tensors.values()} == {"F16"}
    assert set(header.tensors) == set(layout.file_names(*full_size.networks()))

    tensors = load_file(path)
    assert all(tensor.isfinite().all() for tensor in tensors.values())
    table = tensors[f"{TEXT}text_model.embeddings.token_embedding.weight"].float()
    assert table.std().item() == pytest.approx(table.shape[1] ** -0.5, rel=0.01)
    assert (tensors[f"{UNET}out.0.weight"] == 1).all()
    assert (tensors[f"{UNET}out.0.bias"] == 0).all()


@pytest.fixture
def subject(tiny_checkpoint: Path, tmp_path: Path) -> Subject:
    """It checks itself: that there is one means that all its ways do the same work."""
    return Subject(tiny_checkpoint, SMALL, "cpu", tmp_path)


def test_the_bare_calls_are_the_generation_s_own(subject: Subject) -> None:
    networks = subject.networks
    with recorded(networks) as whole:
        subject.whole()
    with recorded(networks) as bare:
        subject.bare()
    assert whole.work == bare.work == Work(texts=2, denoised=((2, 4, 8, 8),) * 3, decoded=((1, 4, 8, 8),))
    for ours, theirs in ((whole.texts, bare.texts), (whole.denoised, bare.denoised)):
        assert all(torch.equal(a[0][0], b[0][0]) for a, b in zip(ours, theirs, strict=True))
    assert torch.equal(whole.decoded[0], bare.decoded[0])
    assert not any(module._forward_pre_hooks for network in networks.modules() for module in network.modules())


def test_every_way_leaves_its_picture(subject: Subject, tmp_path: Path) -> None:
    saved = len(list(tmp_path.rglob("txt2img/*/*.png")))
    assert subject.whole()
    assert not subject.without_previews()
    assert len(list(tmp_path.rglob("txt2img/*/*.png"))) == saved + 2
    (tmp_path / "diffusers.png").unlink()
    subject.diffusers()
    with Image.open(tmp_path / "diffusers.png") as picture:
        assert picture.size == (64, 64)


@pytest.mark.parametrize("change", [{"sampler": "Heun"}, {"cfg_scale": 1.0}, {"batch_count": 2}])
def test_other_work_is_not_compared(change: dict[str, object], tiny_checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"^whole did .* cannot be compared\.$"):
        Subject(tiny_checkpoint, replace(SMALL, **change), "cpu", tmp_path)


def test_figures_come_last(tiny_checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = Case(name="tiny", checkpoint=tiny_checkpoint, device="cpu", side=64, steps=2, pairs=1, aim=1.1)
    run([small, replace(small, name="again")])
    first, *middle = capsys.readouterr().out.splitlines()
    assert first.startswith("machine: ")
    assert [line.split(":")[0] for line in middle[:2]] == ["tiny", "again"]
    assert all(LINE.fullmatch(line) for line in middle[2:])
    kinds = ("whole_over_bare", "whole_over_diffusers", "previews_on_over_off")
    assert [line.split(" ")[0] for line in middle[2:]] == [
        f"{case}.{kind}" for case in ("tiny", "again") for kind in kinds
    ]


def test_a_gpu_is_measured_where_there_is_one(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    found = cases(tmp_path / "starter.safetensors")
    assert list(found) == ["starter", "full", *["gpu"] * torch.cuda.is_available()]
    assert [(case.side, case.steps, case.aim) for case in found.values()][:2] == [(128, 20, 1.10), (256, 4, 1.03)]
    with pytest.raises(SystemExit, match=r"^There is no .*starter\.safetensors: "):
        engine_main(["--case", "starter", "--checkpoint", str(tmp_path / "starter.safetensors")])
    with pytest.raises(SystemExit):
        engine_main(["--pairs", "0"])
    assert "--pairs must be at least 1" in capsys.readouterr().err


def test_the_first_picture_is_the_one_that_was_asked_for(tmp_path: Path) -> None:
    request = GenerationRequest(
        prompt=startup.PROMPT, checkpoint="starter", width=startup.SIDE, height=startup.SIDE, seed=5
    )
    image = Image.fromarray(np.zeros((8, 8, 3), np.uint8))
    path, checkpoint = tmp_path / "picture.png", tmp_path / "starter.safetensors"
    for made, missing in {
        request: "",
        replace(request, prompt="a dog"): startup.PROMPT,
        replace(request, width=512): "Size: 128x128",
        replace(request, checkpoint="other"): "Model: starter",
    }.items():
        infotext = write_infotext(made, FileHashes(checkpoint="0123456789"), schedule="Karras")
        path.write_bytes(encode(image, "png", 90, infotext, made.to_json()))
        if not missing:
            startup.check(path, checkpoint)
            continue
        with pytest.raises(RuntimeError, match=f"lacks '{missing}'"):
            startup.check(path, checkpoint)
