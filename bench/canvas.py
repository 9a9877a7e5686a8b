"""How fluid the canvas is on a large picture: ``python -m bench.canvas [--rounds N] [--strokes N]``.

A page with nothing but the canvas, in a Chromium without a graphics card, shows a picture of 4096x4096. A loop notes
when frames begin; once it only does that, and once it also draws a stroke, four points a frame. Then many strokes are
painted, and it is asked how much more memory scripts hold than before the first one.
"""

import argparse
import io
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from statistics import quantiles

import numpy as np
import psutil
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from backend.paths import ROOT
from bench.report import Figure, machine
from bench.startup import BROWSER_FLAGS, BROWSERS

STATIC = ROOT / "ui" / "static"
SIDE = 4096
FRAME_AIM = 1.2  # times the idle loop's
HEAP_AIM = 300.0  # MB
SECONDS = 2.0
STYLES = ("page", "canvas", "canvas_tools", "canvas_proposals")
VIEW = {"width": 1440, "height": 900}
COLOURS = "--neutral-50:#faf9f7;--neutral-200:#e7e5e0;--neutral-300:#d4d1ca;--neutral-600:#5f5c55;--neutral-900:#1d1c1b"
PAGE = """<!doctype html><meta charset="utf-8"><title>canvas</title>{links}<style>:root{{{colours}}}</style>
<main>{template}</main><script type="module">
import {{ Canvas }} from "/canvas/canvas.js";
window.canvas = new Canvas(document.querySelector(".easel"), "bench");
await canvas.ready;
const of = (type, x, y) => new PointerEvent(type, {{ clientX: x, clientY: y, pointerId: 1, bubbles: true,
  button: type === "pointermove" ? -1 : 0, buttons: type === "pointerup" ? 0 : 1, pointerType: "mouse" }});
const view = document.querySelector(".easel-view");
const box = view.getBoundingClientRect();
const [middleX, middleY, reach] = [box.left + box.width / 2, box.top + box.height / 2, box.height * 0.42];
// A rose: it goes everywhere and crosses itself.
const at = (t) => [middleX + reach * Math.cos(3 * t) * Math.cos(t), middleY + reach * Math.cos(3 * t) * Math.sin(t)];
const send = (type, x, y, more = []) => {{
  const event = of(type, x, y);
  if (more.length) event.getCoalescedEvents = () => more;
  view.dispatchEvent(event);
}};
window.frames_of = (seconds, painting) => new Promise((done) => {{
  const times = [];
  const step = (now) => {{
    times.push(now);
    const t = (now - times[0]) / 1000;
    if (painting) {{
      if (times.length === 1) send("pointerdown", ...at(0));
      const points = [0.25, 0.5, 0.75, 1].map((part) => of("pointermove", ...at(t - (1 - part) / 60)));
      send("pointermove", ...at(t), points);
    }}
    if (t < seconds) requestAnimationFrame(step);
    else {{
      if (painting) send("pointerup", ...at(t));
      done(times.slice(1).map((time, k) => time - times[k]));
    }}
  }};
  requestAnimationFrame(step);
}});
window.strokes = async (count) => {{
  for (let n = 0; n < count; n++) {{
    const start = (n * 2.399963) % (2 * Math.PI); // the golden angle: everywhere in turn
    send("pointerdown", ...at(start));
    for (let k = 1; k <= 12; k++) {{
      if (k % 4 === 0) await new Promise(requestAnimationFrame);
      send("pointermove", ...at(start + k * 0.02));
    }}
    send("pointerup", ...at(start + 0.25));
  }}
}};
window.started = true;
</script>"""


class _Files(SimpleHTTPRequestHandler):
    """The page, its files, and the picture."""

    def __init__(self, *args: object, picture: bytes, **kwargs: object) -> None:
        self._picture = picture
        super().__init__(*args, directory=str(STATIC), **kwargs)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        if self.path == "/":
            self._answer(page().encode(), "text/html")
        elif self.path == "/picture.png":
            self._answer(self._picture, "image/png")
        else:
            super().do_GET()

    def _answer(self, data: bytes, media_type: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def page() -> str:
    """The page's text."""
    links = "".join(f'<link rel="stylesheet" href="/{name}.css">' for name in STYLES)
    template = (STATIC / "canvas.html").read_text(encoding="utf-8")
    return PAGE.format(links=links, colours=COLOURS, template=template)


def picture(side: int = SIDE) -> bytes:
    """A square PNG that no compression makes small: waves, and noise on them."""
    down, across = np.mgrid[0:side, 0:side] / side
    waves = np.stack([np.sin(across * 9 + c + down * 5) for c in range(3)], axis=-1) * 90 + 128
    noise = np.random.default_rng(0).integers(-12, 13, (side, side, 1))
    file = io.BytesIO()
    Image.fromarray((waves + noise).clip(0, 255).astype(np.uint8)).save(file, "PNG", compress_level=1)
    return file.getvalue()


@contextmanager
def served() -> Iterator[str]:
    """The page's address, while the `with` lasts."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Files, picture=picture()))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()


def percentile(values: Sequence[float]) -> float:
    """The 95th."""
    return quantiles(values, n=20, method="inclusive")[-1]


def frames(opened: Page, rounds: int) -> tuple[list[float], list[float]]:
    """Milliseconds between frames: idle and painting, by turns; the first round does not count."""
    found: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds + 1):
        for way in (0, 1) if number % 2 == 0 else (1, 0):
            intervals = opened.evaluate("([seconds, paints]) => frames_of(seconds, paints)", [SECONDS, bool(way)])
            if number:
                found[way].extend(intervals)
            opened.wait_for_timeout(1500)  # until what was painted is saved
    return found


def heap(opened: Page) -> float:
    """MB that scripts hold, after their garbage was collected: objects, what they own outside, and arrays."""
    session = opened.context.new_cdp_session(opened)
    session.send("HeapProfiler.collectGarbage")
    usage = session.send("Runtime.getHeapUsage")
    session.detach()
    return sum(usage.get(name, 0) for name in ("usedSize", "embedderHeapUsedSize", "backingStorageSize")) / 1e6


def resident() -> float:
    """MB of the largest process that this one started: the page's."""
    return max(process.memory_info().rss for process in psutil.Process().children(recursive=True)) / 1e6


def measure(opened: Page, rounds: int, strokes: int) -> list[Figure]:
    """Paint, and say what it cost. Raises `RuntimeError` where not everything was painted."""
    opened.evaluate("canvas.load('/picture.png')")
    opened.evaluate("canvas.settings.set({ size: 160, layer: 'mask' })")
    opened.wait_for_timeout(2000)
    before, process_before = heap(opened), resident()
    idle, painting = frames(opened, rounds)
    steps = opened.evaluate("canvas.state.steps")
    if steps != rounds + 1:
        raise RuntimeError(f"{rounds + 1} strokes were drawn, and there are {steps} steps.")
    print(f"frames: idle {percentile(idle):.2f} ms, stroke {percentile(painting):.2f} ms", flush=True)
    opened.evaluate("count => strokes(count)", strokes)
    opened.wait_for_timeout(3000)
    after, process_after = heap(opened), resident()
    if (steps := opened.evaluate("canvas.state.steps")) != rounds + 1 + strokes:
        raise RuntimeError(f"{strokes} strokes were drawn, and there are {steps - rounds - 1} more steps.")
    print(
        f"memory of the page's process: {process_before:.0f} MB before, {process_after:.0f} MB after {strokes} strokes"
    )
    ratio = percentile(painting) / percentile(idle)
    return [
        Figure(name="canvas.stroke_over_idle", value=ratio, unit="ratio", aim=FRAME_AIM, digits=3),
        Figure(name="canvas.heap_growth", value=after - before, unit="MB", aim=HEAP_AIM, digits=1),
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print the figures last."""
    parser = argparse.ArgumentParser(prog="python -m bench.canvas", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="strokes that are timed (default: 5)")
    parser.add_argument("--strokes", type=int, default=500, help="strokes between the looks at memory (default: 500)")
    asked = parser.parse_args(arguments)
    if asked.rounds < 1 or asked.strokes < 1:
        parser.error("--rounds and --strokes must be at least 1")
    print(machine(), flush=True)
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    with served() as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=BROWSER_FLAGS)
        opened = browser.new_page(viewport={"width": VIEW["width"], "height": VIEW["height"]})
        opened.goto(address)
        opened.wait_for_function("window.started")
        figures = measure(opened, asked.rounds, asked.strokes)
        browser.close()
    for figure in figures:
        print(figure.line)


if __name__ == "__main__":
    main()
