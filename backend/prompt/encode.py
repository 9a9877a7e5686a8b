"""Words to conditioning: chunks of 75 tokens through the text encoders, side by side."""

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from transformers import CLIPTokenizer

from backend.errors import InvalidRequest
from backend.families.family import TextEncoding
from backend.families.networks import TextEncoder
from backend.prompt.chunking import COMMA_BACKTRACK, Chunk, chunks
from backend.prompt.conditioning_cache import Kept
from backend.prompt.editing import read_editing
from backend.prompt.embeddings import Inversions, TextualInversion, placed
from backend.prompt.grammar import uncommented
from backend.prompt.passage import Passage
from backend.sampling.conditioning import Conditioning

ORIGINAL, NO_NORM, IGNORE, NONE = "Original", "No norm", "Ignore", "None"  # A1111's modes of emphasis
AT_ONCE = 64  # chunks in one call of a text encoder

Chunks = Sequence[Chunk[TextualInversion]]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How words are read.

    `clip_skip` counts layers from the end as A1111 does, for the families that obey it: 1 is the last layer; the final
    layer norm is always applied. `emphasis` is what becomes of attention: "Original" multiplies each token by its
    weight and brings the mean back to what it was, "No norm" leaves that out, "Ignore" does neither, for "None"
    brackets are plain signs. `comma_backtrack` is as in `chunks`.
    """

    clip_skip: int = 1
    emphasis: str = ORIGINAL
    comma_backtrack: int = COMMA_BACKTRACK


def words_of(tokenizer: CLIPTokenizer, texts: Sequence[str], inversions: Inversions) -> list[TextualInversion]:
    """The trained words that stand in prompts, each once, also where they only stand for some time."""
    pieces = [piece for text in texts for piece in read_editing(uncommented(Passage.of(text)).text).words()]
    every = [chunk for piece in pieces for chunk in chunks(tokenizer, piece, inversions)]
    return list(dict.fromkeys(inversion for chunk in every for _, inversion in chunk.places))


def encode(
    tokenizer: CLIPTokenizer,
    encoders: Sequence[tuple[TextEncoding, TextEncoder]],
    groups: Sequence[Sequence[str]],
    *,
    reading: Reading,
    inversions: Inversions | None = None,
    kept: Kept | None = None,
) -> list[list[Conditioning]]:
    """The conditioning of each text of each group, its context (77 x its chunks, width), from one call of each text
    encoder where that is enough.

    A group are the texts that one prompt is in the course of a picture: all get as many chunks as the longest, and
    "Original" emphasis brings back the mean over the whole group, chunk by chunk, as A1111 does; texts count as often
    as they are there, and are encoded once. The contexts of several encoders are put side by side, width after width;
    the pooled text is the first chunk's. `kept` may have all of it from before. Raises `InvalidRequest` if the text
    encoder has fewer layers than `reading` skips.
    """
    read = [_Group.of(tokenizer, texts, reading, inversions) for texts in groups]

    def now() -> list[list[Conditioning]]:
        return _encoded(cast("int", tokenizer.eos_token_id), encoders, read, reading)

    if kept is None:
        return now()
    key = (reading.clip_skip, reading.emphasis, tuple(group.key for group in read))
    return [list(group) for group in kept(key, now)]


@dataclass(frozen=True)
class _Group:
    """Texts that are encoded together: `texts` has each once, in equally many chunks, and `counts` how often it is
    there; `order` has for each that was given its number."""

    texts: list[Chunks]
    counts: list[int]
    order: tuple[int, ...]

    @classmethod
    def of(
        cls, tokenizer: CLIPTokenizer, texts: Sequence[str], reading: Reading, inversions: Inversions | None
    ) -> "_Group":
        counted = Counter(texts)
        read = [
            chunks(
                tokenizer, text, inversions, comma_backtrack=reading.comma_backtrack, literal=reading.emphasis == NONE
            )
            for text in counted
        ]
        most = max(len(each) for each in read)
        (empty,) = chunks(tokenizer, "")
        numbers = {text: number for number, text in enumerate(counted)}
        return cls(
            texts=[[*each, *[empty] * (most - len(each))] for each in read],
            counts=list(counted.values()),
            order=tuple(numbers[text] for text in texts),
        )

    @property
    def key(self) -> Hashable:
        """The same for what is encoded to the same."""
        each = tuple(
            tuple(
                (tuple(chunk.tokens), chunk.weights, tuple((at, word.digest) for at, word in chunk.places))
                for chunk in text
            )
            for text in self.texts
        )
        return each, self.order


def _encoded(
    end: int, encoders: Sequence[tuple[TextEncoding, TextEncoder]], groups: Sequence[_Group], reading: Reading
) -> list[list[Conditioning]]:
    every = [chunk for group in groups for text in group.texts for chunk in text]
    contexts: list[Tensor] = []
    pooled: Tensor | None = None
    for number, (encoding, encoder) in enumerate(encoders):
        hidden, projected = _all_through(encoder, encoding, number, every, end, reading.clip_skip)
        if reading.emphasis in (ORIGINAL, NO_NORM):
            first = 0
            for group in groups:
                _emphasise(hidden, first, group, restored=reading.emphasis == ORIGINAL)
                first += sum(len(text) for text in group.texts)
        contexts.append(hidden)
        pooled = projected if projected is not None else pooled
    context = contexts[0] if len(contexts) == 1 else torch.cat(contexts, dim=-1)
    told: list[list[Conditioning]] = []
    row = 0
    for group in groups:
        distinct: list[Conditioning] = []
        for text in group.texts:
            whole = context[row : row + len(text)].flatten(0, 1)
            distinct.append(Conditioning(context=whole, pooled=None if pooled is None else pooled[row]))
            row += len(text)
        told.append([distinct[number] for number in group.order])
    return told


def _emphasise(hidden: Tensor, first: int, group: _Group, *, restored: bool) -> None:
    """Weigh the tokens of a group, whose chunks begin at row `first` of `hidden`, in place. With `restored` the mean
    of each chunk, over all texts, is as before."""
    length = len(group.texts[0])
    for place in range(length):
        weights = [text[place].weights for text in group.texts]
        if not any(weights):
            continue
        rows = [first + number * length + place for number in range(len(group.texts))]
        table = torch.tensor([each or [1.0] * hidden.shape[1] for each in weights], device=hidden.device)
        before = hidden[rows].float()
        after = before * table.unsqueeze(-1)
        if restored:
            after = after * (_mean(before, group.counts) / _mean(after, group.counts))
        hidden[rows] = after.to(hidden.dtype)


def _mean(each: Tensor, counts: Sequence[int]) -> Tensor:
    """Of all numbers, where each row is there so many times."""
    times = torch.tensor(counts, dtype=each.dtype, device=each.device)
    return (each.mean(dim=(1, 2)) * times).sum() / times.sum()


def _all_through(
    encoder: TextEncoder, encoding: TextEncoding, number: int, every: Chunks, end: int, clip_skip: int
) -> tuple[Tensor, Tensor | None]:
    """`_through` for any number of chunks; `number` is the encoder's in its family."""
    hidden: list[Tensor] = []
    projected: list[Tensor] = []
    for start in range(0, len(every), AT_ONCE):
        some = every[start : start + AT_ONCE]
        ids = torch.tensor([chunk.padded(end, encoding.pad) for chunk in some], device=encoder.device)
        with placed(encoder, number, [chunk.places for chunk in some]):
            states, ends = _through(encoder, encoding, ids, clip_skip)
        hidden.append(states)
        projected += [] if ends is None else [ends]
    return (
        hidden[0] if len(hidden) == 1 else torch.cat(hidden),
        (projected[0] if len(projected) == 1 else torch.cat(projected)) if projected else None,
    )


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
