"""Models that extensions need: which are there, and fetching one that somebody asks for, from a hub on this machine."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from backend.app import App, Options
from backend.server import extensions
from backend.server.accounts import Accounts, parse_entries, users_of
from backend.server.doorkeeper import LOGIN_COOKIE, Doorkeeper
from backend.server.guard import Guard
from tests.hub_server import HubServer, Repository, Server, safetensors_bytes
from tests.model_studio import LORA, options_at
from tests.packaged import files, write_zip
from tests.scripted import ScriptedWorker
from tests.test_extension_routes import HOST, NOTHING
from tests.test_extension_routes import write as write_plain

MODEL = safetensors_bytes(600 * 1024)
PATIENCE = 60.0


@pytest.fixture
def hub() -> Iterator[HubServer]:
    two = {"ink.safetensors": MODEL, "more/small.safetensors": safetensors_bytes(900)}
    repositories = {"artist/style": Repository(two), "artist/gated": Repository({"x.safetensors": MODEL}, gated=True)}
    with (
        Server({"/files/pen.safetensors": MODEL, "/page": b"<html></html>"}, host="localhost") as storage,
        HubServer(repositories, storage) as hub,
    ):
        assert isinstance(hub, HubServer)
        hub.storage = storage  # pyright: ignore
        yield hub


@pytest.fixture
def app(tmp_path: Path, tiny_checkpoint: Path, hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[App]:
    monkeypatch.setenv("HF_ENDPOINT", hub.origin)
    options = options_at(tmp_path, tiny_checkpoint)
    app = App(replace(options, trusted=frozenset({storage_of(hub).origin})), worker=ScriptedWorker)
    app.catalog.wait(PATIENCE)
    yield app
    app.close()


def storage_of(hub: HubServer) -> Server:
    return hub.storage  # pyright: ignore


def models_of(*rows: tuple[str, str, str]) -> str:
    """The models of a manifest: name, kind and source of each."""
    return "".join(
        f'\n[[models]]\nname = "{name}"\nkind = "{kind}"\nsource = "{source}"\n' for name, kind, source in rows
    )


def write(options: Options, *rows: tuple[str, str, str]) -> None:
    """An extension that works with these models."""
    folder = write_plain(options, "inks", dedent(NOTHING))
    path = folder / "extension.toml"
    path.write_text(path.read_text() + models_of(*rows))


def served(app: App, **door: Any) -> TestClient:
    web = FastAPI()
    web.include_router(extensions.router(app))
    return TestClient(Guard(web, **door), base_url=HOST, client=("127.0.0.1", 50000))


def rows_of(client: TestClient) -> dict[str, dict[str, Any]]:
    listed = client.get("/atelier/extensions").json()["extensions"]
    return {each["name"]: each for each in next(card for card in listed if card["id"] == "inks")["models"]}


def get(client: TestClient, name: str) -> Any:
    return client.post("/atelier/extensions/inks/models", json={"name": name})


def until(app: App, happened: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < end, [(each.state, each.problem) for each in app.downloads.all()]
        time.sleep(0.01)


def test_what_is_missing_is_fetched_when_it_is_asked_for(app: App, hub: HubServer) -> None:
    storage = storage_of(hub)
    write(
        app.options,
        ("ink.safetensors", "LoRA", f"{hub.origin}/artist/style/resolve/main/ink.safetensors"),
        ("small", "embedding", "artist/style"),
        ("pen.safetensors", "ControlNet", f"{storage.origin}/files/pen.safetensors"),
        ("tiny.safetensors", "checkpoint", "artist/style"),
    )
    app.extensions.rescan()
    client = served(app)
    before = rows_of(client)
    assert {name: row["there"] for name, row in before.items()} == {
        "ink.safetensors": False,
        "small": False,
        "pen.safetensors": False,
        "tiny.safetensors": True,
    }
    assert all(row["fetched"] for row in before.values())
    app.extensions.switch("inks", True)
    assert (hub.asked, storage.asked, app.downloads.all()) == ([], [], []), "nothing is asked for by itself"
    for name in ("ink.safetensors", "small", "pen.safetensors"):
        answer = get(client, name)
        assert answer.status_code == 200, answer.text
        assert answer.json()["download"] == app.downloads.all()[-1].id
    until(app, lambda: all(row["there"] for row in rows_of(client).values()))
    until(app, lambda: all(each.state == "finished" for each in app.downloads.all()))
    folder = app.options.installation / "models"
    assert (folder / "loras" / "ink.safetensors").read_bytes() == MODEL
    assert (folder / "embeddings" / "small.safetensors").is_file()
    assert (folder / "controlnet" / "pen.safetensors").read_bytes() == MODEL
    assert "is there already" in get(client, "ink.safetensors").json()["problem"]


def test_a_model_is_there_by_its_kind_and_its_name(app: App) -> None:
    from safetensors.numpy import save_file

    path = app.options.installation / "models" / "loras" / "by hand" / "Ink.safetensors"
    path.parent.mkdir(parents=True)
    save_file(LORA, path)
    app.catalog.refresh()
    other = (
        ("ink.bin", "vae", ""),
        ("ink.ckpt", "lora", ""),
        ("INK", "", ""),
        ("ink", "brush", ""),
        ("ink2", "lora", ""),
    )
    write(app.options, *other)
    app.extensions.rescan()
    there = {name: row["there"] for name, row in rows_of(served(app)).items()}
    assert there == {"ink.bin": False, "ink.ckpt": True, "INK": True, "ink": True, "ink2": False}


@pytest.mark.parametrize(
    ("kind", "source"),
    [
        ("lora", ""),
        ("lora", "write to the author"),
        ("lora", "http://example.org/ink.safetensors"),
        ("lora", "ftp://example.org/ink.safetensors"),
        ("lora", "https://me:secret@example.org/ink.safetensors"),
        ("lora", "https://civitai.com/models/1234/ink?modelVersionId=5"),
        ("lora", "javascript:alert(1)"),
        ("brush", "https://example.org/ink.safetensors"),
        ("", "https://example.org/ink.safetensors"),
        ("text_encoder", "https://example.org/ink.safetensors"),
    ],
)
def test_what_downloads_do_not_understand_is_only_shown(app: App, kind: str, source: str) -> None:
    write(app.options, ("ink", kind, source))
    app.extensions.rescan()
    client = served(app)
    row = rows_of(client)["ink"]
    assert (row["there"], row["fetched"], row["source"]) == (False, False, source)
    assert row["page"] == (source if source.startswith("http") else "")
    answer = get(client, "ink")
    assert (answer.status_code, answer.json().keys()) == (400, {"problem"})
    assert app.downloads.all() == []


def test_what_cannot_be_had_is_a_sentence(app: App, hub: HubServer) -> None:
    write(
        app.options,
        ("neither", "lora", "artist/style"),
        ("gated", "lora", f"{hub.origin}/artist/gated/resolve/main/x.safetensors"),
        ("page", "lora", f"{storage_of(hub).origin}/page"),
        ("../../evil.safetensors", "lora", f"{storage_of(hub).origin}/files/pen.safetensors"),
    )
    app.extensions.rescan()
    client = served(app)
    assert "has no file that must be neither: choose one" in get(client, "neither").json()["problem"]
    assert "is gated" in get(client, "gated").json()["problem"]
    assert "works with no model called 'nobody'" in get(client, "nobody").json()["problem"]
    assert get(client, "page").status_code == 200
    until(app, lambda: app.downloads.all()[0].state == "failed")
    assert "web page" in app.downloads.all()[0].problem
    assert get(client, "../../evil.safetensors").status_code == 200
    until(app, lambda: rows_of(client)["../../evil.safetensors"]["there"])
    assert [path.name for path in app.options.data_dir.parent.rglob("evil*")] == ["evil.safetensors"]
    assert (app.options.installation / "models" / "loras" / "evil.safetensors").is_file()


def test_it_takes_whoever_may_fetch_models(app: App, hub: HubServer) -> None:
    write(app.options, ("ink", "lora", f"{hub.origin}/artist/style/resolve/main/ink.safetensors"))
    app.extensions.rescan()
    logins = "administrator boss:a,artist maker:b"
    doorkeeper = Doorkeeper(Accounts(users_of(parse_entries(logins, first="administrator", others="artist"))))
    client = served(app, doorkeeper=doorkeeper)
    for name, allowed in (("maker", False), ("boss", True)):
        client.cookies.set(LOGIN_COOKIE, doorkeeper.sessions.begin(name))
        assert client.get("/atelier/extensions").json()["may"]["fetch"] is allowed
        assert get(client, "ink").status_code == (200 if allowed else 403)
    passed_on = {"x-forwarded-for": "192.0.2.1"}
    assert client.get("/atelier/extensions", headers=passed_on).json()["may"]["fetch"] is False
    answer = client.post("/atelier/extensions/inks/models", json={"name": "ink"}, headers=passed_on)
    assert (answer.status_code, "at the machine" in answer.json()["problem"]) == (403, True)


def test_a_plan_says_which_are_there(app: App, tmp_path: Path) -> None:
    contents = files("inks")
    contents["extension.toml"] += models_of(("tiny", "checkpoint", "artist/style"), ("ink", "lora", "artist/style"))
    zipped = write_zip(tmp_path / "inks.zip", contents).read_bytes()
    client, kind = served(app), {"content-type": "application/zip"}
    plan = client.post("/atelier/extensions/plan/zip?name=inks.zip", content=zipped, headers=kind).json()
    assert [(each["name"], each["there"], each["fetched"]) for each in plan["models"]] == [
        ("tiny", True, True),
        ("ink", False, True),
    ]
