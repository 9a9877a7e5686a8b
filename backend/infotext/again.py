"""Making one of our own pictures once more, from its file alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from backend.errors import InvalidRequest
from backend.infotext.extended import ExtensionHere
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


def again(recipe: Recipe, models: Models, extensions: Sequence[ExtensionHere] = ()) -> Again:
    """The request in a picture of ours. A model is the file with the very bytes, whatever its name is now; one that is
    missing keeps the name it had. `extensions` are those that are on; what the request has for others is left out.
    Raises `InvalidRequest` for a picture of others, and for a request that cannot be read."""
    if not recipe.request:
        raise InvalidRequest("This picture was not made by Atelier, so its file does not hold a whole request.")
    request = GenerationRequest.from_json(recipe.request)
    search = Search(models)
    if not recipe.made_with:  # an early picture of ours
        request, remarks = _extended(request, {}, extensions)
        said = ("The files it was made of are not said.", *remarks)
        return Again(request=request, device="", missing=(), remarks=said)
    made_with = Provenance.from_json(recipe.made_with)
    request, remarks = _extended(request, made_with.extensions, extensions)
    return Again(
        request=_renamed(request, made_with.files, search),
        device=made_with.device,
        missing=tuple(search.missing),
        remarks=(*search.remarks, *remarks),
    )


def _extended(
    request: GenerationRequest, versions: Mapping[str, str], extensions: Sequence[ExtensionHere]
) -> tuple[GenerationRequest, list[str]]:
    """The request without what is for extensions that are not on, and what is to be said of those that took part."""
    known = {extension.id: extension for extension in extensions}
    remarks: list[str] = []
    extras = dict(request.extras)
    for id in sorted({*versions, *extras}):
        version = versions.get(id, "")
        if id not in known:
            extras.pop(id, None)
            name = f"{id} {version}".strip()
            remarks.append(f"The extension {name} took part in it and is not on here: it is left out.")
            continue
        if version and version != known[id].version:
            remarks.append(f"{known[id].title} was {version} then; here it is {known[id].version}.")
        if id in extras:
            try:
                extras[id] = known[id].checked(extras[id])
            except InvalidRequest as error:
                del extras[id]
                remarks.append(f"{known[id].title} is left out: {error}")
    return (request if extras == request.extras else replace(request, extras=extras)), remarks


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
