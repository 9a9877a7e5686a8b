"""What files say of how they were made, the styles, and the presets: the routes of what is brought into a form.

Styles are the studio's: whoever may make pictures writes them. Presets are the studio's or a person's own, whose login
says so; the studio's are for administrators to delete then.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from pydantic import Field

from backend.app import App
from backend.extensions.extras import here
from backend.infotext.recipe import Recipe, read_recipe
from backend.presets import Preset
from backend.recipe_offer import offer, to_values
from backend.server.inputs import LARGEST, PICTURE_TYPES, picture_body
from backend.server.json_door import JsonRoute, Order, order, said
from backend.server.owner import person_of, require
from backend.server.people import Person, Risk, may, shelf_of
from backend.server.risks import risk
from backend.styles import Style

NOTHING = "This file does not say how it was made, in no way that Atelier knows."
WORDS = Annotated[str, Field(max_length=100_000)]
NAME = Annotated[str, Field(max_length=1000)]
STYLE_TYPES = frozenset({"text/", "application/vnd.ms-excel", "application/octet-stream", ""})
RECIPE_TYPES = PICTURE_TYPES | {"text/"}


class StyleOrder(Order):
    """A style to be kept, in the place of the one called `replaces`."""

    name: NAME
    prompt: WORDS = ""
    negative_prompt: WORDS = ""
    file: NAME
    replaces: NAME = ""


class NamedOrder(Order):
    """A style or a preset that is meant."""

    name: NAME


class PreviewOrder(Order):
    """Prompts, the styles that are put on them, and one that is being written."""

    prompt: WORDS
    negative_prompt: WORDS
    styles: Annotated[tuple[NAME, ...], Field(max_length=100, strict=False)] = ()
    style_prompt: WORDS = ""
    style_negative_prompt: WORDS = ""


def router(app: App) -> APIRouter:
    """``POST /atelier/recipe`` with a file's bytes, ``/atelier/styles...`` and ``/atelier/presets...``."""
    routes = APIRouter(prefix="/atelier", route_class=JsonRoute)
    readers = ThreadPoolExecutor(1, thread_name_prefix="recipes")  # what hides in pixels wants them all in memory

    @routes.post("/recipe")
    @risk("read", largest=LARGEST, types=RECIPE_TYPES)
    async def recipe(request: Request) -> Response:
        data = await picture_body(request)
        found = await asyncio.get_running_loop().run_in_executor(readers, read_recipe, data)
        if found is None:
            return said(request, {"recipe": None, "problem": NOTHING})
        return said(request, {"recipe": to_values(found), "about": await asyncio.to_thread(_about, app, found)})

    _styles(routes, app)
    _presets(routes, app)
    return routes


def _about(app: App, recipe: Recipe) -> dict[str, Any]:
    """What of a recipe no form takes."""
    offered = offer(recipe, app.catalog, here(app.extensions.active()))
    return {
        "not_applied": [asdict(each) for each in offered.not_applied],
        "missing": [asdict(each) for each in offered.missing],
        "remarks": [*recipe.not_understood, *offered.remarks],
    }


def _styles(routes: APIRouter, app: App) -> None:
    @routes.get("/styles")
    @risk("read")
    def styles(request: Request) -> Response:
        return said(request, _all_styles(app))

    @routes.post("/styles/save")
    @risk("make")
    def save(request: Request, wanted: Annotated[StyleOrder, Depends(order(StyleOrder))]) -> Response:
        values = wanted.model_dump()
        app.styles.save(Style(**{name: values[name] for name in Style.__dataclass_fields__}), replaces=wanted.replaces)
        return said(request, _all_styles(app))

    @routes.post("/styles/delete")
    @risk("make")
    def delete(request: Request, wanted: Annotated[NamedOrder, Depends(order(NamedOrder))]) -> Response:
        app.styles.delete(wanted.name)
        return said(request, _all_styles(app))

    @routes.post("/styles/files")
    @risk("make", largest=LARGEST, types=STYLE_TYPES)
    async def put_in(request: Request, name: str) -> Response:
        data = await picture_body(request)
        count = await asyncio.to_thread(app.styles.put_in, name, data)
        return said(request, {**await asyncio.to_thread(_all_styles, app), "count": count})

    @routes.post("/styles/preview")
    @risk("read")
    def preview(request: Request, wanted: Annotated[PreviewOrder, Depends(order(PreviewOrder))]) -> Response:
        prompts = app.styles.applied(wanted.styles, wanted.prompt, wanted.negative_prompt)
        last = Style(name="", prompt=wanted.style_prompt, negative_prompt=wanted.style_negative_prompt)
        prompt, negative = last.applied(*prompts)
        return said(request, {"prompt": prompt, "negative_prompt": negative})


def _all_styles(app: App) -> dict[str, Any]:
    found = [asdict(style) for style in app.styles.all()]
    return {"styles": found, "files": app.styles.files, "problems": app.styles.problems}


def _presets(routes: APIRouter, app: App) -> None:
    @routes.get("/presets")
    @risk("read")
    def presets(request: Request, checkpoint: str = "") -> Response:
        return said(request, _all_presets(app, person_of(request), checkpoint))

    @routes.post("/presets/delete")
    @risk("make")
    def delete(request: Request, wanted: Annotated[NamedOrder, Depends(order(NamedOrder))]) -> Response:
        person = person_of(request)
        preset = app.presets.find(wanted.name, shelf_of(person))
        require(request, _risk_to_change(preset, person))
        app.presets.delete(preset)
        return said(request, _all_presets(app, person, ""))


def _risk_to_change(preset: Preset, person: Person) -> Risk:
    return "make" if preset.owner == shelf_of(person) else "manage"


def _all_presets(app: App, person: Person, checkpoint: str) -> dict[str, Any]:
    """The presets that somebody sees, and what they may do: `shared` says that there are the studio's beside theirs."""
    shelf = shelf_of(person)
    presets = [
        {
            "name": each.name,
            "tab": each.tab,
            "values": len(each.values),
            "own": each.owner == shelf,
            "deletable": may(person, _risk_to_change(each, person)),
        }
        for each in app.presets.all(shelf)
    ]
    rights = {"make": may(person, "make"), "manage": may(person, "manage"), "shared": bool(shelf)}
    return {"presets": presets, "checkpoint": list(app.presets.of_checkpoint(checkpoint)), **rights}
