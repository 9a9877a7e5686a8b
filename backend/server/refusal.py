"""What the guard says to whom it does not let in."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from starlette.responses import HTMLResponse, Response
from starlette.types import Receive, Scope, Send

Kind = Literal[
    "bad_request", "forbidden", "invalid_value", "not_found", "too_large", "too_many_requests", "unauthorized"
]
# Close codes of a WebSocket, in the range that is free to use.
UNAUTHORIZED_SOCKET, FORBIDDEN_SOCKET = 4401, 4403


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A status, what kind of fault it is, and a sentence about it; `page` is shown to a browser that opens a page."""

    status: int
    kind: Kind
    sentence: str
    headers: Mapping[str, str] = field(default_factory=dict)
    page: str = ""

    def body(self, path: str) -> bytes:
        """As JSON; the page's own scripts look for a ``problem``."""
        more = {"problem": self.sentence} if path.startswith("/atelier/") else {}
        return json.dumps({"error": self.kind, "detail": self.sentence, **more}).encode()

    async def send(self, scope: Scope, receive: Receive, send: Send, path: str) -> None:
        """Answer instead of the app. A WebSocket is closed before it was accepted."""
        if scope["type"] == "websocket":
            await receive()
            code = UNAUTHORIZED_SOCKET if self.status == 401 else FORBIDDEN_SOCKET
            await send({"type": "websocket.close", "code": code, "reason": self.sentence})
            return
        headers = {"Cache-Control": "no-store", **self.headers}
        answer = (
            HTMLResponse(self.page, self.status, headers)
            if self.page
            else Response(self.body(path), self.status, headers, "application/json")
        )
        await answer(scope, receive, send)
