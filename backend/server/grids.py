"""Grids for the page: what became of each cell, its picture, cancel and resume; and what a prompt may become.

Everything is the owner's own: somebody else's grid is not there.
"""

import random
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import PlainTextResponse
from pydantic import Field

from backend.app import App
from backend.checked import LONGEST_PROMPT
from backend.errors import InvalidRequest, UserError
from backend.grids.grid import Side
from backend.grids.grids import WAITING, CellState
from backend.grids.request import GridRequest
from backend.jobs import Job
from backend.sampling_options import LARGEST_SEED
from backend.server.json_door import JsonRoute, Order, order, said
from backend.server.owner import owner_of
from backend.server.pictures import served
from backend.server.risks import risk
from backend.server.thumbs import Thumbs

LISTED = 20  # grids in the list, the newest first
SHOWN = 5  # of what a prompt may become


class PlaceOrder(Order):
    """The grid that is meant."""

    place: Annotated[str, Field(max_length=100)]


class ChoicesOrder(Order):
    """Prompts, the styles that are put on them, and the seed of the first picture; -1 is any."""

    prompt: Annotated[str, Field(max_length=LONGEST_PROMPT)] = ""
    negative_prompt: Annotated[str, Field(max_length=LONGEST_PROMPT)] = ""
    styles: Annotated[tuple[str, ...], Field(max_length=100, strict=False)] = ()
    seed: Annotated[str, Field(max_length=40)] = ""  # as text: JavaScript's numbers end at 2**53


def router(app: App) -> APIRouter:
    """``/atelier/grids...`` and ``/atelier/choices``."""
    routes = APIRouter(prefix="/atelier", route_class=JsonRoute)
    _looking(routes, app)
    _orders(routes, app)
    _choices(routes, app)
    return routes


def _looking(routes: APIRouter, app: App) -> None:
    thumbs = Thumbs()

    @routes.get("/grids")
    @risk("read")
    def grids(request: Request) -> Response:
        owner = owner_of(request)
        rows = []
        for place in app.grids.places(owner)[:LISTED]:
            grid = app.grids.find(place, owner)
            rows.append({"place": place, "title": grid.title, "prompt": grid.base.prompt, "cells": len(grid.cells)})
        return said(request, {"grids": rows})

    @routes.get("/grids/{day}/{name}")
    @risk("read")
    def grid(request: Request, day: str, name: str) -> Response:
        return said(request, _whole(app, f"{day}/{name}", owner_of(request)))

    @routes.get("/grids/{day}/{name}/{number}")
    @risk("read")
    def picture(request: Request, day: str, name: str, number: int, download: bool = False, thumb: int = 0) -> Response:
        cells = app.grids.cells(f"{day}/{name}", owner_of(request))
        path = cells[number].picture if 0 <= number < len(cells) else None
        if path is None:
            return PlainTextResponse("This cell has no picture.", status_code=404)
        return served(request, path, thumbs, download=download, thumb=thumb)


def _orders(routes: APIRouter, app: App) -> None:
    @routes.post("/grids/cancel")
    @risk("make")
    def cancel(request: Request, meant: Annotated[PlaceOrder, Depends(order(PlaceOrder))]) -> Response:
        owner = owner_of(request)
        app.grids.cancel(meant.place, owner)
        if not any(each.state in ("made", "running") for each in app.grids.cells(meant.place, owner)):
            for job in _drawings(app, meant.place, owner):  # there is nothing to draw
                app.queue.cancel(job)
        return said(request, _whole(app, meant.place, owner))

    @routes.post("/grids/resume")
    @risk("make")
    def resume(request: Request, meant: Annotated[PlaceOrder, Depends(order(PlaceOrder))]) -> Response:
        owner = owner_of(request)
        if _drawings(app, meant.place, owner):
            raise InvalidRequest("This grid is being made already.")
        app.grids.resume(meant.place, owner)
        return said(request, _whole(app, meant.place, owner))


def _choices(routes: APIRouter, app: App) -> None:
    @routes.post("/choices")
    @risk("read")
    def choices(request: Request, typed: Annotated[ChoicesOrder, Depends(order(ChoicesOrder))]) -> Response:
        try:
            prompts = app.styles.applied(typed.styles, typed.prompt, typed.negative_prompt)
        except UserError:  # one that is gone is said when it is used
            prompts = (typed.prompt, typed.negative_prompt)
        words = app.wildcards
        found = words.samples(*prompts, seed=_seed(typed.seed), count=SHOWN) if words.open(*prompts) else []
        rows = [{"seed": str(each.seed), "prompt": each.prompt, "negative": each.negative_prompt} for each in found]
        return said(request, {"samples": rows})


def _seed(text: str) -> int:
    """The seed that is meant; a random one for -1, for nothing, and for what is none."""
    try:
        seed = int(text)
    except ValueError:
        seed = -1
    return seed if 0 <= seed <= LARGEST_SEED - SHOWN else random.randrange(2**32)


def _drawings(app: App, place: str, owner: str) -> list[Job]:
    """The jobs that will draw a grid and have not ended."""
    jobs = (job for job in app.queue.jobs(owner) if not job.ended)
    return [job for job in jobs if isinstance(job.request, GridRequest) and job.request.place == place]


def _whole(app: App, place: str, owner: str) -> dict[str, Any]:
    """A grid with its legends and the state of all cells."""
    grid = app.grids.find(place, owner)
    states = app.grids.cells(place, owner)
    return {
        "place": place,
        "title": grid.title,
        "prompt": grid.base.prompt,
        "going": bool(_drawings(app, place, owner)) or any(each.state in WAITING for each in states),
        "sides": {name: _side(getattr(grid, name)) for name in "xyz"},
        "cells": [_cell(place, number, each) for number, each in enumerate(states)],
    }


def _side(side: Side) -> dict[str, Any]:
    legends = [[{"text": line.text, "active": line.active} for line in legend] for legend in side.legends]
    return {"name": side.name, "legends": legends}


def _cell(place: str, number: int, state: CellState) -> dict[str, Any]:
    cell = state.cell
    return {
        **{name: getattr(cell, name) for name in "xyz"},
        "state": state.state,
        "message": state.message,
        "url": f"atelier/grids/{place}/{number}" if state.picture is not None else "",
        "seed": str(cell.shown.seed),
    }
