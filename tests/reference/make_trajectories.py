"""Makes trajectories.npz: what other people's samplers do on the problem of `mixture`, in float64.

    pip download k-diffusion==0.1.1.post1 --no-deps && unzip k_diffusion-*.whl -d somewhere
    python -m tests.reference.make_trajectories somewhere/k_diffusion

Stored per sampler, grid and number of steps: the result (float32) and 16 numbers of every step's prediction; and the
noise levels of every grid. Who made them:

- Euler, Euler a, Heun, DPM++ 2M, DPM++ SDE, DPM++ 2M SDE: k-diffusion's functions, on k-diffusion's Karras, exponential
  and uniform grids. Its DPM++ 2M SDE cannot take a single step (an unbound variable) and is left out there.
- LCM: k-diffusion has none; the two lines of the algorithm.
- DDIM: diffusers' DDIMScheduler, "leading" with offset 1, without its last step, for 2 and 20 steps, where its
  timesteps are AUTOMATIC1111's; for 7 steps they are not, and equation 12 of the DDIM paper stands for it.
- UniPC: diffusers' UniPCMultistepScheduler (bh1, order 3), its noise levels replaced by AUTOMATIC1111's.
"""

import importlib
import inspect
import math
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_unipc_multistep import UniPCMultistepScheduler
from torch import Tensor

from tests.reference.mixture import ScriptedNoise, alphas_cumprod, denoise, normal

STEPS = 1, 2, 20
OWN_GRID_STEPS = 2, 7, 20
PROBES = slice(None, None, 32)  # of the flattened prediction

K_DIFFUSION = {
    "Euler": "sample_euler",
    "Euler a": "sample_euler_ancestral",
    "Heun": "sample_heun",
    "DPM++ 2M": "sample_dpmpp_2m",
    "DPM++ SDE": "sample_dpmpp_sde",
    "DPM++ 2M SDE": "sample_dpmpp_2m_sde",
}


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


def sample_lcm(
    model: Callable[[Tensor, Tensor], Tensor],
    x: Tensor,
    sigmas: Tensor,
    *,
    callback: Callable[[dict[str, Any]], None],
    noise_sampler: Callable[[Tensor, Tensor], Tensor],
    **_: object,
) -> Tensor:
    """In the manner of the functions of k-diffusion."""
    for i in range(len(sigmas) - 1):
        x = model(x, sigmas[i] * x.new_ones(len(x)))
        callback({"denoised": x})
        if sigmas[i + 1] > 0:
            x = x + sigmas[i + 1] * noise_sampler(sigmas[i], sigmas[i + 1])
    return x


def run(function: Callable[..., Tensor], sigmas: Tensor) -> tuple[Tensor, list[Tensor]]:
    """One of k-diffusion's functions on the mixture: the result and the predictions of all steps."""
    seen: list[Tensor] = []
    options: dict[str, Any] = {"disable": True, "callback": lambda state: seen.append(state["denoised"])}
    if "noise_sampler" in inspect.signature(function).parameters:
        options["noise_sampler"] = ScriptedNoise(torch.float64)
    x = torch.from_numpy(normal(0)) * sigmas[0]
    return function(lambda x, sigma: denoise(x, float(sigma[0])), x, sigmas, **options), seen


def ddim_timesteps(steps: int) -> list[int]:
    """AUTOMATIC1111's, rising."""
    return [min(t + 1, 999) for t in range(0, 1000, 1000 // steps)]


def denoise_unit_variance(x: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    """The mixture's prediction for latents of unit variance, and the noise that goes with it."""
    sigma = math.sqrt((1 - alpha) / alpha)
    denoised = denoise(x / math.sqrt(alpha), sigma)
    return denoised, (x - math.sqrt(alpha) * denoised) / math.sqrt(1 - alpha)


def run_ddim(steps: int) -> tuple[Tensor, list[Tensor]]:
    """DDIM on latents of unit variance."""
    timesteps = ddim_timesteps(steps)
    x = torch.from_numpy(normal(0))
    seen = []
    scheduler = DDIMScheduler(clip_sample=False, set_alpha_to_one=False, steps_offset=1, timestep_spacing="leading")
    scheduler.alphas_cumprod = torch.from_numpy(alphas_cumprod())
    scheduler.set_timesteps(steps)
    theirs = scheduler.timesteps.tolist() == timesteps[::-1]
    for previous, t in zip(timesteps[-2::-1], timesteps[:0:-1], strict=True):
        a, a_previous = alphas_cumprod()[t], alphas_cumprod()[previous]
        denoised, eps = denoise_unit_variance(x, a)
        seen.append(denoised)
        if theirs:
            x = scheduler.step(eps, t, x, eta=0.0, return_dict=False)[0]
        else:
            x = math.sqrt(a_previous) * denoised + math.sqrt(1 - a_previous) * eps
    return x, seen


def unipc_sigmas(steps: int) -> np.ndarray:
    """Even times from 1 to 1/1000, log alpha between the entries of the table by straight lines."""
    times = np.linspace(1, 1 / 1000, len(ddim_timesteps(steps)) + 1)
    log_alphas = np.interp(times, np.linspace(0, 1, 1001)[1:], 0.5 * np.log(alphas_cumprod()))
    return np.sqrt(1 - np.exp(2 * log_alphas)) / np.exp(log_alphas)


def run_unipc(steps: int) -> tuple[Tensor, list[Tensor]]:
    """UniPC on latents of unit variance."""
    sigmas = unipc_sigmas(steps)
    scheduler = UniPCMultistepScheduler(solver_order=3, solver_type="bh1", lower_order_final=True)
    scheduler.set_timesteps(len(sigmas) - 1)
    scheduler.sigmas = torch.from_numpy(sigmas)
    x = torch.from_numpy(normal(0))
    seen = []
    for sigma, t in zip(sigmas, scheduler.timesteps, strict=False):
        denoised, eps = denoise_unit_variance(x, 1 / (1 + sigma**2))
        seen.append(denoised)
        x = scheduler.step(eps, t, x, return_dict=False)[0]
    return x, seen


def main(folder: Path) -> None:
    """Everything, into trajectories.npz beside this file."""
    torch.set_default_dtype(torch.float64)
    sampling, external = load_k_diffusion(folder)
    table = external.DiscreteSchedule(torch.from_numpy((1 / alphas_cumprod() - 1) ** 0.5), quantize=False)
    ends = float(table.sigma_min), float(table.sigma_max)
    functions = {name: getattr(sampling, function) for name, function in K_DIFFUSION.items()} | {"LCM": sample_lcm}
    stored: dict[str, np.ndarray] = {}

    def store(name: str, result: Tensor, seen: list[Tensor]) -> None:
        stored[f"{name}/result"] = result.numpy().astype(np.float32)
        stored[f"{name}/denoised"] = torch.stack([d.flatten()[PROBES] for d in seen]).numpy().astype(np.float32)

    for steps in STEPS:
        grids = {
            "Karras": sampling.get_sigmas_karras(steps, *ends),
            "Exponential": sampling.get_sigmas_exponential(steps, *ends),
            "Uniform": table.get_sigmas(steps),
        }
        for grid, sigmas in grids.items():
            stored[f"{grid}/{steps}"] = sigmas.numpy()
        for grid in ("Karras", "Uniform"):
            for name, function in functions.items():
                if (name, steps) != ("DPM++ 2M SDE", 1):
                    store(f"{name}/{grid}/{steps}", *run(function, grids[grid]))
    for steps in OWN_GRID_STEPS:
        store(f"DDIM/{steps}", *run_ddim(steps))
        store(f"UniPC/{steps}", *run_unipc(steps))
    np.savez_compressed(Path(__file__).with_name("trajectories.npz"), allow_pickle=False, **stored)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
