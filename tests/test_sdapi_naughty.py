"""Texts that programs stumble over, through every text that AUTOMATIC1111's interface takes."""

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from backend.app import App, Options
from backend.server.sdapi.fields import ExtraSingle, Img2Img, Interrogate, PngInfo, Txt2Img, Wish
from tests.naughty import NAUGHTY
from tests.sd_studio import SD, Workshop, cookies, in_base64, server

SMALL = {"steps": 1, "width": 64, "height": 64, "send_images": False}
PICTURE = in_base64(Image.new("RGB", (64, 64)))
BODIES: dict[str, tuple[type[Wish], dict[str, Any]]] = {
    "txt2img": (Txt2Img, SMALL),
    "img2img": (Img2Img, {**SMALL, "init_images": [PICTURE]}),
    "extra-single-image": (ExtraSingle, {"image": PICTURE}),
    "png-info": (PngInfo, {}),
    "interrogate": (Interrogate, {"image": PICTURE}),
}
SETTINGS = ("sd_model_checkpoint", "sd_vae", "samples_format", "CLIP_stop_at_last_layers", "samples_filename_pattern")
HANDFULS = 12


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    app = App(Options(data_dir=tmp_path_factory.mktemp("data")), worker=Workshop)
    app.start()
    yield TestClient(server(app), cookies=cookies())
    app.close()


def places() -> Iterator[tuple[str, str, Callable[[str], Any]]]:
    """Every route, every value of its body that holds texts, and how a text gets there."""
    for route, (kind, _) in BODIES.items():
        for name, field in kind.model_fields.items():
            said = repr(field.annotation)
            if "dict" in said:
                yield route, name, lambda text: {text: text}
                yield route, name, lambda text: {text: {"args": [text]}}
            elif "list" in said:
                yield route, name, lambda text: [text]
            elif "str" in said:
                yield route, name, lambda text: text


def ask(client: TestClient, route: str, body: dict[str, Any]) -> None:
    answer = client.post(f"{SD}/{route}", content=json.dumps(body), headers={"Content-Type": "application/json"})
    if answer.status_code == 200:
        return
    said = answer.json()
    assert answer.status_code in (400, 404, 413, 422, 501), (route, answer.status_code, answer.text)
    assert said.keys() == {"error", "detail", "body", "errors"} and said["detail"], (route, answer.text)


def fill(client: TestClient, choose: Callable[[int], Iterable[str]]) -> int:
    """Every place with texts of the choice; returns how many requests that were."""
    found, asked = list(places()), 0
    assert len(found) > 40
    for number, (route, name, made) in enumerate(found):
        for text in choose(number):
            ask(client, route, {**BODIES[route][1], name: made(text)})
            asked += 1
    for number, name in enumerate(SETTINGS):
        for text in choose(number):
            ask(client, "options", {name: text})
            ask(client, "options", {text: text})
            asked += 2
    return asked


def some(number: int) -> list[str]:
    """A handful of the texts, others for each number."""
    return list(NAUGHTY.values())[number % HANDFULS :: HANDFULS]


def test_every_text_is_taken_or_refused_in_a_sentence(client: TestClient) -> None:
    assert fill(client, some) > 100


@pytest.mark.slow
def test_all_naughty_texts_in_every_place_are_taken_or_refused_in_a_sentence(client: TestClient) -> None:
    print(f"{fill(client, lambda _: NAUGHTY.values())} requests with naughty texts, none without a sound answer")
