"""Finished pictures to files: whole or not there, never over another, with their recipe inside."""

import io
import logging
import re
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from backend.errors import OutputError
from backend.files import create_atomically
from backend.request import GenerationRequest

if TYPE_CHECKING:
    from backend.settings import Settings

log = logging.getLogger(__name__)

SUFFIXES = {"png": ".png", "jpeg": ".jpg", "webp": ".webp", "avif": ".avif"}
SIDECAR = ".txt"
NONE: Mapping[str, str] = MappingProxyType({})
PARAMETERS = "parameters"  # the chunk A1111 and everybody after it reads
REQUEST = "atelier"  # our own: the request as lossless JSON
MADE_WITH = "atelier_made_with"  # and which files and which machine made it
ENLARGED = "atelier_enlarged"  # what was done to it in Extras, also where the request is the original's
USER_COMMENT, IMAGE_DESCRIPTION, MAKER_NOTE, IMAGE_HISTORY, EXIF_IFD = 0x9286, 0x010E, 0x927C, 0x9213, 0x8769
LONGEST_NAME = 180  # bytes, leaving room below the 255 of most file systems
LONGEST_SIDE = 16_383  # pixels, which WebP can have; JPEG and AVIF can have some more
NUMBER = "[number]"
# What the words of a pattern can become, where that is not just anything.
FORMS = {
    "number": r"\d{5,}",
    "seed": r"\d+",
    "date": r"\d{4}-\d\d-\d\d",
    "time": r"\d{6}",
    "prompt_words": r"[\w ]*",
    "sampler": ".*",
    "schedule": ".*",
    "steps": r"\d+",
    "cfg": r"[\d.]+",
    "width": r"\d+",
    "height": r"\d+",
    "model_name": ".*",
}
PNG_COMPRESSION = 4  # a fifth of level 6's time for a few percent of size


class Outputs:
    """The folder pictures go to. Safe to use from any thread."""

    def __init__(self, settings: "Callable[[], Settings]", folder: Path):
        """`folder` is used unless the settings name another."""
        self._settings = settings
        self._default_folder = folder
        self._lock = threading.Lock()
        self._numbers: dict[tuple[Path, str], int] = {}

    @property
    def folder(self) -> Path:
        """Where pictures go now."""
        chosen = self._settings().output_folder
        return Path(chosen) if chosen else self._default_folder

    def save(
        self, image: Image.Image, request: GenerationRequest, *, infotext: str, schedule: str, made_with: str = ""
    ) -> Path:
        """Write one picture below ``txt2img/DATE/``, or ``img2img/DATE/`` if it began with one, and return its path.

        `request` is the one for this very picture, `made_with` a `Provenance` as JSON.
        Raises `OutputError` with a sentence when the disk says no.
        """
        settings = self._settings()
        folder = self.folder / ("img2img" if request.init else "txt2img") / time.strftime("%Y-%m-%d")
        chunks = {MADE_WITH: made_with} if made_with else NONE
        suffix, data = _encode_whole(image, settings, infotext, request.to_json(), chunks)
        pattern = settings.name_pattern
        path = self._write(folder, pattern, lambda number: file_name(pattern, request, number, schedule) + suffix, data)
        self._write_beside(path, infotext)
        return path

    def save_extra(self, image: Image.Image, *, infotext: str, request: str, chunks: Mapping[str, str] = NONE) -> Path:
        """Write a picture that was made of another one below ``extras/DATE/`` and return its path. Its name is its
        number there, as the words of a pattern would say nothing of it; `chunks` are more texts for a PNG, by their
        names. Raises `OutputError` with a sentence when the disk says no."""
        folder = self.folder / "extras" / time.strftime("%Y-%m-%d")
        suffix, data = _encode_whole(image, self._settings(), infotext, request, chunks)
        path = self._write(folder, NUMBER, lambda number: f"{number:05d}{suffix}", data)
        self._write_beside(path, infotext)
        return path

    def save_grid(
        self, image: Image.Image, folder: Path, *, infotext: str, request: str, chunks: Mapping[str, str]
    ) -> Path:
        """Write the picture of a grid into its own folder and return its path, as PNG where it is too large for other
        formats. Raises `OutputError` with a sentence when the disk says no."""
        settings = self._settings()
        if max(image.size) > LONGEST_SIDE:
            settings = settings.model_copy(update={"image_format": "png"})
        suffix, data = _encode_whole(image, settings, infotext, request, chunks)
        return self._write(folder, NUMBER, lambda number: f"{number:05d}{suffix}", data)

    def _write_beside(self, path: Path, infotext: str) -> None:
        """The text file that the settings may ask for. The picture is saved: that this fails is no fault of the job."""
        if not self._settings().save_text or not infotext:
            return
        try:
            create_atomically(path.with_suffix(SIDECAR), f"{infotext}\n".encode())
        except OSError as error:
            log.warning("The text file beside %s could not be written: %s", path.name, error)

    def _write(self, folder: Path, pattern: str, name: Callable[[int], str], data: bytes) -> Path:
        """Write a file under the next number of its folder, `name(number)`."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with self._lock:
                while True:
                    path = folder / name(self._next_number(folder, pattern))
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

    def _next_number(self, folder: Path, pattern: str) -> int:
        if (folder, pattern) not in self._numbers:
            found = (number_in(path.stem, pattern) for path in folder.iterdir())
            self._numbers[folder, pattern] = max((number for number in found if number is not None), default=-1)
        self._numbers[folder, pattern] += 1
        return self._numbers[folder, pattern]


def _encode_whole(
    image: Image.Image, settings: "Settings", infotext: str, request: str, chunks: Mapping[str, str] = NONE
) -> tuple[str, bytes]:
    """Suffix and bytes in the format of the settings, or as PNG where that has no room for recipe or picture."""
    format = settings.image_format
    try:
        return SUFFIXES[format], encode(image, format, settings.image_quality, infotext, request, chunks)
    except ValueError as error:
        if format == "png":
            raise
        log.warning("This picture does not go into %s (%s): it is saved as PNG.", format.upper(), error)
        return SUFFIXES["png"], encode(image, "png", settings.image_quality, infotext, request, chunks)


def encode(
    image: Image.Image, format: str, quality: int, infotext: str, request: str, chunks: Mapping[str, str] = NONE
) -> bytes:
    """The file's bytes: PNG with two text chunks and such `chunks` as there are, or JPEG, WebP and AVIF with the
    infotext in Exif's UserComment (as A1111 writes it: ``UNICODE`` and UTF-16), the request in ImageDescription, what
    it was made with in MakerNote, and how it was enlarged in ImageHistory. Raises `ValueError` for what the format has
    no room for."""
    data = io.BytesIO()
    if format == "png":
        texts = PngInfo()
        for name, text in {PARAMETERS: infotext, REQUEST: request, **chunks}.items():
            texts.add_text(name, text)
        image.save(data, "PNG", pnginfo=texts, compress_level=PNG_COMPRESSION)
        return data.getvalue()
    exif = Image.Exif()
    exif[IMAGE_DESCRIPTION] = request
    exif.get_ifd(EXIF_IFD)[USER_COMMENT] = b"UNICODE\0" + infotext.encode("utf-16-be")
    if chunks.get(MADE_WITH):
        exif.get_ifd(EXIF_IFD)[MAKER_NOTE] = chunks[MADE_WITH].encode()
    if chunks.get(ENLARGED):
        exif.get_ifd(EXIF_IFD)[IMAGE_HISTORY] = chunks[ENLARGED]
    if format == "webp":
        image.save(data, "WEBP", quality=quality, lossless=quality == 100, exif=exif)
    elif format == "avif":
        _save_avif(image, data, quality, exif)
    else:
        image.convert("RGB").save(data, "JPEG", quality=quality, exif=exif, subsampling=0)
    return data.getvalue()


def _save_avif(image: Image.Image, data: io.BytesIO, quality: int, exif: Image.Exif) -> None:
    """Without a codec's subsampling, so that a red line on blue stays one; not every Pillow has the codec."""
    try:
        image.save(data, "AVIF", quality=quality, subsampling="4:4:4", exif=exif)
    except KeyError as error:
        raise ValueError("this Pillow was built without it") from error


def file_name(pattern: str, request: GenerationRequest, number: int, schedule: str) -> str:
    """A file name without suffix from the settings' pattern: safe on every file system, never empty or too long.

    What is too long is cut, but never the number: names must differ.
    """
    digits = f"{number:05d}"
    words = {
        "number": digits,
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
    before, after = (
        _safe(re.sub(r"\[(\w+)\]", lambda match: words.get(match[1], match[0]), part)) for part in _around(pattern)
    )
    before = _cut(before.lstrip(" ."), LONGEST_NAME - len(digits))
    after = _cut(after, LONGEST_NAME - len(digits) - len(before.encode()))
    return f"{before}{digits}{after.rstrip(' .')}"


def number_in(name: str, pattern: str) -> int | None:
    """The running number in a file name without suffix, if it is one that `file_name` makes of this pattern."""
    known: set[str] = set()

    def form(match: re.Match[str]) -> str:
        word = match[1]
        if word not in FORMS:
            return match[0]
        if word in known:
            return f"(?P={word})"
        known.add(word)
        return f"(?P<{word}>{FORMS[word]})"

    before, after = _around(pattern)
    before, number, after = (re.sub(r"\\\[(\w+)\\\]", form, re.escape(_safe(part))) for part in (before, NUMBER, after))
    forms = [before + number + after]
    if len(name.encode()) > LONGEST_NAME - 4:  # cut within a character, behind the number or in front of it
        forms += [rf"{before}{number}.*", r".*(?P<number>\d{5})"]
    matches = (re.fullmatch(form, name) for form in forms)
    return next((int(match["number"]) for match in matches if match), None)


def _around(pattern: str) -> tuple[str, str]:
    """What a pattern has in front of its number and behind it; where it has none, the number comes first."""
    before, _, after = pattern.partition(NUMBER) if NUMBER in pattern else ("", NUMBER, f"-{pattern}")
    return before.lstrip(" ."), after.rstrip(" .")


def _safe(text: str) -> str:
    return re.sub(r'[\x00-\x1f<>:"/\\|?*]', "_", text)


def _cut(text: str, size: int) -> str:
    """The beginning of `text` that takes at most `size` bytes, in whole characters."""
    return text.encode()[:size].decode(errors="ignore")
