"""The first minute of a newcomer: the real program, the starter, words, a picture."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.browser.conftest import Witness, program

pytestmark = pytest.mark.browser

FIRST = 180_000  # milliseconds until torch and the starter are loaded on a busy machine
PROMPT = "a red circle on a blue background"
# Remembers which steps and which previews have been on the page.
WATCH = """() => {
  window.seen = { steps: new Set(), previews: new Set() };
  new MutationObserver(() => {
    const step = document.querySelector(".caption .what").textContent.match(/^Step (\\d+)/);
    if (step) seen.steps.add(+step[1]);
    const shown = document.querySelector(".stage canvas.shown");
    if (shown) seen.previews.add(shown.dataset.preview);
  }).observe(document.querySelector(".live"), { subtree: true, childList: true, attributes: true });
}"""


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def address(data_dir: Path) -> Iterator[str]:
    with program("--data-dir", str(data_dir)) as address:
        yield address


def set_number(page: Page, name: str, value: int) -> None:
    page.locator(f"#txt2img_{name} input[type=number]").fill(str(value))


def step(page: Page) -> int:
    match = re.match(r"Step (\d+) of", page.locator(".caption .what").inner_text())
    return int(match[1]) if match else 0


def saved(data_dir: Path) -> list[Path]:
    return sorted((data_dir / "outputs" / "txt2img").glob("*/*.png"))


def test_first_light(address: str, data_dir: Path, witness: Witness) -> None:
    page = witness.open(address)
    expect(page.locator(".status")).to_have_attribute("data-state", "ready", timeout=FIRST)
    expect(page.locator(".status .words")).to_contain_text("starter")
    expect(page.locator(".examples button").first).to_be_visible()

    page.evaluate(WATCH)
    page.locator("#txt2img_prompt textarea").fill(PROMPT)
    set_number(page, "steps", 80)
    page.keyboard.press("Control+Enter")
    expect(page.locator(".caption .what")).to_have_text(re.compile(r"\d+ × \d+ · seed \d+"), timeout=FIRST)
    seen = page.evaluate("({ steps: [...seen.steps], previews: seen.previews.size })")
    assert len(seen["steps"]) > 2
    assert seen["steps"] == sorted(seen["steps"])
    assert seen["previews"] > 1

    (path,) = saved(data_dir)
    width, height, seed = re.findall(r"\d+", page.locator(".caption .what").inner_text())
    with Image.open(path) as picture:
        parameters = picture.info["parameters"]  # pyright: ignore[reportAttributeAccessIssue]
        assert picture.size == (int(width), int(height))
    first, *rest = parameters.splitlines()
    assert first == PROMPT
    assert rest[-1].startswith("Steps: 80, Sampler: ")
    assert f"Seed: {seed}, Size: {width}x{height}" in rest[-1]
    assert "Model: starter" in rest[-1]

    set_number(page, "steps", 150)
    set_number(page, "batch_count", 100)
    page.keyboard.press("Control+Enter")
    expect(page.locator(".caption .what")).to_contain_text("Step", timeout=FIRST)
    page.reload()
    second = witness.open(address, page.context)
    for window in (page, second):
        witness.ready(window)
        expect(window.locator(".caption .what")).to_contain_text("of 150 · batch", timeout=FIRST)
        expect(window.locator(".stage canvas.shown")).to_be_visible(timeout=FIRST)
        expect(window.locator(".history figure").first).to_be_visible(timeout=FIRST)
    assert step(page) > 0

    page.locator("#txt2img_interrupt").click()
    for window in (page, second):
        expect(window.locator(".queue li")).to_have_attribute("data-state", "interrupted", timeout=FIRST)
        expect(window.locator(".history figure")).to_have_count(len(saved(data_dir)))
        expect(window.locator("#txt2img_interrupt")).to_be_disabled()
    for path in saved(data_dir):
        with Image.open(path) as picture:
            picture.load()
