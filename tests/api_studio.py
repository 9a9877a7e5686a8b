"""``/api/v2`` on folders of a test's own, with whoever a test says that asks."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from backend.app import App, Options
from backend.jobs import Worker
from backend.server import jobs_api
from backend.server.people import EVERYTHING, Person, owner_named
from tests.scripted import ScriptedWorker

WAIT = 60.0  # seconds after which a test has hung
SMALL = {"prompt": "a red circle", "width": 64, "height": 64, "steps": 2, "seed": 1}


class Doorman:
    """In the guard's place: a token is a name, and says who asks."""

    def __init__(self, app: ASGIApp):
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            name = Headers(scope=scope).get("authorization", "Bearer me").removeprefix("Bearer ")
            person = Person(name=name, role="artist", owner=owner_named(name), how="token", scopes=EVERYTHING)
            scope.setdefault("state", {})["person"] = person
        await self._app(scope, receive, send)


@dataclass
class Studio:
    """An app, its web interface, and a client for each person."""

    app: App
    web: Doorman
    clients: dict[str, TestClient] = field(default_factory=dict)

    def client(self, name: str = "me") -> TestClient:
        if name not in self.clients:
            headers = {"Authorization": f"Bearer {name}"}
            self.clients[name] = TestClient(self.web, base_url="http://127.0.0.1/api/v2", headers=headers)
        return self.clients[name]

    def submit(self, name: str = "me", **values: Any) -> str:
        """The id of a new job."""
        answer = self.client(name).post("/generations", json=SMALL | values)
        assert answer.status_code == 202, answer.text
        return answer.json()["id"]

    def ended(self, id: str, name: str = "me") -> dict[str, Any]:
        """A job once it has ended."""
        for _ in self.app.queue.find(id, owner_named(name)).follow():
            pass
        return self.client(name).get(f"/jobs/{id}").json()


@contextmanager
def studio(folder: Path, worker: Callable[[App], Worker] = ScriptedWorker) -> Iterator[Studio]:
    """An app that keeps everything in `folder`."""
    app = App(Options(data_dir=folder), worker=worker)
    web = FastAPI(openapi_url=None)
    web.include_router(jobs_api.router(app))
    app.start()
    try:
        yield Studio(app=app, web=Doorman(web))
    finally:
        app.close()


@contextmanager
def served(web: ASGIApp) -> Iterator[str]:
    """A real server for `web` on a free port of this machine, and its address."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(web, log_level="warning", timeout_graceful_shutdown=2))
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(WAIT)
        listener.close()
