"""How a body comes in and an answer goes out.

A fault is ``{"error": kind, "detail": sentence, "body": "", "errors": sentence}``: AUTOMATIC1111's four names, of which
clients read the last or the second. Statuses are its own too, but for 422 where it would say 500 to what a client sent.
"""

import asyncio
import json
import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NoReturn, TypeVar

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import ValidationError

from backend.errors import QueueFull, UserError
from backend.server.json_door import JSON
from backend.server.problems import kind_of, sentence_of, status_of
from backend.server.sdapi.fields import Wish

log = logging.getLogger(__name__)

MEBIBYTE = 1024 * 1024
LARGEST_WORDS = 8 * MEBIBYTE  # a body without pictures: settings, echoed as a whole
LARGEST_PICTURES = 256 * MEBIBYTE  # pictures in base64 take a third more than their bytes
LARGE = 256 * 1024  # bytes that are parsed beside the loop
NAMED = 20  # of the names that are ignored, in the log
MOST_DETAIL = 2000  # characters

# What OpenAPI says of faults, the guard's too.
_FAULT = {
    "type": "object",
    "required": ["error", "detail"],
    "properties": {name: {"type": "string"} for name in ("error", "detail", "body", "errors")},
}
FAULTS: dict[int | str, dict[str, Any]] = {
    status: {"description": what, "content": {JSON: {"schema": _FAULT}}}
    for status, what in {
        400: "There is no such sampler or schedule, or the address is not ours.",
        401: "Who asks has to log in.",
        403: "Who asks may not do this.",
        404: "A picture is missing.",
        413: "The body is too large.",
        415: "The body has another type than JSON.",
        422: "A value cannot be.",
        429: "The queue is full, or there were too many wrong logins.",
        500: "The picture could not be made.",
        501: "This is not here.",
        507: "The disk is full.",
    }.items()
}

W = TypeVar("W", bound=Wish)


class Refused(UserError):
    """What was asked for cannot be, with AUTOMATIC1111's status for it."""

    def __init__(self, message: str, *, status: int, kind: str = "invalid_value"):
        super().__init__(message)
        self.status = status
        self.word = kind


def not_found(what: str) -> Refused:
    """Something that a body should name is not there: ``Init image not found``."""
    return Refused(what, status=404, kind="not_found")


def absent(sentence: str) -> Refused:
    """A route of AUTOMATIC1111's whose feature does not exist here."""
    return Refused(sentence, status=501, kind="not_implemented")


class SdRoute(APIRoute):
    """A route whose faults have AUTOMATIC1111's form."""

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # pyright: ignore
        answer = super().get_route_handler()

        async def answer_as_a1111(request: Request) -> Response:
            try:
                return await answer(request)
            except Refused as error:
                return fault(error.word, str(error), error.status)
            except QueueFull as error:
                return fault(error.kind, str(error), 429, {"Retry-After": str(error.wait_seconds)})
            except UserError as error:
                return fault(kind_of(error), str(error), status_of(error))
            except RequestValidationError as error:
                return fault("invalid_value", sentence_of(error.errors()), 422)

        return answer_as_a1111


def fault(kind: str, sentence: str, status: int, headers: Mapping[str, str] | None = None) -> Response:
    """A fault in AUTOMATIC1111's form, in ASCII, as it may quote what was sent."""
    short = sentence if len(sentence) <= MOST_DETAIL else sentence[: MOST_DETAIL - 1] + "…"
    body = {"error": kind, "detail": short, "body": "", "errors": short}
    return Response(json.dumps(body), status, headers=dict(headers or {}), media_type=JSON)


def said(value: Any) -> Response:
    """An answer."""
    return Response(json.dumps(value, allow_nan=False), media_type=JSON)


def wish(kind: type[W]) -> Callable[[Request], Awaitable[W]]:
    """A dependency that reads the body as `kind`; no body is one without values. Raises `Refused` with 422."""

    async def read(request: Request) -> W:
        body = await request.body()
        return await asyncio.to_thread(_read, kind, body) if len(body) > LARGE else _read(kind, body)

    return read


def schema(kind: type[Wish]) -> dict[str, Any]:
    """What OpenAPI says of a body of `kind`."""
    found = kind.model_json_schema()
    inner = found.pop("$defs", {})
    inlined = json.loads(json.dumps(found), object_hook=lambda part: inner.get(_named(part), part))
    return {"requestBody": {"content": {JSON: {"schema": inlined}}}}


def _named(part: Mapping[str, Any]) -> str:
    return str(part.get("$ref", "")).rpartition("/")[2]


def _read(kind: type[W], body: bytes) -> W:
    try:
        values = json.loads(body, parse_constant=_no_number, parse_float=_finite) if body.strip() else {}
    except (ValueError, RecursionError) as error:
        raise Refused(f"The body is no JSON: {error}.", status=422) from error
    if not isinstance(values, dict):
        raise Refused("The body must be an object with named values.", status=422)
    if kind.model_config.get("extra") == "ignore":
        _note_ignored(kind, values)
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise Refused(sentence_of(error.errors(include_url=False, include_input=False)), status=422) from error


def _note_ignored(kind: type[Wish], values: Mapping[str, Any]) -> None:
    ignored = [name for name in values if name not in kind.model_fields]
    if ignored:
        shown = ", ".join(ascii(name[:60]) for name in ignored[:NAMED])
        log.info("%s: %d names that are not known here are ignored: %s", kind.__name__, len(ignored), shown)


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is too large a number")
    return value
