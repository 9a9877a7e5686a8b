"""Pictures made larger, and what pictures say of themselves, in AUTOMATIC1111's words."""

import base64
import re
from typing import Any

from backend.infotext.containers import read_texts
from backend.infotext.recipe import read_recipe
from backend.infotext.values import Infotext
from backend.inputs import Inputs
from backend.outputs import PARAMETERS
from backend.server.sdapi.door import Refused
from backend.server.sdapi.fields import Extras
from backend.server.sdapi.models import Models
from backend.server.sdapi.pictures import decoded
from backend.upscaling.request import NOTHING, UpscaleRequest

BY_FACTOR, TO_SIZE = 0, 1  # its resize modes
_SIZE = re.compile(r"(\d+)x(\d+)")


def upscale_request(wish: Extras, names: tuple[str, ...], models: Models) -> UpscaleRequest | None:
    """The request that a body means for pictures that were put in; nothing where it names no upscaler, which leaves
    pictures as they are. Raises `UserError`."""
    if wish.gfpgan_visibility > 0 or wish.codeformer_visibility > 0:
        raise Refused("There is no face restoration here: both visibilities must be 0.", status=422)
    if wish.resize_mode not in (BY_FACTOR, TO_SIZE):
        raise Refused(f"resize_mode must be 0 or 1, not {wish.resize_mode}.", status=422)
    first, second = (
        each if each.casefold() != NOTHING.casefold() else "" for each in (wish.upscaler_1, wish.upscaler_2)
    )
    if not first:
        return None
    blended = bool(second) and wish.extras_upscaler_2_visibility > 0
    by_size = wish.resize_mode == TO_SIZE
    return UpscaleRequest(
        inputs=names,
        upscaler=models.upscaler(first),
        upscaler_2=models.upscaler(second) if blended else NOTHING,
        visibility_2=wish.extras_upscaler_2_visibility if blended else 0.0,
        scale=1.0 if by_size else wish.upscaling_resize,
        width=wish.upscaling_resize_w if by_size else 0,
        height=wish.upscaling_resize_h if by_size else 0,
        crop=wish.upscaling_crop,
    )


def as_it_was(inputs: Inputs, name: str) -> str:
    """A picture that was put in, for a client. Raises `UserError`."""
    return base64.b64encode(inputs.path(name).read_bytes()).decode("ascii")


def png_info(text: str) -> dict[str, Any]:
    """What a picture says of how it was made: as text, all its other texts, and as values. Raises `Refused` for what is
    no picture."""
    if not text.strip():
        return {"info": "", "items": {}, "parameters": {}}
    data = decoded(text, "The image")
    texts = read_texts(data)
    if texts is None or texts.kind == "text":
        raise Refused("The image cannot be read as a picture.", status=422)
    recipe = read_recipe(data)
    items = {name: said for name, said in {**texts.chunks, **texts.exif}.items() if name != PARAMETERS}
    if recipe is None:
        return {"info": "", "items": items, "parameters": {}}
    in_json = recipe.text.lstrip().startswith("{")
    return {
        "info": recipe.infotext.text if in_json else recipe.text,
        "items": items,
        "parameters": _parameters(recipe.infotext),
    }


def _parameters(infotext: Infotext) -> dict[str, str]:
    """The values by their keys, of a size each side under its own, as AUTOMATIC1111 reads them."""
    found = {"Prompt": infotext.prompt, "Negative prompt": infotext.negative_prompt}
    for key, value in infotext.pairs:
        size = _SIZE.fullmatch(value)
        found |= {f"{key}-1": size[1], f"{key}-2": size[2]} if size else {key: value}
    return found
