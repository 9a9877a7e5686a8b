import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.prompt.composition import subprompts
from backend.prompt.passage import Passage
from tests.prompts import SEARCH, any_prompt


def split(prompt: str) -> list[tuple[str, float]]:
    return [(part.text, part.weight) for part in subprompts(Passage.of(prompt))]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a cat", [("a cat", 1)]),
        ("a cat AND a dog", [("a cat", 1), (" a dog", 1)]),
        ("a AND b :0.6 AND c :-0.2", [("a", 1), (" b", 0.6), (" c", -0.2)]),
        ("a:1.2AND b", [("a:1.2AND b", 1)]),
        ("a :1. AND b:+.5 \n", [("a", 1), (" b", 0.5)]),
        ("band ANDy and AND, AND", [("band ANDy and", 1), (",", 1), ("", 1)]),
        ("(a:1.2) AND (b:0.5)", [("(a:1.2)", 1), (" (b:0.5)", 1)]),
        ("a:b:2", [("a:b", 2)]),
        ("a cat :1.5", [("a cat", 1.5)]),
        ("a : x", [("a : x", 1)]),
        ("a :1e3", [("a :1e3", 1)]),
        (":2", [("", 2)]),
        ("", [("", 1)]),
    ],
)
def test_and_joins_prompts_with_weights(prompt: str, expected: list[tuple[str, float]]) -> None:
    assert split(prompt) == expected


@SEARCH
@given(
    st.lists(st.tuples(st.text(alphabet="ab ()[],:", max_size=8).map(lambda text: f"{text}x"), st.integers(-30, 30)))
)
def test_what_is_written_is_read_back(values: list[tuple[str, int]]) -> None:
    values = values or [("x", 1)]
    prompt = " AND".join(f" {text} :{weight / 10}" for text, weight in values)
    assert split(prompt) == [(f" {text}", weight / 10) for text, weight in values]


@SEARCH
@given(any_prompt)
def test_any_text_is_read_and_keeps_its_places(prompt: str) -> None:
    for part in subprompts(Passage.of(prompt)):
        start, end = part.passage.span(0, len(part.text))
        assert prompt[start:end] == part.text
        if part.weight_at is not None:
            written = prompt[slice(*part.weight_at)]
            assert written.startswith(":")
            assert float(written[1:]) == part.weight
