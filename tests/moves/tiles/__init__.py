"""Large pictures in overlapping windows: no network ever sees more than one of them."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from backend.extension_api import ExtensionApi, Field, Params, SamplingTurn, hook

if TYPE_CHECKING:
    from torch import Tensor


class Tiles(Params):
    enabled: bool = Field(default=False, title="Tiles")
    window: int = Field(default=64, ge=8, le=256, title="Window", description="In latents, 8 pixels each.")
    overlap: int = Field(default=16, ge=0, le=128, title="Overlap")


def starts(length: int, window: int, overlap: int) -> list[int]:
    """Where windows begin that cover a length, the last one at its end."""
    last = max(length - window, 0)
    return [*range(0, last, max(window - overlap, 1)), last]


def blended(run: Callable[["Tensor"], "Tensor"], given: "Tensor", params: Tiles) -> "Tensor":
    """The mean of what `run` makes of each window of `given`; it may make something larger of it."""
    import torch

    def places() -> Iterator[tuple[slice, slice]]:
        for y in starts(given.shape[2], params.window, params.overlap):
            for x in starts(given.shape[3], params.window, params.overlap):
                yield slice(y, y + params.window), slice(x, x + params.window)

    total, count = torch.zeros(()), torch.zeros(())
    for rows, columns in places():
        part = run(given[:, :, rows, columns])
        scale = part.shape[2] // given[:, :, rows, columns].shape[2]
        if not total.ndim:
            whole = (*part.shape[:2], given.shape[2] * scale, given.shape[3] * scale)
            total, count = part.new_zeros(whole), part.new_zeros(whole)
        inside = (..., slice(rows.start * scale, rows.stop * scale), slice(columns.start * scale, columns.stop * scale))
        total[inside] += part
        count[inside] += 1
    return total / count


@hook
def register(api: ExtensionApi) -> None:
    api.params(Tiles)


@hook
def on_sampling_start(turn: SamplingTurn) -> None:
    params = turn.params(Tiles)

    def around(network: Callable[..., "Tensor"], x: "Tensor", t: "Tensor", **arguments: Any) -> "Tensor":
        return blended(lambda window: network(window, t, **arguments), x, params)

    turn.wrap_network(around)
    turn.wrap_vae(decode=lambda run, given: blended(run, given, params))
