"""The OpenAPI document of ``/api/v2``."""

from collections.abc import Sequence
from typing import Any

from fastapi.openapi.utils import get_openapi
from pydantic import TypeAdapter
from starlette.routing import BaseRoute

from backend.server.jobs_api.events import EventView

VERSION = "2.0"
REFERENCES = "#/components/schemas/{model}"
EVENT_MESSAGE = {
    "description": "One message of a stream: `data` is an `EventView` as JSON, `id` is what Last-Event-ID repeats.",
    "type": "object",
    "properties": {
        "data": {
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": {"$ref": "#/components/schemas/EventView"},
        },
        "event": {"type": "string"},
        "id": {"type": "string"},
    },
    "required": ["data", "event"],
    "additionalProperties": False,
}
WORDS = """Queue work, follow it, fetch what it made. A submission answers with a job; its `events` tell what happens
as server-sent events, its `pictures` are files with their recipe inside.

Pictures to begin with are put in first (`/inputs`) and named by the sha256 of their bytes. Every fault is a `Problem`:
a word for programs and a sentence for people. Where there is a login, HTTP Basic or a token (`Authorization: Bearer`)
says who asks; each person sees their own jobs only."""


def document(routes: Sequence[BaseRoute]) -> dict[str, Any]:
    """The document of these routes, with the events that their streams consist of."""
    made = get_openapi(
        title="Atelier", version=VERSION, description=WORDS, routes=routes, separate_input_output_schemas=False
    )
    schemas = made["components"]["schemas"]
    events = TypeAdapter(EventView).json_schema(ref_template=REFERENCES)
    schemas |= {name: schema for name, schema in events.pop("$defs").items() if name not in schemas}
    schemas["EventView"] = events
    schemas["EventMessage"] = EVENT_MESSAGE
    made["components"]["securitySchemes"] = {
        "basic": {"type": "http", "scheme": "basic"},
        "token": {"type": "http", "scheme": "bearer"},
    }
    made["security"] = [{}, {"basic": []}, {"token": []}]
    return made
