"""Hides a short text in each picture, so that one can tell later where it comes from. `signature` says how."""

from pathlib import Path

import numpy as np
from pydantic import field_validator

from backend.extension_api import (
    BaseModel,
    ConfigDict,
    ExtensionApi,
    Field,
    Image,
    PictureTurn,
    UserError,
    hook,
)

from . import signature

COLOURS = {"RGB": "RGB", "L": "RGB", "P": "RGB", "RGBA": "RGBA", "LA": "RGBA"}  # what a picture's mode becomes


class Watermark(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str = Field(default="atelier", title="Text", description="Up to 16 bytes; empty: none")
    strength: float = Field(default=1.5, ge=0.5, le=4, title="Strength", description="More lasts longer")

    @field_validator("text")
    @classmethod
    def _fits(cls, text: str) -> str:
        if len(text.encode()) > signature.LONGEST or "\0" in text:
            raise ValueError(f"a text has room for {signature.LONGEST} bytes")
        return text


@hook
def register(api: ExtensionApi) -> None:
    api.settings(Watermark)
    api.gallery_action("Read watermark", found_in)


@hook
def on_image(image: Image.Image, turn: PictureTurn) -> Image.Image | None:
    asked = turn.settings(Watermark)
    if not asked.text:
        return None
    marked = hidden(image, asked.text, asked.strength)
    if text_of(marked) != asked.text:
        turn.remark(
            f"The watermark found no hold in a picture of {image.width} x {image.height}: it is too small or plain."
        )
        return None
    return marked


def hidden(image: Image.Image, text: str, strength: float) -> Image.Image:
    """The picture with a text of up to 16 bytes in it; transparency stays as it is."""
    image = image.convert(COLOURS.get(image.mode, "RGB"))
    pixels = np.asarray(image)
    marked = Image.fromarray(signature.signed(pixels[..., :3], text.encode(), strength))
    if image.mode == "RGBA":
        marked.putalpha(image.getchannel("A"))
    return marked


def text_of(image: Image.Image) -> str | None:
    """The text that is hidden in a picture; None where there is none."""
    found = signature.read(np.asarray(image.convert(COLOURS.get(image.mode, "RGB")))[..., :3])
    return None if found is None else found.decode(errors="replace")


def found_in(path: Path) -> str:
    """The action below a result: what is hidden in its file, in a sentence."""
    try:
        with Image.open(path) as image:
            text = text_of(image)
    except OSError as error:
        raise UserError(f"{path.name} cannot be read: {error}.") from error
    return f"{path.name} has no watermark that can be read." if text is None else f"The watermark says: {text}"
