"""What the canvas is used with: keys, fingers, a pen, pictures from everywhere; and how it looks."""

import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import CDPSession, Page, expect

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
    settle,
    state,
    steps_done,
)
from tests.browser.conftest import PATIENCE
from tests.browser.easel import Easel, png

pytestmark = pytest.mark.browser
expect.set_options(timeout=PATIENCE)
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
CONTRAST = Path(__file__).parents[1].joinpath("contrast.js").read_text(encoding="utf-8")


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
