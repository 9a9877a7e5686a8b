"""What the tests of AUTOMATIC1111's interface share: an app whose jobs need no network, served as clients meet it."""

import base64
import io
import threading
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from PIL import Image

from backend.any_request import Request
from backend.app import App
from backend.jobs import Job
from backend.server import sdapi
from backend.server.owner import OWNER_COOKIE
from backend.upscaling.request import UpscaleRequest
from backend.upscaling.work import Upscaling
from tests.scripted import ScriptedWorker

ME, OTHER = "a" * 32, "b" * 32
SD = "/sdapi/v1"


class Workshop(ScriptedWorker):
    """Draws what the prompt says, and really enlarges pictures."""

    def __init__(self, app: App, *, pace: float = 0.0, gate: threading.Semaphore | None = None):
        super().__init__(app, pace=pace, gate=gate)
        self._upscaling = Upscaling(app.upscalers, app.inputs, app.outputs, lambda: 0)

    def generate(self, request: Request, job: Job) -> None:
        """Every kind of request."""
        if isinstance(request, UpscaleRequest):
            self._upscaling.run(request, job)
        else:
            super().generate(request, job)


def gated(gate: threading.Semaphore) -> Callable[[App], Workshop]:
    """A worker that makes a step whenever the gate is released."""
    return lambda app: Workshop(app, gate=gate)


def server(app: App) -> FastAPI:
    """The interface alone."""
    web = FastAPI()
    web.include_router(sdapi.router(app))
    return web


def cookies(owner: str = ME) -> dict[str, str]:
    """What says whose jobs a connection sees."""
    return {OWNER_COOKIE: owner}


def in_base64(picture: Image.Image, format: str = "PNG", **options: Any) -> str:
    """A picture as clients send it."""
    data = io.BytesIO()
    picture.save(data, format, **options)
    return base64.b64encode(data.getvalue()).decode("ascii")


def pictured(text: str) -> Image.Image:
    """A picture as clients get it, whole."""
    picture = Image.open(io.BytesIO(base64.b64decode(text, validate=True)))
    picture.load()
    return picture
