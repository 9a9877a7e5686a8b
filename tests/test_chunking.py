"""Chunks of tokens. A tree is one token, and so is a comma."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from transformers import CLIPTokenizer

from backend.families.clip_tokenizer import clip_tokenizer
from backend.prompt.chunking import CHUNK, Chunk, Names, chunks, count_tokens
from backend.prompt.editing import Passes
from tests.prompts import SEARCH, any_prompt

START, END, COMMA = 49406, 49407, 267
ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def tokenizer() -> CLIPTokenizer:
    return clip_tokenizer()


def trees(number: int) -> str:
    return " tree" * number


def filled(chunk: Chunk) -> int:
    """How many tokens stand between start and the first end."""
    return chunk.tokens.index(END) - 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", [0]),
        (trees(1), [1]),
        (trees(75), [75]),
        (trees(76), [75, 1]),
        (trees(150), [75, 75]),
        (trees(151), [75, 75, 1]),
        # What follows the last comma moves on, if that is at most 20 tokens back.
        (trees(70) + "," + trees(4), [75]),
        (trees(70) + "," + trees(5), [71, 5]),
        (trees(55) + "," + trees(20), [56, 20]),
        (trees(54) + "," + trees(21), [75, 1]),
        (trees(75) + ",", [75, 1]),
        (trees(74) + "," + trees(1), [75, 1]),
        (trees(73) + "," + trees(2), [74, 2]),
        (trees(70) + "," + trees(74) + "," + trees(5), [71, 75, 5]),
        (trees(70) + "," + trees(70) + "," + trees(10), [71, 71, 10]),
        ("," + trees(80), [75, 6]),
        # BREAK closes a chunk, wherever.
        ("tree BREAK tree", [1, 1]),
        ("BREAK tree", [0, 1]),
        ("tree BREAK", [1]),
        ("tree BREAK BREAK tree", [1, 0, 1]),
        (trees(70) + ", BREAK" + trees(5), [71, 5]),
        (trees(60) + ", tree BREAK" + trees(75) + " tree", [62, 75, 1]),
    ],
)
def test_chunks_end_where_they_should(tokenizer: CLIPTokenizer, text: str, expected: list[int]) -> None:
    parts = chunks(tokenizer, text)
    assert [filled(part) for part in parts] == expected
    (tree,) = tokenizer("tree", add_special_tokens=False).input_ids
    for part in parts:
        assert len(part.tokens) == CHUNK + 2
        assert part.tokens[0] == START
        assert set(part.tokens[1 + filled(part) :]) == {END}
        assert set(part.tokens[1 : 1 + filled(part)]) <= {tree, COMMA}
    assert sum(part.tokens.count(tree) for part in parts) == text.count("tree")
    assert sum(part.tokens.count(COMMA) for part in parts) == text.count(",")


@pytest.mark.parametrize(("backtrack", "expected"), [(0, [75, 1]), (4, [75, 1]), (5, [71, 5]), (74, [71, 5])])
def test_how_far_back_a_comma_counts_can_be_chosen(
    tokenizer: CLIPTokenizer, backtrack: int, expected: list[int]
) -> None:
    text = trees(70) + "," + trees(5)
    parts = chunks(tokenizer, text, comma_backtrack=backtrack)
    assert [filled(part) for part in parts] == expected
    assert parts == chunks(tokenizer, text, comma_backtrack=backtrack, literal=True)


def test_weights_go_with_their_tokens(tokenizer: CLIPTokenizer) -> None:
    first, second = chunks(tokenizer, trees(70) + ", (tree tree:1.5) tree [tree] tree")
    assert first.weights == ()
    assert second.weights == (1, 1.5, 1.5, 1, 1 / 1.1, 1, *[1] * 71)
    (literal,) = chunks(tokenizer, "(tree:1.5)", literal=True)
    assert literal.weights == ()
    assert filled(literal) > 1


@pytest.mark.parametrize("words", [0, 3, 75])
def test_other_padding_begins_after_the_first_end(tokenizer: CLIPTokenizer, words: int) -> None:
    """As open_clip tokenizes: start, words, end, zeros."""
    (chunk,) = chunks(tokenizer, trees(words))
    padded = chunk.padded(END, 0)
    assert padded == [*chunk.tokens[: words + 2], *[0] * (75 - words)]
    assert padded[words + 1] == END
    assert chunk.padded(END, None) == chunk.tokens


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("", (0, 75)),
        ("a red boat", (3, 75)),
        (trees(75), (75, 75)),
        (trees(76), (76, 150)),
        (trees(70) + "," + trees(5), (80, 150)),
        ("tree BREAK tree", (76, 150)),
        ("tree BREAK", (75, 75)),
        ("a (red:1.4) boat <lora:ink:0.5> # blue", (3, 75)),
        ("a [red|very dark blue] boat", (5, 75)),
        ("a red boat AND a very large blue boat", (5, 75)),
    ],
)
def test_the_count_is_that_of_the_longest_text(
    tokenizer: CLIPTokenizer, prompt: str, expected: tuple[int, int]
) -> None:
    assert count_tokens(tokenizer, prompt) == expected


def test_the_count_knows_the_steps_and_the_negative_prompt(tokenizer: CLIPTokenizer) -> None:
    assert count_tokens(tokenizer, "a [red:very dark blue:30]", passes=Passes(total=20)) == (2, 75)
    assert count_tokens(tokenizer, "a [red:very dark blue:30]", passes=Passes(total=40)) == (4, 75)
    assert count_tokens(tokenizer, "a AND b", negative=True) == (3, 75)
    assert count_tokens(tokenizer, "[a]", literal=True) == (3, 75)


def test_what_is_named_takes_the_place_of_its_name(tokenizer: CLIPTokenizer) -> None:
    named = Names({"red boat": range(10), "red": range(2)}, tokenizer)
    assert count_tokens(tokenizer, "a Red Boat", named) == (11, 75)
    assert count_tokens(tokenizer, "a red tree", named) == (4, 75)
    (chunk,) = chunks(tokenizer, "a red tree red boat", named)
    assert chunk.places == ((2, range(2)), (5, range(10)))


@settings(SEARCH, max_examples=50)
@given(prompt=any_prompt)
def test_any_text_is_cut(tokenizer: CLIPTokenizer, prompt: str) -> None:
    for part in chunks(tokenizer, prompt):
        assert len(part.tokens) == CHUNK + 2
        assert len(part.weights) in (0, CHUNK + 2)
    used, limit = count_tokens(tokenizer, prompt)
    assert used <= limit
    assert limit % CHUNK == 0


def test_cutting_and_finding_mistakes_need_no_torch() -> None:
    code = """
import sys
import backend.prompt.chunking, backend.prompt.problems
assert not {"torch", "transformers"} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
