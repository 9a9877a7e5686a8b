"""The routes that serve a job's pictures, on files that were really saved."""

import io
import time
from collections.abc import Iterator
from urllib.parse import unquote

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image

from backend.app import App, Options
from backend.events import ImageReady
from backend.jobs import Job
from backend.request import GenerationRequest
from backend.server import pictures
from backend.server.owner import OWNER_COOKIE
from tests.scripted import ScriptedWorker

ME, OTHER = "a" * 32, "b" * 32


@pytest.fixture
def app(options: Options) -> Iterator[App]:
    app = App(options, worker=ScriptedWorker)
    app.start()
    yield app
    app.close()


@pytest.fixture
def client(app: App) -> TestClient:
    server = FastAPI()
    server.include_router(pictures.router(app))
    return TestClient(server, cookies={OWNER_COOKIE: ME})


@pytest.fixture
def job(app: App) -> Job:
    request = GenerationRequest(prompt="a green tree", steps=1, width=192, height=128, seed=5, batch_count=2)
    job = app.queue.submit(request, ME)
    for _ in job.follow():
        pass
    assert job.state == "finished"
    return job


def url(job: Job, index: int = 0) -> str:
    return f"/atelier/pictures/{job.id}/{index}"


def test_the_file_arrives_as_it_was_saved(client: TestClient, job: Job) -> None:
    for image in job.images:
        answer = client.get(url(job, image.index))
        assert answer.status_code == 200
        assert answer.content == image.path.read_bytes()
        assert answer.headers["content-type"] == "image/png"
        assert "content-disposition" not in answer.headers


def test_a_download_has_the_files_name(app: App, client: TestClient) -> None:
    app.settings.update({"name_pattern": "[number]-[prompt_words]"})
    job = app.queue.submit(GenerationRequest(prompt="grüner Baum", steps=1, width=64, height=64), ME)
    for _ in job.follow():
        pass
    answer = client.get(url(job), params={"download": 1})
    kind, _, name = answer.headers["content-disposition"].partition("; filename*=UTF-8''")
    assert kind == "attachment"
    assert unquote(name) == job.images[0].path.name
    assert "grüner" in unquote(name)
    assert answer.content == job.images[0].path.read_bytes()


@pytest.mark.parametrize(("asked", "side"), [(64, 64), (1, 32), (100_000, 192), (-5, 32)])
def test_a_thumbnail_is_small_and_keeps_the_shape(client: TestClient, job: Job, asked: int, side: int) -> None:
    answer = client.get(url(job), params={"thumb": asked})
    assert answer.headers["content-type"] == "image/webp"
    with Image.open(io.BytesIO(answer.content)) as small:
        assert max(small.size) == side
        assert abs(small.width / small.height - 1.5) < 0.05


def test_other_formats_arrive_as_what_they_are(app: App, client: TestClient) -> None:
    for format, media in {"jpeg": "image/jpeg", "webp": "image/webp"}.items():
        app.settings.update({"image_format": format})
        job = app.queue.submit(GenerationRequest(steps=1, width=64, height=64), ME)
        for _ in job.follow():
            pass
        assert client.get(url(job)).headers["content-type"] == media
        assert client.get(url(job), params={"thumb": 32}).status_code == 200


@pytest.mark.parametrize("parameters", [{}, {"download": 1}, {"thumb": 64}])
def test_nobody_else_gets_it(client: TestClient, job: Job, parameters: dict[str, int]) -> None:
    for cookies in ({OWNER_COOKIE: OTHER}, {OWNER_COOKIE: "../" + ME}, {}):
        stranger = TestClient(client.app, cookies=cookies)
        answer = stranger.get(url(job), params=parameters)
        assert answer.status_code == 404
        assert str(job.images[0].path.parent) not in answer.text


@pytest.mark.parametrize("parameters", [{}, {"download": 1}, {"thumb": 64}])
def test_a_file_that_is_gone_is_a_sentence(client: TestClient, job: Job, parameters: dict[str, int]) -> None:
    client.get(url(job), params=parameters)
    path = job.images[0].path
    path.unlink()
    answer = client.get(url(job), params=parameters)
    assert answer.status_code == 404
    assert answer.text == f"{path.name} is no longer in {path.parent}: it was moved or deleted."


def test_a_damaged_file_has_no_thumbnail_but_a_sentence(client: TestClient, job: Job) -> None:
    path = job.images[0].path
    path.write_bytes(b"no picture")
    answer = client.get(url(job), params={"thumb": 64})
    assert answer.status_code == 404
    assert path.name in answer.text


def test_unknown_jobs_and_numbers_are_sentences(client: TestClient, job: Job) -> None:
    assert client.get(f"/atelier/pictures/{'0' * 32}/0").text == "There is no such job in your list."
    for index in (2, -1, 10**30):
        assert client.get(url(job, index)).text == f"This job has no picture number {index}."


def test_what_the_browser_has_is_not_sent_again_until_it_changes(client: TestClient, job: Job) -> None:
    for parameters in ({}, {"thumb": 64}):
        first = client.get(url(job), params=parameters)
        known = {"if-none-match": first.headers["etag"]}
        again = client.get(url(job), params=parameters, headers=known)
        assert (again.status_code, again.content) == (304, b"")
    image: ImageReady = job.images[0]
    time.sleep(0.01)
    Image.new("RGB", (192, 128), "blue").save(image.path)
    for parameters in ({}, {"thumb": 64}):
        changed = client.get(url(job), params=parameters, headers=known)
        assert changed.status_code == 200
