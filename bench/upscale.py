"""What a large picture costs in memory: ``python -m bench.upscale [--sizes N,N]``.

A picture is enlarged twofold and redrawn in tiles by the engine, once to 512x512, which is one tile, and once to
4096x4096, each in a new process on the CPU; the most memory that the process ever held is compared (README.md).
"""

import argparse
import io
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from backend.init_image import InitImage, TiledUpscale
from backend.paths import ROOT
from backend.request import GenerationRequest
from bench import STARTER
from bench.report import Figure, machine

SMALL, LARGE = 512, 4096
TILE = 512
SCALE = 2
AIM = 1.3
COLOURS = 3  # bytes of a pixel
STATUS = Path("/proc/self/status")


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Of one picture of `side` x `side`: bytes that its process held with the checkpoint loaded, `before`, and at most,
    `peak`; steps that were taken in `seconds`."""

    side: int
    before: int
    peak: int
    steps: int
    seconds: float

    @property
    def pictures(self) -> int:
        """Bytes of the pictures themselves: the one that was put in, it enlarged, and the result."""
        return COLOURS * ((self.side // SCALE) ** 2 + 2 * self.side**2)

    @property
    def rest(self) -> int:
        """The most that was held beside the pictures."""
        return self.peak - self.pictures


def held(key: str) -> int:
    """Bytes of this process that are in memory: ``VmRSS`` is now, ``VmHWM`` is the most so far."""
    for line in STATUS.read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name == key:
            return int(value.split()[0]) * 1024
    raise RuntimeError(f"{STATUS} does not say {key}.")


def measured(side: int, checkpoint: Path, folder: Path) -> Cost:
    """Make the picture in this process, which has done nothing else. Raises `RuntimeError` if that was other work than
    it should be."""
    from backend.app import App, Options
    from backend.engine import Engine
    from backend.events import Progress
    from backend.imaging.tiles import count
    from backend.jobs import Job

    app = App(Options(data_dir=folder, checkpoint_dirs=(checkpoint.parent,), device="cpu"))
    record = app.catalog.find(checkpoint.stem)
    app.settings.update({"checkpoint": record.name})
    upscale = TiledUpscale(scale=SCALE)
    request = app.prepare(
        GenerationRequest(
            prompt="a red circle on a blue background",
            checkpoint=record.name,
            width=TILE,
            height=TILE,
            steps=1,
            seed=0,
            init=InitImage(
                picture=app.inputs.put(_soft_noise(side // SCALE)).name, denoising_strength=0.3, upscale=upscale
            ),
        )
    )
    engine = Engine.create(app)
    job = Job(request, "bench")
    before, started = held("VmRSS"), time.perf_counter()
    engine.generate(request, job)
    seconds = time.perf_counter() - started
    peak = held("VmHWM")
    (progress,) = (event for _, event in job.since() if isinstance(event, Progress))
    (image,) = job.images
    tiles = count(max(side, TILE), max(side, TILE), (TILE, TILE), upscale.overlap)
    if (image.width, image.height, progress.step) != (side, side, tiles):
        raise RuntimeError(f"{progress.step} steps made {image.width}x{image.height}, not {tiles} {side}x{side}.")
    app.close()
    return Cost(side=side, before=before, peak=peak, steps=tiles, seconds=seconds)


def _soft_noise(side: int) -> bytes:
    """A picture that is everywhere something else, as a PNG."""
    grid = np.random.default_rng(0).integers(0, 255, (side // 16, side // 16, COLOURS), np.uint8)
    data = io.BytesIO()
    Image.fromarray(grid).resize((side, side), Image.Resampling.BICUBIC).save(data, "PNG")
    return data.getvalue()


def apart(side: int, checkpoint: Path) -> Cost:
    """`measured` in a new process. Raises `CalledProcessError` if that fails."""
    command = [sys.executable, "-m", "bench.upscale", "--one", str(side), "--checkpoint", str(checkpoint.resolve())]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True, text=True)
    return Cost(**json.loads(done.stdout.splitlines()[-1]))


def figure(small: Cost, large: Cost) -> Figure:
    """The large picture's memory over the small one's, less the pictures of each."""
    name = f"upscale.{large.side}_over_{small.side}"
    return Figure(name=name, value=large.rest / small.rest, unit="ratio", aim=AIM, digits=3)


def _words(cost: Cost) -> str:
    beside = (cost.rest - cost.before) / 1e6
    return (
        f"{cost.side}: {cost.steps} tiles in {cost.seconds:.1f} s, at most {cost.peak / 1e6:,.0f} MB, of that "
        f"{cost.pictures / 1e6:,.0f} MB pictures, {cost.before / 1e6:,.0f} MB before it began, {beside:,.0f} MB else"
    )


def run(sizes: Sequence[int], checkpoint: Path) -> None:
    """Measure the small picture and the large one and print the figure last."""
    print(machine(), flush=True)
    costs = [apart(side, checkpoint) for side in sizes]
    print("; ".join(_words(cost) for cost in costs), flush=True)
    print(figure(*costs).line)


def main(arguments: Sequence[str] | None = None) -> None:
    """Understand the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.upscale", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", default=f"{SMALL},{LARGE}", help="sides of the two pictures, the smaller one first")
    parser.add_argument("--checkpoint", type=Path, default=STARTER, help="another checkpoint")
    parser.add_argument("--one", type=int, metavar="SIDE", help="only make this one here, and print what it cost")
    asked = parser.parse_args(arguments)
    if asked.one:
        with TemporaryDirectory() as folder:
            print(json.dumps(asdict(measured(asked.one, asked.checkpoint, Path(folder)))))
        return
    sizes = [int(side) for side in asked.sizes.split(",") if side.strip().isdigit()]
    if len(sizes) != 2 or any(side % 32 or side < TILE for side in sizes):
        parser.error(f"--sizes must be two multiples of 32 from {TILE} on, such as {SMALL},{LARGE}")
    if not STATUS.exists():
        parser.error(f"the most memory that a process held is read from {STATUS}, which is not here")
    run(sizes, asked.checkpoint)


if __name__ == "__main__":
    main()
