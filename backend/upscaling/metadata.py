"""What a picture says of itself, and what an enlarged one says in addition, in A1111's words."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from backend.infotext.containers import read_texts
from backend.infotext.values import quoted
from backend.outputs import MADE_WITH, PARAMETERS, REQUEST
from backend.upscaling.operations import said
from backend.upscaling.request import UpscaleRequest

POSTPROCESSING = "postprocessing"  # the chunk that A1111's Extras tab adds
LONGEST_TEXT = 1_000_000  # characters, of all texts in a file
XMP = "XML:com.adobe.xmp"
ORIENTATION = re.compile(
    r"""\s*tiff:Orientation\s*=\s*(["']).*?\1|<tiff:Orientation\b[^>]*>.*?</tiff:Orientation>""", re.DOTALL
)
RAW = "Raw profile type "  # ImageMagick's: Exif, colours and such as digits


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """The texts in a picture's file: A1111's ``parameters``, our own request, and every other of a PNG by its name, but
    for what would be said of a result in vain: that it is to be turned, as pixels are upright by then, and what Exif
    and colour profiles stand in."""

    infotext: str = ""
    request: str = ""
    others: Mapping[str, str] = field(default_factory=dict)


def read_metadata(path: Path) -> Metadata:
    """What the file at `path` says; nothing where it says nothing, or what cannot be read."""
    found = read_texts(path)
    if found is None or found.kind == "text":
        return Metadata()
    texts = dict(found.chunks) if found.kind == "PNG" else {}
    if sum(map(len, texts.values())) > LONGEST_TEXT:
        return Metadata()
    if found.kind != "PNG" and "MakerNote" in found.exif:
        note = found.exif["MakerNote"]
        texts |= {MADE_WITH: note} if note.startswith("{") else {}
    description = found.exif.get("ImageDescription", "")
    return Metadata(
        infotext=texts.pop(PARAMETERS, "") or found.exif.get("UserComment", ""),
        # Only ours: cameras write what they like there.
        request=texts.pop(REQUEST, "") or (description if description.startswith("{") else ""),
        others={
            name: ORIENTATION.sub("", text) if name == XMP else text
            for name, text in texts.items()
            if not name.startswith(RAW)
        },
    )


def postprocessing(request: UpscaleRequest, width: int, height: int) -> str:
    """What was done to a picture of that size, as A1111 writes it."""
    target = request.target(width, height)
    pairs: dict[str, object] = {}
    if request.by_size:
        pairs["Postprocess upscale to"] = f"{request.width or target.width}x{request.height or target.height}"
    else:
        pairs["Postprocess upscale by"] = f"{request.scale:g}"
        if request.is_limited(width, height):
            pairs["Max side length"] = request.max_side
    if target.crop:
        pairs["Postprocess crop to"] = f"{target.crop[0]}x{target.crop[1]}"
    pairs["Postprocess upscaler"] = request.upscaler
    if request.blended:
        pairs["Postprocess upscaler 2"] = request.upscaler_2
        pairs["Postprocess upscaler 2 visibility"] = f"{request.visibility_2:g}"
    pairs |= {f"Postprocess {name}": said(name, request.operations[name]) for name in sorted(request.operations)}
    return ", ".join(f"{key}: {quoted(value)}" for key, value in pairs.items())


def with_postprocessing(infotext: str, done: str) -> str:
    """The ``parameters`` of the enlarged picture: those of the original, with what was done at their end."""
    last = infotext.rpartition("\n")[2]
    if not infotext:
        return done
    return f"{infotext}, {done}" if last.startswith("Steps: ") else f"{infotext}\n{done}"
