"""The tabs that begin with a picture, in a browser and with the real engine on a tiny checkpoint."""

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from backend.app import App, Options
from backend.jobs import Job
from backend.server.owner import OWNER_COOKIE
from backend.upscaling.request import UpscaleRequest
from tests.browser import conftest
from tests.browser.conftest import PATIENCE, Studio, Witness
from tests.browser.test_page import CONTRAST, NAMELESS
from tests.checkpoints import tiny, write_single_file

pytestmark = pytest.mark.browser
FIRST = 120_000  # milliseconds until torch and the checkpoint are loaded on a busy machine
expect.set_options(timeout=PATIENCE)

FIND = """async (name) => {
  const { canvasOf } = await import(new URL("atelier/static/canvas/canvas.js", document.baseURI));
  window.easel = await canvasOf(name);
}"""
PIXELS = """async () => {
  const bitmap = await createImageBitmap(easel.picture);
  const sheet = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
  sheet.drawImage(bitmap, 0, 0);
  return [bitmap.width, bitmap.height, [...sheet.getImageData(0, 0, bitmap.width, bitmap.height).data]];
}"""
DROP = """([selector, bytes]) => {
  const transfer = new DataTransfer();
  transfer.items.add(new File([new Uint8Array(bytes)], "dropped.png", { type: "image/png" }));
  const more = { bubbles: true, cancelable: true, dataTransfer: transfer };
  const place = document.querySelector(selector);
  place.dispatchEvent(new DragEvent("dragover", more));
  place.dispatchEvent(new DragEvent("drop", more));
}"""

LINK = """(address) => {
  const transfer = new DataTransfer();
  transfer.setData("text/uri-list", address);
  const drop = new DragEvent("drop", { bubbles: true, cancelable: true, dataTransfer: transfer });
  document.querySelector("#txt2img_prompt textarea").dispatchEvent(drop);
  return drop.defaultPrevented;
}"""


@pytest.fixture
def studio(options: Options, monkeypatch: pytest.MonkeyPatch) -> Iterator[Studio]:
    """With the engine that people have."""

    def worker(app: App, **_: Any) -> Any:
        from backend.worker import DeviceWorker

        return DeviceWorker.create(app)

    monkeypatch.setattr(conftest, "ScriptedWorker", worker)
    studio = Studio(options)
    yield studio
    studio.close()


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A picture of somebody's, whose size is no multiple of 8."""
    across, down = np.meshgrid(np.arange(301), np.arange(203))
    pixels = np.stack([across % 256, down, (across + down) % 256], axis=-1).astype(np.uint8)
    path = tmp_path / "photo.png"
    Image.fromarray(pixels).save(path)
    return path


def tab(page: Page, name: str) -> None:
    page.get_by_role("tab", name=name, exact=True).click()


def number(page: Page, name: str) -> Locator:
    return page.locator(f"#{name} input[type=number]")


def words(page: Page, name: str) -> Locator:
    return page.locator(f"#{name}").locator("textarea, input").first


def quickly(page: Page, prefix: str) -> None:
    """Ask for little."""
    number(page, f"{prefix}_steps").fill("2")
    page.locator(f"#{prefix}_sizing" if prefix != "txt2img" else "#txt2img_size").wait_for()
    if prefix != "txt2img":
        page.locator(f"#{prefix}_sizing").get_by_text("To a size").click()
    for side in ("width", "height"):
        number(page, f"{prefix}_{side}").fill("64")


def jobs(studio: Studio, page: Page) -> list[Job]:
    """The jobs of whoever has this page."""
    owner = {cookie.get("name"): cookie.get("value", "") for cookie in page.context.cookies()}[OWNER_COOKIE]
    return studio.app.queue.jobs(owner)


def asked(studio: Studio, page: Page) -> list[Any]:
    return [job.request for job in jobs(studio, page)]


def choose(page: Page, button: Locator, *paths: Path) -> None:
    with page.expect_file_chooser() as chooser:
        button.click()
    chooser.value.set_files(list(paths))


def canvas(page: Page, name: str) -> None:
    """Have the canvas at hand as `easel`."""
    page.evaluate(FIND, name)


def state(page: Page) -> Any:
    return page.evaluate("easel.state")


def stroke(page: Page, prefix: str) -> None:
    """Paint a short line in the middle of the canvas."""
    box: Any = page.locator(f"#{prefix}_canvas .easel-view").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x - 20, y)
    page.mouse.down()
    page.mouse.move(x + 20, y, steps=4)
    page.mouse.up()


def made(page: Page, prefix: str, count: int = 1) -> None:
    """Wait for the pictures of the job on the stage."""
    expect(page.locator(f"#{prefix}_gallery img")).to_have_count(count, timeout=FIRST)
    expect(page.locator(f"#{prefix}_results .caption .what")).to_have_text(re.compile("×"), timeout=FIRST)


def first_picture(studio: Studio, page: Page, prompt: str = "a boat") -> Job:
    """Make one in txt2img."""
    quickly(page, "txt2img")
    words(page, "txt2img_prompt").fill(prompt)
    page.keyboard.press("Control+Enter")
    made(page, "txt2img")
    return jobs(studio, page)[-1]


def step(page: Page, prefix: str, name: str) -> None:
    page.locator(f"#{prefix}_results .steps").get_by_role("button", name=name, exact=True).click()


def test_what_is_painted_comes_back_as_a_proposal(studio: Studio, witness: Witness, photo: Path) -> None:
    page = witness.open(studio.url)
    tab(page, "Inpaint")
    page.locator("#inpaint_generate").click()
    expect(page.locator("#inpaint_message")).to_contain_text("There is no picture on the canvas")
    choose(page, page.locator("#inpaint_canvas .choose"), photo)
    canvas(page, "inpaint")
    expect(page.locator("#inpaint_canvas .easel")).to_have_attribute("data-state", "ready")
    quickly(page, "inpaint")
    page.locator("#inpaint_generate").click()
    expect(page.locator("#inpaint_message")).to_contain_text("Mask is missing")

    stroke(page, "inpaint")
    words(page, "inpaint_prompt").fill("a star")
    page.keyboard.press("Control+Enter")
    proposals = page.locator("#inpaint_canvas .proposals")
    expect(proposals).to_be_visible(timeout=FIRST)
    expect(page.locator("#inpaint_message p")).to_be_hidden()
    (job,) = jobs(studio, page)
    (request,) = asked(studio, page)
    assert (request.prompt, request.width, request.height) == ("a star", 64, 64)
    assert studio.app.inputs.path(request.init.picture).read_bytes() == photo.read_bytes()
    before, after = (np.asarray(Image.open(path).convert("RGB")) for path in (photo, job.images[0].path))
    mask = np.asarray(studio.app.inputs.picture(request.init.inpainting.mask).convert("L"))
    assert after.shape == before.shape
    assert 0 < (mask > 0).mean() < 0.5
    far = np.ones_like(mask, bool)
    far[np.ix_(*(slice_around(mask, axis, 24) for axis in (0, 1)))] = False
    assert far.any()
    assert (after[far] == before[far]).all()
    assert (after != before).any()

    proposals.get_by_role("button", name="Discard").click()
    expect(proposals).to_be_hidden()
    assert page.evaluate(PIXELS) == pixels(photo)
    assert state(page)["hasMask"]
    # What was made before this window was opened is no proposal.
    expect(page.locator("#inpaint_canvas .easel-foot")).to_contain_text("Saved in this browser")
    page.evaluate("sessionStorage.removeItem('atelier-offered')")
    page.reload()
    witness.ready(page)
    tab(page, "Inpaint")
    expect(page.locator("#inpaint_results .history figure")).to_have_count(1)
    canvas(page, "inpaint")
    page.wait_for_timeout(600)
    assert (state(page)["hasMask"], state(page)["proposals"]) == (True, 0)
    page.locator("#inpaint_generate").click()
    expect(proposals).to_be_visible(timeout=FIRST)
    result = jobs(studio, page)[-1].images[0].path
    proposals.get_by_role("button", name="Accept").click()
    expect(proposals).to_be_hidden()
    assert page.evaluate(PIXELS) == pixels(result)
    # The next one begins with what was accepted, and after a reload nothing is offered twice.
    expect(page.locator("#inpaint_canvas .easel-foot")).to_contain_text("Saved in this browser")
    page.reload()
    witness.ready(page)
    tab(page, "Inpaint")
    canvas(page, "inpaint")
    assert page.evaluate(PIXELS) == pixels(result)
    page.wait_for_timeout(600)
    assert state(page)["proposals"] == 0


def slice_around(mask: Any, axis: int, more: int) -> Any:
    """The indices along an axis that the mask, grown by `more`, can reach."""
    painted = np.flatnonzero(mask.any(axis=1 - axis))
    return np.arange(max(0, painted[0] - more), min(mask.shape[axis], painted[-1] + more + 1))


def pixels(path: Path) -> list[Any]:
    with Image.open(path) as picture:
        return [*picture.size, np.asarray(picture.convert("RGBA")).ravel().tolist()]


def test_a_store_that_was_emptied_gets_everything_again(studio: Studio, witness: Witness, photo: Path) -> None:
    page = witness.open(studio.url)
    tab(page, "Inpaint")
    choose(page, page.locator("#inpaint_canvas .choose"), photo)
    canvas(page, "inpaint")
    expect(page.locator("#inpaint_canvas .easel")).to_have_attribute("data-state", "ready")
    quickly(page, "inpaint")
    stroke(page, "inpaint")
    sent = page.evaluate("easel.commit()")
    for part in ("picture", "mask"):
        studio.app.inputs.path(sent[part]).unlink()
    page.locator("#inpaint_generate").click()
    made(page, "inpaint")
    (request,) = asked(studio, page)
    assert (request.init.picture, request.init.inpainting.mask) == (sent["picture"], sent["mask"])
    assert all("404" in complaint for complaint in witness.complaints)
    witness.complaints.clear()


def test_img2img_begins_with_a_result_or_with_a_folder(studio: Studio, witness: Witness, photo: Path) -> None:
    page = witness.open(studio.url)
    first_picture(studio, page)
    expect(page.locator("#txt2img_results .step[data-step=compare]")).to_be_hidden()
    step(page, "txt2img", "Use as input")
    expect(words(page, "img2img_prompt")).to_have_value("a boat")
    canvas(page, "img2img")
    expect(page.locator("#img2img_canvas .easel")).to_have_attribute("data-state", "ready")
    quickly(page, "img2img")
    page.locator("#img2img_generate").click()
    expect(page.locator("#img2img_results .step[data-step=compare]")).to_be_visible(timeout=FIRST)
    made(page, "img2img")
    request = asked(studio, page)[-1]
    picture = jobs(studio, page)[0].images[0].path
    assert studio.app.inputs.path(request.init.picture).read_bytes() == picture.read_bytes()
    step(page, "img2img", "Compare")
    dialog = page.get_by_role("dialog")
    expect(dialog.locator("img")).to_have_count(2)
    assert dialog.locator("img").evaluate_all("all => all.every((image) => image.decode().then(() => true))")
    page.keyboard.press("Escape")

    page.locator("#img2img_batch button").first.click()
    page.locator("#img2img_batch_generate").click()
    expect(page.locator("#img2img_message")).to_contain_text("There are no pictures yet")
    other = photo.with_name("other.png")
    Image.new("RGB", (80, 40), "orange").save(other)
    choose(page, page.locator("#img2img_files .choose"), photo, other)
    expect(page.locator("#img2img_files .count")).to_have_text("2 pictures")
    page.locator("#img2img_batch_generate").click()
    expect(page.locator("#img2img_message p")).to_be_hidden()
    expect(page.locator("#img2img_results .history figure")).to_have_count(4, timeout=FIRST)
    put_in = [studio.app.inputs.path(each.init.picture).read_bytes() for each in asked(studio, page)[-2:]]
    assert put_in == [photo.read_bytes(), other.read_bytes()]


def test_img2img_offers_its_results_also_those_that_came_while_the_page_was_away(
    studio: Studio, witness: Witness, photo: Path
) -> None:
    page = witness.open(studio.url)
    tab(page, "img2img")
    choose(page, page.locator("#img2img_canvas .choose"), photo)
    canvas(page, "img2img")
    quickly(page, "img2img")
    page.locator("#img2img_generate").click()
    proposals = page.locator("#img2img_canvas .proposals")
    expect(proposals).to_be_visible(timeout=FIRST)
    page.wait_for_function("easel.view.proposal")  # its picture is read after the bar is there
    area = page.evaluate("easel.view.proposal.area")
    assert area == {"left": 49, "top": 0, "width": 203, "height": 203}  # 64 x 64, as large as the picture
    proposals.get_by_role("button", name="Accept").click()
    expect(page.locator("#img2img_canvas .easel-foot")).to_contain_text("64 × 64")
    assert page.evaluate(PIXELS) == pixels(jobs(studio, page)[-1].images[0].path)

    page.locator("#img2img_generate").click()
    while len(jobs(studio, page)) < 2:
        page.wait_for_timeout(20)
    page.goto("about:blank")
    while len(jobs(studio, page)[-1].images) < 1:
        page.wait_for_timeout(50)
    page.goto(studio.url)
    witness.ready(page)
    tab(page, "img2img")
    expect(proposals).to_be_visible()
    assert page.evaluate(FIND, "img2img") is None
    assert page.evaluate("easel.proposals[0].url").find(jobs(studio, page)[-1].id) > 0
    proposals.get_by_role("button", name="Discard").click()
    expect(page.locator("#img2img_canvas .easel-foot")).to_contain_text("Saved in this browser")
    page.reload()
    witness.ready(page)
    tab(page, "img2img")
    canvas(page, "img2img")
    page.wait_for_timeout(600)
    assert state(page)["proposals"] == 0


def test_a_depth_map_can_be_given_to_a_depth_checkpoint(
    studio: Studio, witness: Witness, photo: Path, options: Options
) -> None:
    page = witness.open(studio.url)
    tab(page, "img2img")
    expect(page.locator("#img2img_generate")).to_be_visible()
    expect(page.locator("#img2img_depth .drop-place")).to_be_hidden()
    write_single_file(options.checkpoint_dirs[0] / "deep.safetensors", tiny("sd2-depth"))
    studio.app.catalog.refresh()
    page.locator("#setting_sd_model_checkpoint input").click()
    page.get_by_role("option", name="deep").click()
    choose(page, page.locator("#img2img_canvas .choose"), photo)
    expect(page.locator("#img2img_depth .drop-place")).to_be_visible()
    depth = photo.with_name("depth.png")
    Image.new("L", (301, 203), 90).save(depth)
    choose(page, page.locator("#img2img_depth .choose"), photo)
    choose(page, page.locator("#img2img_depth .choose"), depth)  # takes the other one's place
    expect(page.locator("#img2img_depth .count")).to_have_text("1 picture")
    quickly(page, "img2img")
    page.locator("#img2img_generate").click()
    page.wait_for_function("document.querySelector('#img2img_results .jobs, #img2img_message p')")
    while not jobs(studio, page):
        page.wait_for_timeout(50)
    (request,) = asked(studio, page)
    assert studio.app.inputs.path(request.init.depth).read_bytes() == depth.read_bytes()


def test_too_many_pictures_are_said_before_any_is_sent(studio: Studio, witness: Witness, photo: Path) -> None:
    page = witness.open(studio.url)
    tab(page, "img2img")
    page.locator("#img2img_batch button").first.click()
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url) if request.method == "POST" else None)
    page.evaluate(
        """async (bytes) => {
          const { filesOf } = await import(new URL("atelier/static/picture_files.js", document.baseURI));
          const file = new File([new Uint8Array(bytes)], "many.png", { type: "image/png" });
          await (await filesOf("img2img_files")).add(Array(1001).fill(file));
        }""",
        list(photo.read_bytes()),
    )
    said = "1,000 pictures may be queued at once, not 1,001."
    expect(page.locator("#img2img_files .problem")).to_have_text(said)
    page.locator("#img2img_batch_generate").click()
    expect(page.locator("#img2img_message")).to_contain_text(said)
    assert not [url for url in sent if url.endswith("/atelier/inputs")]
    assert jobs(studio, page) == []


def test_a_link_on_the_prompt_is_no_picture_but_one_of_ours_is(studio: Studio, witness: Witness) -> None:
    page = witness.open(studio.url)
    job = first_picture(studio, page, "a lighthouse")
    words(page, "txt2img_prompt").fill("something else")
    taken = "https://example.org/a.png", f"{studio.url}atelier/static/favicon.svg", "mailto:somebody"
    assert [page.evaluate(LINK, address) for address in taken] == [False, False, False]
    address = page.evaluate("document.querySelector('.history img').src")
    assert job.id in address
    assert page.evaluate(LINK, address) is True
    page.locator("dialog.recipe-sheet").get_by_role("button", name="Apply all").click()
    expect(words(page, "txt2img_prompt")).to_have_value("a lighthouse")


def test_extras_enlarges_what_is_dropped_there(studio: Studio, witness: Witness, photo: Path, tmp_path: Path) -> None:
    page = witness.open(studio.url)
    tab(page, "Extras")
    page.locator("#extras_generate").click()
    expect(page.locator("#extras_message")).to_contain_text("There are no pictures yet")
    page.evaluate(DROP, ["#extras_files .drop-place", list(photo.read_bytes())])
    expect(page.locator("#extras_files .chosen img")).to_have_count(1)
    number(page, "extras_upscaling_resize").fill("2")
    page.keyboard.press("Control+Enter")
    made(page, "extras")
    expect(page.locator("#extras_results .caption .what")).to_have_text("602 × 406")
    expect(page.locator("#extras_results .caption").get_by_role("button", name="Reuse seed")).to_be_hidden()
    (job,) = jobs(studio, page)
    assert isinstance(job.request, UpscaleRequest)
    with Image.open(job.images[0].path) as large:
        assert large.size == (602, 406)
    # A file that is no picture is named; those before it stay.
    text = tmp_path / "boat.png"
    text.write_text("no picture")
    choose(page, page.locator("#extras_files .choose"), text)
    page.locator("#extras_generate").click()
    expect(page.locator("#extras_message")).to_contain_text("boat.png: ")
    assert all("400" in complaint for complaint in witness.complaints)  # the browser reports it itself
    witness.complaints.clear()
    page.locator("#extras_files").get_by_role("button", name="Remove boat.png").click()
    page.reload()
    witness.ready(page)
    tab(page, "Extras")
    expect(page.locator("#extras_files .count")).to_have_text("1 picture")
    # Reuse brings the values back, and the picture.
    page.locator("#extras_files").get_by_role("button", name="Remove all").click()
    number(page, "extras_upscaling_resize").fill("8")
    page.locator("#extras_results .caption").get_by_role("button", name="Reuse parameters").click()
    expect(number(page, "extras_upscaling_resize")).to_have_value("2")
    expect(page.locator("#extras_files .chosen img")).to_have_count(1)


def test_every_result_offers_its_next_steps(studio: Studio, witness: Witness) -> None:
    page = witness.open(studio.url)
    job = first_picture(studio, page)
    step(page, "txt2img", "Vary subtly")
    expect(page.locator(".history figure")).to_have_count(2, timeout=FIRST)
    page.locator(".history figure").last.hover()
    page.locator(".history figure .more").last.click()
    menu = page.get_by_role("menu")
    expect(menu.get_by_role("menuitem", name="Compare")).to_be_hidden()  # this one began with nothing
    menu.get_by_role("menuitem", name="Vary strongly").click()
    expect(menu).to_be_hidden()
    expect(page.locator(".history figure")).to_have_count(3, timeout=FIRST)
    _, subtle, strong = asked(studio, page)
    assert (subtle.init.denoising_strength, strong.init.denoising_strength) == (0.3, 0.6)
    assert studio.app.inputs.path(strong.init.picture).read_bytes() == job.images[0].path.read_bytes()
    assert len({job.request.seed, subtle.seed, strong.seed}) == 3

    page.locator(".history figure .pick").last.click()
    page.locator("#txt2img_results .frame").click()
    page.get_by_role("dialog").get_by_role("button", name="Outpaint").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    canvas(page, "inpaint")
    expect(page.locator("#inpaint_canvas .easel-box")).to_be_visible()
    assert state(page)["box"] == {"left": -16, "top": -16, "width": 96, "height": 96}
    expect(words(page, "inpaint_prompt")).to_have_value("a boat")
    step(page, "inpaint", "Upscale")
    expect(page.locator("#extras_files .chosen img")).to_have_count(1)


def test_an_outpainted_result_lies_where_the_old_picture_was(studio: Studio, witness: Witness) -> None:
    page = witness.open(studio.url)
    first_picture(studio, page)
    step(page, "txt2img", "Outpaint")
    canvas(page, "inpaint")
    expect(page.locator("#inpaint_canvas .easel-box")).to_be_visible()
    quickly(page, "inpaint")
    page.locator("#inpaint_generate").click()
    proposals = page.locator("#inpaint_canvas .proposals")
    expect(proposals).to_be_visible(timeout=FIRST)
    old, new = (job.images[0].path for job in jobs(studio, page))
    before, after = (np.asarray(Image.open(path).convert("RGB")) for path in (old, new))
    assert after.shape == (96, 96, 3)
    assert (after[24:72, 24:72] == before[8:56, 8:56]).all()  # the old pixels but for the seam
    proposals.get_by_role("button", name="Accept").click()
    expect(page.locator("#inpaint_canvas .easel-foot")).to_contain_text("96 × 96")


def test_reuse_opens_the_tab_that_a_picture_came_from(studio: Studio, witness: Witness, photo: Path) -> None:
    page = witness.open(studio.url)
    tab(page, "Inpaint")
    choose(page, page.locator("#inpaint_canvas .choose"), photo)
    canvas(page, "inpaint")
    quickly(page, "inpaint")
    stroke(page, "inpaint")
    words(page, "inpaint_prompt").fill("a star")
    number(page, "inpaint_denoising_strength").fill("0.9")
    page.keyboard.press("Control+Enter")
    made(page, "inpaint")
    first = asked(studio, page)[0]

    # In another window of the same person, with another picture on the canvas.
    page.locator("#inpaint_canvas .proposals").get_by_role("button", name="Discard").click()
    other = photo.with_name("other.png")
    Image.new("RGB", (40, 40), "orange").save(other)
    choose(page, page.locator("#inpaint_canvas").get_by_role("button", name="Another picture"), other)
    expect(page.locator("#inpaint_canvas .easel-foot")).to_contain_text("40 × 40")
    words(page, "inpaint_prompt").fill("something else")
    tab(page, "txt2img")
    page.locator("#txt2img_results .caption").get_by_role("button", name="Reuse parameters").click()
    expect(words(page, "inpaint_prompt")).to_have_value("a star")
    expect(number(page, "inpaint_denoising_strength")).to_have_value("0.9")
    expect(page.locator("#inpaint_canvas .easel-foot")).to_contain_text("301 × 203")
    page.wait_for_function("easel.state.hasMask")
    page.locator("#inpaint_generate").click()
    expect(page.locator("#inpaint_results .history figure")).to_have_count(2, timeout=FIRST)
    assert asked(studio, page)[-1] == first


def test_a_picture_on_the_prompt_gives_its_parameters(studio: Studio, witness: Witness) -> None:
    page = witness.open(studio.url)
    job = first_picture(studio, page, "a lighthouse")
    seed = str(asked(studio, page)[0].seed)
    words(page, "txt2img_prompt").fill("something else")
    tab(page, "img2img")
    page.evaluate(DROP, ["#img2img_prompt textarea", list(job.images[0].path.read_bytes())])
    page.locator("dialog.recipe-sheet").get_by_role("button", name="Apply all").click()
    expect(words(page, "txt2img_prompt")).to_have_value("a lighthouse")
    expect(words(page, "txt2img_seed")).to_have_value(seed)
    expect(page.locator("#txt2img_generate")).to_be_visible()
    plain = io.BytesIO()
    Image.new("RGB", (8, 8)).save(plain, "PNG")
    page.evaluate(DROP, ["#txt2img_prompt textarea", list(plain.getvalue())])
    expect(page.locator("#txt2img_results .problem")).to_contain_text("does not say how it was made")
    expect(words(page, "txt2img_prompt")).to_have_value("a lighthouse")


def test_a_part_that_is_switched_on_shows_its_fields_and_survives_a_reload(studio: Studio, witness: Witness) -> None:
    page = witness.open(studio.url)
    expect(page.locator("#txt2img_hr_scale")).to_be_hidden()
    page.locator("#txt2img_hr-checkbox input").check()
    expect(page.locator("#txt2img_hr_scale")).to_be_visible()
    number(page, "txt2img_hr_scale").fill("1.5")
    tab(page, "img2img")
    words(page, "img2img_prompt").fill("kept")
    for way, seen in {"To a size": "width", "By a factor": "scale"}.items():
        page.locator("#img2img_sizing").get_by_text(way).click()
        for name in ("width", "scale"):
            expect(page.locator(f"#img2img_{name}")).to_be_visible(visible=name == seen)
    page.reload()
    witness.ready(page)
    expect(number(page, "txt2img_hr_scale")).to_have_value("1.5")
    quickly(page, "txt2img")
    page.locator("#txt2img_generate").click()
    made(page, "txt2img")
    with Image.open(jobs(studio, page)[0].images[0].path) as large:
        assert large.size == (96, 96)
    tab(page, "img2img")
    expect(words(page, "img2img_prompt")).to_have_value("kept")
    expect(page.locator("#img2img_scale")).to_be_visible()


def test_words_of_models_go_to_the_tab_that_was_open(studio: Studio, witness: Witness) -> None:
    page = witness.open(studio.url)
    tab(page, "Inpaint")
    words(page, "inpaint_prompt").fill("a star")
    tab(page, "Models")
    read = "import(new URL('atelier/static/prompt_tokens.js', document.baseURI)).then(({ prompts }) => prompts.text())"
    assert page.evaluate(read) == "a star"
    tab(page, "txt2img")
    page.wait_for_timeout(100)
    assert page.evaluate(read) == ""


LOOKS = [
    pytest.param({"width": 390, "height": 844, "touch": True}, id="phone"),
    pytest.param({"width": 1100, "height": 800, "dark": True}, id="small-dark"),
    pytest.param({"width": 1600, "height": 1000}, id="wide"),
]

# Bars of the canvas with more on them than is seen and nothing that says so; on a desk all of it is to be seen.
CUT = """(desk) => [...document.querySelectorAll(".easel-options, .easel-rail")]
  .filter((bar) => bar.checkVisibility() && bar.scrollWidth > bar.clientWidth)
  .filter((bar) => desk || !(bar.hasAttribute("data-after") || bar.hasAttribute("data-before")))
  .map((bar) => bar.className)"""


@pytest.mark.parametrize("look", LOOKS)
def test_the_tabs_look_right(studio: Studio, witness: Witness, photo: Path, look: dict[str, Any]) -> None:
    """No sideways scrolling, buttons with names, words that can be read."""
    page = witness.open(studio.url, **look)
    for prefix, name in {"img2img": "img2img", "inpaint": "Inpaint", "extras": "Extras"}.items():
        tab(page, name)
        expect(page.locator(f"#{prefix}_generate")).to_be_visible()
        place = f"#{prefix}_canvas .choose" if prefix != "extras" else "#extras_files .choose"
        choose(page, page.locator(place), photo)
        page.wait_for_timeout(300)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
        assert page.evaluate(CONTRAST) == [], name
        assert page.evaluate(NAMELESS) == [], name
        assert page.evaluate(CUT, not look.get("touch")) == [], name
        box: Any = page.locator(f"#{prefix}_generate").bounding_box()
        assert box["y"] + box["height"] <= look["height"]
    assert json.dumps(page.evaluate("[...document.querySelectorAll('[id]')].map(({ id }) => id)")).count("_gallery") > 2
