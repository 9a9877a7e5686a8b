"""The moves that people know from other studios, each an extension of a page or less in `tests/moves`."""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image

from backend.app import App
from backend.request import GenerationRequest
from backend.server import extension_routes, extensions
from backend.server.accounts import Accounts, parse_entries, users_of
from backend.server.doorkeeper import LOGIN_COOKIE, Doorkeeper
from backend.server.guard import Guard
from backend.server.owner import OWNER_COOKIE
from backend.server.people import owner_named
from tests.extended import ended, extended, failed, made, studio
from tests.test_engine import pixels
from tests.test_img2img import noise, put

MOVES = Path(__file__).parent / "moves"
PATIENCE = 30.0  # seconds after which what is waited for does not come
HOST = "http://127.0.0.1:7860"
ME = "a" * 32
REQUEST = GenerationRequest(
    prompt="a red circle", checkpoint="tiny", width=64, height=64, steps=2, seed=1, sampler="Euler"
)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, written_checkpoint: Path) -> Iterator[App]:
    with studio(tmp_path_factory.mktemp("moves"), written_checkpoint) as app:
        yield app


@contextmanager
def moved(app: App, id: str) -> Iterator[ModuleType]:
    """Meanwhile that extension is on; gives its module."""
    folder = app.options.data_dir / "extensions" / id
    shutil.copytree(MOVES / id, folder, dirs_exist_ok=True)
    app.extensions.rescan()
    extension = app.extensions.switch(id, True)
    assert extension.module is not None, extension.problem
    assert Path(str(extension.module.__file__)).parent == folder
    try:
        yield extension.module
    finally:
        app.extensions.switch(id, False)


def picture(app: App, request: GenerationRequest, **extras: Any) -> np.ndarray:
    """The one picture of a request, with the values of extensions."""
    (ready,) = made(app, replace(request, extras=extras))
    return pixels(ready.path)


def test_control_adds_what_a_network_makes_of_a_picture(app: App) -> None:
    plain = picture(app, REQUEST)
    one, other = (put(app, noise((64, 64), seed)) for seed in (1, 2))
    with moved(app, "control"):
        steered = picture(app, REQUEST, control={"enabled": True, "picture": one})
        assert not np.array_equal(steered, plain)
        assert not np.array_equal(steered, picture(app, REQUEST, control={"enabled": True, "picture": other}))
        assert np.array_equal(steered, picture(app, REQUEST, control={"enabled": True, "picture": one}))
        weightless = {"enabled": True, "picture": one, "strength": 0.0}
        assert np.array_equal(plain, picture(app, REQUEST, control=weightless))
        asked = replace(REQUEST, extras={"control": {"enabled": True}})
        assert "Control needs a picture" in failed(app, asked)
        # On, and not asked: nothing is left of it.
        assert np.array_equal(plain, picture(app, REQUEST))
    assert np.array_equal(plain, picture(app, REQUEST))


def test_detailer_changes_its_region_and_no_pixel_beside_it(app: App) -> None:
    plain = picture(app, REQUEST)
    with moved(app, "detailer") as module:
        repainted = picture(app, REQUEST, detailer={"enabled": True, "prompt": "a blue square", "strength": 0.8})
        left, top, right, bottom = module.region(Image.fromarray(plain.astype(np.uint8)))
    changed = (repainted != plain).any(axis=2)
    assert changed[top:bottom, left:right].mean() > 0.5
    changed[top:bottom, left:right] = False
    assert not changed.any()


PROBE = """
@hook
def on_sampling_start(turn):
    def around(attend, hidden, context, place, shape):
        told = attend(hidden, context)
        if not seen:
            seen.append((told.float().cpu().numpy(), list(turn.negative_rows), shape))
        return told
    turn.wrap_attention(around, where=lambda place: place.cross)
"""


def attended(app: App, left: str, right: str) -> tuple[np.ndarray, list[bool]]:
    """What the first layer that looks at the words said, (rows, height, width, channels), and which rows are the
    negative prompt's."""
    with extended(app, PROBE, id="probe", before=["regional_prompter"]) as probe:
        picture(app, REQUEST, regional_prompter={"enabled": True, "left": left, "right": right})
        ((told, negative, (height, width)),) = probe.seen
    return told.reshape(len(told), height, width, -1), negative


def test_regional_tells_each_half_its_own_words(app: App) -> None:
    with moved(app, "regional_prompter"):
        first, negative = attended(app, "a red circle", "a blue square")
        others = {"left": ("a green boat", "a blue square"), "right": ("a red circle", "a green boat")}
        for side, words in others.items():
            second, _ = attended(app, *words)
            middle = first.shape[2] // 2
            assert negative.count(True) == 1
            for row, is_negative in enumerate(negative):
                same = {
                    "left": np.array_equal(first[row, :, :middle], second[row, :, :middle]),
                    "right": np.array_equal(first[row, :, middle:], second[row, :, middle:]),
                }
                assert same == {half: is_negative or half != side for half in same}


def test_regional_paints_two_grounds(app: App) -> None:
    """With networks that know what the words mean."""
    blue, yellow = "a red circle on a blue background", "a red circle on a yellow background"
    learnt = replace(REQUEST, checkpoint="starter", width=128, height=128, steps=8)
    with moved(app, "regional_prompter"):
        for left, right in ((blue, yellow), (yellow, blue)):
            red = picture(app, learnt, regional_prompter={"enabled": True, "left": left, "right": right})[..., 0]
            yellower = red[:, :48].mean() - red[:, 80:].mean()
            assert yellower < -50 if left == blue else yellower > 50


def test_dynamic_prompts_draw_a_word_for_each_picture(app: App) -> None:
    request = replace(REQUEST, prompt="a [[red|green|blue|white]] [[circle|square]]", batch_size=3, batch_count=2)
    with moved(app, "dynamic_prompts"):
        jobs = app.submit(request, "me")
        drawn = [job.request.prompt for job in jobs]
        assert [job.request.seed for job in jobs] == [1, 2, 3, 4, 5, 6]
        assert all(len(words.split()) == 3 and "[" not in words for words in drawn)
        assert len(set(drawn)) > 1
        shown = [ready for job in jobs for ready in ended(job)[1]]
        assert [(ready.infotext.split("\n")[0], ready.seed) for ready in shown] == list(
            zip(drawn, range(1, 7), strict=True)
        )
        # The seed means the words, whatever it is drawn with, and the picture.
        (third,) = made(app, replace(request, seed=3, batch_size=1, batch_count=1))
        assert third.infotext.startswith(drawn[2])
        assert np.array_equal(pixels(third.path), pixels(shown[2].path))
        (plain,) = app.submit(REQUEST, "me")
        assert plain.request.prompt == REQUEST.prompt
        ended(plain)


def until(true: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, "it does not come"
        time.sleep(0.01)


@pytest.fixture
def web(app: App) -> FastAPI:
    web = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    web.include_router(extensions.router(app))
    extension_routes.attach(web, app)
    return web


@pytest.fixture
def client(web: FastAPI) -> TestClient:
    """A person without a login, before the same guard as everywhere."""
    return TestClient(Guard(web), base_url=HOST, cookies={OWNER_COOKIE: ME}, client=("127.0.0.1", 50000))


def test_tags_are_served_with_their_script(app: App, client: TestClient) -> None:
    assert client.get("/ext/tags/tags").status_code == 404
    with moved(app, "tags") as module:
        assert client.get("/ext/tags/tags").json() == module.TAGS
        (script,) = [each for each in client.get("/atelier/extensions/slots").json()["modules"] if each["id"] == "tags"]
        served = client.get("/" + script["src"])
        assert served.text == (MOVES / "tags" / "tags.js").read_text()


def saved(app: App, owner: str, prompt: str) -> Path:
    """The file of a picture that is somebody's."""
    (job,) = app.submit(replace(REQUEST, prompt=prompt), owner)
    _, (ready,) = ended(job)
    return ready.path


def shown(client: TestClient, **asked: str) -> list[str]:
    """The first words of the pictures that the browser lists."""
    return [
        row["infotext"].split(",")[0].split("\n")[0] for row in client.get("/ext/browser/pictures", params=asked).json()
    ]


def test_browser_lists_what_was_saved(app: App, client: TestClient) -> None:
    earlier = saved(app, ME, "a yellow star")  # before the extension was there
    with moved(app, "browser"):
        path = saved(app, ME, "a green boat")
        saved(app, "b" * 32, "a stranger's boat")
        first, *_ = client.get("/ext/browser/pictures").json()
        assert path.as_posix().endswith(first["path"])
        assert shown(client) == ["a green boat", "a yellow star"]
        assert shown(client, words="BOAT") == ["a green boat"]
        assert shown(client, words="circle") == []
        assert client.get("/ext/browser/picture", params={"path": first["path"]}).content == path.read_bytes()
        earlier.unlink()
        assert shown(client) == ["a green boat"]
        stranger = client.get("/ext/browser/pictures", headers={"Origin": "http://elsewhere.example"})
        assert stranger.status_code == 403
        assert client.get("/ext/browser/pictures", headers={"Host": "elsewhere.example"}).status_code == 400
    assert client.get("/ext/browser/pictures").status_code == 404


def test_browser_shows_each_person_their_own(app: App, web: FastAPI) -> None:
    logins = "administrator ada:a,artist anna:b,artist bert:c"
    doorkeeper = Doorkeeper(Accounts(users_of(parse_entries(logins, first="administrator", others="artist"))))
    guard = Guard(web, doorkeeper=doorkeeper)

    def window(name: str) -> TestClient:
        cookies = {LOGIN_COOKIE: doorkeeper.sessions.begin(name)}
        return TestClient(guard, base_url=HOST, cookies=cookies, client=("127.0.0.1", 50000))

    with moved(app, "browser"):
        files = {name: saved(app, owner_named(name), f"the boat of {name}") for name in ("anna", "bert")}
        names = {name: path.relative_to(app.outputs.folder).as_posix() for name, path in files.items()}
        ada, anna, bert = map(window, ("ada", "anna", "bert"))
        assert (shown(ada), shown(anna), shown(bert)) == ([], ["the boat of anna"], ["the boat of bert"])
        for name in ("anna", "bert"):
            answer = anna.get("/ext/browser/picture", params={"path": names[name]})
            assert (answer.status_code == 200, answer.content == files[name].read_bytes()) == ((name == "anna"),) * 2
        nobody = TestClient(guard, base_url=HOST, client=("127.0.0.1", 50000))
        assert nobody.get("/ext/browser/pictures").status_code == 401


WINDOWS = """
@hook
def on_sampling_start(turn):
    def network(network, x, t, **arguments):
        seen.append(("network", *x.shape[2:]))
        return network(x, t, **arguments)
    def vae(run, given):
        seen.append(("vae", *given.shape[2:]))
        return run(given)
    turn.wrap_network(network)
    turn.wrap_vae(decode=vae)
"""


def test_tiles_show_no_network_more_than_a_window(app: App) -> None:
    large = replace(REQUEST, width=128, height=96)
    plain = picture(app, large)
    with moved(app, "tiles"), extended(app, WINDOWS, id="probe", after=["tiles"]) as probe:
        assert np.array_equal(plain, picture(app, large, tiles={"enabled": True, "window": 16}))
        assert set(probe.seen) == {("network", 12, 16), ("vae", 12, 16)}
        probe.seen.clear()
        tiled = picture(app, large, tiles={"enabled": True, "window": 8, "overlap": 4})
        assert set(probe.seen) == {("network", 8, 8), ("vae", 8, 8)}
        assert tiled.shape == plain.shape
        assert not np.array_equal(tiled, plain)
    assert np.array_equal(plain, picture(app, large))
