"""The page in a browser, with a worker that the test leads step by step."""

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from backend.app import Options
from backend.request import GenerationRequest
from backend.server.owner import OWNER_COOKIE
from tests.browser.conftest import PATIENCE, Studio, Witness

pytestmark = pytest.mark.browser
expect.set_options(timeout=PATIENCE)

LOOKS = [
    pytest.param({"width": 390, "height": 844, "touch": True}, id="phone"),
    pytest.param({"width": 390, "height": 844, "touch": True, "dark": True}, id="phone-dark"),
    pytest.param({"width": 820, "height": 1180, "touch": True}, id="tablet"),
    pytest.param({"width": 1280, "height": 720}, id="laptop"),
    pytest.param({"width": 1920, "height": 1080}, id="wide"),
    pytest.param({"width": 1920, "height": 1080, "dark": True}, id="wide-dark"),
]
NAMELESS = """[...document.querySelectorAll("button")]
  .filter((button) => button.offsetParent)
  .filter((button) => !button.innerText && !button.ariaLabel && !button.querySelector("img[alt]"))
  .map((button) => button.outerHTML)"""
CONTRAST = Path(__file__).with_name("contrast.js").read_text(encoding="utf-8")


def field(page: Page, name: str) -> Locator:
    return page.locator(f"#txt2img_{name}").locator("textarea, input[type=number], input:not([type])").first


def text_field(page: Page, name: str) -> Locator:
    return page.locator(f"#txt2img_{name}").locator("textarea, input").first


def small(page: Page, steps: int = 4) -> None:
    """Ask for little."""
    for name, value in {"steps": steps, "width": 64, "height": 64}.items():
        field(page, name).fill(str(value))


def generate(page: Page, prompt: str) -> None:
    text_field(page, "prompt").fill(prompt)
    page.keyboard.press("Control+Enter")


def said(page: Page) -> Locator:
    return page.locator(".caption .what")


def rows(page: Page) -> Locator:
    return page.locator(".queue li")


def box(page: Page, selector: str) -> Any:
    return page.locator(selector).bounding_box()


def test_words_become_a_picture_and_nothing_jumps(studio: Studio, witness: Witness) -> None:
    page = witness.open(studio.url)
    small(page)
    generate(page, "a yellow star on a purple background")
    expect(page.locator("#txt2img_interrupt")).to_be_enabled()
    before = {
        name: box(page, name) for name in ("#txt2img_controls", ".stage", ".caption", ".rail", "#txt2img_generate")
    }
    studio.steps(2)
    expect(said(page)).to_have_text("Step 2 of 4")
    expect(page.locator(".stage canvas.shown")).to_be_visible()
    expect(page.get_by_role("progressbar")).to_have_attribute("aria-valuenow", "50")
    expect(page).to_have_title(re.compile("^50 % "))
    preview = box(page, ".frame")
    studio.steps(2)
    expect(said(page)).to_have_text(re.compile(r"64 × 64 · seed \d+"))
    expect(page.locator("#txt2img_gallery img")).to_have_count(1)
    expect(page.locator("#txt2img_interrupt")).to_be_disabled()
    assert box(page, ".frame") == preview
    assert {name: box(page, name) for name in before} == before
    job = studio.app.queue.jobs(page_owner(page))[0]
    assert job.request.prompt == "a yellow star on a purple background"
    assert page.locator(".stage img.shown").evaluate("image => [image.naturalWidth, image.naturalHeight]") == [64, 64]


def page_owner(page: Page) -> str:
    return {cookie.get("name"): cookie.get("value", "") for cookie in page.context.cookies()}[OWNER_COOKIE]


def test_a_reload_and_a_second_window_show_the_running_job(studio: Studio, witness: Witness) -> None:
    page = witness.open(studio.url)
    small(page)
    field(page, "batch_count").fill("2")
    generate(page, "a red heart on a white background")
    studio.steps(5)
    expect(said(page)).to_have_text("Step 1 of 4 · batch 2 of 2")
    page.reload()
    witness.ready(page)
    second = witness.open(studio.url, page.context)
    for window in (page, second):
        expect(said(window)).to_have_text("Step 1 of 4 · batch 2 of 2")
        expect(window.locator(".stage canvas.shown")).to_be_visible()
        expect(window.locator("#txt2img_gallery img")).to_have_count(1)
        expect(window.get_by_role("progressbar")).to_have_attribute("aria-valuenow", "63")
    assert text_field(page, "prompt").input_value() == "a red heart on a white background"
    assert field(page, "steps").input_value() == "4"
    second.locator("#txt2img_interrupt").click()
    for window in (page, second):
        expect(rows(window)).to_have_attribute("data-state", "interrupted")
        expect(window.locator(".history figure")).to_have_count(1)
    stranger = witness.open(studio.url)
    expect(stranger.locator(".stage")).to_have_attribute("data-state", "empty")


def test_jobs_wait_in_the_order_of_the_clicks_and_can_be_changed(studio: Studio, witness: Witness) -> None:
    page = witness.open(studio.url)
    small(page)
    for prompt in ("one", "two", "three", "four"):
        generate(page, prompt)
    prompts = page.locator(".queue li .prompt")
    expect(prompts).to_have_text(["Running. one", "Waiting. two", "Waiting. three", "Waiting. four"])
    rows(page).nth(3).get_by_role("button", name="Earlier").click()
    expect(prompts).to_have_text(["Running. one", "Waiting. two", "Waiting. four", "Waiting. three"])
    rows(page).nth(2).get_by_role("button", name="Cancel this job").click()
    expect(prompts).to_have_text(["Running. one", "Waiting. two", "Waiting. three", "Interrupted. four"])
    page.get_by_role("button", name="Cancel all queued").click()
    expect(page.locator(".queue li[data-state=interrupted]")).to_have_count(3)
    rows(page).filter(has_text="two").get_by_role("button", name="Retry").click()
    expect(page.locator(".queue li[data-state=queued] .prompt")).to_have_text("Waiting. two")
    page.keyboard.press("Escape")
    expect(page.locator(".queue li[data-state=running] .prompt")).to_have_text("Running. two")
    page.get_by_role("button", name="Clear ended").click()
    expect(rows(page)).to_have_count(1)


def test_a_failed_job_says_why_and_can_be_retried(studio: Studio, witness: Witness) -> None:
    page = witness.open(studio.url)
    small(page)
    generate(page, "please fail")
    expect(page.locator(".stage .fault")).to_contain_text("was asked to fail; use another word.")
    expect(rows(page).locator(".sentence")).to_contain_text("was asked to fail")
    page.locator(".stage").get_by_role("button", name="Retry").click()
    expect(page.locator(".queue li[data-state=failed]")).to_have_count(2)
    generate(page, "crash")
    expect(page.locator(".stage .fault")).to_contain_text("a scripted crash")
    expect(page.locator("body")).not_to_contain_text("Traceback")


def test_skip_goes_on_with_the_next(studio: Studio, witness: Witness) -> None:
    page = witness.open(studio.url)
    small(page)
    field(page, "batch_count").fill("2")
    generate(page, "a blue fish")
    studio.steps(1)
    expect(said(page)).to_have_text("Step 1 of 4 · batch 1 of 2")
    page.locator("#txt2img_skip").click()
    page.wait_for_timeout(300)
    studio.steps(1)
    expect(said(page)).to_have_text("Step 1 of 4 · batch 2 of 2")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("steps", "500", "Sampling steps must be from 1 to 150, not 500."),
        ("steps", "", "Sampling steps is empty; it needs a value."),
        ("width", "130", "Width 130 is not a multiple of 8; 128 or 136 would do."),
        ("seed", "abc", "Seed must be a whole number"),
    ],
)
def test_a_wrong_value_is_a_sentence_beside_the_button(
    studio: Studio, witness: Witness, name: str, value: str, words: str
) -> None:
    page = witness.open(studio.url)
    place = text_field(page, name) if name == "seed" else field(page, name)
    place.fill(value)
    page.keyboard.press("Control+Enter")  # at once: a slider's number is put right when it is left
    expect(page.locator("#txt2img_message")).to_contain_text(words)
    expect(page.locator(".toast-wrap")).to_be_empty()
    assert studio.app.queue.jobs(page_owner(page)) == []
    place.fill("64" if name == "width" else "1")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#txt2img_message p")).to_be_hidden()
    expect(rows(page)).to_have_count(1)


@pytest.mark.parametrize(
    "text", ["${window.ran = 1}", "${alert(1)}", "{{value}}", "<img src=x onerror='ran = 1'>", "`"]
)
def test_what_comes_from_outside_is_text(studio: Studio, witness: Witness, options: Options, text: str) -> None:
    """A value in a message, a prompt in the list, a file's name: nothing in them is run."""
    broken = options.checkpoint_dirs[0] / f"{text.replace('/', '')}.safetensors"
    broken.write_bytes(b"")
    try:
        page = witness.open(studio.url)
        page.locator("#unusable_checkpoints summary").click()
        expect(page.locator("#unusable_checkpoints li strong")).to_have_text(broken.stem)
        text_field(page, "seed").fill(text)
        generate(page, text)
        expect(page.locator("#txt2img_message")).to_contain_text(f"not {text!r}")
        text_field(page, "seed").fill("1")
        page.keyboard.press("Control+Enter")
        expect(page.locator(".queue .prompt")).to_contain_text(text)
        assert page.evaluate("window.ran === undefined")
    finally:
        broken.unlink()


def test_parameters_and_seed_are_reused_exactly(studio: Studio, witness: Witness) -> None:
    page = witness.open(studio.url)
    small(page)
    seed = str(2**63 + 1)
    text_field(page, "seed").fill(seed)
    text_field(page, "neg_prompt").fill("fog")
    field(page, "cfg_scale").fill("4.5")
    generate(page, "a green tree")
    studio.steps(4)
    expect(said(page)).to_have_text(f"64 × 64 · seed {seed}")
    text_field(page, "prompt").fill("something else")
    page.locator("#txt2img_random_seed").click()
    expect(text_field(page, "seed")).to_have_value("-1")
    page.locator("#txt2img_reuse_seed").click()
    expect(text_field(page, "seed")).to_have_value(seed)
    page.locator("#txt2img_random_seed").click()
    page.locator(".caption").get_by_role("button", name="Reuse seed").click()
    expect(text_field(page, "seed")).to_have_value(seed)
    expect(text_field(page, "prompt")).to_have_value("something else")
    for name, value in {"cfg_scale": "7", "width": "128"}.items():
        field(page, name).fill(value)
    page.locator(".caption").get_by_role("button", name="Reuse parameters").click()
    expect(text_field(page, "prompt")).to_have_value("a green tree")
    expect(text_field(page, "neg_prompt")).to_have_value("fog")
    expect(field(page, "cfg_scale")).to_have_value("4.5")
    expect(field(page, "width")).to_have_value("64")


def test_the_lightbox_shows_everything_and_esc_only_closes_it(studio: Studio, witness: Witness) -> None:
    page = witness.open(studio.url)
    small(page)
    field(page, "batch_count").fill("2")
    generate(page, "a purple flower")
    studio.steps(8)
    expect(page.locator(".history figure")).to_have_count(2)
    generate(page, "another")
    expect(page.locator("#txt2img_interrupt")).to_be_enabled()
    page.locator(".history figure .pick").first.click()
    page.locator(".stage .frame").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.locator(".infotext")).to_contain_text("a purple flower\nSteps: 4, Sampler: DPM++ 2M")
    expect(dialog.locator(".where")).to_have_text("1 of 2 · 64 × 64")
    page.keyboard.press("ArrowRight")
    expect(dialog.locator(".where")).to_have_text("2 of 2 · 64 × 64")
    page.keyboard.press("1")
    expect(dialog.locator(".zoom")).to_have_text("100 %")
    with page.expect_download() as download:
        dialog.get_by_role("button", name="Download").click()
    images = studio.app.queue.jobs(page_owner(page))[0].images
    assert Path(download.value.path()).read_bytes() == images[1].path.read_bytes()
    assert download.value.suggested_filename == images[1].path.name
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(page.locator(".queue li[data-state=running]")).to_have_count(1)
    page.get_by_role("button", name="Back to the picture being made").click()
    expect(page.locator(".stage")).to_have_attribute("data-state", "live")


def test_ratios_keep_the_area_and_the_swap_swaps(studio: Studio, witness: Witness) -> None:
    page = witness.open(studio.url)
    for name in ("width", "height"):
        field(page, name).fill("512")
    for ratio, size in {
        "16:9": ("680", "384"),
        "9:16": ("384", "680"),
        "3:2": ("624", "416"),
        "1:1": ("512", "512"),
    }.items():
        chip = page.locator("#txt2img_ratios").get_by_role("button", name=ratio, exact=True)
        chip.click()
        expect(field(page, "width")).to_have_value(size[0])
        expect(field(page, "height")).to_have_value(size[1])
        expect(chip).to_have_attribute("aria-pressed", "true")
    field(page, "width").fill("640")
    page.locator("#txt2img_res_switch_btn").click()
    expect(field(page, "width")).to_have_value("512")
    expect(field(page, "height")).to_have_value("640")


def test_a_picture_whose_file_is_gone_is_a_sentence(studio: Studio, witness: Witness) -> None:
    page = witness.open(studio.url)
    small(page)
    generate(page, "a red house")
    studio.steps(4)
    expect(said(page)).to_have_text(re.compile("seed"))
    path = studio.app.queue.jobs(page_owner(page))[0].images[0].path
    path.unlink()
    page.reload()
    expect(page.locator(".stage .missing")).to_contain_text(f"{path.name} is no longer in")
    # the browser reports the 404 itself
    assert all("404" in complaint for complaint in witness.complaints)
    witness.complaints.clear()


def test_what_was_lost_with_the_connection_comes_back_with_it(studio: Studio, witness: Witness) -> None:
    context = witness.context()
    context.clock.install()
    page = witness.open(studio.url, context)
    page.route("**/atelier/pictures/**", lambda route: route.abort())
    small(page)
    generate(page, "a boat")
    studio.steps(4)
    shown = page.locator("#txt2img_results .live")
    expect(shown.locator(".missing")).to_have_text("This picture could not be shown.")
    expect(shown.locator(".history figure.gone")).to_have_count(1)
    page.unroute_all()
    assert all("ERR_FAILED" in words for words in witness.complaints)
    witness.complaints.clear()
    # Nothing is heard for a minute, with the socket still open: it is opened anew, whether anybody looks or not.
    with page.expect_websocket():
        context.clock.fast_forward(60_000)
    expect(shown.locator(".history figure.gone")).to_have_count(0)
    expect(shown).not_to_have_attribute("data-missing", re.compile(".*"))
    expect(shown.locator(".mat img.shown")).to_be_visible()
    witness.ready(page)


def test_settings_are_found_saved_and_refused(studio: Studio, witness: Witness) -> None:
    page = witness.open(studio.url)
    page.get_by_role("tab", name="Settings").click()
    page.locator("#settings_search").fill("preview every")
    expect(page.locator(".setting:visible")).to_have_count(1)
    number = page.locator("#setting_preview_every input")
    number.fill("500")
    page.locator("#settings_submit").click()
    expect(page.locator("#settings_message")).to_contain_text("Preview every N steps is 500")
    number.fill("3")
    page.locator("#settings_submit").click()
    expect(page.locator("#settings_done")).to_contain_text("Saved.")
    expect(page.locator("#settings_message p")).to_be_hidden()
    assert studio.app.settings.value.preview_every == 3
    # What another window saves stands here when the tab is opened again.
    studio.app.settings.update({"default_steps": 44})
    page.get_by_role("tab", name="txt2img").click()
    page.get_by_role("tab", name="Settings").click()
    page.locator("#settings_search").fill("sampling steps")
    expect(page.locator("#setting_default_steps input")).to_have_value("44")
    page.locator("#settings_search").fill("")
    expect(page.locator("#settings_places")).to_contain_text(str(studio.app.options.data_dir))


def test_the_first_view_offers_examples(studio: Studio, witness: Witness) -> None:
    page = witness.open(studio.url)
    example = page.locator(".examples button").first
    example.click()
    expect(text_field(page, "prompt")).to_have_value(example.inner_text())
    page.keyboard.press("Enter")  # the focus is on Generate
    expect(page.locator(".stage")).to_have_attribute("data-state", "live")


def go_to(page: Page, tab: str) -> None:
    """Open a tab; on a phone some of them are in the row's menu."""
    go = "(tab) => import(new URL('atelier/static/tabs.js', document.baseURI)).then((all) => all.goTo(tab))"
    page.evaluate(go, tab)
    page.locator(f"#tab_{tab}").wait_for()


@pytest.mark.parametrize("look", LOOKS)
def test_it_looks_right_everywhere(studio: Studio, witness: Witness, look: dict[str, Any]) -> None:
    """No sideways scrolling, Generate in reach, buttons with names, words that can be read (WCAG 2.2, 1.4.3)."""
    page = witness.open(studio.url, **look)
    assert page.evaluate("document.body.classList.contains('dark')") is look.get("dark", False)
    small(page)
    generate(page, "fail")
    generate(
        page, "a white boat on a blue background, which is a long prompt that fits nowhere on a single line at all"
    )
    generate(page, "waiting")
    studio.steps(5)
    expect(page.locator(".history figure")).to_have_count(1)
    for tab in ("txt2img", "pnginfo", "settings"):
        go_to(page, tab)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert page.evaluate(CONTRAST) == []
        assert page.evaluate(NAMELESS) == []
    page.get_by_role("tab", name="txt2img").click()
    place = box(page, "#txt2img_generate")
    assert place["y"] + place["height"] <= look["height"]


def test_places_in_line_count_everybody_s_jobs(studio: Studio, witness: Witness) -> None:
    page = witness.open(studio.url)
    small(page)
    for prompt in ("one", "two", "three", "four", "please fail"):
        generate(page, prompt)
    request = GenerationRequest(prompt="x", steps=2, width=64, height=64)
    others = [studio.app.queue.submit(request, "b" * 32) for _ in range(2)]
    places = page.locator(".queue li .place")
    expect(places).to_have_text([f"Waiting, number {place} in line" for place in (2, 4, 5, 6)])
    for place, (first, last) in enumerate([(True, False), (False, False), (False, False), (False, True)], 1):
        earlier, later = (rows(page).nth(place).get_by_role("button", name=name) for name in ("Earlier", "Later"))
        assert (earlier.is_disabled(), later.is_disabled()) == (first, last)
    for job in others:
        studio.app.queue.cancel(job)
    expect(places).to_have_text([f"Waiting, number {place} in line" for place in (1, 2, 3, 4)])
