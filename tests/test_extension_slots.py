"""What extensions bring to the page: buttons, tools of the canvas, pages of cards, and operations for Extras."""

import io
import json
from typing import Any

import pytest
from PIL import Image

from backend.app import App
from backend.server.owner import OWNER_COOKIE
from backend.upscaling.request import UpscaleRequest
from tests.test_extension_page import SLOTS, app, order, served
from tests.test_extension_routes import ME, added
from tests.test_ui import by_id, event, form_values, made, put, send, wish

__all__ = ["app"]  # a fixture


def test_buttons_at_pictures_and_models_answer_a_sentence(app: App) -> None:
    added(app, "slots", SLOTS)
    client = served(app)
    rows = client.get("/atelier/extensions/slots").json()
    assert [each["title"] for each in rows["gallery"]] == ["Name", "Refuse", "Number"]
    job = made(app, client)
    picture = {"job": job.id, "index": 0}

    def press(number: int, title: str, **about: Any) -> Any:
        return order(client, "slots/gallery", {"number": number, "title": title, **picture, **about})

    assert press(0, "Name").json() == {"sentence": "It is .png."}
    assert press(1, "Refuse").json() == {"problem": "Slots: Not this one."}
    assert "where a sentence is expected" in press(2, "Number").json()["problem"]
    assert "load the page anew" in press(9, "Name").json()["problem"]
    assert press(0, "Name", job="0" * 32).status_code == 400
    app.catalog.wait(20)
    _, models = app.overview.models()
    record = next(each for each in models if each.record.name == "tiny")
    at_model = {"number": 0, "title": "Say", "model": record.id}
    assert order(client, "slots/card", at_model).json() == {"sentence": "It is tiny."}
    # A window of before the code was another one does nothing that it does not show.
    code = app.extensions.find("slots").folder / "__init__.py"
    code.write_text(
        code.read_text()
        .replace('"Refuse", refuse', '"Name", refuse')
        .replace('"Name", lambda path', '"Rename", lambda path')
        .replace('"Say"', '"Shout"')
    )
    assert order(client, "slots/reload").json()["state"] == "on"
    assert press(0, "Name").json() == {"problem": "Slots has no 'Name' at this place now: load the page anew."}
    assert press(1, "Name").json() == {"problem": "Slots: Not this one."}
    assert order(client, "slots/card", at_model).status_code == 400


def test_a_canvas_tool_answers_a_mask_of_the_picture(app: App) -> None:
    added(app, "slots", SLOTS)
    client = served(app)
    data = io.BytesIO()
    Image.new("RGB", (16, 12), "teal").save(data, "PNG")
    headers = {"content-type": "image/png"}

    def press(number: int, x: int, y: int) -> Any:
        title = ("Dot", "Small")[number]
        address = f"/atelier/extensions/slots/canvas?number={number}&title={title}&x={x}&y={y}"
        return client.post(address, content=data.getvalue(), headers=headers)

    mask = Image.open(io.BytesIO(press(0, 3, 4).content))
    assert (mask.mode, mask.size, mask.getpixel((3, 4)), mask.getpixel((4, 3))) == ("L", (16, 12), 255, 0)
    assert "is not within the picture of 16 x 12" in press(0, 16, 4).json()["problem"]
    assert "where a mask of (16, 12) is expected" in press(1, 1, 1).json()["problem"]


def test_a_page_of_cards_shows_its_pictures_and_no_others(app: App) -> None:
    added(app, "slots", SLOTS)
    client = served(app)
    words = "/atelier/extensions/slots/pages/0?title=Words"
    page = client.get(words).json()
    assert [(each["title"], each["insert"]) for each in page["cards"]] == [("Red", "a red circle"), ("B", "b")]
    answer = client.get("/" + page["cards"][0]["picture"])
    assert answer.headers["content-type"] == "image/webp"
    assert page["cards"][1]["picture"] == ""
    assert client.get("/atelier/extensions/slots/pages/0/1").status_code == 404
    assert "load the page anew" in client.get(words.replace("Words", "Signs")).json()["problem"]
    # Another picture has another address, and who was not told of one is not shown it.
    other = served(app)
    other.cookies[OWNER_COOKIE] = "b" * 32
    assert other.get("/" + page["cards"][0]["picture"]).status_code == 404
    Image.new("RGB", (9, 9), "blue").save(app.extensions.find("slots").data_dir / "card.png")
    again = client.get(words).json()["cards"][0]["picture"]
    assert again != page["cards"][0]["picture"]
    assert client.get("/" + again).status_code == 200
    app.extensions.switch("slots", False)
    assert client.get("/" + again).status_code == 404


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


@pytest.mark.parametrize("name", ["Sharpen 1.5", "100 %2E", "銳化", "a__b"])
def test_an_operation_may_have_any_name(app: App, name: str) -> None:
    added(app, "grain", GRAIN.replace("Film grain", name))
    added(app, "other", GRAIN.replace("Film grain", "鏡像"))
    client = served(app)
    shown = by_id(client.get("/config").json())
    (switch,) = [id for id, each in shown.items() if id.startswith("extras_op_") and each["props"].get("label") == name]
    suffix = switch.removeprefix("extras_")
    values = {"inputs": json.dumps([{"name": put(app), "width": 96, "height": 64}]), f"{suffix}_strength": 0.5}
    go = event(client, "extras_generate")
    assert send(client, go, form_values(client, "extras", **values, **{suffix: True})) == [""]
    (job,) = app.queue.jobs(ME)
    assert isinstance(job.request, UpscaleRequest)
    assert job.request.operations == {name: {"strength": 0.5}}
    filled = wish(client, "reuse", job=job.id)
    assert (filled[switch], filled[f"{switch}_strength"]) == (True, 0.5)
