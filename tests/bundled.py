"""What the tests of bundled extensions share: an extension switched on, a request that names it, and its pictures."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from backend.app import App
from backend.events import Event, Finished, ImageReady
from backend.extensions.extension import Extension
from backend.request import GenerationRequest
from backend.upscaling.request import UpscaleRequest

REQUEST = GenerationRequest(
    prompt="a red circle", checkpoint="tiny", width=64, height=64, steps=4, seed=1, sampler="Euler"
)


def on(app: App, id: str) -> Extension:
    """An extension, switched on."""
    extension = app.extensions.switch(id, True)
    assert extension.state == "on", extension.problem
    return extension


def made(app: App, request: GenerationRequest | UpscaleRequest) -> list[ImageReady]:
    """The pictures of a job that ends well."""
    events: list[Event] = list(app.queue.submit(request, "me").follow())
    assert events[-1] == Finished(), events[-1]
    return [event for event in events if isinstance(event, ImageReady)]


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"), dtype=np.int16)


def picture(app: App, request: GenerationRequest) -> np.ndarray:
    """The one picture of a request."""
    (image,) = made(app, request)
    return pixels(image.path)


def asking(request: GenerationRequest, id: str, **values: Any) -> GenerationRequest:
    return replace(request, extras={id: {"enabled": True, **values}})
