"""Pictures that others made, as small ones of ours: what a stranger wrote into a file goes no further than here."""

import io
import threading
from functools import lru_cache
from pathlib import Path

from PIL import Image

from backend.errors import UserError

FORMATS = ("PNG", "JPEG", "WEBP")
MOST_PIXELS = 64_000_000
SIZE_RANGE = (32, 1024)  # pixels of the longer side
QUALITY = 82
KEPT = 2000
AT_ONCE = 2  # each may take 200 MB while it is made

State = tuple[int, int]  # modified in nanoseconds, size in bytes


def state_of(path: Path) -> State:
    """What changes when a file does. Raises `OSError` when it is gone."""
    status = path.stat()
    return status.st_mtime_ns, status.st_size


class Thumbs:
    """Makes small pictures, as WebP, and keeps those of late. Safe to use from any thread."""

    def __init__(self) -> None:
        self._room = threading.Semaphore(AT_ONCE)
        self._kept = lru_cache(KEPT)(self._make)

    def of(self, path: Path, state: State, size: int) -> bytes:
        """The picture at `path` with a longer side of `size` pixels, of what there may be; `state` is the file's now.
        Raises `UserError` if it is no picture, or too large a one."""
        low, high = SIZE_RANGE
        return self._kept(path, state, max(low, min(high, size)))

    def _make(self, path: Path, _state: State, size: int) -> bytes:
        with self._room:
            small = open_picture(path, size)
        small.thumbnail((size, size), Image.Resampling.LANCZOS)
        data = io.BytesIO()
        small.save(data, "WEBP", quality=QUALITY, method=2)
        return data.getvalue()


def open_picture(path: Path, size: int) -> Image.Image:
    """The first picture in a file, in RGB or RGBA, at least `size` pixels on its longer side where it has them. Raises
    `UserError`."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            if image.width * image.height > MOST_PIXELS:
                raise UserError(f"{path.name} is too large for a preview: {image.width} x {image.height} pixels.")
            image.draft("RGB", (size, size))
            return image.convert("RGBA" if image.mode in ("RGBA", "LA", "PA") else "RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{path.name} cannot be read as a picture.") from error
