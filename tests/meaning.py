"""The fixed seeds of the tests of meaning, and how their pictures are made and counted."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from PIL import Image

from backend.app import App, Options
from backend.events import Finished
from backend.request import GenerationRequest
from starter.judge import Verdict, judge

FIRST_SEED, SEEDS, BATCH = 1000, 32, 8

Make = Callable[[GenerationRequest], list[Image.Image]]


@contextmanager
def starter_studio(folder: Path) -> Iterator[App]:
    """An app with the shipped models."""
    app = App(Options(data_dir=folder, device="cpu"))
    app.start()
    yield app
    app.close()


def side_of(app: App) -> int:
    """The side of the pictures the starter makes best."""
    width, height = app.catalog.find("starter").native_size
    assert width == height
    return width


def run(app: App, request: GenerationRequest) -> list[Image.Image]:
    job = app.queue.submit(request, "test")
    assert list(job.follow())[-1] == Finished()
    return [Image.open(image.path).convert("RGB") for image in job.images]


def made(studio: App, side: int, request: GenerationRequest) -> list[Image.Image]:
    """The pictures of a request, now."""
    size = {"width": side, "height": side, "batch_size": BATCH, "batch_count": SEEDS // BATCH}
    pictures = run(studio, replace(request, checkpoint="starter", seed=FIRST_SEED, **size))
    assert len(pictures) == SEEDS
    return pictures


def share(pictures: list[Image.Image], says: Callable[[Verdict], bool]) -> float:
    return sum(says(judge(picture)) for picture in pictures) / len(pictures)
