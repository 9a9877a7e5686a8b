"""Another VAE than the checkpoint's own, from the request to the infotext."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngImageFile
from safetensors.torch import load_file, save_file

from backend.app import App, Options
from backend.errors import ModelFileError
from backend.init_image import HiresFix
from backend.request import AUTOMATIC_VAE, OWN_VAE, GenerationRequest
from tests.checkpoints import write_tiny_checkpoint
from tests.test_engine import REQUEST, pixels, run

PREFIX = "first_stage_model."


def write_vae(path: Path, seed: int, folder: Path) -> None:
    """A file that holds a VAE alone, in the layout of the ones that are published for Stable Diffusion 1.x."""
    whole = folder / f"{seed}.safetensors"
    write_tiny_checkpoint(whole, seed)
    vae = {name.removeprefix(PREFIX): each for name, each in load_file(whole).items() if name.startswith(PREFIX)}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(vae, path)


@pytest.fixture
def options(options: Options, tmp_path: Path) -> Options:
    write_vae(tmp_path / "vae" / "sharp.safetensors", 7, tmp_path)
    return replace(options, vae_dirs=(tmp_path / "vae",))


def infotext(path: Path) -> str:
    with Image.open(path) as picture:
        return picture.info["parameters"]


def test_a_chosen_vae_draws_and_is_named(app: App, tmp_path: Path) -> None:
    (own,), (sharp,), (again,) = (run(app, replace(REQUEST, vae=vae)) for vae in (AUTOMATIC_VAE, "sharp", OWN_VAE))
    assert (pixels(own) != pixels(sharp)).any()
    assert own.read_bytes() == again.read_bytes()
    sha256 = hashlib.sha256((tmp_path / "vae" / "sharp.safetensors").read_bytes()).hexdigest()
    assert f", VAE hash: {sha256[:10]}, VAE: sharp.safetensors, " in infotext(sharp)
    assert "VAE" not in infotext(own)


def test_automatic_takes_what_lies_beside_the_checkpoint(options: Options, tmp_path: Path) -> None:
    folder = options.checkpoint_dirs[0]
    write_vae(folder / "tiny.vae.safetensors", 7, tmp_path)
    app = App(options)
    app.start()
    try:
        (beside,), (named,), (own,) = (run(app, replace(REQUEST, vae=vae)) for vae in (AUTOMATIC_VAE, "sharp", OWN_VAE))
        assert (pixels(beside) == pixels(named)).all()
        assert (pixels(beside) != pixels(own)).any()
        assert ", VAE: tiny.vae.safetensors, " in infotext(beside)
    finally:
        app.close()


def test_an_unknown_vae_is_refused_at_the_door(app: App) -> None:
    with pytest.raises(ModelFileError, match="There is no VAE called 'shrap'; did you mean sharp"):
        app.queue.submit(replace(REQUEST, vae="shrap"), "me")


def test_automatic_means_the_second_checkpoints_own_in_the_second_pass(options: Options, tmp_path: Path) -> None:
    """With the first one's alone beside the first, and with one beside the second too."""
    folder = options.checkpoint_dirs[0]
    write_vae(folder / "tiny.vae.safetensors", 7, tmp_path)
    write_tiny_checkpoint(folder / "other.safetensors", seed=5)
    hires = HiresFix(upscaler="Nearest", checkpoint="other", denoising_strength=0)
    app = App(options)
    app.start()
    try:
        (alone,) = run(app, replace(REQUEST, hires=hires))
        (firsts,) = run(app, replace(REQUEST, hires=hires, vae="tiny.vae"))
        assert (pixels(alone) != pixels(firsts)).any(), "the second pass has its checkpoint's, not the first one's"
        assert ", VAE: tiny.vae.safetensors, " in infotext(alone)
        write_vae(folder / "other.vae.safetensors", 9, tmp_path)
        app.catalog.refresh()
        (beside,) = run(app, replace(REQUEST, hires=hires))
        assert (pixels(beside) != pixels(alone)).any()
        (again,) = run(app, GenerationRequest.from_json(PngImageFile(beside).text["atelier"]))
        assert again.read_bytes() == beside.read_bytes()
    finally:
        app.close()
