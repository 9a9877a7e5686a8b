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
from starlette.exceptions import HTTPException
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


@dataclass(frozen=True, kw_only=True)
class _Made:
    """A page as Gradio serves it at ``/``, and what renews what is at its own place."""

    mount: Mount
    acts: tuple[Callable[[], None], ...]


class Pages:
    """All pages that windows may still have open, each at its place; the newest is at ``/`` too.

    It stands twice among the server's routes, and these stay as they are whatever pages come and go: routes of
    extensions are put beside them at any moment.
    """

    def __init__(self, server: FastAPI, app: App, build: Callable[[Renewals], gr.Blocks], *, subpath: str = ""):
        """Whatever keeps `build` from making the first page is raised."""
        self._app = app
        self._build = build
        self._subpath = subpath
        self._lock = threading.Lock()
        self._stale = threading.Event()
        self._renewals = Renewals()
        self._kept: dict[str, _Made] = {}
        self._newest = self._made(server)
        # What is at / takes every address, and stands last.
        server.router.routes.extend((Mount(f"{PLACE}/{{stamp}}", app=self), Mount("/", app=self)))

    @property
    def routes(self) -> Sequence[BaseRoute]:
        """Those of a page, for the guard: each has the same."""
        return self._newest.mount.routes

    def outdate(self) -> None:
        """The extensions have changed: the next window gets another page."""
        self._stale.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        stamp = scope["path_params"].get("stamp")
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if stamp is None and path in OPENED and self._stale.is_set():
            await to_thread.run_sync(self._renew)
        page = self._newest if stamp is None else self._kept.get(stamp)
        if page is None:
            raise HTTPException(404)
        await page.mount.app(scope, receive, send)

    def _renew(self) -> None:
        """Make the page of what is there now. One that cannot be made leaves the one before in its place."""
        with self._lock:
            if not self._stale.is_set():  # made while this window waited
                return
            self._stale.clear()
            before = len(self._renewals.acts)
            try:
                self._newest = self._made(FastAPI())
            except Exception:
                del self._renewals.acts[before:]
                log.exception("the page could not be made anew")

    def _made(self, server: FastAPI) -> _Made:
        """Make a page and keep it. Of `server` it knows how that begins and ends."""
        stamp = stamp_of(self._app.extensions.active())
        before = len(self._renewals.acts)
        page = self._build(self._renewals)
        _send_to(page, f"{PLACE}/{stamp}")
        made = _Made(mount=self._mounted(server, page, stamp), acts=tuple(self._renewals.acts[before:]))
        gone = [self._kept.pop(stamp, None)]
        self._kept[stamp] = made
        while len(self._kept) > KEPT:
            gone.append(self._kept.pop(next(iter(self._kept))))
        for each in gone:
            for act in each.acts if each else ():
                self._renewals.acts.remove(act)
        return made

    def _mounted(self, server: FastAPI, page: gr.Blocks, stamp: str) -> Mount:
        """The page as Gradio serves it, taken out of the server's routes again."""
        gr.mount_gradio_app(
            server, page, path="/", root_path=self._subpath or None, theme=theme(), head=head(stamp), **OPTIONS
        )
        mount = server.router.routes.pop()
        assert isinstance(mount, Mount)
        declare_page_routes(mount.routes)
        return mount


def _send_to(page: gr.Blocks, place: str) -> None:
    """Let the windows of a page send their events to its own place."""
    plain = page.get_config_file
    setattr(page, "get_config_file", lambda: {**plain(), "api_prefix": f"{place}{API}"})  # noqa: B010
