"""What a picture says of how it was made, beside its request."""

from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace

from backend.families.unseen import EDIT, INPAINTING
from backend.infotext import write_infotext
from backend.request import GenerationRequest


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What the infotext says beside the request; hashes of files that are first used are still being taken."""

    schedule: str
    checkpoint: Future[str]
    vae: Future[str] | None
    vae_name: str
    loras: Mapping[str, Future[str]]
    embeddings: Mapping[str, Future[str]]
    further: int

    def infotext(self, request: GenerationRequest) -> str:
        """The ``parameters`` of one picture. Waits for the hashes; raises `ModelFileError` if one cannot be taken."""
        return write_infotext(
            replace(request, vae=self.vae_name),
            schedule=self.schedule,
            model_hash=self.checkpoint.result(),
            vae_hash=self.vae.result() if self.vae else "",
            lora_hashes={name: sha256.result() for name, sha256 in self.loras.items()},
            embedding_hashes={name: sha256.result() for name, sha256 in self.embeddings.items()},
            edits=self.further == EDIT,
            inpaints=self.further == INPAINTING,
        )
