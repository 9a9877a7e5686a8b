"""Making one of our own pictures once more, from its file alone."""

from dataclasses import dataclass, replace

from backend.errors import InvalidRequest
from backend.infotext.known_models import Missing, Models, Search
from backend.infotext.provenance import FileHashes, Provenance
from backend.infotext.recipe import Recipe
from backend.model_manager.identity import Kind
from backend.request import AUTOMATIC_VAE, OWN_VAE, GenerationRequest


@dataclass(frozen=True, kw_only=True)
class Again:
    """The request that makes a picture once more, with models named as they are here. On the same `device` it is the
    same byte for byte, unless `missing` or `remarks` say otherwise."""

    request: GenerationRequest
    device: str
    missing: tuple[Missing, ...]
    remarks: tuple[str, ...]


def again(recipe: Recipe, models: Models) -> Again:
    """The request in a picture of ours. A model is the file with the very bytes, whatever its name is now; one that is
    missing keeps the name it had. Raises `InvalidRequest` for a picture of others, and for a request that cannot be
    read."""
    if not recipe.request:
        raise InvalidRequest("This picture was not made by Atelier, so its file does not hold a whole request.")
    request = GenerationRequest.from_json(recipe.request)
    search = Search(models)
    if not recipe.made_with:  # an early picture of ours
        return Again(request=request, device="", missing=(), remarks=("The files it was made of are not said.",))
    made_with = Provenance.from_json(recipe.made_with)
    return Again(
        request=_renamed(request, made_with.files, search),
        device=made_with.device,
        missing=tuple(search.missing),
        remarks=tuple(search.remarks),
    )


def _renamed(request: GenerationRequest, files: FileHashes, search: Search) -> GenerationRequest:
    def named(kind: Kind, name: str, sha256: str) -> str:
        return search.find(kind, name, sha256) or name

    refiner, hires = request.refiner, request.hires
    if refiner is not None:
        refiner = replace(refiner, checkpoint=named(Kind.CHECKPOINT, refiner.checkpoint, files.refiner))
    if hires is not None and hires.checkpoint:
        hires = replace(hires, checkpoint=named(Kind.CHECKPOINT, hires.checkpoint, files.hires_checkpoint))
    for name, sha256 in files.embeddings.items():
        search.find(Kind.EMBEDDING, name, sha256)
    return replace(
        request,
        prompt=search.with_loras(request.prompt, files.loras),
        checkpoint=named(Kind.CHECKPOINT, request.checkpoint, files.checkpoint),
        vae=request.vae if request.vae in (AUTOMATIC_VAE, OWN_VAE) else named(Kind.VAE, request.vae, files.vae),
        refiner=refiner,
        hires=hires,
    )
