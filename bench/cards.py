"""How long a search takes among many cards: ``python -m bench.cards [--cards N]``, N over 50, in the same page.

Needs the test extra and a Chromium.
"""

import argparse
import json
import struct
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from playwright.sync_api import Page

from bench import STARTER, WORK
from bench.report import Figure, machine
from bench.startup import PATIENCE, await_answer, chromium, running

CARDS = 5000
FEW = 50
WORDS = ("1", "2", "3", "12", "23", "34", "41", "13", "24", "32")  # each finds some among few and among many
AIM = 50.0  # milliseconds
RATIO_AIM = 20.0
WIDTH = 64  # the starter's text
COUNT = 'Number(document.querySelector(".models .bar .count").textContent.replace(/\\D/g, ""))'
# From the keystroke until the cards are laid out; what is painted then is a screenful, however many there are.
SEARCH = """async (words) => {
  const field = document.querySelector("#models_search");
  const started = performance.now();
  field.value = words;
  field.dispatchEvent(new Event("input", { bubbles: true }));
  document.querySelector(".models").getBoundingClientRect();
  const taken = performance.now() - started;
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  return [taken, COUNT];
}""".replace("COUNT", COUNT)


def write_loras(folder: Path, count: int) -> None:
    """LoRAs of one small layer, which is enough for a card."""
    name = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
    shapes = {f"{name}.lora_down.weight": (1, WIDTH), f"{name}.lora_up.weight": (WIDTH, 1)}
    entries = {
        key: {"dtype": "F16", "shape": shape, "data_offsets": [2 * WIDTH * k, 2 * WIDTH * (k + 1)]}
        for k, (key, shape) in enumerate(shapes.items())
    }
    for k in range(count):
        text = json.dumps({"__metadata__": {"ss_output_name": f"style {k}"}, **entries}).encode()
        below = folder / f"set-{k // 500}"
        below.mkdir(parents=True, exist_ok=True)
        (below / f"style {k:04}.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(4 * WIDTH))


def searches(page: Page, cards: int) -> list[float]:
    """Milliseconds of searches among so many cards, one a word, each of another number of them."""
    with TemporaryDirectory(dir=WORK) as folder:
        loras, data_dir = Path(folder) / "loras", Path(folder) / "data"
        data_dir.mkdir()
        write_loras(loras, cards)
        with running(STARTER, data_dir, "--lora-dir", str(loras)) as (address, _):
            await_answer(address)
            page.goto(address)
            page.get_by_role("tab", name="Models").click()
            page.locator(".models .shelves").get_by_text("LoRAs").click()
            page.wait_for_function(f"least => ({COUNT}) >= least", arg=cards)
            taken: list[float] = []
            for words in WORDS:
                milliseconds, found = page.evaluate(SEARCH, words)
                if not 0 < found < cards:
                    raise RuntimeError(f"The search for {words} among {cards} cards found {found}.")
                taken.append(milliseconds)
            return taken


def main(arguments: Sequence[str] | None = None) -> None:
    """Search among many cards and among few, and print the figures last."""
    parser = argparse.ArgumentParser(prog="python -m bench.cards", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cards", type=int, default=CARDS, help=f"how many (default: {CARDS})")
    asked = parser.parse_args(arguments)
    if asked.cards <= FEW:
        parser.error(f"--cards must be more than {FEW}")
    print(machine(), flush=True)
    WORK.mkdir(exist_ok=True)
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(PATIENCE * 1000)
        many, few = median(searches(page, asked.cards)), median(searches(page, FEW))
    print(f"searches: {asked.cards:,} cards {many:.1f} ms, {FEW} cards {few:.1f} ms")
    print(Figure(name="cards.search", value=many, unit="ms", aim=AIM, digits=1).line)
    print(Figure(name="cards.many_over_few", value=many / few, unit="ratio", aim=RATIO_AIM, digits=1).line)


if __name__ == "__main__":
    main()
