"""What a picture says of how it was made, beside its request."""

from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace

from backend.families.unseen import EDIT, INPAINTING
from backend.infotext.provenance import FileHashes, Provenance
from backend.infotext.write import NOTHING, write_infotext
from backend.request import GenerationRequest


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What the infotext says beside the request; hashes of files that are first used are still being taken."""

    schedule: str
    checkpoint: Future[str]
    vae: Future[str] | None
    vae_name: str
    refiner: Future[str] | None
    hires_checkpoint: Future[str] | None
    loras: Mapping[str, Future[str]]
    embeddings: Mapping[str, Future[str]]
    further: int
    device: str

    def made_with(self, extensions: Mapping[str, str] = NOTHING) -> Provenance:
        """With the versions of the `extensions` that took part. Waits for the hashes; raises `ModelFileError` if one
        cannot be taken."""
        files = FileHashes(
            checkpoint=self.checkpoint.result(),
            vae=self.vae.result() if self.vae else "",
            refiner=self.refiner.result() if self.refiner else "",
            hires_checkpoint=self.hires_checkpoint.result() if self.hires_checkpoint else "",
            loras={name: sha256.result() for name, sha256 in self.loras.items()},
            embeddings={name: sha256.result() for name, sha256 in self.embeddings.items()},
        )
        return Provenance(files=files, device=self.device, extensions=dict(extensions))

    def infotext(self, request: GenerationRequest, files: FileHashes, further: Mapping[str, str] = NOTHING) -> str:
        """The ``parameters`` of one picture, with what extensions say of it."""
        return write_infotext(
            replace(request, vae=self.vae_name),
            files,
            schedule=self.schedule,
            edits=self.further == EDIT,
            inpaints=self.further == INPAINTING,
            further=further,
        )
