"""The model files that extensions say they work with: which of them are there, and fetching one that somebody asks for.

Nothing is fetched by itself. Who asks may do so in Models as well: an administrator at this machine.
"""

import re
from pathlib import PurePath
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from pydantic import Field

from backend.app import App
from backend.errors import UserError
from backend.extensions.manifest import Manifest, NeededModel
from backend.model_manager.downloads.download import web_download
from backend.model_manager.downloads.download_record import Download
from backend.model_manager.downloads.hub import HubPlace, parse_place, vouched_origins
from backend.model_manager.downloads.intake import PICKLES, SAFETENSORS, safe_name
from backend.model_manager.identity import Kind
from backend.model_manager.inventory.record import CONTROL
from backend.server.json_door import Order, only_local, order, said
from backend.server.risks import risk
from backend.web_address import WebError, parse_address

CIVITAI = frozenset({"civitai.com", "www.civitai.com"})
PAGES = "/models/"  # there: pages about models, where files are below /api/download/


class ModelOrder(Order):
    """One of the models of an extension, by its name."""

    name: Annotated[str, Field(max_length=500)]


def add_routes(routes: APIRouter, app: App) -> None:
    """``ID/models``."""

    @routes.post("/{id}/models", dependencies=[Depends(only_local)])
    @risk("manage")
    def fetch(request: Request, id: str, words: Annotated[ModelOrder, Depends(order(ModelOrder))]) -> Response:
        manifest = app.extensions.find(id).manifest
        model = next((each for each in manifest.models if each.name == words.name) if manifest else iter(()), None)
        if model is None:
            raise UserError(f"{id} works with no model called {words.name[:100]!r}.")
        if is_there(app, model):
            raise UserError(f"{model.name} is there already.")
        return said(request, {"download": app.downloads.start(_download(app, model)).id})


def needed(app: App, manifest: Manifest) -> list[dict[str, Any]]:
    """The models of a manifest as the page has them. `file` is what one will be called, `fetched` says whether Atelier
    can fetch it, `page` is where a person can read of it or get it."""
    return [
        {
            "name": each.name,
            "file": safe_name(each.name),
            "kind": each.kind,
            "source": each.source,
            "page": each.source if each.source.startswith(("https://", "http://")) else "",
            "there": is_there(app, each),
            "fetched": _can_fetch(app, each),
        }
        for each in manifest.models
    ]


def is_there(app: App, model: NeededModel) -> bool:
    """Whether the list of models has it: one of its kind with its name, also as what it was converted to."""
    wanted, kind = _bare(safe_name(model.name)), _kind(model)
    kinds = CONTROL if kind in CONTROL else {kind} if kind else frozenset(Kind)
    return any(each.kind in kinds and _bare(each.path.name) == wanted for each in app.catalog.all())


def _bare(name: str) -> str:
    """A file's name in any case, without the ending of a model's."""
    stem, suffix = PurePath(name).stem, PurePath(name).suffix
    return (stem if suffix.lower() in (SAFETENSORS, *PICKLES) else name).casefold()


def _kind(model: NeededModel) -> Kind | None:
    """What Atelier calls it, for a word of a manifest such as ``LoRA`` or ``text-encoder``; None for another one."""
    word = re.sub(r"[\s-]+", "_", model.kind.strip().lower())
    return Kind(word) if word in set(Kind) and word != Kind.UNKNOWN else None


def _can_fetch(app: App, model: NeededModel) -> bool:
    """Whether there is a folder for it, and its source is what downloads understand. Nobody is asked."""
    try:
        _place(app, model)
        app.options.own_folder(_kind(model) or Kind.UNKNOWN)
    except UserError:
        return False
    return True


def _place(app: App, model: NeededModel) -> HubPlace | None:
    """Where it lies on the hub, or nothing where its source is the address of a file. Raises `UserError`."""
    place = parse_place(model.source, app.hub.endpoint)
    if place is None:
        address = parse_address(model.source)
        if address.scheme != "https" and address.origin not in vouched_origins() | app.options.trusted:
            raise WebError(f"{model.name} is fetched only from an address that begins with https://.")
        if address.host in CIVITAI and address.target.startswith(PAGES):
            raise WebError(f"{model.source} is a page: fetch the file from there in Models.")
    return place


def _download(app: App, model: NeededModel) -> Download:
    """What fetches it. Raises `UserError`."""
    place = _place(app, model)
    folder, name = app.options.own_folder(_kind(model) or Kind.UNKNOWN), safe_name(model.name)
    if place is None:
        return web_download(model.source, folder, name=name)
    if place.path:
        return app.hub.download_file(place, folder, name)
    listing = app.hub.listing(place)
    choices = [each for each in listing.choices() if not each.folder]
    meant = [each for each in choices if _bare(each.name) == _bare(name)] or choices
    if len(meant) != 1:
        raise UserError(f"{place.repository} has no file that must be {model.name}: choose one in Models.")
    return app.hub.download(listing, meant[0], folder)
