"""Words to conditioning: chunks of 75 tokens through the text encoders, side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from transformers import CLIPTokenizer

from backend.errors import InvalidRequest
from backend.families.family import TextEncoding
from backend.families.networks import TextEncoder
from backend.prompt.embeddings import Inversions, TextualInversion, placed
from backend.sampling.denoiser import Conditioning

CHUNK = 75  # tokens between start and end of text


@dataclass(frozen=True)
class Chunk:
    """77 tokens: start, up to 75, then end of text to the end. `places` are where trained vectors go instead."""

    tokens: list[int]
    places: tuple[tuple[int, TextualInversion], ...] = ()

    def padded(self, end: int, pad: int | None) -> list[int]:
        """The tokens, with `pad` after the first end of text."""
        if pad is None:
            return self.tokens
        filled = self.tokens.index(end) + 1
        return [*self.tokens[:filled], *[pad] * (len(self.tokens) - filled)]


def chunks(tokenizer: CLIPTokenizer, text: str, inversions: Inversions | None = None) -> list[Chunk]:
    """The text's tokens, at least one chunk. An inversion that no longer fits into a chunk begins the next."""
    tokens: list[int] = tokenizer(text, add_special_tokens=False, truncation=False, verbose=False).input_ids
    # Typed for any special token of any tokenizer; these two are always there, and numbers.
    start, end = cast("int", tokenizer.bos_token_id), cast("int", tokenizer.eos_token_id)
    parts: list[tuple[list[int], list[tuple[int, TextualInversion]]]] = [([], [])]
    position = 0
    while position < len(tokens):
        found = inversions.at(tokens, position) if inversions else None
        inversion, taken = found or (None, 1)
        size = 1 if inversion is None else len(inversion)
        if len(parts[-1][0]) + size > CHUNK:
            parts.append(([], []))
        part, places = parts[-1]
        if inversion is None:
            part.append(tokens[position])
        else:
            places.append((1 + len(part), inversion))
            part += [0] * size  # whatever stands here is replaced
        position += taken
    return [Chunk([start, *part, *[end] * (CHUNK - len(part)), end], tuple(places)) for part, places in parts]


def words_of(tokenizer: CLIPTokenizer, texts: Sequence[str], inversions: Inversions) -> list[TextualInversion]:
    """The trained words that stand in `texts`, each once."""
    every = [chunk for text in texts for chunk in chunks(tokenizer, text, inversions)]
    return list(dict.fromkeys(inversion for chunk in every for _, inversion in chunk.places))


def encode(
    tokenizer: CLIPTokenizer,
    encoders: Sequence[tuple[TextEncoding, TextEncoder]],
    texts: Sequence[str],
    *,
    clip_skip: int = 1,
    inversions: Inversions | None = None,
) -> list[Conditioning]:
    """The conditioning of each text, its context (77 x its chunks, width), all through each text encoder in one call.

    The contexts of several encoders are put side by side, width after width; the pooled text is the first chunk's.
    `clip_skip` counts layers from the end as A1111 does, for the families that obey it: 1 is the last layer; the final
    layer norm is always applied. Raises `InvalidRequest` if the text encoder has fewer layers.
    """
    parts = [chunks(tokenizer, text, inversions) for text in texts]
    end = cast("int", tokenizer.eos_token_id)
    contexts: list[list[Tensor]] = []
    pooled: list[Tensor | None] = [None] * len(texts)
    for number, (encoding, encoder) in enumerate(encoders):
        every = [chunk for part in parts for chunk in part]
        ids = torch.tensor([chunk.padded(end, encoding.pad) for chunk in every], device=encoder.device)
        with placed(encoder, number, [chunk.places for chunk in every]):
            hidden, projected = _through(encoder, encoding, ids, clip_skip)
        counts = [len(part) for part in parts]
        contexts.append([text.flatten(0, 1) for text in hidden.split(counts)])
        if projected is not None:
            pooled = [text[0] for text in projected.split(counts)]
    return [
        Conditioning(context=context[0] if len(context) == 1 else torch.cat(context, dim=-1), pooled=whole)
        for context, whole in zip(zip(*contexts, strict=True), pooled, strict=True)
    ]


def _through(encoder: TextEncoder, encoding: TextEncoding, ids: Tensor, clip_skip: int) -> tuple[Tensor, Tensor | None]:
    """Hidden states (chunks, 77, width) of the layer that counts, and the projected ends of text (chunks, width)."""
    core: Any = getattr(encoder, "text_model", encoder)  # transformers 5 flattened the projection-less model
    layers = encoder.config.num_hidden_layers
    skip = clip_skip if encoding.obeys_clip_skip else 1
    if skip > layers:
        raise InvalidRequest(f"Clip skip must be from 1 to {layers} for this checkpoint, not {clip_skip}.")
    output = encoder(ids, output_hidden_states=skip > 1 or encoding.penultimate)
    projected = output.text_embeds if encoding.pooled else None
    if encoding.penultimate:
        return output.hidden_states[-2], projected
    # hidden_states[-1] is the last layer before the final norm, last_hidden_state the same after it.
    return output.last_hidden_state if skip == 1 else core.final_layer_norm(output.hidden_states[-skip]), projected
