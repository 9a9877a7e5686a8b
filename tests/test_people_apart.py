"""What people who log in share, and what each has alone: presets, styles, grids, prompts; through the whole guard."""

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from backend.app import App, Options
from backend.grids.request import GridRequest
from backend.request import GenerationRequest
from backend.server import grids, prompts, recipes
from backend.server.accounts import Accounts, parse_entries, users_of
from backend.server.doorkeeper import LOGIN_COOKIE, Doorkeeper
from backend.server.guard import Guard
from backend.server.owner import OWNER_COOKIE
from backend.server.people import owner_named
from extensions.xyz_plot.plot import Plot, Plotted
from tests.scripted import ScriptedWorker
from tests.test_ui import event, form_values, send, wish, wish_with
from ui.app import mount

HERE = "http://127.0.0.1:7860"
LOGINS = "administrator ada:a,artist anna:b,artist bert:c,viewer vera:d"
STANDING = {"txt2img_steps": 33}
BASE = GenerationRequest(prompt="a red boat", seed=5, steps=2, width=64, height=64)


class Studio:
    """The page and its routes, behind a guard that knows four people."""

    def __init__(self, app: App):
        self.app = app
        self._web = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
        for part in (recipes, grids, prompts):
            self._web.include_router(part.router(app))
        mount(self._web, app, login=True)
        accounts = Accounts(users_of(parse_entries(LOGINS, first="administrator", others="artist")))
        self._doorkeeper = Doorkeeper(accounts)

    def window(self, name: str) -> TestClient:
        """A browser in which somebody is logged in, or for no name one of a studio in which nobody logs in."""
        doorkeeper = self._doorkeeper if name else Doorkeeper()
        cookies = {LOGIN_COOKIE: self._doorkeeper.sessions.begin(name)} if name else {OWNER_COOKIE: "a" * 32}
        guard = Guard(self._web, doorkeeper=doorkeeper)
        return TestClient(guard, base_url=HERE, cookies=cookies, client=("127.0.0.1", 50000))


@pytest.fixture
def studio(options: Options) -> Iterator[Studio]:
    """Not started: what is queued stays queued."""
    app = App(options, worker=ScriptedWorker)
    yield Studio(app)
    app.close()


def save(window: TestClient, **wanted: Any) -> dict[str, str]:
    """What came of saving a preset, as the page's dialog does."""
    details = {"tab": "txt2img", "groups": ["sampling"], **wanted}
    return wish_with(window, "save_preset", details, STANDING)["wishes"]["saved"]


def presets(window: TestClient) -> list[tuple[str, bool, bool]]:
    rows = window.get("/atelier/presets").json()["presets"]
    return [(row["name"], row["own"], row["deletable"]) for row in rows]


def delete(window: TestClient, name: str) -> int:
    return window.post("/atelier/presets/delete", json={"name": name}).status_code


def test_each_sees_the_studio_s_presets_and_their_own(studio: Studio) -> None:
    ada, anna, bert, vera = map(studio.window, ("ada", "anna", "bert", "vera"))
    assert save(studio.window(""), name="house") == {"words": "The preset house is saved"}
    assert save(anna, name="mine") == {"words": "The preset mine is saved"}
    assert "not for a person who is viewer" in save(vera, name="hers")["problem"]
    assert presets(anna) == [("house", False, False), ("mine", True, True)]
    assert presets(bert) == presets(vera) == [("house", False, False)]
    assert presets(ada) == [("house", False, True)]
    assert wish(anna, "preset", tab="txt2img", name="mine")["txt2img_steps"] == 33
    assert wish(vera, "preset", tab="txt2img", name="house")["txt2img_steps"] == 33
    assert "no preset called" in wish(bert, "preset", tab="txt2img", name="mine")["wishes"]["problem"]
    # of one name the own counts, and only it is deleted
    save(bert, name="house")
    assert presets(bert) == [("house", True, True)]
    assert [delete(bert, "house"), delete(bert, "house"), delete(vera, "house")] == [200, 400, 403]
    assert [delete(bert, "mine"), delete(ada, "mine")] == [400, 400]
    assert presets(anna) == [("house", False, False), ("mine", True, True)]


def test_what_is_for_everybody_is_an_administrator_s(studio: Studio) -> None:
    ada, anna = studio.window("ada"), studio.window("anna")
    for wanted in ({"name": "all", "everybody": True}, {"checkpoint": "tiny"}, {"checkpoint": "tiny", "groups": []}):
        assert "not for a person who is artist" in save(anna, **wanted)["problem"]
    assert studio.app.presets.all() == () and not studio.app.presets.of_checkpoint("tiny")
    save(ada, name="all", everybody=True)
    save(ada, name="own")
    assert "words" in save(ada, checkpoint="tiny")
    assert presets(anna) == [("all", False, False)]
    assert presets(ada) == [("all", False, True), ("own", True, True)]
    rights = anna.get("/atelier/presets").json()
    assert (rights["make"], rights["manage"], rights["shared"]) == (True, False, True)
    assert delete(ada, "all") == 200
    # where nobody logs in all is the studio's
    nobody = studio.window("")
    save(nobody, name="house")
    assert presets(nobody) == [("house", True, True)]
    assert nobody.get("/atelier/presets").json()["shared"] is False


def test_styles_are_written_by_who_makes_pictures(studio: Studio) -> None:
    file = studio.app.styles.files[0] if studio.app.styles.files else "styles.csv"
    style = {"name": "ink", "prompt": "ink drawing", "file": file}
    anna, vera = studio.window("anna"), studio.window("vera")
    for path, body in (("save", style), ("delete", {"name": "ink"})):
        assert vera.post(f"/atelier/styles/{path}", json=body).status_code == 403
    csv = {"content": b"name,prompt,negative_prompt\n", "headers": {"content-type": "text/csv"}}
    assert vera.post("/atelier/styles/files?name=a.csv", **csv).status_code == 403
    assert anna.post("/atelier/styles/save", json=style).status_code == 200
    assert "ink" in [each["name"] for each in vera.get("/atelier/styles").json()["styles"]]


def test_viewers_change_nothing_by_the_page_s_events(studio: Studio) -> None:
    vera, app = studio.window("vera"), studio.app
    (said,) = send(vera, event(vera, "txt2img_generate"), form_values(vera, prompt="a boat"))
    assert "not for a person who is viewer" in said
    anna = studio.window("anna")
    assert send(anna, event(anna, "txt2img_generate"), form_values(anna, prompt="a boat")) == [""]
    (job,) = app.queue.jobs(owner_named("anna"))
    for wanted in ("reuse", "reuse_seed", "take", "vary"):
        told = wish(vera, wanted, tab="txt2img", job=job.id, index=0, strength="subtle")
        assert told["wishes"]["problem"]
    assert list(app.queue.line()) == [job]


def test_a_grid_is_its_owner_s_and_no_viewer_s_to_change(studio: Studio) -> None:
    drawing = studio.app.grids.begin(Plot(x=Plotted(axis="Seed", values="5-7")).grid(BASE), owner_named("anna"))
    assert isinstance(drawing.request, GridRequest)
    place = drawing.request.place
    anna, bert, ada, vera = map(studio.window, ("anna", "bert", "ada", "vera"))
    assert [row["place"] for row in anna.get("/atelier/grids").json()["grids"]] == [place]
    for other in (bert, ada, vera):
        assert other.get("/atelier/grids").json() == {"grids": []}
        assert other.get(f"/atelier/grids/{place}").status_code == 400
        assert other.get(f"/atelier/grids/{place}/0").status_code == 400
    for order in ("cancel", "resume"):
        answers = [each.post(f"/atelier/grids/{order}", json={"place": place}) for each in (bert, ada, vera)]
        assert [answer.status_code for answer in answers] == [400, 400, 403]
    assert len(list(studio.app.queue.line())) == 4
    assert anna.post("/atelier/grids/cancel", json={"place": place}).status_code == 200
    assert list(studio.app.queue.line()) == []


def test_earlier_prompts_are_one_s_own(studio: Studio) -> None:
    studio.app.queue.submit(BASE, owner_named("anna"))
    found = {
        name: [row["prompt"] for row in studio.window(name).get("/atelier/prompt/history").json()["prompts"]]
        for name in ("anna", "bert", "ada")
    }
    assert found == {"anna": ["a red boat"], "bert": [], "ada": []}
