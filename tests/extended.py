"""A studio with extensions that a test writes, on tiny checkpoints and the real engine."""

import shutil
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from backend.app import App, Options
from backend.events import Event, Failed, Finished, ImageReady
from backend.job import Job
from backend.request import GenerationRequest
from tests.checkpoints import write_tiny_checkpoint
from tests.extension_folders import write_extension


@contextmanager
def studio(folder: Path, written_checkpoint: Path) -> Iterator[App]:
    """A running app on the checkpoints ``tiny`` and ``other``, which have one architecture and other weights."""
    shutil.copy(written_checkpoint, folder / "tiny.safetensors")
    write_tiny_checkpoint(folder / "other.safetensors", seed=5)
    app = App(Options(data_dir=folder / "data", checkpoint_dirs=(folder,), device="cpu"))
    for extension in app.extensions.active():
        app.extensions.switch(extension.id, False)
    app.start()
    yield app
    app.close()


@contextmanager
def extended(app: App, code: str, id: str = "tried", **entries: Any) -> Iterator[ModuleType]:
    """Meanwhile an extension of that code is on, which may note things in `seen`; gives its module."""
    shutil.rmtree(app.options.data_dir / "extensions" / id, ignore_errors=True)
    write_extension(app.options.data_dir, id, f"seen = []\n{textwrap.dedent(code)}", **entries)
    app.extensions.rescan()
    extension = app.extensions.switch(id, True)
    assert extension.module is not None, extension.problem
    try:
        yield extension.module
    finally:
        app.extensions.switch(id, False)


def ended(job: Job) -> tuple[Event, list[ImageReady]]:
    """The last event of a job, and its pictures."""
    events = list(job.follow())
    return events[-1], [event for event in events if isinstance(event, ImageReady)]


def made(app: App, request: GenerationRequest) -> list[ImageReady]:
    """The pictures of a request, which must be made, by the whole way from the door on."""
    pictures: list[ImageReady] = []
    for job in app.submit(request, "me"):
        last, some = ended(job)
        assert last == Finished(), last
        pictures += some
    return pictures


def failed(app: App, request: GenerationRequest) -> str:
    """The sentence that making it ends with."""
    (job,) = app.submit(request, "me")
    last, _ = ended(job)
    assert isinstance(last, Failed), last
    return last.message
