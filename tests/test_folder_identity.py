import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from safetensors.numpy import save_file

from backend.errors import ModelFileError
from backend.model_manager.identify import identify_folder
from backend.model_manager.identity import Kind
from tests.headers.folding import shrunk, stripped


def folder(
    path: Path, unet: str, *, texts: int = 1, scheduler: Mapping[str, object] | None = None, mark: str = ""
) -> Path:
    """A folder as diffusers saves it, every width 4."""
    networks = {"unet": (unet, "diffusion_pytorch_model"), "vae": ("diffusers-vae-sd", "diffusion_pytorch_model")}
    networks |= dict.fromkeys(("text_encoder", "text_encoder_2")[:texts], ("text-clip-l", "model"))
    for name, (header, stem) in networks.items():
        (path / name).mkdir(parents=True)
        save_file(shrunk(stripped(header)), path / name / f"{stem}{mark}.safetensors")
    (path / "scheduler").mkdir()
    (path / "scheduler" / "scheduler_config.json").write_text(json.dumps(scheduler or {}))
    (path / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline"}))
    return path


@pytest.mark.parametrize(
    ("unet", "family", "variant", "texts"),
    [
        ("diffusers-sd1-unet", "sd1", "", 1),
        ("diffusers-sd1-inpainting-unet", "sd1", "inpainting", 1),
        ("diffusers-sd2-unet", "sd2", "", 1),
        ("diffusers-sdxl-unet", "sdxl", "", 2),
    ],
)
def test_a_folder_of_diffusers_is_known(unet: str, family: str, variant: str, texts: int, tmp_path: Path) -> None:
    found = identify_folder(folder(tmp_path / "f", unet, texts=texts, mark=".fp16"))
    assert (found.kind, found.family, found.variant, found.runs) == (Kind.CHECKPOINT, family, variant, True)
    assert (found.context_widths, found.prediction, found.suggested) == ((4,) * texts, "epsilon", ())


def test_a_folders_scheduler_tells_the_prediction(tmp_path: Path) -> None:
    said = {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True}
    found = identify_folder(folder(tmp_path / "f", "diffusers-sd2-unet", scheduler=said))
    assert (found.prediction, found.zero_terminal_snr) == ("v", True)


def test_a_folder_that_lacks_a_network_says_which(tmp_path: Path) -> None:
    path = folder(tmp_path / "f", "diffusers-sd1-unet")
    (path / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    found = identify_folder(path)
    assert (found.family, found.runs) == ("sd1", False)
    assert "vae" in found.problem
    unet = path / "unet" / "diffusion_pytorch_model.safetensors"
    unet.rename(unet.with_suffix(".bin"))
    assert "pickles" in identify_folder(path).problem


def test_a_network_in_shards_is_read_whole(tmp_path: Path) -> None:
    path = folder(tmp_path / "f", "diffusers-sd1-unet")
    (path / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    tensors = shrunk(stripped("diffusers-sd1-unet"))
    for place in range(2):
        part = {key: array for number, (key, array) in enumerate(tensors.items()) if number % 2 == place}
        save_file(part, path / "unet" / f"diffusion_pytorch_model-0000{place + 1}-of-00002.safetensors")
    assert identify_folder(path).family == "sd1"


def test_a_folder_of_another_architecture_is_named(tmp_path: Path) -> None:
    (tmp_path / "transformer").mkdir()
    save_file(shrunk(stripped("diffusers-flux1")), tmp_path / "transformer" / "diffusion_pytorch_model.safetensors")
    (tmp_path / "model_index.json").write_text('{"_class_name": "FluxPipeline"}')
    assert (identify_folder(tmp_path).family, identify_folder(tmp_path).runs) == ("flux1", False)
    (tmp_path / "transformer" / "diffusion_pytorch_model.safetensors").unlink()
    assert identify_folder(tmp_path).title == "FluxPipeline"


@pytest.mark.parametrize(
    "text", ["", "[]", "{", "[" * 5000, '{"a":' * 9 + "1" + "}" * 9, '{"a":"' + "x" * 300_000 + '"}']
)
def test_a_damaged_index_gets_a_sentence(text: str, tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text(text)
    with pytest.raises(ModelFileError, match=r"model_index\.json"):
        identify_folder(tmp_path)
