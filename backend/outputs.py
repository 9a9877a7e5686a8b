"""Finished pictures to files: whole or not there, never over another, with their recipe inside."""

import io
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from backend.errors import OutputError
from backend.files import create_atomically
from backend.request import GenerationRequest

if TYPE_CHECKING:
    from backend.settings import Settings

SUFFIXES = {"png": ".png", "jpeg": ".jpg", "webp": ".webp"}
PARAMETERS = "parameters"  # the chunk A1111 and everybody after it reads
REQUEST = "atelier"  # our own: the request as lossless JSON
USER_COMMENT, IMAGE_DESCRIPTION, EXIF_IFD = 0x9286, 0x010E, 0x8769
LONGEST_NAME = 180  # bytes, leaving room below the 255 of most file systems
PNG_COMPRESSION = 4  # a fifth of level 6's time for a few percent of size


class Outputs:
    """The folder pictures go to. Safe to use from any thread."""

    def __init__(self, settings: "Callable[[], Settings]", folder: Path):
        """`folder` is used unless the settings name another."""
        self._settings = settings
        self._default_folder = folder
        self._lock = threading.Lock()
        self._numbers: dict[Path, int] = {}

    @property
    def folder(self) -> Path:
        """Where pictures go now."""
        chosen = self._settings().output_folder
        return Path(chosen) if chosen else self._default_folder

    def save(self, image: Image.Image, request: GenerationRequest, *, infotext: str, schedule: str) -> Path:
        """Write one picture below ``txt2img/DATE/`` and return its path; `request` is the one for this very picture.

        Raises `OutputError` with a sentence when the disk says no.
        """
        settings = self._settings()
        folder = self.folder / "txt2img" / time.strftime("%Y-%m-%d")
        data = encode(image, settings.image_format, settings.image_quality, infotext, request.to_json())
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with self._lock:
                while True:
                    number = self._next_number(folder)
                    name = file_name(settings.name_pattern, request, number, schedule)
                    path = folder / (name + SUFFIXES[settings.image_format])
                    try:
                        create_atomically(path, data)
                    except FileExistsError:
                        continue  # another Atelier took the number
                    return path
        except OSError as error:
            raise OutputError(
                f"The picture could not be saved in {folder}: {error.strerror or error}. "
                "Make room or choose another output folder in Settings, then retry the job."
            ) from error

    def _next_number(self, folder: Path) -> int:
        if folder not in self._numbers:
            found = (re.match(r"\d+", path.name) for path in folder.iterdir())
            self._numbers[folder] = max((int(match[0]) for match in found if match), default=-1)
        self._numbers[folder] += 1
        return self._numbers[folder]


def encode(image: Image.Image, format: str, quality: int, infotext: str, request: str) -> bytes:
    """The file's bytes: PNG with two text chunks, or JPEG and WebP with the infotext in Exif's UserComment (as A1111
    writes it: ``UNICODE`` and UTF-16) and the request in ImageDescription."""
    data = io.BytesIO()
    if format == "png":
        chunks = PngInfo()
        chunks.add_text(PARAMETERS, infotext)
        chunks.add_text(REQUEST, request)
        image.save(data, "PNG", pnginfo=chunks, compress_level=PNG_COMPRESSION)
        return data.getvalue()
    exif = Image.Exif()
    exif[IMAGE_DESCRIPTION] = request
    exif.get_ifd(EXIF_IFD)[USER_COMMENT] = b"UNICODE\0" + infotext.encode("utf-16-be")
    if format == "webp":
        image.save(data, "WEBP", quality=quality, lossless=quality == 100, exif=exif)
    else:
        image.convert("RGB").save(data, "JPEG", quality=quality, exif=exif, subsampling=0)
    return data.getvalue()


def file_name(pattern: str, request: GenerationRequest, number: int, schedule: str) -> str:
    """A file name without suffix from the settings' pattern: safe on every file system, never empty or too long."""
    words = {
        "number": f"{number:05d}",
        "seed": str(request.seed),
        "date": time.strftime("%Y-%m-%d"),
        "time": time.strftime("%H%M%S"),
        "prompt_words": " ".join(re.findall(r"\w+", request.prompt)[:8]),
        "sampler": request.sampler,
        "schedule": schedule,
        "steps": str(request.steps),
        "cfg": f"{request.cfg_scale:g}",
        "width": str(request.width),
        "height": str(request.height),
        "model_name": request.checkpoint.rpartition("/")[2],
    }
    if "[number]" not in pattern:
        pattern = f"[number]-{pattern}"  # names must differ
    name = re.sub(r"\[(\w+)\]", lambda match: words.get(match[1], match[0]), pattern)
    name = re.sub(r'[\x00-\x1f<>:"/\\|?*]', "_", name).strip(" .")
    return name.encode()[:LONGEST_NAME].decode(errors="ignore").rstrip(" .")
