"""How long a newcomer waits: ``python -m bench.startup [--runs N]``, medians over whole starts of `webui.py`.

Each run starts the program in a data folder of its own, with a Chromium already open that then loads the page, types a
prompt and presses Ctrl+Enter (README.md says what is counted). Needs the test extra and a Chromium.
"""

import argparse
import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright
from playwright.sync_api import TimeoutError as NothingSeen

from backend.paths import ROOT
from bench import STARTER, WORK
from bench.report import Figure, machine

PROMPT = "a red circle on a blue background"
SIDE = 128
PAGE_AIM = 4.0  # seconds
PICTURE_AIM = 15.0
PATIENCE = 300.0  # seconds after which a run has failed
GLANCE = 0.02  # seconds between two looks for the picture
PRESS_AGAIN = 2.0  # seconds without a job after which a person would press once more
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
BROWSER_FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")


@dataclass(frozen=True, kw_only=True)
class Start:
    """Seconds from the start of the process to the page's first answer, and to the first picture's file."""

    page: float
    picture: float


@contextmanager
def running(checkpoint: Path, data_dir: Path, *flags: str) -> Iterator[tuple[str, float]]:
    """`webui.py` with `checkpoint` chosen, and more `flags`: its address and when it was started. It is ended with the
    `with`."""
    settings = {"checkpoint": checkpoint.stem, "default_width": SIDE, "default_height": SIDE}
    (data_dir / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
    port = _free_port()
    command = [sys.executable, "webui.py", "--port", str(port), "--data-dir", str(data_dir)]
    command += ["--ckpt-dir", str(checkpoint.resolve().parent), *flags]
    started = time.perf_counter()
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        try:
            yield f"http://127.0.0.1:{port}/", started
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def measure(checkpoint: Path, browser: Browser) -> Start:
    """One start to its first picture. Raises `RuntimeError` if the page or the picture does not come, or is another."""
    with TemporaryDirectory(dir=WORK) as folder:
        data_dir = Path(folder)
        page = browser.new_page()
        try:
            with running(checkpoint, data_dir) as (address, started):
                await_answer(address)
                answered = time.perf_counter() - started
                picture = _first_picture(page, address, data_dir)
                saved = time.perf_counter() - started
                check(picture, checkpoint)
        finally:
            page.close()
    return Start(page=answered, picture=saved)


@contextmanager
def chromium() -> Iterator[Browser]:
    """The system's Chromium, or Playwright's own."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    with sync_playwright() as playwright, playwright.chromium.launch(executable_path=found, args=BROWSER_FLAGS) as own:
        yield own


def await_answer(address: str) -> None:
    """The port is open long before the page is there, so one question waits for the answer."""
    give_up = time.monotonic() + PATIENCE
    while time.monotonic() < give_up:
        try:
            with urllib.request.urlopen(address, timeout=PATIENCE) as answer:
                if answer.status == 200:
                    return
        except urllib.error.URLError:  # nobody listens yet
            time.sleep(GLANCE)
    raise RuntimeError(f"The page did not answer in {PATIENCE:.0f} s.")


def _first_picture(page: Page, address: str, data_dir: Path) -> Path:
    """What a person does, as soon as the page lets them."""
    page.set_default_timeout(PATIENCE * 1000)
    page.goto(address)
    page.locator(".live[data-connected]").wait_for(state="attached")
    give_up = time.monotonic() + PATIENCE
    while time.monotonic() < give_up:
        page.locator("#txt2img_prompt textarea").fill(PROMPT)
        page.keyboard.press("Control+Enter")
        try:
            page.locator(".live .queue li").wait_for(timeout=PRESS_AGAIN * 1000)
        except NothingSeen:
            if not _saved(data_dir):
                continue  # the page was there, but did not listen yet
        break
    while time.monotonic() < give_up:
        if found := _saved(data_dir):
            return found[0]
        page.wait_for_timeout(GLANCE * 1000)  # and not `sleep`, which would stop the page's own events
    raise RuntimeError(f"There was no picture after {PATIENCE:.0f} s.")


def _saved(data_dir: Path) -> list[Path]:
    return sorted((data_dir / "outputs").rglob("*.png"))


def check(picture: Path, checkpoint: Path) -> None:
    """That the picture is the one that was asked for; raises `RuntimeError` with what it lacks."""
    with Image.open(picture) as image:
        image.load()
        recipe = str(image.info.get("parameters", ""))
    words = (PROMPT, f"Size: {SIDE}x{SIDE}", f"Model: {checkpoint.stem}", "Steps: 20")
    if missing := [word for word in words if word not in recipe]:
        raise RuntimeError(f"The picture is not the one that was asked for, it lacks {missing[0]!r}: {recipe}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Start some times and print the figures last."""
    parser = argparse.ArgumentParser(prog="python -m bench.startup", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=5, help="how often to start (default: 5)")
    parser.add_argument("--checkpoint", type=Path, default=STARTER, help="another file in the starter's place")
    asked = parser.parse_args(arguments)
    if asked.runs < 1:
        parser.error("--runs must be at least 1")
    if not asked.checkpoint.is_file():
        sys.exit(f"There is no {asked.checkpoint}: name a checkpoint in the SD 1.x layout with --checkpoint.")
    print(machine(), flush=True)
    WORK.mkdir(exist_ok=True)
    with chromium() as browser:
        starts = [measure(asked.checkpoint, browser) for _ in range(asked.runs)]
    print("starts: " + ", ".join(f"page {start.page:.2f} s, picture {start.picture:.2f} s" for start in starts))
    page, picture = median(start.page for start in starts), median(start.picture for start in starts)
    print(Figure(name="startup.page", value=page, unit="s", aim=PAGE_AIM, digits=2).line)
    print(Figure(name="startup.first_picture", value=picture, unit="s", aim=PICTURE_AIM, digits=2).line)


if __name__ == "__main__":
    main()
