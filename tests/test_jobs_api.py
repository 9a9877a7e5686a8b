"""``/api/v2`` in one process: what is asked and answered, and to whom."""

import asyncio
import io
import json
import threading
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from starlette.types import Message

from backend.events import Finished, Progress, Started
from backend.job import Job
from backend.outlook import Outlook
from backend.request import GenerationRequest
from backend.server.jobs_api import described
from backend.server.jobs_api.events import EventStream, Numbers
from backend.server.jobs_api.typescript import typescript
from backend.server.people import owner_named
from extensions.xyz_plot.plot import Plot, Plotted
from tests.api_studio import SMALL, WAIT, Studio, studio
from tests.loops import run_apart
from tests.scripted import ScriptedWorker

TYPES = Path(__file__).parent.parent / "docs" / "client" / "atelier.d.ts"


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """One that works at once."""
    with studio(tmp_path_factory.mktemp("data")) as opened:
        yield opened


@pytest.fixture
def gate() -> threading.Semaphore:
    return threading.Semaphore(0)


@pytest.fixture
def held(tmp_path: Path, gate: threading.Semaphore) -> Iterator[Studio]:
    """One whose steps wait for the gate."""
    with studio(tmp_path, lambda app: ScriptedWorker(app, gate=gate)) as opened:
        yield opened


def png(colour: str = "red", size: tuple[int, int] = (64, 48)) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", size, colour).save(data, "PNG")
    return data.getvalue()


def parsed(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    """The events of a stream, each with its id."""
    id = ""
    for line in lines:
        name, _, value = line.partition(": ")
        if name == "id":
            id = value
        elif name == "data":
            yield {"id": id, **json.loads(value)}


def test_a_picture_is_asked_for_followed_and_fetched(here: Studio) -> None:
    client = here.client()
    answer = client.post("/generations", json=SMALL | {"batch_count": 2})
    job = answer.json()
    assert (answer.status_code, answer.headers["location"]) == (202, f"/api/v2/jobs/{job['id']}")
    with client.stream("GET", f"/jobs/{job['id']}/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        events = list(parsed(stream.iter_lines()))
    kinds = [event["type"] for event in events if event["type"] not in ("progress", "queued")]
    assert kinds == ["started", "loading", "picture", "picture", "finished"]
    ended = client.get(f"/jobs/{job['id']}").json()
    assert (ended["state"], ended["seconds_left"], ended["error"]) == ("finished", 0, "")
    assert GenerationRequest.from_values(ended["request"]).seed == 1
    assert [picture["seed"] for picture in ended["pictures"]] == [1, 2]
    for picture in ended["pictures"]:
        fetched = client.get(picture["url"].removeprefix("/api/v2"))
        assert fetched.headers["content-type"] == picture["media_type"] == "image/png"
        assert Image.open(io.BytesIO(fetched.content)).size == (picture["width"], picture["height"]) == (64, 64)
    assert events[-2]["picture"] == ended["pictures"][1]


def test_of_a_picture_that_is_gone_a_sentence_says_so(here: Studio) -> None:
    id = here.submit()
    here.ended(id)
    here.app.queue.find(id, owner_named("me")).images[0].path.unlink()
    answer = here.client().get(f"/jobs/{id}/pictures/0")
    assert (answer.status_code, answer.json()["error"]) == (404, "not_found")
    assert "moved or deleted" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("values", "status", "kind", "words"),
    [
        ({"steps": 999}, 422, "invalid_value", "Sampling steps must be from 1 to 150, not 999."),
        ({"steps": "3"}, 422, "invalid_value", "Sampling steps must be a whole number"),
        ({"stepz": 3}, 422, "invalid_value", "no parameter called 'stepz'"),
        ({"init": {"picture": "../../etc/passwd"}}, 422, "invalid_value", "the name of a picture that was put in"),
        ({"init": {"picture": "0" * 64}}, 422, "invalid_value", "There is no picture '000000000000' any more"),
        ({"sampler": "Eulr"}, 422, "invalid_value", "did you mean Euler"),
        ({"checkpoint": "nothing"}, 422, "model_not_found", "There is no checkpoint called 'nothing'"),
    ],
)
def test_what_cannot_be_is_a_word_and_a_sentence(
    values: dict[str, Any], status: int, kind: str, words: str, here: Studio
) -> None:
    before = len(here.client().get("/jobs").json()["jobs"])
    answer = here.client().post("/generations", json=SMALL | values)
    assert (answer.status_code, answer.json()["error"]) == (status, kind)
    assert words in answer.json()["detail"]
    assert len(here.client().get("/jobs").json()["jobs"]) == before


@pytest.mark.parametrize(
    ("body", "status"), [(b"{", 422), (b"\x80", 400), (b"[" * 100_000, 400), (b"null", 422), (b"", 422)]
)
def test_a_body_that_is_no_json_is_a_sentence(body: bytes, status: int, here: Studio) -> None:
    answer = here.client().post("/generations", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status
    assert answer.json().keys() == {"error", "detail"}


def test_a_failed_job_says_why_in_a_word_and_a_sentence(here: Studio) -> None:
    ended = here.ended(here.submit(prompt="fail"))
    assert (ended["state"], ended["error"]) == ("failed", "failed")
    assert "was asked to fail" in ended["message"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("DELETE", ""),
        ("GET", "/events"),
        ("GET", "/pictures/0"),
        *(("POST", f"/{verb}") for verb in ("cancel", "skip", "retry", "move")),
    ],
)
def test_nobody_reaches_another_persons_job(method: str, path: str, here: Studio) -> None:
    id = here.submit()
    here.ended(id)
    body = {"places": 1} if path == "/move" else None
    answer = here.client("you").request(method, f"/jobs/{id}{path}", json=body)
    assert (answer.status_code, answer.json()["error"]) == (404, "not_found")
    assert here.client("you").get("/jobs").json() == {"jobs": []}
    assert here.client().get(f"/jobs/{id}").status_code == 200


def test_waiting_jobs_are_moved_cancelled_and_counted(held: Studio, gate: threading.Semaphore) -> None:
    client = held.client()
    running, *waiting = (held.submit(prompt=f"a red circle {k}") for k in range(4))
    other = held.submit("you")
    next(event for event in held.app.queue.find(running, owner_named("me")).follow() if isinstance(event, Started))
    assert client.get("/queue").json() | {"limit_total": 0, "limit_each": 0} == {
        "waiting": 4,
        "yours": 3,
        "running": 1,
        "limit_total": 0,
        "limit_each": 0,
    }
    assert [client.get(f"/jobs/{id}").json()["position"] for id in (running, *waiting)] == [0, 2, 3, 4]
    assert client.post(f"/jobs/{waiting[2]}/move", json={"places": -9}).json()["position"] == 2
    assert held.client("you").get(f"/jobs/{other}").json()["position"] == 1  # others' places are theirs
    assert client.post(f"/jobs/{waiting[0]}/cancel").json()["state"] == "interrupted"
    assert client.get("/jobs?state=queued").json()["jobs"][0]["id"] == waiting[2]
    refused = client.delete(f"/jobs/{waiting[2]}")
    assert (refused.status_code, refused.json()["error"]) == (422, "invalid_value")
    assert client.delete(f"/jobs/{waiting[0]}").status_code == 204
    client.post(f"/jobs/{running}/cancel")
    assert held.ended(running)["state"] == "interrupted"
    for _ in range(20):
        gate.release()
    assert [held.ended(waiting[2])["state"], held.ended(other, "you")["state"]] == ["finished", "finished"]
    assert client.post(f"/jobs/{waiting[2]}/cancel").json()["state"] == "finished"


def test_a_full_queue_says_when_to_try_again(held: Studio) -> None:
    held.app.settings.update({"queue_each": 2})
    running = held.submit()
    next(event for event in held.app.queue.find(running, owner_named("me")).follow() if isinstance(event, Started))
    held.submit()
    held.submit()
    answer = held.client().post("/generations", json=SMALL)
    assert (answer.status_code, answer.json()["error"]) == (429, "queue_full")
    assert int(answer.headers["retry-after"]) >= 1
    held.submit("you")


def test_a_submission_with_a_key_is_queued_once_also_after_a_restart(tmp_path: Path) -> None:
    def send(opened: Studio, key: str, **values: Any) -> Any:
        headers = {"Idempotency-Key": key}
        return opened.client().post("/generations", json=SMALL | {"seed": -1} | values, headers=headers)

    with studio(tmp_path) as opened:
        first = send(opened, "one").json()
        assert send(opened, "one").json()["id"] == first["id"]
        assert send(opened, "two").json()["id"] != first["id"]
        opened.ended(first["id"])
    with studio(tmp_path) as opened:
        again = send(opened, "one").json()
        assert (again["id"], again["state"]) == (first["id"], "finished")
        other = send(opened, "one", steps=3)
        assert (other.status_code, other.json()["error"]) == (422, "invalid_value")
        assert len(opened.client().get("/jobs").json()["jobs"]) == 2


def test_words_left_to_chance_are_a_job_for_each_picture(tmp_path: Path) -> None:
    values = {"prompt": "a {red|green|blue} {circle|star}", "batch_size": 2, "batch_count": 2}

    def send(opened: Studio, **more: Any) -> list[Any]:
        answer = opened.client().post("/generations", json=SMALL | values | more, headers={"Idempotency-Key": "k"})
        assert answer.status_code == 202, answer.text
        return [answer.json(), *answer.json()["others"]]

    with studio(tmp_path) as opened:
        opened.app.settings.update({"queue_each": 3})
        full = opened.client().post("/generations", json=SMALL | values)
        assert (full.status_code, full.json()["error"]) == (422, "invalid_value")
        assert opened.client().get("/jobs").json()["jobs"] == [], "some of them were queued"
        opened.app.settings.update({"queue_each": 0})
        jobs = send(opened)
        assert [job["request"]["seed"] for job in jobs] == [1, 2, 3, 4]
        drawn = [opened.app.wildcards.samples(values["prompt"], seed=seed, count=1)[0].prompt for seed in range(1, 5)]
        assert [job["request"]["prompt"] for job in jobs] == drawn
        assert {job["request"]["template"]["prompt"] for job in jobs} == {values["prompt"]}
        assert all(len(opened.ended(job["id"])["pictures"]) == 1 for job in jobs)
    with studio(tmp_path) as opened:
        assert [job["id"] for job in send(opened)] == [job["id"] for job in jobs]
        varied = {**values, "variation": {"seed": 1, "strength": 0.5}}
        assert opened.client().post("/generations", json=SMALL | varied).json()["others"] == []


def test_a_grid_of_the_page_is_in_the_list(here: Studio) -> None:
    plot = Plot(x=Plotted(axis="Steps", values="1,2"))
    drawing = here.app.grids.begin(plot.grid(GenerationRequest.from_values(SMALL)), owner_named("me"))
    shown = here.ended(drawing.id)
    assert (shown["kind"], shown["state"], len(shown["pictures"])) == ("grid", "finished", 1)
    assert shown["request"]["title"] == "X/Y/Z plot: Steps" and shown["request"]["base"]["prompt"] == SMALL["prompt"]
    kinds = [job["kind"] for job in here.client().get("/jobs").json()["jobs"][-3:]]
    assert kinds == ["generation", "generation", "grid"]
    again = here.client().post(f"/jobs/{drawing.id}/retry").json()
    assert again["kind"] == "grid" and here.ended(again["id"])["state"] == "finished"


def test_a_stream_goes_on_where_it_broke_off(here: Studio) -> None:
    id = here.submit(batch_count=3)
    here.ended(id)
    client = here.client()

    def follow(last: str) -> Any:
        return client.get(f"/jobs/{id}/events", headers={"Last-Event-ID": last})

    whole = list(parsed(iter(follow("").text.splitlines())))
    for k, event in enumerate(whole[:-1]):
        rest = list(parsed(iter(follow(event["id"]).text.splitlines())))
        assert rest == whole[k + 1 :]
    assert follow(whole[-1]["id"]).status_code == 204  # or a browser would ask for ever
    # An id of an earlier run of the program says nothing of this one.
    assert list(parsed(iter(follow("00000000-99").text.splitlines()))) == whole
    assert list(parsed(iter(follow("nonsense").text.splitlines()))) == whole


class Client:
    """The other end of a stream, which reads when it is told to, and goes away."""

    def __init__(self) -> None:
        self.chunks: list[bytes] = []
        self.room = asyncio.Event()
        self.room.set()
        self.gone = asyncio.Event()

    async def receive(self) -> Message:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        await self.room.wait()
        if message["type"] == "http.response.body":
            self.chunks.append(message["body"])

    async def has(self, words: bytes) -> None:
        async with asyncio.timeout(WAIT):
            while words not in b"".join(self.chunks):
                await asyncio.sleep(0.001)


def stream_of(job: Job, heartbeat: float = WAIT) -> EventStream:
    stands = Outlook(position=7, begins_in=1.0, seconds_left=2.0)
    return EventStream(job, numbers=Numbers(), after=0, outlook=lambda: stands, heartbeat=heartbeat)


def step(number: int) -> Progress:
    return Progress(step=number, steps=9999, batch=1, batches=1, rate=1, remaining=1, preview=b"x" * 10_000)


def test_a_slow_client_skips_steps_and_nothing_piles_up() -> None:
    async def run() -> None:
        job, client = Job(GenerationRequest(), "me"), Client()
        job.emit(Started())
        sending = asyncio.create_task(stream_of(job)({"type": "http"}, client.receive, client.send))
        await client.has(b"started")
        client.room.clear()
        for number in range(1, 1001):
            job.emit(step(number))
            await asyncio.sleep(0)
        job.emit(Finished())
        client.room.set()
        await asyncio.wait_for(sending, WAIT)
        told = b"".join(client.chunks)
        assert b'"step":1000,' in told
        assert told.count(b"event: progress") <= 2  # the one on its way when there was no more room, and the newest
        assert told.endswith(b'event: finished\ndata: {"type":"finished","error":"","message":""}\n\n')
        assert job._listeners == []

    run_apart(run())


def test_a_client_that_is_gone_is_listened_for_no_longer() -> None:
    async def run() -> None:
        job, client = Job(GenerationRequest(), "me"), Client()
        sending = asyncio.create_task(stream_of(job)({"type": "http"}, client.receive, client.send))
        await client.has(b"event: queued")
        assert len(job._listeners) == 1
        client.gone.set()
        await asyncio.wait_for(sending, WAIT)
        assert job._listeners == []
        assert job.state == "queued"  # whoever follows it or not

    run_apart(run())


def test_in_silence_a_client_is_told_that_the_line_stands() -> None:
    async def run() -> None:
        job, client = Job(GenerationRequest(), "me"), Client()
        sending = asyncio.create_task(stream_of(job, 0.01)({"type": "http"}, client.receive, client.send))
        async with asyncio.timeout(WAIT):
            while b"".join(client.chunks).count(b"event: queued") < 3:
                await asyncio.sleep(0.001)
        job.emit(Started())
        await client.has(b": alive")
        job.emit(Finished())
        await asyncio.wait_for(sending, WAIT)

    run_apart(run())


def test_pictures_are_put_in_by_their_hash(here: Studio) -> None:
    client, data = here.client(), png("orange")
    name = sha256(data).hexdigest()
    assert client.get(f"/inputs/{name}").status_code == 404
    wrong = client.put(f"/inputs/{name}", content=data[:-1], headers={"Content-Type": "image/png"})
    assert (wrong.status_code, wrong.json()["error"]) == (422, "invalid_value")
    put = client.put(f"/inputs/{name}", content=data, headers={"Content-Type": "image/png"})
    assert put.json() == client.get(f"/inputs/{name}").json() == {"name": name, "width": 64, "height": 48}
    assert client.get(f"/inputs/{name}/bytes").content == data
    job = here.ended(here.submit(init={"picture": name}))
    assert (job["state"], job["request"]["init"]["picture"]) == ("finished", name)
    upscale = client.post("/upscales", json={"inputs": [name], "scale": 2})
    assert (upscale.status_code, upscale.json()["kind"]) == (202, "upscale")
    refused = client.post("/inputs", content=b"no picture")
    assert (refused.status_code, refused.json()["error"]) == (422, "invalid_value")


def test_a_recipe_becomes_the_request_that_made_it(here: Studio) -> None:
    client, id = here.client(), here.submit(prompt="a blue star", steps=3)
    ended = here.ended(id)
    told = client.post("/png-info", content=client.get(f"/jobs/{id}/pictures/0").content).json()
    assert (told["origin"], told["prompt"]) == ("Atelier", "a blue star")
    assert told["request"] == ended["request"]
    assert {"key": "Steps", "value": "3"} in told["values"]
    others = client.post("/png-info", content=b"a cat\nSteps: 7, Sampler: Euler a, Seed: 5, Size: 64x64").json()
    assert (others["request"]["steps"], others["request"]["sampler"]) == (7, "Euler a")
    nothing = client.post("/png-info", content=png()).json()
    assert (nothing["request"], nothing["remarks"]) == (None, ["This file does not say how it was made."])


def test_what_requests_name_is_there_to_be_asked_for(here: Studio) -> None:
    client = here.client()
    models = client.get("/models?kind=checkpoint").json()["models"]
    assert "starter" in [model["name"] for model in models]
    assert client.get(f"/models/{models[0]['id']}").json() == models[0]
    assert client.get("/models/none").json()["error"] == "not_found"
    assert all(model["kind"] == "lora" for model in client.get("/loras").json()["models"])
    for path, name in (("samplers", "Euler a"), ("schedules", "Karras"), ("upscalers", "Lanczos")):
        assert name in [row["name"] for row in client.get(f"/{path}").json()["names"]]
    for row in client.get("/samplers").json()["names"]:
        for name in (row["name"], *row["aliases"]):
            assert here.ended(here.submit(sampler=name, steps=1))["request"]["sampler"] == row["name"]


def test_an_unknown_address_and_a_wrong_method_are_sentences(here: Studio) -> None:
    client = here.client()
    assert client.get("/nothing").json()["error"] == "not_found"
    wrong = client.delete("/samplers")
    assert (wrong.status_code, wrong.headers["allow"], wrong.json()["error"]) == (405, "GET", "method_not_allowed")


def test_the_types_are_those_of_the_document(here: Studio) -> None:
    """Written anew by ``python -m backend.server.jobs_api.typescript > docs/client/atelier.d.ts``."""
    document = here.client().get("/openapi.json").json()
    assert document == json.loads(json.dumps(described(here.app)))
    assert TYPES.read_text() == typescript(document)


def untyped(schema: Any, place: str) -> Iterator[str]:
    """Where a schema lets anything through."""
    if not isinstance(schema, dict):
        return
    if not schema.keys() & {"$ref", "type", "enum", "const", "anyOf", "oneOf", "allOf"}:
        yield place
    others = schema.get("additionalProperties")
    if schema.get("type") == "object" and (others is True or not (schema.get("properties") or others)):
        yield place
    yield from untyped(others, f"{place}.*")
    if schema.get("type") == "array" and not schema.keys() & {"items", "prefixItems"}:
        yield place
    for name, each in schema.get("properties", {}).items():
        yield from untyped(each, f"{place}.{name}")
    for several in ("anyOf", "oneOf", "prefixItems"):
        for each in schema.get(several, ()):
            yield from untyped(each, place)
    if "items" in schema:
        yield from untyped(schema["items"], f"{place}[]")


def contents(operation: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    described = [operation.get("requestBody", {}), *operation["responses"].values()]
    for each in described:
        for kind, content in each.get("content", {}).items():
            yield kind, content["schema"]


def test_the_document_leaves_nothing_untyped(here: Studio) -> None:
    assert list(untyped({"type": "object"}, "a")) == ["a"]  # it would be seen
    assert list(untyped({"type": "object", "additionalProperties": {}}, "a")) == ["a", "a.*"]
    document = described(here.app)
    found = [place for name, each in document["components"]["schemas"].items() for place in untyped(each, name)]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            found += [place for _, each in contents(operation) for place in untyped(each, f"{method} {path}")]
            found += [
                place for each in operation.get("parameters", ()) for place in untyped(each["schema"], each["name"])
            ]
            assert operation["description"], f"{method} {path}"
    assert found == ["ExtensionView.parameters"]  # which is a JSON schema itself
    examples = document["paths"]["/api/v2/generations"]["post"]["requestBody"]["content"]["application/json"]
    for example in examples["examples"].values():
        GenerationRequest.from_values(example["value"])
