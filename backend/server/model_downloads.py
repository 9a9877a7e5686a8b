"""The routes that fetch models: what an address holds, downloads, suggestions, and the tokens of hosts.

What a place offers is named by its commit and its title, so that what was looked at is what is fetched, and nothing
has to be remembered between the two.
"""

import json
from dataclasses import replace
from typing import Annotated, Any
from urllib.parse import unquote

from fastapi import APIRouter, Depends, Request, Response
from pydantic import Field

from backend.app import App
from backend.errors import UserError
from backend.model_manager.downloads.download import web_download
from backend.model_manager.downloads.download_record import Download
from backend.model_manager.downloads.hub import COMMIT, HubPlace, file_name, parse_place
from backend.model_manager.downloads.intake import safe_name
from backend.model_manager.downloads.suggestions import SUGGESTIONS
from backend.model_manager.downloads.transfer import SHA256
from backend.model_manager.identity import Kind
from backend.server.json_door import Nothing, Order, is_local, only_local, order, said
from backend.server.risks import risk
from backend.web_address import LONGEST_ADDRESS, parse_address

Text = Annotated[str, Field(min_length=1, max_length=LONGEST_ADDRESS)]
Name = Annotated[str | None, Field(max_length=500)]


class FindOrder(Order):
    """A repository, an address at the hub, or the address of a file."""

    text: Text


class DownloadOrder(Order):
    """What to fetch: a `text` as `FindOrder` has it, one of the choices that it gave, and what it is to be here."""

    text: Text
    kind: Kind
    choice: Annotated[str | None, Field(max_length=4096)] = None
    name: Name = None
    sha256: Name = None


class TokenOrder(Order):
    """A secret for a host."""

    host: Text
    token: Annotated[str, Field(min_length=1, max_length=8192)]


class HostOrder(Order):
    """A host whose token is to be forgotten."""

    host: Text


def add_routes(routes: APIRouter, app: App) -> None:
    """``find``, ``downloads``, ``suggestions`` and ``tokens``."""
    _find_routes(routes, app)
    _download_routes(routes, app)
    _token_routes(routes, app)


def _find_routes(routes: APIRouter, app: App) -> None:
    @routes.get("/suggestions")
    @risk("read")
    def suggestions(request: Request) -> Response:
        _, models = app.overview.models()
        here = {each.record.path.name for each in models}
        return said(
            request,
            [
                {
                    "title": each.title,
                    "kind": each.kind.value,
                    "size": each.size,
                    "why": each.why,
                    "text": app.hub.address(each.place),
                    "here": file_name(each.place.repository, each.place.path) in here,
                }
                for each in SUGGESTIONS
            ],
        )

    @routes.post("/find", dependencies=[Depends(only_local)])
    @risk("manage")
    def find(request: Request, wish: Annotated[FindOrder, Depends(order(FindOrder))]) -> Response:
        return said(request, _found(app, wish.text.strip()))


def _download_routes(routes: APIRouter, app: App) -> None:
    @routes.post("/downloads", dependencies=[Depends(only_local)])
    @risk("manage")
    def start(request: Request, wish: Annotated[DownloadOrder, Depends(order(DownloadOrder))]) -> Response:
        return said(request, {"download": app.downloads.start(_download(app, wish)).id})

    @routes.post("/downloads/{download}/pause", dependencies=[Depends(only_local)])
    @risk("manage")
    def pause(request: Request, download: str, _: Annotated[Nothing, Depends(order(Nothing))]) -> Response:
        app.downloads.pause(download)
        return said(request, {})

    @routes.post("/downloads/{download}/resume", dependencies=[Depends(only_local)])
    @risk("manage")
    def resume(request: Request, download: str, _: Annotated[Nothing, Depends(order(Nothing))]) -> Response:
        app.downloads.resume(download)
        return said(request, {})

    @routes.post("/downloads/{download}/cancel", dependencies=[Depends(only_local)])
    @risk("manage")
    def cancel(request: Request, download: str, _: Annotated[Nothing, Depends(order(Nothing))]) -> Response:
        app.downloads.cancel(download)
        return said(request, {})

    @routes.post("/downloads/{download}/forget", dependencies=[Depends(only_local)])
    @risk("manage")
    def forget(request: Request, download: str, _: Annotated[Nothing, Depends(order(Nothing))]) -> Response:
        record = next((each for each in app.downloads.all() if each.id == download), None)
        if record and not record.ended:
            raise UserError(f"{record.name} has not been fetched yet: cancel it to take it off the list.")
        app.downloads.cancel(download)
        return said(request, {})


def _token_routes(routes: APIRouter, app: App) -> None:
    @routes.get("/tokens")
    @risk("read")
    def tokens(request: Request) -> Response:
        return said(request, {"hosts": app.tokens.hosts() if is_local(request) else []})

    @routes.post("/tokens", dependencies=[Depends(only_local)])
    @risk("manage")
    def put(request: Request, wish: Annotated[TokenOrder, Depends(order(TokenOrder))]) -> Response:
        app.tokens.put(wish.host, wish.token)
        return tokens(request)

    @routes.post("/tokens/forget", dependencies=[Depends(only_local)])
    @risk("manage")
    def forget(request: Request, wish: Annotated[HostOrder, Depends(order(HostOrder))]) -> Response:
        app.tokens.forget(wish.host)
        return tokens(request)


def _found(app: App, text: str) -> dict[str, Any]:
    """What a text names, with everything in it that can be fetched. Raises `UserError`."""
    place = parse_place(text, app.hub.endpoint)
    if place is None:
        address = parse_address(text)
        name = safe_name(unquote(address.target.partition("?")[0]))
        # Nobody is asked: many hosts give no size before the file, and some count the question as a download.
        return {"place": address.host, "gated": False, "choices": [_choice(address.host, name, None)]}
    if place.path:
        file, commit = app.hub.file(place)
        name = file_name(place.repository, place.path)
        choice = _choice(place.path, name, file.size, choice=_opaque(commit, place.path))
        return {"place": place.repository, "gated": False, "choices": [choice]}
    listing = app.hub.listing(place)
    return {
        "place": place.repository,
        "gated": listing.gated,
        "choices": [
            _choice(each.title, each.name, each.size, folder=each.folder, choice=_opaque(listing.commit, each.title))
            for each in listing.choices()
        ],
    }


def _choice(title: str, name: str, size: int | None, *, folder: bool = False, choice: str = "") -> dict[str, Any]:
    return {"title": title, "name": name, "size": size, "folder": folder, "choice": choice}


def _opaque(commit: str, title: str) -> str:
    return json.dumps([commit, title])


def _download(app: App, wish: DownloadOrder) -> Download:
    """The download that somebody asks for. Raises `UserError`."""
    folder = app.options.own_folder(wish.kind)
    name, digest = wish.name or "", (wish.sha256 or "").strip()
    place = parse_place(wish.text, app.hub.endpoint)
    if place is None:
        return web_download(wish.text, folder, name=name, sha256=digest)
    if place.path:
        if wish.choice:
            place = replace(place, revision=_chosen(wish.choice)[0])
        download = app.hub.download_file(place, folder, name)
    else:
        download = _listed(app, wish, place)
        download = replace(download, name=name or download.name)
    return _told_to_be(download, digest)


def _listed(app: App, wish: DownloadOrder, place: HubPlace) -> Download:
    if not wish.choice:
        raise UserError(f"{place.repository} holds more than one file: choose one of them.")
    commit, title = _chosen(wish.choice)
    listing = app.hub.listing(replace(place, revision=commit))
    choice = next((each for each in listing.choices() if each.title == title), None)
    if choice is None:
        raise UserError(f"{place.repository} has nothing called {title[:200]!r} that can be fetched.")
    return app.hub.download(listing, choice, app.options.own_folder(wish.kind))


def _chosen(choice: str) -> tuple[str, str]:
    """Commit and title of a choice that was found."""
    try:
        commit, title = json.loads(choice)
    except (ValueError, TypeError, RecursionError):
        commit, title = "", ""
    if not isinstance(commit, str) or not COMMIT.fullmatch(commit) or not isinstance(title, str):
        raise UserError("This choice is none that was offered: look it up again.")
    return commit, title


def _told_to_be(download: Download, digest: str) -> Download:
    """The same, held against the sha256 that the person was told."""
    if not digest:
        return download
    wanted = digest.lower().removeprefix("sha256:")
    if not SHA256.fullmatch(wanted) or len(download.files) != 1:
        raise UserError(f"{digest[:80]!r} is no sha256 of one file: it has 64 signs, of 0-9 and a-f.")
    (file,) = download.files
    if file.sha256 not in ("", wanted):
        raise UserError(f"The hub announces another sha256 for {download.name}: {file.sha256}.")
    return replace(download, files=(replace(file, sha256=wanted),))
