"""Finding and fetching models over the routes, from a hub on this machine."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from backend.app import Options
from tests.hub_server import HubServer, Repository, Server, safetensors_bytes
from tests.model_studio import Studio, options_at, studio_of

MODEL = safetensors_bytes(600 * 1024)


@pytest.fixture
def options(tmp_path: Path, tiny_checkpoint: Path) -> Options:
    return options_at(tmp_path, tiny_checkpoint)


@pytest.fixture
def hub() -> Iterator[HubServer]:
    repositories = {
        "artist/style": Repository({"style.safetensors": MODEL, "more/small.safetensors": safetensors_bytes(900)}),
        "artist/gated": Repository({"style.safetensors": MODEL}, gated=True),
    }
    with Server(host="localhost") as storage, HubServer(repositories, storage) as hub:
        assert isinstance(hub, HubServer)
        hub.storage = storage  # pyright: ignore
        yield hub


@pytest.fixture
def online(options: Options, hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Studio]:
    """A studio whose hub is on this machine."""
    monkeypatch.setenv("HF_ENDPOINT", hub.origin)
    storage: Server = hub.storage  # pyright: ignore
    with studio_of(replace(options, trusted=frozenset({storage.origin}))) as studio:
        yield studio


def test_a_repository_is_looked_into_and_one_of_it_fetched(online: Studio) -> None:
    said = online.done("/find", {"text": " artist/style "})
    assert (said["place"], said["gated"]) == ("artist/style", False)
    assert [(each["title"], each["name"], each["size"], each["folder"]) for each in said["choices"]] == [
        ("style.safetensors", "style.safetensors", len(MODEL), False),
        ("more/small.safetensors", "small.safetensors", said["choices"][1]["size"], False),
    ]
    choice = said["choices"][0]["choice"]
    wish = {"text": "artist/style", "choice": choice, "kind": "lora", "name": "mine"}
    id = online.done("/downloads", wish)["download"]
    online.until(lambda: online.download(id)["state"] in ("finished", "failed"))
    done = online.download(id)
    assert (done["state"], done["problem"], done["name"]) == ("finished", "", "mine.safetensors")
    assert (done["received"], done["size"]) == (len(MODEL), len(MODEL))
    path = online.root / "models" / "loras" / "mine.safetensors"
    assert path.read_bytes() == MODEL
    online.until(lambda: "mine.safetensors" in online.models())  # found without being asked to
    assert online.done(f"/downloads/{id}/forget") == {}
    assert online.get("/works").json()["downloads"] == []
    assert path.exists()


def test_a_file_s_address_needs_no_choice_and_is_held_against_a_checksum(online: Studio, hub: HubServer) -> None:
    address = f"{hub.origin}/artist/style/resolve/main/style.safetensors"
    said = online.done("/find", {"text": address})
    assert [(each["name"], each["size"]) for each in said["choices"]] == [("style.safetensors", len(MODEL))]
    wish = {"text": address, "kind": "lora"}
    assert "another sha256" in online.refused("/downloads", wish | {"sha256": "0" * 64})
    assert "no sha256" in online.refused("/downloads", wish | {"sha256": "abc"})
    right = {"sha256": "SHA256:" + hashlib.sha256(MODEL).hexdigest().upper(), "choice": said["choices"][0]["choice"]}
    id = online.done("/downloads", wish | right)["download"]
    online.until(lambda: online.download(id)["state"] == "finished")
    assert (online.root / "models" / "loras" / "style.safetensors").read_bytes() == MODEL


def test_a_file_from_elsewhere_with_a_wrong_checksum_is_thrown_away(online: Studio, hub: HubServer) -> None:
    storage: Server = hub.storage  # pyright: ignore
    storage.files["/files/pen.safetensors"] = MODEL
    address = f"{storage.origin}/files/pen.safetensors"
    said = online.done("/find", {"text": address})
    assert said == {
        "place": "localhost",
        "gated": False,
        "choices": [{"title": "localhost", "name": "pen.safetensors", "size": None, "folder": False, "choice": ""}],
    }
    assert storage.asked == [], "nobody is asked before the download"
    id = online.done("/downloads", {"text": address, "kind": "vae", "sha256": "0" * 64})["download"]
    online.until(lambda: online.download(id)["state"] == "failed")
    assert "thrown away" in online.download(id)["problem"]
    assert not (online.root / "models" / "vae" / "pen.safetensors").exists()
    assert "cancel it" in online.refused(f"/downloads/{id}/forget")
    online.done(f"/downloads/{id}/cancel")
    assert list((online.root / "models" / "vae").iterdir()) == []
    assert "no longer in the list" in online.refused(f"/downloads/{id}/resume")


def test_a_download_is_paused_and_goes_on_where_it_was(online: Studio, hub: HubServer) -> None:
    storage: Server = hub.storage  # pyright: ignore
    storage.faults.pause = 0.02
    wish = {"text": f"{hub.origin}/artist/style/resolve/main/style.safetensors", "kind": "lora"}
    id = online.done("/downloads", wish)["download"]
    online.until(lambda: online.download(id)["received"] > 0)
    online.done(f"/downloads/{id}/pause")
    online.until(lambda: online.download(id)["state"] == "paused")
    received = online.download(id)["received"]
    assert 0 < received < len(MODEL)
    assert not (online.root / "models" / "loras" / "style.safetensors").exists()
    storage.faults.pause = 0.0
    online.done(f"/downloads/{id}/resume")
    online.until(lambda: online.download(id)["state"] == "finished")
    assert (online.root / "models" / "loras" / "style.safetensors").read_bytes() == MODEL
    assert any(asked.headers.get("Range") == f"bytes={received}-" for asked in storage.asked)


def test_a_gated_repository_wants_a_token_that_is_never_shown(online: Studio, hub: HubServer) -> None:
    address = f"{hub.origin}/artist/gated/resolve/main/style.safetensors"
    assert online.done("/find", {"text": "artist/gated"})["gated"] is True
    assert "gated" in online.refused("/find", {"text": address})
    host = hub.origin  # this hub speaks http, which only its full address says
    assert online.done("/tokens", {"host": host, "token": hub.token}) == {"hosts": [hub.origin]}
    assert online.done("/find", {"text": address})["choices"][0]["size"] == len(MODEL)
    assert hub.token not in online.get("/tokens").text
    assert (online.app.options.data_dir / "tokens.json").stat().st_mode & 0o077 == 0
    assert online.done("/tokens/forget", {"host": host}) == {"hosts": []}
    for wrong in ({"host": host, "token": "a b"}, {"host": "", "token": "x"}, {"host": host}):
        assert online.refused("/tokens", wrong).endswith(".")


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ({"text": "artist/style"}, "choose one"),
        ({"text": "artist/style", "choice": "main"}, "none that was offered"),
        ({"text": "artist/style", "choice": '["main", "style.safetensors"]'}, "none that was offered"),
        ({"text": "artist/style", "choice": json.dumps(["0" * 40, "x"])}, "no such branch"),
        ({"text": "artist/none", "choice": json.dumps(["0" * 40, "x"])}, "no repository"),
        ({"text": "no address"}, "no web address"),
        ({"text": "https://me:secret@example.org/x"}, "user name"),
        ({"text": "https://10.0.0.1/x.safetensors?token=abc"}, "secret in 'token'"),
        ({"text": "http://127.0.0.1:1/x", "name": "../../x", "folder": "/etc"}, "folder"),
        ({"text": "https://example.org/x", "kind": "unknown"}, "say what it is"),
        ({"text": "https://example.org/x", "kind": "text_encoder"}, "say what it is"),
    ],
)
def test_downloads_that_cannot_be_are_sentences(online: Studio, wish: dict[str, str], words: str) -> None:
    assert words in online.refused("/downloads", {"kind": "lora"} | wish)
    assert online.get("/works").json()["downloads"] == []


def test_the_own_network_is_not_asked(online: Studio) -> None:
    id = online.done("/downloads", {"text": "https://127.0.0.1:9/x.safetensors", "kind": "lora"})["download"]
    online.until(lambda: online.download(id)["state"] == "failed")
    assert "not a public address" in online.download(id)["problem"]


def test_suggestions_can_be_fetched_as_they_are_and_say_what_is_here(online: Studio, hub: HubServer) -> None:
    said = online.get("/suggestions").json()
    assert {each["kind"] for each in said} == {"checkpoint", "vae"}
    assert not any(each["here"] for each in said)
    text = said[0]["text"]
    path = text.removeprefix(f"{hub.origin}/").split("/resolve/main/")
    hub.repositories[path[0]] = Repository({path[1]: MODEL})
    id = online.done("/downloads", {"text": text, "kind": said[0]["kind"]})["download"]
    online.until(lambda: online.download(id)["state"] == "finished")
    online.until(lambda: online.get("/suggestions").json()[0]["here"])
