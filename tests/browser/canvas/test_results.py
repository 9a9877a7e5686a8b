"""Results on the canvas: offered, discarded, accepted, compared."""

import re

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.canvas.sitting import (
    SIZE,
    Sitting,
    at,
    commit,
    drawn,
    hand,
    hold_down,
    kept_step,
    layer,
    load,
    press,
    saved,
    seen,
    state,
    steps_done,
    stroke,
)
from tests.browser.conftest import PATIENCE
from tests.browser.easel import Easel

pytestmark = pytest.mark.browser
expect.set_options(timeout=PATIENCE)


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


def test_the_picture_that_was_chosen_last_lies_on_the_canvas(page: Page, easel: Easel) -> None:
    slow, quick = easel.offer("slow", drawn((900, 500))), easel.offer("quick", drawn((300, 200)))
    held: list[Route] = []
    page.route(f"**/{slow}", lambda route: held.append(route))
    page.evaluate("url => { window.slow = canvas.load(url).catch(({ message }) => message) }", slow)
    page.evaluate("url => canvas.load(url)", quick)
    held.pop().continue_()
    assert page.evaluate("window.slow") == "Another picture was put here meanwhile."
    assert (state(page)["pictureSize"], state(page)["steps"]) == ([300, 200], 1)


def test_a_result_that_is_gone_is_said_in_a_sentence(page: Page, witness: Sitting) -> None:
    page.evaluate("canvas.propose([{ url: 'atelier/nowhere', left: 0, top: 0, width: 8, height: 8 }])")
    expect(page.locator(".easel-problem")).to_be_visible()
    assert state(page)["proposals"] == 0
    assert all("404" in complaint for complaint in witness.complaints)
    witness.complaints.clear()


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
    page.wait_for_function("canvas.view.proposal")  # its picture is read after the bar is there
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
