"""Who may send what to the routes of the Models tab; every route there is, so that a new one is not forgotten."""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.routing import APIRoute

from backend.server import models
from backend.server.json_door import LARGEST_ORDER, JsonRoute
from backend.server.risks import USUAL_BODY
from tests.model_studio import BASE, Studio, checkpoint, options_at, studio_of

# What everybody who may open the page may send; any other order is for somebody at this machine.
FOR_ALL = {
    *(f"{BASE}/refresh", f"{BASE}/unload", f"{BASE}/{{id}}/unload", f"{BASE}/{{id}}/keep", f"{BASE}/{{id}}/hash"),
    *(f"{BASE}/{{id}}/notes", f"{BASE}/{{id}}/type", f"{BASE}/{{id}}/preview", f"{BASE}/{{id}}/preview/remove"),
}


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory, written_checkpoint: Path) -> Iterator[Studio]:
    """One for all tests here: nothing that is refused changes it."""
    with studio_of(options_at(tmp_path_factory.mktemp("quiet"), written_checkpoint)) as studio:
        studio.write_lora("ink")
        yield studio


class _Probe:
    """Stands in for an app while routes are only listed: everything can be asked for, and nothing is done."""

    def __getattr__(self, name: str) -> "_Probe":
        return self

    def __call__(self, *_: object) -> None:
        return None


def every_route() -> list[tuple[str, str]]:
    """Method and path of all that the router has, of an app that is never asked."""
    found: list[tuple[str, str]] = []
    for route in models.router(_Probe()).routes:  # pyright: ignore
        assert isinstance(route, JsonRoute)
        found += [(method, route.path) for method in sorted(route.methods or ())]
    return found


ROUTES = every_route()
LOCAL = [path for method, path in ROUTES if method == "POST" and path not in FOR_ALL]


def test_the_routes_are_those_that_are_known() -> None:
    assert len(ROUTES) == len(set(ROUTES)) >= 30
    assert {path for method, path in ROUTES if method == "POST"} >= FOR_ALL
    assert {method for method, _ in ROUTES} == {"GET", "POST"}
    assert f"{BASE}/{{id}}/trash" in LOCAL and f"{BASE}/downloads" in LOCAL and f"{BASE}/tokens" in LOCAL


def test_no_handler_holds_up_the_loop() -> None:
    for route in models.router(_Probe()).routes:  # pyright: ignore
        assert isinstance(route, APIRoute)
        assert not inspect.iscoroutinefunction(route.endpoint), f"{route.path} does not run on a thread"


STRANGERS: list[tuple[str, dict[str, str]]] = [
    ("192.168.1.5", {}),
    ("203.0.113.7", {}),
    ("::ffff:192.168.1.5", {}),
    ("fe80::1%eth0", {}),
    ("testclient", {}),
    *(
        ("127.0.0.1", {name: "127.0.0.1"})
        for name in ("x-forwarded-for", "Forwarded", "x-real-ip", "Via", "X-Forwarded-Host")
    ),
]


@pytest.mark.parametrize("path", LOCAL)
def test_an_order_for_this_machine_is_refused_to_others(quiet: Studio, path: str) -> None:
    """Before its body is read: what it says does not matter."""
    address = re.sub(r"{\w+}", checkpoint(quiet), path)
    for peer, headers in STRANGERS:
        answer = quiet.client(peer).post(address, json={"path": "/", "text": "a/b", "kind": "lora"}, headers=headers)
        assert answer.status_code == 403, (path, peer, headers)
        assert answer.json() == {"problem": "Only somebody who sits at the machine that Atelier runs on may do this."}
    for peer in ("127.0.0.1", "::1", "::ffff:127.0.0.1", "127.8.9.10"):
        assert quiet.client(peer).post(address, json={"nothing like it": 1}).status_code in (400, 404)


@pytest.mark.parametrize(("method", "path"), [each for each in ROUTES if each[1] in FOR_ALL or each[0] == "GET"])
def test_everybody_may_look_and_describe(quiet: Studio, method: str, path: str) -> None:
    id = quiet.models()["ink.safetensors"]["id"]
    address = re.sub(r"{\w+}", id, path)
    answer = quiet.client("192.168.1.5").request(method, address, json=None if method == "GET" else {})
    assert answer.status_code in (200, 400, 404), answer.text
    assert "application/json" in answer.headers["content-type"]


def test_somebody_elsewhere_is_not_told_where_things_lie(quiet: Studio) -> None:
    id = quiet.models()["ink.safetensors"]["id"]
    (quiet.root / "models" / "loras" / "away").symlink_to("/")
    quiet.app.catalog.refresh()
    quiet.app.tokens.put("example.org", "x")
    assert quiet.get().json()["skipped"]
    for path in ("", f"/{id}", "/folders", "/tokens", "/works", "/state", "/suggestions"):
        answer = quiet.client("192.168.1.5").get(BASE + path)
        assert answer.status_code == 200
        assert str(quiet.root) not in answer.text and "example.org" not in answer.text, path
    said = quiet.client("192.168.1.5").get(BASE).json()
    assert (said["local"], said["skipped"]) == (False, [])


POSTS = [path for method, path in ROUTES if method == "POST"]


@pytest.mark.parametrize("path", POSTS)
def test_only_json_of_our_own_page_is_an_order(quiet: Studio, path: str) -> None:
    address = re.sub(r"{\w+}", checkpoint(quiet), path)
    client = quiet.client()
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "", "text/json"):
        answer = client.post(address, content=b"{}", headers={"content-type": kind})
        assert answer.status_code == 415, (path, kind)
        assert "application/json" in answer.json()["problem"]
    assert client.post(address, content=b"{}").status_code == 415
    for body in (b"", b"null", b"[]", b"{", b'{"x": 1}', b"[" * 100_000, b"\xff", b'"' + b"x" * LARGEST_ORDER):
        answer = client.post(address, content=body, headers={"content-type": "application/json"})
        assert answer.status_code == 400, (path, body[:20])
        assert answer.json()["problem"].endswith(".")
    for headers in ({"origin": "http://evil.example"}, {"sec-fetch-site": "cross-site"}, {"host": "evil.example"}):
        assert client.post(address, json={}, headers=headers).status_code in (400, 403)
    assert quiet.models().keys() == {"ink.safetensors", "tiny.safetensors"}


@pytest.mark.parametrize(("size", "status", "most"), [(LARGEST_ORDER + 1, 400, LARGEST_ORDER), (None, 413, USUAL_BODY)])
def test_an_order_that_is_too_long_is_cut_off(quiet: Studio, size: int | None, status: int, most: int) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(64):
            yield b" " * LARGEST_ORDER

    body = endless() if size is None else b" " * size
    answer = quiet.client().post(
        f"{BASE}/refresh", content=body, headers={"content-type": "application/json; charset=utf-8"}
    )
    assert answer.status_code == status
    assert f"{most:,} bytes" in answer.json()["problem"]
