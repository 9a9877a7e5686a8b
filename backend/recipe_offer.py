"""What a recipe offers to a form, ours and others'; and how a recipe goes to a browser and comes back."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from types import MappingProxyType
from typing import Any

from backend import checked
from backend.any_request import read_request
from backend.errors import InvalidRequest, UserError
from backend.grids.request import GridRequest
from backend.infotext.again import again
from backend.infotext.apply import propose
from backend.infotext.extended import ExtensionHere
from backend.infotext.known_models import Models
from backend.infotext.proposal import Proposal, flat
from backend.infotext.recipe import Recipe
from backend.infotext.values import Infotext
from backend.request import GenerationRequest
from backend.upscaling.request import UpscaleRequest

LONGEST = 8 * 1024 * 1024  # characters of a text that comes back
MOST_PAIRS = 10_000
# Fields that name a model, and the word for its kind in what is missing.
_NAMES_A_MODEL: Mapping[str, str] = MappingProxyType(
    {"checkpoint": "checkpoint", "vae": "VAE", "hires.checkpoint": "checkpoint", "refiner.checkpoint": "checkpoint"}
)


def offer(recipe: Recipe, models: Models, extensions: Sequence[ExtensionHere] = ()) -> Proposal:
    """The fields that a recipe states. Of our own pictures that is every one, from the lossless request; where that
    cannot be read, as of a newer version, the text counts, and a remark says why. `extensions` are those that are
    on."""
    if not recipe.request or UpscaleRequest.wrote(recipe.request):
        return propose(recipe.infotext, models, extensions)
    try:
        own = own_request(recipe)
        made = again(replace(recipe, request=own.to_json()) if own else recipe, models, extensions)
    except InvalidRequest as error:
        proposal = propose(recipe.infotext, models, extensions)
        return replace(proposal, remarks=(*proposal.remarks, f"The text was taken. {error}"))
    off = {each.place: None for each in extensions if each.rows and each.id not in made.request.extras}
    fields = {**flat(made.request), **off}
    missing = {(each.kind, each.name) for each in made.missing}
    for name, kind in _NAMES_A_MODEL.items():
        if (kind, fields.get(name)) in missing:
            del fields[name]
    if "refiner.checkpoint" not in fields:
        fields = {name: value for name, value in fields.items() if not name.startswith("refiner.")}
    return Proposal(fields=fields, missing=made.missing, remarks=made.remarks)


def own_request(recipe: Recipe) -> GenerationRequest | UpscaleRequest | None:
    """The lossless request in a picture of ours, if there is one that can be read; of a grid that which it was made
    from."""
    if not recipe.request:
        return None
    try:
        request = read_request(recipe.request)
    except UserError:
        return None
    return request.base if isinstance(request, GridRequest) else request


def to_values(recipe: Recipe) -> dict[str, Any]:
    """A recipe as JSON has it."""
    return asdict(recipe)


def from_values(values: object) -> Recipe:
    """A recipe that went to a browser and came back. Raises `InvalidRequest` for anything else."""
    read = values if isinstance(values, Mapping) else {}
    said = read.get("infotext")
    infotext: Mapping[str, Any] = said if isinstance(said, Mapping) else {}
    pairs = infotext.get("pairs", [])
    if not isinstance(pairs, list) or len(pairs) > MOST_PAIRS:
        raise InvalidRequest("This recipe cannot be read: its parameters are no list.")
    return Recipe(
        origin=_text(read, "origin"),
        place=_text(read, "place"),
        text=_text(read, "text"),
        request=_text(read, "request"),
        made_with=_text(read, "made_with"),
        enlarged=_text(read, "enlarged"),
        infotext=Infotext(
            prompt=checked.text("Prompt", infotext.get("prompt", "")),
            negative_prompt=checked.text("Negative prompt", infotext.get("negative_prompt", "")),
            pairs=tuple(_pair(each) for each in pairs),
            rest=_text(infotext, "rest"),
        ),
    )


def _text(values: Mapping[str, Any], name: str) -> str:
    text = values.get(name, "")
    if not isinstance(text, str) or len(text) > LONGEST:
        raise InvalidRequest(f"This recipe cannot be read: its {name.replace('_', ' ')} is no text, or too long.")
    return text


def _pair(pair: object) -> tuple[str, str]:
    if isinstance(pair, list) and len(pair) == 2 and all(isinstance(each, str) for each in pair):
        return pair[0], pair[1]
    raise InvalidRequest("This recipe cannot be read: a parameter is a key and a value.")
