"""Enlarged pictures, made once more by the real worker from their files alone, while their inputs are there."""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from backend.app import App, Options
from backend.errors import UserError
from backend.events import Finished
from backend.infotext.recipe import read_recipe
from backend.upscaling.request import UpscaleRequest
from tests import upscalers
from tests.again import COLOURS, INPUTS, SKETCH, SPOT
from tests.test_engine import REQUEST
from tests.upscalers import write_upscaler

MADE = "one that was made here"
EXTRAS: Mapping[str, Mapping[str, Any]] = {
    "by default": {},
    "of a sketch": {"inputs": (SKETCH,), "scale": 2},
    "of a mask": {"inputs": (SPOT,), "scale": 1.5, "upscaler": "Nearest"},
    "of ours": {"inputs": (MADE,), "scale": 2},
    "of ours without its words": {"inputs": (MADE,), "scale": 3, "keep_metadata": False},
    "of several": {"inputs": (COLOURS, MADE, SKETCH), "scale": 1.25},
    "network": {"upscaler": "small", "scale": 2},
    "network by more": {"upscaler": "small", "scale": 3.3},
    "network by less": {"upscaler": "large", "scale": 1.5},
    "network of a sketch": {"inputs": (SKETCH,), "upscaler": "large", "scale": 4},
    "window": {"upscaler": "window", "scale": 2},
    "two": {"upscaler": "small", "upscaler_2": "large", "visibility_2": 0.4, "scale": 2},
    "two by interpolation": {"upscaler_2": "Nearest", "visibility_2": 0.5, "scale": 2.5},
    "second unseen": {"upscaler_2": "large", "visibility_2": 0.0, "scale": 2},
    "only the second": {"upscaler_2": "small", "visibility_2": 1.0, "scale": 2},
    "limited": {"scale": 8, "max_side": 100},
    "wide": {"width": 130},
    "high": {"height": 90, "upscaler": "small"},
    "cropped": {"width": 150, "height": 70, "upscaler": "large"},
    "covering": {"width": 70, "height": 150, "crop": False},
}


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, written_checkpoint: Path) -> Iterator[App]:
    folder = tmp_path_factory.mktemp("extras")
    for name, tensors in {
        "small": upscalers.compact(),
        "large": upscalers.esrgan(),
        "window": upscalers.swinir(),
    }.items():
        write_upscaler(folder / "upscalers" / f"{name}.safetensors", tensors)
    app = App(
        Options(
            data_dir=folder / "data",
            checkpoint_dirs=(written_checkpoint.parent,),
            upscaler_dirs=(folder / "upscalers",),
            device="cpu",
        )
    )
    app.start()
    for data in INPUTS.values():
        app.inputs.put(data)
    yield app
    app.close()


@pytest.fixture(scope="module")
def ours(app: App) -> str:
    """The name of a picture that the same app generated."""
    return app.inputs.put(_made(app, REQUEST)[0].read_bytes()).name


def _made(app: App, request: Any) -> list[Path]:
    job = app.queue.submit(request, "me")
    assert list(job.follow())[-1] == Finished()
    return [image.path for image in job.images]


def _asked(kind: str, ours: str) -> UpscaleRequest:
    values = {"inputs": (COLOURS,), **EXTRAS[kind]}
    values["inputs"] = tuple(ours if name == MADE else name for name in values["inputs"])
    return UpscaleRequest(**values)


def test_there_are_twenty() -> None:
    assert len(EXTRAS) >= 20


@pytest.mark.parametrize("kind", EXTRAS)
def test_an_enlarged_picture_is_made_again_from_its_file(kind: str, app: App, ours: str) -> None:
    request = _asked(kind, ours)
    # All formats that lose nothing: the second keeps its texts in Exif.
    for settings in ({"image_format": "png"}, {"image_format": "webp", "image_quality": 100}):
        app.settings.update(settings)
        paths = _made(app, request)
        assert len(paths) == request.pictures
        for path in paths:
            recipe = read_recipe(path.read_bytes())
            assert recipe is not None
            (same,) = _made(app, UpscaleRequest.from_json(recipe.enlarged))
            assert same != path
            assert same.read_bytes() == path.read_bytes()
            with Image.open(path) as picture, Image.open(same) as other:
                assert picture.tobytes() == other.tobytes()


def test_the_words_of_what_was_enlarged_stay_beside_what_was_done(app: App, ours: str) -> None:
    """So the original can be made again from the enlarged picture, and the enlarged picture too."""
    app.settings.update({"image_format": "png"})
    recipe = read_recipe(_made(app, _asked("of ours", ours))[0])
    assert recipe is not None
    assert "a red circle" in recipe.request
    twice = app.inputs.put(_made(app, _asked("of ours", ours))[0].read_bytes()).name
    request = UpscaleRequest(inputs=(twice,), scale=2, upscaler="Nearest")
    again = read_recipe(_made(app, request)[0])
    assert again is not None
    assert again.request == recipe.request
    assert UpscaleRequest.from_json(again.enlarged) == request


def test_an_input_that_is_gone_is_said(app: App) -> None:
    data = INPUTS["colours"] + b"of its own"
    name = app.inputs.put(data).name
    assert name == hashlib.sha256(data).hexdigest()
    (path,) = _made(app, UpscaleRequest(inputs=(name,), scale=2))
    app.inputs.path(name).unlink()
    recipe = read_recipe(path)
    assert recipe is not None
    with pytest.raises(UserError, match=f"^There is no picture '{name[:12]}' any more: put it in again"):
        app.queue.submit(UpscaleRequest.from_json(recipe.enlarged), "me")
