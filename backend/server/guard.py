"""In front of everything: who may speak to this server, and who is speaking.

A browser lets any website send requests to a server on the same machine, and lets a name on the internet resolve to
127.0.0.1. So a request must name a host that is ours, and one that comes from a page must come from a page of ours.
"""

import re
import secrets
from collections.abc import Iterable

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.errors import UserError
from backend.server.owner import OWNER_COOKIE, owner_of

LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "[::1]"})
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
YEAR = 365 * 24 * 3600  # seconds
FORBIDDEN_SOCKET = 4403  # our close code: as 403, in the range that is free to use

CONTENT_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; "
    "frame-ancestors 'none'; base-uri 'self'; form-action 'self'"
)
HEADERS = {
    "content-security-policy": CONTENT_POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}


class Guard:
    """ASGI middleware: checks Host, Origin and Sec-Fetch-Site of HTTP and WebSocket, gives each browser the cookie that
    names the owner of its jobs, and adds the headers that tell browsers to be as strict."""

    def __init__(self, app: ASGIApp, hosts: Iterable[str] = LOOPBACK_NAMES):
        """`hosts` are the names, without port, under which this server may be spoken to."""
        self._app = app
        self._hosts = frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        fault = self._fault(scope, headers)
        if fault:
            await _refuse(scope, receive, send, *fault)
        elif scope["type"] == "websocket":
            await self._app(scope, receive, send)
        else:
            await self._app(scope, receive, _with_headers(send, _owner(scope)))

    def _fault(self, scope: Scope, headers: Headers) -> tuple[int, str] | None:
        """Status and sentence of what is wrong with a request, if something is."""
        host = headers.get("host", "")
        name = re.sub(r":\d+$", "", host).lower()
        if name not in self._hosts:
            return 400, f"This Atelier does not answer to the name {name!r}."
        scheme = {"ws": "http", "wss": "https"}.get(scope["scheme"], scope["scheme"])
        origin = headers.get("origin")
        changes = scope["type"] == "websocket" or scope["method"] not in SAFE_METHODS
        if changes and origin is not None and origin.lower() != f"{scheme}://{host.lower()}":
            return 403, "Another website may not use this Atelier."
        # Following a link here is fine; a page elsewhere that loads our files or sends us forms is not.
        navigates = headers.get("sec-fetch-mode") == "navigate" and not changes
        if headers.get("sec-fetch-site") in ("cross-site", "same-site") and not navigates:
            return 403, "Another website may not use this Atelier."
        return None


def _owner(scope: Scope) -> str | None:
    """The name of the browser that opens the page: its own, so that the cookie is renewed, or 128 random bits for one
    that has none yet. Only the page gives one, or two files loaded at once would name a browser twice."""
    if scope["path"] != "/":
        return None
    try:
        return owner_of(HTTPConnection(scope))
    except UserError:
        return secrets.token_hex(16)


def _with_headers(send: Send, owner: str | None) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
            if owner:
                headers.append(
                    "set-cookie", f"{OWNER_COOKIE}={owner}; Path=/; Max-Age={YEAR}; HttpOnly; SameSite=Strict"
                )
        await send(message)

    return send_with_headers


async def _refuse(scope: Scope, receive: Receive, send: Send, status: int, sentence: str) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": FORBIDDEN_SOCKET, "reason": sentence})
    else:
        await PlainTextResponse(sentence + "\n", status, headers=HEADERS)(scope, receive, send)
