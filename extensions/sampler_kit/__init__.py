"""One of each registry: a sampler, a schedule, an upscaler, operations, an axis, and a token of the prompt."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from backend.extension_api import ExtensionApi, Field, JobTurn, Params, hook

from .finishing import Grain, Vignette, grain, sharpened, vignette
from .sampling import laplace, sample_gradient_estimation
from .shape import ASPECT
from .tint import tint

if TYPE_CHECKING:
    from torch import Tensor


class Spread(Params):
    """How far the words stand apart."""

    enabled: bool = Field(default=False, title="Spread of the words")
    spread: float = Field(default=1.0, ge=0.0, le=2.0, title="Spread", json_schema_extra={"step": 0.05})


@hook
def register(api: ExtensionApi) -> None:
    """All that this extension brings."""
    api.sampler("Gradient Estimation", sample_gradient_estimation, aliases=("gradient_estimation",))
    api.schedule("Laplace", laplace, aliases=("laplace",))
    api.upscaler("Bicubic, sharpened", sharpened)
    api.operation("Grain", grain, Grain)
    api.operation("Vignette", vignette, Vignette)
    api.axis(ASPECT)
    api.extra_network("tint", tint)
    api.params(Spread)


@hook
def on_conditioning(words: Any, turn: JobTurn) -> Any:
    """The prompt's tokens moved away from their mean; the negative prompt stays as it is."""
    by = turn.params(Spread).spread

    def moved(context: "Tensor") -> "Tensor":
        mean = context.mean(dim=0, keepdim=True)
        return mean + (context - mean) * by

    parts = tuple(
        replace(
            part, schedule=tuple((last, replace(said, context=moved(said.context))) for last, said in part.schedule)
        )
        for part in words.cond.parts
    )
    return replace(words, cond=replace(words.cond, parts=parts))
