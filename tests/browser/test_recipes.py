"""Recipes, styles, presets and PNG Info, as a person at the page uses them."""

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from playwright.sync_api import BrowserContext, Locator, Page, expect

from backend.app import Options
from backend.request import GenerationRequest
from backend.server.accounts import Accounts, parse_entries, users_of
from backend.server.doorkeeper import LOGIN_COOKIE, Doorkeeper
from tests.browser.conftest import PATIENCE, Studio, Witness
from tests.browser.test_page import field, generate, page_owner, said, small, text_field

pytestmark = pytest.mark.browser
expect.set_options(timeout=PATIENCE)

THEIRS = (
    "a lighthouse, (dusk:1.2), ink drawing\nNegative prompt: fog\nSteps: 28, Sampler: DPM++ SDE Karras, "
    "CFG scale: 6.5, Seed: 3141592653, Size: 512x384, Model: v1-5-pruned, Model hash: 6ce0161689, "
    "Denoising strength: 0.55, Hires upscale: 1.5, Hires upscaler: Latent, Eta: 0.4, "
    "ADetailer model: face_yolov8n.pt, Version: v1.6.0"
)
LAST = {"prompt": "a boat", "steps": 33}
DROP = """async ([selector, bytes, kind, name]) => {
  const transfer = new DataTransfer();
  transfer.items.add(new File([new Uint8Array(bytes)], name, { type: kind }));
  const place = document.querySelector(selector);
  const drop = new DragEvent("drop", { bubbles: true, cancelable: true, dataTransfer: transfer });
  place.dispatchEvent(drop);
  return drop.defaultPrevented;
}"""
SIZE = """async () => {
  const { canvasOf } = await import(new URL("atelier/static/canvas/canvas.js", document.baseURI));
  return String((await canvasOf("inpaint")).state.pictureSize) === "96,64";
}"""
PASTE = """([selector, text]) => {
  const clipboardData = new DataTransfer();
  clipboardData.setData("text/plain", text);
  const area = document.querySelector(selector);
  area.focus();
  const paste = new ClipboardEvent("paste", { bubbles: true, cancelable: true, clipboardData });
  area.dispatchEvent(paste);
  return paste.defaultPrevented;
}"""


PASTE_FILE = """([selector, bytes]) => {
  const clipboardData = new DataTransfer();
  clipboardData.items.add(new File([new Uint8Array(bytes)], "image.png", { type: "image/png" }));
  const paste = new ClipboardEvent("paste", { bubbles: true, cancelable: true, clipboardData });
  document.querySelector(selector).dispatchEvent(paste);
  return paste.defaultPrevented;
}"""


def png(text: str) -> bytes:
    """A picture that carries these parameters."""
    info, file = PngInfo(), io.BytesIO()
    info.add_text("parameters", text)
    pixels = np.tile(np.arange(96, dtype=np.uint8)[None, :, None], (64, 1, 3))
    Image.fromarray(pixels).save(file, "PNG", pnginfo=info)
    return file.getvalue()


def drop(page: Page, selector: str, data: bytes, kind: str = "image/png", name: str = "theirs.png") -> bool:
    return page.evaluate(DROP, [selector, list(data), kind, name])


def sheet(page: Page, name: str = "recipe") -> Locator:
    return page.locator(f"dialog.{name}-sheet[open]")


def row(page: Page, label: str) -> Locator:
    exact = re.compile(f"^{re.escape(label)}$")
    return sheet(page).locator("tbody tr").filter(has=page.locator("th", has_text=exact)).locator("td")


def styles_of(page: Page, tab: str = "txt2img") -> Locator:
    return page.locator(f"#{tab}_styles .token")


def test_a_dropped_picture_shows_what_it_changes_and_one_undo_takes_it_back(studio: Studio, witness: Witness) -> None:
    page = witness.open(studio.url)
    text_field(page, "prompt").fill("a boat")
    assert drop(page, "#txt2img_prompt textarea", png(THEIRS))
    expect(sheet(page).locator("h2")).to_have_text("Parameters of AUTOMATIC1111")
    expect(row(page, "Prompt")).to_have_text(["a boat", "a lighthouse, (dusk:1.2), ink drawing"])
    expect(row(page, "Sampling method")).to_have_text(["DPM++ 2M", "DPM++ SDE"])
    expect(row(page, "Hires. fix")).to_have_text(["off", "on"])
    expect(row(page, "Eta")).to_have_text(["the sampler's own", "0.4"])
    expect(sheet(page).locator(".warning li")).to_contain_text("checkpoint v1-5-pruned, hash 6ce0161689")
    expect(sheet(page).get_by_text("ADetailer model: face_yolov8n.pt")).to_be_visible()
    # nothing has happened yet, and nothing does
    assert text_field(page, "prompt").input_value() == "a boat"
    page.keyboard.press("Escape")
    expect(sheet(page)).to_have_count(0)
    assert (text_field(page, "prompt").input_value(), field(page, "steps").input_value()) == ("a boat", "20")

    drop(page, "#txt2img_prompt textarea", png(THEIRS))
    sheet(page).get_by_role("button", name="Apply all").click()
    expect(text_field(page, "prompt")).to_have_value("a lighthouse, (dusk:1.2), ink drawing")
    expect(field(page, "steps")).to_have_value("28")
    expect(text_field(page, "seed")).to_have_value("3141592653")
    expect(page.locator("#txt2img_hr-checkbox input")).to_be_checked()
    expect(page.locator("#txt2img_sampling_options")).to_have_attribute("data-changed", "")
    expect(page.locator(".models-toast")).to_contain_text("The form is filled in")
    page.locator("#header").click()
    page.keyboard.press("Control+z")
    expect(text_field(page, "prompt")).to_have_value("a boat")
    expect(field(page, "steps")).to_have_value("20")
    expect(text_field(page, "seed")).to_have_value("-1")
    expect(page.locator("#txt2img_hr-checkbox input")).not_to_be_checked()
    expect(page.locator("#txt2img_sampling_options")).not_to_have_attribute("data-changed", "")
    page.keyboard.press("Control+z")  # once
    expect(text_field(page, "prompt")).to_have_value("a boat")


def test_parameters_are_pasted_or_read_from_the_prompt(studio: Studio, witness: Witness) -> None:
    page = witness.open(studio.url)
    area = "#txt2img_prompt textarea"
    assert page.evaluate(PASTE, [area, THEIRS])
    sheet(page).get_by_role("button", name="Only the prompt").click()
    expect(text_field(page, "prompt")).to_have_value("a lighthouse, (dusk:1.2), ink drawing")
    expect(text_field(page, "neg_prompt")).to_have_value("fog")
    assert field(page, "steps").input_value() == "20"
    page.locator(".models-toast .undo").click()
    expect(text_field(page, "neg_prompt")).to_have_value("")
    # words are pasted as ever, and parameters too where that is wanted
    assert not page.evaluate(PASTE, [area, "a boat, (steps: 1), two"])
    page.evaluate(PASTE, [area, THEIRS])
    sheet(page).get_by_role("button", name="Paste as text").click()
    expect(text_field(page, "prompt")).to_have_value(THEIRS)
    page.locator("#txt2img_paste").click()
    sheet(page).get_by_role("button", name="All but the seed").click()
    expect(text_field(page, "prompt")).to_have_value("a lighthouse, (dusk:1.2), ink drawing")
    expect(field(page, "cfg_scale")).to_have_value("6.5")
    assert text_field(page, "seed").input_value() == "-1"
    text_field(page, "neg_prompt").fill("")
    assert page.evaluate(PASTE_FILE, [area, list(png(THEIRS))])  # a picture, as copied in another window
    expect(row(page, "Negative prompt")).to_have_text(["empty", "fog"])
    page.keyboard.press("Escape")
    text_field(page, "prompt").fill("only words")
    page.locator("#txt2img_paste").click()
    expect(page.locator("#txt2img_results .problem")).to_contain_text("There are no parameters in this prompt")


def test_an_empty_prompt_reads_the_newest_picture(studio: Studio, witness: Witness) -> None:
    page = witness.open(studio.url)
    small(page)
    page.locator("#txt2img_subseed_show input").check()
    text_field(page, "subseed").fill("5")
    field(page, "subseed_strength").fill("0.25")
    generate(page, "a yellow star on a purple background")
    studio.steps(4)
    expect(said(page)).to_have_text(re.compile("64 × 64 · seed"))
    request = studio.app.queue.jobs(page_owner(page))[0].request
    text_field(page, "prompt").fill("")
    field(page, "steps").fill("9")
    page.locator("#txt2img_subseed_show input").uncheck()
    page.locator("#txt2img_paste").click()
    expect(sheet(page).locator("h2")).to_have_text("Parameters of Atelier")
    expect(row(page, "Extra")).to_have_text(["off", "on"])
    sheet(page).get_by_role("button", name="Apply all").click()
    expect(text_field(page, "prompt")).to_have_value("a yellow star on a purple background")
    expect(text_field(page, "seed")).to_have_value(str(request.seed))
    expect(page.locator("#txt2img_subseed_show input")).to_be_checked()
    page.keyboard.press("Control+Enter")
    studio.steps(4)
    expect(page.locator(".history figure")).to_have_count(2)
    assert studio.app.queue.jobs(page_owner(page))[-1].request == request


def test_styles_are_written_seen_chosen_and_put_into_the_prompt(
    studio: Studio, witness: Witness, options: Options, tmp_path: Path
) -> None:
    page = witness.open(studio.url)
    text_field(page, "prompt").fill("a boat")
    page.locator("#txt2img_styles_edit_button").click()
    editor = sheet(page, "styles")
    editor.get_by_label("Name").fill("Ink")
    editor.get_by_label("Prompt", exact=False).first.fill("{prompt}, ink drawing")
    editor.get_by_label("Negative prompt").fill("colour")
    expect(editor.locator(".result").first).to_have_text("a boat, ink drawing")
    expect(editor.locator(".result.negative")).to_have_text("Negative: colour")
    editor.get_by_role("button", name="Save").click()
    expect(editor.locator(".names button")).to_have_text(["Ink"])
    written = (options.data_dir / "styles.csv").read_bytes()
    assert written == b'\xef\xbb\xbfname,prompt,negative_prompt\r\nInk,"{prompt}, ink drawing",colour\r\n'
    (tmp_path / "more.csv").write_text("name,prompt,negative_prompt\nFilm,35mm,\nGrain,grain,\n")
    with page.expect_file_chooser() as chooser:
        editor.get_by_role("button", name="Import").click()
    chooser.value.set_files(tmp_path / "more.csv")
    expect(editor.locator(".names button")).to_have_text(["Ink", "Film", "Grain"])
    editor.get_by_role("button", name="Delete").click()
    expect(editor.locator(".names button")).to_have_text(["Ink", "Film"])
    editor.locator(".models-toast .undo").click()
    page.keyboard.press("Escape")

    page.locator("#txt2img_styles input").click()
    page.get_by_role("option", name="Ink").click()
    page.keyboard.press("Escape")
    expect(styles_of(page)).to_have_text([re.compile("Ink")])
    small(page)
    page.locator("#txt2img_generate").click()
    studio.steps(4)
    expect(said(page)).to_have_text(re.compile("64 × 64 · seed"))
    request = studio.app.queue.jobs(page_owner(page))[0].request
    assert isinstance(request, GenerationRequest)
    assert (request.prompt, request.negative_prompt) == ("a boat, ink drawing", "colour")
    page.locator("#txt2img_styles_edit_button").click()
    sheet(page, "styles").get_by_role("button", name="Put into the prompt").click()
    expect(text_field(page, "prompt")).to_have_value("a boat, ink drawing")
    expect(styles_of(page)).to_have_count(0)
    # what was made with a style comes back with it
    text_field(page, "prompt").fill("")
    page.locator("#txt2img_paste").click()
    sheet(page).get_by_role("button", name="Apply all").click()
    expect(text_field(page, "prompt")).to_have_value("a boat")
    expect(styles_of(page)).to_have_text([re.compile("Ink")])


def test_presets_are_saved_applied_and_go_with_a_checkpoint(studio: Studio, witness: Witness) -> None:
    page = witness.open(studio.url)
    field(page, "steps").fill("33")
    field(page, "steps").blur()
    text_field(page, "prompt").fill("a boat")
    page.locator("#txt2img_presets").click()
    presets = sheet(page, "presets")
    presets.get_by_role("button", name="Save", exact=True).click()
    expect(presets.get_by_role("alert")).to_contain_text("A preset needs a name")
    presets.get_by_label("Name").fill("quick")
    presets.get_by_role("button", name="Save", exact=True).click()
    expect(presets.locator(".names .about")).to_have_text(re.compile(r"txt2img · \d+ values"))
    presets.get_by_role("button", name="Use these values with it").click()
    expect(presets.get_by_role("button", name="Forget these")).to_be_visible()
    page.keyboard.press("Escape")
    field(page, "steps").fill("4")
    field(page, "steps").blur()
    page.locator("#txt2img_presets").click()
    presets.get_by_role("button", name=re.compile("^quick")).click()
    expect(field(page, "steps")).to_have_value("33")
    page.locator(".models-toast .undo").click()
    expect(field(page, "steps")).to_have_value("4")
    stranger = witness.open(studio.url)  # begins with what goes with the checkpoint
    assert field(stranger, "steps").input_value() == "33"
    stranger.locator("#txt2img_presets").click()
    sheet(stranger, "presets").get_by_role("button", name="Delete quick").click()
    expect(sheet(stranger, "presets").get_by_text("There are none yet")).to_be_visible()
    sheet(stranger, "presets").get_by_role("button", name="Forget these").click()
    expect(sheet(stranger, "presets").get_by_role("button", name="Forget these")).to_be_hidden()


def test_people_are_offered_what_is_theirs_to_change(options: Options, witness: Witness) -> None:
    logins = parse_entries("administrator ada:a,artist anna:b,viewer vera:c", first="administrator", others="artist")
    doorkeeper = Doorkeeper(Accounts(users_of(logins)))
    studio = Studio(options, doorkeeper)
    contexts: list[BrowserContext] = []

    def opened(name: str) -> tuple[Page, Locator]:
        context = witness.context()
        contexts.append(context)
        context.add_cookies([{"name": LOGIN_COOKIE, "value": doorkeeper.sessions.begin(name), "url": studio.url}])
        page = witness.open(studio.url, context)
        page.locator("#txt2img_presets").click()
        return page, sheet(page, "presets")

    try:
        page, presets = opened("ada")
        for name in ("all", "mine"):
            presets.get_by_label("Name").fill(name)
            presets.get_by_text("For everybody").click()  # on, then off
            presets.get_by_role("button", name="Save", exact=True).click()
            expect(presets.get_by_role("button", name=f"Delete {name}")).to_be_visible()
        expect(presets.get_by_text("everybody's")).to_have_count(1)
        expect(presets.get_by_role("button", name="Use these values with it")).to_be_visible()
        page, presets = opened("anna")
        expect(presets.get_by_role("button", name=re.compile("^all"))).to_be_visible()
        expect(presets.get_by_role("button", name="Save", exact=True)).to_be_visible()
        for name in (re.compile("^mine"), re.compile("^Delete"), "Use these values with it"):
            expect(presets.get_by_role("button", name=name)).to_be_hidden()
        expect(presets.get_by_text("For everybody")).to_be_hidden()
        page, presets = opened("vera")
        presets.get_by_role("button", name=re.compile("^all")).click()
        expect(page.locator(".models-toast .undo")).to_be_visible()
        page.locator("#txt2img_presets").click()
        expect(presets.get_by_role("button", name="Save", exact=True)).to_be_hidden()
    finally:
        for context in contexts:  # a page that is open would miss the studio
            context.close()
        studio.close()


def test_the_last_state_is_there_after_a_restart(options: Options, witness: Witness) -> None:
    studio = Studio(options)
    try:
        page = witness.open(studio.url)
        text_field(page, "prompt").fill("a boat")
        field(page, "steps").fill("33")
        field(page, "steps").blur()
        page.locator("#txt2img_advanced .label-wrap").click()
        page.locator("#txt2img_tiling input").check()
        expect(page.locator("#txt2img_advanced")).to_have_attribute("data-changed", "")
        page.wait_for_function("() => JSON.parse(localStorage.getItem('atelier-form'))?.tiling")
        kept = page.evaluate("() => JSON.parse(localStorage.getItem('atelier-form'))")
        assert kept == {**LAST, "tiling": True}  # the rest begins as is usual on that day
        again = witness.open(studio.url, page.context)  # as after the browser was closed: another session
        expect(text_field(again, "prompt")).to_have_value("a boat")
        expect(field(again, "steps")).to_have_value("33")
        page.context.close()
        studio.app.settings.update({"default_cfg_scale": 3.0})
    finally:
        studio.close()
    with_settings = Studio(options)
    try:
        context = witness.context()
        context.add_init_script(f"localStorage.setItem('atelier-form', '{json.dumps(LAST)}')")
        later = witness.open(with_settings.url, context)
        expect(field(later, "steps")).to_have_value("33")
        expect(field(later, "cfg_scale")).to_have_value("3")
        context.close()
    finally:
        with_settings.close()


def test_png_info_says_what_a_file_says_and_sends_it_on(studio: Studio, witness: Witness) -> None:
    page = witness.open(studio.url)
    page.get_by_role("tab", name="PNG Info").click()
    info = page.locator(".png-info")
    info.locator(".to-extras").wait_for(state="attached")
    drop(page, "#pnginfo_image", png(THEIRS))
    expect(info.locator(".origin")).to_have_text("Written by AUTOMATIC1111 · PNG text: parameters")
    expect(info.locator(".prompt")).to_have_text(["a lighthouse, (dusk:1.2), ink drawing", "fog"])
    steps = info.locator(".pairs tr").filter(has=page.get_by_text("Steps", exact=True)).locator("td")
    expect(steps).to_have_text("28")
    expect(info.get_by_text("checkpoint v1-5-pruned, hash 6ce0161689")).to_be_visible()
    info.get_by_text("The text as it stands in the file").click()
    expect(page.locator("#pnginfo_text")).to_have_text(THEIRS)

    info.get_by_role("button", name="Inpaint").click()
    expect(page.locator("#inpaint_prompt textarea")).to_have_value("a lighthouse, (dusk:1.2), ink drawing")
    page.wait_for_function(SIZE)
    page.get_by_role("tab", name="PNG Info").click()
    info.get_by_role("button", name="Extras").click()
    expect(page.locator("#extras_files .chosen img")).to_have_count(1)
    page.get_by_role("tab", name="PNG Info").click()
    info.get_by_role("button", name="txt2img").click()
    expect(field(page, "steps")).to_have_value("28")

    page.get_by_role("tab", name="PNG Info").click()
    drop(page, "#pnginfo_image", b"three words: here", "text/plain", "words.txt")
    expect(info.locator(".prompt")).to_have_text(["three words: here"])
    expect(info.get_by_role("button", name="Extras")).to_be_hidden()
    drop(page, "#pnginfo_image", b"\0\1\2", "application/octet-stream", "x.bin")
    expect(info.locator(".problem")).to_contain_text("does not say how it was made")
    expect(info.locator(".told")).to_be_hidden()
