"""A request's words and numbers in the way its checkpoint's family wants them."""

from collections.abc import Sequence
from dataclasses import replace

from transformers import CLIPTokenizer

from backend.families.family import Family
from backend.families.networks import Networks
from backend.families.unseen import EDIT, Shown, further_channels, no_picture, other_picture
from backend.prompt.embeddings import Inversions
from backend.prompt.encode import encode
from backend.request import GenerationRequest
from backend.sampling.denoiser import Conditioning, GuidedDenoiser
from backend.sampling.schedules import SigmaTable


def conditionings(
    request: GenerationRequest,
    family: Family,
    networks: Networks,
    tokenizer: CLIPTokenizer,
    inversions: Inversions | None = None,
    size: tuple[int, int] | None = None,
) -> list[Conditioning]:
    """What the UNet is told of the prompt, and of the negative prompt unless the guidance is 1: then that has no
    weight, and is neither encoded nor asked. `size` is what is made, (width, height), unless that is the request's."""
    width, height = size or (request.width, request.height)
    texts = [request.prompt] if request.cfg_scale == 1 else [request.prompt, request.negative_prompt]
    encoders = list(zip(family.text, networks.text_encoders(), strict=True))
    encoded = encode(tokenizer, encoders, texts, clip_skip=request.clip_skip, inversions=inversions)
    if len(encoded) > 1 and family.empty_negative_is_zero and not request.negative_prompt:
        encoded[1] = encoded[1].without_words()
    return [
        replace(words, sizes=family.sizes(width, height, negative=number > 0)) for number, words in enumerate(encoded)
    ]


def denoiser_for(
    request: GenerationRequest,
    family: Family,
    networks: Networks,
    words: Sequence[Conditioning],
    table: SigmaTable,
    *,
    shown: Shown | None = None,
    size: tuple[int, int] | None = None,
) -> GuidedDenoiser:
    """The denoiser that makes the pictures of `request`, of which `words` are the `conditionings`, at the noise levels
    of `table`; `shown` is the picture that its UNet may look at, `size` as in `conditionings`."""
    cond, *rest = words
    latent = family.latent_format
    if shown is None:
        picture = no_picture(networks, latent, *(size or (request.width, request.height)))
    else:
        picture = other_picture(networks, latent, shown)
    edits = request.init if further_channels(networks, latent) == EDIT else None
    return GuidedDenoiser(
        networks.unet,
        table,
        cond,
        rest[0] if rest else None,
        request.cfg_scale,
        prediction=networks.prediction,
        picture=picture,
        image_cfg_scale=edits.image_cfg_scale if edits else None,
    )
