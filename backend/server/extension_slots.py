"""What the page asks of extensions that are on: their scripts, buttons, canvas tools and pages of cards, and to do what
is pressed there."""

import io
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Request, Response
from fastapi.concurrency import run_in_threadpool
from PIL import Image

from backend.app import App
from backend.errors import InvalidRequest, UserError
from backend.extension_api import Card
from backend.extensions.asking import asked_as
from backend.extensions.extension import Extension
from backend.extensions.offered import script_of, stamp_of
from backend.imaging.decode import upright
from backend.model_manager.inventory.overview import UnknownModel
from backend.server.inputs import LARGEST, PICTURE_TYPES, picture_body
from backend.server.json_door import Order, order, said
from backend.server.owner import asker, owner_of
from backend.server.risks import risk
from backend.server.thumbs import Thumbs, state_of

THUMB = 320  # pixels
LONGEST_SENTENCE = 2000
KEPT_PAGES = 200  # of how many pages and askers the pictures are known

Thing = TypeVar("Thing")


class PictureAct(Order):
    """A button below a result: which of the extension's, as the window has it, and the picture."""

    number: int
    title: str
    job: str
    index: int


class ModelAct(Order):
    """A button at a model: which of the extension's, as the window has it, and the model's id."""

    number: int
    title: str
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


def _called(
    app: App, request: Request, extension: Extension, where: str, function: Callable[..., Thing], *values: Any
) -> Thing:
    """What an extension answers to whoever asks, within the time that its hooks have. Raises `UserError`."""
    limit = app.settings.value.extension_seconds
    with asked_as(asker(request)):
        return app.extensions.calls.call_apart(extension, where, function, *values, limit=limit)


def _slot(app: App, id: str, kind: str, number: int, title: str) -> tuple[Extension, Any]:
    """An extension and its slot of that number, if that has the title with which a window shows it: its code may be
    another one by now. Raises `UserError`."""
    extension = app.extensions.find(id)
    slots: Sequence[Any] = getattr(extension.brought, kind) if extension.state == "on" else ()
    if not 0 <= number < len(slots) or slots[number].title != title:
        raise InvalidRequest(f"{extension.title} has no {title!r:.80} at this place now: load the page anew.")
    return extension, slots[number]


def _sentence(request: Request, extension: Extension, sentence: object) -> Response:
    if not isinstance(sentence, str):
        raise UserError(f"{extension.title} answered {type(sentence).__name__} where a sentence is expected.")
    return said(request, {"sentence": sentence[:LONGEST_SENTENCE]})


def _acts(routes: APIRouter, app: App) -> None:
    @routes.post("/{id}/gallery")
    @risk("make")
    def on_picture(request: Request, id: str, words: Annotated[PictureAct, Depends(order(PictureAct))]) -> Response:
        extension, action = _slot(app, id, "gallery_actions", words.number, words.title)
        images = app.queue.find(words.job, owner_of(request)).images
        path = next((image.path for image in images if image.index == words.index), None)
        if path is None or not path.is_file():
            raise InvalidRequest(f"There is no file of picture number {words.index} of this job any more.")
        return _sentence(request, extension, _called(app, request, extension, action.title, action.act, path))

    @routes.post("/{id}/card")
    @risk("make")
    def on_model(request: Request, id: str, words: Annotated[ModelAct, Depends(order(ModelAct))]) -> Response:
        extension, action = _slot(app, id, "card_actions", words.number, words.title)
        record = app.overview.find(words.model).record
        if action.kinds and record.kind not in action.kinds:
            raise InvalidRequest(f"{action.title} is not for models of this kind.")
        return _sentence(request, extension, _called(app, request, extension, action.title, action.act, record))


def _canvas(routes: APIRouter, app: App) -> None:
    @routes.post("/{id}/canvas")
    @risk("make", largest=LARGEST, types=PICTURE_TYPES)
    async def select(request: Request, id: str, number: int, title: str, x: int, y: int) -> Response:
        data = await picture_body(request)
        mask = await run_in_threadpool(_mask, app, request, (id, number, title), data, (x, y))
        return Response(mask, media_type="image/png")


def _mask(app: App, request: Request, which: tuple[str, int, str], data: bytes, point: tuple[int, int]) -> bytes:
    """The mask that a canvas tool selects, as a PNG; `which` are its extension's id, its number and its title. Raises
    `UserError`."""
    id, number, title = which
    extension, tool = _slot(app, id, "canvas_tools", number, title)
    picture = upright(data).convert("RGB")
    width, height = picture.size
    if not (0 <= point[0] < width and 0 <= point[1] < height):
        raise InvalidRequest(f"The place {point} is not within the picture of {width} x {height}.")
    mask = _called(app, request, extension, tool.title, tool.select, picture, point)
    if not isinstance(mask, Image.Image) or mask.size != picture.size:
        found = mask.size if isinstance(mask, Image.Image) else type(mask).__name__
        raise UserError(f"{extension.title}: {tool.title} answered {found} where a mask of {picture.size} is expected.")
    out = io.BytesIO()
    mask.convert("L").save(out, "PNG", compress_level=1)
    return out.getvalue()


class _Pictures:
    """The pictures of cards, by names that are others where the file is: each asker is shown those that they were told
    of and no others. Safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._told: OrderedDict[tuple[str, ...], dict[str, Path]] = OrderedDict()

    def name(self, pages: tuple[str, ...], cards: Sequence[Card]) -> list[str]:
        """The names of the cards' pictures, empty for a card without one. They take the place of those before."""
        names = [_named(each.picture) for each in cards]
        with self._lock:
            self._told[pages] = {name: each.picture for name, each in zip(names, cards, strict=True) if each.picture}
            self._told.move_to_end(pages)
            while len(self._told) > KEPT_PAGES:
                self._told.popitem(last=False)
        return names

    def find(self, pages: tuple[str, ...], name: str) -> Path | None:
        with self._lock:
            return self._told.get(pages, {}).get(name)


def _named(picture: Path | None) -> str:
    """A name for what a file is now; empty where there is none."""
    try:
        return sha256(f"{picture} {state_of(picture)}".encode()).hexdigest() if picture else ""
    except OSError:
        return ""


def _card_pages(routes: APIRouter, app: App) -> None:
    thumbs, pictures = Thumbs(), _Pictures()

    @routes.get("/{id}/pages/{number}")
    @risk("read")
    def cards(request: Request, id: str, number: int, title: str) -> Response:
        extension, page = _slot(app, id, "card_pages", number, title)
        found = list(_called(app, request, extension, page.title, page.cards))
        if not all(isinstance(each, Card) for each in found):
            raise UserError(f"{extension.title}: the page {page.title} answered something that is no card.")
        names = pictures.name((asker(request).owner, id, str(number)), found)
        place = f"atelier/extensions/{extension.id}/pages/{number}"
        addresses = [f"{place}/{name}" if name else "" for name in names]
        shown = [_card(each, address) for each, address in zip(found, addresses, strict=True)]
        return said(request, {"title": page.title, "cards": shown})

    @routes.get("/{id}/pages/{number}/{name}")
    @risk("read")
    def picture(request: Request, id: str, number: int, name: str) -> Response:
        path = pictures.find((asker(request).owner, id, str(number)), name)
        if path is None or app.extensions.find(id).state != "on":
            raise UnknownModel("This card has no picture.")
        try:
            data = thumbs.of(path, state_of(path), THUMB)
        except OSError as error:
            raise UnknownModel("This card's picture is gone.") from error
        return Response(data, media_type="image/webp", headers={"Cache-Control": "private, no-cache"})


def _card(card: Card, picture: str) -> dict[str, Any]:
    return {
        "title": card.title,
        "insert": card.insert,
        "subtitle": card.subtitle,
        "search": card.search,
        "picture": picture,
    }
