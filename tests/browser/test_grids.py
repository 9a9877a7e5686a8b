"""Plots, lists of prompts and wildcards, as a person at the page uses them."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, Request, Route, expect

from backend.app import Options
from backend.grids.request import GridRequest
from backend.infotext.recipe import read_recipe
from backend.request import GenerationRequest
from extensions.wildcards import FOLDER
from tests.browser.conftest import PATIENCE, Studio, Witness
from tests.browser.test_page import CONTRAST, NAMELESS, field, generate, page_owner, said, small, text_field
from tests.browser.test_recipes import row, sheet

pytestmark = pytest.mark.browser
expect.set_options(timeout=PATIENCE)


def choose(page: Page, name: str, value: str, tab: str = "txt2img") -> None:
    place = page.locator(f"#{tab}_{name}")
    place.locator("input").click()
    place.locator("input").fill(value)
    place.get_by_role("option", name=value, exact=True).click()


def cost(page: Page, tab: str = "txt2img") -> Locator:
    return page.locator(f"#{tab}_script_cost .sentence")


def plot(page: Page) -> None:
    """Steps by seeds: six cells."""
    small(page)
    text_field(page, "prompt").fill("a yellow star on a purple background")
    text_field(page, "seed").fill("70")
    choose(page, "script_list", "X/Y/Z plot")
    choose(page, "xyz_plot_x_type", "Steps")
    text_field(page, "xyz_plot_x_values").fill("1-3")
    choose(page, "xyz_plot_y_type", "Seed")
    text_field(page, "xyz_plot_y_values").fill("5, 6")


def cells(page: Page) -> Locator:
    return sheet(page, "grid").locator("td button")


def requests(studio: Studio, page: Page) -> list[GenerationRequest]:
    jobs = studio.app.queue.jobs(page_owner(page))
    return [job.request for job in jobs if isinstance(job.request, GenerationRequest)]


def test_a_plot_says_its_cost_is_made_and_its_cells_open_their_own_parameters(studio: Studio, witness: Witness) -> None:
    page = witness.open(studio.url)
    expect(page.locator("#txt2img_script .axis").first).to_be_hidden()
    plot(page)
    expect(cost(page)).to_have_text(re.compile(r"^6 pictures, 12 steps, 0\.0 megapixel steps; a grid of 0\.0 mega"))
    text_field(page, "xyz_plot_x_values").fill("1-3, many")
    expect(cost(page)).to_contain_text("Steps has the value 'many'")
    text_field(page, "xyz_plot_x_values").fill("1-3")
    expect(cost(page)).to_contain_text("6 pictures")
    assert requests(studio, page) == []  # nothing was started by that
    page.locator("#txt2img_generate").click()
    expect(page.locator(".queue li")).to_have_count(7)
    studio.steps(12)
    expect(page.locator(".caption .of-grid:visible")).to_have_count(1)
    assert [(each.steps, each.seed) for each in requests(studio, page)] == [
        (steps, seed) for seed in (5, 6) for steps in (1, 2, 3)
    ]
    page.locator(".caption .of-grid:visible").click()
    grid = sheet(page, "grid")
    expect(grid.locator("h2")).to_have_text("X/Y/Z plot: Steps × Seed")
    expect(grid.get_by_text("All 6 cells are made")).to_be_visible()
    expect(grid.locator("thead th")).to_have_text(["Steps: 1", "Steps: 2", "Steps: 3"])
    expect(grid.locator("tbody th")).to_have_text(["Seed: 5", "Seed: 6"])
    expect(cells(page)).to_have_count(6)
    assert page.evaluate(CONTRAST) == []
    assert page.evaluate(NAMELESS) == []
    cells(page).nth(5).click()
    expect(grid.locator(".named")).to_have_text("Steps: 3, Seed: 6")
    pairs = grid.locator(".recipe-pairs tr")
    expect(pairs.filter(has_text="Steps").locator("td")).to_have_text("3")
    expect(pairs.filter(has_text="Seed").locator("td")).to_have_text("6")
    grid.get_by_role("button", name="Back to the grid").click()
    expect(cells(page).first).to_be_visible()
    cells(page).nth(5).click()
    grid.get_by_role("button", name="Use these parameters").click()
    expect(row(page, "Seed")).to_have_text(["70", "6"])
    sheet(page).get_by_role("button", name="Apply all").click()
    expect(field(page, "steps")).to_have_value("3")
    expect(text_field(page, "seed")).to_have_value("6")


def test_every_choice_is_filled_in_and_the_fields_are_there_after_a_reload(studio: Studio, witness: Witness) -> None:
    page = witness.open(studio.url)
    choose(page, "script_list", "X/Y/Z plot")
    expect(page.locator("#txt2img_xyz_plot_fill_x")).to_be_hidden()
    expect(page.locator("#txt2img_xyz_plot_y_values")).to_be_hidden()
    choose(page, "xyz_plot_x_type", "RNG source")
    page.locator("#txt2img_xyz_plot_fill_x").click()
    expect(text_field(page, "xyz_plot_x_values")).to_have_value("NV, CPU, GPU")
    expect(cost(page)).to_contain_text("3 pictures")
    # The answer to what was asked last stays, also where one to what was asked before comes after it.
    held = Held(page)
    held.hold("**/run/predict", lambda request: '"number":' in (request.post_data or ""))
    text_field(page, "xyz_plot_x_values").fill("NV")
    held.wait()
    text_field(page, "xyz_plot_x_values").fill("NV, CPU")
    expect(cost(page)).to_contain_text("2 pictures")
    held.let_go()
    expect(cost(page)).to_contain_text("2 pictures")
    text_field(page, "xyz_plot_x_values").fill("NV, CPU, GPU")
    expect(cost(page)).to_contain_text("3 pictures")
    page.reload()
    witness.ready(page)
    expect(text_field(page, "xyz_plot_x_values")).to_have_value("NV, CPU, GPU")
    expect(cost(page)).to_contain_text("3 pictures")
    choose(page, "script_list", "None")
    expect(text_field(page, "xyz_plot_x_values")).to_be_hidden()
    expect(page.locator("#txt2img_script_cost .script-cost")).to_be_hidden()


def test_a_grid_is_cancelled_and_what_is_missing_is_made(studio: Studio, witness: Witness) -> None:
    page = witness.open(studio.url)
    plot(page)
    page.locator("#txt2img_generate").click()
    expect(page.locator(".queue li")).to_have_count(7)
    studio.steps(1)  # the first cell has one step
    expect(page.locator(".queue li")).to_have_count(6)
    page.locator("#txt2img_script_cost").get_by_role("button", name="Cancel the grid").click()
    expect(page.locator(".caption .of-grid:visible")).to_have_count(1)  # drawn of what there is
    page.locator("#txt2img_script_cost").get_by_role("button", name="Grids").click()
    expect(cells(page)).to_have_count(1)
    expect(sheet(page, "grid").get_by_text("1 of 6 cells are made, 5 missing")).to_be_visible()
    sheet(page, "grid").get_by_role("button", name="Make what is missing").click()
    studio.steps(11)
    expect(cells(page)).to_have_count(6)
    expect(sheet(page, "grid").get_by_text("All 6 cells are made")).to_be_visible()


def test_cells_that_are_made_before_the_order_is_answered_are_shown(studio: Studio, witness: Witness) -> None:
    page = witness.open(studio.url)
    plot(page)
    page.locator("#txt2img_generate").click()
    expect(page.locator(".queue li")).to_have_count(7)
    studio.steps(1)
    expect(page.locator(".queue li")).to_have_count(6)
    page.locator("#txt2img_script_cost").get_by_role("button", name="Cancel the grid").click()
    expect(page.locator(".caption .of-grid:visible")).to_have_count(1)
    page.locator("#txt2img_script_cost").get_by_role("button", name="Grids").click()
    expect(cells(page)).to_have_count(1)

    def answered_late(route: Route) -> None:
        answer = route.fetch()
        studio.steps(11)
        expect(page.locator(".queue li")).to_have_count(5)  # the cancelled ones; all others are over
        route.fulfill(response=answer)

    page.route("**/atelier/grids/resume", answered_late)
    sheet(page, "grid").get_by_role("button", name="Make what is missing").click()
    expect(cells(page)).to_have_count(6)


def test_a_grid_goes_on_after_a_restart(options: Options, witness: Witness) -> None:
    studio = Studio(options)
    context = witness.context()
    try:
        page = witness.open(studio.url, context)
        owner = page_owner(page)
        plot(page)
        page.locator("#txt2img_generate").click()
        expect(page.locator(".queue li")).to_have_count(7)
        studio.steps(3)  # two cells
        expect(page.locator(".queue li")).to_have_count(5)
        page.close()
    finally:
        studio._server.should_exit = True  # no step more: the third cell is lost with the process
        studio._thread.join(10)
        studio.app.close()
    again = Studio(options)
    try:
        page = witness.open(again.url, context)
        page.locator(".queue").get_by_role("button", name="Cells of this grid").click()
        expect(cells(page)).to_have_count(2)
        again.steps(12)
        expect(cells(page)).to_have_count(6)
        expect(sheet(page, "grid").get_by_text("All 6 cells are made")).to_be_visible()
        (drawing,) = {job.request.place for job in again.app.queue.jobs(owner) if isinstance(job.request, GridRequest)}
        assert all(each.picture is not None for each in again.app.grids.cells(drawing, owner))
    finally:
        again.close()


def test_a_list_of_prompts_comes_from_a_file(studio: Studio, witness: Witness, tmp_path: Path) -> None:
    page = witness.open(studio.url)
    small(page)
    choose(page, "script_list", "Prompts from file or textbox")
    expect(cost(page)).to_contain_text("This list has no prompts")
    (tmp_path / "prompts.txt").write_text("a red boat\n\n--prompt a green tree --steps 2\n")
    with page.expect_file_chooser() as chooser:
        page.locator("#txt2img_script").get_by_role("button", name="Choose a text file").click()
    chooser.value.set_files(tmp_path / "prompts.txt")
    expect(cost(page)).to_contain_text("2 pictures, 6 steps")
    page.locator("#txt2img_generate").click()
    expect(page.locator(".queue li")).to_have_count(2)
    assert [(each.prompt, each.steps) for each in requests(studio, page)] == [("a red boat", 4), ("a green tree", 2)]


def test_a_prompt_matrix_is_drawn(studio: Studio, witness: Witness) -> None:
    page = witness.open(studio.url)
    small(page)
    choose(page, "script_list", "Prompt matrix")
    text_field(page, "prompt").fill("a boat|red")
    expect(cost(page)).to_contain_text("2 pictures, 8 steps")
    page.locator("#txt2img_generate").click()
    studio.steps(8)
    page.locator(".caption .of-grid:visible").click()
    expect(sheet(page, "grid").locator("thead th")).to_have_text(["red", "red"])
    expect(sheet(page, "grid").locator("thead th s")).to_have_count(1)
    expect(cells(page)).to_have_count(2)
    page.keyboard.press("Escape")
    text_field(page, "prompt").fill("a boat|red|old")
    expect(cost(page)).to_contain_text("4 pictures")
    page.locator("#txt2img_generate").click()
    studio.steps(16)
    page.locator("#txt2img_script_cost").get_by_role("button", name="Grids").click()
    expect(cells(page)).to_have_count(4)
    an_older_answer_changes_nothing(page)


def an_older_answer_changes_nothing(page: Page) -> None:
    """Of two grids, and of two cells, the one that was chosen last is shown, whatever is answered last."""
    grid, held = sheet(page, "grid"), Held(page)
    held.hold("**/atelier/grids/*/*")
    choice = grid.get_by_label("Grid", exact=True)
    choice.select_option(index=1)
    held.wait()
    choice.select_option(index=0)
    expect(cells(page)).to_have_count(4)
    held.let_go()
    expect(cells(page)).to_have_count(4)
    expect(grid.get_by_text("All 4 cells are made")).to_be_visible()
    held.hold("**/atelier/recipe")
    cells(page).nth(0).click()
    held.wait()
    grid.get_by_role("button", name="Back to the grid").click()
    cells(page).nth(3).click()
    expect(grid.locator(".recipe-words .named")).to_have_text("red, old")
    held.let_go()
    expect(grid.locator(".recipe-words .named")).to_have_text(["red, old"])


class Held:
    """Holds the next answer from an address back while those after it go through."""

    def __init__(self, page: Page):
        self._page = page
        self._routes: list[Route] = []

    def hold(self, address: str, named: Callable[[Request], bool] = lambda _: True) -> None:
        """From now on; of those that `named` is true of."""

        def handle(route: Route) -> None:
            if self._routes or not named(route.request):
                route.continue_()
            else:
                self._routes.append(route)

        self._page.route(address, handle)

    def wait(self) -> None:
        """Until there is one."""
        for _ in range(PATIENCE // 20):
            if self._routes:
                return
            self._page.wait_for_timeout(20)
        raise AssertionError("nothing was asked for that could be held back")

    def let_go(self) -> None:
        """And wait until the page has it."""
        route = self._routes.pop()
        with self._page.expect_response(lambda answer: answer.request == route.request):
            route.continue_()
        self._page.unroute_all()
        self._page.wait_for_timeout(200)


def test_a_prompt_with_choices_shows_what_it_may_become(studio: Studio, witness: Witness, options: Options) -> None:
    (options.data_dir / FOLDER).mkdir()
    (options.data_dir / FOLDER / "colour.txt").write_text("red\nyellow\npurple\n")
    page = witness.open(studio.url)
    choices = page.locator("#txt2img_choices")
    expect(choices.get_by_role("button", name="Preview")).to_be_hidden()
    text_field(page, "prompt").fill("a __colour__ {star|tree} on a white background")
    choices.get_by_role("button", name="Preview").click()
    expect(choices.locator("li")).to_have_count(5)
    for words in choices.locator("li").all_text_contents():
        assert re.fullmatch("a (red|yellow|purple) (star|tree) on a white background", words)
    text_field(page, "seed").fill("9")
    choices.get_by_role("button", name="Preview others").click()
    expect(choices.locator("li").first).to_have_attribute("title", "Seed 9")
    first = choices.locator("li").first.text_content()
    small(page)
    page.locator("#txt2img_generate").click()
    studio.steps(4)
    expect(said(page)).to_have_text("64 × 64 · seed 9")
    (request,) = requests(studio, page)
    assert request.prompt == first
    (image,) = studio.app.queue.jobs(page_owner(page))[0].images
    recipe = read_recipe(image.path)
    assert recipe is not None
    assert recipe.infotext.get("Template") == "a __colour__ {star|tree} on a white background"
    text_field(page, "prompt").fill("")
    page.locator("#txt2img_paste").click()
    expect(sheet(page)).to_contain_text("drawn by the seed from: a __colour__ {star|tree} on a white background")
    page.keyboard.press("Escape")
    text_field(page, "prompt").fill("a __nowhere__ boat")
    expect(choices.locator("li").first).to_be_hidden()
    generate(page, "a [red|blue] boat")
    expect(choices.get_by_role("button")).to_be_hidden()
