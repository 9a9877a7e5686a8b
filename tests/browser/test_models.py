"""The Models tab in a browser, on the real program with the starter and a library of files in their real layouts."""

import json
import re
import shutil
import struct
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
import torch
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from bench.catalog import SD1_BLOCKS, Shapes, lora, table
from tests.browser.conftest import PATIENCE, Witness, program
from tests.browser.test_page import CONTRAST, LOOKS, NAMELESS, go_to

pytestmark = pytest.mark.browser
expect.set_options(timeout=PATIENCE)

ROOT = Path(__file__).parent.parent.parent
STARTER = ROOT / "models" / "checkpoints" / "starter.safetensors"
MANY = 5000
LOADED = 180.0  # seconds until the starter is in memory
MOST_CARDS = 200  # in the document at once
WEIGHTS = {"unet.weight": (2, 2)}
HOSTILE = '<img src=x onerror="window.hit = 1">${window.hit = 1}'
# Texts with the caret as |, and what a LoRA makes of them.
PLACED = {
    "|": "<L>|",
    "a house|": "a house <L>|",
    "a |house": "a <L>| house",
    "a ho|use": "a house <L>|",
    "a house|, morning": "a house <L>|, morning",
    "|a house": "<L>| a house",
    "one\n|two": "one\n<L>| two",
    "a <other:1|:2> b": "a <other:1:2> <L>| b",
}
# The same with trigger words, which are a part of speech of their own.
PLACED_WITH_WORDS = {
    "|": "<L> ink|",
    "a house|": "a house, <L> ink|",
    "a house, |": "a house, <L> ink|",
    "a house|, morning": "a house, <L> ink|, morning",
    "|a house": "<L> ink|, a house",
    "one,\n|two": "one,\n<L> ink|, two",
}


def write_model(path: Path, shapes: Shapes, metadata: Mapping[str, str] | None = None) -> Path:
    """A safetensors file of zeros."""
    path.parent.mkdir(parents=True, exist_ok=True)
    entries, size = table(shapes, "F16")
    text = b'{"__metadata__":' + json.dumps(metadata or {}).encode() + b"," + entries
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + size)
    return path


def sd1_lora(context: int) -> dict[str, tuple[int, ...]]:
    return lora(SD1_BLOCKS, context=context, rank=1, text_layers=())


@dataclass(frozen=True, kw_only=True)
class Library:
    """The folders of a run, and where its page is."""

    folder: Path
    address: str = ""

    @property
    def loras(self) -> Path:
        return self.folder / "loras"

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"


def write_library(library: Library) -> None:
    """Two checkpoints besides the starter, a few LoRAs of each kind, and five thousand more in a folder."""
    library.checkpoints.mkdir(parents=True)
    shutil.copy(STARTER, library.checkpoints / "meadow.safetensors")
    (library.checkpoints / "hollow.safetensors").write_bytes(b"")
    torch.save({"state_dict": {"a": torch.zeros(3)}, "epoch": 1}, library.checkpoints / "old.ckpt")
    fitting, large = sd1_lora(64), sd1_lora(768)
    tags = json.dumps({"10_x": {"brush strokes": 40, "river": 7}})
    told = {"ss_tag_frequency": tags, "ss_output_name": "ink", "hostile": HOSTILE}
    write_model(library.loras / "mine" / "ink wash.safetensors", fitting, told)
    write_model(library.loras / "mine" / "graphite.safetensors", fitting)
    write_model(library.loras / "mine" / "wide.safetensors", large)
    write_model(library.loras / "mine" / "spare.safetensors", fitting)
    write_model(library.loras / "mine" / "riddle.safetensors", WEIGHTS)
    (library.loras / "mine" / "graphite.json").write_text(
        json.dumps({"activation text": "graphite drawing", "preferred weight": 0.8, "kept": 1})
    )
    Image.new("RGB", (64, 80), "teal").save(library.loras / "mine" / "ink wash.preview.png")
    write_model(library.folder / "embeddings" / "soft-light.safetensors", {"emb_params": (2, 64)})
    entries = table(fitting, "F16")
    for k in range(MANY):
        folder = library.loras / "many" / f"set-{k // 500}"
        folder.mkdir(parents=True, exist_ok=True)
        text = entries[0]
        text = b'{"__metadata__":{"ss_output_name":"style %d"},' % k + text + b" " * 8
        text = text[: len(text) - len(text) % 8]
        with (folder / f"style {k:04}.safetensors").open("wb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            file.truncate(8 + len(text) + entries[1])


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    """`webui.py` on a library of its own."""
    library = Library(folder=tmp_path_factory.mktemp("library"))
    write_library(library)
    flags = ["--data-dir", str(library.folder / "data"), "--ckpt-dir", str(library.checkpoints)]
    flags += ["--lora-dir", str(library.loras), "--embeddings-dir", str(library.folder / "embeddings")]
    with program(*flags) as address:
        await_starter(address)
        yield Library(folder=library.folder, address=address)


def await_starter(address: str) -> None:
    """Wait until PyTorch and the starter are loaded: on a busy machine no page opens in time beside that."""
    deadline = time.monotonic() + LOADED
    while True:
        with urlopen(f"{address}atelier/models/state", timeout=LOADED) as answer:
            status = json.load(answer)["status"]
        assert not status["problem"]
        if status["checkpoint"]:
            return
        assert time.monotonic() < deadline, "the starter was not loaded"
        time.sleep(0.5)


def open_tab(witness: Witness, library: Library, shelf: str = "LoRAs", **look: Any) -> Page:
    page = witness.open(library.address, **look)
    go_to(page, "models")
    expect(page.locator(".models .shelves .count").first).not_to_be_empty(timeout=4 * PATIENCE)
    open_shelf(page, shelf)
    return page


def open_shelf(page: Page, name: str) -> None:
    page.locator(".models .entry", has_text=name).first.click()


def search(page: Page, words: str) -> None:
    page.locator("#models_search").fill(words)


def card(page: Page, name: str) -> Locator:
    return page.locator(".models .card").filter(has=page.locator(".name", has_text=re.compile(f"^{re.escape(name)}$")))


def face(page: Page, name: str) -> Locator:
    return card(page, name).locator(".face")


def prompt(page: Page, which: str = "prompt") -> Locator:
    return page.locator(f"#txt2img_{which} textarea")


def type_prompt(page: Page, text: str, caret: int) -> None:
    page.get_by_role("tab", name="txt2img").click()
    prompt(page).fill(text)
    prompt(page).evaluate("(area, place) => area.setSelectionRange(place, place)", caret)
    page.get_by_role("tab", name="Models").click()


def open_details(page: Page, name: str) -> Locator:
    face(page, name).press("i")
    drawer = page.locator(".models .drawer")
    expect(drawer.locator("h2")).to_have_text(name)
    expect(drawer.locator(".notes")).to_be_visible()
    return drawer


def test_words_are_put_in_and_taken_out_without_a_trace(library: Library, witness: Witness) -> None:
    page = witness.open(library.address)
    put = """async ([text, word, commas]) => {
      const { putIn, cutOut } = await import("./atelier/static/prompt_tokens.js");
      const place = text.indexOf("|");
      const made = putIn(text.replace("|", ""), place, word, { commas });
      const start = made.caret - word.length;
      return [made.text.slice(0, made.caret) + "|" + made.text.slice(made.caret),
              cutOut(made.text, start, made.caret, { commas })];
    }"""
    for cases, word, commas in ((PLACED, "<L>", False), (PLACED_WITH_WORDS, "<L> ink", True)):
        for text, wanted in cases.items():
            made, back = page.evaluate(put, [text, word, commas])
            assert made == wanted
            assert back.rstrip(" ,") == text.replace("|", "").rstrip(" ,")


def test_a_lora_goes_into_the_prompt_where_the_caret_was_and_out_again(library: Library, witness: Witness) -> None:
    page = open_tab(witness, library)
    type_prompt(page, "a house, morning", len("a house"))
    search(page, "mine ink")
    face(page, "ink wash").click()
    expect(prompt(page)).to_have_value("a house <lora:ink wash:1>, morning")
    expect(card(page, "ink wash")).to_have_attribute("aria-selected", "true")
    expect(page.locator(".in-prompt .chip")).to_have_count(1)

    card(page, "ink wash").get_by_role("button", name="Less").click()
    expect(prompt(page)).to_have_value("a house <lora:ink wash:0.95>, morning")
    page.locator(".in-prompt .chip input").fill("-5")
    page.locator(".in-prompt .chip input").blur()
    expect(prompt(page)).to_have_value("a house <lora:ink wash:-2>, morning")
    expect(card(page, "ink wash").locator(".weight input")).to_have_value("-2")

    face(page, "ink wash").click()
    expect(prompt(page)).to_have_value("a house, morning")
    expect(card(page, "ink wash")).to_have_attribute("aria-selected", "false")
    expect(page.locator(".in-prompt")).to_be_hidden()

    # Its own words and weight come and go with it, and what is typed by hand is seen.
    search(page, "graphite")
    face(page, "graphite").click()
    expect(prompt(page)).to_have_value("a house, <lora:graphite:0.8> graphite drawing, morning")
    page.get_by_role("tab", name="txt2img").click()
    expect(page.locator("#txt2img_loras .chip")).to_have_count(1)
    page.locator("#txt2img_loras .chip").get_by_role("button", name=re.compile("^Take")).click()
    expect(prompt(page)).to_have_value("a house, morning")
    prompt(page).fill("<lora:graphite:0.3> and <lora:nowhere:1>")
    expect(page.locator("#txt2img_loras .chip[data-problem]")).to_have_count(1)
    page.locator("#txt2img_loras .add").click()
    search(page, "graphite")
    expect(card(page, "graphite").locator(".weight input")).to_have_value("0.3")


def test_an_embedding_goes_into_either_prompt(library: Library, witness: Witness) -> None:
    page = open_tab(witness, library, "Embeddings")
    face(page, "soft-light").click(modifiers=["ControlOrMeta"])
    expect(prompt(page, "neg_prompt")).to_have_value("soft-light")
    expect(prompt(page)).to_have_value("")
    face(page, "soft-light").click()
    expect(prompt(page)).to_have_value("soft-light")
    card(page, "soft-light").get_by_role("button", name="Negative").click()
    expect(prompt(page, "neg_prompt")).to_have_value("")


def test_what_does_not_fit_says_why_and_is_opened(library: Library, witness: Witness) -> None:
    page = open_tab(witness, library)
    search(page, "mine wide")
    expect(card(page, "wide")).to_have_attribute("data-misfit", "")
    face(page, "wide").click()
    expect(page.locator(".models .drawer .sentences")).to_contain_text("does not fit starter, which is SD 1.x")
    expect(prompt(page)).to_have_value("")


def test_details_and_notes(library: Library, witness: Witness) -> None:
    page = open_tab(witness, library)
    search(page, "mine ink")
    expect(card(page, "ink wash").locator(".art img")).to_be_visible()
    face(page, "ink wash").dblclick()
    drawer = page.locator(".models .drawer")
    expect(drawer.locator(".notes")).to_be_visible()
    expect(prompt(page)).to_have_value("")  # two clicks: in, and out again
    drawer.locator(".word", has_text="brush strokes").click()
    expect(prompt(page)).to_have_value("brush strokes")
    drawer.locator("summary", has_text="Metadata").click()
    drawer.get_by_label("Search the metadata").fill("hostile")
    expect(drawer.locator(".metadata dd")).to_have_text(HOSTILE)
    assert page.evaluate("window.hit === undefined")
    drawer.get_by_role("button", name="Take it").click()
    expect(drawer.locator(".facts-of code").last).to_have_text(re.compile("^[0-9a-f]{64}$"))

    drawer.get_by_label("Description").fill("Ink on wet paper")
    drawer.get_by_label("Activation text").fill("ink wash painting")
    drawer.get_by_role("button", name="Save").click()
    expect(page.locator(".models-toast")).to_contain_text("Saved")
    written = json.loads((library.loras / "mine" / "ink wash.json").read_text(encoding="utf-8"))
    assert written["description"] == "Ink on wet paper"
    assert written["activation text"] == "ink wash painting"
    search(page, "wet painting")
    expect(page.locator(".models .empty")).to_contain_text("Nothing fits")
    search(page, "wash painting")
    expect(card(page, "ink wash")).to_have_count(1)
    page.locator("#models_search").press("Tab")
    page.keyboard.press("Escape")
    expect(drawer).to_be_hidden()
    (library.loras / "mine" / "ink wash.json").unlink()


def test_trash_is_undone(library: Library, witness: Witness) -> None:
    page = open_tab(witness, library)
    path = library.loras / "mine" / "spare.safetensors"
    before = path.read_bytes()
    search(page, "mine spare")
    open_details(page, "spare").get_by_role("button", name="Move to trash").click()
    expect(card(page, "spare")).to_have_count(0)
    assert not path.exists()
    page.locator(".models-toast").get_by_role("button", name="Undo").click()
    expect(card(page, "spare")).to_have_count(1)
    assert path.read_bytes() == before


def test_a_person_says_what_a_file_is(library: Library, witness: Witness) -> None:
    page = open_tab(witness, library)
    search(page, "riddle")
    expect(card(page, "riddle").locator(".why")).to_contain_text("riddle.safetensors")
    drawer = open_details(page, "riddle")
    drawer.locator("summary", has_text="say otherwise").click()
    kind = drawer.locator(".field").filter(has=page.locator(".label", has_text=re.compile("^Kind$")))
    kind.locator("select").select_option("upscaler")
    drawer.get_by_role("button", name="Take it for this").click()
    expect(card(page, "riddle")).to_have_count(0)
    drawer.locator(".close").click()
    open_shelf(page, "Upscalers")
    drawer = open_details(page, "riddle")
    drawer.locator("summary", has_text="say otherwise").click()
    drawer.get_by_role("button", name="Let the file speak").click()
    expect(card(page, "riddle")).to_have_count(0)


def test_a_pickle_is_converted(library: Library, witness: Witness) -> None:
    page = open_tab(witness, library, "Checkpoints")
    expect(card(page, "old").locator(".why")).to_have_text("A pickle")
    drawer = open_details(page, "old")
    expect(drawer).to_contain_text("Atelier never opens it")
    drawer.get_by_role("button", name="Convert to safetensors").click()
    work = page.locator(".main > .works .work")
    expect(work).to_have_attribute("data-state", "finished", timeout=8 * PATIENCE)
    assert (library.checkpoints / "old.safetensors").is_file()
    work.get_by_role("button", name="Remove from the list").click()
    expect(work).to_have_count(0)


def test_a_checkpoint_card_is_the_selector(library: Library, witness: Witness) -> None:
    page = open_tab(witness, library, "Checkpoints")
    expect(card(page, "hollow").locator(".why")).to_contain_text("hollow.safetensors is empty")
    expect(card(page, "starter")).to_have_attribute("aria-selected", "true")
    face(page, "meadow").click()
    expect(page.locator("#setting_sd_model_checkpoint input")).to_have_value("meadow")
    expect(card(page, "meadow")).to_have_attribute("aria-selected", "true")
    expect(card(page, "starter")).to_have_attribute("aria-selected", "false")
    face(page, "starter").click()
    expect(page.locator("#setting_sd_model_checkpoint input")).to_have_value("starter")

    # One that appears on the disk appears in both by itself.
    new = library.checkpoints / "later.safetensors"
    shutil.copy(STARTER, new)
    expect(card(page, "later")).to_have_count(1, timeout=2 * PATIENCE)
    page.locator("#setting_sd_model_checkpoint input").click()
    expect(page.get_by_role("option", name="later")).to_be_visible()
    page.keyboard.press("Escape")
    new.unlink()


def test_thousands_stay_few_in_the_document(library: Library, witness: Witness) -> None:
    page = open_tab(witness, library)
    expect(page.locator(".models .bar .count")).to_contain_text(re.compile("5,00[0-9]"))
    page.locator("#models_size").fill("110")
    cards = page.locator(".models .card")
    assert 0 < cards.count() < MOST_CARDS
    page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    expect(card(page, f"style {MANY - 1:04}")).to_be_visible()
    expect(page.locator("#models_search")).to_be_in_viewport()  # the search stays in reach
    assert cards.count() < MOST_CARDS
    names = [f"style {k:04}" for k in range(MANY)]
    for words in ("123", "style 99", "set-7 39"):
        search(page, words)
        wanted = [
            name
            for k, name in enumerate(names)
            if all(word in f"many/set-{k // 500}/{name} style {k}" for word in words.split())
        ]
        expect(page.locator(".models .bar .count")).to_have_text(f"{len(wanted):,}")
        expect(cards.first.locator(".name")).to_have_text(wanted[0])
        shown = cards.locator(".name").all_inner_texts()
        assert shown == wanted[: len(shown)]
        assert len(shown) == len(wanted) or len(shown) > 5
    page.locator("#models_search").fill("style")
    page.locator("#models_search").press("ArrowDown")
    for key in ("ArrowRight", "ArrowDown", "PageDown", "End", "ArrowLeft"):
        page.keyboard.press(key)
    focused = page.locator(".models .face:focus .name")
    expect(focused).to_have_text(f"style {MANY - 2:04}")
    page.keyboard.press("Enter")
    expect(prompt(page)).to_have_value(f"<lora:style {MANY - 2:04}:1>")
    assert cards.count() < MOST_CARDS


def test_panels(library: Library, witness: Witness, tmp_path: Path) -> None:
    page = open_tab(witness, library)
    open_shelf(page, "Memory")
    panel = page.locator(".panel[data-panel=memory]")
    expect(panel.locator(".occupants li").first).to_be_visible(timeout=6 * PATIENCE)
    panel.get_by_label("Keep warm").check()
    expect(panel.get_by_label("Keep warm")).to_be_checked()
    panel.get_by_label("Keep warm").uncheck()

    open_shelf(page, "Folders")
    write_model(tmp_path / "brought.safetensors", sd1_lora(64))
    panel = page.locator(".panel[data-panel=folders]")
    expect(panel.locator("code", has_text=str(library.loras))).to_be_visible()
    panel.get_by_label("Another folder").fill(str(tmp_path / "nowhere"))
    panel.get_by_role("button", name="Add").click()
    expect(panel.locator(".complaint")).to_contain_text("There is no folder")
    assert [words for words in witness.complaints if "400" not in words] == []
    witness.complaints.clear()  # the browser's own line for a refused order
    panel.get_by_label("Another folder").fill(str(tmp_path))
    panel.get_by_role("button", name="Add").click()
    expect(panel.locator("code", has_text=str(tmp_path))).to_be_visible()
    open_shelf(page, "LoRAs")
    search(page, "brought")
    expect(card(page, "brought")).to_have_count(1)
    open_shelf(page, "Folders")
    panel.get_by_role("button", name=f"Search {tmp_path} no longer").click()
    expect(panel.locator("code", has_text=str(tmp_path))).to_have_count(0)

    open_shelf(page, "Add models")
    panel = page.locator(".panel[data-panel=add]")
    expect(panel.locator(".suggestions li").first).to_contain_text("Stable Diffusion")
    panel.get_by_label("Token").fill("hf_secret")
    panel.get_by_role("button", name="Keep").click()
    expect(panel.locator(".hosts")).to_contain_text("huggingface.co")
    expect(panel.get_by_label("Token")).to_have_value("")
    assert "hf_secret" not in page.content()
    panel.locator(".hosts").get_by_role("button", name="Forget").click()
    expect(panel.locator(".hosts li")).to_have_count(0)

    open_shelf(page, "Merge")
    panel = page.locator(".panel[data-panel=merge]")
    panel.get_by_role("button", name="Merge").click()
    expect(panel.locator(".complaint").first).to_have_text("Choose every checkpoint first.")


@pytest.mark.parametrize("look", LOOKS)
def test_it_looks_right_everywhere(library: Library, witness: Witness, look: dict[str, Any]) -> None:
    """No sideways scrolling, buttons with names, words that can be read, places that a thumb hits."""
    page = open_tab(witness, library, **look)
    search(page, "mine")
    expect(card(page, "graphite")).to_be_visible()
    for shelf in ("LoRAs", "Checkpoints", "VAEs", "Add models", "Merge", "Folders", "Memory"):
        open_shelf(page, shelf)
        page.wait_for_timeout(300)
        check_look(page)
    open_shelf(page, "LoRAs")
    card(page, "ink wash").locator(".open").click(force=True)
    expect(page.locator(".models .drawer .notes")).to_be_visible()
    page.evaluate("document.querySelectorAll('.drawer details').forEach((each) => (each.open = true))")
    check_look(page)
    if look.get("touch"):
        low = """[...document.querySelectorAll(".models :is(.entry, .open, .plain, .drawer .act)")]
          .filter((each) => each.offsetParent && each.getBoundingClientRect().height < 43.5)
          .map((each) => each.outerHTML.slice(0, 90))"""
        if look["width"] < 860:
            assert page.evaluate(low) == []


def check_look(page: Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate(CONTRAST) == []
    assert page.evaluate(NAMELESS) == []
