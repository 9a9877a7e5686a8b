"""The routes of grids: cells and pictures, cancel and resume, for their owner only; and what a prompt may become."""

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from backend.app import App, Options
from backend.grids.request import GridRequest
from backend.jobs import Job
from backend.request import GenerationRequest
from backend.server import grids
from backend.server.owner import OWNER_COOKIE
from extensions.wildcards import FOLDER
from extensions.xyz_plot.plot import Plot, Plotted
from tests.scripted import ScriptedWorker

ME, OTHER = "a" * 32, "b" * 32
BASE = GenerationRequest(prompt="a red boat", seed=5, steps=2, width=64, height=64)


@pytest.fixture
def app(options: Options) -> Iterator[App]:
    """Not started: what is queued stays queued."""
    app = App(options, worker=ScriptedWorker)
    yield app
    app.close()


def client_of(app: App, owner: str = ME) -> TestClient:
    web = FastAPI()
    web.include_router(grids.router(app))
    return TestClient(web, cookies={OWNER_COOKIE: owner})


def begun(app: App, values: str = "5-7") -> Job:
    return app.grids.begin(Plot(x=Plotted(axis="Seed", values=values)).grid(BASE), ME)


def place_of(job: Job) -> str:
    assert isinstance(job.request, GridRequest)
    return job.request.place


def states(answer: dict[str, Any]) -> list[str]:
    return [cell["state"] for cell in answer["cells"]]


def test_a_grid_is_shown_to_its_owner_only(app: App) -> None:
    place = place_of(begun(app))
    client, stranger = client_of(app), client_of(app, OTHER)
    (row,) = client.get("/atelier/grids").json()["grids"]
    assert row == {"place": place, "title": "X/Y/Z plot: Seed", "prompt": "a red boat", "cells": 3}
    whole = client.get(f"/atelier/grids/{place}").json()
    assert states(whole) == ["queued"] * 3
    assert whole["going"]
    legends = [[{"text": f"Seed: {seed}", "active": True}] for seed in (5, 6, 7)]
    assert whole["sides"]["x"] == {"name": "Seed", "legends": legends}
    assert client.get(f"/atelier/grids/{place}/0").status_code == 404  # not made yet
    assert stranger.get("/atelier/grids").json() == {"grids": []}
    for address in (f"/atelier/grids/{place}", f"/atelier/grids/{place}/0"):
        assert stranger.get(address).status_code == 400
    assert stranger.post("/atelier/grids/cancel", json={"place": place}).status_code == 400
    assert states(client.get(f"/atelier/grids/{place}").json()) == ["queued"] * 3
    for wrong in ("../../models", "2026-11-22/000000-00000000"):
        answer = client.post("/atelier/grids/resume", json={"place": wrong})
        assert answer.json()["problem"].startswith("There is no grid at")


def test_what_is_cancelled_can_be_resumed_and_is_drawn(app: App) -> None:
    first = begun(app)
    client, meant = client_of(app), {"place": place_of(first)}
    again = client.post("/atelier/grids/resume", json=meant)
    assert again.json() == {"problem": "This grid is being made already."}
    cancelled = client.post("/atelier/grids/cancel", json=meant).json()
    assert (states(cancelled), cancelled["going"]) == (["stopped"] * 3, False)
    assert first.ended  # nothing was made, so there is nothing to draw
    assert client.post("/atelier/grids/resume", json=meant).json()["going"]
    app.start()
    drawing = app.queue.jobs(ME)[-1]
    list(drawing.follow())
    whole = client.get(f"/atelier/grids/{meant['place']}").json()
    assert (states(whole), whole["going"]) == (["made"] * 3, False)
    small = client.get(f"/{whole['cells'][1]['url']}?thumb=64")
    assert (small.status_code, small.headers["content-type"]) == (200, "image/webp")
    full = client.get(f"/{whole['cells'][1]['url']}")
    assert full.content.startswith(b"\x89PNG")
    assert client.get(f"/atelier/grids/{meant['place']}/3").status_code == 404


def test_a_prompt_may_become_what_the_next_seeds_make_of_it(app: App, options: Options) -> None:
    (options.data_dir / FOLDER).mkdir()
    (options.data_dir / FOLDER / "colour.txt").write_text("red\nblue\n")
    client = client_of(app)
    typed = {"prompt": "a {big|small} __colour__ boat", "negative_prompt": "{fog|rain}", "seed": "70"}
    rows = client.post("/atelier/choices", json=typed).json()["samples"]
    expected = app.wildcards.samples(typed["prompt"], typed["negative_prompt"], seed=70, count=5)
    assert [(row["seed"], row["prompt"], row["negative"]) for row in rows] == [
        (str(each.seed), each.prompt, each.negative_prompt) for each in expected
    ]
    for seed in ("-1", "", "nonsense", str(2**64 - 1)):
        assert len(client.post("/atelier/choices", json={**typed, "seed": seed}).json()["samples"]) == 5
    assert client.post("/atelier/choices", json={"prompt": "{{{masterpiece}}}"}).json() == {"samples": []}
    missing = client.post("/atelier/choices", json={"prompt": "__nowhere__"})
    assert missing.status_code == 400
    assert "nowhere" in missing.json()["problem"]
