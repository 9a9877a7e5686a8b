"""The page made anew: once for all changes, when a window is opened, and never at the cost of the one that is there."""

from collections.abc import Iterator

import gradio as gr
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from backend.app import App, Options
from tests.extension_folders import write_extension
from tests.scripted import ScriptedWorker
from ui.pages import Pages, Renewals


class Builder:
    """Makes small pages, each with its number, and notes when one is opened by a setting; or fails."""

    def __init__(self) -> None:
        self.made = 0
        self.failing = False
        self.renewed: list[int] = []

    def __call__(self, renewals: Renewals) -> gr.Blocks:
        number = self.made = self.made + 1
        renewals.acts.append(lambda: self.renewed.append(number))
        if self.failing:
            raise ValueError("no paper")
        with gr.Blocks(analytics_enabled=False) as page:
            gr.Textbox(elem_id=f"page_{number}")
        return page


@pytest.fixture
def app(options: Options) -> Iterator[App]:
    app = App(options, worker=ScriptedWorker)
    yield app
    app.close()


def ids(client: TestClient) -> list[str]:
    rows = client.get("/config").json()["components"]
    return [each["props"]["elem_id"] for each in rows if each["type"] == "textbox"]


def opened(app: App, build: Builder) -> tuple[Pages, TestClient]:
    server = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    pages = Pages(server, app, build)
    app.extensions.subscribe(pages.outdate)
    return pages, TestClient(server)


def test_many_changes_make_one_page_when_it_is_asked_for(app: App) -> None:
    build = Builder()
    _, client = opened(app, build)
    assert ids(client) == ["page_1"]
    assert isinstance(client.app, FastAPI)
    routes = list(client.app.router.routes)
    write_extension(app.options.data_dir, "bell")
    app.extensions.rescan()
    for on in (True, False, True):
        app.extensions.switch("bell", on)
    assert build.made == 1
    assert ids(client) == ["page_2"]
    assert client.get("/").status_code == 200
    assert build.made == 2
    assert client.app.router.routes == routes  # those of extensions are put beside them at any moment


def test_a_page_that_cannot_be_made_leaves_the_one_before(app: App, caplog: pytest.LogCaptureFixture) -> None:
    build = Builder()
    pages, client = opened(app, build)
    build.failing = True
    pages.outdate()
    assert ids(client) == ["page_1"]
    assert "the page could not be made anew" in caplog.text
    assert ids(client) == ["page_1"]
    assert build.made == 2  # it is not tried again for each window
    pages._renewals()
    assert build.renewed == [1]
    build.failing = False
    pages.outdate()
    assert ids(client) == ["page_3"]


def test_pages_of_before_are_served_while_they_are_few(app: App) -> None:
    build = Builder()
    _, client = opened(app, build)
    places = []
    for number in range(6):
        write_extension(app.options.data_dir, "bell", version=f"1.{number}")
        app.extensions.rescan()
        app.extensions.switch("bell", True)
        places.append(client.get("/config").json()["api_prefix"].removesuffix("/gradio_api"))
    assert len(set(places)) == 6
    kept = [place for place in places if client.get(f"{place}/config").json().get("components")]
    assert kept == places[-4:]
