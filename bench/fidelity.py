"""How near our samplers come to other people's, and to the exact solution.

The problem is that of `bench.mixture`; the references, and how they were made, lie in `tests/trajectories`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from backend.sampling.samplers import SAMPLERS
from backend.sampling.schedules import SCHEDULES
from bench.report import Figure, machine
from bench.trajectories import STEPS, Run, difference, error, references, unevenness

SIDE = 64  # of the latents whose distribution is looked at
MANY = 1000  # steps, after which a sampler should have arrived
REFERENCE_AIM, EXACT_AIM, EVEN_AIM = 1e-4, 2e-2, 1.63
# Those without a reference, or with fewer. One step of 2M and 3M SDE to zero is what k-diffusion cannot take.
EXACT = "DDIM", "DDIM CFG++", "PLMS", "UniPC", "HeunPP2", "IPNDM", "IPNDM_V", "DEIS"
DISTRIBUTED = "Restart", "DDPM", "DPM++ 2M SDE", "DPM++ 2M SDE Heun", "DPM++ 3M SDE", "DPM fast", "DPM adaptive"
CHOOSES_STEPS = "DPM adaptive"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table: a sampler with a schedule, and what was found for each number of steps."""

    sampler: str
    schedule: str
    found: dict[int, float]

    @property
    def line(self) -> str:
        cells = (f"{self.found[n]:8.1e}" if n in self.found else "       -" for n in STEPS)
        return f"{self.sampler:18} {self.schedule:22} {' '.join(cells)}"


def compared() -> Iterator[Row]:
    """Every pair that has references, in the order of the tables, in float32."""
    stored = references()
    for sampler in SAMPLERS:
        for schedule in ("own", *SCHEDULES):
            names = {n: f"{sampler}/{schedule}/{n}" for n in STEPS}
            there = {n: name for n, name in names.items() if name in stored}
            if there:
                found = {n: difference(Run.named(name), stored[name], torch.float32) for n, name in there.items()}
                yield Row(sampler=sampler, schedule=schedule, found=found)


def figures(rows: list[Row], exact: dict[str, float], uneven: dict[str, float]) -> list[Figure]:
    """The worst of each kind."""
    largest = max(max(row.found.values()) for row in rows if row.sampler != CHOOSES_STEPS)
    adaptive = max(max(row.found.values()) for row in rows if row.sampler == CHOOSES_STEPS)
    return [
        Figure(name="fidelity.reference", value=largest, unit="latents", aim=REFERENCE_AIM, digits=7),
        Figure(name="fidelity.reference.dpm_adaptive", value=adaptive, unit="latents", aim=REFERENCE_AIM, digits=7),
        Figure(name="fidelity.exact", value=max(exact.values()), unit="latents", aim=EXACT_AIM, digits=4),
        Figure(name="fidelity.distribution", value=max(uneven.values()), unit="kolmogorov", aim=EVEN_AIM, digits=2),
    ]


def main() -> None:
    """The table, line by line as it is found, and the figures last."""
    print(machine(), flush=True)
    print(f"{'largest difference from the reference, of':41} " + " ".join(f"{f'{n} steps':>8}" for n in STEPS))
    rows = []
    for row in compared():
        print(row.line, flush=True)
        rows.append(row)
    print(f"\nlargest distance from the exact solution after {MANY} steps; Euler's is {error('Euler', MANY):.4f}")
    exact = {name: error(name, MANY) for name in EXACT}
    for name, far in exact.items():
        print(f"{name:41} {far:8.4f}", flush=True)
    print(f"\nwith noise, Kolmogorov's statistic: results against the exact distribution after {MANY} steps")
    uneven = {name: unevenness(name, MANY, SIDE) for name in DISTRIBUTED}
    for name, far in uneven.items():
        print(f"{name:41} {far:8.2f}", flush=True)
    for figure in figures(rows, exact, uneven):
        print(figure.line)


if __name__ == "__main__":
    main()
