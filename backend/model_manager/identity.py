"""What a model file is: the answer that `identify` gives and the catalog keeps."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

Prediction = Literal["epsilon", "v", "flow", "edm", ""]
Distilled = Literal["", "lcm", "turbo", "lightning", "hyper"]
VAE_FAMILY = {"sd2": "sd1", "sdxl-refiner": "sdxl"}  # who shares whose autoencoder


class Kind(StrEnum):
    """The shelves of the Models tab."""

    CHECKPOINT = "checkpoint"
    LORA = "lora"
    EMBEDDING = "embedding"
    VAE = "vae"
    CONTROLNET = "controlnet"
    T2I_ADAPTER = "t2i_adapter"
    IP_ADAPTER = "ip_adapter"
    UPSCALER = "upscaler"
    TEXT_ENCODER = "text_encoder"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What a file is, decided by its content.

    `family` is the short name of the architecture it is of or for (``sd1``, ``sd2``, ``sdxl``, ``sdxl-refiner``,
    ``sd3``, ``flux1`` ...), empty where that cannot be told. `variant` is empty for the plain kind, else
    ``inpainting``, ``instruct-pix2pix``, ``depth``, ``ssd-1b`` and the like; of a LoRA its algorithm (``lora``,
    ``locon``, ``loha``, ``lokr``, ``dora``, ``oft``, ``glora``, ``ia3``, ``full``). `title` says all of that in words.
    `context_widths` are the widths of the text conditioning that it is made for, one per text encoder: a LoRA or an
    embedding `fits` a checkpoint where they are equal. `prediction` and `zero_terminal_snr` are a checkpoint's,
    `precision` is the type of most of its bytes in safetensors' words. `runs` says whether Atelier can use it,
    `problem` is the sentence if not.
    `suggested` names fields that are a guess from the file's name, to be confirmed by a person.
    """

    kind: Kind
    title: str
    family: str = ""
    variant: str = ""
    context_widths: tuple[int, ...] = ()
    prediction: Prediction = ""
    zero_terminal_snr: bool = False
    distilled: Distilled = ""
    precision: str = ""
    runs: bool = False
    problem: str = ""
    suggested: tuple[str, ...] = ()

    @property
    def vae_family(self) -> str:
        """The family of the autoencoder: latents mean the same to checkpoints that share it."""
        return VAE_FAMILY.get(self.family, self.family)

    def fits(self, checkpoint: "Identity") -> bool:
        """Whether a LoRA, an embedding or a VAE can be used with `checkpoint`: what both tell of family and text widths
        must agree, and what one leaves open is no hindrance. The widths may be told apart or in sum, as SDXL's U-Net
        sees them."""
        if self.kind is Kind.VAE:
            return not self.family or checkpoint.vae_family == self.family
        if self.family and checkpoint.family and self.family != checkpoint.family:
            return False
        ours, theirs = self.context_widths, checkpoint.context_widths
        return not ours or not theirs or ours == theirs or (1 in (len(ours), len(theirs)) and sum(ours) == sum(theirs))
