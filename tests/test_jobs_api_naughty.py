"""Texts that programs stumble over, through every text that ``/api/v2`` takes."""

import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from httpx2 import Response

from backend.server.jobs_api import described
from tests.api_studio import SMALL, Studio, studio
from tests.naughty import NAUGHTY
from tests.scripted import ScriptedWorker
from tests.test_jobs_api_requests import AROUND

NAME = "0" * 64
JSON = {"Content-Type": "application/json"}
HANDFULS = 9


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """One that works on nothing, and takes no more than two jobs."""
    gate = threading.Semaphore(0)
    with studio(tmp_path_factory.mktemp("data"), lambda app: ScriptedWorker(app, gate=gate)) as opened:
        opened.app.settings.update({"queue_each": 1})
        yield opened


def texts(schemas: Mapping[str, Any], name: str, place: str = "") -> Iterator[str]:
    """The places of all texts in a schema of the document."""
    for field, each in schemas[name]["properties"].items():
        here = f"{place}.{field}".strip(".")
        kinds = [each, *each.get("anyOf", ()), each.get("items", {})]
        if any(kind.get("type") == "string" for kind in kinds):
            yield here
        for kind in kinds:
            if "$ref" in kind:
                yield from texts(schemas, kind["$ref"].rpartition("/")[2], here)


def with_text(place: str, text: str, *, several: bool) -> dict[str, Any]:
    *path, name = place.split(".")
    whole: dict[str, Any] = {"inputs": [NAME]} if several else dict(SMALL)
    part, done = whole, ""
    for each in path:
        done = f"{done}.{each}".strip(".")
        part = part.setdefault(each, dict(AROUND.get(done, {})))
    part[name] = [text] if place == "inputs" else text
    return whole


def sound(answer: Response) -> bool:
    """Whether a server in its right mind says that."""
    if answer.status_code < 300:
        return True
    said = answer.json()
    return answer.status_code in (404, 405, 422, 429) and said.keys() == {"error", "detail"} and said["detail"] != ""


def some(number: int) -> list[str]:
    """A handful of the texts, others for each number: all of them come to somewhere."""
    return list(NAUGHTY.values())[number % HANDFULS :: HANDFULS]


def fill(here: Studio, choose: Callable[[int], Iterable[str]]) -> int:
    """Every place of a text with texts of the choice; returns how many requests that were."""
    client, schemas = here.client(), described(here.app)["components"]["schemas"]
    paths = {"GenerationRequest": "/generations", "UpscaleRequest": "/upscales"}
    places = [(kind, place) for kind in paths for place in texts(schemas, kind)]
    assert len(places) > 25
    asked = 0
    for number, (kind, place) in enumerate(places):
        for text in choose(number):
            body = json.dumps(with_text(place, text, several=kind == "UpscaleRequest"))
            answer = client.post(paths[kind], content=body, headers=JSON)
            assert sound(answer), (place, answer.status_code, answer.text)
            asked += 1
    return asked


def test_every_text_of_a_request_is_taken_or_refused_in_a_sentence(here: Studio) -> None:
    assert fill(here, some) > 100


@pytest.mark.slow
def test_all_naughty_texts_in_every_place_are_taken_or_refused_in_a_sentence(here: Studio) -> None:
    asked = fill(here, lambda _: NAUGHTY.values())
    for text in NAUGHTY.values():
        asked += elsewhere(here, text)
    print(f"{asked} requests with naughty texts, none without a sound answer")


@pytest.mark.parametrize("text", some(1))
def test_every_other_text_is_taken_or_refused_in_a_sentence(text: str, here: Studio) -> None:
    assert elsewhere(here, text) > 3


def elsewhere(here: Studio, text: str) -> int:
    """A text in addresses, headers and files; returns how many requests that were."""
    client, asked = here.client(), 2
    encoded = text.encode("utf-8", errors="surrogatepass")
    quoted = quote(encoded[:4000], safe="")
    for path in ("jobs", "models", "inputs"):
        answer = client.get(f"/{path}/{quoted}")
        assert sound(answer) or answer.status_code == 404, path  # a line break belongs to no address of ours
    for path in ("jobs?state=", "models?kind=", "jobs?newest="):
        assert sound(client.get(f"/{path}{quoted}")), path
    for header in ("Idempotency-Key", "Last-Event-ID"):
        printable = "".join(sign for sign in text if " " <= sign <= "~").strip()[:8000]
        answer = client.post("/generations", content=json.dumps(SMALL), headers={**JSON, header: printable})
        assert sound(answer), header
        asked += 4
    told = client.post("/png-info", content=encoded)
    assert told.status_code == 200, told.text
    assert sound(client.post("/inputs", content=encoded))
    return asked


def test_prompts_that_are_taken_come_back_as_they_were(tmp_path: Path) -> None:
    with studio(tmp_path) as opened:
        for text in some(0):
            answer = opened.client().post("/generations", content=json.dumps({**SMALL, "prompt": text}), headers=JSON)
            if answer.status_code == 202:
                assert answer.json()["request"]["prompt"] == text
                assert opened.ended(answer.json()["id"])["state"] in ("finished", "failed")
