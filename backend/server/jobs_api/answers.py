"""How ``/api/v2`` answers: values in ASCII, because files bring texts of any signs along, and files as they are."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fastapi.responses import Response

from backend.server.jobs_api.views import View
from backend.server.json_door import JSON
from backend.server.problems import NotFound, Problem

# Said of every route in the OpenAPI document: what a body, a name or a full line can be answered with.
PROBLEMS: Mapping[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "The body is no JSON at all, or the address names another server."},
    401: {"model": Problem, "description": "Somebody has to log in."},
    403: {"model": Problem, "description": "The person may not do this."},
    404: {"model": Problem, "description": "There is nothing of that name, or it is somebody else's."},
    405: {"model": Problem, "description": "The address knows another method."},
    413: {"model": Problem, "description": "The body has more bytes than it may have."},
    415: {"model": Problem, "description": "The body is of another type than it has to be."},
    422: {"model": Problem, "description": "A value is wrong; the sentence names it and says what is allowed."},
    429: {
        "model": Problem,
        "description": "The queue is full, or somebody tried too many passwords.",
        "headers": {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer", "minimum": 1}}},
    },
    507: {"model": Problem, "description": "The disk or the device has no room for it."},
}


def answer(view: View, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A value."""
    body = json.dumps(view.model_dump(), separators=(",", ":"), allow_nan=False)
    return Response(body.encode("ascii"), status, headers=dict(headers or {}), media_type=JSON)


def file_answer(path: Path, media_type: str, name: str) -> Response:
    """A picture's bytes, read at once: a file that goes away meanwhile is whole or gone. Raises `NotFound`."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise NotFound(f"{name} is no longer there: it was moved or deleted.") from error
    headers = {
        "Content-Disposition": f"inline; filename*=UTF-8''{quote(name, safe='', errors='replace')}",
        "Cache-Control": "private, no-cache",
        "X-Content-Type-Options": "nosniff",
    }
    return Response(data, media_type=media_type, headers=headers)
