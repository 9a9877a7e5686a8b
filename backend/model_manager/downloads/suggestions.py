"""Models to begin with, by their public repository. Nothing is fetched until somebody asks for it."""

from dataclasses import dataclass

from backend.model_manager.downloads.hub import HubPlace
from backend.model_manager.identity import Kind


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """A file on the hub that is worth having. `size` in bytes, where it is known, is for the page only: what is
    fetched is measured by what the hub says of it then."""

    title: str
    kind: Kind
    place: HubPlace
    size: int | None
    why: str


def _file(repository: str, path: str) -> HubPlace:
    return HubPlace(repository=repository, path=path)


SUGGESTIONS: tuple[Suggestion, ...] = (
    Suggestion(
        title="Stable Diffusion 1.5",
        kind=Kind.CHECKPOINT,
        place=_file("stable-diffusion-v1-5/stable-diffusion-v1-5", "v1-5-pruned-emaonly.safetensors"),
        size=4_265_146_304,
        why="Small and quick; most LoRAs and embeddings of the first years are made for it.",
    ),
    Suggestion(
        title="Stable Diffusion 1.5 Inpainting",
        kind=Kind.CHECKPOINT,
        place=_file("webui/stable-diffusion-inpainting", "sd-v1-5-inpainting.safetensors"),
        size=None,
        why="Made to fill in what a mask leaves out.",
    ),
    Suggestion(
        title="Stable Diffusion XL",
        kind=Kind.CHECKPOINT,
        place=_file("stabilityai/stable-diffusion-xl-base-1.0", "sd_xl_base_1.0.safetensors"),
        size=6_938_078_334,
        why="Larger pictures, more detail; wants 8 GB of VRAM or more.",
    ),
    Suggestion(
        title="Stable Diffusion XL Refiner",
        kind=Kind.CHECKPOINT,
        place=_file("stabilityai/stable-diffusion-xl-refiner-1.0", "sd_xl_refiner_1.0.safetensors"),
        size=6_075_981_930,
        why="Trained for the last steps of Stable Diffusion XL; here it runs as a checkpoint of its own.",
    ),
    Suggestion(
        title="VAE for Stable Diffusion 1 and 2 (ft-MSE)",
        kind=Kind.VAE,
        place=_file("stabilityai/sd-vae-ft-mse-original", "vae-ft-mse-840000-ema-pruned.safetensors"),
        size=334_641_190,
        why="Clearer eyes and faces than the VAE inside the checkpoints.",
    ),
    Suggestion(
        title="VAE for Stable Diffusion XL",
        kind=Kind.VAE,
        place=_file("stabilityai/sdxl-vae", "sdxl_vae.safetensors"),
        size=334_641_164,
        why="The one that belongs to it, where a checkpoint brings a worse one.",
    ),
    Suggestion(
        title="VAE for Stable Diffusion XL, safe in fp16",
        kind=Kind.VAE,
        place=_file("madebyollin/sdxl-vae-fp16-fix", "sdxl.vae.safetensors"),
        size=334_641_162,
        why="Made not to overflow in half precision; Atelier computes any SDXL VAE in fp32 where it would be fp16.",
    ),
)
