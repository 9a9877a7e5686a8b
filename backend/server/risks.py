"""What each route may do: declared where the route is made, read by the guard before the route is.

``@risk("make")`` stands directly under the route's own decorator. A route that declares nothing is for administrators
only. The guard does not ask the framework which route will answer, it reads the same table of routes in the same order.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from starlette.routing import BaseRoute, Mount, compile_path

from backend.server.people import Risk

MEBIBYTE = 1024 * 1024
USUAL_BODY = MEBIBYTE
JSON_ONLY = frozenset({"application/json"})
ANY_TYPE = frozenset({"*"})
MARK = "atelier_rule"

Thing = TypeVar("Thing")


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What a route may do and take.

    `largest` counts the bytes of a body, `types` are the content types it may have (``image/`` stands for all
    that begin so, an empty one for none named, ``*`` for all: the route looks itself). `public` is what is there
    before a login, `closed` what a library brings along and nobody needs.
    """

    risk: Risk
    largest: int = USUAL_BODY
    types: frozenset[str] = JSON_ONLY
    public: bool = False
    closed: bool = False

    def takes(self, content_type: str) -> bool:
        """Whether a body may be of this type."""
        kind = content_type.partition(";")[0].strip().lower()
        return any(
            each in ("*", kind) or (bool(each) and each.endswith("/") and kind.startswith(each)) for each in self.types
        )


UNDECLARED = Rule(risk="manage", types=ANY_TYPE)
CLOSED = Rule(risk="manage", closed=True)


def risk(
    level: Risk, *, largest: int = USUAL_BODY, types: Iterable[str] = JSON_ONLY, public: bool = False
) -> Callable[[Thing], Thing]:
    """Declare what a route may do and take; see `Rule`."""
    return declared(Rule(risk=level, largest=largest, types=frozenset(types), public=public))


def declared(rule: Rule) -> Callable[[Thing], Thing]:
    """The same, for a rule that is there already; for a handler, a mounted app or a route."""

    def declare(thing: Thing) -> Thing:
        setattr(thing, MARK, rule)
        return thing

    return declare


@dataclass(frozen=True, kw_only=True)
class Row:
    """A route as the guard sees it; no `methods` are those of a WebSocket or a mounted app."""

    path: str
    pattern: re.Pattern[str]
    methods: frozenset[str]
    rule: Rule | None
    websocket: bool = False


class RouteTable:
    """All routes of an app, those of mounted apps and included routers too, in the order in which they are tried."""

    def __init__(self, routes: Iterable[BaseRoute]):
        self.rows = tuple(_rows(routes, "", None))

    def find(self, method: str, path: str, *, websocket: bool = False) -> Row | None:
        """The route that will answer; one that knows the path and not the method where there is no better one."""
        partly = None
        for row in self.rows:
            if row.websocket is not websocket and (row.methods or websocket):
                continue
            if not row.pattern.match(path):
                continue
            if not row.methods or method in row.methods:
                return row
            partly = partly or row
        return partly


def declare_all(routes: Iterable[BaseRoute], rules: Mapping[str, Rule]) -> None:
    """Give the routes of a library their rules by their paths; those that are not named are closed."""
    for route in _flat(routes):
        source = getattr(route, "original_route", route)
        declared(rules.get(_path(route), CLOSED))(source)


def declare_every(routes: Iterable[BaseRoute], rule: Rule) -> None:
    """Give all these routes one rule."""
    for route in _flat(routes):
        declared(rule)(getattr(route, "original_route", route))


def _rows(routes: Iterable[BaseRoute], prefix: str, above: Rule | None) -> Iterator[Row]:
    for route in _flat(routes):
        path, rule = prefix + _path(route), _rule(route) or above
        source: Any = getattr(route, "starlette_route", None) or route
        if isinstance(source, Mount):
            inside = list(source.routes or ())
            yield from _rows(inside, path, rule)
            if not inside:
                pattern, *_ = compile_path(f"{path}/{{path:path}}")
                yield Row(path=f"{path}/{{path}}", pattern=pattern, methods=frozenset(), rule=rule)
            continue
        pattern, *_ = compile_path(path)
        methods = frozenset(getattr(source, "methods", None) or ())
        yield Row(path=path, pattern=pattern, methods=methods, rule=rule, websocket=not methods)


def _flat(routes: Iterable[BaseRoute]) -> Iterator[Any]:
    """The routes, with those of included routers in their places."""
    for route in routes:
        # FastAPI keeps an included router as one route, and says what its routes became.
        contexts = getattr(route, "effective_route_contexts", None)
        if contexts is None:
            yield route
        else:
            yield from contexts()


def _path(route: Any) -> str:
    source = getattr(route, "starlette_route", None) or route
    return source.path


def _rule(route: Any) -> Rule | None:
    original = getattr(route, "original_route", route)
    things = (original, getattr(original, "endpoint", None), getattr(original, "app", None))
    return next((rule for thing in things if (rule := getattr(thing, MARK, None)) is not None), None)
