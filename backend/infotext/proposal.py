"""What an infotext would change in a form, what of it cannot be applied, and which models are missing."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

from backend.infotext.fields import PARTS
from backend.infotext.known_models import Missing
from backend.init_image import Box, InitImage
from backend.request import GenerationRequest
from backend.sampling_options import Guidance, SamplingOptions

# What is as usual where parameters do not name it.
USUAL: Mapping[str, object] = {
    name: getattr(GenerationRequest(), name)
    for name in ("clip_skip", "tiling", "emphasis", "old_prompt_editing", "comma_backtrack", "variation", "seed_resize")
}


@dataclass(frozen=True, kw_only=True)
class NotApplied:
    """A pair that no field takes, and a sentence that says why."""

    key: str
    value: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """The fields of a request that an infotext states or means, by their places, ``hires.scale``; values are as a
    request has them. A part that is None is switched off.

    `missing` are models that are not here; a checkpoint, VAE or upscaler that is missing has no field. `remarks` are
    sentences about what was concluded.
    """

    fields: Mapping[str, object]
    not_applied: tuple[NotApplied, ...] = ()
    missing: tuple[Missing, ...] = ()
    remarks: tuple[str, ...] = ()

    def request(self, base: GenerationRequest, *, without: Collection[str] = ()) -> GenerationRequest:
        """`base` with these fields, but those named in `without`.

        A part begins from its defaults, img2img with the picture, mask and box of `base`; where that has none, what
        concerns the picture is left out. An extension of which there are values begins from its defaults too, one that
        is None is left out, others stay. Raises `InvalidRequest` for values that do not go together.
        """
        taken = {name: value for name, value in self.fields.items() if name not in without}
        parts: dict[str, dict[str, Any]] = {}
        values: dict[str, Any] = {}
        for place, value in taken.items():
            part, dot, inner = place.partition(".")
            if dot:
                parts.setdefault(part, {})[inner] = value
            else:
                values[place] = value
        extras = _extras(base, parts.pop("extras", {}))
        if extras != base.extras:
            values["extras"] = extras
        for part, inner in parts.items():
            values[part] = _init(base.init, inner) if part == "init" else PARTS[part](**inner)
        return replace(base, **values)


def _extras(base: GenerationRequest, values: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    """What extensions are told: `values` by ``id.name``, or by ``id`` None."""
    found = {id: given for id, given in base.extras.items() if id not in {place.partition(".")[0] for place in values}}
    for place, value in values.items():
        id, dot, name = place.partition(".")
        if dot:
            found[id] = {**found.get(id, {}), name: value}
    return found


def _init(before: InitImage | None, values: Mapping[str, Any]) -> InitImage | None:
    """The img2img part of a request, about the picture that is there."""
    if before is None:
        return None
    stated = {name.removeprefix("box."): value for name, value in values.items() if name.startswith("box.")}
    box = Box(**stated) if len(stated) == len(fields(Box)) else before.box
    made = InitImage(picture=before.picture, sketch=before.sketch, depth=before.depth, box=box)
    if any(name.startswith("inpainting.") for name in values):
        made = replace(made, inpainting=before.inpainting)
    for place, value in values.items():
        if place.startswith("box."):
            continue
        made = _put(made, place.split("."), value, "init")
    return made


def _put(part: Any, path: list[str], value: object, place: str) -> Any:
    """`part` with another value deep in it; parts on the way that it has not are made. One that cannot be made, a mask
    that is not there, leaves it as it is."""
    name, *rest = path
    if not rest:
        return replace(part, **{name: value})
    inner_place = f"{place}.{name}"
    inner = getattr(part, name)
    if inner is None:
        if inner_place == "init.inpainting" and part.box is None:
            return part
        inner = PARTS[inner_place]()
    return replace(part, **{name: _put(inner, rest, value, inner_place)})


def flat(request: GenerationRequest) -> dict[str, object]:
    """Every value of a request by its place, ``sampling.eta``, those for extensions too, ``extras.frame.width``, and
    every part that is not there as None: what two requests differ in is what their flat forms do."""
    found: dict[str, Any] = {}

    def collect(part: Any, place: str) -> None:
        for each in fields(part):
            value = getattr(part, each.name)
            if is_dataclass(value):
                collect(value, f"{place}{each.name}.")
            else:
                found[f"{place}{each.name}"] = value

    collect(request, "")
    for id, values in found.pop("extras", {}).items():
        found |= {f"extras.{id}.{name}": value for name, value in values.items()}
    return found


def usual() -> dict[str, object]:
    """The fields that an infotext with parameters sets even where it does not name them."""
    options = {f"sampling.{name}": getattr(SamplingOptions(), name) for name in SamplingOptions.__dataclass_fields__}
    guidance = {f"guidance.{name}": getattr(Guidance(), name) for name in Guidance.__dataclass_fields__}
    return {**USUAL, **options, **guidance, "refiner": None}
