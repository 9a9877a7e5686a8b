"""What the rest of Atelier knows about an architecture: one row of a table."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from backend.model_manager.header import Header

if TYPE_CHECKING:  # a family is looked up before torch is loaded
    from torch import Tensor

    from backend.families.networks import Networks


@dataclass(frozen=True, kw_only=True)
class LatentFormat:
    """`channels` of latents, `factor` pixels to a latent along each side, and `scale`: latents x scale have unit
    variance (Rombach et al. 2022, appendix G)."""

    channels: int
    factor: int
    scale: float


@dataclass(frozen=True, kw_only=True)
class Family:
    """An architecture: how a file of it is recognised, built, and asked.

    `native_size` is the side in pixels of the pictures it was trained on. `bears_marks(header)` decides by structure
    alone, never by a name. `configs(header)` derives the networks' dimensions from the header's shapes.
    `build(header, tensors)` makes the networks from the file's tensors, in their own precision, on the CPU.
    `alphas_cumprod()` is the noise schedule of the training, shape (1000,).
    """

    name: str
    title: str
    native_size: int
    latent_format: LatentFormat
    bears_marks: Callable[[Header], bool]
    configs: Callable[[Header], Mapping[str, Mapping[str, Any]]]
    build: "Callable[[Header, Mapping[str, Tensor]], Networks]"
    alphas_cumprod: "Callable[[], Tensor]"
