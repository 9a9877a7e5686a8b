"""What helps while a prompt is typed, in a browser: tokens, faults, brackets, weights, suggestions, earlier prompts."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Locator, Page, expect
from safetensors.numpy import save_file

from backend.app import Options
from bench.catalog import SD1_BLOCKS, lora
from tests.browser.conftest import PATIENCE, Studio, Witness
from tests.browser.test_page import page_owner

pytestmark = pytest.mark.browser
expect.set_options(timeout=PATIENCE)

# Texts with what is selected between bars, or one bar for the caret; what one more and one less makes of them.
WEIGHED = [
    ("a r|ed house", "a (r|ed:1.1) house", "a (r|ed:0.9) house"),
    ("a red| house", "a (red|:1.1) house", "a (red|:0.9) house"),
    ("a |red house|", "a (|red house|:1.1)", "a (|red house|:0.9)"),
    ("a | red house | b", "a  (|red house|:1.1)  b", "a  (|red house|:0.9)  b"),
    ("a (re|d:1.1)", "a (re|d:1.2)", "a re|d"),
    ("a (r|ed house:0.9)", "a |red house|", "a (|red house|:0.8)"),
    ("a ((r|ed))", "a (r|ed:1.3)", "a (r|ed:1.1)"),
    ("a [r|ed]", "a r|ed", "a (r|ed:0.8)"),
    ("a [r|ed:blue:0.5]", "a [(r|ed:1.1):blue:0.5]", "a [(r|ed:0.9):blue:0.5]"),
    ("a <lora:ink:0|.5>", "a <lora:ink:0|.55>", "a <lora:ink:0|.45>"),
    ("a <lora:ink|>", "a <lora:ink|:1.05>", "a <lora:ink|:0.95>"),
    ("saber \\(fa|te\\)", "saber \\((fa|te:1.1)\\)", "saber \\((fa|te:0.9)\\)"),
    ("a , | b", "a , | b", "a , | b"),
    ("a |red (house| now)", "a |red (house| now)", "a |red (house| now)"),
]
TAGS = 'tag,type,count,aliases\nlong_hair,0,4300000,"lh"\nlong_sleeves,0,1800000,\nsaber_(fate),4,30000,artoria\n'


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory, written_checkpoint: Path) -> Iterator[Studio]:
    """One for all tests here: each page is another person's."""
    studio = Studio(options_at(tmp_path_factory.mktemp("comfort"), written_checkpoint))
    yield studio
    studio.close()


def options_at(folder: Path, checkpoint: Path) -> Options:
    """A LoRA, an embedding, a tag list and a wildcard in a folder."""
    for name in ("loras", "embeddings", "data/tags", "data/wildcards/garden"):
        (folder / name).mkdir(parents=True)
    (folder / "data" / "styles.csv").write_text('name,prompt,negative_prompt\nQuiet,"{prompt}, matte",gloss\n')
    shapes = lora(SD1_BLOCKS, context=64, rank=1, text_layers=())
    save_file({key: np.zeros(s, np.float16) for key, s in shapes.items()}, folder / "loras" / "ink.safetensors")
    (folder / "loras" / "ink.json").write_text('{"activation text": "ink wash", "preferred weight": 0.8}')
    save_file({"emb_params": np.zeros((3, 64), np.float32)}, folder / "embeddings" / "soft-light.safetensors")
    (folder / "data" / "tags" / "list.csv").write_text(TAGS)
    (folder / "data" / "wildcards" / "garden" / "flower.txt").write_text("rose\n")
    return Options(
        data_dir=folder / "data",
        installation=folder,
        checkpoint_dirs=(checkpoint.parent,),
        lora_dirs=(folder / "loras",),
        embedding_dirs=(folder / "embeddings",),
        device="cpu",
    )


@pytest.fixture(scope="module")
def opened(studio: Studio, browser: Browser) -> Iterator[Page]:
    """A page that most tests share, as to open one takes longer than what they do on it. Those that open their own come
    last: a witness closes every page when it goes."""
    witness = Witness(browser)
    context = witness.context()
    yield witness.open(studio.url, context)
    context.close()
    assert witness.complaints == []


@pytest.fixture
def page(opened: Page) -> Page:
    for name in ("prompt", "neg_prompt"):
        area(opened, name).fill("")
    return opened


def area(page: Page, name: str = "prompt") -> Locator:
    return page.locator(f"#txt2img_{name} textarea")


def select(page: Page, marked: str) -> None:
    """Write a text, and select what stands between its bars."""
    first, last = marked.index("|"), marked.rindex("|")
    area(page).fill(marked.replace("|", ""))
    end = last - 1 if last > first else first
    area(page).evaluate("(area, [start, end]) => area.setSelectionRange(start, end)", [first, end])


def marked(page: Page) -> str:
    text, start, end = area(page).evaluate("area => [area.value, area.selectionStart, area.selectionEnd]")
    return f"{text[:start]}|{text[start:end]}|{text[end:]}" if end > start else f"{text[:start]}|{text[start:]}"


def rows(page: Page) -> Locator:
    return page.locator("#prompt_completions [role=option]")


def marks(page: Page, kind: str) -> list[str]:
    return page.locator(f"#txt2img_prompt .prompt-mirror .{kind}").all_inner_texts()


def test_tokens_and_faults_are_shown_while_one_types(page: Page) -> None:
    count = page.locator("#txt2img_prompt_tokens")
    expect(count).to_have_text("0/75")
    area(page).press_sequentially("a (red house, <lora:inc:1>")
    expect(count).to_have_text("4/75")
    faults = page.locator("#txt2img_prompt_faults li")
    expect(faults).to_have_count(2)
    assert marks(page, "fault") == ["(", "<lora:inc:1>"]
    expect(area(page)).to_have_attribute("aria-invalid", "true")
    assert area(page).input_value() == "a (red house, <lora:inc:1>"
    faults.nth(1).get_by_role("button").click()
    assert marked(page) == "a (red house, |<lora:inc:1>|"
    page.keyboard.press("Delete")
    expect(faults).to_have_count(1)
    area(page).fill("a (red) house")
    expect(faults).to_have_count(0)
    expect(count).to_have_text("3/75")
    area(page).fill("a house, soft-light")
    expect(count).to_have_text("6/75")
    area(page).fill(", ".join(["a house"] * 30))
    expect(count).to_have_text("89/150")
    area(page, "neg_prompt").fill("blurry")
    expect(page.locator("#txt2img_neg_prompt_tokens")).to_have_text("1/75")


def test_marks_stand_below_the_words_and_show_the_bracket_that_belongs_to_the_carets(page: Page) -> None:
    # The unseen words have the same places as those of the field, also after many lines, and scrolled.
    words = " ".join(f"word{k}" for k in range(300))
    area(page).fill(words + " (")
    page.locator("#txt2img_prompt .fault").wait_for()
    heights = area(page).evaluate(
        """area => { const mirror = area.parentElement.querySelector(".words");
        area.scrollTop = area.scrollHeight; area.dispatchEvent(new Event("scroll"));
        return [area.scrollHeight, mirror.scrollHeight, area.scrollTop, -new DOMMatrix(getComputedStyle(mirror)
          .transform).f - parseFloat(getComputedStyle(mirror).translate.split(" ")[1] ?? 0)]; }"""
    )
    assert heights[0] == heights[1] and heights[2] == heights[3] > 0
    matched = page.locator("#txt2img_prompt .matched")
    for text in ("a (b|) c", "(|", "a |(b) c", "\\(|\\)", "a [(b)|", "a b| (c)"):
        select(page, text)
        expect(matched).to_have_text(["(", ")"] if text[:3] in ("a (", "a |", "a [") else [])
        assert marks(page, "unmatched") == []
    select(page, "a )|")
    expect(page.locator("#txt2img_prompt .unmatched")).to_have_text(")")
    select(page, "a \\)|")
    expect(page.locator("#txt2img_prompt .unmatched")).to_have_count(0)


def test_ctrl_up_and_down_weigh_and_each_press_can_be_undone(studio: Studio, page: Page) -> None:
    for before, more, less in WEIGHED:
        for key, after in (("ArrowUp", more), ("ArrowDown", less)):
            select(page, before)
            page.keyboard.press(f"Control+{key}")
            assert marked(page) == after, (before, key)
    select(page, "a red ho|use")
    for _ in range(3):
        page.keyboard.press("Control+ArrowUp")
    seen = [area(page).input_value()]
    for _ in range(3):
        page.keyboard.press("Control+z")
        seen.append(area(page).input_value())
    assert seen == ["a red (house:1.3)", "a red (house:1.2)", "a red (house:1.1)", "a red house"]
    page.keyboard.press("Control+y")
    assert area(page).input_value() == "a red (house:1.1)"
    # What the keys wrote is what is asked for.
    page.keyboard.press("Control+Enter")
    expect(page.locator(".queue li")).to_have_count(1)
    (job,) = studio.app.queue.jobs(page_owner(page))
    assert job.request.prompt == "a red (house:1.1)"
    studio.steps(job.request.steps)
    expect(page.locator(".history figure")).to_have_count(1)


def test_names_are_completed_by_keys(page: Page) -> None:
    area(page).press_sequentially("a girl with long ha")
    expect(rows(page)).to_have_count(1)
    expect(rows(page).locator(".name")).to_have_text("long_hair")
    assert area(page).get_attribute("aria-activedescendant") is None
    page.keyboard.press("Tab")
    assert marked(page) == "a girl with long hair, |"
    expect(page.locator("#prompt_completions")).to_be_hidden()
    page.keyboard.press("Control+z")
    assert area(page).input_value() == "a girl with long ha"
    area(page).fill("")
    area(page).press_sequentially("long")
    expect(rows(page)).to_have_count(2)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    expect(rows(page).nth(1)).to_have_attribute("aria-selected", "true")
    assert area(page).get_attribute("aria-activedescendant") == rows(page).nth(1).get_attribute("id")
    page.keyboard.press("Enter")
    assert marked(page) == "long sleeves, |"
    area(page).press_sequentially("<3, artor")
    rows(page).first.click()
    assert marked(page) == "long sleeves, <3, saber \\(fate\\), |"


def test_what_is_typed_after_the_list_came_is_completed_with_it(page: Page) -> None:
    area(page).press_sequentially("lon")
    expect(rows(page)).to_have_count(2)
    page.route("**/suggestions*", lambda _: None)  # the server is slow: no newer list comes
    try:
        area(page).press_sequentially("g")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        assert marked(page) == "long hair, |"
    finally:
        page.unroute("**/suggestions*")


def test_loras_and_wildcards_follow_their_signs(page: Page) -> None:
    area(page).press_sequentially("a house <")
    expect(rows(page).first).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Enter")
    assert marked(page) == "a house <lora:ink:0.8> ink wash |"
    expect(page.locator("#txt2img_loras .chip")).to_have_count(1)
    area(page).press_sequentially("with __fl")
    expect(rows(page).locator(".name")).to_have_text("garden/flower")
    page.keyboard.press("Tab")
    assert marked(page) == "a house <lora:ink:0.8> ink wash with __garden/flower__|"
    area(page).press_sequentially(", soft")
    expect(rows(page).locator(".what")).to_have_text("embedding")
    page.keyboard.press("Tab")
    assert area(page).input_value().endswith(", soft-light")
    area(page).press_sequentially(", quiet")
    expect(rows(page).locator(".what")).to_have_text("style")
    page.keyboard.press("Tab")
    expect(area(page)).to_have_value("a house <lora:ink:0.8> ink wash with __garden/flower__, soft-light, matte")
    negative = area(page, "neg_prompt")
    expect(negative).to_have_value("gloss")
    negative.press_sequentially("ink")
    page.wait_for_timeout(300)
    expect(page.locator("#prompt_completions")).to_be_hidden()


def test_a_closed_list_takes_no_key(studio: Studio, page: Page) -> None:
    before = studio.app.queue.jobs(page_owner(page))
    area(page).press_sequentially("long ha")
    expect(rows(page)).to_have_count(1)
    page.keyboard.press("Enter")  # nothing was chosen: a new line
    assert area(page).input_value() == "long ha\n"
    area(page).press_sequentially("long ha")
    expect(rows(page)).to_have_count(1)
    page.keyboard.press("Escape")
    expect(page.locator("#prompt_completions")).to_be_hidden()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    assert area(page).input_value() == "long ha\n\nlong ha"
    page.keyboard.press("Control+End")
    page.keyboard.press("Control+ ")
    assert studio.app.queue.jobs(page_owner(page)) == before
    expect(rows(page)).to_have_count(1)  # asked for
    page.keyboard.press("Escape")
    page.keyboard.press("Tab")
    expect(area(page)).not_to_be_focused()


def test_the_list_stays_within_the_window(studio: Studio, witness: Witness) -> None:
    page = witness.open(studio.url, width=390, height=844, touch=True)
    area(page).press_sequentially("a quiet house that stands beside, long ha")
    expect(rows(page)).to_have_count(1)
    box: Any = page.locator(".prompt-completions").bounding_box()
    assert box["x"] >= 8 and box["x"] + box["width"] <= 382 and box["y"] >= 0
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 390
    rows(page).first.tap()
    assert area(page).input_value().endswith("long hair, ")


def test_earlier_prompts_come_back_and_can_be_undone(studio: Studio, witness: Witness) -> None:
    page = witness.open(studio.url)
    for name, value in {"steps": "1", "width": "64", "height": "64"}.items():
        page.locator(f"#txt2img_{name} input[type=number]").fill(value)
    for prompt, negative in (("a red house", "blurry"), ("a blue boat", "")):
        area(page).fill(prompt)
        area(page, "neg_prompt").fill(negative)
        page.keyboard.press("Control+Enter")
        studio.steps(1)
        expect(page.locator(".history figure")).to_have_count(1 if negative else 2)
    area(page).fill("now")
    page.keyboard.press("Alt+ArrowUp")
    dialog = page.locator(".prompt-history")
    expect(dialog.get_by_role("option")).to_have_count(2)
    expect(dialog.get_by_role("option").first).to_contain_text("a blue boat")
    page.keyboard.type("blur")
    expect(dialog.get_by_role("option")).to_have_count(1)
    page.keyboard.press("Enter")
    expect(dialog).to_be_hidden()
    assert [area(page, name).input_value() for name in ("prompt", "neg_prompt")] == ["a red house", "blurry"]
    page.keyboard.press("Control+z")
    assert area(page).input_value() == "now"
    area(page, "neg_prompt").focus()
    page.keyboard.press("Control+z")
    assert area(page, "neg_prompt").input_value() == ""
    page.get_by_role("button", name="Earlier prompts").first.click()
    page.keyboard.type("zebra")
    expect(dialog.locator(".none")).to_have_text("No earlier prompt has these words.")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    assert area(page).input_value() == "now"
