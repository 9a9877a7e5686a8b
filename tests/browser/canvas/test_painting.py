"""Painting on the canvas: layers, areas, zoom, the box, and what is sent of it."""

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from tests.browser.canvas.sitting import (
    SIZE,
    Sitting,
    at,
    commit,
    drawn,
    hand,
    layer,
    load,
    press,
    saved,
    seen,
    settle,
    state,
    steps_done,
    stroke,
)
from tests.browser.conftest import PATIENCE
from tests.browser.easel import Easel

pytestmark = pytest.mark.browser
expect.set_options(timeout=PATIENCE)


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
