"""What the rest of Atelier knows about an architecture: one row of a table."""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from backend.model_manager.header import Header
from backend.model_manager.identity import Prediction
from backend.sampling.aligned import AlignedFor

if TYPE_CHECKING:  # a family is looked up before torch is loaded
    from torch import Tensor, nn

    from backend.families.networks import Networks


@dataclass(frozen=True, kw_only=True)
class LatentFormat:
    """`channels` of latents, `factor` pixels to a latent along each side, and `scale`: latents x scale have unit
    variance (Rombach et al. 2022, appendix G)."""

    channels: int
    factor: int
    scale: float


@dataclass(frozen=True, kw_only=True)
class TextEncoding:
    """How one text encoder of a family is asked.

    `role` is its name in `Networks`. A chunk of tokens is filled up with the end of text, or with `pad` after the first
    end. It answers with its last layer through the final norm, `penultimate` with the last but one as it is. Only
    where `obeys_clip_skip` does that setting choose another layer, as in AUTOMATIC1111. `pooled` means that the end of
    the first chunk, projected, conditions the UNet too.
    """

    role: str
    pad: int | None = None
    penultimate: bool = False
    obeys_clip_skip: bool = False
    pooled: bool = False


@dataclass(frozen=True, kw_only=True)
class Component:
    """One network of a checkpoint: how its empty shell is made, and the file's tensors by the shell's own names.

    `role` is its name in `Networks` (``unet``, ``vae``, ``text_encoder``, ``text_encoder_2``). Two components with
    equal `architecture` fit into one shell. `blank()` makes a module whose parameters are on the meta device and whose
    buffers are real. `tensors` are the file's own, in its precision, views of the mapped file wherever that is
    possible. `full_precision` networks overflow in float16 (SDXL's VAE).
    """

    role: str
    architecture: Hashable
    blank: "Callable[[], nn.Module]"
    tensors: "Mapping[str, Tensor]"
    full_precision: bool = False


def no_sizes(width: int, height: int, *, negative: bool) -> tuple[float, ...]:  # noqa: ARG001  the column's signature
    """What a UNet that knows nothing of sizes is told about the picture."""
    return ()


@dataclass(frozen=True, kw_only=True)
class Family:
    """An architecture: how a file of it is recognised, built, and asked.

    `native_size` is the side in pixels of the pictures it was trained on, `native_size_of_v` of those that its
    v-prediction checkpoints were, if that is another. `bears_marks(header)` decides by structure
    alone, never by a name. `components(header, tensors)` are its networks, from a single file's tensors.
    `prediction(header, tensors)` is what the UNet was trained to guess. `alphas_cumprod()` is the noise schedule of the
    training, shape (1000,), with `zero_terminal_snr=True` without any signal at its end. `text` is how words are
    encoded, in the order in which their contexts are put side by side. `sizes(width, height, negative=...)` are the
    numbers that the UNet is told about a picture (SDXL's micro-conditioning). With `empty_negative_is_zero` an empty
    negative prompt is no words at all, as in AUTOMATIC1111. A `full_precision_vae` overflows in float16.
    `aligned_for` says which of the published levels "Align Your Steps" and its kin are for it.
    """

    name: str
    title: str
    native_size: int
    latent_format: LatentFormat
    text: tuple[TextEncoding, ...]
    bears_marks: Callable[[Header], bool]
    components: "Callable[[Header, Mapping[str, Tensor]], tuple[Component, ...]]"
    prediction: "Callable[[Header, Mapping[str, Tensor]], Prediction]"
    alphas_cumprod: "Callable[..., Tensor]"
    sizes: Callable[..., tuple[float, ...]] = no_sizes
    empty_negative_is_zero: bool = False
    full_precision_vae: bool = False
    native_size_of_v: int = 0
    aligned_for: AlignedFor = "sd1"

    def build(self, header: Header, tensors: "Mapping[str, Tensor]") -> "Networks":
        """Networks that hold the file's own tensors, in its precision, on the CPU: nothing is initialised and nothing
        copied that need not be. Raises `RuntimeError` if the file lacks some of them."""
        from backend.families.ldm import has_zero_terminal_snr
        from backend.families.networks import assemble

        return assemble(
            self.components(header, tensors),
            prediction=self.prediction(header, tensors),
            zero_terminal_snr=has_zero_terminal_snr(header),
        )
