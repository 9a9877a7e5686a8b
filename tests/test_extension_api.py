"""Parameters of extensions for programs: /api/v2, and always-on scripts of AUTOMATIC1111's interface."""

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from backend.app import App, Options
from backend.request import GenerationRequest
from backend.server import jobs_api
from tests.scripted import ScriptedWorker
from tests.sd_studio import ME, cookies, server
from tests.test_extension_routes import added

FRAME = """
    from typing import Literal
    from backend.extension_api import ExtensionApi, Field, Params, hook

    class Frame(Params):
        enabled: bool = Field(False, title="Frame")
        width: int = Field(8, ge=1, le=64, title="Width of the frame")
        colour: Literal["black", "oak"] = Field("oak", title="Colour")
        soft: bool = False

    @hook
    def register(api: ExtensionApi) -> None:
        api.params(Frame, title="Picture frame", tabs=["txt2img"])
"""


@pytest.fixture
def app(options: Options) -> Iterator[App]:
    app = App(options, worker=ScriptedWorker)
    added(app, "frame", FRAME)
    yield app
    app.close()


@pytest.fixture
def client(app: App) -> TestClient:
    web = server(app)
    web.include_router(jobs_api.router(app))
    return TestClient(web, cookies=cookies())


def asked(app: App, client: TestClient, scripts: dict[str, Any], **more: Any) -> Any:
    """The extras that a body with these always-on scripts asked for, or the fault."""
    app.start()
    body = {"prompt": "a red circle", "steps": 1, "width": 64, "height": 64, "alwayson_scripts": scripts, **more}
    answer = client.post("/sdapi/v1/txt2img", json=body)
    return newest(app).extras if answer.status_code == 200 else answer.json()


def newest(app: App) -> GenerationRequest:
    """What was asked for last."""
    request = app.queue.jobs(ME)[-1].request
    assert isinstance(request, GenerationRequest)
    return request


ALL = {"enabled": True, "width": 8, "colour": "oak", "soft": False}


@pytest.mark.parametrize(
    ("title", "args", "values"),
    [
        ("Picture frame", {"width": 12}, ALL | {"width": 12}),
        ("frame", {"Width of the frame": 12, "colour": "black"}, ALL | {"width": 12, "colour": "black"}),
        ("PICTURE FRAME", [True, 20], ALL | {"width": 20}),
        ("frame", [True, 20, "black", True], ALL | {"width": 20, "colour": "black", "soft": True}),
    ],
)
def test_an_always_on_script_is_an_extension(
    app: App, client: TestClient, title: str, args: Any, values: dict[str, Any]
) -> None:
    assert asked(app, client, {title: {"args": args}}) == {"frame": values}


@pytest.mark.parametrize("args", [[], {}, [False, 9], {"enabled": False, "width": 9}])
def test_one_that_is_off_asks_for_nothing(app: App, client: TestClient, args: Any) -> None:
    assert asked(app, client, {"Picture frame": {"args": args}}) == {}


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ({"width": 99}, "Picture frame: Width of the frame"),
        ({"height": 9}, "Picture frame takes no 'height'; there are enabled, width, colour, soft"),
        ([True, 1, "oak", True, 5], "Picture frame takes 4 values, and 5 were sent"),
        ("wide", "Picture frame: args must be a list or an object"),
    ],
)
def test_what_cannot_be_is_a_sentence(app: App, client: TestClient, args: Any, words: str) -> None:
    assert words in str(asked(app, client, {"Picture frame": {"args": args}}))
    assert app.queue.jobs(ME) == []


def test_scripts_are_listed_with_their_arguments(app: App, client: TestClient) -> None:
    assert "picture frame" in client.get("/sdapi/v1/scripts").json()["txt2img"]
    assert "picture frame" not in client.get("/sdapi/v1/scripts").json()["img2img"]
    (row,) = [each for each in client.get("/sdapi/v1/script-info").json() if each["name"] == "picture frame"]
    assert (row["is_alwayson"], row["is_img2img"]) == (True, False)
    assert [each["label"] for each in row["args"]] == ["Frame", "Width of the frame", "Colour", "Soft"]
    assert (row["args"][1]["minimum"], row["args"][1]["maximum"], row["args"][2]["choices"]) == (
        1,
        64,
        ["black", "oak"],
    )
    app.extensions.switch("frame", False)
    assert "picture frame" not in client.get("/sdapi/v1/scripts").json()["txt2img"]
    assert "not found" in str(asked(app, client, {"Picture frame": {"args": [True]}}))


def test_v2_lists_extensions_with_their_schemas_and_takes_their_values(app: App, client: TestClient) -> None:
    (view,) = [each for each in client.get("/api/v2/extensions").json()["extensions"] if each["id"] == "frame"]
    assert (view["title"], view["version"], view["tabs"]) == ("Frame", "1.0", ["txt2img"])
    assert view["parameters"]["properties"]["width"]["maximum"] == 64
    wanted = {"prompt": "a red circle", "steps": 1, "width": 64, "height": 64, "extras": {"frame": {"width": 12}}}
    answer = client.post("/api/v2/generations", json=wanted)
    assert answer.status_code < 300, answer.text
    assert newest(app).extras == {"frame": ALL | {"width": 12}}
    answer = client.post("/api/v2/generations", json=wanted | {"extras": {"frame": {"width": 99}}})
    assert "Width of the frame" in answer.text
    described = client.get("/api/v2/openapi.json").json()["components"]["schemas"]["GenerationRequest"]
    assert described["properties"]["extras"]["type"] == "object"
