"""The Extensions tab while answers are under way: what is pressed and typed is for the one that is shown then."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from backend.app import Options
from backend.errors import UserError
from tests.browser.conftest import PATIENCE, Studio, Witness
from tests.extension_folders import write_extension
from tests.packaged import files, write_zip

pytestmark = pytest.mark.browser
expect.set_options(timeout=PATIENCE)

CODE = """
class Own(BaseModel):
    depth: int = Field(3, ge=0, le=99, title="Depth")
    words: str = Field("none", title="Words")

@hook
def register(api):
    api.settings(Own)
"""


@pytest.fixture
def studio(options: Options) -> Iterator[Studio]:
    for id in ("alder", "birch"):
        write_extension(options.data_dir, id, CODE)
    studio = Studio(options)
    studio.switch_on("alder", "birch")
    yield studio
    studio.close()


def tab(studio: Studio, witness: Witness) -> Page:
    page = witness.open(studio.url)
    page.evaluate("async () => (await import(new URL('atelier/static/tabs.js', document.baseURI))).goTo('extensions')")
    return page


def opened(page: Page, title: str) -> Locator:
    page.locator(".extensions .extension").filter(has=page.get_by_text(title, exact=True)).locator(".face").click()
    drawer = page.locator(".extensions .drawer")
    expect(drawer.locator("h2")).to_have_text(title)
    return drawer


class Held:
    """Requests of a page to an address, kept until the test lets them go."""

    def __init__(self, page: Page, address: str):
        self._page = page
        self._address = address
        self.routes: list[Route] = []
        page.route(address, lambda route: self.routes.append(route))

    def come(self, count: int = 1) -> None:
        until(self._page, lambda: len(self.routes) >= count)

    def go(self) -> None:
        for route in self.routes:
            route.continue_()
        self.routes.clear()
        self._page.unroute(self._address)


def until(page: Page, happens: Any) -> None:
    for _ in range(PATIENCE // 20):
        if happens():
            return
        page.wait_for_timeout(20)
    pytest.fail("it did not happen")


def settings(studio: Studio, id: str) -> dict[str, Any]:
    found = studio.app.extensions.find(id).settings
    assert found is not None
    return found.value.model_dump()


def test_an_answer_is_about_the_one_that_was_asked_for(studio: Studio, witness: Witness) -> None:
    page = tab(studio, witness)
    drawer = opened(page, "Alder")
    drawer.get_by_label("Depth").fill("7")
    held = Held(page, "**/alder/settings")
    drawer.get_by_role("button", name="Save").click()
    held.come()
    drawer = opened(page, "Birch")
    with page.expect_response("**/alder/settings"):
        held.go()
    expect(drawer.locator("h2")).to_have_text("Birch")
    # What is pressed now is for the one that is shown.
    with page.expect_request("**/birch/reload"):
        drawer.get_by_role("button", name="Reload its code").click()
    expect(page.locator(".models-toast")).to_contain_text("The code of Birch was read anew.")
    assert (settings(studio, "alder")["depth"], settings(studio, "birch")["depth"]) == (7, 3)
    expect(drawer.get_by_label("Depth")).to_have_value("3")
    # What is wrong with one does not stand at another.
    page.route("**/alder/reload", lambda route: route.fulfill(status=400, json={"problem": "Not Alder."}))
    drawer = opened(page, "Alder")
    drawer.get_by_role("button", name="Reload its code").click()
    expect(drawer.locator("> .complaint")).to_have_text("Not Alder.")
    drawer = opened(page, "Birch")
    expect(drawer.locator("> .complaint")).to_be_hidden()
    # One is removed while nothing is shown.
    held = Held(page, "**/alder/remove")
    remove = opened(page, "Alder").locator(".trash")
    remove.click()
    remove.click()
    held.come()
    page.keyboard.press("Escape")
    held.go()
    expect(page.locator(".models-toast")).to_contain_text("Alder is removed.")
    expect(page.locator(".extensions .extension").filter(has_text="Alder")).to_have_count(0)
    assert [words for words in witness.complaints if "400" not in words] == []
    witness.complaints.clear()  # the browser's own line for a refused order


def test_what_is_typed_while_it_is_saved_stays_and_is_not_called_saved(studio: Studio, witness: Witness) -> None:
    page = tab(studio, witness)
    drawer = opened(page, "Alder")
    depth, form = drawer.get_by_label("Depth"), drawer.locator(".settings-of")
    depth.fill("6")
    held = Held(page, "**/alder/settings")
    drawer.get_by_role("button", name="Save").click()
    held.come()
    depth.fill("9")
    held.go()
    expect(drawer.get_by_role("button", name="Save")).to_have_attribute("aria-busy", "false")
    assert settings(studio, "alder")["depth"] == 6
    expect(depth).to_have_value("9")
    expect(form).to_have_attribute("data-dirty", "")
    expect(form).not_to_contain_text("Saved.")
    # Another window changes another one: the list is new, and what was typed stands there.
    with page.expect_response("**/atelier/extensions"):
        own = studio.app.extensions.find("alder").settings
        assert own is not None
        own.change(words="many")
        studio.app.extensions.rescan()
    expect(drawer.get_by_label("Words")).to_have_value("many")
    expect(depth).to_have_value("9")
    drawer.get_by_role("button", name="Save").click()
    expect(form).to_contain_text("Saved.")
    expect(form).not_to_have_attribute("data-dirty", "")
    assert settings(studio, "alder") == {"depth": 9, "words": "many"}


def test_the_switch_in_the_drawer_keeps_the_focus_and_all_that_is_unfolded(studio: Studio, witness: Witness) -> None:
    page = tab(studio, witness)
    drawer = opened(page, "Alder")
    drawer.get_by_text("Log", exact=True).click()
    drawer.locator(".trash").click()
    switch = drawer.get_by_role("switch")
    switch.focus()
    for on in ("false", "true"):
        if on == "true":  # code of others is shown before it is switched on
            page.keyboard.press("Space")
            page.get_by_role("button", name="Switch it on").click()
        else:
            page.keyboard.press("Space")
        expect(switch).to_have_attribute("aria-checked", on)
        expect(switch).to_be_focused()
    expect(drawer).to_be_visible()
    expect(drawer.locator("pre.log")).to_be_visible()
    expect(drawer.locator(".trash")).to_have_text("Remove it from the disk")


def test_what_fails_is_shown_where_the_tab_is_open(studio: Studio, witness: Witness) -> None:
    page = tab(studio, witness)
    drawer = opened(page, "Alder")
    expect(drawer.locator(".failures")).to_have_count(0)
    studio.app.extensions.note_failure("alder", "on_image", UserError("No wood."))
    expect(drawer.locator(".failures")).to_contain_text("No wood.")
    card = page.locator(".extensions .extension").filter(has=page.get_by_text("Alder", exact=True))
    expect(card.locator(".trouble")).to_have_text("No wood.")


WORK = """async (share) => {
  const { studio } = await import(new URL("atelier/static/studio.js", document.baseURI));
  const state = share < 1 ? "running" : "finished";
  const work = { id: "1", extension: "alder", title: "Sawing", state, share, doing: "", problem: "" };
  studio.dispatchEvent(new CustomEvent("extensions", { detail: { ...studio.extensions, works: [work] } }));
}"""
AGAIN = """async () => {
  const { studio } = await import(new URL("atelier/static/studio.js", document.baseURI));
  studio.dispatchEvent(new CustomEvent("open"));
}"""
LOAD = """async () => {
  const { extensions } = await import(new URL("atelier/static/extensions_store.js", document.baseURI));
  extensions.load();
}"""
PLACE = "**/atelier/extensions"


def test_an_older_answer_does_not_replace_what_is_known(studio: Studio, witness: Witness) -> None:
    page = tab(studio, witness)
    drawer = opened(page, "Alder")
    kept: list[tuple[Route, dict[str, Any]]] = []

    def answered_late(route: Route) -> None:
        said = route.fetch().json()
        for each in said["extensions"]:
            each["description"] = f"Answer {len(kept) + 1}."
        running = {"id": "1", "extension": "alder", "title": "Sawing", "state": "running", "share": 0.97}
        kept.append((route, {**said, "works": [{**running, "doing": "", "problem": ""}]}))

    # A job ends after the list was made and before it has come.
    page.evaluate(WORK, 0.97)
    expect(drawer.locator(".work")).to_contain_text("97 %")
    page.route(PLACE, answered_late)
    page.evaluate(LOAD)
    until(page, lambda: len(kept) == 1)
    page.evaluate(WORK, 1)
    expect(drawer.locator(".work")).to_contain_text("Done")
    route, said = kept[0]
    route.fulfill(json=said)
    expect(drawer.locator(".about")).to_have_text("Answer 1.")
    expect(drawer.locator(".work")).to_contain_text("Done")
    # Another list is wanted while one is on its way: that one is asked for when this one has come.
    page.evaluate(LOAD)
    until(page, lambda: len(kept) == 2)
    studio.app.extensions.switch("birch", False)
    page.wait_for_timeout(600)
    assert len(kept) == 2
    route, said = kept[1]
    route.fulfill(json=said)
    until(page, lambda: len(kept) == 3)
    route, said = kept[2]
    route.fulfill(json=said)
    expect(drawer.locator(".about")).to_have_text("Answer 3.")
    card = page.locator(".extensions .extension").filter(has=page.get_by_text("Birch", exact=True))
    expect(card).to_have_attribute("data-state", "off")
    assert len(kept) == 3


def test_another_atelier_with_the_same_numbers_is_asked_for_its_list(studio: Studio, witness: Witness) -> None:
    page = tab(studio, witness)
    opened(page, "Alder")
    with page.expect_response(PLACE):
        page.evaluate(AGAIN)


def test_a_plan_whose_order_failed_is_forgotten_and_the_form_keeps_what_is_written(
    studio: Studio, witness: Witness, tmp_path: Any
) -> None:
    page = tab(studio, witness)
    install = page.locator(".extensions .panels .entry")
    install.click()
    address = page.get_by_label("Address")
    address.fill("https://example.org/frame.git")
    chosen = write_zip(tmp_path / "chalk.zip", files("chalk"))
    page.locator(".extensions input[type=file]").set_input_files(chosen)
    sheet = page.locator("dialog.extension-sheet")
    page.route("**/extensions/install", lambda route: route.abort())
    sheet.get_by_role("button", name="Install it").click()
    expect(sheet.locator(".complaint")).to_contain_text("Atelier cannot be reached now")
    with page.expect_request("**/extensions/discard") as asked:
        sheet.get_by_role("button", name="Cancel").click()
    assert len(json.loads(asked.value.post_data or "")["plan"]) == 32
    install.click()
    expect(address).to_be_hidden()
    install.click()
    expect(address).to_have_value("https://example.org/frame.git")
    page.wait_for_load_state("networkidle")
    assert [words for words in witness.complaints if "ERR_FAILED" not in words] == []
    witness.complaints.clear()  # the browser's own line for an order that was aborted
