"""Words of their own for columns or rows of the picture, by the cross attention: where the network asks what the words
say, each place is answered by its region's words, and by the prompt with a weight of its own.

The answers are mixed and not the words, so what one region says does not leak into another's tokens. Self attention and
convolutions still see the whole picture, so that it stays one. (The idea is that of Kim et al. 2023, "Dense
Text-to-Image Generation with Attention Modulation", with answers mixed instead of scores changed.)
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from backend.extension_api import (
    AttentionPlace,
    ExtensionApi,
    Field,
    GenerationRequest,
    InvalidRequest,
    Params,
    SamplingTurn,
    Turn,
    hook,
)

if TYPE_CHECKING:
    from torch import Tensor


class Regional(Params):
    enabled: bool = Field(default=False, title="Enabled")
    regions: str = Field(
        default="",
        title="Regions",
        description="The words of one region a line, from the left or from above",
        json_schema_extra={"lines": 4},
    )
    split: Literal["Columns", "Rows"] = Field(default="Columns", title="Split into")
    ratios: str = Field(default="", title="Ratios", description="Such as 1, 2, 1. Empty: all alike")
    base: float = Field(
        default=0.2,
        ge=0,
        le=1,
        title="Weight of the prompt",
        description="How much the prompt says in each region, beside its own words",
        json_schema_extra={"step": 0.05},
    )


@hook
def register(api: ExtensionApi) -> None:
    api.params(Regional)


@hook
def on_prompts(request: GenerationRequest, turn: Turn) -> None:  # noqa: ARG001 - what is asked stands in the turn
    """Says at the door what cannot be."""
    asked = turn.params(Regional)
    bounds(asked.ratios, len(lines(asked.regions)))


@hook
def on_sampling_start(turn: SamplingTurn) -> None:
    asked = turn.params(Regional)
    prompts = lines(asked.regions)
    edges = bounds(asked.ratios, len(prompts))
    contexts = [turn.encode(prompt).cond.at(0)[0].context for prompt in prompts]

    def around(
        attend: "Callable[[Tensor, Tensor | None], Tensor]",
        hidden: "Tensor",
        context: "Tensor | None",
        place: AttentionPlace,  # noqa: ARG001 - all that look at words
        shape: tuple[int, int],
    ) -> "Tensor":
        whole = attend(hidden, context)
        told = [number for number, negative in enumerate(turn.negative_rows) if not negative]
        if not told:
            return whole
        asking = hidden[told]
        mixed = asked.base * whole[told]
        for mask, words in zip(masks(edges, shape, asked.split, hidden), contexts, strict=True):
            own = words.to(hidden).expand(len(told), -1, -1)
            mixed = mixed + (1 - asked.base) * mask * attend(asking, own)
        answer = whole.clone()
        answer[told] = mixed.to(whole.dtype)
        return answer

    turn.wrap_attention(around, lambda place: place.cross)


def lines(regions: str) -> list[str]:
    """The words of each region. Raises `InvalidRequest` where there are none."""
    found = [line.strip() for line in regions.splitlines() if line.strip()]
    if not found:
        raise InvalidRequest("Regions is empty: it has the words of one region a line.")
    return found


def bounds(ratios: str, count: int) -> list[tuple[float, float]]:
    """Where each region begins and ends, as shares of the side. Raises `InvalidRequest` for ratios that are not `count`
    positive numbers."""
    try:
        widths = [float(each) for each in ratios.split(",")] if ratios.strip() else [1.0] * count
    except ValueError:
        widths = []
    if len(widths) != count or not all(0 < width < 1e6 for width in widths):
        raise InvalidRequest(
            f"Ratios must be one positive number a region, {count} with commas between, not {ratios!r}."
        )
    edges = [sum(widths[:k]) / sum(widths) for k in range(count + 1)]
    return list(pairwise(edges))


def masks(edges: Sequence[tuple[float, float]], shape: tuple[int, int], split: str, like: "Tensor") -> "list[Tensor]":
    """How much of each pixel of a layer belongs to each region, (1, pixels, 1) each; together they are 1."""
    import torch

    height, width = shape
    length = width if split == "Columns" else height
    place = torch.arange(length, device=like.device, dtype=torch.float32) / length
    found = []
    for low, high in edges:
        share = ((place + 1 / length).clamp_max(high) - place.clamp_min(low)).clamp_min(0) * length
        line = share.expand(height, width) if split == "Columns" else share[:, None].expand(height, width)
        found.append(line.reshape(1, -1, 1).to(like.dtype))
    return found
