"""The parts of a request that say how it is sampled, beyond sampler, schedule, steps and CFG scale.

Names, ranges and defaults are AUTOMATIC1111's settings, which it writes into its pictures wherever they are not these.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from backend import checked
from backend.errors import InvalidRequest

LARGEST_SEED = 2**64 - 1
LARGEST_SIGMA = 10_000.0  # a checkpoint of zero terminal signal begins at 4518
NOISE_SOURCES = ("NV", "CPU", "GPU")
EMPHASIS_MODES = ("Original", "No norm", "Ignore", "None")
COMMA_BACKTRACK_RANGE = (0, 74)
UNIPC_VARIANTS = ("bh1", "bh2", "vary_coeff")
UNIPC_SKIP_TYPES = ("time_uniform", "time_quadratic", "logSNR")
UNIPC_ORDER_RANGE = (1, 50)
CFG = "CFG"  # classifier-free guidance, the method there is without extensions
ENSD_RANGE = (-(2**32 - 1), 2**32 - 1)
SAMPLING_RANGES: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "sigma_churn": (0.0, 100.0),
        "sigma_tmin": (0.0, 10.0),
        "sigma_tmax": (0.0, 999.0),
        "sigma_noise": (0.0, 1.1),
        "schedule_min_sigma": (0.0, LARGEST_SIGMA),
        "schedule_max_sigma": (0.0, LARGEST_SIGMA),
        "schedule_rho": (0.0, 100.0),
        "beta_alpha": (0.01, 10.0),
        "beta_beta": (0.01, 10.0),
    }
)
GUIDANCE_RANGES: Mapping[str, tuple[float, float]] = MappingProxyType(
    {"ngms": (0.0, 15.0), "skip_early": (0.0, 1.0), "rescale": (0.0, 1.0)}
)

# Words of the page and of every message, by the place in a request.
OPTION_LABELS: Mapping[str, str] = MappingProxyType(
    {
        "sampling.eta": "Eta",
        "sampling.sigma_churn": "Sigma churn",
        "sampling.sigma_tmin": "Sigma tmin",
        "sampling.sigma_tmax": "Sigma tmax",
        "sampling.sigma_noise": "Sigma noise",
        "sampling.schedule_min_sigma": "Schedule min sigma",
        "sampling.schedule_max_sigma": "Schedule max sigma",
        "sampling.schedule_rho": "Schedule rho",
        "sampling.beta_alpha": "Beta scheduler alpha",
        "sampling.beta_beta": "Beta scheduler beta",
        "sampling.discard_penultimate": "Discard penultimate sigma",
        "sampling.sgm_noise_multiplier": "SGM noise multiplier",
        "sampling.ensd": "Eta noise seed delta",
        "sampling.unipc_variant": "UniPC variant",
        "sampling.unipc_skip_type": "UniPC skip type",
        "sampling.unipc_order": "UniPC order",
        "sampling.unipc_lower_order_final": "UniPC lower order final",
        "guidance.ngms": "Negative Guidance minimum sigma",
        "guidance.ngms_all_steps": "Negative Guidance minimum sigma for all steps",
        "guidance.skip_early": "Skip Early CFG",
        "guidance.rescale": "CFG rescale",
        "guidance.pad_conds": "Pad conds",
        "guidance.method": "Guidance method",
        "variation.seed": "Variation seed",
        "variation.strength": "Variation strength",
        "refiner.checkpoint": "Refiner",
        "refiner.switch_at": "Refiner switch at",
        "refiner.by_sampling_steps": "Refiner switch by sampling steps",
    }
)


def _check_numbers(part: object, place: str, ranges: Mapping[str, tuple[float, float]]) -> None:
    for name, (low, high) in ranges.items():
        said = OPTION_LABELS[f"{place}.{name}"]
        object.__setattr__(part, name, checked.number(said, getattr(part, name), low, high))


@dataclass(frozen=True, kw_only=True)
class SamplingOptions:
    """What a sampler and a schedule are told; each of them heeds only what it knows.

    `eta` is how much of the noise an ancestral or SDE sampler, or DDIM, takes away and replaces; None is the sampler's
    own, 1 for the former and 0 for DDIM. `sigma_churn`, `sigma_tmin`, `sigma_tmax` and `sigma_noise` are S_churn,
    S_tmin, S_tmax and S_noise of Karras et al. 2022, algorithm 2; a `sigma_tmax` of 0 means no limit. Of the schedule's
    ends and rho, 0 means the checkpoint's or the schedule's own. `ensd` is added to the seed for all noise but the
    first. The `unipc_` ones are those of Zhao et al. 2023.
    """

    eta: float | None = None
    sigma_churn: float = 0.0
    sigma_tmin: float = 0.0
    sigma_tmax: float = 0.0
    sigma_noise: float = 1.0
    schedule_min_sigma: float = 0.0
    schedule_max_sigma: float = 0.0
    schedule_rho: float = 0.0
    beta_alpha: float = 0.6
    beta_beta: float = 0.6
    discard_penultimate: bool = False
    sgm_noise_multiplier: bool = False
    ensd: int = 0
    unipc_variant: str = UNIPC_VARIANTS[0]
    unipc_skip_type: str = UNIPC_SKIP_TYPES[0]
    unipc_order: int = 3
    unipc_lower_order_final: bool = True

    def __post_init__(self) -> None:
        said = {name: OPTION_LABELS[f"sampling.{name}"] for name in self.__dataclass_fields__}
        _check_numbers(self, "sampling", SAMPLING_RANGES)
        if self.eta is not None:
            object.__setattr__(self, "eta", checked.number(said["eta"], self.eta, 0, 1))
        for name in ("discard_penultimate", "sgm_noise_multiplier", "unipc_lower_order_final"):
            checked.flag(said[name], getattr(self, name))
        for name, (low, high) in {"ensd": ENSD_RANGE, "unipc_order": UNIPC_ORDER_RANGE}.items():
            object.__setattr__(self, name, checked.whole(said[name], getattr(self, name), low, high))
        checked.choice(said["unipc_variant"], self.unipc_variant, UNIPC_VARIANTS)
        checked.choice(said["unipc_skip_type"], self.unipc_skip_type, UNIPC_SKIP_TYPES)
        if 0 < self.schedule_max_sigma <= self.schedule_min_sigma:
            raise InvalidRequest(
                f"{said['schedule_max_sigma']} {self.schedule_max_sigma:g} must be above the "
                f"{said['schedule_min_sigma'].lower()}, {self.schedule_min_sigma:g}."
            )


@dataclass(frozen=True, kw_only=True)
class Guidance:
    """How the negative prompt takes part.

    Below the noise level `ngms` it is left out of every other evaluation, or with `ngms_all_steps` of all; and also
    during the first share of the steps, `skip_early`. `rescale` is phi of Lin et al. 2023, section 3.4. `pad_conds`
    makes prompts of different lengths equally long. `method` is how both guesses become one: a name in
    `backend.sampling.guidance`.
    """

    ngms: float = 0.0
    ngms_all_steps: bool = False
    skip_early: float = 0.0
    rescale: float = 0.0
    pad_conds: bool = False
    method: str = CFG

    def __post_init__(self) -> None:
        _check_numbers(self, "guidance", GUIDANCE_RANGES)
        checked.text(OPTION_LABELS["guidance.method"], self.method)
        for name in ("ngms_all_steps", "pad_conds"):
            checked.flag(OPTION_LABELS[f"guidance.{name}"], getattr(self, name))


@dataclass(frozen=True, kw_only=True)
class Variation:
    """How far the first noise is from the seed's towards that of a second `seed`, of which -1 means "choose one"."""

    seed: int = -1
    strength: float = 0.0

    def __post_init__(self) -> None:
        said = OPTION_LABELS["variation.seed"]
        object.__setattr__(self, "seed", checked.whole(said, self.seed, -1, LARGEST_SEED))
        _check_numbers(self, "variation", {"strength": (0.0, 1.0)})


@dataclass(frozen=True, kw_only=True)
class Refiner:
    """Another checkpoint that takes over at a share of the way, of the timesteps or of the steps."""

    checkpoint: str
    switch_at: float = 0.8
    by_sampling_steps: bool = False

    def __post_init__(self) -> None:
        said = OPTION_LABELS["refiner.checkpoint"]
        if not checked.text(said, self.checkpoint):
            raise InvalidRequest(f"{said} is missing: name the checkpoint that takes over.")
        _check_numbers(self, "refiner", {"switch_at": (0.0, 1.0)})
        checked.flag(OPTION_LABELS["refiner.by_sampling_steps"], self.by_sampling_steps)

    def check_latents(self, *, same: bool) -> None:
        """Raises `InvalidRequest` if latents do not mean the `same` to the checkpoint that it takes over from."""
        if not same:
            raise InvalidRequest(
                f"{self.checkpoint} cannot refine what a checkpoint of a different kind began: choose two that share "
                "their VAE's kind."
            )
