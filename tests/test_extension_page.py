"""Extensions on the page: their parameters and tabs, the Extensions tab's routes, slots, and the page made anew."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image

from backend.app import App, Options
from backend.server import extension_routes, extensions
from backend.server.accounts import Accounts, parse_entries, users_of
from backend.server.doorkeeper import LOGIN_COOKIE, Doorkeeper
from backend.server.guard import Guard
from backend.server.origins import Policy
from backend.server.owner import OWNER_COOKIE
from backend.upscaling.request import UpscaleRequest
from tests.packaged import files, write_zip
from tests.scripted import ScriptedWorker
from tests.test_extension_api import FRAME, newest
from tests.test_extension_routes import HOST, ME, added, write
from tests.test_ui import by_id, event, form_values, made, put, send, wish
from ui.app import mount

SLOTS = """
    import time
    from pathlib import Path
    from PIL import Image as Pictures
    from backend.extension_api import Card, ExtensionApi, Field, UserError, hook
    from pydantic import BaseModel

    class Own(BaseModel):
        depth: int = Field(3, ge=0, le=9, title="Depth")

    def tab():
        import gradio as gr
        box = gr.Textbox(elem_id="loud_in")
        out = gr.Textbox(elem_id="loud_out")
        gr.Button("Shout", elem_id="loud_go").click(lambda text: text.upper(), box, out)
        gr.Button("Fail", elem_id="loud_fail").click(lambda text: 1 / 0, box, out)

    def half(api):
        import gradio as gr
        gr.Textbox(elem_id="half_made")
        raise ValueError("no wood")

    def mask(picture, place):
        found = Pictures.new("L", picture.size)
        found.putpixel(place, 255)
        return found

    def refuse(path):
        raise UserError("Not this one.")

    @hook
    def register(api: ExtensionApi) -> None:
        picture = api.data_dir / "card.png"
        Pictures.new("RGB", (8, 8), "red").save(picture)
        api.settings(Own)
        api.tab("Loud", tab)
        api.tab("Half", lambda: half(api))
        api.gallery_action("Name", lambda path: f"It is {path.suffix}.")
        api.gallery_action("Refuse", refuse)
        api.gallery_action("Number", lambda path: 3)
        api.card_action("Say", lambda record: f"It is {record.name}.")
        api.canvas_tool("Dot", mask, hint="Press.")
        api.canvas_tool("Small", lambda picture, place: Pictures.new("L", (1, 1)))
        red = Card(title="Red", insert="a red circle", picture=picture)
        api.card_page("Words", lambda: [red, Card(title="B", insert="b")])
"""


@pytest.fixture
def app(options: Options) -> Iterator[App]:
    """Not started: what is queued stays queued."""
    app = App(options, worker=ScriptedWorker)
    yield app
    app.close()


def served(app: App, **door: Any) -> TestClient:
    web = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    web.include_router(extensions.router(app))
    extension_routes.attach(web, app)
    guard = Guard(mount(web, app), **door)
    return TestClient(guard, base_url=HOST, cookies={OWNER_COOKIE: ME}, client=("127.0.0.1", 50000))


def order(client: TestClient, path: str, body: dict[str, Any] | None = None) -> Any:
    return client.post(f"/atelier/extensions/{path}", json=body or {})


def ids(client: TestClient) -> set[str]:
    return set(by_id(client.get("/config").json()))


def test_windows_opened_later_have_what_came_and_older_ones_go_on(app: App) -> None:
    client = served(app)
    before = client.get("/config").json()
    generate, values = event(client, "txt2img_generate"), form_values(client, prompt="a boat")
    write(app.options, "frame", FRAME)
    assert order(client, "rescan").status_code == 200
    card = order(client, "frame/switch", {"on": True}).json()
    assert (card["state"], card["problem"]) == ("on", "")
    after = client.get("/config").json()
    assert "txt2img_ext_frame_width" in by_id(after)
    assert "txt2img_ext_frame_width" not in by_id(before)
    assert before["api_prefix"] != after["api_prefix"]
    # The older window sends what it has to where it came from.
    body = {"data": values, "event_data": None, "fn_index": generate["id"], "session_hash": "x" * 10}
    answer = client.post(f"{before['api_prefix']}/run/predict", json=body)
    assert answer.json()["data"] == [""]
    assert app.queue.jobs(ME)[-1].request.prompt == "a boat"
    switched = form_values(client, prompt="framed", ext_frame_enabled=True, ext_frame_width=12)
    assert send(client, event(client, "txt2img_generate"), switched) == [""]
    assert newest(app).extras["frame"]["width"] == 12
    (message,) = send(
        client, event(client, "txt2img_generate"), form_values(client, ext_frame_enabled=True, ext_frame_width=99)
    )
    assert "Width of the frame" in message
    order(client, "frame/switch", {"on": False})
    assert "txt2img_ext_frame_width" not in ids(client)
    assert client.get("/config").json()["api_prefix"] == before["api_prefix"]
    assert before["head"] != after["head"]
    assert 'name="atelier-extensions"' in after["head"]


def test_a_setting_reaches_windows_of_every_page(app: App) -> None:
    client = served(app)
    old = client.get("/config").json()
    added(app, "frame", FRAME)
    new = client.get("/config").json()
    app.settings.update({"default_steps": 7})
    for config in (old, new):
        loaded = [each for each in config["dependencies"] if each["backend_fn"]]
        assert loaded
    save = event(client, "settings_submit")
    names = {each["id"]: each["props"] for each in new["components"]}
    values = [names[number].get("value") for number in save["inputs"]]
    steps = [names[number].get("elem_id") for number in save["inputs"]].index("setting_default_steps")
    values[steps] = 9
    send(client, save, values)
    assert by_id(client.get("/config").json())["txt2img_steps"]["props"]["value"] == 9
    app.extensions.switch("frame", False)
    assert by_id(client.get("/config").json())["txt2img_steps"]["props"]["value"] == 9


def test_a_tab_is_laid_out_and_one_that_fails_is_a_sentence(app: App) -> None:
    added(app, "slots", SLOTS)
    client = served(app)
    there = by_id(client.get("/config").json())
    assert {"loud_in", "tab_ext_slots_0", "tab_ext_slots_1", "txt2img_generate"} <= set(there)
    assert "half_made" not in there
    said = there["ext_slots_1_problem"]["props"]["value"]
    assert said.startswith("Slots failed in the tab Half: ValueError: no wood.")
    assert send(client, event(client, "loud_go"), ["hello"]) == ["HELLO"]
    failing = event(client, "loud_fail")
    body = {"data": ["x"], "event_data": None, "fn_index": failing["id"], "session_hash": "x" * 10}
    answer = client.post("/gradio_api/run/predict", json=body)
    assert answer.status_code == 500
    assert "Slots failed in an event of its tab" in answer.text
    assert send(client, event(client, "loud_go"), ["again"]) == ["AGAIN"]


def test_the_list_says_what_each_is(app: App) -> None:
    added(app, "slots", SLOTS, description="Everything.", author="Me")
    write(app.options, "torn", "import nothing_of_that_name\n")
    client = served(app)
    order(client, "rescan")
    broken = order(client, "torn/switch", {"on": True}).json()
    assert (broken["state"], "nothing_of_that_name" in broken["problem"]) == ("broken", True)
    said = client.get("/atelier/extensions").json()
    cards = {each["id"]: each for each in said["extensions"]}
    assert (cards["slots"]["title"], cards["slots"]["bundled"], cards["slots"]["state"]) == ("Slots", False, "on")
    assert {"2 tabs", "3 buttons below results", "a page of cards", "2 canvas tools"} <= set(cards["slots"]["brings"])
    assert cards["slots"]["failures"][0]["sentence"].startswith("Slots failed in the tab Half")
    assert said["may"]["manage"] and said["may"]["code"]
    changed = order(client, "slots/settings", {"values": {"depth": 5}})
    assert changed.json()["settings"]["values"] == {"depth": 5}
    refused = order(client, "slots/settings", {"values": {"depth": 50}})
    assert (refused.status_code, "Depth" in refused.json()["problem"]) == (400, True)
    assert isinstance(client.get("/atelier/extensions/torn/log").json()["lines"], list)
    assert order(client, "lost/switch", {"on": True}).status_code == 400
    assert order(client, "slots/reload").json()["state"] == "on"


def test_a_zip_is_looked_at_installed_switched_on_and_removed(app: App, tmp_path: Path) -> None:
    """Each step through its route; nothing of it runs before the switch."""
    zipped = write_zip(tmp_path / "frame.zip", files(permissions=["network"]), top="frame-main").read_bytes()
    client, kind = served(app), {"content-type": "application/zip"}
    plan = client.post("/atelier/extensions/plan/zip?name=frame.zip", content=zipped, headers=kind).json()
    said = plan["title"], plan["version"], plan["permissions"], plan["packages"], plan["replaces"]
    assert said == ("Frame", "1.0.0", ["Connects to other machines."], [], "")
    assert "frame" not in [each.id for each in app.extensions.all()]
    card = order(client, "install", {"plan": plan["plan"]}).json()
    folder, ran = app.extensions.find("frame").folder, "was_run"
    assert (card["state"], (folder / ran).exists()) == ("off", False)
    assert order(client, "frame/switch", {"on": True}).json()["state"] == "on"
    assert (folder / ran).exists()
    left = order(client, "frame/remove").json()["extensions"]
    assert "frame" not in [each["id"] for each in left]
    assert not folder.exists()
    damaged = client.post("/atelier/extensions/plan/zip", content=zipped[:200], headers=kind)
    assert (damaged.status_code, "zip" in damaged.json()["problem"]) == (400, True)


def test_strangers_code_is_for_an_administrator_at_the_machine(app: App) -> None:
    write(app.options, "frame", FRAME)
    app.extensions.rescan()
    abroad = served(app, policy=Policy(loopback=False))
    assert order(abroad, "frame/switch", {"on": True}).status_code == 403
    assert not abroad.get("/atelier/extensions").json()["may"]["code"]
    for path in ("plan", "install", "discard", "frame/remove", "frame/newest", "frame/update"):
        assert order(abroad, path, {}).status_code == 403, path
    logins = "administrator boss:a,artist maker:b"
    doorkeeper = Doorkeeper(Accounts(users_of(parse_entries(logins, first="administrator", others="artist"))))
    client = served(app, doorkeeper=doorkeeper)
    client.cookies.set(LOGIN_COOKIE, doorkeeper.sessions.begin("maker"))
    for path in ("frame/switch", "rescan", "frame/reload", "frame/settings", "plan", "frame/remove"):
        assert order(client, path, {"on": True}).status_code == 403, path
    assert client.get("/atelier/extensions/frame/log").status_code in (400, 403)
    assert app.extensions.find("frame").state == "off"


def test_buttons_at_pictures_and_models_answer_a_sentence(app: App) -> None:
    added(app, "slots", SLOTS)
    client = served(app)
    rows = client.get("/atelier/extensions/slots").json()
    assert [each["title"] for each in rows["gallery"]] == ["Name", "Refuse", "Number"]
    job = made(app, client)
    picture = {"job": job.id, "index": 0}
    assert order(client, "slots/gallery", {"number": 0, **picture}).json() == {"sentence": "It is .png."}
    assert order(client, "slots/gallery", {"number": 1, **picture}).json() == {"problem": "Slots: Not this one."}
    assert "where a sentence is expected" in order(client, "slots/gallery", {"number": 2, **picture}).json()["problem"]
    assert "load the page anew" in order(client, "slots/gallery", {"number": 9, **picture}).json()["problem"]
    assert order(client, "slots/gallery", {"number": 0, "job": "0" * 32, "index": 0}).status_code == 400
    app.catalog.wait(20)
    _, models = app.overview.models()
    record = next(each for each in models if each.record.name == "tiny")
    assert order(client, "slots/card", {"number": 0, "model": record.id}).json() == {"sentence": "It is tiny."}


def test_a_canvas_tool_answers_a_mask_of_the_picture(app: App) -> None:
    added(app, "slots", SLOTS)
    client = served(app)
    data = io.BytesIO()
    Image.new("RGB", (16, 12), "teal").save(data, "PNG")
    headers = {"content-type": "image/png"}

    def press(number: int, x: int, y: int) -> Any:
        address = f"/atelier/extensions/slots/canvas?number={number}&x={x}&y={y}"
        return client.post(address, content=data.getvalue(), headers=headers)

    mask = Image.open(io.BytesIO(press(0, 3, 4).content))
    assert (mask.mode, mask.size, mask.getpixel((3, 4)), mask.getpixel((4, 3))) == ("L", (16, 12), 255, 0)
    assert "is not within the picture of 16 x 12" in press(0, 16, 4).json()["problem"]
    assert "where a mask of (16, 12) is expected" in press(1, 1, 1).json()["problem"]


def test_a_page_of_cards_shows_its_pictures_and_no_others(app: App) -> None:
    added(app, "slots", SLOTS)
    client = served(app)
    page = client.get("/atelier/extensions/slots/pages/0").json()
    assert [(each["title"], each["insert"]) for each in page["cards"]] == [("Red", "a red circle"), ("B", "b")]
    answer = client.get("/" + page["cards"][0]["picture"])
    assert answer.headers["content-type"] == "image/webp"
    assert page["cards"][1]["picture"] == ""
    assert client.get("/atelier/extensions/slots/pages/0/1/picture").status_code == 404


GRAIN = """
    from backend.extension_api import ExtensionApi, Field, Params, hook

    class Grain(Params):
        strength: float = Field(0.2, ge=0, le=1, title="Strength of the grain")

    @hook
    def register(api: ExtensionApi) -> None:
        api.operation("Film grain", lambda picture, params: picture, Grain)
"""


def test_an_operation_is_asked_for_in_extras_while_its_switch_is_on(app: App) -> None:
    added(app, "grain", GRAIN)
    client = served(app)
    name = put(app)
    values = {"inputs": json.dumps([{"name": name, "width": 96, "height": 64}]), "op_film_grain_strength": 0.5}
    go = event(client, "extras_generate")
    assert send(client, go, form_values(client, "extras", **values)) == [""]
    assert send(client, go, form_values(client, "extras", **values, op_film_grain=True)) == [""]
    requests = [job.request for job in app.queue.jobs(ME) if isinstance(job.request, UpscaleRequest)]
    assert [each.operations for each in requests] == [{}, {"Film grain": {"strength": 0.5}}]
    values["op_film_grain_strength"] = 5
    (message,) = send(client, go, form_values(client, "extras", **values, op_film_grain=True))
    assert message.startswith("Film grain: Strength of the grain is 5")
    filled = wish(client, "reuse", job=app.queue.jobs(ME)[1].id)
    assert (filled["extras_op_film_grain"], filled["extras_op_film_grain_strength"]) == (True, 0.5)
    assert wish(client, "reuse", job=app.queue.jobs(ME)[0].id)["extras_op_film_grain"] is False
