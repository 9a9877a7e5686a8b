"""Extensions in a browser: the tab, the switch with what it shows first, the banner, parameters, slots and scripts."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from backend.app import Options
from backend.extensions.install import Installer
from backend.extensions.package_source import PackageSource
from backend.extensions.pip import Pip
from backend.request import GenerationRequest
from tests.browser.conftest import PATIENCE, Studio, Witness
from tests.browser.test_page import CONTRAST, LOOKS, NAMELESS, page_owner
from tests.hub_server import HubServer, Repository, Server, safetensors_bytes
from tests.packaged import files, write_wheel, write_zip

pytestmark = pytest.mark.browser
REQUEST = GenerationRequest(prompt="a boat", checkpoint="tiny", width=64, height=64, steps=1)
expect.set_options(timeout=PATIENCE)

MANIFEST = """
    id = "frame"
    name = "Picture frame"
    version = "1.2.0"
    api = ">=1.0,<2"
    description = "Puts a frame around each picture."
    author = "A. Painter"
    permissions = ["network"]
    dependencies = ["pillow>=9"]
    js = "frame.js"
"""
CODE = """
    from PIL import Image as Pictures
    from PIL import ImageDraw
    from pydantic import BaseModel

    from backend.extension_api import APIRouter, Card, ExtensionApi, Field, Params, hook

    class Frame(Params):
        enabled: bool = Field(False, title="Frame")
        width: int = Field(8, ge=1, le=64, title="Width of the frame")

    class Own(BaseModel):
        depth: int = Field(3, ge=0, le=9, title="Depth")

    def select(picture, place):
        mask = Pictures.new("L", picture.size)
        x, y = place
        ImageDraw.Draw(mask).rectangle((x - 8, y - 8, x + 8, y + 8), fill=255)
        return mask

    def tab():
        import gradio as gr
        gr.Textbox(label="Frames by the metre", elem_id="metre")

    def of_the_same_title():
        import gradio as gr
        gr.Markdown("Extensions of a ladder.")

    @hook
    def register(api: ExtensionApi) -> None:
        api.params(Frame)
        api.settings(Own)
        api.tab("Frames", tab)
        api.tab("Extensions", of_the_same_title)
        api.gallery_action("Order a frame", lambda path: f"Ordered for {path.suffix}.")
        api.card_action("Say its name", lambda record: f"It is {record.name}.")
        api.canvas_tool("Square", select, hint="Press a place.")
        api.card_page("Frames", lambda: [Card(title="Gilded", insert="in a gilded frame")])
        routes = APIRouter()

        @routes.get("/count")
        def count() -> dict[str, int]:
            return {"count": 3}

        api.routes(routes)
"""
SCRIPT = """
export async function init(host) {
  window.frame = host;
  window.counted = (await (await host.fetch("count")).json()).count;
  window.tabs = [];
  host.onTab((tab) => window.tabs.push(tab));
  host.addStyle("#txt2img_generate { letter-spacing: 1px; }");
  host.addCompleter(({ before }) => {
    const typed = /(fra\\w*)$/.exec(before)?.[1] ?? "";
    const row = { what: "tag", label: "frame of oak", text: "frame of oak", note: "", type: "", fits: true, rank: 0 };
    return { typed, rows: typed ? [row] : [] };
  });
}
"""
PAINTED = """async () => {
  const { canvasOf } = await import(new URL("atelier/static/canvas/canvas.js", document.baseURI));
  return (await canvasOf("inpaint")).state.hasMask;
}"""
ANOTHER = """async () => {
  const { canvasOf } = await import(new URL("atelier/static/canvas/canvas.js", document.baseURI));
  const canvas = await canvasOf("inpaint");
  await canvas.load(new Blob([await canvas.picture.arrayBuffer()], { type: "image/png" }));
}"""
FILLED = """async (prompt) => {
  const { wish } = await import(new URL("atelier/static/wishes.js", document.baseURI));
  wish("restore", { tab: "txt2img", values: { prompt } });
}"""
BROKEN = 'export function init() { throw new Error("no wood"); }\n'


def write(options: Options, id: str, manifest: str, code: str, script: str) -> None:
    folder = options.data_dir / "extensions" / id
    folder.mkdir(parents=True)
    (folder / "extension.toml").write_text(dedent(manifest))
    (folder / "__init__.py").write_text(dedent(code))
    (folder / "frame.js").write_text(script)


@pytest.fixture
def studio(options: Options) -> Iterator[Studio]:
    write(options, "frame", MANIFEST, CODE, SCRIPT)
    plain = "from backend.extension_api import hook\n\n@hook\ndef register() -> None: ...\n"
    other = MANIFEST.replace('"frame"', '"torn"').replace("Picture frame", "Torn canvas")
    write(options, "torn", other, plain, BROKEN)
    studio = Studio(options)
    studio.steps(10_000)
    yield studio
    studio.close()


def go(page: Page, tab: str) -> None:
    page.evaluate("async (tab) => (await import(new URL('atelier/static/tabs.js', document.baseURI))).goTo(tab)", tab)


def card(page: Page, title: str) -> Locator:
    return page.locator(".extensions .extension").filter(has=page.get_by_text(title, exact=True))


def anew(page: Page) -> None:
    page.locator("#extensions_banner .again").click()
    page.wait_for_load_state()
    Witness.ready(page)


def test_an_extension_from_its_switch_to_its_last_button(studio: Studio, witness: Witness) -> None:
    page = witness.open(studio.url)
    page.locator("#txt2img_prompt textarea").fill("a red circle on a blue background")
    other = witness.open(studio.url, context=page.context)
    go(page, "extensions")
    frame = card(page, "Picture frame")
    expect(frame).to_have_attribute("data-state", "off")
    # What it says of itself comes first; nothing is on before that is agreed to.
    frame.get_by_role("switch").click()
    sheet = page.locator("dialog.extension-sheet")
    expect(sheet).to_contain_text("Connects to other machines.")
    expect(sheet).to_contain_text("pillow>=9")
    assert studio.app.extensions.find("frame").state == "off"
    sheet.get_by_role("button", name="Switch it on").click()
    expect(frame).to_have_attribute("data-state", "on")
    expect(page.locator(".models-toast")).to_contain_text("the watch over installed extensions begins with the next")
    # Every window hears of it, and loads anew when its person wants that; what was typed is there again.
    for window in (page, other):
        expect(window.locator("#extensions_banner .renewed")).to_be_visible()
    expect(page.locator("#extensions_banner")).to_contain_text("pictures chosen from the disk")
    anew(page)
    expect(page.locator("#extensions_banner .renewed")).to_be_hidden()
    expect(page.locator("#txt2img_prompt textarea")).to_have_value("a red circle on a blue background")
    page.locator("#txt2img_ext_frame input[type=checkbox]").check()
    page.locator("#txt2img_ext_frame_width input[type=number]").fill("12")
    page.locator("#txt2img_ext_frame_width input[type=number]").blur()
    page.locator("#txt2img_generate").click()
    step = page.locator("#txt2img_results .steps").get_by_role("button", name="Order a frame")
    step.click()
    expect(page.locator(".models-toast")).to_contain_text("Ordered for .png.")
    # The older window goes on with what it has.
    other.locator("#txt2img_prompt textarea").fill("a blue square")
    other.locator("#txt2img_generate").click()
    expect(other.locator("#txt2img_results .history figure")).to_have_count(2)
    # A reload brings its own values back too.
    page.reload()
    Witness.ready(page)
    expect(page.locator("#txt2img_ext_frame input[type=checkbox]").first).to_be_checked()
    expect(page.locator("#txt2img_ext_frame_width input[type=number]")).to_have_value("12")
    # What was set is there again after the extension was off for a while.
    for on in (False, True):
        studio.app.extensions.switch("frame", on)
        anew(page)
        page.locator("#txt2img_prompt textarea").fill(f"a boat {on}")
        page.wait_for_function(f"window.atelierValues.txt2img.prompt === 'a boat {on}'")
        assert page.locator("#txt2img_ext_frame_width").count() == on
    expect(page.locator("#txt2img_ext_frame_width input[type=number]")).to_have_value("12")
    for window in (page, other):
        window.wait_for_load_state("networkidle")


def test_a_zip_is_read_agreed_to_and_installed(studio: Studio, witness: Witness, tmp_path: Path) -> None:
    page = witness.open(studio.url)
    go(page, "extensions")
    page.get_by_role("button", name="Install", exact=True).click()
    chosen = write_zip(tmp_path / "chalk.zip", files("chalk", permissions=["files"]))
    page.locator(".extensions input[type=file]").set_input_files(chosen)
    sheet = page.locator("dialog.extension-sheet")
    expect(sheet).to_contain_text("Chalk 1.0.0")
    expect(sheet).to_contain_text("Reads or writes files outside its own folder.")
    expect(sheet).to_contain_text("No package is fetched.")
    assert "chalk" not in [each.id for each in studio.app.extensions.all()]
    sheet.get_by_role("button", name="Install it").click()
    expect(page.locator(".models-toast")).to_contain_text("Chalk is installed, and off.")
    assert studio.app.extensions.find("chalk").state == "off"
    page.wait_for_load_state("networkidle")


def test_another_version_is_looked_at_taken_and_gone_back_from(
    options: Options, witness: Witness, tmp_path: Path
) -> None:
    for version in ("1.0", "2.0"):
        inside = files("chalk", version=version, permissions=["network"] if version == "2.0" else [])
        inside = {f"chalk_extension/{name}": text for name, text in inside.items()}
        write_wheel(tmp_path / "wheels", "chalk_extension", version, contents=inside)
    pip = Pip({"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path / "wheels"), "PIP_CONFIG_FILE": os.devnull})
    studio = Studio(options)
    try:
        installer = studio.app.installer = Installer(studio.app.extensions, options.data_dir, pip=pip)
        source = PackageSource(name="chalk-extension", version="1.0", pip=pip)
        installer.install(installer.plan(source).id)
        page = witness.open(studio.url)
        go(page, "extensions")
        card(page, "Chalk").locator(".face").click()
        sheet = page.locator("dialog.extension-sheet")
        for version, words in (("2.0", "Update it"), ("1.0", "Go back to it")):
            page.locator(".extensions .drawer").get_by_role("button", name="Choose a version").click()
            now = {"2.0": "1.0", "1.0": "2.0"}[version]
            expect(sheet.locator(".pins li").first).to_contain_text(f"Now{now}")
            if words == "Go back to it":
                sheet.get_by_role("button", name="Take this one").click()
                expect(sheet.get_by_label("Version")).to_have_value("1.0")
            else:
                sheet.get_by_label("Version").fill(version)
            sheet.get_by_label("Version").press("Enter")
            expect(sheet).to_contain_text(f"It takes the place of {now}.")
            if version == "2.0":
                expect(sheet).to_contain_text("New: it asks for")
            assert studio.app.extensions.find("chalk").version == now
            sheet.get_by_role("button", name=words).click()
            expect(page.locator(".models-toast")).to_contain_text(f"Chalk is {version} now.")
        page.wait_for_load_state("networkidle")
    finally:
        studio.close()


def test_a_model_that_is_missing_is_fetched_with_a_press(
    options: Options, witness: Witness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = Repository({"ink.safetensors": safetensors_bytes(200_000)})
    with Server(host="localhost") as storage, HubServer({"artist/style": repository}, storage) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.origin)
        needs = f"""
            [[models]]
            name = "ink.safetensors"
            kind = "lora"
            source = "{hub.origin}/artist/style/resolve/main/ink.safetensors"

            [[models]]
            name = "tiny"
            kind = "checkpoint"

            [[models]]
            name = "strokes.onnx"
            kind = "detector"
            source = "https://example.org/strokes"
        """
        write(options, "frame", dedent(MANIFEST) + dedent(needs), CODE, SCRIPT)
        own = replace(options, installation=tmp_path / "atelier", trusted=frozenset({storage.origin}))
        studio = Studio(own)
        try:
            studio.app.catalog.wait(PATIENCE / 1000)
            page = witness.open(studio.url)
            go(page, "extensions")
            card(page, "Picture frame").locator(".face").click()
            rows = page.locator(".extensions .drawer li.needed")
            expect(rows.nth(0)).to_contain_text("It is not among your models.")
            expect(rows.nth(1)).to_contain_text("It is there.")
            expect(rows.nth(2).get_by_role("link")).to_have_attribute("href", "https://example.org/strokes")
            expect(page.get_by_role("button", name="Get it: ")).to_have_count(1)
            assert hub.asked == []
            storage.faults.pause = 0.3
            rows.nth(0).get_by_role("button", name="Get it: ink.safetensors").click()
            expect(rows.nth(0)).to_contain_text("It is being fetched")
            expect(rows.nth(0).get_by_role("button")).to_be_hidden()
            storage.faults.pause = 0
            expect(rows.nth(0)).to_contain_text("It is there.")
            page.close()  # one that is open would miss the studio
        finally:
            studio.close()


@pytest.fixture
def framed(studio: Studio) -> Studio:
    studio.app.extensions.switch("frame", True)
    return studio


def test_slots_on_the_page(framed: Studio, witness: Witness) -> None:
    context = witness.context()
    asked: list[Route] = []
    context.route("**/atelier/extensions/slots", lambda route: (asked.append(route), route.abort()))
    page = witness.open(framed.url, context)
    expect(page.locator(".models-toast")).to_contain_text("is not here yet; it is asked for again")
    context.unroute("**/atelier/extensions/slots")
    go(page, "models")
    page.locator(".models .pages .entry").click()
    gilded = page.locator(".own-cards button")
    gilded.click()
    expect(gilded).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#txt2img_prompt textarea")).to_have_value("in a gilded frame")
    gilded.click()
    expect(page.locator("#txt2img_prompt textarea")).to_have_value("")
    page.locator('.models [data-shelf="checkpoints"]').first.click()
    page.locator(".models .card .face").first.hover()
    page.locator(".models .card .open").first.click()
    page.locator(".models .drawer").get_by_role("button", name="Say its name").click()
    expect(page.locator(".models-toast")).to_contain_text("It is ")
    page.locator("#tabs").get_by_role("tab", name="Frames").click()
    expect(page.locator("#metre textarea")).to_be_visible()
    assert len(witness.complaints) == len(asked)
    witness.complaints.clear()  # the browser's own lines for these


def test_a_button_acts_once_at_a_time_and_only_as_it_is_called(framed: Studio, witness: Witness) -> None:
    page = witness.open(framed.url)
    framed.app.queue.submit(REQUEST, page_owner(page))
    button = page.locator("#txt2img_results .steps").get_by_role("button", name="Order a frame")
    held: list[Route] = []
    page.route("**/frame/gallery", lambda route: held.append(route))
    button.dblclick()
    expect(button).to_have_attribute("aria-busy", "true")
    page.wait_for_timeout(100)
    (route,) = held
    route.continue_()
    expect(page.locator(".models-toast")).to_contain_text("Ordered for .png.")
    expect(button).to_have_attribute("aria-busy", "false")
    page.unroute("**/frame/gallery")
    code = framed.app.extensions.find("frame").folder / "__init__.py"
    code.write_text(code.read_text().replace('"Order a frame"', '"Burn the picture"'))
    framed.app.extensions.reload("frame")
    button.click()
    expect(page.locator(".models-toast")).to_contain_text("Picture frame has no 'Order a frame' at this place now")
    assert ["400" in words for words in witness.complaints] == [True]
    witness.complaints.clear()


def test_a_canvas_tool_paints_a_step_that_can_be_undone(framed: Studio, witness: Witness) -> None:
    page = witness.open(framed.url)
    go(page, "inpaint")
    easel = page.locator("#inpaint_canvas .easel")
    easel.locator(".blank").click()
    expect(easel).to_have_attribute("data-state", "ready")
    tool = easel.get_by_role("button", name="Square: Press a place.")
    tool.click()
    expect(tool).to_have_attribute("aria-pressed", "true")
    easel.locator(".easel-view").click()
    undo = easel.locator(".easel-rail .undo")
    expect(undo).to_be_enabled()
    assert page.evaluate(PAINTED) is True
    undo.click()
    expect(undo).to_be_disabled()
    assert page.evaluate(PAINTED) is False

    def answered_late(route: Route) -> None:
        answer = route.fetch()
        page.evaluate(ANOTHER)
        route.fulfill(response=answer)

    page.route("**/frame/canvas*", answered_late)
    easel.locator(".easel-view").click()
    expect(easel.locator(".easel-problem")).to_contain_text("Square was for the one before")
    assert page.evaluate(PAINTED) is False


def test_a_script_has_its_host_and_one_that_fails_stops_nobody(framed: Studio, witness: Witness) -> None:
    framed.app.extensions.switch("torn", True)
    page = witness.open(framed.url)
    expect(page.locator(".models-toast")).to_contain_text("The script of Torn canvas failed: no wood.")
    page.wait_for_function("window.counted === 3")
    area = page.locator("#txt2img_prompt textarea")
    page.evaluate("frame.prompt('txt2img').set('a boat')")
    expect(area).to_have_value("a boat")
    page.evaluate("frame.prompt('txt2img').insert('at dusk')")
    expect(area).to_have_value("a boat, at dusk")
    seed = page.locator("#txt2img_seed textarea, #txt2img_seed input").first
    seed.focus()
    page.evaluate("frame.prompt('txt2img').negative.set('fog')")
    expect(page.locator("#txt2img_neg_prompt textarea")).to_have_value("fog")
    expect(seed).to_be_focused()
    assert "img2img was not opened yet" in page.evaluate(
        "(() => { try { frame.prompt('img2img').set('x') } catch (error) { return error.message } })()"
    )
    assert page.evaluate("[frame.id, frame.tab, frame.gallery.pictures.length]") == ["frame", "txt2img", 0]
    go(page, "img2img")
    page.wait_for_function("window.tabs.at(-1) === 'img2img'")
    expect(page.locator("#img2img_prompt textarea")).to_be_visible()
    go(page, "txt2img")
    expect(area).to_be_visible()
    page.evaluate("frame.prompt('img2img').set('a hidden boat')")
    expect(page.locator("#img2img_prompt textarea")).to_have_value("a hidden boat")
    expect(area).to_have_value("a boat, at dusk")
    page.evaluate("window.heard = []; frame.prompt('txt2img').onInput((text) => heard.push(text)); null")
    page.evaluate(FILLED, "filled in")
    page.wait_for_function("window.heard.join() === 'filled in'")
    page.evaluate("window.seen = []; frame.gallery.onChange(() => seen.push(frame.gallery.current.index)); null")
    framed.app.queue.submit(replace(REQUEST, batch_count=3), page_owner(page))
    page.wait_for_function("window.seen.at(-1) === 2")
    assert page.evaluate("frame.gallery.pictures.map(({ index }) => index)") == [2, 1, 0]
    area.fill("")
    area.press_sequentially("a fra")
    row = page.locator("#prompt_completions [role=option]", has_text="frame of oak")
    row.click()
    expect(area).to_have_value("a frame of oak, ")


def test_details_settings_and_log(framed: Studio, witness: Witness) -> None:
    page = witness.open(framed.url)
    go(page, "extensions")
    card(page, "Picture frame").locator(".face").click()
    drawer = page.locator(".extensions .drawer")
    expect(drawer).to_contain_text("Version 1.2.0")
    drawer.get_by_label("Depth").fill("5")
    drawer.get_by_role("button", name="Save").click()
    expect(drawer.locator(".settings-of")).to_contain_text("Saved.")
    settings = framed.app.extensions.find("frame").settings
    assert settings is not None
    assert settings.value.depth == 5
    drawer.get_by_label("Depth").fill("50")
    drawer.get_by_role("button", name="Save").click()
    expect(drawer.locator(".settings-of .complaint")).to_contain_text("Depth")
    assert [words for words in witness.complaints if "400" not in words] == []
    witness.complaints.clear()  # the browser's own line for a refused order
    drawer.get_by_text("Log", exact=True).click()
    expect(drawer.locator("pre.log")).not_to_be_empty()
    page.keyboard.press("Escape")
    expect(drawer).to_be_hidden()
    page.locator("#extensions_search").fill("no such thing at all")
    expect(page.locator(".extensions .empty")).to_contain_text("Nothing fits")


@pytest.mark.parametrize("look", LOOKS)
def test_it_can_be_read_and_named(framed: Studio, witness: Witness, look: dict[str, Any]) -> None:
    page = witness.open(framed.url, **look)
    go(page, "extensions")
    card(page, "Picture frame").locator(".face").click()
    page.locator(".extensions .drawer h2").wait_for()
    page.evaluate("document.querySelectorAll('.drawer details').forEach((each) => (each.open = true))")
    expect(page.locator(".extensions .drawer pre.log")).not_to_be_empty()
    assert page.evaluate(CONTRAST) == []
    assert page.evaluate(NAMELESS) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
