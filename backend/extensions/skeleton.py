"""A new extension to begin with: one that works, with a test."""

from pathlib import Path

from backend.errors import UserError
from backend.extension_api import API_VERSION
from backend.extensions.found import shipped
from backend.extensions.manifest import ID
from backend.paths import ROOT

MANIFEST = """id = "{id}"
name = "{title}"
version = "0.1.0"
api = ">={api},<{next}"
description = "Puts a frame around each picture."
author = ""
# homepage = "https://example.org/{id}"
# dependencies = ["shapely>=2"]
# permissions = ["network"]      # or "files", "programs": what it does besides
# js = "{id}.js"
# before = ["watermark"]         # whose turn comes later in each stage; `after` is the other way round
"""

CODE = '''"""{title}: puts a frame around each picture."""

from pathlib import Path

from backend.extension_api import ExtensionApi, Field, Image, Params, PictureTurn, hook


class Frame(Params):
    """What stands in the accordion, in the infotext, in the interface for programs, and on an axis of a plot."""

    enabled: bool = False
    width: int = Field(default=8, ge=1, le=64, title="Width", description="In pixels.")


@hook
def register(api: ExtensionApi) -> None:
    api.params(Frame)
    api.gallery_action("How large is it?", size_of)


@hook
def on_image(image: Image.Image, turn: PictureTurn) -> Image.Image:
    width = turn.params(Frame).width
    framed = Image.new("RGB", (image.width + 2 * width, image.height + 2 * width))
    framed.paste(image, (width, width))
    return framed


def size_of(file: Path) -> str:
    with Image.open(file) as picture:
        return f"{{picture.width}} x {{picture.height}} pixels."
'''

TEST = '''"""python -m pytest {place}, in the folder of Atelier."""

from collections.abc import Callable

import pytest

from backend.extension_api import UserError
from backend.extensions.testing import Picture, Studio

pytest_plugins = ["backend.extensions.testing"]


def test_a_picture_gets_a_frame_that_is_as_wide_as_it_was_asked_for(generate: Callable[..., list[Picture]]) -> None:
    (plain,) = generate("a red circle")
    (framed,) = generate("a red circle", params={{"enabled": True, "width": 3}})
    assert framed.image.size == (plain.image.width + 6, plain.image.height + 6)
    assert framed.image.getpixel((2, 2)) == (0, 0, 0)
    assert framed.image.crop((3, 3, 67, 67)).tobytes() == plain.image.tobytes()
    assert "{title} Width: 3" in framed.infotext


def test_a_frame_that_cannot_be_is_a_sentence(generate: Callable[..., list[Picture]]) -> None:
    with pytest.raises(UserError, match="Width"):
        generate("a red circle", params={{"enabled": True, "width": 65}})


def test_the_button_below_a_picture_says_its_size(studio: Studio) -> None:
    (picture,) = studio.generate("a red circle")
    assert studio.press("How large is it?", picture) == "64 x 64 pixels."
'''

README = """# {title}

Puts a frame around each picture: open *{title}* in a tab, switch it on, and press *Generate*.

`extension.toml` says what it is, `__init__.py` what it does. Switch it on in *Extensions*; after a change press
*Reload* there. What an extension can do stands in Atelier's `docs/extensions.md`. Its test, in the folder of Atelier:

    python -m pytest {place}
"""


def write_skeleton(name: str, folder: Path) -> Path:
    """Write a new extension called `name` into a folder of its own in `folder`; returns that.

    Raises `UserError` for a name that cannot be, and if there is something of that name already.
    """
    id = "_".join(name.casefold().replace("-", " ").replace("_", " ").split())
    if not ID.fullmatch(id):
        raise UserError(
            f"{name!r} cannot be the name of an extension: 2 to 40 letters, digits and spaces, a letter first."
        )
    if id in shipped(ROOT / "extensions"):
        raise UserError(f"There is an extension {id!r} in Atelier already: choose another name.")
    place = folder / id
    title = name.strip() if " " in name.strip() else id.replace("_", " ").capitalize()
    major = int(API_VERSION.partition(".")[0])
    said = {"id": id, "title": title, "api": API_VERSION, "next": major + 1, "place": place}
    texts = {
        "extension.toml": MANIFEST,
        "__init__.py": CODE,
        "README.md": README,
        f"tests/test_{id}.py": TEST,
    }
    try:
        place.mkdir(parents=True)
        (place / "tests").mkdir()
        for path, text in texts.items():
            (place / path).write_text(text.format(**said), encoding="utf-8")
    except FileExistsError as error:
        raise UserError(f"There is a folder {place} already: choose another name.") from error
    except OSError as error:
        raise UserError(f"{place} could not be written: {error.strerror or error}.") from error
    return place
