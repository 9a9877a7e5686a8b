"""Guidance methods: how the guesses for the prompt and for the negative prompt become one."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from backend.errors import InvalidRequest
from backend.sampling.lookup import Table
from backend.sampling_options import CFG

if TYPE_CHECKING:
    from torch import Tensor


class Combine(Protocol):
    """From the guesses for the prompt and the negative prompt at a CFG `scale` to one, all shaped like `x`."""

    def __call__(self, cond: "Tensor", uncond: "Tensor", scale: float, x: "Tensor", sigma: float) -> "Tensor": ...


@dataclass(frozen=True, kw_only=True)
class GuidanceMethod:
    """A row of the table. Classifier-free guidance has no `combine`: it is what the denoiser does by itself."""

    name: str
    combine: Combine | None = None
    aliases: tuple[str, ...] = ()


GUIDANCE: Table[GuidanceMethod] = Table("guidance method", [GuidanceMethod(name=CFG)])


def find_guidance(name: str) -> GuidanceMethod:
    """The guidance method with this name, in any case. Raises `InvalidRequest` for an unknown name."""
    return GUIDANCE.find(name)


def check_edits(method: str) -> None:
    """Raises `InvalidRequest` for a method with which a checkpoint that edits a picture cannot be led towards it."""
    if method != CFG:
        raise InvalidRequest(f"{method} does not guide towards a picture: choose {CFG}, or an image CFG scale of 1.")
