"""Mistakes in prompts, where they were typed."""

import pytest
from hypothesis import given

from backend.prompt.grammar import read_prompt
from backend.prompt.problems import MOST_PROBLEMS, problems_in
from tests.prompts import SEARCH, Change, any_prompt, changing, written


@pytest.mark.parametrize(
    ("prompt", "mistaken", "said"),
    [
        ("a (red house", "(", "never closed"),
        ("a red) house", ")", "closes nothing"),
        ("a [red house", "[", "never closed"),
        ("a red] house", "]", "closes nothing"),
        ("a (b [c)", "[", "never closed"),
        ("# a comment (\na (red house", "(", "never closed"),
        ("<lora:ink:1> a (red", "(", "never closed"),
        ("(a:strong)", ":strong", "'strong' is no weight"),
        ("(a:1.2.3)", ":1.2.3", "'1.2.3' is no weight"),
        ("(a:)", ":", "'' is no weight"),
        ("[a:b:soon]", "[a:b:soon]", "'soon' is no number"),
        ("x AND [a:b:soon]", "[a:b:soon]", "'soon' is no number"),
        ("(a BREAK b:1.2)", "BREAK", "is a word"),
        ("see you at 12:30", ":30", "count 30 times"),
        ("a <lora:ink:much>", "<lora:ink:much>", "'much'"),
        ("a <hypernet:x:1>", "<hypernet:x:1>", "Hypernetworks"),
        ("[a:b:3] | c", "|", "This | keeps every"),
        ("(a|b) [c:3]", "|", "This | keeps every"),
    ],
)
def test_a_mistake_is_told_where_it_stands(prompt: str, mistaken: str, said: str) -> None:
    (problem,) = problems_in(prompt)
    assert said in problem.message
    assert problem.message.endswith(".")
    assert prompt[problem.start : problem.end] == mistaken
    expected = len(prompt) - len(prompt.partition(mistaken)[2]) if "#" not in prompt else len("# a comment (\na (")
    assert problem.end == expected


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        "a (red:1.2) [house] ((hill)), [fe|]male [a:b:0.5]",
        r"a smile \(:\)",
        "a BREAK b AND c :0.5",
        "(a BREAK b:1)",
        "a # comment ( [ |",
        "ratio: wide | tall",
        "(a:[1.2:1.4:5])",
        "<lora:ink:0.5>",
        "a\nb :0.6 AND c :-0.2",
    ],
)
def test_what_is_right_has_no_problem(prompt: str) -> None:
    assert problems_in(prompt) == ()


def test_a_negative_prompt_joins_nothing_and_puts_nothing_on() -> None:
    prompt = "blurry AND dark <lora:ink:much> :30"
    found = problems_in(prompt, negative=True)
    assert [prompt[problem.start : problem.end] for problem in found] == ["AND", "<lora:ink:much>"]


def test_brackets_that_are_plain_signs_cannot_be_wrong() -> None:
    prompt = "a (red ] house :) (b:much) [c:d:much]"
    assert [each.start for each in problems_in(prompt, literal=True)] == [27]
    assert len(problems_in(prompt)) > 1


def test_problems_come_in_their_order_and_not_without_end() -> None:
    prompt = ") (a:b) <lora::1> ]"
    found = problems_in(prompt)
    assert [prompt[problem.start : problem.end] for problem in found] == [")", ":b", "<lora::1>", "]"]
    assert len(problems_in("(" * 1000)) == MOST_PROBLEMS


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ("a cat # black", "a cat \n"),
        ("# first\na cat", "\na cat"),
        ("a\n# between\nb", "a\nb"),
        ("a # one\nb # two", "a \nb \n"),
        ("a # <lora:ink:much>\n<lora:ink:1> b", "a \n b"),
        ("a #\n#\nb", "a \nb"),
    ],
)
def test_comments_are_no_words(prompt: str, text: str) -> None:
    read = read_prompt(prompt)
    assert read.text == text
    assert read.problems == ()
    assert [prompt[lora.start : lora.end] for lora in read.loras] == ["<lora:ink:1>"] * ("ink:1" in prompt)
    assert read_prompt(read.text).text == text


@SEARCH
@given(any_prompt)
def test_any_text_has_problems_in_it(prompt: str) -> None:
    for negative in (False, True):
        found = problems_in(prompt, negative=negative)
        assert list(found) == sorted(found, key=lambda problem: (problem.start, problem.end))
        assert all(0 <= problem.start < problem.end <= len(prompt) for problem in found)


@SEARCH
@given(changing)
def test_what_is_written_has_no_problem(items: tuple[str | Change, ...]) -> None:
    assert problems_in(written(items)) == ()
