"""An engine that answers at once, for the tests of extensions: pictures without a network, through every hook that
needs none."""

import hashlib
from concurrent.futures import Future
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw

from backend.any_request import Request
from backend.delivery import Collection, Delivery, FinishedPicture
from backend.errors import UserError
from backend.events import Progress
from backend.extensions.course import Course, Host
from backend.extensions.extension import Extension
from backend.extensions.nested import generate_within
from backend.grids.request import GridRequest
from backend.job import Job
from backend.recipe import Recipe
from backend.request import GenerationRequest
from backend.upscaling.request import UpscaleRequest

if TYPE_CHECKING:
    from backend.app import App


class QuickEngine:
    """Draws a disc on a ground, whose colours are those of the prompt and the seed; the same ones each time."""

    def __init__(self, app: "App"):
        self._app = app
        self._host = Host(
            active=app.extensions.active, calls=app.extensions.calls, inputs=app.inputs, prepare=app.prepare
        )

    def generate(self, request: Request, job: Job) -> None:
        """Make and save every picture of a generation, or draw a grid. Raises `UserError` for another request."""
        if isinstance(request, GridRequest):
            self._app.grids.draw(request, job)
        elif isinstance(request, UpscaleRequest):
            raise UserError("This engine answers at once and enlarges nothing.")
        else:
            course = Course(self._host, request, job)
            self._run(course, Delivery(course, self._app.outputs, self._app.settings))

    def _run(self, course: Course, delivery: Delivery) -> None:
        with course.begun() as request:
            for batch in range(request.batch_count):
                delivery.next_pictures()
                for step in range(request.steps):
                    delivery.job.check()
                    delivery.job.emit(_progress(request, batch, step + 1))
                for place, seed in enumerate(request.seeds(batch)):
                    number = batch * request.batch_size + place
                    picture = FinishedPicture(
                        image=drawn(request, seed),
                        number=number,
                        index=number,
                        recipe=RECIPE,
                        nested=lambda extension, inner: self._within(course, extension, inner),
                    )
                    delivery.take(picture)

    def _within(self, outer: Course, extension: Extension, request: GenerationRequest) -> list[Image.Image]:
        def make(course: Course) -> list[Image.Image]:
            kept = Collection(course, self._app.outputs, self._app.settings)
            self._run(course, kept)
            return kept.images

        return generate_within(outer, extension, request, make)


def drawn(request: GenerationRequest, seed: int) -> Image.Image:
    """The picture for a prompt and a seed."""
    told = hashlib.sha256(f"{request.prompt}\0{request.negative_prompt}\0{seed}".encode()).digest()
    ground, disc = (told[0], told[1], told[2]), (told[3], told[4], told[5])
    picture = Image.new("RGB", (request.width, request.height), ground)
    sides = (request.width // 4, request.height // 4, request.width * 3 // 4, request.height * 3 // 4)
    ImageDraw.Draw(picture).ellipse(sides, fill=disc)
    return picture


def _progress(request: GenerationRequest, batch: int, step: int) -> Progress:
    return Progress(
        step=step, steps=request.steps, batch=batch + 1, batches=request.batch_count, rate=1000.0, remaining=0.0
    )


def _hash() -> "Future[str]":
    known: Future[str] = Future()
    known.set_result("0" * 64)
    return known


RECIPE = Recipe(
    schedule="Karras",
    checkpoint=_hash(),
    vae=None,
    vae_name="None",
    refiner=None,
    hires_checkpoint=None,
    loras={},
    embeddings={},
    further=0,
    device="CPU",
)
