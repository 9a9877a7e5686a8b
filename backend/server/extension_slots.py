"""What the page asks of extensions that are on: their scripts, buttons, canvas tools and pages of cards, and to do what
is pressed there."""

import io
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Request, Response
from fastapi.concurrency import run_in_threadpool
from PIL import Image

from backend.app import App
from backend.errors import InvalidRequest, UserError
from backend.extension_api import Card
from backend.extensions.extension import Extension
from backend.extensions.offered import script_of, stamp_of
from backend.imaging.decode import upright
from backend.model_manager.inventory.overview import UnknownModel
from backend.server.inputs import LARGEST, PICTURE_TYPES, picture_body
from backend.server.json_door import Order, order, said
from backend.server.owner import owner_of
from backend.server.risks import risk
from backend.server.thumbs import Thumbs, state_of

THUMB = 320  # pixels
LONGEST_SENTENCE = 2000

Thing = TypeVar("Thing")


class PictureAct(Order):
    """A button below a result: which of the extension's, and the picture."""

    number: int
    job: str
    index: int


class ModelAct(Order):
    """A button at a model: which of the extension's, and the model's id."""

    number: int
    model: str


def add_routes(routes: APIRouter, app: App) -> None:
    """All routes of this module."""

    @routes.get("/slots")
    @risk("read")
    def slots(request: Request) -> Response:
        return said(request, offered(app))

    _acts(routes, app)
    _canvas(routes, app)
    _card_pages(routes, app)


def offered(app: App) -> dict[str, Any]:
    """Everything that those that are on have for the page's own scripts."""
    active = app.extensions.active()
    numbered = [
        (each, {"id": each.id, "extension": each.title}, number, slot, kind)
        for each in active
        for kind in ("gallery_actions", "card_actions", "canvas_tools", "card_pages")
        for number, slot in enumerate(getattr(each.brought, kind))
    ]
    rows: dict[str, list[dict[str, Any]]] = {}
    for _, about, number, slot, kind in numbered:
        row = {**about, "number": number, "title": slot.title}
        if kind == "card_actions":
            row["kinds"] = [each.value for each in slot.kinds]
        if kind == "canvas_tools":
            row["hint"] = slot.hint
        rows.setdefault(kind, []).append(row)
    return {
        "stamp": stamp_of(active),
        "modules": [{"id": each.id, "title": each.title, "src": script_of(each)} for each in active if script_of(each)],
        "gallery": rows.get("gallery_actions", []),
        "cards": rows.get("card_actions", []),
        "canvas": rows.get("canvas_tools", []),
        "pages": rows.get("card_pages", []),
    }


def _called(app: App, extension: Extension, where: str, function: Callable[..., Thing], *values: Any) -> Thing:
    """What an extension answers, within the time that its hooks have. Raises `UserError`."""
    limit = app.settings.value.extension_seconds
    return app.extensions.calls.call_apart(extension, where, function, *values, limit=limit)


def _slot(app: App, id: str, kind: str, number: int) -> tuple[Extension, Any]:
    """An extension and its slot of that number. Raises `UserError`."""
    extension = app.extensions.find(id)
    slots: Sequence[Any] = getattr(extension.brought, kind)
    if not 0 <= number < len(slots):
        raise InvalidRequest(f"{extension.title} has nothing like this now: load the page anew.")
    return extension, slots[number]


def _sentence(request: Request, extension: Extension, sentence: object) -> Response:
    if not isinstance(sentence, str):
        raise UserError(f"{extension.title} answered {type(sentence).__name__} where a sentence is expected.")
    return said(request, {"sentence": sentence[:LONGEST_SENTENCE]})


def _acts(routes: APIRouter, app: App) -> None:
    @routes.post("/{id}/gallery")
    @risk("make")
    def on_picture(request: Request, id: str, words: Annotated[PictureAct, Depends(order(PictureAct))]) -> Response:
        extension, action = _slot(app, id, "gallery_actions", words.number)
        images = app.queue.find(words.job, owner_of(request)).images
        path = next((image.path for image in images if image.index == words.index), None)
        if path is None or not path.is_file():
            raise InvalidRequest(f"There is no file of picture number {words.index} of this job any more.")
        return _sentence(request, extension, _called(app, extension, action.title, action.act, path))

    @routes.post("/{id}/card")
    @risk("make")
    def on_model(request: Request, id: str, words: Annotated[ModelAct, Depends(order(ModelAct))]) -> Response:
        extension, action = _slot(app, id, "card_actions", words.number)
        record = app.overview.find(words.model).record
        if action.kinds and record.kind not in action.kinds:
            raise InvalidRequest(f"{action.title} is not for models of this kind.")
        return _sentence(request, extension, _called(app, extension, action.title, action.act, record))


def _canvas(routes: APIRouter, app: App) -> None:
    @routes.post("/{id}/canvas")
    @risk("make", largest=LARGEST, types=PICTURE_TYPES)
    async def select(request: Request, id: str, number: int, x: int, y: int) -> Response:
        data = await picture_body(request)
        return Response(await run_in_threadpool(_mask, app, id, number, data, (x, y)), media_type="image/png")


def _mask(app: App, id: str, number: int, data: bytes, point: tuple[int, int]) -> bytes:
    """The mask that a canvas tool selects, as a PNG. Raises `UserError`."""
    extension, tool = _slot(app, id, "canvas_tools", number)
    picture = upright(data).convert("RGB")
    width, height = picture.size
    if not (0 <= point[0] < width and 0 <= point[1] < height):
        raise InvalidRequest(f"The place {point} is not within the picture of {width} x {height}.")
    mask = _called(app, extension, tool.title, tool.select, picture, point)
    if not isinstance(mask, Image.Image) or mask.size != picture.size:
        found = mask.size if isinstance(mask, Image.Image) else type(mask).__name__
        raise UserError(f"{extension.title}: {tool.title} answered {found} where a mask of {picture.size} is expected.")
    out = io.BytesIO()
    mask.convert("L").save(out, "PNG", compress_level=1)
    return out.getvalue()


def _card_pages(routes: APIRouter, app: App) -> None:
    thumbs = Thumbs()
    lock = threading.Lock()
    pictures: dict[str, dict[str, Path]] = {}  # of each page, by the card's number: only these are shown

    @routes.get("/{id}/pages/{number}")
    @risk("read")
    def cards(request: Request, id: str, number: int) -> Response:
        extension, page = _slot(app, id, "card_pages", number)
        found = list(_called(app, extension, page.title, page.cards))
        if not all(isinstance(each, Card) for each in found):
            raise UserError(f"{extension.title}: the page {page.title} answered something that is no card.")
        place = f"atelier/extensions/{extension.id}/pages/{number}"
        shown = [_card(each, f"{place}/{count}/picture") for count, each in enumerate(found)]
        with lock:
            pictures[place] = {str(count): each.picture for count, each in enumerate(found) if each.picture}
        return said(request, {"title": page.title, "cards": shown})

    @routes.get("/{id}/pages/{number}/{count}/picture")
    @risk("read")
    def picture(id: str, number: int, count: str) -> Response:
        with lock:
            path = pictures.get(f"atelier/extensions/{id}/pages/{number}", {}).get(count)
        try:
            if path is None:
                raise UnknownModel("This card has no picture.")
            return Response(thumbs.of(path, state_of(path), THUMB), media_type="image/webp")
        except OSError as error:
            raise UnknownModel("This card's picture is gone.") from error


def _card(card: Card, address: str) -> dict[str, Any]:
    return {
        "title": card.title,
        "insert": card.insert,
        "subtitle": card.subtitle,
        "search": card.search,
        "picture": address if card.picture else "",
    }
