"""The routes of the Models tab, ``/atelier/models``: the list, one model, its preview, and what a person says of it.

Everybody who may open the page may see and describe models; what touches the files of all is for somebody at this
machine (`only_local`). All handlers are plain functions: they run on threads, because they ask the disk.
"""

import threading
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from pydantic import Field

from backend.app import App
from backend.errors import InvalidRequest, UserError, unknown_name
from backend.model_manager.identity import Distilled, Kind, Prediction
from backend.model_manager.inventory.hashes import autov2
from backend.model_manager.inventory.model_index import Choice
from backend.model_manager.inventory.overview import Shown, UnknownModel
from backend.model_manager.inventory.preview_file import LONGEST_SIDE, put_preview, remove_preview
from backend.model_manager.recognition.wording import ALGORITHM_TITLES, FAMILY_TITLES, VARIANT_TITLES
from backend.server import model_downloads, model_files, model_memory
from backend.server.json_door import JsonRoute, Nothing, Order, Prepared, is_local, order, said
from backend.server.model_cards import cards, details, misfits
from backend.server.owner import owner_of
from backend.server.risks import risk
from backend.server.thumbs import Thumbs, open_picture, state_of

FIRST_LOOK = 1.0  # seconds that a list waits for the first survey before it shows what is known so far
AN_HOUR = 3600
WORDS = Annotated[str | None, Field(max_length=50_000)]
HEAVIEST = 100.0


class NotesOrder(Order):
    """A person's words about a model; what is left out stays as it is."""

    description: WORDS = None
    notes: WORDS = None
    sd_version: WORDS = None
    activation_text: WORDS = None
    preferred_weight: Annotated[float | None, Field(ge=-HEAVIEST, le=HEAVIEST, allow_inf_nan=False)] = None
    negative_text: WORDS = None


class TypeOrder(Order):
    """What a person says a file is; nothing at all lets it speak for itself again."""

    kind: Kind | None = None
    family: str | None = None
    variant: str | None = None
    prediction: Prediction | None = None
    zero_terminal_snr: bool | None = None
    distilled: Distilled | None = None


class PictureOrder(Order):
    """A picture of the asking owner."""

    job: str
    index: int


class Listing:
    """The list as it is sent: made once for everybody until something changes."""

    def __init__(self, app: App):
        self._app = app
        self._lock = threading.Lock()
        self._made: dict[bool, tuple[tuple[int, int], Prepared]] = {}

    def prepared(self, *, local: bool) -> Prepared:
        """The answer, for somebody at this machine or not."""
        catalog = self._app.catalog
        # A survey that has not begun to look into files has more to come as well.
        waiting = catalog.waiting or int(not catalog.wait(FIRST_LOOK))
        with self._lock:
            version, models = self._app.overview.models()
            key = (version, waiting)
            if local not in self._made or self._made[local][0] != key:
                skipped = [{"path": str(each.path), "reason": each.reason} for each in catalog.skipped] if local else []
                value = {
                    "version": version,
                    "waiting": waiting,
                    "local": local,
                    "models": cards(models, local=local),
                    "skipped": skipped,
                }
                self._made[local] = key, Prepared(value)
            return self._made[local][1]


def router(app: App) -> APIRouter:
    """All routes below ``/atelier/models``."""
    routes = APIRouter(prefix="/atelier/models", route_class=JsonRoute)
    # Before the routes with an id, which would take every name for one.
    for part in (model_memory, model_files, model_downloads):
        part.add_routes(routes, app)
    _list_routes(routes, app)
    _detail_routes(routes, app)
    _preview_routes(routes, app)
    return routes


def _list_routes(routes: APIRouter, app: App) -> None:
    listing = Listing(app)

    @routes.get("")
    @risk("read")
    def models(request: Request) -> Response:
        return listing.prepared(local=is_local(request)).answer(request)

    @routes.get("/misfits")
    @risk("read")
    def misfits_of(request: Request, checkpoint: str) -> Response:
        _, models = app.overview.models()
        of_it = (each.record for each in models if each.record.kind is Kind.CHECKPOINT)
        record = next((record for record in of_it if record.name == checkpoint), None)
        return said(request, {"misfits": misfits(models, record) if record else {}})

    @routes.post("/refresh")
    @risk("make")
    def refresh(request: Request, _: Annotated[Nothing, Depends(order(Nothing))]) -> Response:
        app.catalog.refresh()
        return said(request, {"version": app.overview.models()[0]})


def _detail_routes(routes: APIRouter, app: App) -> None:
    @routes.get("/{id}")
    @risk("read")
    def one(request: Request, id: str) -> Response:
        return _details(request, app, id)

    @routes.post("/{id}/hash")
    @risk("make")
    def take_hash(request: Request, id: str, _: Annotated[Nothing, Depends(order(Nothing))]) -> Response:
        sha256 = app.hashes.sha256(app.overview.find(id).record).result()
        return said(request, {"hash": sha256, "autov2": autov2(sha256)})

    @routes.post("/{id}/notes")
    @risk("manage")
    def write_notes(request: Request, id: str, words: Annotated[NotesOrder, Depends(order(NotesOrder))]) -> Response:
        record = app.overview.find(id).record
        given: dict[str, Any] = {name: value for name, value in words.model_dump().items() if value is not None}
        app.catalog.write_notes(record, replace(app.catalog.sidecar(record).notes, **given))
        app.overview.look_again(record)
        return _details(request, app, id)

    @routes.post("/{id}/type")
    @risk("manage")
    def choose_type(request: Request, id: str, words: Annotated[TypeOrder, Depends(order(TypeOrder))]) -> Response:
        shown = app.overview.find(id)
        app.catalog.choose(shown.record, _choice(words))
        return _details(request, app, id)


def _preview_routes(routes: APIRouter, app: App) -> None:
    thumbs = Thumbs()

    @routes.get("/{id}/preview")
    @risk("read")
    def preview(request: Request, id: str, thumb: int = 256) -> Response:
        path = app.catalog.sidecar(app.overview.find(id).record).preview
        if path is None:
            raise UnknownModel("This model has no preview.")
        try:
            state = state_of(path)
        except OSError as error:
            raise UnknownModel("This model has no preview.") from error
        etag = f'"{state[0]:x}-{state[1]:x}-{thumb}"'
        headers = {"ETag": etag, "Cache-Control": f"private, max-age={AN_HOUR}"}
        if request.headers.get("if-none-match") == etag:
            return Response(status_code=304, headers=headers)
        return Response(thumbs.of(path, state, thumb), media_type="image/webp", headers=headers)

    @routes.post("/{id}/preview")
    @risk("manage")
    def use_picture(
        request: Request, id: str, picture: Annotated[PictureOrder, Depends(order(PictureOrder))]
    ) -> Response:
        record = app.overview.find(id).record
        images = app.queue.find(picture.job, owner_of(request)).images
        path = next((image.path for image in images if image.index == picture.index), None)
        if path is None:
            raise InvalidRequest(f"This job has no picture number {picture.index}.")
        put_preview(record.path, open_picture(path, LONGEST_SIDE))
        app.overview.look_again(record)
        return _details(request, app, id)

    @routes.post("/{id}/preview/remove")
    @risk("manage")
    def remove_picture(request: Request, id: str, _: Annotated[Nothing, Depends(order(Nothing))]) -> Response:
        record = app.overview.find(id).record
        path = app.catalog.sidecar(record).preview
        if path is None:
            raise UserError("This model has no preview.")
        remove_preview(path)
        app.overview.look_again(record)
        return _details(request, app, id)


def _details(request: Request, app: App, id: str) -> Response:
    shown: Shown = app.overview.find(id)
    _, models = app.overview.models()
    local = is_local(request)
    return said(request, details(shown, models=models, catalog=app.catalog, hashes=app.hashes, local=local))


def _choice(words: TypeOrder) -> Choice | None:
    """What a person said, if they said something. Raises `UserError` for a name that is in no table."""
    given = {name: value for name, value in words.model_dump().items() if value is not None}
    tables = {"family": list(FAMILY_TITLES), "variant": [*VARIANT_TITLES, *ALGORITHM_TITLES]}
    for field, names in tables.items():
        if given.get(field) and given[field] not in names:
            raise UserError(unknown_name(field, given[field], names))
    return Choice(**given) if given else None
