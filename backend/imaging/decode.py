"""A file that somebody put in as a picture: upright, with 8 bits a channel, in sRGB, or refused in a sentence."""

import io
import struct
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageOps

from backend.errors import UserError

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
MOST_PIXELS = 150_000_000  # 12,000 x 12,000, and some
LONGEST_SIDE = 65_535  # of what may be put in; what is made of it is shorter
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
    struct.error,  # a cut off Exif
    MemoryError,
    RuntimeError,  # a damaged AVIF
    Image.DecompressionBombError,
)
GREY = ("1", "L", "LA", "F")  # and every mode that begins with I
# What a profile can be for: the modes here of what it describes.
SPACES = {"RGB": ("RGB", "RGBA"), "GRAY": ("L",), "CMYK": ("CMYK",)}
AS_GOOD_AS_SRGB = 1  # levels by which a profile may differ from sRGB before it is worth a rounding


def opened(source: Path | io.BytesIO) -> Image.Image:
    """Look at a file's header, as one of the kinds that are known and that this Pillow can read."""
    Image.init()
    return Image.open(source, formats=[kind for kind in MEDIA_TYPES if kind in Image.OPEN])


def upright(data: bytes) -> Image.Image:
    """The picture of a file's bytes, the first one of an animation: in RGBA if anything of it is transparent, else in
    RGB. Raises `UserError` for what is no whole picture, or has too many pixels."""
    try:
        with opened(io.BytesIO(data)) as image:
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


def upright_size(image: Image.Image) -> tuple[int, int]:
    """What `upright` makes of a file that was opened, by its header as far as that tells: a PNG's Exif may stand
    behind its pixels. Only Exif counts, as in browsers; a TIFF comes upright."""
    if image.format == "PNG":
        image.load()
    exif = Image.Exif()
    exif.load(image.info.get("exif") or b"")
    width, height = image.size
    return (height, width) if exif.get(ExifTags.Base.Orientation) in SIDEWAYS else (width, height)


def _eight_bit(image: Image.Image) -> Image.Image:
    """RGB, or RGBA where something is transparent, in sRGB, with the Exif of `image`."""
    if image.mode.startswith("I") or image.mode == "F":
        made = _from_more_bits(image)
    elif image.mode == "CMYK":
        made = image
    elif image.has_transparency_data:
        made = image.convert("RGBA")
        if made.getchannel("A").getextrema() == (255, 255):
            made = made.convert("RGB")
    else:
        made = image.convert("RGB")
    if profile := image.info.get("icc_profile"):
        made = _in_srgb(made, profile, grey=image.mode.startswith("I") or image.mode in GREY)
    if made.mode == "CMYK":
        made = made.convert("RGB")
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


def _in_srgb(image: Image.Image, profile: bytes, *, grey: bool) -> Image.Image:
    """A picture in RGB, RGBA or CMYK by its own profile, perceptually; as it is where the profile says what sRGB does,
    is damaged, or is for other colours. `grey` is a picture in RGB that was in shades of grey."""
    try:
        own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        mode = "L" if grey else image.mode
        space = own.profile.xcolor_space.strip()  # pyright: ignore[reportAttributeAccessIssue] - Pillow's type is off
        if mode not in SPACES.get(space, ()):
            return image
        into = mode if mode == "RGBA" else "RGB"
        way = ImageCms.buildTransform(own, ImageCms.createProfile("sRGB"), mode, into)
        if mode != "CMYK" and _is_srgb(way, mode):
            return image
        if not grey:
            # In place where that goes: a copy of a large picture takes half a gigabyte.
            return ImageCms.applyTransform(image, way, inPlace=into == mode) or image
        made = ImageCms.applyTransform(image.getchannel(0), way) or image
        if image.mode == "RGBA":
            made.putalpha(image.getchannel("A"))
        return made
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        return image


def _is_srgb(way: ImageCms.ImageCmsTransform, mode: str) -> bool:
    """Whether a transform leaves colours all over its space where they are."""
    levels = np.arange(256, dtype=np.uint8)
    if mode == "L":
        probe = Image.fromarray(levels[None])
    else:
        probe = Image.fromarray(np.stack(np.meshgrid(*[levels[::15]] * 3), axis=-1).reshape(1, -1, 3)).convert(mode)
    answer = ImageCms.applyTransform(probe, way)
    if answer is None:
        return False
    before, after = (np.asarray(each.convert("RGB"), np.int16) for each in (probe, answer))
    return int(np.abs(before - after).max()) <= AS_GOOD_AS_SRGB
