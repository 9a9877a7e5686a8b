"""Pictures in base64: in, through the one door that all pictures come through, and out, as their files are."""

import base64
import io
import re

from PIL import Image

from backend.errors import OutputError
from backend.events import ImageReady
from backend.imaging.resize import JUST_RESIZE, resize
from backend.inputs import MOST_BYTES, Inputs, StoredInput
from backend.server.sdapi.door import Refused

_DATA_URL = re.compile(r"data:image/[\w.+-]{1,40}(?:;[\w=.+-]{1,60})*,")


def decoded(text: str, what: str) -> bytes:
    """The bytes of a picture in base64, as it is or as a data URL. Raises `Refused`."""
    text = text.strip()
    if text[:8].lower().startswith(("http://", "https://")):
        raise Refused(f"{what} is an address: this server fetches no pictures, send them in base64.", status=422)
    header = _DATA_URL.match(text)
    encoded = text[header.end() :] if header else text
    if len(encoded) > MOST_BYTES * 4 // 3 + 4:
        raise Refused(f"{what} is too large: {MOST_BYTES:,} bytes are allowed.", status=413, kind="too_large")
    encoded = "".join(encoded.split()).rstrip("=")
    try:
        return base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except ValueError as error:
        raise Refused(f"{what} is not an encoded picture: base64 is expected.", status=422) from error


def put(inputs: Inputs, text: str, what: str) -> StoredInput:
    """Keep a picture that a client sent. Raises `UserError` for what is none."""
    return inputs.put(decoded(text, what))


def put_mask(inputs: Inputs, text: str, size: tuple[int, int]) -> str:
    """Keep a mask for a picture of `size`, brought to that as AUTOMATIC1111 does with one of another size. Returns its
    name. Raises `UserError`."""
    stored = put(inputs, text, "The mask")
    if (stored.width, stored.height) == size:
        return stored.name
    data = io.BytesIO()
    resize(_opaque(inputs.picture(stored.name)), JUST_RESIZE, *size).save(data, "PNG", compress_level=1)
    return inputs.put(data.getvalue()).name


def _opaque(mask: Image.Image) -> Image.Image:
    """A mask without transparency that says the same: what is opaque is masked."""
    return mask.getchannel("A") if mask.mode == "RGBA" else mask.convert("L")


def encoded(image: ImageReady) -> str:
    """A finished picture's file, as it was saved. Raises `OutputError` if it is gone."""
    try:
        return base64.b64encode(image.path.read_bytes()).decode("ascii")
    except OSError as error:
        raise OutputError(f"{image.path.name} was made, and cannot be read: {error.strerror or error}.") from error
