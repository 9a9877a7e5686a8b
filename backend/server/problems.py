"""What goes wrong, as programs are told: ``{"error": kind, "detail": sentence}`` with a status.

The sentence is the `UserError`'s own; the kind is a word that does not change with it. Everything goes out in ASCII,
because a sentence may quote what somebody sent.
"""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, get_args

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from backend.errors import QueueFull, UserError
from backend.model_manager.inventory.overview import UnknownModel
from backend.server.json_door import JSON, NotHere

ErrorKind = Literal[
    "invalid_value",
    "model_not_found",
    "not_found",
    "unauthorized",
    "forbidden",
    "method_not_allowed",
    "too_large",
    "queue_full",
    "oom",
    "not_saved",
    "bad_request",
    "too_many_requests",
    "unsupported_media_type",
]
STATUSES: Mapping[str, int] = MappingProxyType(
    {
        "invalid_value": 422,
        "model_not_found": 422,  # named in a body; one that an address names is `not_found`
        "not_found": 404,
        "unauthorized": 401,
        "forbidden": 403,
        "method_not_allowed": 405,
        "too_large": 413,
        "queue_full": 429,
        "oom": 507,
        "not_saved": 507,
        "bad_request": 400,
        "too_many_requests": 429,
        "unsupported_media_type": 415,
    }
)
OF_STATUS: Mapping[int, str] = MappingProxyType({status: kind for kind, status in reversed(list(STATUSES.items()))})
LONGEST_DETAIL = 500  # characters: a sentence may quote what was sent


class Problem(BaseModel):
    """Why something was not done: a word for programs and a sentence for people."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    error: ErrorKind = Field(description="What kind of problem it is; this word does not change.")
    detail: str = Field(description="One sentence: what is wrong, which value, what is allowed.")


class TooLarge(UserError):
    """What was sent has more bytes than it may have."""

    kind = "too_large"


class NotFound(UserError):
    """There is nothing of that name."""

    kind = "not_found"


def kind_of(error: UserError) -> str:
    """The word for a fault."""
    match error:
        case UnknownModel():
            return "not_found"
        case NotHere():
            return "forbidden"
    return error.kind if error.kind in get_args(ErrorKind) else "invalid_value"


def status_of(error: UserError) -> int:
    """The status of a fault."""
    return STATUSES[kind_of(error)]


def problem(kind: str, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    """The answer for a kind of fault, and its sentence."""
    short = detail if len(detail) <= LONGEST_DETAIL else detail[: LONGEST_DETAIL - 1] + "…"
    body = json.dumps({"error": kind, "detail": short}).encode("ascii")
    return Response(body, STATUSES[kind], headers=dict(headers or {}), media_type=JSON)


def problem_of(error: UserError) -> Response:
    """The answer for a fault; where a line is full it says when to try again."""
    headers = {"Retry-After": str(error.wait_seconds)} if isinstance(error, QueueFull) else None
    return problem(kind_of(error), str(error), headers)


def sentence_of(errors: Sequence[Mapping[str, Any]]) -> str:
    """The first of FastAPI's or pydantic's complaints in one sentence that names the place."""
    first = errors[0]
    place = ".".join(str(part) for part in first["loc"] if part not in ("body", "query", "path", "header"))
    message = str(first["msg"]).removeprefix("Value error, ").rstrip(".")
    if first["type"] == "json_invalid":
        return f"The body is no JSON: {message}."
    return f"{place}: {message}." if place else f"The body is missing or wrong: {message}."


class ProblemRoute(APIRoute):
    """A route whose faults are answered with a `Problem`."""

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # pyright: ignore
        answer = super().get_route_handler()

        async def answer_or_problem(request: Request) -> Response:
            try:
                return await answer(request)
            except UserError as error:
                return problem_of(error)
            except RequestValidationError as error:
                return problem("invalid_value", sentence_of(error.errors()))
            except HTTPException as error:
                return problem(OF_STATUS.get(error.status_code, "bad_request"), str(error.detail), error.headers)

        return answer_or_problem
