"""``/api/v2``: Atelier's own interface for programs, over the same queue as the page."""

import json
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from starlette.routing import Match, Route

from backend.app import App
from backend.server.jobs_api import resources, work
from backend.server.jobs_api.answers import PROBLEMS
from backend.server.jobs_api.description import document
from backend.server.jobs_api.views import PREFIX
from backend.server.json_door import JSON
from backend.server.problems import ProblemRoute, problem
from backend.server.risks import ANY_TYPE, risk

__all__ = ["PREFIX", "described", "router"]

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")


def described(app: App) -> dict[str, Any]:
    """The OpenAPI document."""
    return document(_routes(app).routes)


def router(app: App) -> APIRouter:
    """All routes below ``/api/v2``, and ``/api/v2/openapi.json``, which describes them."""
    routes = _routes(app)
    known = list(routes.routes)
    written: list[bytes] = []

    @routes.get("/openapi.json", include_in_schema=False)
    @risk("read")
    def openapi() -> Response:
        if not written:
            written.append(json.dumps(document(known), separators=(",", ":")).encode("ascii"))
        return Response(written[0], media_type=JSON)

    # The page answers every address that nobody knows; below this one programs ask.
    @routes.api_route("/{rest:path}", methods=list(METHODS), include_in_schema=False)
    @risk("read", types=ANY_TYPE)
    async def elsewhere(request: Request) -> Response:
        asked = [route for route in known if isinstance(route, Route) and _is_near(route, request)]
        allowed = sorted({method for route in asked for method in route.methods or ()})
        if allowed:
            said = f"{request.method} is not for this address; {' and '.join(allowed)} would do."
            return problem("method_not_allowed", said, {"Allow": ", ".join(allowed)})
        return problem("not_found", "There is nothing at this address; openapi.json beside it names all there are.")

    return routes


def _routes(app: App) -> APIRouter:
    routes = APIRouter(prefix=PREFIX, route_class=ProblemRoute, responses=dict(PROBLEMS))
    work.add_routes(routes, app)
    resources.add_routes(routes, app)
    return routes


def _is_near(route: Route, request: Request) -> bool:
    return route.matches(request.scope)[0] is Match.PARTIAL
