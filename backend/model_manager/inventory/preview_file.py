"""A model's preview picture, written beside it; one that somebody else made is kept."""

import hashlib
import io
from itertools import count
from os.path import lexists
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from backend.errors import UserError
from backend.files import create_atomically, write_atomically
from backend.model_manager.inventory.sidecars import beside

ENDING = ".preview.png"  # the first one that A1111 looks for
LONGEST_SIDE = 768  # pixels; cards show them smaller
# Ours say what their pixels are: one that was painted over is somebody's work.
MARK = "atelier-preview"


def put_preview(model: Path, picture: Image.Image) -> Path:
    """Write `picture` as ``NAME.preview.png`` beside `model`, without its recipe; returns that path.

    What is there and was not put there so is kept as ``NAME.preview.old-1.png`` and so on. Raises `UserError` if the
    disk says no.
    """
    path, data = beside(model, ENDING), _encoded(picture)
    try:
        if _is_ours(path):
            write_atomically(path, data)
            return path
        keep_aside(path)
        create_atomically(path, data)
    except OSError as error:
        raise UserError(f"The preview could not be written to {path}: {error.strerror or error}.") from error
    return path


def remove_preview(path: Path) -> None:
    """Let `path` be no preview any more: ours is deleted, any other kept as `keep_aside` does. Raises `UserError`."""
    try:
        if _is_ours(path):
            path.unlink()
        else:
            keep_aside(path)
    except OSError as error:
        raise UserError(f"The preview {path.name} could not be removed: {error.strerror or error}.") from error


def keep_aside(path: Path) -> None:
    """Rename what is at `path`, a link too, to ``STEM.old-N.SUFFIX`` with the first number that is free. Raises
    `OSError`."""
    if lexists(path):
        free = (path.with_name(f"{path.stem}.old-{number}{path.suffix}") for number in count(1))
        path.rename(next(other for other in free if not lexists(other)))


def _encoded(picture: Image.Image) -> bytes:
    small = picture.convert("RGB")
    small.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
    said = PngInfo()
    said.add_text(MARK, _digest(small))
    data = io.BytesIO()
    small.save(data, "PNG", pnginfo=said)
    return data.getvalue()


def _is_ours(path: Path) -> bool:
    if path.is_symlink() or not path.is_file():
        return False
    try:
        with Image.open(path, formats=["PNG"]) as image:
            stated = image.info.get(MARK)
            if stated is None or max(image.size) > LONGEST_SIDE:
                return False
            return stated == _digest(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return False


def _digest(image: Image.Image) -> str:
    return hashlib.sha256(b"%d %d " % image.size + image.tobytes()).hexdigest()
