"""Extensions on the page: their parameters and tabs, the Extensions tab's routes, slots, and the page made anew."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from backend.app import App, Options
from backend.extensions.install import Installer
from backend.extensions.package_source import PackageSource
from backend.extensions.pip import Pip
from backend.extensions.supervisor import SIZE, Pulse
from backend.paths import ROOT
from backend.server import extension_routes, extensions
from backend.server.accounts import Accounts, parse_entries, users_of
from backend.server.doorkeeper import LOGIN_COOKIE, Doorkeeper
from backend.server.guard import Guard
from backend.server.origins import Policy
from backend.server.owner import OWNER_COOKIE
from backend.server.people import owner_named
from tests.packaged import files, write_wheel, write_zip
from tests.scripted import ScriptedWorker
from tests.test_extension_api import FRAME, newest
from tests.test_extension_routes import HOST, ME, NOTHING, added, write
from tests.test_ui import by_id, event, form_values, made, send
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
        gr.Textbox(lambda: "filled", elem_id="loud_filled")
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
    # What fills a field when the page is opened goes through the fence too, and nothing waits in Gradio's queue.
    events = client.get("/config").json()["dependencies"]
    assert [each for each in events if each["backend_fn"] and each["queue"] is not False] == []
    (filling,) = [each for each in events if each["outputs"] == [there["loud_filled"]["id"]]]
    assert send(client, filling, []) == ["filled"]
    failing = event(client, "loud_fail")
    body = {"data": ["x"], "event_data": None, "fn_index": failing["id"], "session_hash": "x" * 10}
    answer = client.post("/gradio_api/run/predict", json=body)
    assert answer.status_code == 500
    assert "Slots failed in an event of its tab" in answer.text
    assert send(client, event(client, "loud_go"), ["again"]) == ["AGAIN"]


WHO = """
    from backend.extension_api import Card, ExtensionApi, asked_by, hook

    def words(*_):
        person = asked_by()
        return f"{person.owner} {person.name} {person.administrator}"

    async def later(text):
        return words()

    def tab():
        import gradio as gr

        def with_request(text, request: gr.Request):
            return words() + " " + request.method

        gr.on(fn=lambda: words(), outputs=gr.Textbox(elem_id="who_first"))
        box = gr.Textbox(elem_id="who_in")
        out = gr.Textbox(elem_id="who_out")
        for name, act in (("plain", words), ("later", later), ("request", with_request)):
            gr.Button(name, elem_id=f"who_{name}").click(act, box, out)

    @hook
    def register(api: ExtensionApi) -> None:
        api.tab("Who", tab)
        api.gallery_action("Who", words)
        api.card_action("Who", words)
        api.card_page("Who", lambda: [Card(title=words(), insert="x")])
"""


def test_events_of_a_tab_and_buttons_are_told_who_asks(app: App) -> None:
    added(app, "who", WHO)
    logins = "administrator boss:a,artist maker:b,viewer guest:c"
    doorkeeper = Doorkeeper(Accounts(users_of(parse_entries(logins, first="administrator", others="artist"))))
    client = served(app, doorkeeper=doorkeeper)
    app.catalog.wait(20)
    record = next(each for each in app.overview.models()[1] if each.record.name == "tiny")
    for name in ("boss", "maker"):
        client.cookies.clear()
        client.cookies.set(LOGIN_COOKIE, doorkeeper.sessions.begin(name))
        expected = f"{owner_named(name)} {name} {name == 'boss'}"
        assert send(client, event(client, "who_plain"), ["x"]) == [expected]
        assert send(client, event(client, "who_later"), ["x"]) == [expected]
        assert send(client, event(client, "who_request"), ["x"]) == [f"{expected} POST"]
        assert order(client, "who/card", {"number": 0, "title": "Who", "model": record.id}).json() == {
            "sentence": expected
        }
        assert client.get("/atelier/extensions/who/pages/0?title=Who").json()["cards"][0]["title"] == expected
    # Who may only look opens the page as all do, and presses nothing.
    client.cookies.clear()
    client.cookies.set(LOGIN_COOKIE, doorkeeper.sessions.begin("guest"))
    config = client.get("/config").json()
    shown = by_id(config)["who_first"]["id"]
    (opened,) = [each for each in config["dependencies"] if each["outputs"] == [shown]]
    assert [name for _, name in opened["targets"]] == ["load"]
    assert send(client, opened, []) == [f"{owner_named('guest')} guest False"]
    body = {"data": ["x"], "event_data": None, "fn_index": event(client, "who_plain")["id"], "session_hash": "x" * 10}
    answer = client.post("/gradio_api/run/predict", json=body)
    assert (answer.status_code, "not for a person who is viewer" in answer.text) == (500, True)
    # Without a login it is the browser.
    local = served(app)
    assert send(local, event(local, "who_plain"), ["x"]) == [f"{ME}  True"]
    job = made(app, local)
    pressed = {"number": 0, "title": "Who", "job": job.id, "index": 0}
    assert order(local, "who/gallery", pressed).json() == {"sentence": f"{ME}  True"}


def test_the_manual_s_browser_shows_each_their_own(app: App) -> None:
    """What stands in docs/extensions.md, as it stands there."""
    text = (ROOT / "docs" / "extensions.md").read_text(encoding="utf-8").partition("**Browse pictures.**")[2]
    imports = "from itertools import islice\nfrom typing import Annotated\nfrom backend.extension_api import *\n"
    added(app, "mine", imports + text.partition("```python\n")[2].partition("```")[0])
    client, stranger = served(app), served(app)
    stranger.cookies.clear()
    stranger.cookies.set(OWNER_COOKIE, "b" * 32)
    name = made(app, client).images[0].path.name
    for window, expected in ((client, [name]), (stranger, [])):
        assert window.get("/ext/mine/newest").json() == expected
        config = window.get("/config").json()
        (look,) = [each["id"] for each in config["components"] if each["props"].get("value") == "Look"]
        (clicked,) = [each for each in config["dependencies"] if [look, "click"] in map(list, each["targets"])]
        assert send(window, clicked, []) == ["\n".join(expected)]


def test_a_tab_whose_event_yields_is_a_sentence(app: App) -> None:
    code = """
        from backend.extension_api import ExtensionApi, hook

        def counted():
            yield "one"

        def tab():
            import gradio as gr
            gr.Button("Count").click(counted, None, gr.Textbox(elem_id="counted"))

        @hook
        def register(api: ExtensionApi) -> None:
            api.tab("Count", tab)
    """
    added(app, "counter", code)
    there = by_id(served(app).get("/config").json())
    assert "counted" not in there
    assert "an event of the tab Count yields" in there["ext_counter_0_problem"]["props"]["value"]


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
    write(app.options, "late", FRAME.replace("Framed", "Late"))
    (app.options.data_dir / "extensions.json").write_text('{"switched": {"late": true}}')
    assert order(abroad, "rescan").status_code == 200
    assert app.extensions.find("late").state == "off"  # it is listed, and nothing of it was run
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


def test_the_first_of_others_in_an_unwatched_program_says_when_the_watch_begins(app: App, tmp_path: Path) -> None:
    for name in ("frame", "second"):
        write(app.options, name, NOTHING)
    client = served(app)
    order(client, "rescan")
    said = "Should Frame hold the whole of Atelier up, nothing ends it yet: the watch over installed extensions begins"
    assert order(client, "frame/switch", {"on": True}).json()["remark"].startswith(said)
    assert order(client, "second/switch", {"on": True}).json()["remark"] == ""
    for name in ("second", "frame"):
        assert order(client, f"{name}/switch", {"on": False}).json()["remark"] == ""
    assert order(client, "watermark/switch", {"on": True}).json()["remark"] == "", "ours need no watch"
    beats = tmp_path / "pulse"
    beats.write_bytes(bytes(SIZE))
    pulse = Pulse(beats, os.getppid())
    watched = replace(app.options, data_dir=tmp_path / "watched", pulse=pulse)
    write(watched, "frame", NOTHING)
    other = App(watched, worker=ScriptedWorker)
    try:
        answer = order(served(other), "frame/switch", {"on": True}).json()
        assert (answer["state"], answer["remark"]) == ("on", "")
    finally:
        pulse.close()
        other.close()


def test_a_package_is_brought_to_a_version_and_back(app: App, tmp_path: Path) -> None:
    """Over the routes: what is there now is shown with what it would become."""
    for version in ("1.0", "2.0"):
        inside = {f"frame_extension/{name}": text for name, text in files(version=version).items()}
        write_wheel(tmp_path / "wheels", "frame_extension", version, contents=inside)
    pip = Pip({"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path / "wheels"), "PIP_CONFIG_FILE": os.devnull})
    installer = app.installer = Installer(app.extensions, app.options.data_dir, pip=pip)
    source = PackageSource(name="frame-extension", version="1.0", pip=pip)
    installer.install(installer.plan(source).id)
    client = served(app)
    newer = order(client, "frame/update", {"pin": "2.0"}).json()
    assert (newer["replaces"], newer["before"]["pin"], newer["origin"]["pin"]) == ("1.0", "1.0", "2.0")
    assert not newer["older"]
    assert order(client, "install", {"plan": newer["plan"]}).json()["version"] == "2.0"
    card = next(each for each in client.get("/atelier/extensions").json()["extensions"] if each["id"] == "frame")
    assert (card["origin"]["pin"], card["origin"]["before"]) == ("2.0", "1.0")
    back = order(client, "frame/update", {"pin": "1.0"}).json()
    assert (back["older"], back["version"], back["replaces"]) == (True, "1.0", "2.0")
    assert "is named with its version" in order(client, "frame/update", {"pin": "newest"}).json()["problem"]
