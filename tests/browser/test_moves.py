"""The essential moves that happen in the browser."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from backend.app import Options
from tests.browser.conftest import PATIENCE, Studio, Witness

pytestmark = pytest.mark.browser
expect.set_options(timeout=PATIENCE)
FETCHED = "performance.getEntriesByType('resource').some((entry) => entry.name.endsWith('/ext/tags/tags'))"
MOVES = Path(__file__).parents[1] / "moves"


@pytest.fixture
def studio(options: Options) -> Iterator[Studio]:
    for id in ("tags", "browser"):
        shutil.copytree(MOVES / id, options.data_dir / "extensions" / id)
    studio = Studio(options)
    studio.steps(10_000)
    studio.switch_on("tags", "browser")
    yield studio
    studio.close()


def test_tags_are_offered_while_somebody_types(witness: Witness, studio: Studio) -> None:
    page = witness.open(studio.url)
    page.wait_for_function(FETCHED)
    area = page.locator("#txt2img_prompt textarea")
    area.press_sequentially("a boat, cir")
    rows = page.locator("#prompt_completions [role=option]")
    expect(rows.filter(has_text="circlet")).to_be_visible()
    expect(rows.first).to_contain_text("812 uses")
    rows.first.click()
    expect(area).to_have_value("a boat, circle, ")
    page.close()


def test_the_browser_has_a_tab_with_what_was_saved(witness: Witness, studio: Studio) -> None:
    page = witness.open(studio.url)
    page.locator("#txt2img_prompt textarea").fill("a green boat")
    page.locator("#txt2img_generate").click()
    expect(page.locator("#txt2img_results .history figure")).to_have_count(1)
    page.locator("#tabs").get_by_role("tab", name="Browser").click()
    page.get_by_role("button", name="Look again").click()
    expect(page.locator("#saved_pictures")).to_contain_text("a green boat")
    # Another profile is another person, who has made another picture.
    other = witness.open(studio.url)
    other.locator("#txt2img_prompt textarea").fill("a yellow star")
    other.locator("#txt2img_generate").click()
    expect(other.locator("#txt2img_results .history figure")).to_have_count(1)
    other.locator("#tabs").get_by_role("tab", name="Browser").click()
    other.locator("#look_again").click()
    expect(other.locator("#saved_pictures")).to_contain_text("a yellow star")
    expect(other.locator("#saved_pictures")).not_to_contain_text("a green boat")
    page.locator("#look_again").click()
    expect(page.locator("#saved_pictures")).not_to_contain_text("a yellow star")
    for each in (page, other):
        each.close()
