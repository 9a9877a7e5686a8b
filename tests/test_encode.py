import pytest
import torch
from transformers import CLIPTextModel

from backend.errors import InvalidRequest
from backend.families.clip_tokenizer import VOCABULARY_SIZE, clip_tokenizer
from backend.prompt.encode import chunks, encode
from tests.checkpoints import tiny_networks

START, END = 49406, 49407


@pytest.fixture(scope="module")
def text_encoder() -> CLIPTextModel:
    return tiny_networks()[2].eval().requires_grad_(False)


def test_the_vocabulary_is_clips() -> None:
    """The ids that CLIP's paper code gives for this caption."""
    tokenizer = clip_tokenizer()
    assert len(tokenizer) == VOCABULARY_SIZE
    assert tokenizer("a photo of a CAT").input_ids == [START, 320, 1125, 539, 320, 2368, END]


@pytest.mark.parametrize(("words", "expected"), [(0, 1), (1, 1), (75, 1), (76, 2), (150, 2), (151, 3)])
def test_chunks_hold_75_tokens_between_start_and_end(words: int, expected: int) -> None:
    tokenizer = clip_tokenizer()
    parts = chunks(tokenizer, " ".join(["tree"] * words))
    assert len(parts) == expected
    assert all(len(part) == 77 and part[0] == START and part[-1] == END for part in parts)
    (tree,) = tokenizer("tree", add_special_tokens=False).input_ids
    assert sum(part.count(tree) for part in parts) == words
    filled = parts[-1].index(END)
    assert set(parts[-1][filled:]) == {END}


def test_one_chunk_is_what_transformers_itself_gives(text_encoder: CLIPTextModel) -> None:
    tokenizer = clip_tokenizer()
    ids = tokenizer("a red boat", padding="max_length", max_length=77, return_tensors="pt").input_ids
    (ours,) = encode(tokenizer, text_encoder, ["a red boat"])
    assert torch.equal(ours, text_encoder(ids).last_hidden_state[0])


def test_each_chunk_is_encoded_as_if_alone(text_encoder: CLIPTextModel) -> None:
    tokenizer = clip_tokenizer()
    long = " ".join(["tree"] * 75 + ["boat"] * 10)
    together, short = encode(tokenizer, text_encoder, [long, "boat"])
    first, second = (encode(tokenizer, text_encoder, [text])[0] for text in ("tree " * 75, "boat " * 10))
    assert together.shape == (154, 64)
    assert short.shape == (77, 64)
    torch.testing.assert_close(together, torch.cat([first, second]))


def test_clip_skip_takes_an_earlier_layer_through_the_final_norm(text_encoder: CLIPTextModel) -> None:
    tokenizer = clip_tokenizer()
    ids = torch.tensor(chunks(tokenizer, "a red boat"))
    hidden = text_encoder(ids, output_hidden_states=True).hidden_states
    core = getattr(text_encoder, "text_model", text_encoder)
    (skipped,) = encode(tokenizer, text_encoder, ["a red boat"], clip_skip=2)
    (whole,) = encode(tokenizer, text_encoder, ["a red boat"], clip_skip=1)
    assert torch.equal(skipped, core.final_layer_norm(hidden[-2])[0])
    assert not torch.equal(skipped, whole)


def test_clip_skip_past_the_first_layer_gets_a_sentence(text_encoder: CLIPTextModel) -> None:
    with pytest.raises(InvalidRequest, match="Clip skip must be from 1 to 2 for this checkpoint, not 3"):
        encode(clip_tokenizer(), text_encoder, ["a"], clip_skip=3)
