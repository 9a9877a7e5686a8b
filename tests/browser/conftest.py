"""A real browser, and a witness that hears every error and every request of its pages."""

import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

from backend.app import App, Options
from backend.paths import ROOT
from backend.server import extension_routes, extensions, grids, inputs, live, models, pictures, prompts, recipes
from backend.server.doorkeeper import Doorkeeper
from backend.server.guard import Guard
from tests.scripted import ScriptedWorker
from ui.app import mount

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)
PATIENCE = 30_000  # milliseconds a page may take for what must happen


class Witness:
    """Opens pages and remembers what they complained of and whom they asked."""

    def __init__(self, browser: Browser):
        self._browser = browser
        self.complaints: list[str] = []
        self.strangers: list[str] = []

    def context(self, width: int = 1440, height: int = 900, *, dark: bool = False, touch: bool = False) -> Any:
        """A browser profile of its own: another person."""
        return self._browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            has_touch=touch,
            is_mobile=touch,
        )

    def open(self, url: str, context: Any = None, **look: Any) -> Page:
        """A new window, ready to be used."""
        page: Page = (context or self.context(**look)).new_page()
        page.set_default_timeout(PATIENCE)
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", self._see)
        page.goto(url)
        self.ready(page)
        return page

    @staticmethod
    def ready(page: Page) -> None:
        """Wait until the page is laid out and hears from Atelier."""
        page.locator(".live[data-connected]").wait_for(state="attached")
        page.locator("#txt2img_generate").wait_for()

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.type}: {message.text}")

    def _see(self, request: Request) -> None:
        if not request.url.startswith(("http://127.0.0.1:", "data:", "blob:")):
            self.strangers.append(request.url)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = next((found for name in NAMES if (found := shutil.which(name))), None)
    with sync_playwright() as playwright:
        # Without one on the path, Playwright's own is used, or the reason why not is its message.
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS.split(" "))
        yield browser
        browser.close()


@pytest.fixture
def witness(browser: Browser) -> Iterator[Witness]:
    """No page of any test may complain or ask anybody else."""
    witness = Witness(browser)
    yield witness
    for context in browser.contexts:
        context.close()
    assert witness.complaints == []
    assert witness.strangers == []


@contextmanager
def program(*flags: str) -> Iterator[str]:
    """`webui.py` in a process of its own, on the CPU; where it says that it is."""
    command = [sys.executable, "webui.py", "--port", "0", "--device", "cpu", *flags]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            said = next((line for line in process.stdout if "http://" in line), "")
            found = re.search(r"http://127\.0\.0\.1:\d+", said)
            assert found, "webui.py ended without saying where it is"
            yield found[0] + "/"
        finally:
            process.terminate()


class Studio:
    """Atelier on a port of its own, whose worker goes on by one step whenever the test says so."""

    def __init__(self, options: Options, doorkeeper: Doorkeeper | None = None):
        self.gate = threading.Semaphore(0)
        self.app = App(options, worker=lambda app: ScriptedWorker(app, gate=self.gate))
        web = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
        web.include_router(live.router(self.app))
        web.include_router(pictures.router(self.app))
        web.include_router(models.router(self.app))
        web.include_router(inputs.router(self.app))
        web.include_router(prompts.router(self.app))
        web.include_router(recipes.router(self.app))
        web.include_router(grids.router(self.app))
        web.include_router(extensions.router(self.app))
        extension_routes.attach(web, self.app)
        guard = Guard(mount(web, self.app), doorkeeper=doorkeeper)
        self._server = uvicorn.Server(uvicorn.Config(guard, port=0, log_level="warning", ws="websockets-sansio"))
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self.app.start()
        self._thread.start()
        while not self._server.started:
            self._thread.join(0.01)

    @property
    def url(self) -> str:
        port = self._server.servers[0].sockets[0].getsockname()[1]
        return f"http://127.0.0.1:{port}/"

    def switch_on(self, *extensions: str) -> None:
        """Those that were found when it was opened, by their ids."""
        for id in extensions:
            self.app.extensions.switch(id, True)

    def steps(self, count: int) -> None:
        for _ in range(count):
            self.gate.release()

    def close(self) -> None:
        self.steps(10_000)
        self._server.should_exit = True
        self._thread.join(10)
        self.app.close()


@pytest.fixture
def studio(options: Options) -> Iterator[Studio]:
    studio = Studio(options)
    yield studio
    studio.close()
