"""Attention, with the values that AUTOMATIC1111 documents for its own parser among others."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.prompt.attention import MOST_NESTED, Fragment, fragments
from tests.prompts import SEARCH, any_prompt, escaped, signs

DOWN = 1 / 1.1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("normal text", [("normal text", 1)]),
        ("an (important) word", [("an ", 1), ("important", 1.1), (" word", 1)]),
        ("(unbalanced", [("unbalanced", 1.1)]),
        ("unbalanced)", [("unbalanced)", 1)]),
        ("[unbalanced (both", [("unbalanced ", DOWN), ("both", 1.1 * DOWN)]),
        (r"\(literal\]", [("(literal]", 1)]),
        (r"\\ \[ \x", [(r"\ [ x", 1)]),
        ("(unnecessary)(parens)", [("unnecessaryparens", 1.1)]),
        (
            "a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).",
            [
                ("a ", 1),
                ("house", 1.5730000000000004),
                (" ", 1.1),
                ("on", 1),
                (" a ", 1.1),
                ("hill", 0.55),
                (", sun, ", 1.1),
                ("sky", 1.4641000000000006),
                (".", 1.1),
            ],
        ),
        ("(a: 1.3 )", [("a", 1.3)]),
        ("(a:-.5)(b:+2)", [("a", -0.5), ("b", 2)]),
        ("(a:b:1.2)", [("a:b", 1.2)]),
        ("(a:b)", [("a:b", 1.1)]),
        ("(a:1.2.3)", [("a:1.2.3", 1.1)]),
        ("a:1.2)", [("a:1.2)", 1)]),
        ("[a:1.2)", [("a:1.2)", DOWN)]),
        ("([a)]", [("a", 1.1 * DOWN)]),
        ("(a:0)", [("a", 0)]),
        ("", [("", 1)]),
        ("()", [("", 1)]),
        ("12:30", [("12:30", 1)]),
    ],
)
def test_brackets_weigh_words(text: str, expected: list[tuple[str, float]]) -> None:
    assert [(fragment.text, fragment.weight) for fragment in fragments(text)] == expected


@pytest.mark.parametrize(
    ("text", "texts", "breaks"),
    [
        ("a BREAK b", ["a", "BREAK", "b"], [1]),
        ("a\nBREAK\nBREAK, b", ["a", "BREAK", "", "BREAK", ", b"], [1, 3]),
        ("BREAK", ["", "BREAK", ""], [1]),
        ("BREAKFAST break", ["BREAKFAST break"], []),
        ("(a BREAK b)", ["a", "BREAK", "b"], []),
        ("(a BREAK b:1)", ["a", "BREAK", "b"], [1]),
    ],
)
def test_break_stands_alone_and_is_a_word_in_brackets_that_weigh(
    text: str, texts: list[str], breaks: list[int]
) -> None:
    read = fragments(text)
    assert [fragment.text for fragment in read] == texts
    assert [number for number, fragment in enumerate(read) if fragment.is_break] == breaks


def test_brackets_in_brackets_without_end_weigh_up_to_a_limit() -> None:
    deep = 20_000
    (fragment,) = fragments("(" * deep + "a" + ")" * deep)
    assert fragment.weight == pytest.approx(1.1**MOST_NESTED)
    (again,) = fragments("(" * deep + "a")
    assert again == fragment


weights = st.integers(-30, 30).filter(lambda weight: weight != 10).map(lambda weight: weight / 10)


@SEARCH
@given(st.lists(st.tuples(signs, weights), min_size=1))
def test_what_is_written_is_read_back(values: list[tuple[str, float]]) -> None:
    text = "".join(f"({escaped(words)}:{weight})" for words, weight in values)
    expected: list[Fragment] = []
    for words, weight in values:
        if expected and expected[-1].weight == weight:
            words = expected.pop().text + words
        expected.append(Fragment(words, weight))
    assert fragments(text) == expected


@SEARCH
@given(any_prompt)
def test_any_text_is_read(text: str) -> None:
    read = fragments(text)
    assert read
    assert all(one.weight != other.weight for one, other in pairwise(read))
    if not set(text) & set("\\()[]:") and "BREAK" not in text:
        assert read == [Fragment(text)]
