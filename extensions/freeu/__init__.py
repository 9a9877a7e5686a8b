"""FreeU: other weights for what a UNet's up blocks join (Si et al. 2023, "FreeU: Free Lunch in Diffusion U-Net", arXiv
2309.11497).

The backbone's features are multiplied by b, the skips' low frequencies by s, in the two deepest up blocks.
"""

from typing import TYPE_CHECKING

from backend.extension_api import ExtensionApi, Field, Params, SamplingTurn, hook

if TYPE_CHECKING:
    from pydantic.config import JsonDict
    from torch import Tensor

LOWEST = 1  # frequencies from -1 to 0 along each side are "low": the paper's r_thresh
_SCALE: "JsonDict" = {"step": 0.05}


class FreeU(Params):
    enabled: bool = Field(default=False, title="Enabled")
    b1: float = Field(default=1.3, ge=0, le=3, title="Backbone 1", json_schema_extra=_SCALE)
    b2: float = Field(default=1.4, ge=0, le=3, title="Backbone 2", json_schema_extra=_SCALE)
    s1: float = Field(default=0.9, ge=0, le=3, title="Skip 1", json_schema_extra=_SCALE)
    s2: float = Field(default=0.2, ge=0, le=3, title="Skip 2", json_schema_extra=_SCALE)


@hook
def register(api: ExtensionApi) -> None:
    api.params(FreeU)


@hook
def on_sampling_start(turn: SamplingTurn) -> None:
    asked = turn.params(FreeU)
    weights = {0: (asked.b1, asked.s1), 1: (asked.b2, asked.s2)}

    def join(hidden: "Tensor", skip: "Tensor", block: int) -> "tuple[Tensor, Tensor]":
        backbone, skipped = weights.get(block, (1.0, 1.0))
        return strengthened(hidden, backbone), filtered(skip, skipped)

    turn.wrap_joins(join)


def strengthened(hidden: "Tensor", weight: float) -> "Tensor":
    """The structure-related scaling of section 3.3: the first half of the channels times
    (b - 1) (m - min m) / (max m - min m) + 1, where m is the channels' mean at each place."""
    import torch

    if weight == 1:
        return hidden
    mean = hidden.float().mean(dim=1, keepdim=True)
    low, high = mean.amin(dim=(2, 3), keepdim=True), mean.amax(dim=(2, 3), keepdim=True)
    factor = (weight - 1) * (mean - low) / (high - low).clamp_min(torch.finfo(torch.float32).tiny) + 1
    half = hidden.shape[1] // 2
    return torch.cat([(hidden[:, :half].float() * factor).to(hidden.dtype), hidden[:, half:]], dim=1)


def filtered(skip: "Tensor", weight: float) -> "Tensor":
    """The spectral modulation of section 3.3: the low frequencies of each channel times s."""
    import torch

    if weight == 1:
        return skip
    height, width = skip.shape[-2:]
    waves = torch.fft.fftshift(torch.fft.fftn(skip.float(), dim=(-2, -1)), dim=(-2, -1))
    row, column = height // 2, width // 2
    rows = slice(max(0, row - LOWEST), row + LOWEST)
    columns = slice(max(0, column - LOWEST), column + LOWEST)
    waves[..., rows, columns] *= weight
    plain = torch.fft.ifftn(torch.fft.ifftshift(waves, dim=(-2, -1)), dim=(-2, -1))
    return plain.real.to(skip.dtype)
