"""A contact sheet of one's pictures of a day, and a sentence about a model."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

from PIL import ImageDraw, ImageFont, ImageOps

from backend.extension_api import (
    BaseModel,
    ConfigDict,
    ExtensionApi,
    Field,
    Image,
    ModelRecord,
    Settings,
    UserError,
    asked_by,
    hook,
)

GAP, LINE = 12, 22  # pixels between pictures, and for a name below one
PAPER, INK = "#f4f2ee", "#33312e"
MOST = 600  # pictures on a sheet
MEBIBYTE = 1024 * 1024


class Sheet(BaseModel):
    """How a sheet is laid out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    columns: int = Field(default=6, ge=1, le=20, title="Pictures in a row")
    side: int = Field(default=256, ge=64, le=768, title="Size", description="Pixels of the larger side of each.")


class Desk:
    """Draws sheets into the extension's data folder."""

    def __init__(self, api: ExtensionApi, settings: Settings[Sheet]):
        self._api = api
        self._settings = settings

    def sheet(self, file: Path) -> str:
        """A sheet of what the person who asks has in the folder in which a result lies."""
        owner = asked_by().owner
        files = sorted(each.path for each in self._api.pictures(owner) if each.path.parent == file.parent)
        if len(files) > MOST:
            raise UserError(f"You have {len(files)} pictures in {file.parent.name}; a sheet has room for {MOST}.")
        path = self._api.data_dir / f"{file.parent.parent.name}-{file.parent.name}-{owner[:8]}.png"
        drawn, left_out = laid_out(files, self._settings.value)
        drawn.save(path)
        said = f"A sheet of your {len(files) - left_out} pictures of {file.parent.name} lies in {path}."
        return said + (f" {left_out} could not be read." if left_out else "")


def laid_out(files: Sequence[Path], sheet: Sheet) -> tuple[Image.Image, int]:
    """The pictures in rows, each with its name below, and how many could not be read."""
    thumbs = [(path.name, thumb) for path in files if (thumb := _thumb(path, sheet.side)) is not None]
    columns = max(1, min(sheet.columns, len(thumbs)))
    rows = max(1, math.ceil(len(thumbs) / columns))
    wide, high = sheet.side + GAP, sheet.side + LINE + GAP
    paper = Image.new("RGB", (GAP + columns * wide, GAP + rows * high), PAPER)
    draw, font = ImageDraw.Draw(paper), ImageFont.load_default(13)
    for number, (name, thumb) in enumerate(thumbs):
        left, top = GAP + number % columns * wide, GAP + number // columns * high
        paper.paste(thumb, (left + (sheet.side - thumb.width) // 2, top + (sheet.side - thumb.height) // 2))
        draw.text((left, top + sheet.side + 4), _cut(name, draw, font, sheet.side), INK, font)
    return paper, len(files) - len(thumbs)


def _thumb(path: Path, side: int) -> Image.Image | None:
    try:
        with Image.open(path) as picture:
            return ImageOps.contain(picture.convert("RGB"), (side, side), Image.Resampling.LANCZOS)
    except (OSError, ValueError, Image.DecompressionBombError):
        return None


def _cut(name: str, draw: ImageDraw.ImageDraw, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, room: int) -> str:
    while name and draw.textlength(name, font) > room:
        name = name.removesuffix("…")[:-1] + "…" if len(name) > 2 else ""
    return name


def described(record: ModelRecord, others: Sequence[ModelRecord]) -> str:
    """What a model is, how large its file is, how many of `others` are for the same, and which words it listens to."""
    alike = sum(other.path != record.path and other.identity.fits(record.identity) for other in others)
    said = (
        f"{record.path.name} is {record.identity.title}, {record.size / MEBIBYTE:.0f} MB, {alike or 'no'} more like it."
    )
    words = _trigger_words(record.path)
    if record.problem:
        said += f" {record.problem}"
    return f"{said} Its maker says: {words}." if words else f"{said} No trigger words are noted beside it."


def _trigger_words(path: Path) -> str:
    """Those of the file beside a model that AUTOMATIC1111 and its users write."""
    try:
        found = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        return " ".join(str(found.get("activation text") or "").split())
    except (OSError, ValueError, AttributeError):
        return ""


@hook
def register(api: ExtensionApi) -> None:
    """A button below results, and one in a model's details."""
    desk = Desk(api, api.settings(Sheet))
    api.gallery_action("Contact sheet of this day", desk.sheet)
    api.card_action("Say what it is", lambda record: described(record, api.models(record.kind)))
