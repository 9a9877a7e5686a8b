"""A picture steers what is drawn: a small network makes residuals of it, which are added to the UNet's."""

from typing import TYPE_CHECKING

from backend.extension_api import ExtensionApi, Field, Params, SamplingTurn, UserError, hook

if TYPE_CHECKING:
    from torch import Tensor, nn


class Control(Params):
    enabled: bool = Field(default=False, title="Control")
    picture: str = Field(default="", title="Picture", description="The name of a picture that was put in.")
    strength: float = Field(default=1.0, ge=0, le=2, title="Strength")


class Networks:
    """From a picture, (1, 3, height, width), to some channels; their weights are always the same."""

    def __init__(self) -> None:
        self._made: dict[int, nn.Module] = {}

    def to(self, channels: int) -> "nn.Module":
        import torch

        if channels not in self._made:
            layer = torch.nn.Conv2d(3, channels, 3, padding=1, bias=False)
            layer.weight.data = torch.randn(layer.weight.shape, generator=torch.Generator().manual_seed(channels)) / 10
            self._made[channels] = layer.requires_grad_(False)
        return self._made[channels]


@hook
def register(api: ExtensionApi) -> None:
    api.params(Control)
    api.keep(Networks())


@hook
def on_sampling_start(turn: SamplingTurn) -> None:
    import numpy as np
    import torch
    from torch.nn.functional import interpolate

    params = turn.params(Control)
    if not params.picture:
        raise UserError("Control needs a picture: name one that was put in.")
    picture = turn.picture(params.picture).convert("RGB").resize(turn.size)
    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None] / 127.5 - 1

    def residual(shape: tuple[int, int, int]) -> "Tensor":
        channels, height, width = shape
        small = interpolate(pixels, size=(height, width), mode="area")
        return turn.kept(Networks).to(channels)(small) * params.strength

    # Made once for all steps: this network looks neither at the noise nor at the words.
    downs, middle = turn.residual_shapes
    down, mid = [residual(shape) for shape in downs], residual(middle)

    def residuals(x: "Tensor", t: "Tensor", context: "Tensor") -> "tuple[list[Tensor], Tensor]":  # noqa: ARG001
        ready = [each.to(x).expand(len(x), -1, -1, -1) for each in (*down, mid)]
        return ready[:-1], ready[-1]

    turn.add_residuals(residuals)
