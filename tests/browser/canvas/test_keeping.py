"""What is painted is kept: over a reload, a crash, a full storage, in two windows."""

import contextlib
import io

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Error, Page, expect

from tests.browser.canvas.sitting import (
    FIND,
    SIZE,
    Sitting,
    at,
    commit,
    drawn,
    hand,
    kept_step,
    layer,
    load,
    press,
    saved,
    settle,
    state,
    steps_done,
    stroke,
)
from tests.browser.conftest import PATIENCE
from tests.browser.easel import Easel

pytestmark = pytest.mark.browser
expect.set_options(timeout=PATIENCE)


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
