"""A worker without a network: it draws what the prompt says, step by step, and saves real files."""

import io
import threading
import time

import numpy as np
from PIL import Image

from backend.app import App
from backend.errors import Skipped, UserError
from backend.events import ImageReady, Loading, Progress
from backend.grids.request import GridRequest
from backend.infotext.provenance import FileHashes
from backend.infotext.write import write_infotext
from backend.jobs import Job
from backend.request import GenerationRequest
from starter.scenes import COLOURS, SUBJECTS, Scene, draw

LATENT = 8  # pixels: a preview has one for each


class ScriptedWorker:
    """Makes pictures of the starter's world in steps.

    Between two steps it sleeps `pace` seconds, or, if there is a `gate`, waits until the test releases it once.
    A prompt with the word ``fail`` fails, one with ``crash`` raises what nobody expected.
    """

    def __init__(self, app: App, *, pace: float = 0.0, gate: threading.Semaphore | None = None):
        self._app = app
        self._pace = pace
        self._gate = gate
        app.status.post(checkpoint="starter", family="sd1", device="CPU, scripted")

    def generate(self, request: GenerationRequest | GridRequest, job: Job) -> None:
        """Emits `Progress` with previews and one `ImageReady` a picture, as the engine does; grids are drawn."""
        if isinstance(request, GridRequest):
            self._app.grids.draw(request, job)
            return
        job.emit(Loading(what=request.checkpoint))
        if "fail" in request.prompt.split():
            raise UserError(f"The checkpoint {request.checkpoint!r} was asked to fail; use another word.")
        if "crash" in request.prompt.split():
            raise RuntimeError("a scripted crash")
        for batch in range(request.batch_count):
            pictures = [_picture(request, seed) for seed in request.seeds(batch)]
            try:
                self._steps(request, job, batch, pictures)
            except Skipped:
                continue
            for k, (seed, picture) in enumerate(zip(request.seeds(batch), pictures, strict=True)):
                self._save(request.single(seed), job, batch * request.batch_size + k, picture)

    def _steps(self, request: GenerationRequest, job: Job, batch: int, pictures: list[Image.Image]) -> None:
        row = _latents(pictures)
        noise = Image.effect_noise(row.size, 90).convert("RGB")
        started = time.monotonic()
        for step in range(1, request.steps + 1):
            while self._gate and not self._gate.acquire(timeout=0.01):
                job.check()
            time.sleep(self._pace)
            job.check()
            rate = step / max(time.monotonic() - started, 1e-6)
            left = request.steps * (request.batch_count - batch) - step
            job.emit(
                Progress(
                    step=step,
                    steps=request.steps,
                    batch=batch + 1,
                    batches=request.batch_count,
                    rate=rate,
                    remaining=left / rate,
                    preview=_jpeg(Image.blend(noise, row, (step / request.steps) ** 0.7)),
                )
            )
        job.check()

    def _save(self, request: GenerationRequest, job: Job, index: int, picture: Image.Image) -> None:
        infotext = write_infotext(request, FileHashes(checkpoint="0123456789"), schedule="Karras")
        path = self._app.outputs.save(picture, request, infotext=infotext, schedule="Karras")
        job.emit(
            ImageReady(
                index=index,
                seed=request.seed,
                path=path,
                width=picture.width,
                height=picture.height,
                infotext=infotext,
                request=request.to_json(),
            )
        )


def _picture(request: GenerationRequest, seed: int) -> Image.Image:
    words = request.prompt.replace(",", " ").split()
    colours = [word for word in words if word in COLOURS] or ["red"]
    scene = Scene(
        subject=next((word for word in words if word in SUBJECTS), "circle"),
        colour=colours[0],
        background=colours[1] if len(colours) > 1 else "blue",
        size=next((word for word in words if word in ("small", "large")), ""),
        style=next((word for word in words if word in ("flat", "cartoon", "watercolor")), ""),
    )
    side = max(request.width, request.height)
    drawn = draw(scene, np.random.default_rng(seed), size=side)
    left, top = (side - request.width) // 2, (side - request.height) // 2
    return drawn.crop((left, top, left + request.width, top + request.height))


def _latents(pictures: list[Image.Image]) -> Image.Image:
    """The pictures side by side, one pixel a latent."""
    width, height = pictures[0].width // LATENT, pictures[0].height // LATENT
    row = Image.new("RGB", (width * len(pictures), height))
    for k, picture in enumerate(pictures):
        row.paste(picture.resize((width, height), Image.Resampling.BOX), (k * width, 0))
    return row


def _jpeg(image: Image.Image) -> bytes:
    data = io.BytesIO()
    image.save(data, "JPEG", quality=90, subsampling=0)
    return data.getvalue()
