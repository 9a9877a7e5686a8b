"""How a benchmark says what it found: a line about the machine, then one line a figure and nothing else."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path

from bench.pairs import Pairs

PROCESSOR_FILE = Path("/proc/cpuinfo")


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One number that was measured and the most it may be. `name` has no spaces; `digits` stand after the point."""

    name: str
    value: float
    unit: str
    aim: float
    digits: int

    @property
    def line(self) -> str:
        """``name value unit (aim <= x) ok``, or ``short``: it is the printed value that is judged."""
        shown = f"{self.value:.{self.digits}f}"
        verdict = "ok" if float(shown) <= self.aim else "short"
        return f"{self.name} {shown} {self.unit} (aim <= {self.aim:g}) {verdict}"


def ratio(name: str, pairs: Pairs, aim: float) -> Figure:
    """How many times as long as the second way the first one took."""
    return Figure(name=name, value=pairs.ratio, unit="ratio", aim=aim, digits=3)


def machine() -> str:
    """The processor, its cores, and how busy it was before: a figure from a busy machine is not to be trusted."""
    affinity = getattr(os, "sched_getaffinity", None)  # what a container may use can be less than there is
    cores = len(affinity(0)) if affinity else os.cpu_count()
    words = f"machine: {_processor()}, {cores} cores"
    load = getattr(os, "getloadavg", None)
    return f"{words}, load of the last minute {load()[0]:.1f}" if load else words


def _processor() -> str:
    if PROCESSOR_FILE.exists():
        for line in PROCESSOR_FILE.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()
