"""What windows are told of extensions: a stamp of what they were when they were loaded, and that one has failed."""

import os
import threading
from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from backend.app import App, Options
from backend.errors import UserError
from backend.extensions.offered import stamp_of
from backend.server import live
from tests.extension_folders import write_extension
from tests.scripted import ScriptedWorker
from tests.test_live import hear, window


@pytest.fixture
def app(options: Options) -> Iterator[App]:
    write_extension(options.data_dir, "bell", files={"bell.js": ""}, js="bell.js")
    app = App(options, worker=ScriptedWorker)
    app.extensions.switch("bell", True)
    yield app
    app.close()


def stamp(app: App) -> str:
    return stamp_of(app.extensions.active())


@pytest.mark.parametrize("name", ["__init__.py", "bell.js"])
def test_a_file_that_is_edited_counts_when_it_is_loaded(app: App, name: str) -> None:
    """A page and the channel that look at different moments have the same word."""
    before = stamp(app)
    file = app.extensions.find("bell").folder / name
    os.utime(file, ns=(2 * 10**18, 2 * 10**18))
    assert stamp(app) == before
    app.extensions.rescan()
    assert stamp(app) == before, "it was on, and is not loaded anew"
    app.extensions.reload("bell")
    after = stamp(app)
    assert after != before
    for on in (False, True):
        app.extensions.switch("bell", on)
    assert stamp(app) == after


def test_a_restart_with_the_same_files_has_the_same_stamp(app: App) -> None:
    again = App(app.options, worker=ScriptedWorker)
    try:
        assert stamp(again) == stamp(app)
    finally:
        again.close()


def test_each_failure_is_counted_and_told(app: App) -> None:
    told: list[int] = []
    ended = app.extensions.on_failure(lambda: told.append(app.extensions.failures))
    revision = app.extensions.revision
    app.extensions.note_failure("bell", "on_image", UserError("No rope."))
    app.extensions.note_failure("lost", "on_image", UserError("Nobody."))
    assert (told, app.extensions.failures, app.extensions.revision) == ([1], 1, revision)
    extension = app.extensions.find("bell")
    threads = [
        threading.Thread(target=lambda: [extension.note_failure("ringing", "No rope.") for _ in range(500)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (app.extensions.failures, len(told)) == (2001, 2001)
    ended()
    extension.note_failure("ringing", "No rope.")
    assert len(told) == 2001


def test_a_window_hears_of_a_failure(app: App) -> None:
    server = FastAPI()
    server.include_router(live.router(app))
    with TestClient(server) as client, window(client) as socket:
        first = hear(socket, "extensions")
        app.extensions.note_failure("bell", "on_image", UserError("No rope."))
        later = hear(socket, "extensions", lambda message: message["failures"] != first["failures"])
    assert (first["failures"], later["failures"], later["revision"]) == (0, 1, first["revision"])
