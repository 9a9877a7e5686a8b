"""Makes references.npz: what other people's samplers make of the problem of `bench.mixture`, in float64.

    pip download k-diffusion==0.1.1.post1 --no-deps && unzip k_diffusion-*.whl -d somewhere
    python -m tests.trajectories.make somewhere/k_diffusion

Stored are, in float32, every eighth number of the last latents of every run, as rows of `results` in the order of
`names`, and the noise levels of every schedule. A name is ``sampler/schedule/steps``, where the schedule is ``own`` for
those that take none, and may end in a word for options that are not the usual ones (`OPTIONS`). Who made them:

- The samplers of `K_DIFFUSION`: k-diffusion 0.1.1.post1, with eta 1. Its DPM++ 2M SDE and DPM++ 3M SDE cannot
  take a single step to zero (an unbound variable), which are left out.
- DDIM, PLMS and UniPC: diffusers' schedulers on AUTOMATIC1111's timesteps, which for numbers of steps that divide 1000
  are diffusers' own, "leading" with offset 1, without the last one.
- LCM: nobody has it apart from a model; the two lines of the algorithm stand for it, on LCM's own 50 levels.
- Karras, Exponential, Polyexponential and Uniform levels are k-diffusion's, Align Your Steps and Beta are diffusers'.
  The other schedules have no published code under a free licence; what defines them is written here once more.
"""

import importlib
import inspect
import math
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise, product
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler
from diffusers.schedulers.scheduling_pndm import PNDMScheduler
from diffusers.schedulers.scheduling_unipc_multistep import UniPCMultistepScheduler
from diffusers.schedulers.scheduling_utils import AysSchedules
from torch import Tensor

from bench.mixture import PlainNoise, ScriptedNoise, alphas_cumprod, denoise, normal
from bench.trajectories import FILE, KEPT, STEPS

DISCARDING = "DPM++ 3M SDE", "DPM2", "DPM2 a"
OPTION_STEPS = 10

K_DIFFUSION: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "Euler": ("sample_euler", {}),
    "Euler a": ("sample_euler_ancestral", {}),
    "Heun": ("sample_heun", {}),
    "LMS": ("sample_lms", {}),
    "DPM2": ("sample_dpm_2", {}),
    "DPM2 a": ("sample_dpm_2_ancestral", {}),
    "DPM++ 2S a": ("sample_dpmpp_2s_ancestral", {}),
    "DPM++ SDE": ("sample_dpmpp_sde", {}),
    "DPM++ 2M": ("sample_dpmpp_2m", {}),
    "DPM++ 2M SDE": ("sample_dpmpp_2m_sde", {}),
    "DPM++ 2M SDE Heun": ("sample_dpmpp_2m_sde", {"solver_type": "heun"}),
    "DPM++ 3M SDE": ("sample_dpmpp_3m_sde", {}),
}
CHURN = {"s_churn": 3.0, "s_tmin": 0.05, "s_tmax": 9.0, "s_noise": 1.003}
LITTLE_NOISE = {"eta": 0.4, "s_noise": 0.9}
OPTIONS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    **dict.fromkeys(("Euler", "Heun", "DPM2"), ("churn", CHURN)),
    **dict.fromkeys(("DPM2 a", "DPM++ 2S a", "DPM++ SDE", "DPM++ 3M SDE"), ("eta", LITTLE_NOISE)),
    **dict.fromkeys(("DPM++ 2M SDE", "DPM++ 2M SDE Heun"), ("eta", LITTLE_NOISE)),
    "Euler a": ("eta", {"eta": 0.4}),
}
AYS = [*AysSchedules["StableDiffusionSigmas"][:-1], 0.029]  # where diffusers has a 0, the authors have this
GITS = [14.615, 4.617, 2.507, 1.236, 0.702, 0.402, 0.240, 0.156, 0.104, 0.094, 0.029]
AYS_32 = [
    *[14.615, 11.23951352, 8.64363081, 6.64729424, 5.57250862, 4.71648546, 3.99196065, 3.5195609, 3.13490466],
    *[2.79228788, 2.48773628, 2.21663865, 1.97508351, 1.7793172, 1.61475335, 1.46540953, 1.314849, 1.16642497],
    *[1.03475547, 0.91573744, 0.80748169, 0.71202361, 0.621739, 0.53065202, 0.4529096, 0.37491455, 0.27461819],
    *[0.2011529, 0.14105873, 0.06682881, 0.03166121, 0.015],
]


def load_k_diffusion(folder: Path) -> tuple[Any, Any]:
    """Its modules sampling and external, without the package around them and what that imports."""

    def append_dims(x: Tensor, dims: int) -> Tensor:
        return x[(...,) + (None,) * (dims - x.ndim)]

    stubs: dict[str, dict[str, object]] = {
        "torchdiffeq": {"odeint": None},
        "k_diffusion": {"__path__": [str(folder)]},
        "k_diffusion.utils": {"append_dims": append_dims},
    }
    for name, members in stubs.items():
        sys.modules[name] = types.ModuleType(name)
        vars(sys.modules[name]).update(members)
    vars(sys.modules["k_diffusion"])["utils"] = sys.modules["k_diffusion.utils"]
    return importlib.import_module("k_diffusion.sampling"), importlib.import_module("k_diffusion.external")


class Levels:
    """The noise levels of every schedule for a number of steps."""

    def __init__(self, sampling: Any, external: Any) -> None:
        self._sampling = sampling
        self._table = external.DiscreteSchedule(torch.from_numpy((1 / alphas_cumprod() - 1) ** 0.5), quantize=False)
        self._sigmas = self._table.sigmas.numpy()
        self.low, self.high = float(self._sigmas[0]), float(self._sigmas[-1])
        self._by_name: dict[str, Callable[[int], Any]] = {
            "Uniform": lambda n: self._table.get_sigmas(n),
            "Karras": lambda n: sampling.get_sigmas_karras(n, self.low, self.high),
            "Exponential": lambda n: sampling.get_sigmas_exponential(n, self.low, self.high),
            "Polyexponential": lambda n: sampling.get_sigmas_polyexponential(n, self.low, self.high),
            "SGM Uniform": lambda n: [*self._table.get_sigmas(n + 1)[:-2].tolist(), 0],
            "KL Optimal": self._kl_optimal,
            "Align Your Steps": lambda n: self._between(AYS, n),
            "Simple": lambda n: [*(self._sigmas[999 - (1000 * k) // n] for k in range(n)), 0],
            "Normal": lambda n: self._table.get_sigmas(n),
            "DDIM": self._ddim,
            "Beta": self._beta,
            "Turbo": lambda n: [*(self._sigmas[round((n - k) * 1000 / n - 1)] for k in range(n)), 0],
            "Align Your Steps GITS": lambda n: self._between(GITS, n),
            "Align Your Steps 11": lambda n: self._between(AYS, n),
            "Align Your Steps 32": lambda n: self._between(AYS_32, n),
        }

    @property
    def names(self) -> list[str]:
        return list(self._by_name)

    def of(self, name: str, steps: int, *, discarding: bool = False) -> Tensor:
        """Float64, falling."""
        if discarding:
            longer = self.of(name, steps + 1)
            return torch.cat([longer[:-2], longer[-1:]])
        return torch.as_tensor(self._by_name[name](steps), dtype=torch.float64)

    def _kl_optimal(self, n: int) -> list[float]:
        angles = math.atan(self.low), math.atan(self.high)
        return [math.tan(k / n * angles[0] + (1 - k / n) * angles[1]) for k in range(n + 1)]

    def _ddim(self, n: int) -> list[float]:
        """One step is ours."""
        return [*reversed([self._sigmas[t] for t in range(1, 1000, 1000 // n)]), 0] if n > 1 else [self.high, 0]

    def _beta(self, n: int) -> list[Any]:
        scheduler = EulerDiscreteScheduler(use_beta_sigmas=True)
        ends = torch.tensor([self.high, self.low])
        return [*scheduler._convert_to_beta(ends, n, alpha=0.6, beta=0.6), 0]

    @staticmethod
    def _between(levels: list[float], n: int) -> list[float]:
        """One step is ours."""
        logs = [math.log(level) for level in levels]
        places = [k * (len(levels) - 1) / max(n - 1, 1) for k in range(n)]
        read = [math.exp(np.interp(place, range(len(levels)), logs)) for place in places]
        return [*(levels if n == len(levels) else read), 0]


def by_k_diffusion(sampling: Any, function: str, x: Tensor, *levels: Any, noise: Any, **options: Any) -> Tensor:
    """The last latents of one of its functions; those that name no levels to their noise draw plain one."""
    solve = getattr(sampling, function)
    if "noise_sampler" in inspect.signature(solve).parameters:
        options["noise_sampler"] = noise
    plain = PlainNoise(torch.float64)
    names = {**vars(torch), "randn_like": lambda _x: plain()}
    sampling.torch = types.SimpleNamespace(**names)
    try:
        return solve(lambda x, sigma: denoise(x, float(sigma[0])), x, *levels, disable=True, **options)
    finally:
        sampling.torch = torch


def k_diffusion_runs(sampling: Any, levels: Levels) -> Iterator[tuple[str, Tensor]]:
    """Names and last latents of all its samplers that take a schedule."""
    for (name, (function, fixed)), schedule, steps in product(K_DIFFUSION.items(), levels.names, STEPS):
        sigmas = levels.of(schedule, steps, discarding=name in DISCARDING)
        x = torch.from_numpy(normal(0)) * sigmas[0]
        if steps == 1 and sigmas[-1] == 0 and name.startswith(("DPM++ 2M SDE", "DPM++ 3M")):
            continue
        noise = ScriptedNoise(torch.float64)
        yield f"{name}/{schedule}/{steps}", by_k_diffusion(sampling, function, x, sigmas, noise=noise, **fixed)
        if name in OPTIONS and schedule == "Karras" and steps == OPTION_STEPS:
            word, options = OPTIONS[name]
            noise = ScriptedNoise(torch.float64)
            result = by_k_diffusion(sampling, function, x, sigmas, noise=noise, **fixed, **options)
            yield f"{name}/{schedule}/{steps}/{word}", result


def dpm_solver_runs(sampling: Any, levels: Levels) -> Iterator[tuple[str, Tensor]]:
    """Those of DPM fast and DPM adaptive, with and without noise."""
    x = torch.from_numpy(normal(0)) * levels.high
    for word, eta in (("", 1.0), ("/eta", 0.0)):
        for steps in STEPS:
            ends = (levels.low, levels.high, steps)
            noise = ScriptedNoise(torch.float64)
            yield (
                f"DPM fast/own/{steps}{word}",
                by_k_diffusion(sampling, "sample_dpm_fast", x, *ends, noise=noise, eta=eta),
            )
        ends, noise = (levels.low, levels.high), PlainNoise(torch.float64)
        result = by_k_diffusion(sampling, "sample_dpm_adaptive", x, *ends, noise=noise, eta=eta)
        yield f"DPM adaptive/own/20{word}", result


def in_unit_variance(x: Tensor, alpha: float) -> Tensor:
    """The noise that the mixture predicts for latents of unit variance."""
    denoised = denoise(x / math.sqrt(alpha), math.sqrt((1 - alpha) / alpha))
    return (x - math.sqrt(alpha) * denoised) / math.sqrt(1 - alpha)


def ddim_timesteps(steps: int) -> list[int]:
    """AUTOMATIC1111's, falling."""
    return [min(t + 1, 999) for t in range(0, 1000, 1000 // steps)][::-1]


def diffusers_runs() -> Iterator[tuple[str, Tensor]]:
    """Those of DDIM, PLMS and UniPC."""
    for steps in STEPS[1:]:
        timesteps = ddim_timesteps(steps)
        for word, eta in (("", 0.0), ("/eta", 0.7)):
            yield f"DDIM/own/{steps}{word}", by_ddim(timesteps, eta)
        yield f"PLMS/own/{steps}", by_plms(timesteps)
    yield from ((f"UniPC/own/{steps}", by_unipc(steps, "bh1")) for steps in STEPS)
    yield f"UniPC/own/{OPTION_STEPS}/bh2", by_unipc(OPTION_STEPS, "bh2")


def by_ddim(timesteps: list[int], eta: float) -> Tensor:
    scheduler = DDIMScheduler(clip_sample=False, set_alpha_to_one=False, steps_offset=1, timestep_spacing="leading")
    scheduler.alphas_cumprod = torch.from_numpy(alphas_cumprod())
    scheduler.set_timesteps(len(timesteps))
    assert scheduler.timesteps.tolist() == timesteps
    x, noise = torch.from_numpy(normal(0)), PlainNoise(torch.float64)
    for t in timesteps[:-1]:
        eps = in_unit_variance(x, float(alphas_cumprod()[t]))
        fresh = noise() if eta else None
        x = scheduler.step(eps, t, x, eta=eta, variance_noise=fresh, return_dict=False)[0]
    return x


def by_plms(timesteps: list[int]) -> Tensor:
    """Its list of timesteps has the second one twice: the first step is an improved Euler one."""
    scheduler = PNDMScheduler(skip_prk_steps=True, steps_offset=1, timestep_spacing="leading")
    scheduler.alphas_cumprod = torch.from_numpy(alphas_cumprod())
    scheduler.set_timesteps(len(timesteps))
    doubled = [*timesteps[:2], *timesteps[1:]]
    assert torch.as_tensor(scheduler.timesteps).tolist() == doubled
    x = torch.from_numpy(normal(0))
    for t in doubled[:-1]:
        x = scheduler.step(in_unit_variance(x, float(alphas_cumprod()[t])), t, x, return_dict=False)[0]
    return x


def by_unipc(steps: int, variant: Literal["bh1", "bh2"]) -> Tensor:
    """On even times from 1 to 1/1000, with log alpha between the entries of the table by straight lines."""
    times = np.linspace(1, 1 / 1000, steps + 1)
    log_alphas = np.interp(times, np.linspace(0, 1, 1001)[1:], 0.5 * np.log(alphas_cumprod()))
    sigmas = np.sqrt(1 - np.exp(2 * log_alphas)) / np.exp(log_alphas)
    scheduler = UniPCMultistepScheduler(solver_order=3, solver_type=variant, lower_order_final=True)
    scheduler.set_timesteps(steps)
    scheduler.sigmas = torch.from_numpy(sigmas)
    x = torch.from_numpy(normal(0))
    for sigma, t in zip(sigmas, scheduler.timesteps, strict=False):
        x = scheduler.step(in_unit_variance(x, float(1 / (1 + sigma**2))), t, x, return_dict=False)[0]
    return x


def by_lcm(steps: int) -> Tensor:
    """On every twentieth timestep, and between them by straight lines in log sigma."""
    entries = np.log((1 / alphas_cumprod()[19::20] - 1) ** 0.5)
    sigmas = [*np.exp(np.interp(np.linspace(49, 0, steps), range(50), entries)), 0.0]
    x, noise = torch.from_numpy(normal(0)) * sigmas[0], ScriptedNoise(torch.float64)
    for sigma, sigma_next in pairwise(sigmas):
        x = denoise(x, sigma)
        x = x + noise(sigma, sigma_next) * sigma_next if sigma_next else x
    return x


def main(folder: Path) -> None:
    """Everything, into references.npz beside this file."""
    torch.set_default_dtype(torch.float64)
    sampling, external = load_k_diffusion(folder)
    levels = Levels(sampling, external)
    runs = dict(k_diffusion_runs(sampling, levels))
    runs |= dict(dpm_solver_runs(sampling, levels))
    runs |= dict(diffusers_runs())
    runs |= {f"LCM/Uniform/{steps}": by_lcm(steps) for steps in STEPS}
    stored = {f"{name}/{steps}": levels.of(name, steps).numpy() for name, steps in product(levels.names, STEPS)}
    results = np.stack([result.flatten()[KEPT].numpy() for result in runs.values()]).astype(np.float32)
    np.savez_compressed(FILE, allow_pickle=False, names=np.array(list(runs)), results=results, **stored)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
