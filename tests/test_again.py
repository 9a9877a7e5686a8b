"""A picture made once more by the real engine, from its file alone and from its text alone."""

from dataclasses import replace
from pathlib import Path

import pytest

from backend.app import App, Options
from backend.infotext.again import again
from backend.infotext.apply import propose
from backend.infotext.recipe import read_recipe
from backend.init_image import HiresFix
from backend.request import GenerationRequest
from backend.sampling_options import SamplingOptions
from tests.loras import kohya, random_lora, sd1_networks, write_lora
from tests.test_engine import REQUEST, pixels, run

VARIED = (
    replace(REQUEST, prompt="a <lora:ink:0.7> circle", negative_prompt="dark", sampler="Euler a", clip_skip=2),
    replace(REQUEST, sampler="DPM++ 2M", hires=HiresFix(scale=1.5, denoising_strength=0.5, sampler="Euler", steps=2)),
    replace(REQUEST, sampler="DPM++ 2M", schedule="Uniform", sampling=SamplingOptions(discard_penultimate=True)),
)


@pytest.fixture
def options(options: Options, tmp_path: Path) -> Options:
    write_lora(tmp_path / "loras" / "ink.safetensors", kohya(random_lora(sd1_networks(), ".*(attn|proj_in)")))
    return replace(options, lora_dirs=(tmp_path / "loras",))


def test_a_picture_is_made_again_from_its_file_and_from_its_text(app: App) -> None:
    app.settings.update({"image_format": "webp", "image_quality": 100})
    for request in VARIED:
        (path,) = run(app, request)
        recipe = read_recipe(path.read_bytes())
        assert recipe is not None
        whole = again(recipe, app.catalog)
        assert (whole.missing, whole.remarks, whole.device) == ((), (), "CPU, float32")
        (same,) = run(app, whole.request)
        assert same.read_bytes() == path.read_bytes()
        proposal = propose(recipe.infotext, app.catalog)
        assert (proposal.not_applied, proposal.missing) == ((), ())
        (read,) = run(app, proposal.request(GenerationRequest(tiling=True, steps=99)))
        assert (pixels(read) == pixels(path)).all()
