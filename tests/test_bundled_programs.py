"""Bundled extensions that bring pages and programs, on the real engine: palette, smart_mask, contact_sheet, ledger."""

import json
import math
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image, ImageDraw

from backend.app import App, Options
from backend.errors import UserError
from backend.extension_api import Person
from backend.extensions.asking import asked_as
from backend.model_manager.identity import Kind
from backend.server import extension_routes
from backend.server.owner import OWNER_COOKIE
from tests.bundled import REQUEST, asking, made, on, pixels

OWNER = "c" * 32
PATIENCE = 30.0  # seconds after which what is waited for does not come


def until(true: Callable[[], Any]) -> Any:
    """What `true` gives once that is something."""
    end = time.monotonic() + PATIENCE
    while not (found := true()):
        assert time.monotonic() < end, "it does not come"
        time.sleep(0.01)
    return found


# --- palette: a card page, on_prompts ---


def test_palettes_are_cards_with_pictures_and_words(app: App) -> None:
    (page,) = on(app, "palette").brought.card_pages
    cards = page.cards()
    assert page.title == "Palettes"
    assert len(cards) >= 12
    assert [card.title for card in cards] == sorted(card.title for card in cards)
    for card in cards:
        assert card.insert.startswith("colour palette of ")
        assert card.picture is not None
        assert card.picture.is_relative_to(app.options.data_dir / "extensions-data" / "palette")
        assert len({tuple(row) for row in pixels(card.picture).reshape(-1, 3)}) >= 3


def test_a_palette_of_ones_own_is_a_card_and_a_bad_file_a_sentence(app: App) -> None:
    extension = on(app, "palette")
    (page,) = extension.brought.card_pages
    own = extension.data_dir / "palettes.json"
    own.parent.mkdir(parents=True, exist_ok=True)
    own.write_text(json.dumps({"Mine": [["chalk", "#fafafa"], ["soot", "#101010"]]}))
    assert next(card for card in page.cards() if card.title == "Mine").insert == "colour palette of chalk and soot"
    for text in ("{", '{"Mine": []}', '{"Mine": [["chalk", "nothing"]]}', "[1]"):
        own.write_text(text)
        with pytest.raises(UserError, match="cannot be read as palettes"):
            page.cards()


def test_each_picture_gets_a_palette_that_its_seed_draws(app: App) -> None:
    on(app, "palette")
    request = asking(replace(REQUEST, batch_size=2, batch_count=3), "palette")
    jobs = app.several(request)
    assert [job.seed for job in jobs] == [1, 2, 3, 4, 5, 6]
    assert all(job.pictures == 1 and not job.extras for job in jobs)
    assert all(job.prompt.startswith("a red circle, colour palette of ") for job in jobs)
    assert len({job.prompt for job in jobs}) > 1
    assert app.several(request) == jobs
    (same,) = app.several(asking(replace(REQUEST, batch_count=3), "palette", drawn="The same for all"))
    assert same.pictures == 3


def test_a_palette_is_chosen_by_its_name(app: App) -> None:
    on(app, "palette")
    (job,) = app.several(asking(replace(REQUEST, batch_count=2), "palette", name="delft"))
    assert job.prompt == "a red circle, colour palette of cobalt blue, porcelain white and pale blue"
    with pytest.raises(UserError, match="There is no palette called 'Mud'"):
        app.several(asking(REQUEST, "palette", name="Mud"))
    assert app.several(REQUEST) == [REQUEST]


# --- smart_mask: canvas tools ---


def scene() -> tuple[Image.Image, np.ndarray]:
    """A thing of two colours on noise, and where it is."""
    rng = np.random.default_rng(7)
    ground = np.clip(np.array([106, 143, 176]) + rng.integers(-8, 9, (300, 500, 3)), 0, 255).astype(np.uint8)
    shown, truth = Image.fromarray(ground), Image.new("L", (500, 300))
    for image, outer, inner in ((shown, "#c03020", "#f0d040"), (truth, 255, 255)):
        draw = ImageDraw.Draw(image)
        draw.ellipse((160, 90, 300, 230), fill=outer)
        draw.ellipse((195, 125, 265, 195), fill=inner)
    return shown, np.asarray(truth) > 0


def overlap(mask: Image.Image, truth: np.ndarray) -> float:
    """Intersection over union."""
    assert mask.mode == "L"
    assert set(np.unique(np.asarray(mask))) <= {0, 255}
    found = np.asarray(mask) > 0
    return (found & truth).sum() / (found | truth).sum()


def test_one_press_masks_a_colour_or_a_whole_thing(app: App) -> None:
    extension = on(app, "smart_mask")
    assert extension.settings is not None
    extension.settings.change(grow=0)
    similar, whole = (tool.select for tool in extension.brought.canvas_tools)
    shown, truth = scene()
    inner = np.hypot(*(np.mgrid[:300, :500] - np.array([160, 230])[:, None, None])) <= 35
    assert overlap(similar(shown, (230, 160)), inner) > 0.95
    assert overlap(whole(shown, (230, 160)), inner) < 0.5
    assert overlap(whole(shown, (230, 160)), truth) > 0.9
    (again,) = {whole(shown, (230, 160)).tobytes() for _ in range(3)}
    large = shown.resize((1500, 900), Image.Resampling.NEAREST)
    assert overlap(whole(large, (690, 480)), truth.repeat(3, 0).repeat(3, 1)) > 0.9
    assert again


def test_the_tolerance_decides_what_is_similar(app: App) -> None:
    extension = on(app, "smart_mask")
    assert extension.settings is not None
    similar = extension.brought.canvas_tools[0].select
    shown, _ = scene()
    shares = []
    for tolerance in (0, 12, 100):
        extension.settings.change(tolerance=tolerance, grow=0)
        shares.append((np.asarray(similar(shown, (5, 5))) > 0).mean())
    assert shares[0] < 0.01
    assert 0.75 < shares[1] < 0.9
    assert shares[2] == 1
    extension.settings.change(tolerance=12, grow=8)
    grown = (np.asarray(similar(shown, (230, 160))) > 0).sum()
    assert grown == pytest.approx(math.pi * 43**2, rel=0.05)


# --- contact_sheet: a gallery action, a card action ---


def test_a_contact_sheet_shows_the_day(app: App) -> None:
    """Of the pictures of whoever asks for it."""
    extension = on(app, "contact_sheet")
    images = made(app, replace(REQUEST, batch_count=4, steps=1))
    list(app.queue.submit(replace(REQUEST, steps=1), "another").follow())
    (action,) = extension.brought.gallery_actions
    assert extension.settings is not None
    extension.settings.change(columns=2, side=96)
    images[-1].path.write_bytes(b"no picture")
    with asked_as(Person(owner="me", name="", administrator=True)):
        said = action.act(images[0].path)
    assert said.startswith("A sheet of your 3 pictures")
    assert "1 could not be read." in said
    (sheet,) = extension.data_dir.glob("txt2img-*.png")
    assert str(sheet) in said
    shown = pixels(sheet)
    assert shown.shape == (12 + 2 * (96 + 22 + 12), 12 + 2 * (96 + 12), 3)
    first = np.asarray(Image.open(images[0].path).convert("RGB").resize((96, 96), Image.Resampling.LANCZOS))
    assert np.abs(shown[12:108, 12:108] - first.astype(np.int16)).max() <= 1
    assert (shown[150:238, 130:210] == [0xF4, 0xF2, 0xEE]).all()  # where a fourth would be


def test_a_model_says_what_it_is(app: App) -> None:
    (action,) = on(app, "contact_sheet").brought.card_actions
    record = app.catalog.find("tiny")
    assert action.act(record).startswith(f"tiny.safetensors is {record.identity.title}, ")
    alike = sum(other.identity.fits(record.identity) for other in app.catalog.records(Kind.CHECKPOINT))
    assert f"MB, {alike - 1} more like it." in action.act(record)
    shutil.copy(record.path, record.path.with_name("twin.safetensors"))
    app.catalog.find("twin")
    assert f"MB, {alike} more like it." in action.act(record)
    assert action.act(record).endswith("No trigger words are noted beside it.")
    record.path.with_suffix(".json").write_text('{"activation text": "ink  wash\\n"}')
    assert action.act(record).endswith("Its maker says: ink wash.")


# --- ledger: an event, routes, a flag, a tab, a background job, on_save, on_finish ---


def served(app: App) -> TestClient:
    """The ledger's routes, while it is on."""
    web = FastAPI()
    for routes in on(app, "ledger").brought.routes:
        web.include_router(routes.router, prefix="/ext/ledger")
    return TestClient(web)


@pytest.fixture
def client(app: App) -> TestClient:
    return served(app)


def test_the_ledger_says_what_is_one_s_own(app: App) -> None:
    on(app, "ledger")
    images = made(app, replace(REQUEST, batch_count=2))
    web = FastAPI()
    extension_routes.attach(web, app)
    client, nobody = TestClient(web, cookies={OWNER_COOKIE: OWNER}), TestClient(web)
    assert client.get("/ext/ledger/mine").json() == {"pictures": 0, "days": []}
    list(app.queue.submit(REQUEST, OWNER).follow())
    assert nobody.get("/ext/ledger/mine").json() == {"pictures": 0, "days": []}
    assert client.get("/ext/ledger/mine").json() == {"pictures": 1, "days": [[images[0].path.parent.name, 1]]}


def summary(client: TestClient) -> Mapping[str, Any]:
    return client.get("/ext/ledger/summary").json()


def test_the_ledger_counts_what_is_made(app: App, client: TestClient) -> None:
    assert summary(client) == {"pictures": 0, "jobs": 0, "days": [], "models": []}
    images = made(app, replace(REQUEST, batch_count=2))
    until(lambda: summary(client)["pictures"] == 2)
    until(lambda: summary(client)["jobs"] == 1)
    assert summary(client)["days"] == [[images[0].path.parent.name, 2]]
    assert summary(client)["models"] == [["tiny", 2]]
    assert "Ledger" not in images[0].infotext
    assert [routes.risk for routes in app.extensions.find("ledger").brought.routes] == ["read", "manage"]


def test_the_ledger_numbers_pictures_where_that_is_wanted(app: App, client: TestClient) -> None:
    extension = app.extensions.find("ledger")
    assert extension.settings is not None
    extension.settings.change(number=True)
    images = made(app, replace(REQUEST, batch_count=2))
    assert ["Ledger: 1" in images[0].infotext, "Ledger: 2" in images[1].infotext] == [True, True]
    until(lambda: summary(client)["pictures"] == 2)


def test_the_ledger_counts_what_is_there_in_the_background(app: App) -> None:
    first, second = made(app, replace(REQUEST, batch_count=2))
    client, works = served(app), app.extensions.works
    assert summary(client)["pictures"] == 0
    assert client.post("/ext/ledger/count").json()["said"].startswith("What is there is being counted")
    until(lambda: [work.state for work in works.of("ledger")] == ["finished"])
    assert summary(client)["models"] == [["tiny", 2]]
    second.path.unlink()
    client.post("/ext/ledger/count")
    until(lambda: [work.state for work in works.of("ledger")] == ["finished", "finished"])
    assert summary(client)["days"] == [[first.path.parent.name, 1]]


def test_the_ledgers_count_can_be_cancelled(app: App, client: TestClient) -> None:
    folder = app.outputs.folder / "txt2img" / "2026-01-01"
    folder.mkdir(parents=True)
    for number in range(3000):
        (folder / f"{number}.png").write_bytes(b"no picture")
    client.post("/ext/ledger/count")
    (work,) = app.extensions.works.of("ledger")
    app.extensions.works.cancel(work.id)
    (work,) = until(lambda: [each for each in app.extensions.works.of("ledger") if each.ended])
    assert work.state == "cancelled"
    assert summary(client)["pictures"] < 3000
    client.post("/ext/ledger/count")
    until(lambda: [each.state for each in app.extensions.works.of("ledger")] == ["cancelled", "finished"])
    assert summary(client)["days"] == [["2026-01-01", 3000]]


def test_the_ledgers_file_can_be_chosen_by_a_flag(options: Options, tmp_path: Path) -> None:
    file = tmp_path / "books" / "mine.sqlite3"
    app = App(replace(options, extension_flags={"ledger-file": str(file)}))
    try:
        extension = on(app, "ledger")
        web = FastAPI()
        web.include_router(extension.brought.routes[0].router)
        with TestClient(web, raise_server_exceptions=False) as client:
            assert client.get("/summary").status_code == 500  # its folder is not there
            file.parent.mkdir()
            assert client.get("/summary").json()["pictures"] == 0
        assert file.is_file()
        assert not list(extension.data_dir.glob("*.sqlite3"))
    finally:
        app.close()


def test_the_ledgers_tab_is_laid_out(app: App, client: TestClient) -> None:
    gradio = pytest.importorskip("gradio")
    (tab,) = app.extensions.find("ledger").brought.tabs
    with gradio.Blocks() as page, gradio.Tab(tab.title):
        tab.build()
    labels = [block.value for block in page.blocks.values() if isinstance(block, gradio.Button)]
    assert labels == ["Show what is there now", "Show mine", "Count what is there"]
    assert summary(client)["pictures"] == 0
