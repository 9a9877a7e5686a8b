"""Routes of extensions, their scripts, and what the page asks of them: over HTTP, behind the guard."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from backend.app import App, Options
from backend.server import extension_routes, extensions, live
from backend.server.accounts import Accounts, parse_entries, users_of
from backend.server.doorkeeper import LOGIN_COOKIE, Doorkeeper
from backend.server.guard import Guard
from backend.server.owner import OWNER_COOKIE
from backend.server.people import owner_named
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


PATHLESS = """
    from backend.extension_api import APIRouter, ExtensionApi, hook

    @hook
    def register(api: ExtensionApi) -> None:
        routes = APIRouter()

        @routes.get("")
        def all() -> None:
            pass

        api.routes(routes)
"""
WAITING = """
    import asyncio
    from fastapi import WebSocket
    from backend.extension_api import APIRouter, ExtensionApi, hook

    @hook
    def register(api: ExtensionApi) -> None:
        routes = APIRouter()

        @routes.get("/waits")
        async def waits() -> None:
            api.log.info("it waits")
            await asyncio.sleep(1000)

        @routes.websocket("/listens")
        async def listens(socket: WebSocket) -> None:
            await socket.accept()
            await asyncio.sleep(1000)

        api.routes(routes)
"""


def test_what_is_under_way_ends_when_its_extension_is_switched_off(app: App) -> None:
    app.settings.update({"extension_seconds": 0})  # nobody would give it up
    added(app, "patient", WAITING)
    _, client = served(app)
    extension = app.extensions.find("patient")
    with ThreadPoolExecutor() as pool, client.websocket_connect("ws://127.0.0.1:7860/ext/patient/listens") as socket:
        asked = pool.submit(client.get, "/ext/patient/waits")
        while not any("it waits" in line for line in extension.log.lines()):
            time.sleep(0.01)
        app.extensions.switch("patient", False)
        answer = asked.result()
        assert (answer.status_code, answer.json()) == (404, {"problem": "Patient is off."})
        with pytest.raises(WebSocketDisconnect):
            socket.receive_text()
    assert list(extension.failures) == []  # it is not its fault


def test_routes_that_cannot_be_put_in_place_are_a_sentence_and_others_answer(app: App) -> None:
    added(app, "counter", ROUTES)
    _, client = served(app)
    added(app, "pathless", PATHLESS)
    assert "its routes" in [failure.where for failure in app.extensions.find("pathless").failures]
    assert client.get("/ext/pathless").status_code == 404
    assert client.get("/ext/counter/summary").json() == {"count": 3}
    _, again = served(app)  # as at the next start
    assert again.get("/ext/counter/summary").json() == {"count": 3}
    app.extensions.switch("counter", False)
    assert client.get("/ext/counter/summary").status_code == 404


def test_whoever_watches_over_the_process_is_told_of_requests(app: App) -> None:
    """One that keeps the interpreter's lock can only be ended from outside, and is to be named there."""
    told: list[tuple[int, str]] = []
    app.extensions.calls.watch = lambda number, call: told.append((number, call.where if call else ""))
    added(app, "counter", ROUTES)
    _, client = served(app)
    told.clear()
    assert client.get("/ext/counter/summary").status_code == 200
    assert client.get("/ext/counter/raises").status_code == 500
    (one, first), (one_again, nothing), (two, second), (two_again, nothing_again) = told
    assert (first, second) == ("GET /ext/counter/summary", "GET /ext/counter/raises")
    assert one == one_again < 0
    assert two == two_again < 0
    assert one != two
    assert nothing == nothing_again == ""


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


ASKING = """
    import threading
    from dataclasses import asdict
    from typing import Annotated

    from fastapi import WebSocket
    from fastapi.responses import StreamingResponse

    from backend.extension_api import APIRouter, Depends, ExtensionApi, Person, asked_by, hook

    Asking = Annotated[Person, Depends(asked_by)]

    @hook
    def register(api: ExtensionApi) -> None:
        routes = APIRouter()

        @routes.get("/plain")
        def plain(person: Asking) -> dict:
            assert person == asked_by()
            return asdict(person)

        @routes.get("/later")
        async def later(person: Person = Depends(asked_by)) -> dict:
            assert person == asked_by()
            return asdict(person)

        @routes.get("/stream")
        def stream() -> StreamingResponse:
            return StreamingResponse(asked_by().owner[:4] for _ in range(2))

        @routes.get("/thread")
        def thread() -> list[str]:
            said = []
            def work():
                try:
                    asked_by()
                except RuntimeError as error:
                    said.append(str(error))
            one = threading.Thread(target=work)
            one.start()
            one.join()
            return said

        @routes.websocket("/talk")
        async def talk(socket: WebSocket, person: Asking):
            await socket.accept()
            await socket.receive_text()
            await socket.send_json(asdict(person))
            await socket.close()

        api.routes(routes)

    def ask() -> Person:
        return asked_by()
"""


def test_a_handler_is_told_who_asks(app: App) -> None:
    added(app, "asker", ASKING)
    _, client = served(app)
    me = {"owner": ME, "name": "", "administrator": True}
    assert client.get("/ext/asker/plain").json() == client.get("/ext/asker/later").json() == me
    assert client.get("/ext/asker/stream").text == ME[:4] * 2
    with client.websocket_connect("ws://127.0.0.1:7860/ext/asker/talk") as socket:
        socket.send_text("who am I?")
        assert socket.receive_json() == me
    client.cookies.clear()
    assert client.get("/ext/asker/plain").json() == me | {"owner": ""}
    client.cookies.set(OWNER_COOKIE, "../" + ME)
    assert client.get("/ext/asker/plain").json() == me | {"owner": ""}


def test_people_who_ask_at_once_are_told_apart(app: App) -> None:
    """Handlers of an extension share a thread; two connections that are open together are two people."""
    added(app, "asker", ASKING)
    logins = "administrator boss:a,artist maker:b,viewer guest:c"
    doorkeeper = Doorkeeper(Accounts(users_of(parse_entries(logins, first="administrator", others="artist"))))
    _, client = served(app, doorkeeper=doorkeeper)
    clients = {}
    for name in ("boss", "maker", "guest"):
        clients[name] = TestClient(client.app, base_url=HOST, cookies={LOGIN_COOKIE: doorkeeper.sessions.begin(name)})
    with ExitStack() as open_ones:
        address = "ws://127.0.0.1:7860/ext/asker/talk"
        sockets = {name: open_ones.enter_context(each.websocket_connect(address)) for name, each in clients.items()}
        for name, each in clients.items():
            said = each.get("/ext/asker/plain").json()
            assert said == {"owner": owner_named(name), "name": name, "administrator": name == "boss"}
            sockets[name].send_text("who am I?")
            assert sockets[name].receive_json() == said


def test_where_nobody_asks_that_is_said(app: App) -> None:
    added(app, "asker", ASKING)
    _, client = served(app)
    (said,) = client.get("/ext/asker/thread").json()
    assert said.startswith("nobody asks here")
    module: Any = app.extensions.find("asker").module
    with pytest.raises(RuntimeError, match="nobody asks here"):
        module.ask()


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
