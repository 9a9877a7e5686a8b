"""The canvas in a browser, painted on with mouse, finger and pen."""

import contextlib
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, CDPSession, Error, Page, expect

from tests.browser.conftest import PATIENCE, Witness
from tests.browser.easel import Easel, png

pytestmark = pytest.mark.browser
expect.set_options(timeout=PATIENCE)
FIND = """async () => {
  const all = await import(new URL('atelier/static/canvas/canvas.js', document.baseURI));
  window.canvas = await all.canvasOf('inpaint');
}"""
LOOKS = [
    pytest.param({"width": 390, "height": 844, "touch": True}, id="phone"),
    pytest.param({"width": 390, "height": 844, "touch": True, "dark": True}, id="phone-dark"),
    pytest.param({"width": 1600, "height": 1000}, id="wide"),
    pytest.param({"width": 1600, "height": 1000, "dark": True}, id="wide-dark"),
]
NAMELESS = """[...document.querySelectorAll("button, input, select, [role=toolbar], [role=group]")]
  .filter((one) => one.checkVisibility() && !one.innerText && !one.ariaLabel && !one.closest("label"))
  .map((one) => one.outerHTML)"""
NARROW = """[...document.querySelectorAll(".easel :is(button, select, input:not([type=checkbox]))")]
  .filter((one) => one.checkVisibility())
  .filter((one) => one.offsetHeight < 44 && !one.matches(".grip"))
  .map((one) => one.outerHTML)"""
CONTRAST = Path(__file__).with_name("contrast.js").read_text(encoding="utf-8")
SIZE = (1000, 700)  # multiples of 8 they are not


class Sitting(Witness):
    """A witness whose pages are ready when the canvas is."""

    @staticmethod
    def ready(page: Page) -> None:
        page.locator(".easel").wait_for()
        page.evaluate(FIND)


@pytest.fixture(scope="module")
def easel() -> Iterator[Easel]:
    easel = Easel()
    yield easel
    easel.close()


@pytest.fixture
def witness(browser: Browser, easel: Easel) -> Iterator[Sitting]:
    easel.sent.clear()
    witness = Sitting(browser)
    yield witness
    for context in browser.contexts:
        context.close()
    assert witness.complaints == []
    assert witness.strangers == []


def drawn(size: tuple[int, int] = SIZE, seed: int = 0) -> Image.Image:
    """A picture in which no two rows or columns are alike."""
    across, down = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    parts = [(across * 255 // size[0]), (down * 255 // size[1]), (across * 7 + down * 3 + seed * 50) % 256]
    return Image.fromarray(np.stack(parts, axis=-1).astype(np.uint8))


@pytest.fixture
def page(witness: Sitting, easel: Easel) -> Page:
    page = witness.open(easel.url)
    load(page, easel, drawn())
    page.locator(".easel-view").focus()
    return page


def load(page: Page, easel: Easel, image: Image.Image, name: str = "first") -> None:
    page.evaluate("url => canvas.load(url)", easel.offer(name, image))


def state(page: Page) -> dict[str, Any]:
    return page.evaluate("canvas.state")


def at(page: Page, x: float, y: float) -> tuple[float, float]:
    """Where a place in the picture is in the window."""
    box = page.locator(".easel-view").bounding_box()
    assert box
    left, top, scale = page.evaluate("[canvas.view.left, canvas.view.top, canvas.view.scale]")
    return box["x"] + left + x * scale, box["y"] + top + y * scale


def stroke(page: Page, *points: tuple[float, float], button: Any = "left") -> None:
    """With the mouse, between places in the picture."""
    page.mouse.move(*at(page, *points[0]))
    page.mouse.down(button=button)
    for point in points[1:]:
        page.mouse.move(*at(page, *point), steps=3)
    page.mouse.up(button=button)


def hold_down(page: Page, first: tuple[float, float], last: tuple[float, float]) -> None:
    """Begin a line with the mouse, and do not end it."""
    page.mouse.move(*at(page, *first))
    page.mouse.down()
    page.mouse.move(*at(page, *last), steps=3)


def hand(page: Page, **values: Any) -> None:
    page.evaluate("values => canvas.settings.set(values)", values)


def commit(page: Page) -> dict[str, Any]:
    return page.evaluate("canvas.commit()")


def layer(page: Page, easel: Easel, name: str = "mask") -> np.ndarray:
    """What the server got of a layer; nothing at all where it is empty."""
    delivered = commit(page)
    width, height = delivered["pictureSize"]
    if not delivered[name]:
        return np.zeros((height, width) if name == "mask" else (height, width, 4), np.uint8)
    with Image.open(io.BytesIO(easel.inputs[delivered[name]])) as image:
        assert image.mode == {"mask": "L", "sketch": "RGBA"}[name]
        assert image.size == (width, height)
        return np.asarray(image)


def press(page: Page, keys: str, times: int = 1) -> None:
    """And wait until it is done."""
    for _ in range(times):
        page.keyboard.press(keys)
    settle(page)


def settle(page: Page) -> None:
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def steps_done(page: Page, position: int) -> None:
    page.wait_for_function("position => canvas.state.position === position", arg=position)


def saved(page: Page) -> None:
    page.wait_for_function("canvas.state.saved === 'saved'")


def test_paint_erase_undo_and_redo(page: Page, easel: Easel) -> None:
    hand(page, size=40, hardness=1)
    stroke(page, (200, 300), (600, 300))
    painted = layer(page, easel)
    assert painted[300, 150:650].nonzero()[0].tolist() == list(range(30, 470))  # 20 on either side of the line
    assert (painted[:, 400] > 0).sum() == 40
    assert painted.max() == 255
    page.keyboard.press("e")
    stroke(page, (400, 200), (400, 400))
    erased = layer(page, easel)
    assert not erased[300, 385:415].any()
    assert (erased[300, 200:360] == painted[300, 200:360]).all()
    press(page, "Control+z")
    steps_done(page, 1)
    assert (layer(page, easel) == painted).all()
    press(page, "Control+z")
    steps_done(page, 0)
    assert not layer(page, easel).any()
    press(page, "Control+y", 2)
    steps_done(page, 2)
    assert (layer(page, easel) == erased).all()
    page.locator(".easel-rail .undo").click()
    steps_done(page, 1)
    press(page, "x")
    assert page.evaluate("canvas.settings.erasing") is False
    stroke(page, (100, 100), (100, 101))
    assert state(page)["steps"] == 2  # what was undone is gone


def test_soft_edges_and_crossing_lines(page: Page, easel: Easel) -> None:
    hand(page, size=100, hardness=0)
    stroke(page, (300, 300), (301, 300))
    across = layer(page, easel)[300, 300:352].astype(int)
    assert (np.diff(across) <= 0).all()
    assert len(set(across.tolist())) > 30
    once = layer(page, easel)[300, 320]
    stroke(page, (300, 300), (301, 300))
    assert layer(page, easel)[300, 320] == once  # a soft edge stays soft, however often one goes over it


def test_a_sketch_has_its_own_colours_and_the_dropper_takes_them(page: Page, easel: Easel) -> None:
    hand(page, layer="sketch", size=60, hardness=1, colour=[10, 200, 30])
    stroke(page, (300, 300), (500, 300))
    sketch = layer(page, easel, "sketch")
    assert sketch[300, 400].tolist() == [10, 200, 30, 255]
    assert not sketch[100, 100].any()
    assert commit(page)["mask"] == ""
    page.keyboard.down("Alt")
    page.mouse.click(*at(page, 800.5, 100.5))
    page.keyboard.up("Alt")
    assert page.evaluate("canvas.settings.colour") == list(drawn().getpixel((800, 100)))  # type: ignore[arg-type]
    page.locator(".easel button.dropper").click()
    page.mouse.click(*at(page, 400.5, 300.5))
    assert page.evaluate("[canvas.settings.colour, canvas.settings.tool]") == [[10, 200, 30], "brush"]
    page.keyboard.press("x")
    assert page.evaluate("canvas.settings.colour") == list(drawn().getpixel((800, 100)))  # type: ignore[arg-type]
    hand(page, erasing=True)
    stroke(page, (400, 200), (400, 400))
    assert not layer(page, easel, "sketch")[300, 400].any()
    assert layer(page, easel, "sketch")[300, 320].tolist() == [10, 200, 30, 255]


def test_areas_and_what_is_done_to_the_whole_mask(page: Page, easel: Easel) -> None:
    press(page, "r")
    stroke(page, (100.5, 100.5), (299.5, 199.5))
    mask = layer(page, easel)
    assert (mask[100:200, 100:300] == 255).all()
    assert (mask > 0).sum() == 200 * 100
    page.get_by_role("button", name="Grow the mask").click()  # by 8: an octagon
    steps_done(page, 2)
    grown = layer(page, easel)
    assert (grown[92:208, 120:280] == 255).all()
    assert not grown[:92].any()
    assert 0 < (grown[92:100, 92:100] > 0).sum() < 64  # its corners are cut
    page.get_by_role("button", name="Shrink the mask").click()
    steps_done(page, 3)
    assert (layer(page, easel) == mask).all()
    page.get_by_role("button", name="Feather the mask").click()
    steps_done(page, 4)
    edge = layer(page, easel)[150, 80:120].astype(int)
    assert (np.diff(edge) >= 0).all()
    assert 100 < edge[20] < 155
    press(page, "Control+z")
    page.get_by_role("button", name="Invert the mask").click()
    steps_done(page, 4)
    assert (layer(page, easel) == 255 - mask).all()
    page.get_by_role("button", name="Clear this layer").click()
    steps_done(page, 5)
    assert commit(page)["mask"] == ""
    press(page, "l")
    stroke(page, (500, 100), (900, 100), (900, 500), (500, 100))
    lasso = layer(page, easel)
    assert lasso[200, 800] == 255
    assert lasso[400, 600] == 0
    press(page, "g")
    page.mouse.click(*at(page, 10, 10))
    steps_done(page, 7)
    assert (layer(page, easel) == 255).all()
    hand(page, tool="rectangle", erasing=True)
    stroke(page, (-20, -20), (60, 60))  # it may begin outside
    assert not layer(page, easel)[:60, :60].any()


def test_masks_of_one_pixel_and_at_the_borders(witness: Sitting, easel: Easel) -> None:
    page = witness.open(easel.url)
    load(page, easel, drawn((1, 1)), "point")
    assert state(page)["pictureSize"] == [1, 1]
    hand(page, size=1, hardness=1)
    stroke(page, (0.5, 0.5), (0.6, 0.5))
    assert layer(page, easel).tolist() == [[255]]
    load(page, easel, drawn((513, 1025)), "tiles")  # one pixel more than tiles have
    page.get_by_role("button", name="Invert the mask").click()
    steps_done(page, 3)
    assert (layer(page, easel) == 255).all()
    assert layer(page, easel).shape == (1025, 513)


def test_zoom_and_pan(page: Page, easel: Easel) -> None:
    before = (905.0, 303.0)
    place = page.evaluate("([x, y]) => canvas.view.point({ clientX: x, clientY: y })", before)
    place = (place["x"], place["y"])
    page.mouse.move(*before)
    page.mouse.wheel(0, -600)
    settle(page)
    assert state(page)["zoom"] > 1.5
    assert at(page, *place) == pytest.approx(before, abs=0.5)  # it stays under the pointer
    page.keyboard.down("Space")
    page.mouse.down()
    page.mouse.move(before[0] - 60, before[1] + 40)
    page.mouse.up()
    page.keyboard.up("Space")
    assert at(page, *place) == pytest.approx((before[0] - 60, before[1] + 40), abs=0.5)
    page.mouse.move(*before)
    page.mouse.down(button="middle")
    page.mouse.move(before[0] + 30, before[1])
    page.mouse.up(button="middle")
    assert at(page, *place) == pytest.approx((before[0] - 30, before[1] + 40), abs=0.5)
    assert state(page)["steps"] == 0
    hand(page, size=8, hardness=1)
    stroke(page, (700, 200), (720, 200))
    rows, columns = layer(page, easel).nonzero()
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (196, 203, 696, 723)
    page.keyboard.press("1")
    assert state(page)["zoom"] == 1
    page.keyboard.press("0")
    inside = page.locator(".easel-view").bounding_box()
    assert inside
    assert at(page, 0, 0) > (inside["x"], inside["y"])
    assert at(page, *SIZE) < (inside["x"] + inside["width"], inside["y"] + inside["height"])


def test_the_box_reaches_outside(page: Page) -> None:
    press(page, "c")
    assert state(page)["box"] == {"left": 0, "top": 0, "width": 1000, "height": 696}
    page.mouse.move(*at(page, 1000, 348))
    page.mouse.down()
    page.mouse.move(*at(page, 1103, 348), steps=3)
    page.mouse.up()
    assert commit(page)["box"] == {"left": 0, "top": 0, "width": 1104, "height": 696}
    page.mouse.move(*at(page, 500, 348))
    page.mouse.down()
    page.mouse.move(*at(page, 450, 250), steps=3)
    page.mouse.up()
    assert state(page)["box"] == {"left": -48, "top": -96, "width": 1104, "height": 696}
    press(page, "Control+z")
    steps_done(page, 2)
    assert state(page)["box"] == {"left": 0, "top": 0, "width": 1104, "height": 696}
    page.evaluate("canvas.setBox(null)")
    page.get_by_role("button", name="Extend to the left").click()
    assert state(page)["box"] == {"left": -128, "top": 0, "width": 1128, "height": 696}
    page.get_by_role("button", name="Extend to the bottom").click()
    assert state(page)["box"] == {"left": -128, "top": 0, "width": 1128, "height": 824}
    for factor in (1.5, 2):
        page.get_by_role("button", name=f"{factor:g}×").click()
        box = state(page)["box"]
        assert 0 <= box["width"] - SIZE[0] * factor < 8
        assert 0 <= box["height"] - SIZE[1] * factor < 8
        assert abs(2 * box["left"] + box["width"] - SIZE[0]) <= 8
        assert abs(2 * box["top"] + box["height"] - SIZE[1]) <= 8
    for across, down in ((1, 1), (16, 9), (9, 16)):
        page.evaluate("ratio => canvas.fitRatio(...ratio)", [across, down])
        box = state(page)["box"]
        assert abs(box["width"] * down - box["height"] * across) < 8 * max(across, down)
        assert box["left"] <= 0
        assert box["top"] <= 0
        assert box["left"] + box["width"] >= SIZE[0]
        assert box["top"] + box["height"] >= SIZE[1]
        assert all(value % 8 == 0 for value in box.values())
    before = state(page)["box"]
    page.locator(".easel-box .grip").focus()
    press(page, "ArrowLeft")
    press(page, "Shift+ArrowDown")
    assert state(page)["box"] == {**before, "left": before["left"] - 8, "height": before["height"] + 8}
    press(page, "Delete")
    assert commit(page)["box"] is None


def test_only_what_changed_is_sent(page: Page, easel: Easel) -> None:
    first = commit(page)
    assert easel.sent == [easel.pictures["first"]]  # the file's own bytes
    assert (first["mask"], first["sketch"], first["pictureSize"]) == ("", "", list(SIZE))
    assert commit(page) == first
    assert len(easel.sent) == 1
    stroke(page, (200, 200), (300, 300))
    second = commit(page)
    assert len(easel.sent) == 2
    assert easel.inputs[second["mask"]] == easel.sent[1]
    assert len(easel.sent[1]) < 20_000
    assert {**second, "mask": ""} == first
    commit(page)
    saved(page)
    page.reload()
    Sitting.ready(page)
    assert commit(page) == second
    assert len(easel.sent) == 2
    assert page.evaluate("canvas.commit({ again: true })") == second
    assert len(easel.sent) == 4


def test_what_the_server_refuses_is_said_and_sent_again(page: Page, easel: Easel, witness: Sitting) -> None:
    easel.refusal = "The disk is full."
    try:
        said = page.evaluate("canvas.commit().then(() => '', (error) => error.message)")
    finally:
        easel.refusal = ""
    assert said == "The disk is full."
    assert commit(page)["picture"] in easel.inputs
    assert all("400" in complaint for complaint in witness.complaints)
    witness.complaints.clear()


def seen(page: Page) -> str:
    """Every pixel on the screen, drawn anew, in one number: what is drawn in parts may differ by a last bit."""
    page.evaluate("canvas.view.spoil()")
    settle(page)
    return page.evaluate("""async () => {
      const sheet = document.querySelector(".easel-view > canvas");
      const pen = new OffscreenCanvas(sheet.width, sheet.height).getContext("2d", { willReadFrequently: true });
      pen.drawImage(sheet, 0, 0);
      const { data } = pen.getImageData(0, 0, sheet.width, sheet.height);
      return [...new Uint8Array(await crypto.subtle.digest("SHA-256", data))].join(" ");
    }""")


def test_a_result_that_is_discarded_leaves_everything_as_it_was(page: Page, easel: Easel) -> None:
    stroke(page, (200, 200), (400, 400))
    before, pixels, sent = commit(page), seen(page), len(easel.sent)
    results = [
        {"url": easel.offer("one", drawn(seed=1)), "left": 0, "top": 0, "width": SIZE[0], "height": SIZE[1]},
        {"url": easel.offer("two", drawn((1256, 700))), "left": 128, "top": 0, "width": 1256, "height": 700},
    ]
    page.evaluate("results => canvas.propose(results)", results)
    expect(page.locator(".proposals .where")).to_have_text("1 of 2")
    assert seen(page) != pixels
    press(page, "ArrowRight")
    expect(page.locator(".proposals .where")).to_have_text("2 of 2")
    press(page, "ArrowLeft")
    page.mouse.move(*at(page, 300, 300))
    page.mouse.down()
    page.mouse.move(*at(page, 500, 300))
    page.mouse.up()  # which moves the view, and paints nothing
    page.get_by_role("button", name="Discard").click()
    page.keyboard.press("0")
    assert seen(page) == pixels
    assert commit(page) == before
    assert len(easel.sent) == sent
    assert state(page)["steps"] == 1
    page.evaluate("results => canvas.propose(results)", results[:1])
    saved(page)
    page.reload()
    Sitting.ready(page)
    expect(page.locator(".proposals .where")).to_have_text("1 of 1")
    page.mouse.move(*at(page, 300, 300))
    page.keyboard.press("Escape")
    expect(page.locator(".proposals")).to_be_hidden()
    assert commit(page) == before


def test_a_result_that_is_accepted_is_one_step(page: Page, easel: Easel) -> None:
    hand(page, size=50, hardness=1)
    stroke(page, (200, 200), (400, 400))
    mask = layer(page, easel)
    page.evaluate("canvas.outpaint({ left: 128, top: 64 })")
    before = commit(page)
    result = {"url": easel.offer("large", drawn((1128, 764), 2)), "left": 128, "top": 64, "width": 1128, "height": 764}
    page.evaluate("() => { window.accepted = []; canvas.addEventListener('accept', (e) => accepted.push(e.detail)); }")
    page.evaluate("results => canvas.propose(results)", [result])
    page.get_by_label("Clear the mask").uncheck()
    page.get_by_role("button", name="Accept").click()
    page.wait_for_function("accepted.length")
    assert page.evaluate("accepted") == [result]
    after = commit(page)
    assert easel.inputs[after["picture"]] == easel.pictures["large"]
    assert after["pictureSize"] == [1128, 764]
    assert after["box"] == {"left": 0, "top": 0, "width": 1128, "height": 760}
    moved = layer(page, easel)
    assert (moved[64:, 128:] == mask).all()
    assert moved.sum() == mask.sum()
    press(page, "Control+z")
    steps_done(page, 2)
    assert commit(page) == before
    press(page, "Control+y")
    steps_done(page, 3)
    assert commit(page) == after
    page.evaluate("results => canvas.propose(results)", [{**result, "left": 0, "top": 0}])
    page.get_by_label("Clear the mask").check()
    press(page, "Enter")
    steps_done(page, 4)
    assert commit(page)["mask"] == ""
    page.evaluate("results => canvas.propose(results)", [{**result, "left": 0, "top": 0}])
    page.evaluate("() => Promise.all([canvas.accept(), canvas.accept()])")  # as a key that is held down does
    assert state(page)["steps"] == 5


def test_a_line_being_drawn_stays_when_a_result_or_a_picture_comes(page: Page, easel: Easel) -> None:
    result = {"url": easel.offer("one", drawn(seed=1)), "left": 0, "top": 0, "width": SIZE[0], "height": SIZE[1]}
    hold_down(page, (200, 200), (400, 300))
    page.evaluate("results => canvas.propose(results)", [result])
    page.mouse.up()
    page.evaluate("canvas.discard()")
    assert state(page)["steps"] == 1
    line = layer(page, easel)
    assert line[200, 200] == 255
    hold_down(page, (200, 500), (400, 600))
    load(page, easel, drawn(seed=2), "second")
    page.mouse.up()
    assert (state(page)["steps"], state(page)["hasMask"]) == (3, False)
    press(page, "Control+z", 2)
    steps_done(page, 1)
    assert (layer(page, easel) == line).all()


def test_a_result_that_is_gone_is_said_in_a_sentence(page: Page, witness: Sitting) -> None:
    page.evaluate("canvas.propose([{ url: 'atelier/nowhere', left: 0, top: 0, width: 8, height: 8 }])")
    expect(page.locator(".easel-problem")).to_be_visible()
    assert state(page)["proposals"] == 0
    assert all("404" in complaint for complaint in witness.complaints)
    witness.complaints.clear()


def test_a_reload_a_tab_and_a_crash_lose_nothing(page: Page, easel: Easel, witness: Sitting) -> None:
    hand(page, size=30, by=5)
    stroke(page, (200, 200), (400, 400))
    hand(page, layer="sketch", colour=[1, 2, 3])
    stroke(page, (600, 200), (700, 400))
    page.evaluate("canvas.zoomOut(1.5)")
    stroke(page, (100, 600), (700, 600))
    press(page, "Control+z")
    steps_done(page, 3)
    before = commit(page)
    saved(page)
    kept = {name: state(page)[name] for name in ("steps", "position", "layer", "box", "hasMask", "hasSketch")}
    page.get_by_role("tab", name="Words").click()
    page.get_by_role("tab", name="Inpaint").click()
    assert commit(page) == before
    page.reload()
    Sitting.ready(page)
    assert {name: state(page)[name] for name in kept} == kept
    assert commit(page) == before
    assert page.evaluate("[canvas.settings.size, canvas.settings.by, canvas.settings.colour]") == [30, 5, [1, 2, 3]]
    context = page.context
    crash(page)
    page.close()
    again = witness.open(easel.url, context)
    assert {name: state(again)[name] for name in kept} == kept
    assert commit(again) == before
    again.mouse.move(*at(again, 10, 10))
    press(again, "Control+y")
    steps_done(again, 4)
    press(again, "Control+z", 4)
    steps_done(again, 0)
    assert commit(again)["mask"] == ""
    assert commit(again)["sketch"] == ""


def test_a_reload_right_after_a_stroke_loses_nothing(page: Page, easel: Easel) -> None:
    saved(page)
    hand(page, size=30, hardness=1)
    stroke(page, (100, 200), (400, 200))
    stroke(page, (100, 300), (400, 300))  # within the second in which nothing is saved
    page.mouse.move(*at(page, 100, 400))
    page.mouse.down()
    page.mouse.move(*at(page, 300, 400))
    settle(page)  # and this one is not even ended
    page.reload()
    Sitting.ready(page)
    page.mouse.up()
    assert state(page)["steps"] == 3
    assert (layer(page, easel)[[200, 300, 400], 250] == 255).all()
    page.evaluate("canvas.undo()")
    assert (layer(page, easel)[[200, 300, 400], 250] == [255, 255, 0]).all()


STEP = """([n, change]) => new Promise((resolve, reject) => {
  const opening = indexedDB.open("atelier-canvas");
  opening.onsuccess = () => {
    const writing = opening.result.transaction("steps", "readwrite");
    const steps = writing.objectStore("steps");
    const [id, found] = [sessionStorage.getItem("atelier-canvas-inpaint"), {}];
    const reading = steps.get([id, n]);
    reading.onsuccess = () => {
      found.step = reading.result;
      if (change === "lose") steps.delete([id, n]);
      if (change === "damage") {
        found.step.deltas[0].packed = new Uint8Array([1, 2, 3]);
        steps.put(found.step, [id, n]);
      }
    };
    writing.oncomplete = () => {
      const { what, before, after, deltas } = found.step ?? {};
      opening.result.close();
      resolve({ what, before: Object.keys(before ?? {}), after: Object.keys(after ?? {}), deltas: deltas?.length });
    };
    writing.onabort = () => reject(writing.error);
  };
})"""


def kept_step(page: Page, number: int, change: str = "") -> dict[str, Any]:
    """What the browser's database has of a step, which can be lost or damaged on this occasion."""
    return page.evaluate(STEP, [number, change])


def test_a_database_that_was_closed_and_emptied_is_written_anew(page: Page, easel: Easel) -> None:
    hand(page, size=30, hardness=1)
    stroke(page, (100, 200), (400, 200))
    saved(page)
    session = page.context.new_cdp_session(page)
    session.send("Storage.clearDataForOrigin", {"origin": page.url.rstrip("/"), "storageTypes": "indexeddb"})
    stroke(page, (100, 300), (400, 300))
    page.wait_for_function("canvas.state.saved === 'again'")
    saved(page)
    expect(page.locator(".easel-problem")).to_be_hidden()  # it worked before it was worth a sentence
    page.reload()
    Sitting.ready(page)
    assert (layer(page, easel)[[200, 300], 250] == 255).all()
    page.evaluate("canvas.undo()")
    page.evaluate("canvas.undo()")
    assert commit(page)["mask"] == ""


def test_a_storage_that_stays_full_is_said_and_filled_when_there_is_room(page: Page, easel: Easel) -> None:
    saved(page)
    page.evaluate("""() => {
      const { transaction } = IDBDatabase.prototype;
      window.full = true;
      IDBDatabase.prototype.transaction = function (names, mode) {
        if (full && mode === "readwrite") throw new DOMException("Full.", "QuotaExceededError");
        return transaction.call(this, names, mode);
      };
    }""")
    stroke(page, (100, 200), (400, 200))
    expect(page.locator(".easel-problem")).to_contain_text("What you paint is not saved now")
    expect(page.locator(".easel-foot .what")).to_contain_text("Not saved")
    page.evaluate("window.full = false")
    saved(page)
    page.reload()
    Sitting.ready(page)
    assert layer(page, easel)[200, 250] == 255


def test_what_the_database_lost_or_damaged_costs_no_more_than_itself(page: Page, easel: Easel) -> None:
    for row in range(100, 600, 100):
        stroke(page, (100, row), (300, row))
    whole = layer(page, easel)
    saved(page)
    kept_step(page, 1, "lose")
    page.reload()
    Sitting.ready(page)
    expect(page.locator(".easel-problem")).to_contain_text("Some of what was done here can no longer be undone")
    assert (layer(page, easel) == whole).all()
    page.evaluate("async () => { for (let k = 0; k < 9; k++) await canvas.undo(); }")
    assert (state(page)["position"], state(page)["undoable"], state(page)["steps"]) == (2, False, 5)
    left = layer(page, easel)
    assert left[[100, 200], 200].all()
    assert not left[[300, 400, 500], 200].any()
    saved(page)
    kept_step(page, 3, "damage")
    page.reload()
    Sitting.ready(page)
    expect(page.locator(".easel-problem")).to_be_hidden()  # what was lost before was said
    page.evaluate("canvas.redo()")
    page.evaluate("canvas.redo()")
    expect(page.locator(".easel-problem")).to_contain_text("What was undone cannot be done again")
    assert (state(page)["position"], state(page)["redoable"]) == (3, False)
    stroke(page, (100, 600), (300, 600))
    assert layer(page, easel)[[100, 200, 300, 600], 200].all()
    page.evaluate("canvas.undo()")
    assert (state(page)["position"], layer(page, easel)[600, 200]) == (3, 0)


def test_an_accepted_result_of_the_same_size_keeps_only_what_differs(page: Page, easel: Easel) -> None:
    page.get_by_role("button", name="Invert the mask").click()  # over all four tiles
    steps_done(page, 1)
    hand(page, layer="sketch", size=20)
    stroke(page, (100, 100), (200, 100))  # in one of them
    before = commit(page)
    result = {"url": easel.offer("one", drawn(seed=1)), "left": 0, "top": 0, "width": SIZE[0], "height": SIZE[1]}
    page.evaluate("results => canvas.propose(results)", [result])
    page.get_by_label("Clear the mask").uncheck()
    page.get_by_role("button", name="Accept").click()
    steps_done(page, 3)
    after = commit(page)
    assert (after["mask"], after["sketch"]) == (before["mask"], "")
    saved(page)
    step = kept_step(page, 2)
    assert step == {"what": "Accept", "deltas": 1, **{side: step[side] for side in ("before", "after")}}
    assert {"mask", "sketch"}.isdisjoint([*step["before"], *step["after"]])
    page.reload()
    Sitting.ready(page)
    page.evaluate("canvas.undo()")
    assert commit(page) == before
    page.evaluate("canvas.redo()")
    assert commit(page) == after


def test_a_result_in_another_size_lies_over_the_whole_picture(page: Page, easel: Easel) -> None:
    hand(page, layer="sketch", size=20)
    stroke(page, (100, 100), (200, 100))
    small = {"url": easel.offer("small", drawn((500, 352), 1)), "left": 0, "top": 0, "width": 500, "height": 352}
    page.evaluate("result => canvas.propose([{ ...result, resized: true }])", small)
    expect(page.locator(".proposals .where")).to_have_text("1 of 1")
    expect(page.get_by_label("Clear the sketch")).to_be_hidden()  # it could not stay where it was painted
    area = page.evaluate("canvas.view.proposal.area")
    assert area["height"] == SIZE[1]
    assert area["left"] * 2 + area["width"] == pytest.approx(SIZE[0])
    page.get_by_role("button", name="Accept").click()
    page.wait_for_function("canvas.state.pictureSize[0] === 500")
    assert commit(page)["sketch"] == ""
    press(page, "Control+z")
    steps_done(page, 1)
    assert state(page)["pictureSize"] == list(SIZE)
    assert state(page)["hasSketch"]


def test_a_long_lasso_and_a_box_as_large_as_may_be(page: Page) -> None:
    filled = page.evaluate("""async () => {
      const of = (name) => import(new URL(`atelier/static/canvas/${name}.js`, document.baseURI));
      const [{ Edit, Layer }, { fillPolygon }, { maskInk }] = await Promise.all(["layer", "shapes", "brush"].map(of));
      const edit = new Edit(new Layer({ width: 64, height: 64, channels: 1 }));
      const turn = (k) => (k / 300000) * 2 * Math.PI;
      const points = Array.from({ length: 300000 }, (_, k) => ({
        x: 32 + 20 * Math.cos(turn(k)), y: 32 + 20 * Math.sin(turn(k)),
      }));
      fillPolygon(edit, maskInk(false), points);
      return edit.layer.flat(edit.layer.bounds).filter((value) => value > 127).length;
    }""")
    assert filled == pytest.approx(np.pi * 400, rel=0.02)
    boxes = page.evaluate("""async () => {
      const box = await import(new URL("atelier/static/canvas/box.js", document.baseURI));
      const large = { left: 0, top: 0, width: 16000, height: 800 };
      return [box.resized(large, "w", -9000, 0), box.resized(large, "e", 9000, 0),
        box.extended(large, { left: 2048 }), box.extended(large, { right: 2048 }), box.shifted(large, -99999, 8)];
    }""")
    assert [(one["left"], one["left"] + one["width"]) for one in boxes] == [
        *((-384, 16000), (0, 16384), (-384, 16000), (0, 16384), (-16384, -384))
    ]


def test_a_large_layer_is_packed_in_parts(witness: Sitting, easel: Easel) -> None:
    context = witness.context()
    context.add_init_script("""
      window.handed = [];
      const post = Worker.prototype.postMessage;
      Worker.prototype.postMessage = function (message, ...more) {
        if (String(message.how).startsWith("zlib")) handed.push(message.bytes.byteLength);
        return post.call(this, message, ...more);
      };
    """)
    page = witness.open(easel.url, context)
    load(page, easel, drawn((2048, 1500)))
    hand(page, layer="sketch", size=200, hardness=1, colour=[9, 8, 7])
    stroke(page, (100, 100), (1900, 1400))
    delivery = page.evaluate_handle("({ done: canvas.commit() })")
    page.evaluate("canvas.clearLayer('sketch')")  # while it is sent
    name = delivery.evaluate("({ done }) => done")["sketch"]
    with Image.open(io.BytesIO(easel.inputs[name])) as image:
        assert np.asarray(image)[[100, 750, 1400], [100, 1000, 1900]].tolist() == [[9, 8, 7, 255]] * 3
    handed = page.evaluate("handed")
    assert sum(handed) == 1500 * (2048 * 4 + 1)
    assert max(handed) <= 256 * (2048 * 4 + 1)


def test_a_canvas_that_is_built_anew_leaves_nothing_behind(witness: Sitting, easel: Easel) -> None:
    context = witness.context()
    context.add_init_script("""
      window.looking = 0;
      for (const kind of [ResizeObserver, MutationObserver]) {
        const { observe, disconnect } = kind.prototype;
        kind.prototype.observe = function (node, ...more) {
          const one = node.matches?.(".easel-view") || node === document.body ? 1 : 0;
          [looking, this.counted] = [looking + one, (this.counted ?? 0) + one];
          return observe.call(this, node, ...more);
        };
        kind.prototype.disconnect = function () {
          looking -= this.counted ?? 0;
          this.counted = 0;
          return disconnect.call(this);
        };
      }
    """)
    page = witness.open(easel.url, context)
    load(page, easel, drawn())
    stroke(page, (100, 100), (300, 100))
    before = page.evaluate("looking")
    page.evaluate("""async () => {
      const all = await import(new URL("atelier/static/canvas/canvas.js", document.baseURI));
      const old = document.querySelector(".easel");
      const text = await (await fetch("atelier/static/canvas.html")).text();
      for (let k = 0; k < 3; k++) {
        const root = document.createElement("div");
        root.innerHTML = text;
        (k ? document.querySelector(".easel") : old).replaceWith(root.firstElementChild);
        const offers = { mask: true, sketch: true, box: true };
        await all.start(document.querySelector(".easel").parentElement, { name: "inpaint", ...offers });
      }
    }""")
    assert page.evaluate("looking") == before
    page.evaluate(FIND)
    assert state(page)["hasMask"] is True
    stroke(page, (100, 300), (300, 300))
    steps_done(page, 2)


def crash(page: Page) -> None:
    """End the page's process as the system ends one that has no memory left."""
    with page.expect_event("crash"), contextlib.suppress(Error):
        page.goto("chrome://crash")


@pytest.mark.parametrize("locks", [pytest.param(True, id="locks"), pytest.param(False, id="without-https")])
def test_two_windows_have_a_painting_each(witness: Sitting, easel: Easel, locks: bool) -> None:
    context = witness.context()
    if not locks:
        context.add_init_script("Object.defineProperty(navigator, 'locks', { value: undefined })")
    page = witness.open(easel.url, context)
    load(page, easel, drawn())
    stroke(page, (200, 200), (400, 400))
    saved(page)
    other = witness.open(easel.url, context)
    assert state(other)["hasPicture"] is False
    load(other, easel, drawn((64, 64)), "small")
    saved(other)
    for window, size in ((page, list(SIZE)), (other, [64, 64])):
        window.reload()
        Sitting.ready(window)
        assert state(window)["pictureSize"] == size
    name = page.evaluate("sessionStorage.getItem('atelier-canvas-inpaint')")
    # A browser that duplicates a window copies its session storage: the copy begins with the same, and goes its way.
    other.evaluate("name => sessionStorage.setItem('atelier-canvas-inpaint', name)", name)
    other.reload()
    Sitting.ready(other)
    assert commit(other) == commit(page)
    other.evaluate("canvas.undo()")
    saved(other)
    page.reload()
    other.reload()
    for window, mask in ((page, True), (other, False)):
        Sitting.ready(window)
        assert state(window)["hasMask"] is mask
    page.close()
    third = witness.open(easel.url, context)
    assert state(third)["hasMask"] is True  # what nobody holds any more is found


def test_five_hundred_strokes_are_undone_to_the_first_pixel(page: Page, easel: Easel) -> None:
    hand(page, size=24)
    empty = seen(page)
    left, top = at(page, 0, 0)
    scale = state(page)["zoom"]
    for number in range(500):
        x, y = left + (40 + number * 73 % 900) * scale, top + (40 + number * 131 % 600) * scale
        if number % 100 in (0, 80):
            hand(page, erasing=number % 100 == 80)
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x + 30, y + 20)
        page.mouse.up()
    whole = layer(page, easel)
    count = state(page)["steps"]
    assert count > 400  # an eraser that meets nothing is no step
    saved(page)
    press(page, "Control+z", 60)
    steps_done(page, count - 60)
    saved(page)
    page.reload()
    Sitting.ready(page)
    again = "async ([way, times]) => { for (let k = 0; k < times; k++) await canvas[way](); }"
    page.evaluate(again, ["undo", 600])
    assert state(page)["position"] == 0
    assert commit(page)["mask"] == ""
    assert seen(page) == empty
    page.evaluate(again, ["redo", 600])
    assert state(page)["position"] == count
    assert (layer(page, easel) == whole).all()


def test_keys_belong_to_the_canvas_only_there(page: Page) -> None:
    page.mouse.move(*at(page, 500, 300))
    page.keyboard.press("e")
    assert page.evaluate("[canvas.settings.tool, canvas.settings.erasing]") == ["brush", True]
    size = page.evaluate("canvas.settings.size")
    page.keyboard.press("]")
    assert page.evaluate("canvas.settings.size") > size
    page.keyboard.press("[")
    page.keyboard.press("[")
    assert page.evaluate("canvas.settings.size") < size
    page.keyboard.press("b")
    page.get_by_role("tab", name="Words").click()
    page.locator("#words").locator("textarea, input").fill("")
    page.keyboard.type("reel [] x")
    page.keyboard.press("Control+z")
    assert page.evaluate("[canvas.settings.tool, canvas.settings.erasing]") == ["brush", False]
    page.get_by_role("tab", name="Inpaint").click()
    page.mouse.move(*at(page, 500, 300))
    page.keyboard.press("f")
    page.wait_for_function("document.fullscreenElement?.matches('.easel')")
    page.keyboard.press("f")
    page.wait_for_function("!document.fullscreenElement")
    page.mouse.down()
    page.mouse.move(*at(page, 600, 300))
    settle(page)
    page.keyboard.press("Escape")  # takes back what is being drawn
    page.mouse.up()
    assert (state(page)["steps"], state(page)["hasMask"]) == (0, False)


def touch(session: CDPSession, kind: str, *points: tuple[float, float]) -> None:
    where = [{"x": x, "y": y, "id": k} for k, (x, y) in enumerate(points)]
    session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": where})


def test_one_finger_paints_and_two_move(witness: Sitting, easel: Easel) -> None:
    page = witness.open(easel.url, width=390, height=844, touch=True)
    load(page, easel, drawn())
    hand(page, size=40, hardness=1)
    session = page.context.new_cdp_session(page)
    one, other = at(page, 300, 300), at(page, 600, 300)
    touch(session, "touchStart", one)
    touch(session, "touchMove", other)
    touch(session, "touchEnd")
    steps_done(page, 1)
    assert layer(page, easel)[300, 450] == 255
    before, zoom = layer(page, easel), state(page)["zoom"]
    touch(session, "touchStart", one)
    touch(session, "touchMove", (one[0] + 20, one[1]))
    touch(session, "touchStart", (one[0] + 20, one[1]), other)
    touch(session, "touchMove", (one[0] - 40, one[1]), (other[0] + 60, other[1]))
    touch(session, "touchEnd")
    settle(page)
    assert state(page)["zoom"] > zoom * 1.2
    assert state(page)["steps"] == 1
    assert (layer(page, easel) == before).all()


def test_a_pen_paints_as_wide_as_it_is_pressed(page: Page, easel: Easel) -> None:
    hand(page, size=80, hardness=1)
    session = page.context.new_cdp_session(page)

    def pen(y: float, force: float) -> int:
        for kind, x in (("mousePressed", 300), ("mouseMoved", 500), ("mouseMoved", 600), ("mouseReleased", 600)):
            px, py = at(page, x, y)
            event = {"type": kind, "x": px, "y": py, "pointerType": "pen", "force": force, "button": "left"}
            session.send("Input.dispatchMouseEvent", {**event, "buttons": 1, "clickCount": 1})
        settle(page)
        return int((layer(page, easel)[int(y) - 60 : int(y) + 60, 450] > 0).sum())

    light, firm = pen(150, 0.2), pen(400, 1.0)
    assert firm == 80
    assert light == round(80 * (0.15 + 0.85 * 0.2))
    hand(page, pressure=False)
    assert pen(600, 0.2) == 80


def dropped(page: Page, kind: str, data: bytes | None = None, name: str = "", uri: str = "") -> None:
    """A drop or a paste as the browser makes it: scripts cannot tell it from a person's."""
    page.evaluate(
        """([kind, bytes, name, uri]) => {
          const carried = new DataTransfer();
          if (bytes) carried.items.add(new File([new Uint8Array(bytes)], name, { type: "image/png" }));
          if (uri) carried.setData("text/uri-list", uri);
          const view = document.querySelector(".easel-view");
          view.focus();
          const how = { bubbles: true, cancelable: true };
          view.dispatchEvent(kind === "drop" ? new DragEvent("drop", { ...how, dataTransfer: carried })
            : new ClipboardEvent("paste", { ...how, clipboardData: carried }));
        }""",
        [kind, list(data) if data else None, name, uri],
    )


def test_pictures_come_by_file_drop_paste_and_from_the_page(witness: Sitting, easel: Easel) -> None:
    page = witness.open(easel.url)
    expect(page.locator(".easel .invite")).to_be_visible()
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose a file").click()
    chooser.value.set_files({"name": "a.png", "mimeType": "image/png", "buffer": png(drawn((72, 40)))})
    page.wait_for_function("canvas.state.pictureSize[0] === 72")
    assert state(page)["steps"] == 0
    dropped(page, "drop", png(drawn((80, 40))), "b.png")
    page.wait_for_function("canvas.state.pictureSize[0] === 80")
    dropped(page, "paste", png(drawn((88, 40))), "c.png")
    page.wait_for_function("canvas.state.pictureSize[0] === 88")
    easel.offer("page", drawn((96, 40)))
    page.evaluate("""() => {
      const image = Object.assign(document.createElement("img"), { src: "atelier/pictures/page?thumb=16" });
      image.style = "position: fixed; left: 400px; top: 2px; width: 64px; z-index: 99";
      document.body.prepend(image);
      return image.decode();
    }""")
    page.mouse.move(430, 14)
    page.mouse.down()
    page.mouse.move(440, 40)
    page.mouse.move(*at(page, 40, 20), steps=3)  # the browser's own dragging, of the small picture
    page.mouse.up()
    page.wait_for_function("canvas.state.pictureSize[0] === 96")
    assert state(page)["steps"] == 3
    dropped(page, "drop", uri="https://example.org/a.png")
    expect(page.locator(".easel-problem")).to_contain_text("on another website")
    dropped(page, "drop", b"no picture", "broken.png")
    expect(page.locator(".easel-problem")).to_contain_text("broken.png is no picture")
    assert state(page)["pictureSize"] == [96, 40]
    page.mouse.move(*at(page, 48, 20))
    press(page, "Control+z", 3)
    steps_done(page, 0)
    assert state(page)["pictureSize"] == [72, 40]


def encoded(image: Image.Image, **how: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, **how)
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "size"),
    [
        pytest.param(encoded(drawn((40, 24)).convert("RGBA"), format="PNG"), [40, 24], id="rgba"),
        pytest.param(encoded(drawn((40, 24)).quantize(16), format="PNG"), [40, 24], id="palette"),
        pytest.param(encoded(drawn((40, 24)).convert("CMYK"), format="JPEG"), [40, 24], id="cmyk"),
        pytest.param(encoded(Image.new("I;16", (40, 24), 40_000), format="PNG"), [40, 24], id="sixteen-bit"),
        pytest.param(
            encoded(drawn((40, 24)), format="GIF", save_all=True, append_images=[drawn((40, 24), 3)]),
            [40, 24],
            id="animated",
        ),
        pytest.param(
            encoded(
                drawn((40, 24)),
                format="JPEG",
                exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0",
            ),
            [24, 40],
            id="turned",
        ),
    ],
)
def test_every_kind_of_picture_is_shown_upright_and_sent_as_it_came(
    witness: Sitting, easel: Easel, data: bytes, size: list[int]
) -> None:
    page = witness.open(easel.url)
    easel.pictures["kind"] = data
    page.evaluate("canvas.load('atelier/pictures/kind')")
    assert state(page)["pictureSize"] == size
    commit(page)
    assert easel.sent == [data]


def test_before_and_after(page: Page, easel: Easel) -> None:
    addresses = [easel.offer("before", drawn()), easel.offer("after", drawn(seed=4))]
    page.evaluate("([before, after]) => { canvas.compare(before, after); }", addresses)
    place = page.locator(".comparison")
    expect(place.locator("img")).to_have_count(2)
    expect(place).to_have_css("aspect-ratio", re.compile(f"{SIZE[0]} / {SIZE[1]}"))
    box = place.bounding_box()
    assert box
    assert box["width"] / box["height"] == pytest.approx(SIZE[0] / SIZE[1], rel=0.01)
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 200)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + 200)
    page.mouse.up()
    assert float(place.locator("input").input_value()) == pytest.approx(25, abs=0.5)
    page.keyboard.press("ArrowRight")
    assert float(place.locator("input").input_value()) > 25
    page.keyboard.press("Escape")
    expect(page.locator(".compare-dialog")).to_have_count(0)
    large = easel.offer("larger", drawn((2000, 1400)))
    page.evaluate(
        "(list) => canvas.propose(list)", [{"url": large, "left": 500, "top": 700, "width": 2000, "height": 1400}]
    )
    page.get_by_role("button", name="Compare with the picture before").click()
    expect(place).to_have_css("aspect-ratio", re.compile("2000 / 1400"))
    whole, small = place.bounding_box(), place.locator(".before img").bounding_box()
    assert whole
    assert small
    assert small["width"] == pytest.approx(whole["width"] / 2, abs=1)
    assert small["x"] - whole["x"] == pytest.approx(whole["width"] / 4, abs=1)
    assert small["y"] - whole["y"] == pytest.approx(whole["height"] / 2, abs=1)


@pytest.mark.parametrize("look", LOOKS)
def test_it_looks_right_everywhere(witness: Sitting, easel: Easel, look: dict[str, Any]) -> None:
    """No sideways scrolling, controls with names and, for fingers, of 44 pixels, words that can be read."""
    page = witness.open(easel.url, **look)

    def check() -> None:
        settle(page)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert page.evaluate(NAMELESS) == []
        if look.get("touch"):
            assert page.evaluate(NARROW) == []

    check()
    assert page.evaluate(CONTRAST) == []
    load(page, easel, drawn())
    for values in ({"tool": "brush"}, {"layer": "sketch"}, {"tool": "rectangle"}, {"layer": "mask"}):
        hand(page, **values)
        check()
        assert page.evaluate(CONTRAST) == []
    page.evaluate("canvas.pick('box')")
    check()
    result = {"url": easel.offer("look", drawn()), "left": 0, "top": 0, "width": SIZE[0], "height": SIZE[1]}
    page.evaluate("results => canvas.propose(results)", [result])
    check()
    view, bar = (page.locator(name).bounding_box() for name in (".easel-view", ".proposals"))
    assert view
    assert bar
    assert at(page, 0, SIZE[1])[1] <= bar["y"]  # the bar covers nothing of the result
