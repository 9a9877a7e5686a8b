"""The routes of lists, settings and memory."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from backend.app import App
from backend.server.owner import owner_of, person_of
from backend.server.risks import risk
from backend.server.sdapi import listings
from backend.server.sdapi.door import LARGEST_WORDS, said, schema, wish
from backend.server.sdapi.fields import Options as Changes
from backend.server.sdapi.models import Models
from backend.server.sdapi.options import Options

# What is looked for again is everything that there is.
REFRESHED = ("checkpoints", "vae", "loras", "embeddings")
# Lists of what is not here: none of it can be named in a request.
EMPTY = ("/hypernetworks", "/face-restorers", "/realesrgan-models", "/extensions")


def add_lists(routes: APIRouter, app: App, models: Models, options: Options) -> None:
    """Every route that is not about a picture."""
    lists: dict[str, Callable[[], Any]] = {
        "/samplers": listings.samplers,
        "/schedulers": listings.schedulers,
        "/upscalers": lambda: listings.upscalers(app),
        "/latent-upscale-modes": listings.latent_upscale_modes,
        "/sd-models": models.checkpoints,
        "/prompt-styles": lambda: listings.styles(app),
        "/sd-vae": lambda: listings.vaes(models),
        "/loras": lambda: listings.loras(models),
        "/scripts": lambda: listings.scripts(app),
        "/script-info": lambda: listings.script_info(app),
        "/cmd-flags": lambda: listings.command_line(app),
        "/memory": lambda: listings.memory(app),
        **dict.fromkeys(EMPTY, list),
    }
    for path, make in lists.items():
        routes.add_api_route(path, _reader(make), methods=["GET"], name=path[1:])
    for what in REFRESHED:
        path = f"/refresh-{what}"
        routes.add_api_route(path, _refresher(app), methods=["POST"], name=path[1:])
    _add_settings(routes, models, options)
    _add_memory(routes, app)


# Plain functions run on threads: lists look at the disk.
def _reader(make: Callable[[], Any]) -> Callable[[], Response]:
    @risk("read")
    def read() -> Response:
        return said(make())

    return read


def _refresher(app: App) -> Callable[[], Response]:
    @risk("make")
    def refresh() -> Response:
        app.catalog.refresh()
        return said(None)

    return refresh


def _add_settings(routes: APIRouter, models: Models, options: Options) -> None:
    @routes.get("/options")
    @risk("read")
    def shown(request: Request) -> Response:
        return said(options.shown(owner_of(request)))

    @routes.post("/options", openapi_extra=schema(Changes))
    @risk("make", largest=LARGEST_WORDS)
    def change(request: Request, body: Annotated[Changes, Depends(wish(Changes))]) -> Response:
        owner_of(request)
        options.update(person_of(request), body.model_extra or {})
        return said(None)

    @routes.get("/embeddings")
    @risk("read")
    def embeddings(request: Request) -> Response:
        return said(listings.embeddings(models, options.checkpoint(owner_of(request))))


def _add_memory(routes: APIRouter, app: App) -> None:
    @routes.post("/unload-checkpoint")
    @risk("manage")
    def unload() -> Response:
        if app.residency:
            app.residency.unload()
        return said({})

    @routes.post("/reload-checkpoint")
    @risk("manage")
    def reload() -> Response:
        """Nothing is to be done: the next picture loads what it needs."""
        return said({})
