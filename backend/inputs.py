"""The pictures people put in: kept as the very bytes that came, under a name that follows from them."""

import hashlib
import logging
import os
import threading
from collections.abc import Container
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from backend.checked import LARGEST_SIDE
from backend.errors import InvalidRequest, OutputError, UserError
from backend.files import create_atomically
from backend.imaging.decode import MEDIA_TYPES, MOST_PIXELS, UNREADABLE, opened, upright, upright_size
from backend.init_image import PICTURE_NAME, InitImage

log = logging.getLogger(__name__)


MOST_BYTES = 256 * 1024 * 1024
AT_ONCE = 2  # each may take a gigabyte while it is decoded


@dataclass(frozen=True, kw_only=True)
class StoredInput:
    """A picture that was put in: its name, and its size in pixels when it stands upright."""

    name: str
    width: int
    height: int


class Inputs:
    """A folder of pictures by the sha256 of their bytes. When one was last asked for is its file's time. Safe to use
    from any thread."""

    def __init__(self, folder: Path):
        """`folder` is made when the first picture comes."""
        self.folder = folder
        self._sizes: dict[str, tuple[int, int]] = {}  # of the names that were asked for
        self._room = threading.Semaphore(AT_ONCE)
        self._using = threading.Lock()  # so that nothing goes between a look at its time and its end

    def put(self, data: bytes) -> StoredInput:
        """Keep a picture. The same bytes are kept once.

        Raises `UserError` with a sentence for what is no whole picture or too large a one, and `OutputError` when the
        disk says no.
        """
        if len(data) > MOST_BYTES:
            raise UserError(f"This file has {len(data):,} bytes; a picture may have {MOST_BYTES:,}.")
        with self._room:
            size = upright(data).size
        name = hashlib.sha256(data).hexdigest()
        path = self.folder / name
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if not self._used(path):
                with suppress(FileExistsError):  # the same bytes, put in meanwhile
                    create_atomically(path, data)
        except OSError as error:
            raise OutputError(
                f"The picture could not be kept in {self.folder}: {error.strerror or error}. Make room and try again."
            ) from error
        self._sizes[name] = size
        return StoredInput(name=name, width=size[0], height=size[1])

    def path(self, name: str) -> Path:
        """Where the bytes lie, which counts as a use. Raises `UserError` if there is no such picture."""
        path = self.folder / name
        if not PICTURE_NAME.fullmatch(name) or not self._used(path):
            raise UserError(f"There is no picture {name[:12]!r} any more: put it in again.")
        return path

    def size(self, name: str) -> tuple[int, int]:
        """Width and height of a picture when it stands upright. Raises `UserError`."""
        path = self.path(name)
        if name not in self._sizes:
            try:
                with opened(path) as image:
                    self._sizes[name] = upright_size(image)
            except UNREADABLE as error:
                raise UserError(f"The picture {name[:12]!r} cannot be read any more: put it in again.") from error
        return self._sizes[name]

    def media_type(self, name: str) -> str:
        """What kind of file a picture is. Raises `UserError`."""
        path = self.path(name)
        try:
            with opened(path) as image:
                return MEDIA_TYPES[image.format or ""]
        except UNREADABLE as error:
            raise UserError(f"The picture {name[:12]!r} cannot be read any more: put it in again.") from error

    def picture(self, name: str) -> Image.Image:
        """A picture upright, with 8 bits a channel, in RGBA if anything of it is transparent, else in RGB: the first
        one of an animation. Raises `UserError`."""
        path = self.path(name)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise UserError(f"The picture {name[:12]!r} cannot be read: {error.strerror or error}.") from error
        with self._room:
            return upright(data)

    def drop_unused(self, since: float, needed: Container[str]) -> int:
        """Delete the pictures that nobody asked for `since` then (seconds of the epoch), but for those that are
        `needed`; returns how many. What cannot be deleted stays for the next time."""
        dropped = 0
        for path in list(self.folder.iterdir()) if self.folder.is_dir() else ():
            if not PICTURE_NAME.fullmatch(path.name) or path.name in needed:
                continue
            try:
                with self._using:
                    if path.stat().st_mtime >= since:
                        continue
                    path.unlink()
            except OSError as error:
                log.warning("The picture %s could not be deleted: %s", path, error.strerror or error)
                continue
            self._sizes.pop(path.name, None)
            dropped += 1
        return dropped

    def _used(self, path: Path) -> bool:
        """Whether the file is there; if so, it was used now."""
        with self._using:
            if not path.is_file():
                return False
            with suppress(OSError):  # a folder that cannot be written to: nothing is deleted there either
                os.utime(path)
            return True

    def check(self, init: InitImage) -> None:
        """Hold the pictures that `init` names against each other, by their sizes. Raises `UserError` for one that is
        not there, has another size than it must or would become too large, and for a box with nothing to do."""
        size = self.size(init.picture)
        for name, what in ((init.sketch, "sketch"), (init.inpainting.mask if init.inpainting else "", "mask")):
            if name and self.size(name) != size:
                wide, high = self.size(name)
                raise InvalidRequest(
                    f"The {what} has {wide} x {high} pixels; it must have the picture's {size[0]} x {size[1]}."
                )
        if init.depth:
            self.path(init.depth)
        if init.upscale is not None:
            init.upscale.target(*size)
        if init.box is None:
            return
        left, top, right, bottom = init.box.rectangle
        if left >= size[0] or top >= size[1] or right <= 0 or bottom <= 0:
            raise InvalidRequest("The box lies outside the picture: move it so that it takes in a part of it.")
        wide, high = max(right, size[0]) - min(left, 0), max(bottom, size[1]) - min(top, 0)
        if max(wide, high) > LARGEST_SIDE or wide * high > MOST_PIXELS:
            raise InvalidRequest(
                f"With this box the picture would have {wide:,} x {high:,} pixels; {LARGEST_SIDE:,} a side and "
                f"{MOST_PIXELS // 1_000_000} million are allowed."
            )
        within = left >= 0 and top >= 0 and right <= size[0] and bottom <= size[1]
        if within and init.inpainting is not None and not init.inpainting.mask:
            raise InvalidRequest("There is nothing to paint: the box lies within the picture, and there is no mask.")
