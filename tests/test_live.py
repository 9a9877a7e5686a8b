"""The live channel, through a real WebSocket, with jobs that a scripted worker makes step by step."""

import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.testclient import WebSocketTestSession
from starlette.types import Receive, Scope, Send

from backend.app import App, Options
from backend.events import Notice, Progress
from backend.jobs import Job
from backend.request import GenerationRequest
from backend.server import live
from backend.server.live import ID_LENGTH
from backend.server.owner import OWNER_COOKIE
from backend.server.people import Person
from tests.scripted import ScriptedWorker

ME, OTHER = "a" * 32, "b" * 32
PATIENCE = 30.0  # seconds that a test waits for what must happen


class Stage:
    """An app whose worker goes on by one step whenever the test says so, and clients that watch it."""

    def __init__(self, options: Options):
        self.gate = threading.Semaphore(0)
        self.app = App(options, worker=lambda app: ScriptedWorker(app, gate=self.gate))
        self.server = FastAPI()
        self.server.include_router(live.router(self.app))
        self.app.start()

    def submit(self, prompt: str = "a red circle", owner: str = ME, **values: Any) -> Job:
        small: dict[str, Any] = {"steps": 4, "width": 64, "height": 64, "seed": 7} | values
        return self.app.queue.submit(GenerationRequest(prompt=prompt, **small), owner)

    def step(self, job: Job, step: int) -> None:
        """Let the job make steps until it has done number `step` of its first batch."""
        self.gate.release()
        until(lambda: any(isinstance(e, Progress) and e.step >= step for _, e in job.since()))

    def finish(self, job: Job) -> None:
        self.gate.release(1000)
        until(lambda: job.ended)

    def close(self) -> None:
        self.gate.release(1000)
        self.app.close()


@pytest.fixture
def stage(options: Options) -> Iterator[Stage]:
    stage = Stage(options)
    yield stage
    stage.close()


@pytest.fixture
def client(stage: Stage) -> Iterator[TestClient]:
    with TestClient(stage.server) as client:
        yield client


def until(happens: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not happens():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


def window(client: TestClient, owner: str = ME) -> Any:
    return client.websocket_connect("/atelier/live", headers={"cookie": f"{OWNER_COOKIE}={owner}"})


def hear(socket: WebSocketTestSession, kind: str, fits: Callable[[Any], bool] = lambda _: True) -> Any:
    """The next message of this kind that fits; all others are passed over."""
    while True:
        message = socket.receive()
        if message["type"] == "websocket.close":
            raise AssertionError(f"closed before {kind!r} came")
        if message.get("bytes"):
            if kind == "preview":
                return message["bytes"]
            continue
        value = json.loads(message["text"])
        if value["type"] == kind and fits(value):
            return value
        assert value["type"] != "problem", f"{value['message']} came, and no {kind!r} before it"


def obeyed(socket: WebSocketTestSession) -> None:
    """Wait until everything sent before has been done: orders are followed one after the other."""
    socket.send_json({"op": "answer me"})
    hear(socket, "problem")


def until_the_problem(socket: WebSocketTestSession) -> list[dict[str, Any]]:
    """All that is said up to the answer to nonsense."""
    heard = [socket.receive_json()]
    while heard[-1]["type"] != "problem":
        heard.append(socket.receive_json())
    return heard


def states(message: dict[str, Any]) -> list[str]:
    return [job["state"] for job in message["jobs"]]


def test_a_window_is_told_everything_when_it_comes(stage: Stage, client: TestClient) -> None:
    job = stage.submit(batch_count=2, seed=2**63)
    stage.gate.release(4)
    until(lambda: len(job.images) == 1)
    stage.gate.release()
    until(lambda: any(isinstance(e, Progress) and e.batch == 2 for _, e in job.since()))
    with window(client) as socket:
        assert hear(socket, "status")["checkpoint"] == "starter"
        row = hear(socket, "jobs")["jobs"][0]
        assert (row["id"], row["state"], row["prompt"], row["count"]) == (job.id, "running", "a red circle", 2)
        assert row["seed"] == str(2**63)  # as text: JavaScript would round it
        told = hear(socket, "pictures")
        assert told["job"] == job.id
        assert [picture["index"] for picture in told["pictures"]] == [0]
        assert told["pictures"][0]["infotext"] == job.images[0].infotext
        progress = hear(socket, "progress")
        assert (progress["job"], progress["step"], progress["batch"]) == (job.id, 1, 2)
        socket.send_json({"op": "answer me"})
        preview = hear(socket, "preview")
        assert preview[:ID_LENGTH].decode() == job.id
        assert preview[ID_LENGTH : ID_LENGTH + 3] == b"\xff\xd8\xff"


def test_two_windows_hear_the_same(stage: Stage, client: TestClient) -> None:
    with window(client) as one, window(client) as two:
        job = stage.submit()
        for socket in (one, two):
            assert hear(socket, "jobs", lambda m: states(m) == ["running"])["jobs"][0]["id"] == job.id
        stage.step(job, 1)
        assert hear(one, "progress") == hear(two, "progress")
        stage.finish(job)
        for socket in (one, two):
            assert len(hear(socket, "pictures")["pictures"]) == 1


def test_each_picture_is_told_once(stage: Stage, client: TestClient) -> None:
    with window(client) as socket:
        job = stage.submit(batch_count=3)
        stage.finish(job)
        indices: list[int] = []
        while len(indices) < 3:
            indices += [picture["index"] for picture in hear(socket, "pictures")["pictures"]]
        assert indices == [0, 1, 2]


def test_a_slow_window_skips_and_then_sees_the_newest(stage: Stage, client: TestClient) -> None:
    with window(client) as socket:
        job = stage.submit(steps=40)
        stage.step(job, 1)
        assert hear(socket, "progress")["step"] == 1
        stage.gate.release(29)
        until(lambda: any(isinstance(e, Progress) and e.step == 30 for _, e in job.since()))
        socket.send_json({"op": "seen"})
        assert hear(socket, "progress")["step"] == 30


def test_a_step_without_a_preview_does_not_lose_the_one_before(stage: Stage, client: TestClient) -> None:
    job = stage.submit()
    stage.step(job, 1)
    job.emit(Progress(step=2, steps=4, batch=1, batches=1, rate=1.0, remaining=2.0))
    with window(client) as socket:
        assert hear(socket, "progress")["step"] == 2
        socket.send_json({"op": "answer me"})
        assert hear(socket, "preview")[:ID_LENGTH].decode() == job.id


def test_a_browser_without_a_name_gets_a_sentence_and_nothing_else(stage: Stage, client: TestClient) -> None:
    stage.submit()
    for cookie in ("", "atelier_owner=short", f"atelier_owner={'A' * 32}"):
        with client.websocket_connect("/atelier/live", headers={"cookie": cookie}) as socket:
            message = socket.receive_json()
            assert message["type"] == "problem"
            assert "cookie" in message["message"]
            assert socket.receive()["type"] == "websocket.close"


def test_what_others_do_stays_theirs(stage: Stage, client: TestClient) -> None:
    job = stage.submit(owner=OTHER)
    until(lambda: job.state == "running")
    with window(client) as socket:
        assert hear(socket, "jobs")["jobs"] == []
        for op in ("cancel", "retry", "forget", "move"):
            socket.send_json({"op": op, "job": job.id, "places": 1})
            assert hear(socket, "problem")["message"] == "There is no such job in your list."
        socket.send_json({"op": "interrupt"})
        socket.send_json({"op": "skip"})
        socket.send_json({"op": "cancel_queued"})
        mine = stage.submit()
        rows = hear(socket, "jobs", lambda m: len(m["jobs"]) > 0)["jobs"]
        assert [row["id"] for row in rows] == [mine.id]
        stage.finish(job)
        assert job.state == "finished"
        assert len(job.images) == 1


def test_interrupt_ends_the_running_job_and_keeps_its_pictures(stage: Stage, client: TestClient) -> None:
    with window(client) as socket:
        job = stage.submit(batch_count=3)
        waiting = stage.submit()
        stage.gate.release(5)
        until(lambda: len(job.images) == 1)
        socket.send_json({"op": "interrupt"})
        hear(socket, "jobs", lambda m: states(m)[:1] == ["interrupted"])
        assert len(job.images) == 1
        stage.finish(waiting)
        assert waiting.state == "finished"


def test_skip_goes_on_with_the_next_batch(stage: Stage, client: TestClient) -> None:
    with window(client) as socket:
        job = stage.submit(batch_count=2)
        stage.step(job, 1)
        socket.send_json({"op": "skip"})
        obeyed(socket)
        stage.finish(job)
        assert [image.index for image in job.images] == [1]
        assert job.state == "finished"


def test_the_line_can_be_changed(stage: Stage, client: TestClient) -> None:
    with window(client) as socket:
        running, a, b, c = (stage.submit(prompt) for prompt in ("first", "a", "b", "c"))
        until(lambda: running.state == "running")
        socket.send_json({"op": "move", "job": c.id, "places": -2})
        message = hear(socket, "jobs", lambda m: [job["prompt"] for job in m["jobs"]] == ["first", "c", "a", "b"])
        assert [job["place"] for job in message["jobs"]] == [0, 1, 2, 3]
        socket.send_json({"op": "cancel", "job": a.id})
        hear(socket, "jobs", lambda m: states(m).count("interrupted") == 1)
        socket.send_json({"op": "cancel_queued"})
        hear(socket, "jobs", lambda m: states(m).count("interrupted") == 3)
        assert {a.state, b.state, c.state} == {"interrupted"}
        socket.send_json({"op": "forget", "job": a.id})
        hear(socket, "jobs", lambda m: a.id not in [job["id"] for job in m["jobs"]])
        socket.send_json({"op": "retry", "job": b.id})
        message = hear(socket, "jobs", lambda m: states(m).count("queued") == 1)
        assert next(job["prompt"] for job in message["jobs"] if job["state"] == "queued") == "b"
        socket.send_json({"op": "cancel", "job": running.id})
        until(lambda: running.state == "interrupted")


def test_the_place_in_line_counts_everybodys_jobs(stage: Stage, client: TestClient) -> None:
    def places(message: dict[str, Any]) -> list[int]:
        return [job["place"] for job in message["jobs"]]

    running = stage.submit("first")
    until(lambda: running.state == "running")
    mine = [stage.submit(prompt) for prompt in ("a", "b")]
    with window(client) as socket:
        hear(socket, "jobs", lambda m: places(m) == [0, 1, 2])
        theirs = [stage.submit(prompt, owner=OTHER) for prompt in ("c", "d")]
        # They were not served for longer, and take turns with mine; what they do is told as far as it moves my places.
        message = hear(socket, "jobs", lambda m: places(m) == [0, 2, 4])
        assert [job["id"] for job in message["jobs"]] == [running.id, *(job.id for job in mine)]
        stage.app.queue.cancel(theirs[0])
        hear(socket, "jobs", lambda m: places(m) == [0, 2, 3])
        socket.send_json({"op": "cancel", "job": mine[0].id})
        hear(socket, "jobs", lambda m: places(m) == [0, 0, 2])


def test_when_a_waiting_job_begins_is_told_as_far_as_it_is_known(stage: Stage, client: TestClient) -> None:
    def begins(message: dict[str, Any]) -> list[bool]:
        return [job["begins_in"] is not None for job in message["jobs"] if job["state"] == "queued"]

    running = stage.submit("first")
    stage.step(running, 1)
    with window(client) as socket:
        stage.submit("a")
        stage.submit("b")
        # What runs says how long it will; how long one that waits will take, nothing has been measured for yet.
        hear(socket, "jobs", lambda m: begins(m) == [True, False])
        stage.gate.release(3)
        hear(socket, "jobs", lambda m: begins(m) == [True])


def test_who_only_looks_gives_no_orders(stage: Stage) -> None:
    async def seen(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            scope["state"] = {"person": Person(name="vera", role="viewer", owner=ME, how="login")}
        await stage.server(scope, receive, send)

    running, waiting = stage.submit(), stage.submit()
    until(lambda: running.state == "running")
    with TestClient(seen) as client, window(client) as socket:
        hear(socket, "jobs", lambda m: len(m["jobs"]) == 2)
        for order in ({"op": "interrupt"}, {"op": "cancel", "job": waiting.id}, {"op": "retry", "job": waiting.id}):
            socket.send_json(order)
            assert "not for a person who is viewer" in until_the_problem(socket)[-1]["message"]
    assert not running.cancelled and [job.state for job in stage.app.queue.jobs(ME)] == ["running", "queued"]


def test_what_changes_nothing_here_is_not_told_again(stage: Stage, client: TestClient) -> None:
    mine = stage.submit()
    until(lambda: mine.state == "running")
    with window(client) as socket:
        hear(socket, "jobs", lambda m: states(m) == ["running"])
        stage.app.queue.cancel(stage.submit(owner=OTHER))
        socket.send_json({"op": "answer me"})
        assert "jobs" not in [message["type"] for message in until_the_problem(socket)]


def test_a_window_is_told_of_models_and_works_when_it_comes_and_when_they_change(
    stage: Stage, client: TestClient, tiny_checkpoint: Path
) -> None:
    stage.app.catalog.wait(PATIENCE)
    with window(client) as one, window(client, OTHER) as two:
        versions = [hear(socket, "models")["version"] for socket in (one, two)]
        for socket in (one, two):
            assert hear(socket, "works") == {"type": "works", "works": [], "downloads": []}
        shutil.copy(tiny_checkpoint, tiny_checkpoint.with_name("another.safetensors"))
        stage.app.catalog.refresh()
        for socket, version in zip((one, two), versions, strict=True):
            told = hear(socket, "models", lambda m, version=version: m["version"] > version)
            assert told["version"] <= stage.app.overview.version
        target = stage.app.options.data_dir / "made.safetensors"
        chore = stage.app.chores.start("merge", "Hold", target, lambda *_: "a note")
        for socket in (one, two):
            row = hear(socket, "works", lambda m: m["works"] and m["works"][0]["state"] == "finished")["works"][0]
            assert (row["id"], row["title"], row["note"], row["result"]) == (chore.id, "Hold", "a note", "made")


def test_what_changes_often_is_told_at_its_pace_and_the_last_is_told(
    stage: Stage, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thousand changes in one pause are one message, and it is of the last."""
    monkeypatch.setitem(live.PAUSES, live.News.MODELS, 1.0)
    monkeypatch.setitem(live.PAUSES, live.News.WORKS, 1.0)
    stage.app.catalog.wait(PATIENCE)
    release = threading.Event()

    def work(progress: Callable[[float, str], None], _: object) -> str:
        for share in range(1000):
            progress(share / 1000, "counting")
            stage.app.chores._listeners.tell()
            stage.app.overview._listeners.tell()
        release.wait(PATIENCE)
        return ""

    with window(client) as socket:
        hear(socket, "works")
        stage.app.chores.start("merge", "Count", stage.app.options.data_dir / "x.safetensors", work)
        shares = [hear(socket, "works")["works"][0]["share"] for _ in range(1)]
        while shares[-1] < 0.999:
            shares.append(hear(socket, "works")["works"][0]["share"])
        socket.send_json({"op": "answer me"})
        rest = until_the_problem(socket)
        release.set()
    assert len(shares) < 100
    assert sum(message["type"] == "models" for message in rest) <= 2


def test_a_failed_job_says_why(stage: Stage, client: TestClient) -> None:
    with window(client) as socket:
        job = stage.submit("please fail")
        until(lambda: job.ended)
        row = hear(socket, "jobs", lambda m: states(m) == ["failed"])["jobs"][0]
        assert "was asked to fail" in row["message"]
        assert row["notices"] == []


def test_a_job_tells_what_was_done_otherwise_than_asked(stage: Stage, client: TestClient) -> None:
    with window(client) as socket:
        job = stage.submit("please wait")
        until(lambda: job.state == "running")
        job.emit(Notice(message="It was made in tiles."))
        hear(socket, "jobs", lambda m: [row["notices"] for row in m["jobs"]] == [["It was made in tiles."]])


@pytest.mark.parametrize(
    "nonsense",
    [
        "no json",
        "[]",
        "{}",
        '{"op": "shout"}',
        '{"op": ["cancel"]}',
        '{"op": "cancel"}',
        '{"op": "move", "places": 1.5}',
        '{"op": "cancel", "job": {"id": 1}}',
        '{"op": "' + "x" * 5000 + '"}',
        "\ud83d",
        '{"op": NaN}',
    ],
)
def test_nonsense_is_answered_in_a_sentence_and_the_channel_lives(
    stage: Stage, client: TestClient, nonsense: str
) -> None:
    with window(client) as socket:
        socket.send_bytes(b"\x00\xff")
        assert hear(socket, "problem")["message"].endswith(".")
        socket.send_text(nonsense)
        assert hear(socket, "problem")["message"].endswith(".")
        job = stage.submit()
        assert hear(socket, "jobs", lambda m: len(m["jobs"]) == 1)["jobs"][0]["id"] == job.id


def test_moving_by_no_whole_number_is_refused(stage: Stage, client: TestClient) -> None:
    with window(client) as socket:
        stage.submit()
        queued = stage.submit()
        for places in (1.5, True, "2", None):
            socket.send_json({"op": "move", "job": queued.id, "places": places})
            assert "whole number" in hear(socket, "problem")["message"]


def test_a_window_that_left_is_forgotten(stage: Stage, client: TestClient) -> None:
    channel = live.Channel(stage.app)
    stage.server.add_api_websocket_route("/left", channel.serve)
    with client.websocket_connect("/left", headers={"cookie": f"{OWNER_COOKIE}={ME}"}) as socket:
        hear(socket, "jobs")
        assert len(channel._windows) == 1
    until(lambda: not channel._windows)
    stage.finish(stage.submit())  # nobody is told, and nothing breaks
