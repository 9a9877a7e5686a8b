"""The page as it is served: made anew when the extensions have changed, while windows that are open keep theirs.

A switch does not wait for that: the page is made when it is next asked for, once for however many changes. An event of
a window goes to the page that the window was made of: it names that one's place, ``/atelier/page/STAMP``.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import gradio as gr
from anyio import to_thread
from fastapi import FastAPI
from starlette.routing import BaseRoute, Mount
from starlette.types import Receive, Scope, Send

from backend.app import App
from backend.extensions.offered import stamp_of
from ui.page_routes import API, declare_page_routes
from ui.static_files import FOLDER, head
from ui.theme import theme

log = logging.getLogger(__name__)

PLACE = "/atelier/page"
OPENED = frozenset({"", "/", "/config", "/config/"})  # what a window begins with
KEPT = 4  # pages of before: who did not load anew for so many changes has to
OPTIONS: dict[str, Any] = {
    "favicon_path": str(FOLDER / "favicon.svg"),
    "footer_links": [],
    "run_history": False,
    "show_error": False,
    "max_file_size": 0,
    "pwa": False,
    "ssr_mode": False,
    "mcp_server": False,
    "enable_monitoring": False,
}


@dataclass
class Renewals:
    """What lets pages that are opened from now on begin with what is set now: of every page that is served."""

    acts: list[Callable[[], None]] = field(default_factory=list)

    def __call__(self) -> None:
        for act in tuple(self.acts):
            act()


class Pages:
    """All pages that windows may still have open; itself, it serves the newest one, at ``/``."""

    def __init__(self, server: FastAPI, app: App, build: Callable[[Renewals], gr.Blocks], *, subpath: str = ""):
        """Whatever keeps `build` from making the first page is raised."""
        self._server = server
        self._app = app
        self._build = build
        self._subpath = subpath
        self._lock = threading.Lock()
        self._stale = threading.Event()
        self._renewals = Renewals()
        self._mount = Mount("/", app=self)
        self._kept: dict[str, tuple[Mount, list[Callable[[], None]]]] = {}
        self._newest = self._put(self._server)

    @property
    def routes(self) -> Sequence[BaseRoute]:
        """Those of the newest page, for the guard."""
        return self._newest.routes

    def outdate(self) -> None:
        """The extensions have changed: the next window gets another page."""
        self._stale.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if path in OPENED and self._stale.is_set():
            await to_thread.run_sync(self._renew)
        await self._newest.app(scope, receive, send)

    def _renew(self) -> None:
        """Make the page of what is there now. One that cannot be made leaves the one before in its place."""
        with self._lock:
            if not self._stale.is_set():  # made while this window waited
                return
            self._stale.clear()
            before = len(self._renewals.acts)
            try:
                self._newest = self._put(FastAPI())
            except Exception:
                del self._renewals.acts[before:]
                log.exception("the page could not be made anew")

    def _put(self, server: FastAPI) -> Mount:
        """Make a page and serve it at its place. Of `server` it knows how that begins and ends."""
        stamp = stamp_of(self._app.extensions.active())
        before = len(self._renewals.acts)
        page = self._build(self._renewals)
        made = self._renewals.acts[before:]
        place = f"{PLACE}/{stamp}"
        _send_to(page, place)
        served = self._mounted(server, page, stamp)
        again = Mount(place, app=served.app)
        gone = [self._kept.pop(stamp, None)]
        self._kept[stamp] = again, made
        while len(self._kept) > KEPT:
            gone.append(self._kept.pop(next(iter(self._kept))))
        for each in gone:
            for act in each[1] if each else ():
                self._renewals.acts.remove(act)
        old = {id(mount) for mount in (self._mount, served, *(each[0] for each in gone if each))}
        others = [route for route in self._server.router.routes if id(route) not in old]
        # A new list: the old one may be being read. What is at / takes every address, and stands last.
        self._server.router.routes = [*others, again, self._mount]
        return served

    def _mounted(self, server: FastAPI, page: gr.Blocks, stamp: str) -> Mount:
        """The page as Gradio serves it."""
        gr.mount_gradio_app(
            server, page, path="/", root_path=self._subpath or None, theme=theme(), head=head(stamp), **OPTIONS
        )
        mount = server.router.routes[-1]
        assert isinstance(mount, Mount)
        declare_page_routes(mount.routes)
        return mount


def _send_to(page: gr.Blocks, place: str) -> None:
    """Let the windows of a page send their events to its own place."""
    plain = page.get_config_file
    setattr(page, "get_config_file", lambda: {**plain(), "api_prefix": f"{place}{API}"})  # noqa: B010
