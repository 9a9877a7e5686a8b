"""MultiDiffusion (Bar-Tal et al. 2023, "MultiDiffusion: Fusing Diffusion Paths for Controlled Image Generation", arXiv
2302.08113): each step is made in windows that overlap, and where they do, they are averaged (equation 5, with Gaussian
weights). So the network sees pictures of the size that it knows, however large the whole is.
"""

from collections.abc import Callable
from itertools import product
from typing import TYPE_CHECKING, Any

from backend.extension_api import ExtensionApi, Field, Params, SamplingTurn, hook

if TYPE_CHECKING:
    from torch import Tensor

LATENT = 8  # pixels
SPREAD = 0.3  # of the Gaussian, as a share of half a window


class TiledDiffusion(Params):
    enabled: bool = Field(default=False, title="Enabled")
    window: int = Field(
        default=512,
        ge=64,
        le=1536,
        title="Window",
        description="Pixels along a side: what the checkpoint knows",
        json_schema_extra={"step": 64},
    )
    overlap: float = Field(default=0.5, ge=0.0, le=0.75, title="Overlap", json_schema_extra={"step": 0.05})


@hook
def register(api: ExtensionApi) -> None:
    api.params(TiledDiffusion)


@hook
def on_sampling_start(turn: SamplingTurn) -> None:
    asked = turn.params(TiledDiffusion)
    side = asked.window // LATENT
    if max(turn.size) <= asked.window:
        return

    def around(network: "Callable[..., Tensor]", x: "Tensor", t: "Tensor", **arguments: Any) -> "Tensor":
        import torch

        places = list(product(*(starts(length, side, asked.overlap) for length in x.shape[-2:])))
        weights = weights_of(min(side, x.shape[-2]), min(side, x.shape[-1]), x)
        total = norm = torch.zeros((), dtype=torch.float32, device=x.device)
        for top, left in places:
            turn.check()
            rows, columns = slice(top, top + side), slice(left, left + side)
            guess = network(x[..., rows, columns], t, **arguments).float()
            if not total.ndim:
                total = guess.new_zeros(*guess.shape[:2], *x.shape[-2:])
                norm = torch.zeros_like(total[:1, :1])
            total[..., rows, columns] += guess * weights
            norm[..., rows, columns] += weights
        return (total / norm).to(x.dtype)

    turn.wrap_network(around)


def starts(length: int, side: int, overlap: float) -> list[int]:
    """Where windows of `side` begin along `length`, evenly spread, so that neighbours share at least that much."""
    if length <= side:
        return [0]
    stride = max(1, round(side * (1 - overlap)))
    gaps = -(-(length - side) // stride)
    return [round(k * (length - side) / gaps) for k in range(gaps + 1)]


def weights_of(height: int, width: int, like: "Tensor") -> "Tensor":
    """A window's weights, (height, width) in float32: most in the middle, and never 0."""
    import torch

    sides = []
    for length in (height, width):
        place = (torch.arange(length, device=like.device, dtype=torch.float32) + 0.5) / length * 2 - 1
        sides.append(torch.exp(-0.5 * (place / SPREAD) ** 2).clamp_min(1e-3))
    return sides[0][:, None] * sides[1]
