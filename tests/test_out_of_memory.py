"""The real engine when memory runs out in a step, while decoding, and for good; and when numbers run over."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from backend.app import App, Options, Precision
from backend.events import Failed, Finished, ImageReady, Notice
from backend.request import PictureSeeds
from backend.sampling_pass import Made, SamplingPass
from tests.test_engine import REQUEST, pixels, run

ROOT = Path(__file__).resolve().parent.parent
MIB = 1024 * 1024

# Makes the pictures of a request with as much address space as it likes, then with so many bytes more than it has, and
# once more with all of it. Prints what was told each time.
STARVED = """
import json, resource, sys
from pathlib import Path

from backend.app import App, Options, Precision
from backend.events import Failed, Finished, ImageReady, Notice
from backend.request import GenerationRequest

data, checkpoints, request, *free = sys.argv[1:]
app = App(Options(data_dir=Path(data), checkpoint_dirs=(Path(checkpoints),), device="cpu"))
app.settings.update({"checkpoint": "tiny"})
app.start()
request = GenerationRequest.from_json(request)


def make(left):
    job = app.queue.submit(request, "me")
    events = [event for event in job.follow()]
    print(json.dumps({
        "left": left,
        "files": [str(event.path) for event in events if isinstance(event, ImageReady)],
        "notices": [event.message for event in events if isinstance(event, Notice)],
        "ending": [type(event).__name__ for event in events][-1],
        "problem": events[-1].message if isinstance(events[-1], Failed) else "",
    }), flush=True)
    return events[-1]


def taken():
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


make(None)  # everything is loaded now
for left in map(int, free):
    resource.setrlimit(resource.RLIMIT_AS, (taken() + left, resource.RLIM_INFINITY))
    make(left)
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
make(None)
app.close()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="address space can be limited on Linux only")
def test_a_job_gets_by_with_less_memory_and_the_next_one_works(options: Options) -> None:
    """The real allocator, in a process that may have 60 MiB more, then 15 MiB, then as much as it likes."""
    request = replace(REQUEST, width=320, height=320, batch_size=8, steps=1)
    folder, free = options.checkpoint_dirs[0], [60 * MIB, 15 * MIB]
    ran = subprocess.run(
        [sys.executable, "-c", STARVED, str(options.data_dir), str(folder), request.to_json(), *map(str, free)],
        cwd=ROOT,
        # Kept blocks would leave each job with other room than it is given here.
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "MALLOC_ARENA_MAX": "1",
            "MALLOC_MMAP_THRESHOLD_": "65536",
            "MALLOC_TRIM_THRESHOLD_": "0",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    whole, eased, failed, again = (json.loads(line) for line in ran.stdout.splitlines())
    assert (whole["ending"], whole["notices"], len(whole["files"])) == ("Finished", [], 8)

    assert eased["ending"] == "Finished"
    assert eased["notices"][-1] == "Memory ran out while decoding the picture: the picture was made in tiles."
    differences = [
        np.abs(pixels(Path(a)) - pixels(Path(b))) for a, b in zip(whole["files"], eased["files"], strict=True)
    ]
    assert len(differences) == 8
    assert max(difference.mean() for difference in differences) < 8  # tiles of a random VAE differ, not by a picture

    assert failed["ending"] == "Failed"
    assert re.match(r"There is not enough memory for \w+ing the picture, whatever was tried", failed["problem"])
    assert (again["ending"], again["notices"]) == ("Finished", [])
    assert [Path(path).read_bytes() for path in again["files"]] == [Path(path).read_bytes() for path in whole["files"]]


def test_a_batch_that_does_not_fit_is_made_in_parts(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a device where the UNet sees the whole batch: on the CPU each picture goes through it alone."""
    request, once = replace(REQUEST, batch_size=8, sampler="DPM++ SDE"), SamplingPass.made
    whole = run(app, request)

    def limited(self: SamplingPass, first: int, seeds: list[PictureSeeds], *rest: Any, **options: Any) -> Made:
        if len(seeds) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return once(self, first, seeds, *rest, **options)

    monkeypatch.setattr(SamplingPass, "made", limited)
    events = list(app.queue.submit(request, "me").follow())
    assert events[-1] == Finished()
    told = [event.message for event in events if isinstance(event, Notice)]
    assert told[-2:] == [f"Memory ran out while making the picture: at most {n} at once from now on." for n in (4, 2)]
    parts = [event.path for event in events if isinstance(event, ImageReady)]
    assert [path.read_bytes() for path in parts] == [path.read_bytes() for path in whole]


def make(app: App) -> list[object]:
    """One step is enough to see numbers run over; half precision is slow where it is emulated."""
    return list(app.queue.submit(replace(REQUEST, steps=1), "me").follow())


def scaled(checkpoint: Path, factors: dict[str, float]) -> None:
    """Write the checkpoint again with some tensors multiplied."""
    tensors = load_file(checkpoint)
    for name, factor in factors.items():
        tensors[name] = tensors[name] * factor
    save_file(tensors, checkpoint)


def test_numbers_beyond_half_precision_are_made_in_full(options: Options, tiny_checkpoint: Path) -> None:
    """Ten million in the first convolution is more than float16 holds; the norm after it makes it small again."""
    unet = "model.diffusion_model."
    scaled(tiny_checkpoint, {f"{unet}input_blocks.0.0.weight": 1e5, f"{unet}input_blocks.0.0.bias": 1e5})
    app = App(replace(options, precision="fp16"))
    app.start()
    try:
        events = make(app)
    finally:
        app.close()
    assert isinstance(events[-1], Finished), events[-1]
    (notice,) = [event.message for event in events if isinstance(event, Notice)]
    assert notice.startswith("The UNet's numbers grew beyond half precision")
    (picture,) = [event for event in events if isinstance(event, ImageReady)]
    assert pixels(picture.path).std() > 1


@pytest.mark.parametrize(
    ("network", "tensor"),
    [("UNet", "model.diffusion_model.out.2.bias"), ("VAE", "first_stage_model.decoder.conv_out.bias")],
)
@pytest.mark.parametrize("precision", ["fp16", "fp32"])
def test_what_is_no_number_in_any_precision_is_a_sentence_and_no_picture(
    network: str, tensor: str, precision: Precision, options: Options, tiny_checkpoint: Path
) -> None:
    shutil.copy(tiny_checkpoint, tiny_checkpoint.with_name("whole.safetensors"))
    scaled(tiny_checkpoint, {tensor: float("nan")})
    app = App(replace(options, precision=precision))
    app.start()
    try:
        events = make(app)
        assert events[-1] == Failed(
            message=f"The {network} of tiny made numbers without end (NaN) and no picture, in full precision too: "
            "the file may be damaged."
        )
        assert not [event for event in events if isinstance(event, ImageReady)]
        (after,) = run(app, replace(REQUEST, checkpoint="whole", steps=1))
        assert pixels(after).std() > 1
    finally:
        app.close()
