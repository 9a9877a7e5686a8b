"""An app in which pictures are made once more, from their files alone."""

import hashlib
import io
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from backend.app import App, Options
from backend.infotext.again import again
from backend.infotext.recipe import Recipe, read_recipe
from backend.init_image import InitImage
from backend.request import GenerationRequest
from tests.checkpoints import write_tiny_checkpoint
from tests.loras import kohya, random_lora, sd1_networks, write_lora
from tests.test_engine import REQUEST, pixels, run


def drawn(of: str) -> bytes:
    """A picture to put in."""
    if of == "colours":
        picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
    elif of == "a sketch":
        picture = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
        picture.paste((255, 0, 0, 255), (0, 0, 20, 64))
    else:
        picture = Image.new("L", (64, 64), 0)
        picture.paste(255, (20, 20, 50, 44))
    data = io.BytesIO()
    picture.save(data, "PNG")
    return data.getvalue()


INPUTS = {of: drawn(of) for of in ("colours", "a sketch", "a spot")}
COLOURS, SKETCH, SPOT = (hashlib.sha256(data).hexdigest() for data in INPUTS.values())
INIT = InitImage(picture=COLOURS, denoising_strength=0.6)
DRAWN = replace(REQUEST, init=INIT)
NEGATIVE = replace(REQUEST, negative_prompt="dark")


@contextmanager
def studio(folder: Path, checkpoint: Path) -> Iterator[App]:
    """Twins of a checkpoint and another one, a LoRA, a wildcard, and the pictures above; results lose nothing."""
    for name in ("tiny", "twin"):
        shutil.copy(checkpoint, folder / f"{name}.safetensors")
    write_tiny_checkpoint(folder / "other.safetensors", seed=5)
    write_lora(folder / "loras" / "ink.safetensors", kohya(random_lora(sd1_networks(), ".*(attn|proj_in)")))
    app = App(Options(data_dir=folder / "data", checkpoint_dirs=(folder,), lora_dirs=(folder / "loras",), device="cpu"))
    app.start()
    assert [app.inputs.put(data).name for data in INPUTS.values()] == [COLOURS, SKETCH, SPOT]
    (folder / "data" / "wildcards").mkdir()
    (folder / "data" / "wildcards" / "colour.txt").write_text("red\nblue\ngreen\n")
    app.settings.update({"image_format": "webp", "image_quality": 100})
    yield app
    app.close()


def recipe_of(path: Path) -> Recipe:
    recipe = read_recipe(path.read_bytes())
    assert recipe is not None
    return recipe


def is_made_again(app: App, request: GenerationRequest) -> list[Path]:
    """Each of its pictures, from its file alone; returns the files."""
    paths = run(app, request)
    for path in paths:
        from_file_alone(app, path)
    return paths


def from_file_alone(app: App, path: Path) -> None:
    """A picture comes out of its file once more, pixel for pixel."""
    recipe = recipe_of(path)
    whole = again(recipe, app.catalog)
    assert (whole.missing, whole.remarks, whole.device) == ((), (), "CPU, float32")
    (same,) = run(app, whole.request)
    assert same != path
    assert (pixels(same) == pixels(path)).all()
    # Of two files with the very bytes either is named.
    if whole.request == GenerationRequest.from_json(recipe.request):
        assert same.read_bytes() == path.read_bytes()
