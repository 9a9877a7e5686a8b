"""What a recipe changes in the form of a tab: shown before it happens, and then done."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from backend.app import App
from backend.errors import InvalidRequest, unknown_name
from backend.infotext.fields import SOME_PICTURE
from backend.infotext.proposal import NotApplied, Proposal, flat
from backend.infotext.recipe import Recipe
from backend.init_image import InitImage, Inpainting
from backend.recipe_offer import offer, own_request
from backend.request import GenerationRequest
from backend.upscaling.request import UpscaleRequest
from ui.fields import TO_SIZE
from ui.form import EXTRAS, SWITCHES, Form, is_switch, part_of
from ui.origins import tab_of

ALL, PROMPTS, BUT_THE_SEED = "all", "prompt", "but the seed"
WAYS = (ALL, PROMPTS, BUT_THE_SEED)
_PROMPT_NAMES = ("prompt", "negative_prompt", "styles")
_SEED_NAMES = ("seed", "variation.seed")
_SIZE_NAMES = ("width", "height", "sizing")
# Parts of a request that not every tab has, the innermost first, and what to say there.
_ELSEWHERE: Mapping[str, str] = {
    "hires": "It is a part of txt2img.",
    "init.upscale": "It is a part of img2img.",
    "init.inpainting": "It is a part of Inpaint.",
    "init": "It is for img2img and Inpaint.",
}
# What the canvas holds; and the template, as a request has the final words.
_PAINTED = (
    "template",
    "init.picture",
    "init.sketch",
    "init.depth",
    "init.box",
    "init.inpainting.mask",
    "init.inpainting",
)


@dataclass(frozen=True, kw_only=True)
class Brought:
    """What a recipe brings to a tab: values of its form by their names, and what of it does not fit there."""

    tab: str
    values: Mapping[str, Any]
    offered: Proposal
    left: tuple[NotApplied, ...] = ()


def brought(recipe: Recipe, form: Form, app: App, *, with_picture: bool = False) -> Brought:
    """What the form of a tab would hold. With the picture itself as what img2img begins with (`with_picture`), the size
    stays as it is there. Raises `InvalidRequest` for values that do not go together."""
    offered = offer(recipe, app.catalog)
    taken, left = _fitting(form, offered.fields)
    base = GenerationRequest(init=_placeholder(form))
    asked = replace(offered, fields=taken).request(base)
    concerned = {name for place in taken for name in _concerned(form, place)}
    values = {name: value for name, value in form.values_for(asked).items() if name in concerned}
    if taken.get("checkpoint"):
        values["checkpoint"] = taken["checkpoint"]
    if "sizing" in form.names:
        if with_picture:
            values = {name: value for name, value in values.items() if name not in _SIZE_NAMES}
        elif "width" in values:
            values["sizing"] = TO_SIZE
    return Brought(tab=form.prefix, values={**values, **_styled(app, asked)}, offered=offered, left=left)


def chosen(values: Mapping[str, Any], way: str) -> dict[str, Any]:
    """Those of the values that a person wants. Raises `InvalidRequest` for a way that there is not."""
    if way not in WAYS:
        raise InvalidRequest(unknown_name("way to apply a recipe", way[:40], WAYS))
    if way == PROMPTS:
        return {name: value for name, value in values.items() if name in _PROMPT_NAMES}
    return {name: value for name, value in values.items() if way == ALL or name not in _SEED_NAMES}


def proposed(recipe: Recipe, found: Brought, form: Form, now: Mapping[str, Any]) -> dict[str, Any]:
    """What the dialog shows: `now` are the values that the form has."""
    on = {part for name, parts in SWITCHES.items() if found.values.get(name) is False for part in parts}
    on |= {part_of(name) for name, value in found.values.items() if is_switch(name) and not value}
    order = [*_PROMPT_NAMES, "checkpoint", *form.names]
    rows = [
        {"name": name, "label": form.label(name), "now": _words(name, now.get(name)), "then": _words(name, value)}
        for name, value in sorted(found.values.items(), key=lambda each: order.index(each[0]))
        if not _same(now.get(name), value) and name.rpartition(".")[0] not in on
    ]
    return {
        "tab": found.tab,
        "origin": recipe.origin,
        "place": recipe.place,
        "rows": rows,
        "left": [
            {"key": each.key, "value": each.value, "reason": each.reason}
            for each in (*found.offered.not_applied, *found.left)
        ],
        "missing": [
            {"kind": each.kind, "name": each.name, "hash": each.hash, "sentence": each.sentence}
            for each in found.offered.missing
        ],
        "remarks": [*recipe.not_understood, *found.offered.remarks, *_drawn_from(recipe)],
    }


def _drawn_from(recipe: Recipe) -> list[str]:
    """What the words were drawn from, where they were: the form gets those that the picture was made with."""
    template = recipe.infotext.get("Template")
    return [f"The words were drawn by the seed from: {template}"] if template else []


def _placeholder(form: Form) -> InitImage | None:
    """Something to begin with, where the tab does: the canvas has the picture itself."""
    if "init.denoising_strength" not in form.names:
        return None
    painted = "init.inpainting.mask_blur" in form.names
    return InitImage(picture=SOME_PICTURE, inpainting=Inpainting(mask=SOME_PICTURE) if painted else None)


def _fitting(form: Form, fields: Mapping[str, object]) -> tuple[dict[str, object], tuple[NotApplied, ...]]:
    """The fields that a tab has, and a sentence for each part that it has not."""
    taken: dict[str, object] = {}
    left: dict[str, int] = {}
    usual = flat(GenerationRequest(init=_placeholder(form)))
    for place, value in fields.items():
        if place in _PAINTED or place.startswith(("init.box.", "template.")):
            continue
        if place == "checkpoint" or any(_concerned(form, place)):
            taken[place] = value
        elif value is not None and usual.get(place) != value:
            part = next((part for part in _ELSEWHERE if place == part or place.startswith(f"{part}.")), "")
            left[part] = left.get(part, 0) + 1
    return taken, tuple(
        NotApplied(
            key=form.label(part) if part else "Other values", value=_counted(count), reason=_ELSEWHERE.get(part, "")
        )
        for part, count in left.items()
    )


def _counted(count: int) -> str:
    return "1 value" if count == 1 else f"{count} values"


def _concerned(form: Form, place: str) -> list[str]:
    """The fields of a form that a place in a request decides: of a part that is there or not, all with its switch."""
    if place.startswith(f"{EXTRAS}."):
        return [name for name in form.names if name.startswith(f"{part_of(place)}.")]
    parts = [(switch, part) for switch, parts in SWITCHES.items() for part in parts]
    for switch, part in parts:
        if (place == part or place.startswith(f"{part}.")) and switch in form.names:
            return [switch, *(name for name in form.names if name.startswith(f"{part}."))]
    return [place] if place in form.names else []


def _styled(app: App, asked: GenerationRequest) -> dict[str, Any]:
    """The prompts with the styles that they were made with as styles, where that gives the very same words."""
    plain = {"prompt": asked.prompt, "negative_prompt": asked.negative_prompt, "styles": []}
    if asked.hires is not None and (asked.hires.prompt or asked.hires.negative_prompt):
        return plain  # styles would be put on these too
    found = app.styles.taken_out(asked.prompt, asked.negative_prompt)
    return {"prompt": found.prompt, "negative_prompt": found.negative_prompt, "styles": list(found.styles)}


def tab_for(recipe: Recipe, wanted: str) -> str:
    """The tab that a dropped recipe goes to: of our own pictures the one that they came from."""
    own = own_request(recipe)
    return wanted if own is None or isinstance(own, UpscaleRequest) else tab_of(own)


def _same(now: object, then: object) -> bool:
    if isinstance(now, bool) or isinstance(then, bool):
        return bool(now) == bool(then)
    if isinstance(now, int | float) and isinstance(then, int | float):
        return now == then
    return (now or "") == (then or "")


def _words(name: str, value: object) -> str:
    if name == "sampling.eta" and value is None:
        return "the sampler's own"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, float):
        return f"{value:g}" if value == float(f"{value:g}") else str(value)
    return "" if value is None else str(value)
