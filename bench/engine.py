"""How much time a generation takes beyond its networks: ``python -m bench.engine [--case ...] [--pairs N]``.

Three figures for each case, all medians over alternating pairs in this one process (README.md says what they mean).
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Literal

import torch

from backend.request import GenerationRequest
from bench import STARTER, WORK, full_size
from bench.pairs import Pairs, alternate
from bench.report import Figure, machine, ratio
from bench.subject import Subject

REQUEST = GenerationRequest(
    prompt="a red circle on a blue background",
    negative_prompt="a green square",
    sampler="DPM++ 2M",
    schedule="Karras",
    seed=1,
)
DIFFUSERS_AIM = 1.00
PREVIEWS_AIM = 1.02


@dataclass(frozen=True, kw_only=True)
class Case:
    """A checkpoint, a device and a size; `aim` is the most a whole generation may take over its bare calls."""

    name: str
    checkpoint: Path
    device: Literal["cpu", "cuda"]
    side: int
    steps: int
    pairs: int
    aim: float

    @property
    def request(self) -> GenerationRequest:
        """What is made."""
        return replace(REQUEST, width=self.side, height=self.side, steps=self.steps)

    @property
    def title(self) -> str:
        """How its figures begin: with the GPU's name if it ran there, in one word."""
        if self.device == "cpu":
            return self.name
        return f"{self.name}@{'-'.join(torch.cuda.get_device_name().split())}"


def cases(starter: Path) -> dict[str, Case]:
    """What can be measured here, in the order it is."""
    found = [
        Case(name="starter", checkpoint=starter, device="cpu", side=128, steps=20, pairs=20, aim=1.10),
        Case(name="full", checkpoint=full_size.CHECKPOINT, device="cpu", side=256, steps=4, pairs=5, aim=1.03),
    ]
    if torch.cuda.is_available():
        found.append(
            Case(name="gpu", checkpoint=full_size.CHECKPOINT, device="cuda", side=512, steps=20, pairs=10, aim=1.03)
        )
    return {case.name: case for case in found}


def measure(case: Case, folder: Path) -> tuple[str, list[Figure]]:
    """A line with the seconds behind the figures, and the figures; pictures and data go into `folder`."""
    subject = Subject(case.checkpoint, case.request, case.device, folder)
    overhead = alternate(subject.whole, subject.bare, case.pairs)
    diffusers = alternate(subject.whole, subject.diffusers, case.pairs)
    previews = alternate(subject.whole, subject.without_previews, case.pairs)
    words = (
        f"{case.title}: {case.side}x{case.side}, {case.steps} steps, {case.pairs} pairs; medians: "
        f"whole {median(overhead.first):.3f} s, bare {median(overhead.second):.3f} s, "
        f"diffusers {median(diffusers.second):.3f} s, without previews {median(previews.second):.3f} s; "
        f"quartiles of the ratios: {_quartiles(overhead)}, {_quartiles(diffusers)}, {_quartiles(previews)}"
    )
    return words, [
        ratio(f"{case.title}.whole_over_bare", overhead, case.aim),
        ratio(f"{case.title}.whole_over_diffusers", diffusers, DIFFUSERS_AIM),
        ratio(f"{case.title}.previews_on_over_off", previews, PREVIEWS_AIM),
    ]


def _quartiles(pairs: Pairs) -> str:
    low, high = pairs.spread
    return f"{low:.3f}-{high:.3f}"


def run(chosen: Sequence[Case]) -> None:
    """Measure these cases one after the other and print the figures last."""
    print(f"{machine()}; torch {torch.__version__}, {torch.get_num_threads()} threads", flush=True)
    WORK.mkdir(exist_ok=True)
    figures: list[Figure] = []
    for case in chosen:
        full_size.require(case.checkpoint)
        with TemporaryDirectory(dir=WORK) as folder:
            words, found = measure(case, Path(folder))
        print(words, flush=True)
        figures += found
    for figure in figures:
        print(figure.line)


def main(arguments: Sequence[str] | None = None) -> None:
    """Understand the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.engine", description=(__doc__ or "").splitlines()[0])
    names = ("starter", "full", "gpu")
    parser.add_argument("--case", choices=names, action="append", help="only this one; may be given more than once")
    parser.add_argument("--pairs", type=int, help="pairs of runs for each figure (starter 20, full 5, gpu 10)")
    parser.add_argument("--checkpoint", type=Path, default=STARTER, help="another file in the starter's place")
    asked = parser.parse_args(arguments)
    if asked.pairs is not None and asked.pairs < 1:
        parser.error("--pairs must be at least 1")
    here = cases(asked.checkpoint)
    wanted = asked.case or list(here)
    if missing := [name for name in wanted if name not in here]:
        parser.error(f"the case {missing[0]} needs CUDA, which is not there")
    run([here[name] if asked.pairs is None else replace(here[name], pairs=asked.pairs) for name in wanted])


if __name__ == "__main__":
    main()
