"""The guard in front of a real server with a page, a form and a WebSocket behind it."""

from typing import Any

import pytest
from fastapi import FastAPI, WebSocket
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from backend.server.guard import HEADERS, Guard
from backend.server.owner import OWNER_COOKIE, OWNER_PATTERN

HERE = "http://127.0.0.1:7860"


def client(base: str = HERE, *, done: list[str] | None = None) -> TestClient:
    """A guarded app of its own; what was done through it is noted in `done`."""
    app = FastAPI()
    deeds = [] if done is None else done

    @app.get("/")
    @app.get("/file")
    def page() -> str:
        return "page"

    @app.post("/do")
    @app.delete("/do")
    def do() -> str:
        deeds.append("done")
        return "done"

    @app.websocket("/live")
    async def live(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text("hello")

    return TestClient(Guard(app), base_url=base)


@pytest.mark.parametrize("base", [HERE, "http://localhost:7860", "http://[::1]:7860", "http://localhost"])
def test_loopback_names_are_answered(base: str) -> None:
    assert client(base).get("/file").status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:7860", "127.0.0.1.evil.example", "", "localhost.", "0.0.0.0"]
)
@pytest.mark.parametrize("path", ["/", "/file", "/do", "/nothing"])
def test_another_name_is_refused_on_every_path(host: str, path: str) -> None:
    """A name that resolves to this machine must not make a page of it same-origin (DNS rebinding)."""
    assert client().get(path, headers={"host": host}).status_code == 400


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "http://127.0.0.1:7861", "https://127.0.0.1:7860", "http://localhost:7860"],
)
@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_another_websites_requests_change_nothing(origin: str, method: str) -> None:
    done: list[str] = []
    assert client(done=done).request(method, "/do", headers={"origin": origin}).status_code == 403
    assert done == []


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_fetch_metadata_tells_on_another_website(site: str) -> None:
    here = client()
    assert here.post("/do", headers={"sec-fetch-site": site}).status_code == 403
    assert here.post("/do", headers={"sec-fetch-site": site, "sec-fetch-mode": "navigate"}).status_code == 403
    assert here.get("/file", headers={"sec-fetch-site": site, "sec-fetch-mode": "no-cors"}).status_code == 403
    # A link from elsewhere to the page is only a link.
    assert here.get("/", headers={"sec-fetch-site": site, "sec-fetch-mode": "navigate"}).status_code == 200


@pytest.mark.parametrize("headers", [{}, {"origin": HERE}, {"origin": HERE, "sec-fetch-site": "same-origin"}])
def test_the_page_itself_and_programs_may(headers: dict[str, str]) -> None:
    done: list[str] = []
    assert client(done=done).post("/do", headers=headers).status_code == 200
    assert done == ["done"]


@pytest.mark.parametrize(
    "headers",
    [{"origin": "http://evil.example"}, {"origin": "null"}, {"host": "evil.example"}, {"sec-fetch-site": "cross-site"}],
)
def test_a_websocket_from_elsewhere_is_never_accepted(headers: dict[str, str]) -> None:
    with (
        pytest.raises(WebSocketDisconnect) as refused,
        client().websocket_connect("ws://127.0.0.1:7860/live", headers=headers),
    ):
        pass
    assert refused.value.code == 4403


def test_a_websocket_from_the_page_is_accepted() -> None:
    with client().websocket_connect("ws://127.0.0.1:7860/live", headers={"origin": HERE}) as socket:
        assert socket.receive_text() == "hello"


def test_a_browser_gets_one_name_and_keeps_it() -> None:
    here = client()
    assert OWNER_COOKIE not in here.get("/file").cookies
    first = here.get("/")
    owner = first.cookies[OWNER_COOKIE]
    assert OWNER_PATTERN.fullmatch(owner)
    cookie = first.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    again = here.get("/").headers["set-cookie"]
    assert f"{OWNER_COOKIE}={owner};" in again and "Max-Age=" in again  # renewed by every visit, or it ends in a year
    assert client().get("/").cookies[OWNER_COOKIE] != owner


def test_a_forged_name_is_replaced() -> None:
    answer: Any = client().get("/", headers={"cookie": f"{OWNER_COOKIE}=../../x"})
    assert OWNER_PATTERN.fullmatch(answer.cookies[OWNER_COOKIE])


@pytest.mark.parametrize("path", ["/", "/file", "/nothing"])
def test_every_answer_carries_the_headers(path: str) -> None:
    answer = client().get(path)
    assert {name: answer.headers[name] for name in HEADERS} == HEADERS
    refused = client().get(path, headers={"host": "evil.example"})
    assert {name: refused.headers[name] for name in HEADERS} == HEADERS


def test_cookies_of_other_programs_on_this_machine_take_nothing_away() -> None:
    """Cookies do not know ports: whatever else runs on 127.0.0.1 sends us its own."""
    owner = "0123456789abcdef" * 2
    for foreign in ('x={"a":1}', "a b", "foo/bar=1", "=", "x=é"):
        header = f"{foreign}; {OWNER_COOKIE}={owner}".encode("latin-1")
        answer: Any = client().get("/", headers={b"cookie": header})
        assert answer.status_code == 200, foreign
        assert answer.cookies[OWNER_COOKIE] == owner, foreign
