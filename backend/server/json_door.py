"""How JSON comes in and goes out: who may ask, how much, and what a failure looks like.

An order is a POST of ``application/json``: no form of another website can send one without asking the browser first. A
failure is ``{"problem": "one sentence"}``, with the status 400, 403 for what only somebody at this machine may do, or
404. All text that files bring along goes out as JSON, in ASCII, whatever signs it is made of.
"""

import gzip
import hashlib
import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, ValidationError

from backend.errors import UserError
from backend.model_manager.inventory.overview import UnknownModel
from backend.server.arrival import is_local

LARGEST_ORDER = 512 * 1024  # bytes
WORTH_PACKING = 4096  # bytes
PACKING = 5  # of 9: half of the time of the usual level, for a few percent of size
JSON = "application/json"

OrderType = TypeVar("OrderType", bound="Order")


class Order(BaseModel):
    """The body of a POST; a field that is not known is refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Nothing(Order):
    """An order that says all by its address."""


class NotHere(UserError):
    """Only somebody at this machine may do this."""


class JsonRoute(APIRoute):
    """A route whose failures are JSON too."""

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # pyright: ignore
        answer = super().get_route_handler()

        async def answer_in_json(request: Request) -> Response:
            try:
                return await answer(request)
            except NotHere as error:
                return problem(str(error), 403)
            except UnknownModel as error:
                return problem(str(error), 404)
            except UserError as error:
                return problem(str(error), 400)
            except RequestValidationError as error:
                return problem(_sentence(error.errors()[0]), 400)

        return answer_in_json


def only_local(request: Request) -> None:
    """For routes that touch the files of all. Raises `NotHere`."""
    if not is_local(request):
        raise NotHere("Only somebody who sits at the machine that Atelier runs on may do this.")


def order(kind: type[OrderType]) -> Callable[[Request], Awaitable[OrderType]]:
    """A dependency that reads the body as `kind`. It raises `UserError` for a body that is none."""

    async def read(request: Request) -> OrderType:
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != JSON:
            raise UserError(f"An order has to come as {JSON}.")
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > LARGEST_ORDER:
                raise UserError(f"An order may have {LARGEST_ORDER:,} bytes at most.")
        try:
            return kind.model_validate_json(bytes(body))
        except ValidationError as error:
            raise UserError(_sentence(error.errors(include_url=False)[0])) from error

    return read


def problem(sentence: str, status: int) -> Response:
    """A failure."""
    return Response(_text({"problem": sentence}), status, media_type=JSON)


def said(request: Request, value: Any) -> Response:
    """An answer, packed if it is long and the browser can unpack it."""
    return Prepared(value).answer(request)


class Prepared:
    """An answer that can be given many times: the bytes, packed when they are first wanted so, and their ETag."""

    def __init__(self, value: Any):
        self._body = _text(value)
        self._packed = b""
        # Weak: packed or not it is the same.
        self._etag = f'W/"{hashlib.blake2b(self._body, digest_size=16).hexdigest()}"'

    def answer(self, request: Request) -> Response:
        """The answer, or only that the browser has it already."""
        headers = {"ETag": self._etag, "Cache-Control": "private, no-cache", "Vary": "Accept-Encoding"}
        if self._etag in [tag.strip() for tag in request.headers.get("if-none-match", "").split(",")]:
            return Response(status_code=304, headers=headers)
        if len(self._body) < WORTH_PACKING or not _takes_gzip(request.headers.get("accept-encoding", "")):
            return Response(self._body, media_type=JSON, headers=headers)
        self._packed = self._packed or gzip.compress(self._body, PACKING, mtime=0)
        return Response(self._packed, media_type=JSON, headers=headers | {"Content-Encoding": "gzip"})


def _takes_gzip(accepted: str) -> bool:
    for part in accepted.lower().split(","):
        name, _, weight = part.replace(" ", "").partition(";")
        if name == "gzip":
            return weight not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


def _text(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode("ascii")


def _sentence(error: Any) -> str:
    place = ".".join(str(part) for part in error["loc"])
    return f"{place}: {error['msg']}." if place else f"{error['msg']}."
