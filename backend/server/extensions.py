"""The routes of the Extensions tab, ``/atelier/extensions``: what there is, switches, settings, logs, and what the page
asks of those that are on (`extension_slots`); installing is `extension_install`.

Everybody may see them; changing something is for administrators. What is not bundled is code of strangers: switching
such a one on takes somebody at this machine while nobody else can reach it (`backend.server.arrival.can_change_code`).
"""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from backend.app import App
from backend.errors import UserError
from backend.extensions.extension import Extension
from backend.server import extension_install, extension_models, extension_slots
from backend.server.arrival import can_change_code
from backend.server.extension_cards import card, listed_for
from backend.server.extension_rights import only_code
from backend.server.json_door import JsonRoute, Nothing, Order, order, said
from backend.server.owner import require
from backend.server.risks import risk

UNWATCHED = (
    "Should {} hold the whole of Atelier up, nothing ends it yet: the watch over installed extensions begins with the "
    "next start."
)


class SwitchOrder(Order):
    """On or off."""

    on: bool


class SettingsOrder(Order):
    """Some settings of an extension by their names."""

    values: dict[str, Any]


def router(app: App) -> APIRouter:
    """All routes below ``/atelier/extensions``."""
    routes = APIRouter(prefix="/atelier/extensions", route_class=JsonRoute)
    # Before the routes with an id, which would take every name for one.
    for part in (extension_slots, extension_install, extension_models):
        part.add_routes(routes, app)
    _list_routes(routes, app)
    _routes_of_one(routes, app)
    return routes


def _list_routes(routes: APIRouter, app: App) -> None:
    @routes.get("")
    @risk("read")
    def extensions(request: Request) -> Response:
        return said(request, listed_for(request, app))

    @routes.post("/rescan")
    @risk("manage")
    def rescan(request: Request, _: Annotated[Nothing, Depends(order(Nothing))]) -> Response:
        app.extensions.rescan(strangers=can_change_code(request))
        return said(request, listed_for(request, app))

    @routes.post("/works/{work}/cancel")
    @risk("manage")
    def cancel(request: Request, work: str, _: Annotated[Nothing, Depends(order(Nothing))]) -> Response:
        app.extensions.works.cancel(work)
        return said(request, listed_for(request, app))


def _routes_of_one(routes: APIRouter, app: App) -> None:
    @routes.post("/{id}/switch")
    @risk("manage")
    def switch(request: Request, id: str, words: Annotated[SwitchOrder, Depends(order(SwitchOrder))]) -> Response:
        extension = app.extensions.find(id)
        if words.on and not extension.bundled:
            only_code(request)
        return _changed(request, app, app.extensions.switch(id, words.on), switched=words.on)

    @routes.post("/{id}/reload")
    @risk("manage")
    def reload(request: Request, id: str, _: Annotated[Nothing, Depends(order(Nothing))]) -> Response:
        if not app.extensions.find(id).bundled:
            only_code(request)
        return _changed(request, app, app.extensions.reload(id))

    @routes.post("/{id}/settings")
    @risk("manage")
    def change(request: Request, id: str, words: Annotated[SettingsOrder, Depends(order(SettingsOrder))]) -> Response:
        extension = app.extensions.find(id)
        if extension.settings is None:
            raise UserError(f"{extension.title} has no settings now.")
        extension.settings.change(**words.values)
        return said(request, card(app, extension))

    @routes.get("/{id}/log")
    @risk("read")
    def log(request: Request, id: str) -> Response:
        require(request, "manage")  # reading changes nothing; but what stands there is not for everybody
        return said(request, {"lines": app.extensions.find(id).log.lines()})


def _changed(request: Request, app: App, extension: Extension, *, switched: bool = False) -> Response:
    """How one is after it was switched or loaded: one that is broken now is no failure of the order. `remark` is a
    sentence to be shown once."""
    remark = UNWATCHED.format(extension.title) if switched and _is_first_unwatched(app, extension) else ""
    return said(request, {**card(app, extension), "revision": app.extensions.revision, "remark": remark})


def _is_first_unwatched(app: App, extension: Extension) -> bool:
    """Whether it is the only code of others that is on, in a process that nobody watches over: whether somebody does is
    decided at the start, by what lies there then."""
    installed = [each for each in app.extensions.active() if not each.bundled]
    return app.options.pulse is None and installed == [extension]
