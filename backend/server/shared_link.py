"""The public link that leads to this page while it lives, and the routes that tell of it and end it.

Who opens it, and by which tunnel, is not known here (see ``ui/share.py``): the tunnel hands over an address and a way
to close it.
"""

import threading
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from backend.server.owner import person_of
from backend.server.people import may
from backend.server.risks import risk

LIFETIME = 8 * 3600.0  # seconds


class SharedLink:
    """A link that lives from `open` until `stop`, or until its time is over. What comes through it arrives at `port`,
    where nothing else does. Safe to use from any thread."""

    def __init__(self, port: int, *, lifetime: float = LIFETIME, now: Callable[[], float] = time.monotonic):
        self.port = port
        self._lifetime = lifetime
        self._now = now
        self._lock = threading.Lock()
        self._url = ""
        self._ends = 0.0
        self._close: Callable[[], None] | None = None
        self._timer: threading.Timer | None = None

    @property
    def url(self) -> str:
        """The link while it lives, else nothing. Its time is looked at here too: a machine that slept is late."""
        return self._url if self._now() < self._ends else ""

    @property
    def alive(self) -> bool:
        """Whether anybody can come in by it."""
        return bool(self.url)

    @property
    def host(self) -> str:
        """The link's name, as requests give it."""
        return (urlsplit(self.url).hostname or "").lower()

    @property
    def scheme(self) -> str:
        """What the browser at the other end speaks, whatever the tunnel speaks with us."""
        return urlsplit(self.url).scheme or "https"

    @property
    def left(self) -> float:
        """Seconds until it ends."""
        return max(0.0, self._ends - self._now())

    def open(self, url: str, close: Callable[[], None]) -> None:
        """It leads to us from now on; `close` is called once when it ends."""
        with self._lock:
            self._url, self._ends, self._close = url, self._now() + self._lifetime, close
            self._timer = threading.Timer(self._lifetime, self.stop)
            self._timer.daemon = True
            self._timer.start()

    def stop(self) -> None:
        """End it; the second time nothing happens."""
        with self._lock:
            close, self._close = self._close, None
            timer, self._timer = self._timer, None
            self._url, self._ends = "", 0.0
        if timer is not None:
            timer.cancel()
        if close is not None:
            close()


def router(link: SharedLink | None) -> APIRouter:
    """The routes ``/atelier/share`` and ``/atelier/share/stop``."""
    routes = APIRouter(prefix="/atelier/share")

    @routes.get("")
    @risk("read")
    def shared(request: Request) -> Response:
        return _told(request, link)

    @routes.post("/stop")
    @risk("manage")
    def stop(request: Request) -> Response:
        if link is not None:
            link.stop()
        return _told(request, link)

    return routes


def _told(request: Request, link: SharedLink | None) -> Response:
    said = {
        "url": link.url if link else "",
        "left": round(link.left) if link else 0,
        "may_stop": may(person_of(request), "manage"),
    }
    return JSONResponse(said, headers={"Cache-Control": "no-store"})
