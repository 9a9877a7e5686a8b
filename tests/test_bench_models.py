"""The logic of `bench.models`, not its times: whole swaps are compared, and a wrong LoRA is noticed."""

import re
from pathlib import Path

import pytest
import torch

from backend.model_manager.memory.devices import Processor
from bench import models
from bench.models import Place

LINE = re.compile(r"[^ ]+ -?\d+\.\d+ (ratio|ms) \(aim <= \d+(\.\d+)?\) (ok|short)")


def test_every_figure_is_printed(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(models, "WORK", tmp_path)
    models.main(["--checkpoint", str(tiny_checkpoint), "--pairs", "1"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("machine: ")
    figures = [line for line in lines if LINE.fullmatch(line)]
    assert lines[-len(figures) :] == figures
    assert [line.split()[0] for line in figures][:8] == [
        "half.load_over_read",
        "half.load_over_single_file",
        "half.anonymous_over_file",
        "single.load_over_read_and_cast",
        "single.anonymous_over_file",
        "single.swap_back",
        "lora.first_over_step",
        "lora.same_again",
    ]
    assert list(tmp_path.iterdir()) == []


def test_the_other_checkpoint_differs_in_every_network(tiny_checkpoint: Path, tmp_path: Path) -> None:
    place = Place.beside(tiny_checkpoint, tmp_path)
    residency = place.residency(Processor())
    assert len(models.swaps(residency, place)) == models.AGAIN
    same = Place(checkpoint=place.checkpoint, other=place.checkpoint, folder=tmp_path)
    with pytest.raises(RuntimeError, match="no whole swap"):
        models.swaps(place.residency(Processor()), same)


def test_a_lora_that_changes_nothing_is_noticed(tiny_checkpoint: Path, tmp_path: Path) -> None:
    place = Place.beside(tiny_checkpoint, tmp_path)
    residency = place.residency(Processor())
    with residency.ready(place.checkpoint) as model:
        use = models.write_lora(model.networks.unet, tmp_path / "lora.safetensors")
        clean = {name: p.detach().clone() for name, p in model.networks.unet.named_parameters()}
    models._require_change(residency, place.checkpoint, use, clean)
    clean["conv_in.bias"] += 1
    with pytest.raises(RuntimeError, match=r"layers and changed \d+\.$"):
        models._require_change(residency, place.checkpoint, use, clean)


def test_every_page_is_touched() -> None:
    module = torch.nn.Linear(4096, 3, bias=False)
    module.weight.data.zero_()
    assert models.touch([module]) == 0
    module.weight.data.view(torch.uint8).view(-1)[:: models.PAGE] = 1
    assert models.touch([module]) == 12


def test_bad_arguments_get_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"^There is no .*none\.safetensors: "):
        models.main(["--checkpoint", str(tmp_path / "none.safetensors")])
    with pytest.raises(SystemExit):
        models.main(["--pairs", "0"])
    assert "--pairs must be at least 1" in capsys.readouterr().err
