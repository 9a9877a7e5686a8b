"""The guard in front of a real server with a page, a form and a WebSocket behind it."""

import base64
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi import FastAPI, Request, WebSocket
from fastapi.responses import JSONResponse
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from backend.server import login, shared_link
from backend.server.accounts import Accounts, parse_entries, users_of
from backend.server.arrival import can_change_code, is_local
from backend.server.doorkeeper import LOGIN_COOKIE, Doorkeeper
from backend.server.guard import HEADERS, Guard
from backend.server.origins import LOOPBACK_NAMES, Policy
from backend.server.owner import OWNER_COOKIE, OWNER_PATTERN, owner_of, person_of
from backend.server.risks import MEBIBYTE, risk
from backend.server.shared_link import SharedLink

HERE = "http://127.0.0.1:7860"
ELSEWHERE = "https://studio.example"
OUTSIDE = "https://abc.gradio.live"
OUTSIDE_PORT = 7999


def server(deeds: list[str], doorkeeper: Doorkeeper, link: SharedLink | None) -> FastAPI:
    """Something of every risk; what was done is noted in `deeds`."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    app.include_router(login.router(doorkeeper))
    app.include_router(shared_link.router(link))

    @app.get("/")
    @app.get("/file")
    @app.get("/sdapi/v1/look")
    @risk("read")
    def page(request: Request) -> JSONResponse:
        person = person_of(request)
        said = {"name": person.name, "role": person.role, "how": person.how, "owner": person.owner}
        return JSONResponse({**said, "url": str(request.url)}, headers={"Access-Control-Allow-Origin": "*"})

    @app.post("/do")
    @app.delete("/do")
    @app.post("/sdapi/v1/do")
    @risk("make", largest=1000)
    async def do(request: Request) -> str:
        await request.body()
        deeds.append(owner_of(request) if request.url.path.startswith("/sdapi") else "done")
        return "done"

    @app.post("/manage")
    @risk("manage")
    def manage() -> str:
        deeds.append("managed")
        return "managed"

    @app.post("/code")
    @risk("code")
    def code() -> str:
        deeds.append("changed")
        return "changed"

    @app.get("/undeclared")
    def undeclared() -> str:
        return "reached"

    @app.get("/facts")
    @risk("read")
    def facts(request: Request) -> dict[str, bool]:
        return {"code": can_change_code(request), "local": is_local(request)}

    @app.websocket("/live")
    @risk("read")
    async def live(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text(owner_of(socket) if person_of(socket).how == "login" else "hello")
        while (await socket.receive())["type"] == "websocket.receive":
            await socket.send_text("again")

    return app


def client(
    base: str = HERE,
    *,
    done: list[str] | None = None,
    policy: Policy | None = None,
    doorkeeper: Doorkeeper | None = None,
    link: SharedLink | None = None,
    **options: Any,
) -> TestClient:
    """A guarded app of its own, asked from this machine unless `client=` says otherwise."""
    doorkeeper = doorkeeper or Doorkeeper()
    app = server([] if done is None else done, doorkeeper, link)
    options.setdefault("client", ("127.0.0.1", 50000))
    return TestClient(Guard(app, policy=policy, doorkeeper=doorkeeper, link=link), base_url=base, **options)


LOGINS = "anna:secret,artist bert:brush,viewer vera:glass"


@pytest.fixture(scope="module")
def accounts() -> Accounts:
    return Accounts(users_of(parse_entries(LOGINS, first="administrator", others="artist")))


@pytest.fixture
def doorkeeper(accounts: Accounts) -> Doorkeeper:
    return Doorkeeper(accounts)


def enter(here: TestClient, name: str = "anna", password: str = "secret") -> Any:
    return here.post("/login", data={"username": name, "password": password}, follow_redirects=False)


def come_in(doorkeeper: Doorkeeper, name: str = "anna") -> dict[str, str]:
    """The cookie of a login, without the time that a password takes."""
    return {"cookie": f"{LOGIN_COOKIE}={doorkeeper.sessions.begin(name)}"}


@pytest.mark.parametrize("base", [HERE, "http://localhost:7860", "http://[::1]:7860", "http://localhost"])
def test_loopback_names_are_answered(base: str) -> None:
    assert client(base).get("/file").status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:7860", "127.0.0.1.evil.example", "", "localhost.", "0.0.0.0", "[::1", "a@localhost"],
)
@pytest.mark.parametrize("path", ["/", "/file", "/do", "/nothing", "/login"])
def test_another_name_is_refused_on_every_path(host: str, path: str) -> None:
    """A name that resolves to this machine must not make a page of it same-origin (DNS rebinding)."""
    answer = client().get(path, headers={"host": host})
    assert answer.status_code == 400
    assert answer.json().keys() == {"error", "detail"}


def test_two_names_are_none() -> None:
    assert client().get("/file", headers=[("host", "localhost"), ("host", "evil.example")]).status_code == 400


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "http://127.0.0.1:7861", "https://127.0.0.1:7860", "http://localhost:7860"],
)
@pytest.mark.parametrize("method", ["POST", "DELETE", "GET", "OPTIONS"])
def test_another_websites_requests_change_nothing(origin: str, method: str) -> None:
    done: list[str] = []
    answer = client(done=done).request(method, "/do", headers={"origin": origin})
    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers
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
    assert "access-control-allow-origin" not in answer.headers  # whatever a route says
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


# bodies


def test_a_body_is_held_against_its_route_before_it_is_read() -> None:
    done: list[str] = []
    here = client(done=done)
    json = {"content-type": "application/json"}
    assert here.post("/do", content=b"x" * 1000, headers=json).status_code == 200
    answer = here.post("/do", content=b"x" * 1001, headers=json)
    assert (answer.status_code, answer.json()["error"]) == (413, "too_large")
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "", "text/json"):
        assert here.post("/do", content=b"x", headers={"content-type": kind}).status_code == 415, kind
    assert here.post("/do", content=b"x", headers={"content-length": "-1"}).status_code == 400
    assert here.post("/do").status_code == 200  # nothing in it, so no type either
    assert done == ["done"] * 2


def test_a_body_without_a_length_is_cut_off_while_it_comes() -> None:
    done: list[str] = []
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(64):
            sent += MEBIBYTE
            yield bytes(MEBIBYTE)

    answer = client(done=done).post("/do", content=endless(), headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["error"], done) == (413, "too_large", [])


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "PROPFIND"])
def test_only_usual_methods_come_in(method: str) -> None:
    assert client().request(method, "/file").status_code == 405


# logins


@pytest.mark.parametrize("path", ["/", "/file", "/do", "/sdapi/v1/look", "/undeclared", "/nothing", "/atelier/me"])
def test_nothing_is_answered_before_a_login(path: str, doorkeeper: Doorkeeper) -> None:
    here = client(doorkeeper=doorkeeper)
    answer = here.get(path, headers={"cookie": f"{LOGIN_COOKIE}=x; {OWNER_COOKIE}={'a' * 32}"})
    assert (answer.status_code, answer.json()["error"]) == (401, "unauthorized")
    assert ("www-authenticate" in answer.headers) is path.startswith("/sdapi")
    shown = here.get(path, headers={"accept": "text/html"})
    assert shown.status_code == 401
    assert ('name="password"' in shown.text) is not path.startswith("/sdapi")
    assert OWNER_COOKIE not in shown.cookies


def test_a_websocket_is_not_accepted_before_a_login(doorkeeper: Doorkeeper) -> None:
    address = "ws://127.0.0.1:7860/live"
    with pytest.raises(WebSocketDisconnect) as refused, client(doorkeeper=doorkeeper).websocket_connect(address):
        pass
    assert refused.value.code == 4401


def test_a_login_holds_until_the_logout(doorkeeper: Doorkeeper) -> None:
    here = client(doorkeeper=doorkeeper)
    answer = enter(here)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = next(line for line in answer.headers.get_list("set-cookie") if line.startswith(LOGIN_COOKIE))
    assert "HttpOnly" in cookie and "samesite=lax" in cookie.lower()
    said = here.get("/").json()
    assert (said["name"], said["role"], said["how"]) == ("anna", "administrator", "login")
    other = client(doorkeeper=doorkeeper, headers=come_in(doorkeeper, "ANNA"))
    assert other.get("/").json()["owner"] == said["owner"]  # one person, two browsers
    with here.websocket_connect("ws://127.0.0.1:7860/live", headers={"origin": HERE}) as socket:
        assert socket.receive_text() == said["owner"]
        socket.send_text("x")
        assert socket.receive_text() == "again"
        token = here.cookies[LOGIN_COOKIE]
        assert here.post("/logout", follow_redirects=False).status_code == 303
        socket.send_text("x")
        with pytest.raises(WebSocketDisconnect) as ended:
            socket.receive_text()
    assert ended.value.code == 4401
    assert here.get("/", headers={"cookie": f"{LOGIN_COOKIE}={token}"}).status_code == 401
    assert other.get("/").status_code == 200


def test_a_login_form_of_another_website_is_refused(doorkeeper: Doorkeeper) -> None:
    for headers in ({"origin": "http://evil.example"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"}):
        answer = client(doorkeeper=doorkeeper).post(
            "/login", data={"username": "anna", "password": "secret"}, headers=headers, follow_redirects=False
        )
        assert answer.status_code == 403
        assert LOGIN_COOKIE not in answer.cookies


def test_a_cookie_over_https_is_for_https_only(doorkeeper: Doorkeeper) -> None:
    secure = enter(client("https://127.0.0.1:7860", doorkeeper=doorkeeper)).headers.get_list("set-cookie")
    assert secure and all("; secure" in line.lower() for line in secure)
    assert not any(
        "; secure" in line.lower() for line in enter(client(doorkeeper=doorkeeper)).headers.get_list("set-cookie")
    )


ROLES = [
    ("anna", {"/do", "/manage", "/code"}),
    ("bert", {"/do"}),
    ("vera", set[str]()),
]


@pytest.mark.parametrize(("name", "allowed"), ROLES)
def test_a_role_may_what_it_may(name: str, allowed: set[str], doorkeeper: Doorkeeper) -> None:
    done: list[str] = []
    here = client(doorkeeper=doorkeeper, done=done, headers=come_in(doorkeeper, name))
    for path in ("/do", "/manage", "/code"):
        answer = here.post(path)
        assert answer.status_code == (200 if path in allowed else 403), path
    assert len(done) == len(allowed)
    # What says nothing of itself is for administrators.
    assert here.get("/undeclared").status_code == (200 if name == "anna" else 403)


def basic(name: str, password: str) -> dict[str, str]:
    return {"authorization": f"Basic {base64.b64encode(f'{name}:{password}'.encode()).decode()}"}


def test_a_name_and_a_password_with_every_request(doorkeeper: Doorkeeper) -> None:
    """What A1111's clients do; elsewhere a browser would go on sending them for a page of another website."""
    here = client(doorkeeper=doorkeeper)
    said = here.get("/sdapi/v1/look", headers=basic("bert", "brush"))
    assert (said.status_code, said.json()["name"], said.json()["how"]) == (200, "bert", "basic")
    assert here.get("/file", headers=basic("bert", "brush")).status_code == 401
    for wrong in (basic("bert", "x"), basic("nobody", "brush"), {"authorization": "Basic x"}, basic("bert", "")):
        answer = here.get("/sdapi/v1/look", headers=wrong)
        assert answer.status_code == 401
        assert answer.json()["detail"] == "Incorrect username or password"
        assert answer.headers["www-authenticate"].startswith("Basic")
    for _ in range(30):  # a client that asks for progress does so often
        assert here.get("/sdapi/v1/look", headers=basic("bert", "brush")).status_code == 200


def test_many_at_once_with_the_right_password_all_come_in(doorkeeper: Doorkeeper) -> None:
    with client(doorkeeper=doorkeeper) as here:
        answers: list[int] = []
        ask: Callable[[], None] = lambda: answers.append(  # noqa: E731
            here.get("/sdapi/v1/look", headers=basic("bert", "brush")).status_code
        )
        threads = [threading.Thread(target=ask) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert answers == [200] * 12


def test_a_program_on_this_machine_needs_no_cookie() -> None:
    done: list[str] = []
    here = client(done=done)
    assert here.post("/sdapi/v1/do").status_code == here.post("/sdapi/v1/do").status_code == 200
    assert len(set(done)) == 1 and OWNER_PATTERN.fullmatch(done[0])
    mine = "a" * 32
    here.post("/sdapi/v1/do", headers={"cookie": f"{OWNER_COOKIE}={mine}"})
    assert done[-1] == mine


# where a request comes from


def test_other_origins_may_only_use_what_is_for_programs() -> None:
    policy = Policy(origins=frozenset({ELSEWHERE}))
    done: list[str] = []
    here = client(policy=policy, done=done)
    asked = {"origin": ELSEWHERE, "access-control-request-method": "POST"}
    preflight = here.options("/sdapi/v1/do", headers=asked)
    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-origin"] == ELSEWHERE
    answer = here.post("/sdapi/v1/do", json={}, headers={"origin": ELSEWHERE, "sec-fetch-site": "cross-site"})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, ELSEWHERE)
    for path in ("/do", "/manage", "/code", "/login"):
        assert here.post(path, headers={"origin": ELSEWHERE}).status_code == 403
        assert here.options(path, headers=asked).status_code == 403
    assert here.post("/sdapi/v1/do", headers={"origin": "https://studio.example.evil"}).status_code == 403
    assert len(done) == 1


def test_a_proxy_in_front_may_speak_https() -> None:
    policy = Policy(proxied=frozenset({"studio.example"}))
    here = client("http://studio.example", policy=policy)
    assert here.post("/do", headers={"origin": "https://studio.example"}).status_code == 200
    assert here.post("/do", headers={"origin": "https://other.example"}).status_code == 403
    said = here.get("/file", headers={"x-forwarded-proto": "https"}).json()
    assert said["url"].startswith("https://")


@pytest.mark.parametrize(("host", "status"), [("192.168.1.5:7860", 200), ("[fe80::1]", 200), ("evil.example", 400)])
def test_addresses_are_answered_where_others_may_come(host: str, status: int) -> None:
    """A name can be made to resolve to us, an address cannot."""
    assert client(policy=Policy(addresses=True)).get("/file", headers={"host": host}).status_code == status
    assert client().get("/file", headers={"host": host}).status_code == 400


@pytest.mark.parametrize("prefix", ["", "/sd"])
def test_below_a_path_with_a_proxy_that_takes_it_off_or_not(prefix: str, doorkeeper: Doorkeeper) -> None:
    here = client(policy=Policy(subpath="/sd"), doorkeeper=doorkeeper)
    assert 'action="/sd/login"' in here.get(f"{prefix}/", headers={"accept": "text/html"}).text
    entered = here.post(f"{prefix}/login", data={"username": "anna", "password": "secret"}, follow_redirects=False)
    assert entered.headers["location"] == "/sd/"
    assert here.get(f"{prefix}/file").json()["url"] == f"{HERE}/sd/file"
    assert here.get("/sdx/file").status_code == 404


# the shared link


def shared(doorkeeper: Doorkeeper, *, base: str = OUTSIDE, port: int = OUTSIDE_PORT, **more: Any) -> Any:
    """A client that comes in by `port`, as the tunnel does from this machine."""
    link = more.pop("link", None) or open_link()
    app = client(doorkeeper=doorkeeper, link=link, **more).app

    async def by_port(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, "server": ("127.0.0.1", port)} if "server" in scope else scope, receive, send)

    # Between the tunnel and us there is no TLS.
    here = TestClient(by_port, base_url=base.replace("https", "http"), client=("127.0.0.1", 50000))
    return here, link


def open_link(**options: Any) -> SharedLink:
    link = SharedLink(OUTSIDE_PORT, **options)
    link.open(OUTSIDE, lambda: None)
    return link


@pytest.fixture
def guests(accounts: Accounts) -> Doorkeeper:
    """Nobody has to log in but who comes by the link."""
    return Doorkeeper(accounts, required=False)


def test_a_link_always_asks_for_a_password(guests: Doorkeeper) -> None:
    here, link = shared(guests)
    for path in ("/", "/file", "/do", "/sdapi/v1/look", "/nothing"):
        assert here.get(path, headers={"cookie": f"{OWNER_COOKIE}={'a' * 32}"}).status_code == 401
    entered = enter(here)
    assert entered.status_code == 303
    assert all("; secure" in line.lower() for line in entered.headers.get_list("set-cookie"))
    token = entered.cookies[LOGIN_COOKIE]
    said = here.get("/", headers={"cookie": f"{LOGIN_COOKIE}={token}"}).json()
    assert (said["name"], said["url"]) == ("anna", f"{OUTSIDE}/")
    inside = client(doorkeeper=guests, link=link).get("/").json()
    assert (inside["name"], inside["how"]) == ("", "local")


def test_a_link_answers_to_its_own_name_and_only_while_it_lives(guests: Doorkeeper) -> None:
    here, link = shared(guests)
    for name in ("127.0.0.1", "localhost", "evil.gradio.live", "abc.gradio.live.evil.example"):
        assert here.get("/login", headers={"host": name}).status_code == 400
    assert here.get("/login").status_code == 200
    assert here.post("/login", headers={"origin": OUTSIDE}).status_code == 401
    assert here.post("/login", headers={"origin": OUTSIDE.replace("https", "http")}).status_code == 403
    inside = client(doorkeeper=guests, link=link)
    assert inside.get("/file", headers={"host": "abc.gradio.live"}).status_code == 400
    link.stop()
    assert here.get("/login").status_code == 400


def test_a_link_ends_with_its_time(guests: Doorkeeper) -> None:
    hour = [0.0]
    link = open_link(lifetime=8 * 3600.0, now=lambda: hour[0])
    here, _ = shared(guests, link=link)
    hour[0] = 8 * 3600.0 - 1
    assert here.get("/login").status_code == 200
    hour[0] = 8 * 3600.0
    assert here.get("/login").status_code == 400
    link.stop()


def test_a_link_is_told_of_and_stopped_by_who_may(guests: Doorkeeper) -> None:
    closed: list[str] = []
    link = SharedLink(OUTSIDE_PORT)
    link.open(OUTSIDE, lambda: closed.append("closed"))
    here, _ = shared(guests, link=link)
    cookie = come_in(guests, "bert")
    said = here.get("/atelier/share", headers=cookie).json()
    assert (said["url"], said["may_stop"]) == (OUTSIDE, False)
    assert here.post("/atelier/share/stop", headers=cookie).status_code == 403
    inside = client(doorkeeper=guests, link=link)
    assert inside.get("/atelier/share").json()["may_stop"] is True
    assert inside.post("/atelier/share/stop").json()["url"] == ""
    inside.post("/atelier/share/stop")
    assert closed == ["closed"]


# changing code (S01)

QUIET = Policy()
PLACES: list[tuple[str, dict[str, Any], bool]] = [
    ("127.0.0.1", {}, True),
    ("::1", {"client": ("::1", 50000)}, True),
    ("0.0.0.0", {"policy": Policy(loopback=False, addresses=True)}, False),
    ("LAN", {"policy": Policy(loopback=False, addresses=True), "client": ("192.168.1.5", 50000)}, False),
    ("LAN at a loopback socket", {"client": ("192.168.1.5", 50000)}, False),
    ("hostname", {"policy": Policy(loopback=False, hosts=LOOPBACK_NAMES | {"studio"}), "base": "http://studio"}, False),
    ("a link lives", {"link": "open"}, False),
    ("behind a proxy", {"headers": {"x-forwarded-for": "127.0.0.1"}}, False),
    ("a page elsewhere", {"policy": Policy(origins=frozenset({ELSEWHERE})), "headers": {"origin": ELSEWHERE}}, False),
]


@pytest.mark.parametrize(("place", "how", "allowed"), PLACES, ids=[name for name, *_ in PLACES])
@pytest.mark.parametrize("logged_in", [False, True])
def test_code_changes_at_this_machine_only(
    place: str, how: dict[str, Any], allowed: bool, logged_in: bool, doorkeeper: Doorkeeper
) -> None:
    del place
    more = {key: value for key, value in how.items() if key not in ("headers", "link")}
    link = open_link() if "link" in how else None
    done: list[str] = []
    door = {"doorkeeper": doorkeeper, "headers": come_in(doorkeeper)} if logged_in else {}
    here = client(done=done, link=link, **door, **more)
    assert (here.post("/code", headers=how.get("headers", {})).status_code == 200) is allowed
    assert (done == ["changed"]) is allowed
    if "origin" not in how.get("headers", {}):
        assert here.get("/facts", headers=how.get("headers", {})).json()["code"] is allowed


def test_code_is_not_changed_by_the_link_itself(guests: Doorkeeper) -> None:
    done: list[str] = []
    here, _ = shared(guests, done=done)
    cookie = come_in(guests)
    assert here.post("/code", headers=cookie).status_code == 403
    assert here.get("/facts", headers=cookie).json() == {"code": False, "local": False}
    assert done == []
