"""The page as it is served: made anew when the extensions change, while windows that are open keep theirs.

An event of a window goes to the page that the window was made of: it names that one's place, ``/atelier/page/STAMP``.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import gradio as gr
from fastapi import FastAPI
from starlette.routing import Mount

from backend.app import App
from backend.extensions.offered import stamp_of
from ui.page_routes import API, declare_page_routes
from ui.static_files import FOLDER, head
from ui.theme import theme

log = logging.getLogger(__name__)

PLACE = "/atelier/page"
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
    """All pages that windows may still have open, of which the newest is at ``/``."""

    def __init__(self, server: FastAPI, app: App, build: Callable[[Renewals], gr.Blocks], *, subpath: str = ""):
        self._server = server
        self._app = app
        self._build = build
        self._subpath = subpath
        self._lock = threading.Lock()
        self._renewals = Renewals()
        self._first: Mount | None = None  # at ``/``
        self._kept: dict[str, tuple[Mount, list[Callable[[], None]]]] = {}

    def renew(self) -> None:
        """Make the page of what is there now, and let the next window have it. One that cannot be made leaves the one
        before in its place."""
        with self._lock:
            try:
                self._put(stamp_of(self._app.extensions.active()))
            except Exception:
                if self._first is None:
                    raise
                log.exception("the page could not be made anew")

    def _put(self, stamp: str) -> None:
        before = len(self._renewals.acts)
        page = self._build(self._renewals)
        made = self._renewals.acts[before:]
        place = f"{PLACE}/{stamp}"
        _send_to(page, place)
        served = self._mounted(page, stamp)
        again = Mount(place, app=served.app)
        gone = [self._kept.pop(stamp, None)]
        self._kept[stamp] = again, made
        while len(self._kept) > KEPT:
            gone.append(self._kept.pop(next(iter(self._kept))))
        old = {id(mount) for mount in (self._first, *(each[0] for each in gone if each))}
        for each in gone:
            for act in each[1] if each else ():
                self._renewals.acts.remove(act)
        self._first = served
        others = [route for route in self._server.router.routes if id(route) not in {*old, id(served)}]
        # A new list: the old one may be being read. What is at / takes every address, and stands last.
        self._server.router.routes = [*others, again, served]

    def _mounted(self, page: gr.Blocks, stamp: str) -> Mount:
        """The page as Gradio serves it. The first one tells the server how it begins and ends; those that follow need
        neither."""
        server = self._server if self._first is None else FastAPI()
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
