"""Routes of extensions, their scripts, and what the page asks of them: over HTTP, behind the guard."""

import time
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from backend.app import App, Options
from backend.server import extension_routes, extensions, live
from backend.server.accounts import Accounts, parse_entries, users_of
from backend.server.doorkeeper import LOGIN_COOKIE, Doorkeeper
from backend.server.guard import Guard
from backend.server.owner import OWNER_COOKIE
from tests.scripted import ScriptedWorker

ME = "a" * 32
HOST = "http://127.0.0.1:7860"


def write(options: Options, id: str, code: str, **manifest: str) -> Path:
    """An extension in the data folder."""
    folder = options.data_dir / "extensions" / id
    folder.mkdir(parents=True)
    said = {"id": id, "name": id.capitalize(), "version": "1.0", "api": ">=1.0,<2", **manifest}
    (folder / "extension.toml").write_text("".join(f'{name} = "{value}"\n' for name, value in said.items()))
    (folder / "__init__.py").write_text(dedent(code))
    return folder


NOTHING = """
    from backend.extension_api import hook

    @hook
    def register() -> None: ...
"""
ROUTES = """
    import asyncio, time
    from backend.extension_api import APIRouter, ExtensionApi, UserError, hook

    @hook
    def register(api: ExtensionApi) -> None:
        open_ones, closed = APIRouter(), APIRouter(prefix="/own")

        @open_ones.get("/summary")
        def summary() -> dict[str, int]:
            return {"count": 3}

        @open_ones.get("/no")
        def no() -> None:
            raise UserError("There is nothing to count.")

        @open_ones.get("/raises")
        async def raises() -> None:
            raise ValueError("seven")

        @open_ones.get("/sleeps")
        def sleeps() -> None:
            time.sleep(1000)

        @open_ones.get("/blocks")
        async def blocks() -> None:
            time.sleep(1000)

        @open_ones.get("/stream")
        async def stream():
            from fastapi.responses import StreamingResponse
            async def parts():
                for part in "abc":
                    await asyncio.sleep(0.01)
                    yield part
            return StreamingResponse(parts(), media_type="text/plain")

        @open_ones.websocket("/talk")
        async def talk(socket):
            await socket.accept()
            await socket.send_text((await socket.receive_text()).upper())
            await socket.close()

        @closed.post("/forget")
        def forget(words: dict[str, str]) -> dict[str, str]:
            return words

        talk.__annotations__["socket"] = __import__("fastapi").WebSocket
        api.routes(open_ones)
        api.routes(closed, risk="manage")
"""


@pytest.fixture
def app(options: Options) -> Iterator[App]:
    """Not started: what is queued stays queued."""
    app = App(options, worker=ScriptedWorker)
    yield app
    app.close()


def served(app: App, **door: Any) -> tuple[FastAPI, TestClient]:
    web = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    web.include_router(live.router(app))
    web.include_router(extensions.router(app))
    extension_routes.attach(web, app)
    guard = Guard(web, **door)
    client = TestClient(guard, base_url=HOST, cookies={OWNER_COOKIE: ME}, client=("127.0.0.1", 50000))
    return web, client


def added(app: App, id: str, code: str, **manifest: str) -> None:
    write(app.options, id, code, **manifest)
    app.extensions.rescan()
    extension = app.extensions.switch(id, True)
    assert extension.state == "on", extension.problem


def test_routes_come_and_go_with_their_extension(app: App) -> None:
    _, client = served(app)
    assert client.get("/ext/ledger/summary").status_code == 404
    added(app, "counter", ROUTES)
    assert client.get("/ext/counter/summary").json() == {"count": 3}
    assert client.get("/ext/counter/stream").text == "abc"
    assert client.post("/ext/counter/own/forget", json={"a": "b"}).json() == {"a": "b"}
    assert client.post("/ext/counter/own/forget", json=[1]).status_code == 422
    with client.websocket_connect("ws://127.0.0.1:7860/ext/counter/talk") as socket:
        socket.send_text("hello")
        assert socket.receive_text() == "HELLO"
    app.extensions.switch("counter", False)
    assert client.get("/ext/counter/summary").status_code == 404


def test_what_fails_is_a_sentence_with_the_name_and_others_answer(app: App) -> None:
    app.settings.update({"extension_seconds": 1})
    added(app, "counter", ROUTES)
    _, client = served(app)
    answer = client.get("/ext/counter/no")
    assert (answer.status_code, answer.json()) == (400, {"problem": "Counter: There is nothing to count."})
    answer = client.get("/ext/counter/raises")
    assert answer.status_code == 500
    assert answer.json()["problem"].startswith("Counter failed in GET /ext/counter/raises: ValueError: seven.")
    for path in ("sleeps", "blocks"):
        began = time.monotonic()
        answer = client.get(f"/ext/counter/{path}")
        assert answer.status_code == 504
        assert answer.json()["problem"].startswith(f"Counter did not return from GET /ext/counter/{path}")
        assert time.monotonic() - began >= 1
        assert client.get("/ext/counter/summary").json() == {"count": 3}
        assert client.get("/atelier/extensions").status_code == 200
    (card,) = [each for each in client.get("/atelier/extensions").json()["extensions"] if each["id"] == "counter"]
    assert len(card["failures"]) == 3


def test_who_may_is_said_where_they_are_registered(app: App) -> None:
    added(app, "counter", ROUTES)
    logins = "administrator boss:a,artist maker:b,viewer guest:c"
    doorkeeper = Doorkeeper(Accounts(users_of(parse_entries(logins, first="administrator", others="artist"))))
    _, client = served(app, doorkeeper=doorkeeper)
    assert client.get("/ext/counter/summary").status_code == 401
    statuses = {}
    for name in ("boss", "maker", "guest"):
        client.cookies.set(LOGIN_COOKIE, doorkeeper.sessions.begin(name))
        look, change = client.get("/ext/counter/summary"), client.post("/ext/counter/own/forget", json={})
        statuses[name] = (look.status_code, change.status_code)
        client.cookies.clear()
    assert statuses == {"boss": (200, 200), "maker": (200, 403), "guest": (200, 403)}


def test_the_guard_knows_every_route_of_an_extension(app: App) -> None:
    web, _ = served(app)
    guard = Guard(web)
    before = {row.path for row in guard.table.rows}
    added(app, "counter", ROUTES)
    rows = {row.path: row for row in guard.table.rows if row.path not in before}
    assert {path: row.rule.risk for path, row in rows.items() if row.rule} == {
        **{
            f"/ext/counter/{name}": "read" for name in ("summary", "no", "raises", "sleeps", "blocks", "stream", "talk")
        },
        "/ext/counter/own/forget": "manage",
    }
    evil = {"host": "evil.example"}
    client = TestClient(guard, base_url=HOST)
    assert client.get("/ext/counter/summary", headers=evil).status_code == 400
    assert client.post("/ext/counter/own/forget", json={}, headers={"origin": "http://evil.example"}).status_code == 403


def test_between_two_looks_of_the_guard_the_routes_ask_for_themselves(app: App) -> None:
    added(app, "counter", ROUTES)
    logins = "administrator boss:a,viewer guest:c"
    doorkeeper = Doorkeeper(Accounts(users_of(parse_entries(logins, first="administrator", others="viewer"))))
    web, _ = served(app)
    guard = Guard(web, doorkeeper=doorkeeper)
    cookies = {LOGIN_COOKIE: doorkeeper.sessions.begin("guest")}
    client = TestClient(guard, base_url=HOST, cookies=cookies)
    table, guard._read = guard.table, tuple(web.routes)
    table.rows = tuple(row for row in table.rows if not row.path.startswith("/ext/"))
    answer = client.post("/ext/counter/own/forget", json={})
    assert (answer.status_code, "not for a person who is viewer" in answer.json()["problem"]) == (403, True)


def test_scripts_are_served_and_nothing_beside_them(app: App) -> None:
    folder = write(app.options, "inky", NOTHING, js="js/ink.js")
    (folder / "js").mkdir()
    (folder / "js" / "ink.js").write_text("export function init() {}\n")
    (folder / "js" / "words.csv").write_text("a,1\n")
    (folder / "js" / "secret.py").write_text("x = 1\n")
    app.extensions.rescan()
    app.extensions.switch("inky", True)
    _, client = served(app)
    (module,) = [each for each in client.get("/atelier/extensions/slots").json()["modules"] if each["id"] == "inky"]
    answer = client.get("/" + module["src"])
    assert answer.text.startswith("export function init")
    assert "javascript" in answer.headers["content-type"]
    assert answer.headers["cache-control"] == "no-cache"
    assert client.get("/ext/inky/js/words.csv").status_code == 200
    for other in ("secret.py", "../extension.toml", "..%2Fextension.toml", "../__init__.py", ""):
        assert client.get(f"/ext/inky/js/{other}").status_code == 404, other
