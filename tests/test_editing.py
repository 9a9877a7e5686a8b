"""What a prompt says when, with the schedules that AUTOMATIC1111 documents for its own parser among others."""

import pytest
from hypothesis import example, given

from backend.prompt.editing import Passes, read_editing
from tests.prompts import SEARCH, Change, any_prompt, changing, said, written

TEN = Passes(total=10)


def alternating(*options: str) -> list[tuple[int, str]]:
    return [(step, options[(step - 1) % len(options)]) for step in range(1, 11)]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("test", [(10, "test")]),
        ("", [(10, "")]),
        ("a [b:3]", [(3, "a "), (10, "a b")]),
        ("a [b: 3]", [(3, "a "), (10, "a b")]),
        ("a [b: 3 ]", [(3, "a "), (10, "a b")]),
        ("a [[[b]]:2]", [(2, "a "), (10, "a [[b]]")]),
        ("[(a:2):3]", [(3, ""), (10, "(a:2)")]),
        ("a [b : c : 1] d", [(1, "a b  d"), (10, "a  c  d")]),
        ("a[b:[c:d:2]:1]e", [(1, "abe"), (2, "ace"), (10, "ade")]),
        ("a [unbalanced", [(10, "a [unbalanced")]),
        ("a [b:.5] c", [(5, "a  c"), (10, "a b c")]),
        ("a [b::5] c", [(5, "a b c"), (10, "a  c")]),
        ("a [b:c:5]", [(5, "a b"), (10, "a c")]),
        ("((a][:b:c [d:3]", [(3, "((a][:b:c "), (10, "((a][:b:c d")]),
        ("[a|(b:1.1)]", alternating("a", "(b:1.1)")),
        ("[fe|]male", alternating("female", "male")),
        ("[fe|||]male", alternating("female", "male", "male", "male")),
        ("[a:b:0.55]", [(5, "a"), (10, "b")]),
        ("[a:b:25]", [(10, "a")]),
        ("[a:b:0]", [(10, "b")]),
        ("[a:b:-3]", [(10, "b")]),
        ("[a:b:0.05]", [(10, "b")]),
        ("[a:b:1e0]", [(1, "a"), (10, "b")]),
        ("[a:b:3] [c:d:0.3]", [(3, "a c"), (10, "b d")]),
        (r"[\[a\]:\:b:3]", [(3, r"\[a\]"), (10, r"\:b")]),
        # Not to be read: as it stands.
        ("[a:b]", [(10, "[a:b]")]),
        ("[a:b:c]", [(10, "[a:b:c]")]),
        ("[a:b:c:3]", [(10, "[a:b:c:3]")]),
        ("[a:b:1,5]", [(10, "[a:b:1,5]")]),
        ("[x:[a:b]:3]", [(10, "[x:[a:b]:3]")]),
        ("(a:b:1.2) [c:3]", [(3, "(a:b:1.2) "), (10, "(a:b:1.2) c")]),
        ("a|b [c:3]", [(10, "a|b [c:3]")]),
        ("(a|b) [c:3]", [(10, "(a|b) [c:3]")]),
        ("[a|b:3] [c:3]", [(10, "[a|b:3] [c:3]")]),
        ("[a|b [c:3]", [(10, "[a|b [c:3]")]),
        ("[c:3]\\", [(10, "[c:3]\\")]),
    ],
)
def test_texts_and_their_last_calls(prompt: str, expected: list[tuple[int, str]]) -> None:
    assert read_editing(prompt).texts(TEN) == expected


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a [b:.5] c", [(10, "a b c")]),
        ("a [b:1.5] c", [(5, "a  c"), (10, "a b c")]),
        ("a [b:5] c", [(10, "a b c")]),
        ("a [b:15] c", [(5, "a  c"), (10, "a b c")]),
        ("a [b:2.0] c", [(10, "a  c")]),
    ],
)
def test_the_second_pass_has_numbers_of_its_own(prompt: str, expected: list[tuple[int, str]]) -> None:
    assert read_editing(prompt).texts(Passes(total=10, first=10)) == expected


def test_the_second_pass_counts_from_the_calls_of_the_first() -> None:
    """Which are two a step, with a sampler of second order."""
    read = read_editing("[a:b:44] [c:d:1.5]")
    assert read.texts(Passes(total=12, first=40)) == [(4, "a c"), (6, "b c"), (12, "b d")]
    assert read.texts(Passes(total=40)) == [(40, "a c")]


@pytest.mark.parametrize(
    ("prompt", "passes", "expected"),
    [
        ("[a:b:0.5]", TEN, [(5, "a"), (10, "b")]),
        ("[a:b:5.5]", TEN, [(5, "a"), (10, "b")]),
        ("[a:b:1.0]", TEN, [(1, "a"), (10, "b")]),
        ("[a:b:.5]", Passes(total=6, first=10), [(5, "a"), (10, "b")]),
        ("[a:b:1.5]", Passes(total=6, first=10), [(1, "a"), (10, "b")]),
    ],
)
def test_the_old_rule_knows_shares_below_1_only(prompt: str, passes: Passes, expected: list[tuple[int, str]]) -> None:
    old = Passes(total=passes.total, first=passes.first, old=True)
    assert read_editing(prompt).texts(old) == expected


@pytest.mark.parametrize(
    ("prompt", "mistaken", "message"),
    [
        ("x [a:b:c] y", "[a:b:c]", "'c' is no number for when"),
        ("x [a:b:1,5]", "[a:b:1,5]", "'1,5' is no number"),
        ("x [a:b:]", "[a:b:]", "there is no number for when"),
        ("x [a:b:[c:d:3]]", "[a:b:[c:d:3]]", "no number"),
        ("x [a:b:c:3]", "[a:b:c:3]", "more than two colons"),
        ("x [a|b:3]", "[a|b:3]", "both : and |"),
        ("[(a:b:1.2):c:3]", "(a:b:1.2)", "two colons"),
        ("a | b [c:3]", "|", "This | keeps every"),
        ("(a|b) [c:3]", "|", "This | keeps every"),
        ("[c:3] \\", "\\", "without a sign after it"),
    ],
)
def test_what_was_meant_to_change_and_does_not_is_told(prompt: str, mistaken: str, message: str) -> None:
    (fault,) = read_editing(prompt).faults
    assert message in fault.message
    assert fault.message.endswith(".")
    assert prompt[fault.start : fault.end] == mistaken


@pytest.mark.parametrize("prompt", ["a | b", "(a:b:1.2)", "[a] (b)", "[a:b:3] [c|d]", "a: b", "x\\"])
def test_what_is_no_mistake_is_not_told(prompt: str) -> None:
    assert read_editing(prompt).faults == ()


def test_brackets_in_brackets_without_end_are_read() -> None:
    deep = 10_000
    assert read_editing("[" * deep + "a" + ":3]" * deep).texts(TEN) == [(3, ""), (10, "a")]
    plain = "(" * deep + "a" + ")" * deep
    assert read_editing(plain).texts(TEN) == [(10, plain)]
    assert read_editing("[" * deep).texts(TEN) == [(10, "[" * deep)]


def test_every_word_is_among_the_words() -> None:
    read = read_editing("a [red [old|new|]:blue:0.5] (boat) [::3]")
    assert sorted(read.words()) == ["", "", "a red old (boat) ", "blue", "new"]


@SEARCH
@given(changing)
@example((Change((("a",), ()), "0.5"),))
def test_what_is_written_is_said_when_it_should_be(items: tuple[str | Change, ...]) -> None:
    read = read_editing(written(items))
    assert read.faults == ()
    schedule = read.texts(Passes(total=20))
    ends = [0, *(last for last, _ in schedule)]
    assert ends == sorted(set(ends))
    assert ends[-1] == 20
    for (last, text), before in zip(schedule, ends, strict=False):
        assert {said(items, call, 20) for call in range(before + 1, last + 1)} == {text}


@SEARCH
@given(any_prompt)
def test_any_text_is_read(prompt: str) -> None:
    read = read_editing(prompt)
    for passes in (TEN, Passes(total=4, first=10), Passes(total=4, first=10, old=True)):
        schedule = read.texts(passes)
        assert schedule[-1][0] == passes.counted
        assert len(schedule) <= passes.counted
    assert all(0 <= fault.start < fault.end <= len(prompt) for fault in read.faults)
    if not set(prompt) & set("[\\|"):
        assert read.texts(TEN) == [(10, prompt)]
