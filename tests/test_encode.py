from typing import Any, cast

import pytest
import torch
from torch import Tensor
from transformers import CLIPTextModel

from backend.errors import InvalidRequest
from backend.families import FAMILIES
from backend.families.clip_tokenizer import VOCABULARY_SIZE, clip_tokenizer
from backend.families.family import TextEncoding
from backend.prompt.chunking import chunks
from backend.prompt.conditioning_cache import ConditioningCache
from backend.prompt.encode import Reading, encode
from backend.sampling.conditioning import Conditioning
from tests.checkpoints import tiny, tiny_networks

START, END = 49406, 49407
(CLIP_L,) = FAMILIES["sd1"].text


@pytest.fixture(scope="module")
def text_encoder() -> CLIPTextModel:
    encoder = tiny_networks()[2].eval().requires_grad_(False)
    # The mean of what an untrained norm gives is nothing but rounding; a trained one has a mean to bring back.
    core: Any = getattr(encoder, "text_model", encoder)
    core.final_layer_norm.bias.uniform_(0.5, 1)
    return encoder


def each_alone(
    encoders: list[tuple[TextEncoding, CLIPTextModel]], texts: list[str], reading: Reading | None = None
) -> list[Conditioning]:
    """The texts as prompts of their own."""
    groups = encode(clip_tokenizer(), encoders, [[text] for text in texts], reading=reading or Reading())
    return [said for (said,) in groups]


def contexts(text_encoder: CLIPTextModel, texts: list[str], clip_skip: int = 1) -> list[Tensor]:
    """What the one text encoder of SD 1.x makes of the texts."""
    encoded = each_alone([(CLIP_L, text_encoder)], texts, Reading(clip_skip=clip_skip))
    assert all(words.pooled is None and words.sizes == () for words in encoded)
    return [words.context for words in encoded]


def test_the_vocabulary_is_clips() -> None:
    """The ids that CLIP's paper code gives for this caption."""
    tokenizer = clip_tokenizer()
    assert len(tokenizer) == VOCABULARY_SIZE
    assert tokenizer("a photo of a CAT").input_ids == [START, 320, 1125, 539, 320, 2368, END]


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
    (plain,) = each_alone(encoders, ["a red boat"])
    (skipped,) = each_alone(encoders, ["a red boat"], Reading(clip_skip=12))
    assert torch.equal(plain.context, skipped.context)


def test_two_encoders_stand_side_by_side_and_the_first_chunk_is_pooled() -> None:
    encoders = encoders_of("sdxl")
    long = " ".join(["tree"] * 80)
    words, short = each_alone(encoders, [long, "boat"])
    assert (words.context.shape, short.context.shape) == ((154, 64 + 128), (77, 64 + 128))
    first = [chunk.padded(END, 0) for chunk in chunks(clip_tokenizer(), long)][:1]
    assert words.pooled is not None
    torch.testing.assert_close(words.pooled, encoders[1][1](torch.tensor(first)).text_embeds[0])
    (alone,) = each_alone(encoders[:1], [long])
    torch.testing.assert_close(words.context[:, :64], alone.context)


def test_no_words_are_zeros_of_the_same_shape() -> None:
    (words,) = each_alone(encoders_of("sdxl"), ["boat"])
    silent = words.without_words()
    assert silent.pooled is not None
    assert words.pooled is not None
    assert silent.context.shape == words.context.shape
    assert silent.pooled.shape == words.pooled.shape
    assert not silent.context.any()
    assert not silent.pooled.any()


def emphasised(text_encoder: CLIPTextModel, texts: list[str], emphasis: str) -> list[Tensor]:
    """One prompt that is these texts, one after the other."""
    reading = Reading(emphasis=emphasis)
    (group,) = encode(clip_tokenizer(), [(CLIP_L, text_encoder)], [texts], reading=reading)
    return [words.context for words in group]


def by_hand(text_encoder: CLIPTextModel, text: str, factors: dict[int, float]) -> tuple[Tensor, Tensor]:
    """The encoded words as they are, and with tokens weighed; the first word is token 1."""
    (plain,) = contexts(text_encoder, [text])
    weights = torch.ones(77)
    for token, factor in factors.items():
        weights[token] = factor
    return plain, plain * weights[:, None]


def test_emphasis_multiplies_the_tokens_and_keeps_the_mean(text_encoder: CLIPTextModel) -> None:
    plain, weighed = by_hand(text_encoder, "a red boat", {2: 1.5, 3: 1.5})
    (found,) = emphasised(text_encoder, ["a (red boat:1.5)"], "Original")
    torch.testing.assert_close(found, weighed * (plain.mean() / weighed.mean()))
    assert not torch.equal(found, weighed)
    (unnormed,) = emphasised(text_encoder, ["a (red boat:1.5)"], "No norm")
    torch.testing.assert_close(unnormed, weighed)
    (ignored,) = emphasised(text_encoder, ["a (red boat:1.5)"], "Ignore")
    assert torch.equal(ignored, plain)
    (literal,) = emphasised(text_encoder, ["a (red boat:1.5)"], "None")
    ids = clip_tokenizer()("a (red boat:1.5)", padding="max_length", max_length=77, return_tensors="pt").input_ids
    assert torch.equal(literal, text_encoder(ids).last_hidden_state[0])


def test_the_mean_is_that_of_all_texts_of_a_prompt(text_encoder: CLIPTextModel) -> None:
    """As often as they are there: A1111 encodes an alternation's texts step by step."""
    one, one_weighed = by_hand(text_encoder, "a red boat", {2: 2.0})
    other, _ = by_hand(text_encoder, "a boat", {})
    found = emphasised(text_encoder, ["a (red:2) boat", "a boat", "a boat"], "Original")
    ratio = torch.stack([one, other, other]).mean() / torch.stack([one_weighed, other, other]).mean()
    torch.testing.assert_close(found[0], one_weighed * ratio)
    torch.testing.assert_close(found[1], other * ratio)
    assert found[1] is found[2]
    (alone,) = emphasised(text_encoder, ["a boat"], "Original")
    assert torch.equal(alone, other)


def test_each_chunk_keeps_its_own_mean(text_encoder: CLIPTextModel) -> None:
    long = " ".join(["tree"] * 75)
    (plain,) = contexts(text_encoder, [f"{long} boat"])
    (found,) = emphasised(text_encoder, [f"{long} (boat:1.4)"], "Original")
    assert torch.equal(found[:77], plain[:77])
    _, weighed = by_hand(text_encoder, "boat", {1: 1.4})
    torch.testing.assert_close(found[77:], weighed * (plain[77:].mean() / weighed.mean()))


def test_all_texts_of_a_prompt_have_as_many_chunks(text_encoder: CLIPTextModel) -> None:
    long = " ".join(["tree"] * 80)
    short, other = emphasised(text_encoder, ["boat", long], "Original")
    assert short.shape == other.shape == (154, 64)
    (empty,) = contexts(text_encoder, [""])
    torch.testing.assert_close(short[77:], empty)


def test_each_encoder_keeps_its_own_mean_and_the_pooled_text_has_no_emphasis() -> None:
    encoders = encoders_of("sdxl")
    (plain,) = each_alone(encoders, ["a red boat"])
    (found,) = each_alone(encoders, ["a (red:1.7) boat"])
    assert torch.equal(cast("Tensor", found.pooled), cast("Tensor", plain.pooled))
    for columns in (slice(64), slice(64, None)):
        torch.testing.assert_close(found.context[:, columns].mean(), plain.context[:, columns].mean())
        weighed = plain.context[:, columns].clone()
        weighed[2] *= 1.7
        ratio = plain.context[:, columns].mean() / weighed.mean()
        torch.testing.assert_close(found.context[:, columns], weighed * ratio, rtol=1e-4, atol=1e-5)


def test_more_chunks_than_go_at_once_are_encoded_all_the_same(text_encoder: CLIPTextModel) -> None:
    texts = [f"boat {number}" for number in range(70)]
    found = emphasised(text_encoder, texts, "Original")
    assert len(found) == 70
    torch.testing.assert_close(found[69], contexts(text_encoder, [texts[69]])[0])


def test_what_was_encoded_is_kept_for_the_same_words_and_weights(text_encoder: CLIPTextModel) -> None:
    cache, calls = ConditioningCache(), []
    handle = text_encoder.register_forward_hook(lambda *_: calls.append(1))

    def asked(text: str, state: str = "these weights", emphasis: str = "Original") -> Conditioning:
        reading = Reading(emphasis=emphasis)
        (group,) = encode(clip_tokenizer(), [(CLIP_L, text_encoder)], [[text]], reading=reading, kept=cache.kept(state))
        return group[0]

    try:
        first = asked("a (red:1.2) boat")
        assert asked("a (red:1.2)   BOAT") is first
        assert len(calls) == 1
        for other in (("a (red:1.3) boat",), ("a (red:1.2) boat", "others"), ("a (red:1.2) boat", "those", "No norm")):
            assert asked(*other) is not first
        assert len(calls) == 4
        assert asked("a (red:1.2) boat") is first
    finally:
        handle.remove()


def test_the_least_used_goes_when_there_is_no_more_room() -> None:
    cache = ConditioningCache(largest=100)
    kept = cache.kept("state")
    made = {name: [[Conditioning(context=torch.zeros(40, dtype=torch.uint8))]] for name in "abc"}
    for name in "ab":
        assert kept(name, lambda name=name: made[name]) is made[name]
    assert cache.size == 80
    assert kept("a", list) is made["a"]
    kept("c", lambda: made["c"])
    assert cache.size == 80
    assert kept("a", list) is made["a"]
    assert kept("b", list) == []
    kept("large", lambda: [[Conditioning(context=torch.zeros(101, dtype=torch.uint8))]])
    assert kept("large", list) == []
    cache.clear()
    assert cache.size == 0
    assert kept("a", list) == []
