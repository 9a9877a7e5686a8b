"""Our samplers on the problem of `bench.mixture`, against stored references and the exact solution.

Who made the references, and how, says `tests/trajectories/make.py`.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from backend.sampling.plan import Plan, plan_for
from backend.sampling.samplers import SAMPLERS, Sampler
from backend.sampling.schedules import SigmaTable
from backend.sampling.solvers import Noise
from backend.sampling_options import SamplingOptions
from bench.mixture import PlainNoise, ScriptedNoise, alphas_cumprod, carried, denoise, normal, quantiles

FILE = Path(__file__).parents[1] / "tests" / "trajectories" / "references.npz"
STEPS = 1, 2, 10, 20, 50
KEPT = slice(None, None, 8)  # of the flattened latents
TABLE = SigmaTable(alphas_cumprod())
# The options of the references' words, in the request's terms.
CHURN = SamplingOptions(sigma_churn=3.0, sigma_tmin=0.05, sigma_tmax=9.0, sigma_noise=1.003)
OPTIONS: Mapping[str, SamplingOptions] = MappingProxyType(
    {
        "": SamplingOptions(),
        "churn": CHURN,
        "eta": SamplingOptions(eta=0.4, sigma_noise=0.9),
        "bh2": SamplingOptions(unipc_variant="bh2"),
    }
)
OWN_OPTIONS: Mapping[tuple[str, str], SamplingOptions] = MappingProxyType(
    {
        ("DPM fast", "eta"): SamplingOptions(eta=0.0),
        ("DPM adaptive", "eta"): SamplingOptions(eta=0.0),
        ("DDIM", "eta"): SamplingOptions(eta=0.7),
    }
)


@dataclass(frozen=True, kw_only=True)
class Run:
    """One of ours: a sampler with a schedule, ``own`` if it takes none, a number of steps, and options by a word."""

    sampler: str
    schedule: str
    steps: int
    word: str = ""

    @classmethod
    def named(cls, name: str) -> "Run":
        sampler, schedule, steps, *word = name.split("/")
        return cls(sampler=sampler, schedule=schedule, steps=int(steps), word="".join(word))

    @property
    def row(self) -> Sampler:
        return SAMPLERS[self.sampler]

    @property
    def options(self) -> SamplingOptions:
        return OWN_OPTIONS.get((self.sampler, self.word)) or OPTIONS[self.word]

    @property
    def plan(self) -> Plan:
        schedule = "Automatic" if self.schedule == "own" else self.schedule
        return plan_for(self.row, schedule, self.steps, TABLE, self.options)

    def result(self, dtype: torch.dtype) -> Tensor:
        """The last latents, in that precision all the way, and with the references' noise."""
        plan, watched = self.plan, Watched()
        noise: Noise = ScriptedNoise(dtype)
        if self.word == "churn" or self.sampler in ("DDIM", "DPM adaptive"):
            noise = PlainNoise(dtype)
        x = plan.start(torch.from_numpy(normal(0)).to(dtype))
        return self.row.solver(self.options)(watched, x, plan.sigmas, noise=noise, on_step=watched.on_step)


class Watched:
    """A denoiser that is asked for everything a sampler may want, and notes what it was asked and told."""

    def __init__(self, denoiser: Callable[[Tensor, float], Tensor] = denoise) -> None:
        self.last_uncond: Tensor | None = None
        self.levels: list[float] = []
        self.steps: list[int] = []
        self.predictions: list[Tensor] = []
        self._denoiser = denoiser

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        self.levels.append(sigma)
        return self._denoiser(x, sigma)

    def on_step(self, index: int, denoised: Tensor) -> None:
        self.steps.append(index)
        self.predictions.append(denoised)


def difference(run: Run, reference: np.ndarray, dtype: torch.dtype) -> float:
    """The largest difference of a last latent."""
    return float(np.abs(run.result(dtype).flatten()[KEPT].numpy() - reference).max())


def references() -> dict[str, np.ndarray]:
    """The kept numbers of the last latents, by ``sampler/schedule/steps`` and perhaps a word for options."""
    stored = np.load(FILE, allow_pickle=False)
    return dict(zip(stored["names"].tolist(), stored["results"], strict=True))


def reference_levels() -> dict[str, np.ndarray]:
    """The noise levels, by ``schedule/steps``."""
    stored = np.load(FILE, allow_pickle=False)
    return {name: stored[name] for name in stored.files if "/" in name}


def error(sampler: str, steps: int, schedule: str = "Automatic", options: SamplingOptions | None = None) -> float:
    """The largest distance, in latents of a clean level, of a sampler without noise from the exact solution."""
    row, options = SAMPLERS[sampler], options or SamplingOptions()
    plan, watched = plan_for(row, schedule, steps, TABLE, options), Watched()
    x = plan.start(torch.from_numpy(normal(0)))

    def no_noise(_sigma: float, _sigma_next: float) -> Tensor:
        raise AssertionError(f"{sampler} drew noise")

    made = row.solver(options)(watched, x, plan.sigmas, noise=no_noise, on_step=watched.on_step).numpy()
    last = plan.sigmas[-1]
    if row.unit_variance:
        made = made * math.hypot(1, last)
    return float(np.abs(made - carried(x.numpy(), plan.sigmas[0], last)).max())


def unevenness(sampler: str, steps: int, side: int, schedule: str = "Automatic") -> float:
    """Kolmogorov's statistic: how far the quantiles of side x side results of a sampler with noise are from an even
    spread, times the root of their number. Where they are even it is above 1.63 once in a hundred times."""
    row = SAMPLERS[sampler]
    plan, watched = plan_for(row, schedule, steps, TABLE), Watched()
    generator = torch.Generator().manual_seed(0)

    def fresh(_sigma: float = 0.0, _sigma_next: float = 0.0) -> Tensor:
        return torch.randn((1, 1, side, side), generator=generator, dtype=torch.float64)

    made = row.function(watched, plan.start(fresh()), plan.sigmas, noise=fresh, on_step=watched.on_step)
    if row.unit_variance:
        made = made * math.hypot(1, plan.sigmas[-1])
    found = np.sort(quantiles(made.numpy(), plan.sigmas[-1]).flatten())
    even = np.arange(found.size + 1) / found.size
    return float(np.maximum(even[1:] - found, found - even[:-1]).max() * math.sqrt(found.size))
