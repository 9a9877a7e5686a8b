"""What a checkpoint is best asked for with: distilled ones want few steps and hardly any guidance."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from backend.model_manager.identity import Distilled, Identity
from backend.sampling.schedules import AUTOMATIC


@dataclass(frozen=True, kw_only=True)
class Defaults:
    """Suggested values of a request's fields, by their names there."""

    steps: int = 20
    cfg_scale: float = 7.0
    sampler: str = "DPM++ 2M"
    schedule: str = AUTOMATIC


PLAIN = Defaults()
# What the authors of each kind of distillation recommend, in the words of our samplers and schedules. A guidance of 1
# is none: it is distilled into these networks. SGM Uniform spaces as their "trailing" timesteps do.
BY_DISTILLATION: Mapping[Distilled, Defaults] = MappingProxyType(
    {
        "": PLAIN,
        "lcm": Defaults(steps=6, cfg_scale=1.5, sampler="LCM"),
        "turbo": Defaults(steps=4, cfg_scale=1.0, sampler="Euler a", schedule="SGM Uniform"),
        "lightning": Defaults(steps=4, cfg_scale=1.0, sampler="Euler", schedule="SGM Uniform"),
        "hyper": Defaults(steps=8, cfg_scale=1.0, sampler="Euler", schedule="SGM Uniform"),
    }
)
# Karras' spacing spends half its steps above every noise level but the last, which has no signal.
FROM_NOISE_ALONE = Defaults(steps=28, cfg_scale=5.0, sampler="Euler")


def defaults_for(identity: Identity) -> Defaults:
    """The suggested steps, guidance, sampler and schedule of a checkpoint."""
    if identity.zero_terminal_snr and not identity.distilled:
        return FROM_NOISE_ALONE
    return BY_DISTILLATION[identity.distilled]
