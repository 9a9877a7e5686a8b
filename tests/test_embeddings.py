"""Trained words in place of tokens."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from backend.errors import ModelFileError
from backend.families import FAMILIES, identify
from backend.families.clip_tokenizer import clip_tokenizer
from backend.families.denoising import conditionings
from backend.model_manager.header import read_header
from backend.prompt.chunking import chunks, count_tokens
from backend.prompt.embeddings import Inversions, TextualInversion, inversions_in, placed, read_inversion
from backend.prompt.encode import Reading, encode, words_of
from backend.request import GenerationRequest
from backend.sampling.conditioning import Conditioning
from tests.checkpoints import tiny, tiny_networks, write_single_file

START, END = 49406, 49407
(CLIP_L,) = FAMILIES["sd1"].text


@pytest.fixture(scope="module")
def tokenizer() -> CLIPTokenizer:
    return clip_tokenizer()


@pytest.fixture(scope="module")
def text_encoder() -> CLIPTextModel:
    return tiny_networks()[2].eval().requires_grad_(False)


def ids(tokenizer: CLIPTokenizer, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False).input_ids


def encoded(text_encoder: CLIPTextModel, texts: list[str], known: Inversions | None = None) -> list[Conditioning]:
    """The texts as prompts of their own."""
    groups = encode(
        clip_tokenizer(),
        [(CLIP_L, text_encoder)],
        [[text] for text in texts],
        reading=Reading(),
        inversions=known,
    )
    return [said for (said,) in groups]


def trained(name: str, *shapes: tuple[int, int]) -> TextualInversion:
    return TextualInversion(name, tuple(torch.randn(shape) for shape in shapes))


@pytest.mark.parametrize(
    ("tensors", "widths", "count"),
    [
        ({"emb_params": torch.randn(3, 64)}, (64,), 3),
        ({"<any name>": torch.randn(64)}, (64,), 1),
        ({"emb_params": torch.randn(2, 64), "other": torch.randn(1)}, (64,), 2),
        ({"clip_g": torch.randn(2, 128), "clip_l": torch.randn(2, 64)}, (64, 128), 2),
    ],
)
def test_a_file_in_every_form_is_read(
    tensors: dict[str, Tensor], widths: tuple[int, ...], count: int, tmp_path: Path
) -> None:
    path = tmp_path / "my style.safetensors"
    save_file(tensors, path)
    inversion = read_inversion(path)
    assert (inversion.name, inversion.widths, len(inversion)) == ("my style", widths, count)
    key = "clip_l" if "clip_l" in tensors else next(iter(tensors))
    assert torch.equal(inversion.vectors[0], tensors[key].reshape(count, widths[0]))


@pytest.mark.parametrize(
    ("tensors", "sentence"),
    [
        ({"a": torch.zeros(1, 4), "b": torch.zeros(1, 4)}, "holds no list of vectors"),
        ({"emb_params": torch.zeros(1, 2, 3)}, "holds no list of vectors"),
        ({"clip_l": torch.zeros(1, 64), "clip_g": torch.zeros(2, 64)}, "holds no list of vectors"),
        ({"emb_params": torch.zeros(76, 4)}, "has 76 vectors; 1 to 75"),
        ({"emb_params": torch.zeros(0, 4)}, "has 0 vectors"),
    ],
)
def test_a_file_of_another_form_gets_a_sentence(tensors: dict[str, Tensor], sentence: str, tmp_path: Path) -> None:
    save_file(tensors, tmp_path / "x.safetensors")
    with pytest.raises(ModelFileError, match=rf"x\.safetensors .*{sentence}"):
        read_inversion(tmp_path / "x.safetensors")


def test_a_name_is_found_as_tokens_and_the_longest_wins(tokenizer: CLIPTokenizer) -> None:
    short, long = trained("bad", (1, 64)), trained("bad-hands-5", (2, 64))
    known = Inversions([short, long], (64,), tokenizer)
    tokens = ids(tokenizer, "a BAD-hands-5, bad")
    length = len(ids(tokenizer, "bad-hands-5"))
    assert known.at(tokens, 1) == (long, length)
    assert known.at(tokens, len(tokens) - 1) == (short, 1)
    assert known.at(tokens, 0) is None
    assert known.at(ids(tokenizer, "bad-hands-4"), 0) == (short, 1)


def test_one_of_another_width_stays_a_word_and_is_told_of(tokenizer: CLIPTokenizer) -> None:
    known = Inversions([trained("mine", (1, 64)), trained("other", (1, 64), (1, 128))], (64,), tokenizer)
    assert known.at(ids(tokenizer, "other"), 0) is None
    assert known.at(ids(tokenizer, "mine"), 0) is not None
    assert known.skipped == {
        "other": "The embedding other is for another kind of checkpoint: its vectors are 64 and 128 wide, "
        "this one's are 64."
    }


def test_only_files_that_are_named_are_read(tokenizer: CLIPTokenizer, tmp_path: Path) -> None:
    for name in ("Mine", "not named", "wide"):
        save_file({"emb_params": torch.randn(1, 128 if name == "wide" else 64)}, tmp_path / f"{name}.safetensors")
    for name in ("broken", "broken and not named"):
        (tmp_path / f"{name}.safetensors").write_bytes(b"")
    read: list[Path] = []

    def files() -> Iterator[Path]:
        for path in sorted(tmp_path.iterdir()):
            if "not named" in path.stem:
                path.unlink()  # whoever opens it now fails
            read.append(path)
            yield path

    known = inversions_in(["a mine  BROKEN", "wide"], files(), (64,), tokenizer)
    assert len(read) == 5
    found = known.at(ids(tokenizer, "a mine"), 1)
    assert found is not None
    assert found[0].name == "Mine"
    assert known.skipped.keys() == {"broken", "wide"}
    assert known.skipped["broken"] == "broken.safetensors is empty."


def test_vectors_keep_together_in_their_chunk(tokenizer: CLIPTokenizer) -> None:
    inversion = trained("mine", (10, 64))
    known = Inversions([inversion], (64,), tokenizer)
    (only,) = chunks(tokenizer, "tree " * 65 + "mine", known)
    assert only.places == ((66, inversion),)
    first, second = chunks(tokenizer, "tree " * 66 + "mine boat", known)
    assert first.places == ()
    assert first.tokens[67:] == [END] * 10
    assert second.places == ((1, inversion),)
    assert second.tokens[11:13] == [*ids(tokenizer, "boat"), END]
    assert len(first.tokens) == len(second.tokens) == 77
    assert chunks(tokenizer, "mine") == chunks(tokenizer, "mine", Inversions([], (64,), tokenizer))


def test_vectors_move_on_with_what_follows_the_last_comma(tokenizer: CLIPTokenizer) -> None:
    inversion = trained("mine", (3, 64))
    known = Inversions([inversion], (64,), tokenizer)
    first, second = chunks(tokenizer, "tree " * 69 + ", a mine boat tree", known)
    assert first.places == ()
    assert first.tokens[70:72] == [*ids(tokenizer, ","), END]
    assert second.places == ((2, inversion),)
    assert second.tokens[5:7] == ids(tokenizer, "boat tree")


def test_vectors_have_the_weight_of_their_name(tokenizer: CLIPTokenizer) -> None:
    known = Inversions([trained("mine", (2, 64))], (64,), tokenizer)
    (only,) = chunks(tokenizer, "a (mine:1.5) boat", known)
    assert only.weights == (1, 1, 1.5, 1.5, *[1] * 73)


def test_the_count_is_that_of_the_vectors(tokenizer: CLIPTokenizer) -> None:
    known = Inversions([trained("mine", (10, 64))], (64,), tokenizer)
    assert count_tokens(tokenizer, "a mine boat", known) == (12, 75)
    assert count_tokens(tokenizer, "tree " * 70 + "mine", known) == (85, 150)


def test_words_that_stand_there_for_some_time_are_found(tokenizer: CLIPTokenizer) -> None:
    """Wherever they stand, once each, and not in comments."""
    inversions = {name: trained(name, (1, 64)) for name in ("mine", "hers", "his", "theirs")}
    known = Inversions(inversions.values(), (64,), tokenizer)
    found = words_of(tokenizer, ["[a:(mine:1.2):0.5] [boat|hers|mine] # theirs", "[[his::3]:9]"], known)
    assert {inversion.name for inversion in found} == {"mine", "hers", "his"}
    assert len(found) == 3


def test_the_same_vectors_have_the_same_digest() -> None:
    vectors = torch.randn(2, 4)
    one = TextualInversion("one", (vectors,))
    assert one.digest == TextualInversion("other", (vectors.clone(),)).digest
    assert one.digest != TextualInversion("one", (vectors.flip(0),)).digest
    assert one.digest != TextualInversion("one", (vectors.reshape(4, 2),)).digest
    assert TextualInversion("half", (vectors.bfloat16(),)).digest != one.digest


def test_the_encoder_sees_the_vectors_where_the_name_stood(
    tokenizer: CLIPTokenizer, text_encoder: CLIPTextModel
) -> None:
    """Against the same network with the vectors written into its table, as diffusers does it."""
    inversion = trained("mine", (2, 64))
    known = Inversions([inversion], (64,), tokenizer)
    (ours,) = encoded(text_encoder, ["a mine boat"], known)
    a, boat = ids(tokenizer, "a boat")
    spare = [1000, 2000]
    table: Any = text_encoder.get_input_embeddings().weight
    before = table.clone()
    table.data[spare] = inversion.vectors[0]
    expected = text_encoder(torch.tensor([[START, a, *spare, boat, *[END] * 72]])).last_hidden_state[0]
    table.data.copy_(before)
    assert torch.equal(ours.context, expected)
    (plain,) = encoded(text_encoder, ["a mine boat"])
    assert not torch.equal(ours.context, plain.context)


def test_a_vector_that_is_a_tokens_own_changes_nothing(tokenizer: CLIPTokenizer, text_encoder: CLIPTextModel) -> None:
    """Also in the second text of two, and with other words of its own length around it."""
    (tree,) = ids(tokenizer, "tree")
    table: Any = text_encoder.get_input_embeddings().weight
    row = table[tree : tree + 1].clone()
    known = Inversions([TextualInversion("mine", (row,))], (64,), tokenizer)
    texts = ["a red boat", "a mine, a boat"]
    with_vector = encoded(text_encoder, texts, known)
    with_word = encoded(text_encoder, ["a red boat", "a tree, a boat"])
    for ours, theirs in zip(with_vector, with_word, strict=True):
        assert torch.equal(ours.context, theirs.context)


def test_the_encoder_is_as_it_was_afterwards(text_encoder: CLIPTextModel) -> None:
    table: Any = text_encoder.get_input_embeddings()
    rows, weight = table.num_embeddings, table.weight.clone()
    places = [[(1, trained("x", (1, 64)))]]
    with placed(text_encoder, 0, places):
        assert len(table._forward_hooks) == 1
    with pytest.raises(ZeroDivisionError), placed(text_encoder, 0, places):
        raise ZeroDivisionError
    assert not table._forward_hooks
    assert table.num_embeddings == rows
    assert torch.equal(table.weight, weight)


@pytest.mark.parametrize("name", ["sd1", "sd2", "sdxl"])
@torch.inference_mode()
def test_it_works_in_both_prompts_of_every_family(name: str, tmp_path: Path) -> None:
    path = tmp_path / "file.safetensors"
    write_single_file(path, tiny(name), torch.float16)
    header = read_header(path)
    family = identify(header, path.name)
    networks = family.build(header, load_file(path))
    networks.to(torch.device("cpu"), torch.float32)
    widths = [encoder.config.hidden_size for encoder in networks.text_encoders()]
    inversion = trained("mine", *((2, width) for width in widths))
    known = Inversions([inversion], widths, clip_tokenizer())
    assert not known.skipped
    request = GenerationRequest(prompt="a mine boat", negative_prompt="mine", seed=1)
    ours = conditionings(request, family, networks, clip_tokenizer(), known)
    plain = conditionings(request, family, networks, clip_tokenizer())
    for prompt in ("cond", "uncond"):
        (with_vectors,), (without,) = (getattr(words, prompt).at(0) for words in (ours, plain))
        assert with_vectors.context.shape == without.context.shape
        # The second word on: what stands before the name cannot see it.
        changed = (with_vectors.context != without.context).any(dim=-1)
        assert changed[3:].all()
        assert not changed[0]
        if len(widths) == 2:
            assert (with_vectors.context != without.context)[5, : widths[0]].any()
            assert with_vectors.pooled is not None
            assert not torch.equal(with_vectors.pooled, without.pooled)  # pyright: ignore[reportArgumentType]
