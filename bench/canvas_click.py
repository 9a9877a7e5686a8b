"""What one click on *Generate* costs with a picture of 2048x2048: ``python -m bench.canvas_click [--clicks N]``.

`webui.py` runs with the starter, Chromium shows its Inpaint tab. A photograph is put on the canvas and something is
painted; the first click has to bring the picture and the mask to the server. Before each further click a stroke is
painted, so that these bring what has changed. It is counted what the page sends, and timed until its job exists.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from playwright.sync_api import Page

from bench import STARTER, WORK
from bench.canvas import picture
from bench.report import Figure, machine
from bench.startup import GLANCE, PATIENCE, await_answer, chromium, running

SIDE = 2048
SHARE_AIM = 0.05  # of what the first click sends
SECONDS_AIM = 1.0
TAB = "#inpaint_canvas"
COUNT_JOBS = "() => document.querySelectorAll('.live .queue li').length"


# A browser's protocol does not tell how large a body is that the page made, so the page itself counts.
COUNT = """() => {
  window.sentBytes = 0;
  const fetched = window.fetch;
  window.fetch = (resource, more) => {
    const body = more?.body;
    if (body) window.sentBytes += body.size ?? body.byteLength ?? new Blob([body]).size;
    return fetched(resource, more);
  };
}"""


def paint(page: Page, number: int) -> None:
    """A stroke of 200 pixels of the screen, each in another row."""
    box = page.locator(f"{TAB} .easel-view").bounding_box()
    if box is None:
        raise RuntimeError("There is no canvas on the page.")
    x, y = box["x"] + box["width"] / 2 - 100, box["y"] + box["height"] / 2 + 24 * (number - 2)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 200, y, steps=12)
    page.mouse.up()


def click(page: Page, jobs: int) -> tuple[float, int]:
    """Seconds from the click until there are more than `jobs` jobs in the page's list, and the bytes it took."""
    before = page.evaluate("sentBytes")
    started = time.perf_counter()
    page.locator("#inpaint_generate").click()
    while page.evaluate(COUNT_JOBS) <= jobs:
        if time.perf_counter() - started > PATIENCE:
            raise RuntimeError(f"There was no job after {PATIENCE:.0f} s.")
        page.wait_for_timeout(GLANCE * 1000)
    return time.perf_counter() - started, page.evaluate("sentBytes") - before


def measure(page: Page, address: str, photograph: Path, clicks: int) -> list[Figure]:
    """Put the photograph on the canvas, and paint and click so many times."""
    page.set_default_timeout(PATIENCE * 1000)
    page.goto(address)
    page.locator(".live[data-connected]").wait_for(state="attached")
    page.get_by_role("tab", name="Inpaint", exact=True).click()
    with page.expect_file_chooser() as chooser:
        page.locator(f"{TAB} .choose").click()
    chooser.value.set_files(photograph)
    page.locator(f"{TAB} .easel[data-state=ready]").wait_for()
    page.locator("#inpaint_steps input[type=number]").fill("150")  # the jobs stay in the list for as long as it takes
    page.evaluate(COUNT)
    found: list[tuple[float, int]] = []
    for number in range(clicks):
        paint(page, number)
        page.wait_for_timeout(1500)  # until what was painted is saved
        found.append(click(page, number))
        print(f"click {number + 1}: {found[-1][1]:,} bytes, {found[-1][0]:.2f} s", flush=True)
    (first, whole), later = found[0], found[1:]
    share = max(count for _, count in later) / whole
    print(f"photograph {photograph.stat().st_size:,} bytes; the first click: {whole:,} bytes, {first:.2f} s")
    seconds = median(seconds for seconds, _ in later)
    return [
        Figure(name="canvas_click.later_over_first", value=share, unit="ratio", aim=SHARE_AIM, digits=4),
        Figure(name="canvas_click.job_exists", value=seconds, unit="s", aim=SECONDS_AIM, digits=2),
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print the figures last."""
    parser = argparse.ArgumentParser(prog="python -m bench.canvas_click", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clicks", type=int, default=5, help="strokes and clicks (default: 5)")
    asked = parser.parse_args(arguments)
    if asked.clicks < 2:
        parser.error("--clicks must be at least 2")
    print(machine(), flush=True)
    WORK.mkdir(exist_ok=True)
    with TemporaryDirectory(dir=WORK) as folder, chromium() as browser:
        photograph = Path(folder) / "photograph.png"
        photograph.write_bytes(picture(SIDE))
        data_dir = Path(folder) / "data"
        data_dir.mkdir()
        with running(STARTER, data_dir) as (address, _):
            await_answer(address)
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            figures = measure(page, address, photograph, asked.clicks)
            page.close()
    for figure in figures:
        print(figure.line)


if __name__ == "__main__":
    main()
