"""Every route of the whole program against everybody who must not reach it: made from the table of routes.

Behind the guard stands a witness in place of the app, so that what is counted is what came through.
"""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import flags
from backend.app import App, Options
from backend.server.accounts import Accounts, parse_entries, users_of
from backend.server.doorkeeper import LOGIN_COOKIE, Doorkeeper
from backend.server.guard import HEADERS, METHODS, Guard
from backend.server.origins import Policy
from backend.server.people import RISKS
from backend.server.risks import Row, Rule
from backend.server.shared_link import SharedLink
from tests.loops import run_apart
from webui import Door, guarded

HOST = "127.0.0.1:7860"
LINK = "abc.gradio.live"
LINK_PORT = 7999
ROLES = {"administrator": set(RISKS), "artist": {"read", "make"}, "viewer": {"read"}}
# What another website can make a browser send without asking first, and what it can ask.
STRANGERS: dict[str, dict[str, str]] = {
    "evil host": {"host": "evil.example"},
    "evil host with our port": {"host": "evil.example:7860"},
    "a name of the own network": {"host": "studio.lan"},
    "an address of the own network": {"host": "192.168.1.5:7860"},
    "a host like ours": {"host": "127.0.0.1.evil.example"},
    "the name of a link that is not there": {"host": LINK},
    "evil origin": {"host": HOST, "origin": "http://evil.example"},
    "origin null": {"host": HOST, "origin": "null"},
    "another port of ours": {"host": HOST, "origin": "http://127.0.0.1:9000"},
    "cross-site form": {"host": HOST, "origin": "http://evil.example", "content-type": "text/plain"},
    "cross-site upload": {"host": HOST, "origin": "null", "content-type": "multipart/form-data; boundary=x"},
    "cross-site without origin": {"host": HOST, "sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"},
    "same-site without origin": {"host": HOST, "sec-fetch-site": "same-site", "sec-fetch-mode": "cors"},
    "preflight": {"host": HOST, "origin": "http://evil.example", "access-control-request-method": "POST"},
}


class Witness:
    """Stands in for the app, and counts who comes through."""

    def __init__(self) -> None:
        self.reached = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        del receive
        self.reached += 1
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})


class Gate:
    """The guard of the whole program, with a witness behind it."""

    def __init__(self, guard: Guard):
        self.guard = guard
        self.table = guard.table
        self.witness = Witness()

    def behind(self, **door: Any) -> Guard:
        """The same routes behind another door."""
        guard = Guard(self.witness, **door)
        guard._table = self.table
        return guard


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    folder: Path = tmp_path_factory.mktemp("studio")
    app = App(Options(data_dir=folder / "data", installation=folder))
    yield app
    app.close()


@pytest.fixture(scope="module")
def gate(app: App) -> Gate:
    door = Door(policy=Policy(), logins=[])
    return Gate(guarded(flags.parse([]), door, app, SharedLink(LINK_PORT)))


@pytest.fixture(scope="module")
def doorkeeper() -> Doorkeeper:
    logins = "administrator administrator:a,artist artist:b,viewer viewer:c"
    return Doorkeeper(Accounts(users_of(parse_entries(logins, first="administrator", others="artist"))))


def ask(guard: Guard, row: Row, method: str, headers: dict[str, str], port: int = 7860) -> int:
    """The status of an answer; for a WebSocket the code it was closed with, or 0."""
    path = re.sub(r"{[^}]*}", "x", row.path) or "/"
    said: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"} if row.websocket else {"type": "http.request", "body": b""}

    async def send(message: Any) -> None:
        said.append(message)

    scope: dict[str, Any] = {
        "type": "websocket" if row.websocket else "http",
        "scheme": "ws" if row.websocket else "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", port),
        "root_path": "",
    }
    if not row.websocket:
        scope["method"] = method
    run_apart(guard(scope, receive, send))
    if row.websocket:
        return next((message["code"] for message in said if message["type"] == "websocket.close"), 0)
    sent = {name.decode(): value.decode() for name, value in said[0]["headers"]}
    assert {name: sent.get(name) for name in HEADERS} == HEADERS
    assert not [name for name in sent if name.startswith("access-control-")]
    return said[0]["status"]


def methods(row: Row) -> list[str]:
    return sorted(row.methods & METHODS) or ["GET"]


def rule_at(gate: Gate, row: Row, method: str) -> Rule:
    """What holds at a row's address: the first row that fits answers, as in the app itself."""
    path = re.sub(r"{[^}]*}", "x", row.path) or "/"
    first = gate.table.find(method, path, websocket=row.websocket)
    assert first and first.rule
    return first.rule


def test_every_route_declares_its_risk(gate: Gate) -> None:
    rows = gate.table.rows
    paths = {row.path for row in rows}
    assert {"/", "/login", "/atelier/live", "/atelier/models", "/gradio_api/upload", "/sdapi/v1/txt2img"} <= paths
    assert [row.path for row in rows if row.rule is None] == []


def test_looking_changes_nothing(gate: Gate) -> None:
    """What changes something is no GET, which a link or a picture on any page can make a browser send."""
    changing = [
        (row.path, row.rule)
        for row in gate.table.rows
        if row.methods & {"GET", "HEAD"} and row.rule and not row.rule.closed and row.rule.risk != "read"
    ]
    assert changing == []


def test_what_is_public_is_the_login_only(gate: Gate) -> None:
    assert {row.path for row in gate.table.rows if row.rule and row.rule.public} == {"/login", "/logout"}


@pytest.mark.parametrize("stranger", STRANGERS)
def test_no_other_website_reaches_a_handler(stranger: str, gate: Gate) -> None:
    """S04 to S06, and that the doors hold where nobody logs in."""
    headers = STRANGERS[stranger]
    guard, before, asked = gate.behind(link=SharedLink(LINK_PORT)), gate.witness.reached, 0
    refusals = {400, 403, 4403}
    for row in gate.table.rows:
        for method in methods(row) if stranger != "preflight" else ["OPTIONS"]:
            assert ask(guard, row, method, headers) in refusals, (row.path, method)
            asked += 1
    assert gate.witness.reached == before
    assert asked >= len(gate.table.rows) > 100


def test_nobody_reaches_a_handler_without_a_login(gate: Gate, doorkeeper: Doorkeeper) -> None:
    """S03, by the page's own door and by a shared link's."""
    link = SharedLink(LINK_PORT)
    link.open(f"https://{LINK}", lambda: None)
    guests = Doorkeeper(doorkeeper.accounts, required=False)
    doors = [
        (gate.behind(doorkeeper=doorkeeper), HOST, 7860),
        (gate.behind(doorkeeper=guests, link=link), LINK, LINK_PORT),
    ]
    before = gate.witness.reached
    for guard, host, port in doors:
        for row in gate.table.rows:
            for method in methods(row):
                if rule_at(gate, row, method).public:
                    continue
                for more in ({}, {"cookie": f"{LOGIN_COOKIE}=x"}, {"authorization": "Bearer x"}):
                    status = ask(guard, row, method, {"host": host, **more}, port)
                    assert status in (401, 4401), (row.path, method, more)
    link.stop()
    assert gate.witness.reached == before


@pytest.mark.parametrize("role", ROLES)
def test_a_role_reaches_what_is_for_it_and_nothing_else(role: str, gate: Gate, doorkeeper: Doorkeeper) -> None:
    guard = gate.behind(doorkeeper=doorkeeper)
    cookie = f"{LOGIN_COOKIE}={doorkeeper.sessions.begin(role)}"
    counts: Counter[str] = Counter()
    for row in gate.table.rows:
        assert row.rule
        for method in methods(row):
            rule = rule_at(gate, row, method)
            before = gate.witness.reached
            status = ask(guard, row, method, {"host": HOST, "cookie": cookie})
            allowed = rule.public or (rule.risk in ROLES[role] and not rule.closed)
            assert (gate.witness.reached > before) is allowed, (row.path, method, status)
            if not allowed:
                assert status in ((404,) if rule.closed else (403, 4403)), (row.path, method)
            counts["reached" if allowed else "refused"] += 1
    assert counts["reached"] and counts["refused"]


def test_a_token_reaches_its_scopes_only(gate: Gate, doorkeeper: Doorkeeper) -> None:
    _, secret = doorkeeper.tokens.make(name="x", user="administrator", owner="a" * 32, scopes=["read"])
    guard = gate.behind(doorkeeper=doorkeeper)
    for row in gate.table.rows:
        assert row.rule
        for method in methods(row):
            rule = rule_at(gate, row, method)
            if rule.public or rule.closed or rule.risk == "read":
                continue
            headers = {"host": HOST, "authorization": f"Bearer {secret.reveal()}"}
            assert ask(guard, row, method, headers) == 403, (row.path, method)
