"""A picture led to another one's layout, edges, colours and shape."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from backend.extension_api import (
    ExtensionApi,
    Field,
    GenerationRequest,
    Guess,
    JobTurn,
    Params,
    SamplingTurn,
    hook,
)

from .guides import Guides

if TYPE_CHECKING:
    from torch import Tensor

STEP, SMALLEST, LARGEST = 8, 64, 2048  # pixels of a side
EDGE = 0.2  # of the residuals at full strength


class Control(Params):
    """What is taken from the guide, and how much."""

    enabled: bool = Field(default=False, title="Simple control")
    guide: str = Field(default="latest", title="Guide", description="A file in guides/, or a picture that was put in.")
    layout: float = Field(default=0.7, ge=0, le=1, title="Layout", json_schema_extra={"step": 0.05})
    cells: int = Field(default=8, ge=1, le=64, title="Detail of the layout", description="Cells along the larger side.")
    edges: float = Field(default=0.0, ge=0, le=1, title="Edges", json_schema_extra={"step": 0.05})
    colours: float = Field(default=0.0, ge=0, le=1, title="Colours", json_schema_extra={"step": 0.05})
    until: float = Field(
        default=0.6, ge=0, le=1, title="Until", description="Of all steps.", json_schema_extra={"step": 0.05}
    )
    shape: bool = Field(default=False, title="Shape of the guide")


@hook
def register(api: ExtensionApi) -> None:
    """Parameters, and a way from a result to a guide."""
    api.params(Control)
    api.gallery_action("Guide the next ones by this", api.keep(Guides(api.data_dir / "guides")).put)


@hook
def on_request(request: GenerationRequest, turn: JobTurn) -> GenerationRequest | None:
    """In the guide's shape, at the area that was asked for."""
    asked = turn.params(Control)
    if not asked.shape:
        return None
    guide = turn.kept(Guides).find(asked.guide, turn)
    width = math.sqrt(request.width * request.height * guide.width / guide.height)
    sides = [
        min(max(STEP * round(side / STEP), SMALLEST), LARGEST) for side in (width, width * guide.height / guide.width)
    ]
    return replace(request, width=sides[0], height=sides[1])


@hook
def on_sampling_start(turn: SamplingTurn) -> None:
    """The guide is encoded, and its edges stand beside what the UNet's blocks hand on."""
    asked = turn.params(Control)
    if asked.layout or asked.colours:
        turn.kept(Guides).encode(asked.guide, turn)
    if asked.edges == 0:
        return
    import torch

    edges = torch.from_numpy(turn.kept(Guides).edges(asked.guide, turn)).to(turn.device)
    down, mid = turn.residual_shapes
    shown = [fitted(edges, shape, asked.edges * EDGE) for shape in (*down, mid)]

    # The same for every row and timestep.
    def residuals(x: "Tensor", t: "Tensor", context: "Tensor") -> "tuple[Sequence[Tensor], Tensor]":  # noqa: ARG001
        *for_down, for_mid = (each.to(x.dtype).expand(len(x), -1, -1, -1) for each in shown)
        return for_down, for_mid

    turn.add_residuals(residuals)


@hook
def on_step(guess: Guess, turn: SamplingTurn) -> "Tensor | None":
    """The guide's low frequencies in place of the guess' own, by a share."""
    asked = turn.params(Control)
    if asked.layout == 0 or guess.call >= asked.until * guess.calls:
        return None
    guide = turn.kept(Guides).latents(turn)
    return guess.denoised + asked.layout * (low(guide, asked.cells) - low(guess.denoised, asked.cells))


@hook
def on_sampling_end(latents: "Tensor", turn: SamplingTurn) -> "Tensor | None":
    """Mean and spread of each channel of the guide's latents, by a share."""
    asked = turn.params(Control)
    if asked.colours == 0:
        return None
    guide = turn.kept(Guides).latents(turn)
    mean, spread = latents.mean((2, 3), keepdim=True), latents.std((2, 3), keepdim=True).clamp(min=1e-4)
    wanted = (latents - mean) / spread * guide.std((2, 3), keepdim=True) + guide.mean((2, 3), keepdim=True)
    return latents + asked.colours * (wanted - latents)


def low(latents: "Tensor", cells: int) -> "Tensor":
    """What is left of latents (pictures, channels, height, width) that were reduced to so many cells along the larger
    side, and enlarged again."""
    from torch.nn.functional import interpolate

    height, width = latents.shape[-2:]
    share = min(1.0, cells / max(height, width))
    reduced = interpolate(latents, (max(1, round(height * share)), max(1, round(width * share))), mode="area")
    return interpolate(reduced, (height, width), mode="bicubic", align_corners=False)


def fitted(edges: "Tensor", shape: tuple[int, int, int], strength: float) -> "Tensor":
    """Edges (1, 1, height, width) for a block of this shape: every channel the same, and nothing on average."""
    from torch.nn.functional import interpolate

    channels, height, width = shape
    sized = interpolate(edges, (height, width), mode="area")
    return (strength * (sized - sized.mean())).expand(1, channels, height, width)
