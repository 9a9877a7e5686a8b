"""The pictures people put in: kept as the very bytes that came, under a name that follows from them."""

import hashlib
import io
import re
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageOps

from backend.errors import InvalidRequest, OutputError, UserError
from backend.files import create_atomically
from backend.init_image import LARGEST_SIDE, InitImage

MEDIA_TYPES = {
    "PNG": "image/png",
    "JPEG": "image/jpeg",
    "MPO": "image/jpeg",
    "WEBP": "image/webp",
    "GIF": "image/gif",
    "BMP": "image/bmp",
    "TIFF": "image/tiff",
    "AVIF": "image/avif",
}
MOST_BYTES = 256 * 1024 * 1024
MOST_PIXELS = 150_000_000  # 12,000 x 12,000, and some
LONGEST_SIDE = 65_535  # of what may be put in; what is made of it is shorter
AT_ONCE = 2  # each may take a gigabyte while it is decoded
SIDEWAYS = frozenset({5, 6, 7, 8})  # of Exif's eight orientations
UNREADABLE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    ZeroDivisionError,
    OverflowError,
    MemoryError,
    Image.DecompressionBombError,
)
_NAME = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class StoredInput:
    """A picture that was put in: its name, and its size in pixels when it stands upright."""

    name: str
    width: int
    height: int


class Inputs:
    """A folder of pictures by the sha256 of their bytes. Safe to use from any thread."""

    def __init__(self, folder: Path):
        """`folder` is made when the first picture comes."""
        self.folder = folder
        self._sizes: dict[str, tuple[int, int]] = {}  # of the names that were asked for
        self._room = threading.Semaphore(AT_ONCE)

    def put(self, data: bytes) -> StoredInput:
        """Keep a picture. The same bytes are kept once.

        Raises `UserError` with a sentence for what is no whole picture or too large a one, and `OutputError` when the
        disk says no.
        """
        if len(data) > MOST_BYTES:
            raise UserError(f"This file has {len(data):,} bytes; a picture may have {MOST_BYTES:,}.")
        with self._room:
            size = _upright(data).size
        name = hashlib.sha256(data).hexdigest()
        path = self.folder / name
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            create_atomically(path, data)
        except FileExistsError:
            pass  # the same bytes
        except OSError as error:
            raise OutputError(
                f"The picture could not be kept in {self.folder}: {error.strerror or error}. Make room and try again."
            ) from error
        self._sizes[name] = size
        return StoredInput(name=name, width=size[0], height=size[1])

    def path(self, name: str) -> Path:
        """Where the bytes lie. Raises `UserError` if there is no such picture."""
        path = self.folder / name
        if not _NAME.fullmatch(name) or not path.is_file():
            raise UserError(f"There is no picture {name[:12]!r} any more: put it in again.")
        return path

    def size(self, name: str) -> tuple[int, int]:
        """Width and height of a picture when it stands upright. Raises `UserError`."""
        path = self.path(name)
        if name not in self._sizes:
            try:
                with _open(path) as image:
                    self._sizes[name] = _upright_size(image)
            except UNREADABLE as error:
                raise UserError(f"The picture {name[:12]!r} cannot be read any more: put it in again.") from error
        return self._sizes[name]

    def media_type(self, name: str) -> str:
        """What kind of file a picture is. Raises `UserError`."""
        path = self.path(name)
        try:
            with _open(path) as image:
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
            return _upright(data)

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


def _open(source: Path | io.BytesIO) -> Image.Image:
    """Look at a file's header, as one of the kinds that are known and that this Pillow can read."""
    Image.init()
    return Image.open(source, formats=[kind for kind in MEDIA_TYPES if kind in Image.OPEN])


def _upright(data: bytes) -> Image.Image:
    try:
        with _open(io.BytesIO(data)) as image:
            width, height = image.size
            if width * height > MOST_PIXELS or max(width, height) > LONGEST_SIDE:
                raise UserError(
                    f"This picture has {width:,} x {height:,} pixels; {MOST_PIXELS // 1_000_000} million are allowed."
                )
            image.load()
            return ImageOps.exif_transpose(_eight_bit(image))
    except Image.DecompressionBombError as error:
        raise UserError(
            f"This picture has more pixels than a picture may have: {MOST_PIXELS // 1_000_000} million are allowed."
        ) from error
    except UNREADABLE as error:
        kinds = "PNG, JPEG, WebP, GIF, BMP, TIFF and AVIF"
        raise UserError(f"This file cannot be read as a picture: {kinds} are known, and it has to be whole.") from error


def _upright_size(image: Image.Image) -> tuple[int, int]:
    """What `_upright` makes of a file that was opened, by its header as far as that tells: a PNG's Exif may stand
    behind its pixels. Only Exif counts, as in browsers; a TIFF comes upright."""
    if image.format == "PNG":
        image.load()
    exif = Image.Exif()
    exif.load(image.info.get("exif") or b"")
    width, height = image.size
    return (height, width) if exif.get(ExifTags.Base.Orientation) in SIDEWAYS else (width, height)


def _eight_bit(image: Image.Image) -> Image.Image:
    """RGB, or RGBA where something is transparent, with the tags of `image`."""
    if image.mode.startswith("I") or image.mode == "F":
        made = _from_more_bits(image)
    elif image.mode == "CMYK":
        made = _from_inks(image)
    elif image.has_transparency_data:
        made = image.convert("RGBA")
        if made.getchannel("A").getextrema() == (255, 255):
            made = made.convert("RGB")
    else:
        made = image.convert("RGB")
    made.info = {key: value for key, value in image.info.items() if key == "exif"}
    return made


def _from_more_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 or more bits: Pillow's own conversion would cut all above 255 off."""
    values = np.nan_to_num(np.array(image, np.float32), copy=False)
    if image.mode == "F":
        most = 1.0 if values.max(initial=0) <= 1 else 255.0
    else:
        most = 65535.0 if image.mode.startswith("I;16") or values.max(initial=0) > 255 else 255.0
    # In place: of a large picture each copy takes half a gigabyte.
    values /= most
    values.clip(0, 1, out=values)
    values *= 255
    return Image.fromarray(values.round(out=values).astype(np.uint8)).convert("RGB")


def _from_inks(image: Image.Image) -> Image.Image:
    """CMYK by its own profile where it has one."""
    profile = image.info.get("icc_profile")
    if profile:
        try:
            own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            made = ImageCms.profileToProfile(image, own, ImageCms.createProfile("sRGB"), outputMode="RGB")
            if made is not None:
                return made
        except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
            pass  # a profile that is damaged, or not for inks: as without one
    return image.convert("RGB")
