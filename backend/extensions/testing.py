"""For the tests of extensions: a whole Atelier as a fixture of pytest, which needs no graphics card.

At the top of a test file::

    pytest_plugins = ["backend.extensions.testing"]

Then `studio` is a running Atelier in a folder of its own, in which the extension that the test file lies in is on, and
`generate` makes pictures with it::

    def test_the_frame_is_as_wide_as_it_was_asked_for(generate):
        (picture,) = generate("a red circle", params={"width": 3})
        assert picture.image.getpixel((2, 2)) == (0, 0, 0)

Its engine answers at once and draws a disc for any prompt, the same one for the same prompt and seed. It comes through
``on_prompts``, ``on_request``, ``on_image``, ``on_save`` and ``on_finish``, nested generations too; what is done while
a network computes wants the real engine: ``App(options)`` with the starter checkpoint.
"""

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from backend.app import App, Options
from backend.errors import UserError
from backend.events import Failed
from backend.extension_api import Person
from backend.extensions.asking import asked_as
from backend.extensions.extension import Extension, ExtensionFault
from backend.extensions.extensions import FOLDER
from backend.extensions.manifest import FILE, Manifest
from backend.extensions.quick_engine import QuickEngine
from backend.request import GenerationRequest

OWNER = "0" * 32
PERSON = Person(owner=OWNER, name="", administrator=True)  # who asks for everything here


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture that was made: as it was saved, where, and with which infotext."""

    image: Image.Image
    path: Path
    infotext: str
    seed: int


class Studio:
    """A running Atelier with one extension on."""

    def __init__(self, app: App, extension: Extension):
        self.app = app
        self.extension = extension

    def generate(
        self, prompt: str = "a red circle", *, params: Mapping[str, Any] | None = None, **values: Any
    ) -> list[Picture]:
        """The pictures of a request; `params` are the extension's parameters, `values` other fields of the request.
        Without a size they are 64 x 64, without steps there is one.

        Raises `UserError` with the sentence that a person would see.
        """
        fields = {"prompt": prompt, "width": 64, "height": 64, "steps": 1, "seed": 1, **values}
        if params is not None:
            fields["extras"] = {**fields.get("extras", {}), self.extension.id: dict(params)}
        pictures = []
        for job in self.app.submit(GenerationRequest.from_values(fields), OWNER):
            for event in job.follow():
                if isinstance(event, Failed):
                    raise (
                        ExtensionFault(event.message) if event.kind == ExtensionFault.kind else UserError(event.message)
                    )
            pictures += [
                Picture(image=_whole(made.path), path=made.path, infotext=made.infotext, seed=made.seed)
                for made in job.images
            ]
        return pictures

    def press(self, title: str, picture: Picture) -> str:
        """Press a button of the extension below a picture; returns what it says. Raises `UserError`."""
        for action in self.extension.brought.gallery_actions:
            if action.title == title:
                with asked_as(PERSON):
                    return self.app.extensions.calls.call_apart(self.extension, title, action.act, picture.path)
        raise UserError(f"{self.extension.title} has no action called {title!r}.")


@contextmanager
def opened(folder: Path, data_dir: Path) -> Iterator[Studio]:
    """An Atelier in `data_dir`, in which the extension in `folder` is on. Raises `UserError` with its problem where it
    cannot be loaded."""
    id = Manifest.read(folder).id
    place = data_dir / FOLDER / id
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(folder, place, ignore=shutil.ignore_patterns("tests", ".*", "__pycache__"))
    app = App(Options(data_dir=data_dir, device="cpu"), worker=QuickEngine)
    try:
        extension = app.extensions.find(id)
        if extension.folder != place:
            raise UserError(f"{id} is the id of an extension that ships with Atelier: choose another one.")
        if extension.state != "on":
            app.extensions.switch(id, True)
        if extension.problem:
            raise UserError(extension.problem)
        app.start()
        yield Studio(app, extension)
    finally:
        app.close()


@pytest.fixture
def studio(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Studio]:
    """A running Atelier in which the extension that the test lies in is on."""
    for folder in request.path.parents:
        if (folder / FILE).is_file():
            with opened(folder, tmp_path / "data") as found:
                yield found
            return
    raise UserError(f"{request.path} lies in no folder with an {FILE}.")


@pytest.fixture
def generate(studio: Studio) -> Callable[..., list[Picture]]:
    """`Studio.generate`: makes pictures, and returns them."""
    return studio.generate


def _whole(path: Path) -> Image.Image:
    with Image.open(path) as picture:
        picture.load()
    return picture
