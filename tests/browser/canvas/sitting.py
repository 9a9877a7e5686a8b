"""A page with nothing but the canvas, and hands that paint on it."""

import io
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import Page

from tests.browser.conftest import Witness
from tests.browser.easel import Easel

FIND = """async () => {
  const all = await import(new URL('atelier/static/canvas/canvas.js', document.baseURI));
  window.canvas = await all.canvasOf('inpaint');
}"""
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
SIZE = (1000, 700)  # multiples of 8 they are not


class Sitting(Witness):
    """A witness whose pages are ready when the canvas is."""

    @staticmethod
    def ready(page: Page) -> None:
        page.locator(".easel").wait_for()
        page.evaluate(FIND)


def drawn(size: tuple[int, int] = SIZE, seed: int = 0) -> Image.Image:
    """A picture in which no two rows or columns are alike."""
    across, down = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    parts = [(across * 255 // size[0]), (down * 255 // size[1]), (across * 7 + down * 3 + seed * 50) % 256]
    return Image.fromarray(np.stack(parts, axis=-1).astype(np.uint8))


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


def kept_step(page: Page, number: int, change: str = "") -> dict[str, Any]:
    """What the browser's database has of a step, which can be lost or damaged on this occasion."""
    return page.evaluate(STEP, [number, change])
