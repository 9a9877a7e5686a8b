from typing import cast

import pytest
import torch
from torch import Tensor
from transformers import CLIPTextModel

from backend.errors import InvalidRequest
from backend.families import FAMILIES
from backend.families.clip_tokenizer import VOCABULARY_SIZE, clip_tokenizer
from backend.families.family import TextEncoding
from backend.prompt.encode import chunks, encode
from tests.checkpoints import tiny, tiny_networks

START, END = 49406, 49407
(CLIP_L,) = FAMILIES["sd1"].text


@pytest.fixture(scope="module")
def text_encoder() -> CLIPTextModel:
    return tiny_networks()[2].eval().requires_grad_(False)


def contexts(text_encoder: CLIPTextModel, texts: list[str], clip_skip: int = 1) -> list[Tensor]:
    """What the one text encoder of SD 1.x makes of the texts."""
    encoded = encode(clip_tokenizer(), [(CLIP_L, text_encoder)], texts, clip_skip=clip_skip)
    assert all(words.pooled is None and words.sizes == () for words in encoded)
    return [words.context for words in encoded]


def test_the_vocabulary_is_clips() -> None:
    """The ids that CLIP's paper code gives for this caption."""
    tokenizer = clip_tokenizer()
    assert len(tokenizer) == VOCABULARY_SIZE
    assert tokenizer("a photo of a CAT").input_ids == [START, 320, 1125, 539, 320, 2368, END]


@pytest.mark.parametrize(("words", "expected"), [(0, 1), (1, 1), (75, 1), (76, 2), (150, 2), (151, 3)])
def test_chunks_hold_75_tokens_between_start_and_end(words: int, expected: int) -> None:
    tokenizer = clip_tokenizer()
    parts = [chunk.tokens for chunk in chunks(tokenizer, " ".join(["tree"] * words))]
    assert len(parts) == expected
    assert all(len(part) == 77 and part[0] == START and part[-1] == END for part in parts)
    (tree,) = tokenizer("tree", add_special_tokens=False).input_ids
    assert sum(part.count(tree) for part in parts) == words
    filled = parts[-1].index(END)
    assert set(parts[-1][filled:]) == {END}


@pytest.mark.parametrize("words", [0, 3, 75])
def test_other_padding_begins_after_the_first_end(words: int) -> None:
    """As open_clip tokenizes: start, words, end, zeros."""
    (chunk,) = chunks(clip_tokenizer(), " ".join(["tree"] * words))
    padded = chunk.padded(END, 0)
    assert padded == [*chunk.tokens[: words + 2], *[0] * (75 - words)]
    assert padded[words + 1] == END
    assert chunk.padded(END, None) == chunk.tokens


def test_one_chunk_is_what_transformers_itself_gives(text_encoder: CLIPTextModel) -> None:
    ids = clip_tokenizer()("a red boat", padding="max_length", max_length=77, return_tensors="pt").input_ids
    (ours,) = contexts(text_encoder, ["a red boat"])
    assert torch.equal(ours, text_encoder(ids).last_hidden_state[0])


def test_each_chunk_is_encoded_as_if_alone(text_encoder: CLIPTextModel) -> None:
    long = " ".join(["tree"] * 75 + ["boat"] * 10)
    together, short = contexts(text_encoder, [long, "boat"])
    first, second = (contexts(text_encoder, [text])[0] for text in ("tree " * 75, "boat " * 10))
    assert together.shape == (154, 64)
    assert short.shape == (77, 64)
    torch.testing.assert_close(together, torch.cat([first, second]))


def test_clip_skip_takes_an_earlier_layer_through_the_final_norm(text_encoder: CLIPTextModel) -> None:
    ids = torch.tensor([chunk.tokens for chunk in chunks(clip_tokenizer(), "a red boat")])
    hidden = text_encoder(ids, output_hidden_states=True).hidden_states
    core = getattr(text_encoder, "text_model", text_encoder)
    (skipped,) = contexts(text_encoder, ["a red boat"], clip_skip=2)
    (whole,) = contexts(text_encoder, ["a red boat"], clip_skip=1)
    assert torch.equal(skipped, core.final_layer_norm(hidden[-2])[0])
    assert not torch.equal(skipped, whole)


def test_clip_skip_past_the_first_layer_gets_a_sentence(text_encoder: CLIPTextModel) -> None:
    with pytest.raises(InvalidRequest, match="Clip skip must be from 1 to 2 for this checkpoint, not 3"):
        contexts(text_encoder, ["a"], clip_skip=3)


def encoders_of(name: str) -> list[tuple[TextEncoding, CLIPTextModel]]:
    """The text encoders of a tiny checkpoint, with the family's rules."""
    text = [cast("CLIPTextModel", module) for module in tiny(name).text.values()]
    return list(zip(FAMILIES[name].text, text, strict=True))


@pytest.mark.parametrize("name", ["sd2", "sdxl", "sdxl-refiner"])
def test_clip_skip_means_nothing_where_a1111_ignores_it(name: str) -> None:
    encoders = encoders_of(name)
    (plain,) = encode(clip_tokenizer(), encoders, ["a red boat"])
    (skipped,) = encode(clip_tokenizer(), encoders, ["a red boat"], clip_skip=12)
    assert torch.equal(plain.context, skipped.context)


def test_two_encoders_stand_side_by_side_and_the_first_chunk_is_pooled() -> None:
    encoders = encoders_of("sdxl")
    long = " ".join(["tree"] * 80)
    words, short = encode(clip_tokenizer(), encoders, [long, "boat"])
    assert (words.context.shape, short.context.shape) == ((154, 64 + 128), (77, 64 + 128))
    first = [chunk.padded(END, 0) for chunk in chunks(clip_tokenizer(), long)][:1]
    assert words.pooled is not None
    torch.testing.assert_close(words.pooled, encoders[1][1](torch.tensor(first)).text_embeds[0])
    (alone,) = encode(clip_tokenizer(), encoders[:1], [long])
    torch.testing.assert_close(words.context[:, :64], alone.context)


def test_no_words_are_zeros_of_the_same_shape() -> None:
    (words,) = encode(clip_tokenizer(), encoders_of("sdxl"), ["boat"])
    silent = words.without_words()
    assert silent.pooled is not None
    assert words.pooled is not None
    assert silent.context.shape == words.context.shape
    assert silent.pooled.shape == words.pooled.shape
    assert not silent.context.any()
    assert not silent.pooled.any()
