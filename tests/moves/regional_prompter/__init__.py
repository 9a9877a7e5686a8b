"""The left half of a picture is told other words than its right half."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from backend.extension_api import AttentionPlace, ExtensionApi, Field, Params, SamplingTurn, hook

if TYPE_CHECKING:
    from torch import Tensor


class Regional(Params):
    enabled: bool = Field(default=False, title="Regional prompter")
    left: str = Field(default="", title="Left")
    right: str = Field(default="", title="Right")


@hook
def register(api: ExtensionApi) -> None:
    api.params(Regional)


@hook
def on_sampling_start(turn: SamplingTurn) -> None:
    import torch

    params = turn.params(Regional)
    halves = [turn.encode(words).cond.at(0)[0].context for words in (params.left, params.right)]

    def around(
        attend: Callable[["Tensor", "Tensor | None"], "Tensor"],
        hidden: "Tensor",
        context: "Tensor | None",
        place: AttentionPlace,  # noqa: ARG001
        shape: tuple[int, int],
    ) -> "Tensor":
        negative = torch.tensor(list(turn.negative_rows), device=hidden.device)
        if context is None or negative.all():
            return attend(hidden, context)
        height, width = shape
        columns = torch.arange(height * width, device=hidden.device) % width
        is_left = (columns < width / 2)[None, :, None]
        left, right = (attend(hidden, words.to(hidden).expand(len(hidden), -1, -1)) for words in halves)
        told = torch.where(is_left, left, right)
        return torch.where(negative[:, None, None], attend(hidden, context), told)

    turn.wrap_attention(around, where=lambda place: place.cross)
