"""In front of everything: who may speak to this server, who is speaking, and what they may do.

The order matters: names and pages first (they cost nothing and need nobody's word), then the person, then what the
route declares, then the body. Whatever a library behind it would let in, it never hears of.
"""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.server.arrival import Arrival, can_change_code
from backend.server.body_limit import BodyLimit
from backend.server.doorkeeper import NOBODY, Doorkeeper
from backend.server.login import login_page
from backend.server.origins import (
    NOT_OURS,
    SAFE_METHODS,
    Policy,
    host_name,
    is_for_programs,
    is_loaded_by_others,
    is_own,
    wrong_name,
)
from backend.server.owner import OWNER_COOKIE, OWNER_PATTERN
from backend.server.people import Person, may, not_for
from backend.server.refusal import UNAUTHORIZED_SOCKET, Refusal
from backend.server.risks import UNDECLARED, RouteTable, Row, Rule
from backend.server.shared_link import SharedLink

METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})
YEAR = 365 * 24 * 3600  # seconds
PREFLIGHT_SECONDS = 600
CONTENT_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; "
    "object-src 'none'; frame-ancestors 'none'; base-uri 'self'; form-action 'self'"
)
HEADERS: Mapping[str, str] = MappingProxyType(
    {
        "content-security-policy": CONTENT_POLICY,
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
        # Nothing for others; but forms sent without any referrer say that they come from nowhere ("null").
        "referrer-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "cross-origin-opener-policy": "same-origin",
    }
)


class Guard:
    """ASGI middleware, outermost: refuses what may not come in, says who the rest are (`backend.server.owner`), and
    adds the headers that tell browsers to be as strict."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        policy: Policy | None = None,
        doorkeeper: Doorkeeper | None = None,
        link: SharedLink | None = None,
    ):
        """`app` has its routes: they are read with the first request, and again when there are others."""
        self._app = app
        self._policy = policy or Policy()
        self._doorkeeper = doorkeeper or Doorkeeper()
        self._link = link
        self._table: RouteTable | None = None
        self._read: tuple[BaseRoute, ...] = ()

    @property
    def table(self) -> RouteTable:
        """All routes behind the guard. Those of extensions come and go as a whole, at the top of the list."""
        routes = tuple(getattr(self._app, "routes", ()))
        if self._table is None or routes != self._read:
            self._read, self._table = routes, RouteTable(routes)
        return self._table

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        path = self._inside(scope["path"])
        headers = Headers(scope=scope)
        arrival, refusal = self._arrival(scope, headers, path)
        send = _with_headers(send, headers.get("origin", "") if arrival.elsewhere else "")
        scope = self._seen(scope, headers, path, arrival)
        if refusal is None and arrival.elsewhere and _is_preflight(scope, headers):
            await _preflight(send)
        elif refusal is None:
            await self._serve(scope, receive, send, path, arrival)
        else:
            await refusal.send(scope, receive, send, path)

    async def _serve(self, scope: Scope, receive: Receive, send: Send, path: str, arrival: Arrival) -> None:
        """What came from where it may."""
        connection = HTTPConnection(scope)
        row = self.table.find(scope.get("method", ""), path, websocket=scope["type"] == "websocket")
        rule = (row.rule or UNDECLARED) if row else None
        person = await self._doorkeeper.person(connection, arrival, path)
        if isinstance(person, Refusal):
            if rule is None or not rule.public:
                await _asking(person, scope, path).send(scope, receive, send, path)
                return
            person = NOBODY
        if arrival.elsewhere:
            person = replace(person, scopes=person.scopes & {"read", "make"})
        scope["state"]["person"] = person
        refusal = _refusal(connection, row, rule, person)
        if refusal is not None:
            await refusal.send(scope, receive, send, path)
            return
        if scope["type"] == "http" and person.how == "local" and path == "/":
            send = _with_name(send, person.owner or secrets.token_hex(16))
        if scope["type"] == "websocket" and person.how == "login":
            send = _while_logged_in(send, lambda: self._doorkeeper.is_logged_in(connection))
        await self._bounded(scope, receive, send, path, rule or UNDECLARED)

    async def _bounded(self, scope: Scope, receive: Receive, send: Send, path: str, rule: Rule) -> None:
        if scope["type"] == "websocket":
            await self._app(scope, receive, send)
            return
        limit = BodyLimit(receive, send, rule.largest)
        try:
            await self._app(scope, limit.receive, limit.send)
        except ClientDisconnect:
            if not limit.exceeded:
                raise
        if limit.unanswered:
            await _too_large(rule).send(scope, receive, send, path)

    def _inside(self, path: str) -> str:
        """The path as routes know it: a proxy may have taken ours off or left it there."""
        subpath = self._policy.subpath
        if subpath and (path == subpath or path.startswith(f"{subpath}/")):
            return path[len(subpath) :] or "/"
        return path

    def _arrival(self, scope: Scope, headers: Headers, path: str) -> tuple[Arrival, Refusal | None]:
        """By which way a request came, and what is wrong with that, if something is."""
        link, policy = self._link, self._policy
        server = scope.get("server")
        tunnel = link is not None and bool(server) and server[1] == link.port
        shared = link is not None and link.alive
        arrival = Arrival(loopback=policy.loopback, shared=shared, tunnel=tunnel)
        name = host_name(headers)
        ours = link is not None and shared and name == link.host if tunnel else bool(name) and policy.answers_to(name)
        if not ours:
            return arrival, wrong_name(headers)
        changes = scope["type"] == "websocket" or scope["method"] not in SAFE_METHODS
        if not is_own(headers, self._schemes(scope, name, tunnel)):
            if tunnel or not is_for_programs(path) or not policy.lets(headers["origin"].lower()):
                return arrival, NOT_OURS
            return replace(arrival, elsewhere=True), None
        return arrival, NOT_OURS if is_loaded_by_others(headers, changes=changes) else None

    def _schemes(self, scope: Scope, name: str, tunnel: bool) -> frozenset[str]:
        """What pages of ours were loaded by."""
        if tunnel and self._link is not None:
            return frozenset({self._link.scheme})
        own = "https" if scope["scheme"] in ("https", "wss") else "http"
        return frozenset({own, "https"}) if name in self._policy.proxied else frozenset({own})

    def _seen(self, scope: Scope, headers: Headers, path: str, arrival: Arrival) -> Scope:
        """The scope as everything behind sees it."""
        seen: dict[str, Any] = {**scope, "state": {**scope.get("state", {}), "arrival": arrival, "person": NOBODY}}
        if self._policy.subpath:
            whole = self._policy.subpath + path
            seen |= {"root_path": self._policy.subpath, "path": whole, "raw_path": quote(whole).encode()}
        secure = arrival.tunnel and self._link is not None and self._link.scheme == "https"
        if host_name(headers) in self._policy.proxied:
            secure = headers.get("x-forwarded-proto", "") == "https"
        if secure:
            seen["scheme"] = "https" if scope["type"] == "http" else "wss"
        return seen


def _asking(refusal: Refusal, scope: Scope, path: str) -> Refusal:
    """For a browser that opens a page: the same with the page that asks for name and password."""
    accepts = Headers(scope=scope).get("accept", "")
    opens = scope["type"] == "http" and scope["method"] == "GET" and "text/html" in accepts
    if not opens or is_for_programs(path) or refusal.status != 401:
        return refusal
    return replace(refusal, page=login_page(scope.get("root_path", "")))


def _refusal(connection: HTTPConnection, row: Row | None, rule: Rule | None, person: Person) -> Refusal | None:
    """What of a request the route that will answer it does not take."""
    scope = connection.scope
    if scope["type"] == "http" and scope["method"] not in METHODS:
        return Refusal(
            status=405, kind="invalid_value", sentence=f"{scope['method'][:20]} is no method that is used here."
        )
    if rule is None or row is None:
        return None  # nothing is there, and the app says so
    if rule.closed:
        return Refusal(status=404, kind="not_found", sentence="This is no part of Atelier.")
    if rule.public:
        return _body_refusal(connection, rule)
    if not may(person, rule.risk):
        return Refusal(status=403, kind="forbidden", sentence=not_for(person))
    if rule.risk == "code" and not can_change_code(connection):
        sentence = "Code can be changed at this machine only, and while nobody elsewhere can reach Atelier."
        return Refusal(status=403, kind="forbidden", sentence=sentence)
    return _body_refusal(connection, rule)


def _body_refusal(connection: HTTPConnection, rule: Rule) -> Refusal | None:
    """What is wrong with a body before it is read. An empty one needs no type."""
    if connection.scope["type"] != "http":
        return None
    headers = connection.headers
    declared = headers.get("content-length", "0")
    if not declared.isascii() or not declared.isdigit():
        return Refusal(status=400, kind="bad_request", sentence="The length of the body is no number.")
    if int(declared) > rule.largest:
        return _too_large(rule)
    if (int(declared) or "transfer-encoding" in headers) and not rule.takes(headers.get("content-type", "")):
        allowed = " or ".join(sorted(f"{each}*" if each.endswith("/") else each for each in rule.types if each))
        return Refusal(status=415, kind="invalid_value", sentence=f"The body has to come as {allowed}.")
    return None


def _too_large(rule: Rule) -> Refusal:
    return Refusal(status=413, kind="too_large", sentence=f"A body may have {rule.largest:,} bytes at most here.")


def _is_preflight(scope: Scope, headers: Headers) -> bool:
    asks = "access-control-request-method" in headers
    return scope["type"] == "http" and scope["method"] == "OPTIONS" and asks


async def _preflight(send: Send) -> None:
    """Answer a browser that asks whether a page of another origin, which may, may send what it wants to send."""
    headers = {
        "access-control-allow-methods": "GET, POST, PUT, PATCH, DELETE",
        "access-control-allow-headers": "authorization, content-type, idempotency-key, last-event-id",
        "access-control-max-age": str(PREFLIGHT_SECONDS),
    }
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": 204, "headers": raw})
    await send({"type": "http.response.body", "body": b""})


def _with_headers(send: Send, origin: str) -> Send:
    """`send` with our headers; with an `origin` its pages may read the answer. What a library says of that is taken
    off, unless it is ours."""

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            if not origin:
                for name in [name for name in headers if name.startswith("access-control-")]:
                    del headers[name]
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
            if origin:
                headers["access-control-allow-origin"] = origin
                headers["access-control-allow-credentials"] = "true"
                headers["cross-origin-resource-policy"] = "cross-origin"
                headers.add_vary_header("Origin")
        await send(message)

    return send_with_headers


def _while_logged_in(send: Send, holds: Callable[[], bool]) -> Send:
    """`send` of a WebSocket that ends when a login does: what is open would otherwise go on after it."""
    ended = False

    async def send_while_logged_in(message: Message) -> None:
        nonlocal ended
        if ended:
            return
        if message["type"] == "websocket.send" and not holds():
            ended, message = True, {"type": "websocket.close", "code": UNAUTHORIZED_SOCKET, "reason": "Logged out."}
        await send(message)

    return send_while_logged_in


def _with_name(send: Send, owner: str) -> Send:
    """`send` with the cookie that names a browser: its own, so that it is renewed, or 128 random bits. Only the page
    gives one, or two files loaded at once would name a browser twice."""
    assert OWNER_PATTERN.fullmatch(owner)
    cookie = f"{OWNER_COOKIE}={owner}; Path=/; Max-Age={YEAR}; HttpOnly; SameSite=Strict"

    async def send_with_name(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).append("set-cookie", cookie)
        await send(message)

    return send_with_name
