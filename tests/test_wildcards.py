"""Words that are drawn by chance: their grammar, their files, and what a request becomes."""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.errors import InvalidRequest
from backend.infotext.provenance import FileHashes
from backend.infotext.read import read_infotext
from backend.infotext.write import write_infotext
from backend.init_image import HiresFix
from backend.prompt.attention import fragments
from backend.prompt.editing import Passes, read_editing
from backend.request import GenerationRequest
from backend.sampling_options import Variation
from extensions.wildcards.choices import Draws, Option, drawn, has_choices, in_plain_words, read_option
from extensions.wildcards.words import Wildcards
from tests.prompts import SEARCH, any_prompt

SIGNS = (
    "{",
    "}",
    "|",
    "$$",
    "::",
    "2$$",
    "1-2$$",
    "0.5::",
    "__",
    "__a__",
    "__b/*__",
    "[",
    "]",
    "(",
    ")",
    "\\",
    "#",
    " ",
)
any_template = st.one_of(
    any_prompt, st.lists(st.one_of(st.sampled_from(SIGNS), st.text(max_size=4)), max_size=25).map("".join)
)


def lines(name: str) -> list[Option]:
    return [read_option(line) for line in {"a": ["red", "blue"], "b": ["{x|y} __a__"]}.get(name, ["other"])]


def said(text: str, seeds: int = 60) -> set[str]:
    """Everything that some seeds mean."""
    return {drawn(text, lines, Draws(seed)) for seed in range(seeds)}


@pytest.fixture
def wildcards(tmp_path: Path) -> Wildcards:
    return Wildcards([tmp_path / "wildcards"])


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str], Path]:
    def written(name: str, text: str) -> Path:
        path = tmp_path / "wildcards" / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return written


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("a {red|blue} boat", {"a red boat", "a blue boat"}),
        ("{a|{b|c}}", {"a", "b", "c"}),
        ("{|a}", {"", "a"}),
        ("{2$$a|b|c}", {"a, b", "b, a", "a, c", "c, a", "b, c", "c, b"}),
        ("{2$$ and $$a|b}", {"a and b", "b and a"}),
        ("{1-2$$a|b}", {"a", "b", "a, b", "b, a"}),
        ("{2-$$a|b}", {"a, b", "b, a"}),
        ("{-1$$a|b}", {"a", "b"}),
        ("{0$$a|b}", {""}),
        ("{9$$a|b}", {"a, b", "b, a"}),
        ("{2$$__a__}", {"red, blue", "blue, red"}),
        ("{1::a|0::b}", {"a"}),
        ("{2$$1::a|0::b}", {"a"}),
        ("__a__", {"red", "blue"}),
        ("__b__", {"x red", "x blue", "y red", "y blue"}),
        # What is none, and stays as it stands
        ("{a}", {"{a}"}),
        ("{{{masterpiece}}}", {"{{{masterpiece}}}"}),
        ("{a|b", {"{a|b"}),
        ("a|b}", {"a|b}"}),
        (r"\{a|b\}", {r"\{a|b\}"}),
        (r"\__a__", {r"\__a__"}),
        ("x # {a|b} __a__\n", {"x # {a|b} __a__\n"}),
        ("snake_case __ __", {"snake_case __ __"}),
        # Prompt editing and attention
        ("[a|b]", {"[a|b]"}),
        ("[{a|b}|c]", {"[a|c]", "[b|c]"}),
        ("{[a|b]|c}", {"[a|b]", "c"}),
        ("{[a|b]}", {"{[a|b]}"}),
        ("[red:{blue|green}:0.5]", {"[red:blue:0.5]", "[red:green:0.5]"}),
        ("{(a|b:1.2)|c}", {"(a|b:1.2)", "c"}),
        ("{[a::5]|b}", {"[a::5]", "b"}),
        ("{a [|b}", {"a [", "b"}),
        ("[{a] b}|c]", {"[{a] b}|c]"}),
        ("<lora:{ink|oil}:0.5>", {"<lora:ink:0.5>", "<lora:oil:0.5>"}),
    ],
)
def test_what_a_text_means(text: str, means: set[str]) -> None:
    assert said(text) == means
    assert has_choices(text) == (means != {text})


def test_what_an_escape_keeps_is_what_the_prompt_says() -> None:
    """The ``\\`` stays in the words, and whoever reads them next drops it."""
    assert [each.text for each in fragments(r"\{a|b\} \__c__")] == ["{a|b} __c__"]


def test_alternation_and_choices_do_not_touch() -> None:
    passes = Passes(total=2)
    text = drawn("{a|a} [b|c] {[d|e]|[d|e]}", lines, Draws(1))
    assert [said for _, said in read_editing(text).texts(passes)] == ["a b d", "a c e"]


def test_a_weight_is_how_often() -> None:
    seeds = 2000
    often = sum(drawn("{3::a|b}", lines, Draws(seed)) == "a" for seed in range(seeds)) / seeds
    assert 0.70 < often < 0.80  # 0.75; five standard deviations of 2,000 are 0.048


@pytest.mark.parametrize(
    ("text", "plain", "draws"),
    [
        ("a {red|0.5::[b:c:3]} cat", "a  red      [b:c:3]  cat", [2]),
        ("{2$$ and $$a|{b|c}}", "           a  b c  ", [0, 13]),
        ("(__colour__:1.2) {a}", "(__colour__:1.2) {a}", [1]),
        ("a [b|c] {d}", "a [b|c] {d}", []),
    ],
)
def test_what_stands_there_before_anything_is_drawn(text: str, plain: str, draws: list[int]) -> None:
    assert in_plain_words(text) == (plain, draws)


def test_draws_are_what_the_documentation_says() -> None:
    """The first 53 bits of sha256 of "7/0" and "7/1", taken with `sha256sum`."""
    draws = Draws(7)
    assert [int(draws.fraction() * 2**32) for _ in range(2)] == [0x19B6554D, 0xD3D2F579]


@given(any_template, st.integers(min_value=0, max_value=2**64 - 1))
@SEARCH
def test_no_text_crashes(text: str, seed: int) -> None:
    try:
        words = drawn(text, lines, Draws(seed))
    except InvalidRequest:
        return
    assert drawn(text, lines, Draws(seed)) == words
    if not has_choices(text):
        assert words == text
    plain, draws = in_plain_words(text)
    assert len(plain) == len(text) and bool(draws) == has_choices(text)
    assert all(text[at] in "{_" for at in draws)


@given(st.lists(st.text(alphabet="ab cé", min_size=1, max_size=5), min_size=2, max_size=5, unique=True))
@SEARCH
def test_what_is_written_is_read_back(options: list[str]) -> None:
    text = "{" + "|".join(options) + "}"
    assert {drawn(text, lines, Draws(seed)) for seed in range(8)} <= set(options)
    all_of_them = drawn("{" + f"{len(options)}$$;$$" + "|".join(options) + "}", lines, Draws(3))
    assert sorted(filter(None, all_of_them.split(";"))) == sorted(filter(None, (option.strip() for option in options)))


@pytest.mark.parametrize("text", ["{" * 60 + "a" + "|b}" * 60, "{0::a|0::b}", "{a|b}" * 10_001])
def test_what_cannot_be_drawn_gets_a_sentence(text: str) -> None:
    with pytest.raises(InvalidRequest, match=r"\.$"):
        drawn(text, lines, Draws(0))


def test_a_text_of_signs_costs_what_its_length_does() -> None:
    """A reader that looks back from every sign would look 900 million times here."""
    for text in ("[" * 30_000 + ")" * 30_000, "{[" * 20_000 + ")]" * 10_000, "__a" * 20_000, "_" * 60_000):
        assert isinstance(has_choices(text), bool)


def test_files_in_folders(wildcards: Wildcards, write: Callable[[str, str], Path], tmp_path: Path) -> None:
    write("colour", "\ufeffred\n\n# not this\nblue # nor that\n")
    write("animals/cats", "5::tabby\n0::manx\n")
    write("animals/dogs/big", "mastiff\n")
    assert wildcards.names() == ["animals/cats", "animals/dogs/big", "colour"]
    assert wildcards.files.look().lines("COLOUR") == ["red", "blue"]
    assert {each.prompt for each in wildcards.samples("__animals/cats__", count=30)} == {"tabby"}
    assert {each.prompt for each in wildcards.samples("__animals/*__", count=30)} == {"tabby"}
    assert {each.prompt for each in wildcards.samples("__animals/**__", count=30)} == {"tabby", "mastiff"}
    assert {each.prompt for each in wildcards.samples("__**/big__", count=5)} == {"mastiff"}
    other = tmp_path / "other"
    other.mkdir()
    (other / "colour.txt").write_text("green", encoding="utf-8")
    (other / "shape.txt").write_text("round", encoding="utf-8")
    both = Wildcards([tmp_path / "wildcards", other])
    assert (both.files.look().lines("colour"), both.files.look().lines("shape")) == (["red", "blue"], ["round"])
    write("colour", "violet, deep\n")
    assert wildcards.files.look().lines("colour") == ["violet, deep"]


def test_folders_are_searched_again_only_when_they_have_changed(tmp_path: Path) -> None:
    folder = tmp_path / "wildcards" / "animals"
    folder.mkdir(parents=True)
    wildcards = Wildcards([tmp_path / "wildcards"])

    def write(name: str, age: int) -> list[str]:
        (folder / f"{name}.txt").write_text("a line")
        for each in (folder.parent, folder):
            os.utime(each, ns=(begun, begun - age * 10**9))
        return [name.removeprefix("animals/") for name in wildcards.names()]

    begun = time.time_ns()
    assert write("cats", age=0) == ["cats"]
    # A folder that changed just now is searched each time: its time does not show another change in the same instant.
    assert write("dogs", age=0) == ["cats", "dogs"]
    assert write("eels", age=100) == ["cats", "dogs", "eels"]
    assert write("foxes", age=100) == ["cats", "dogs", "eels"]  # a time that has not changed is believed
    assert write("gnus", age=90) == ["cats", "dogs", "eels", "foxes", "gnus"]
    shutil.rmtree(folder)
    assert wildcards.names() == []


def test_a_wildcard_that_cannot_be_gets_a_sentence(wildcards: Wildcards, write: Callable[[str, str], Path]) -> None:
    with pytest.raises(
        InvalidRequest, match=r"no wildcard yet: put colour\.txt into .*wildcards, or write \\__colour__"
    ):
        wildcards.samples("__colour__")
    write("colour", "red")
    write("nothing", "# empty\n")
    write("a", "{1::x|0::__b__}")
    write("b", "__c__ and\n__colour__")
    write("c", "__a__")
    for text, sentence in {
        "__color__": "There is no wildcard called 'color'; did you mean colour?",
        "__nothing__": "The wildcard 'nothing' has no lines",
        "{x|__b__}": "The wildcard 'b' leads back to itself: b → c → a → b.",
    }.items():
        with pytest.raises(InvalidRequest, match=sentence.replace("?", r"\?")):
            wildcards.samples(text, count=1)
    problems = wildcards.problems("a __color__ or __colour__, __a__")
    assert [("a __color__ or __colour__, __a__"[each.start : each.end]) for each in problems] == ["__color__", "__a__"]
    assert wildcards.problems("{" * 60 + "a" + "|b}" * 60)[0].start == 0


def test_files_that_multiply_end_in_a_sentence(wildcards: Wildcards, write: Callable[[str, str], Path]) -> None:
    for level in range(30):
        write(f"w{level}", f"__w{level + 1}__ __w{level + 1}__" if level < 29 else "boat")
    with pytest.raises(InvalidRequest, match="draws more than 10,000 times"):
        wildcards.samples("__w0__", count=1)
    write("long", "x" * 60_000)
    with pytest.raises(InvalidRequest, match="more than 65,536 characters"):
        wildcards.samples("__long__ __long__", count=1)


def test_a_request_keeps_its_template(wildcards: Wildcards, write: Callable[[str, str], Path]) -> None:
    write("colour", "red\nblue\ngreen")
    request = GenerationRequest(
        prompt="a __colour__ boat", negative_prompt="{fog|rain}", seed=5, hires=HiresFix(prompt="a __colour__ boat")
    )
    words = wildcards.in_words(request)
    assert words.template is not None
    assert (words.template.prompt, words.template.negative_prompt) == (request.prompt, request.negative_prompt)
    assert words.prompt in {"a red boat", "a blue boat", "a green boat"}
    assert words.negative_prompt in {"fog", "rain"}
    assert words.hires is not None
    assert words.hires.prompt == words.prompt
    assert wildcards.in_words(words) is words
    assert GenerationRequest.from_json(words.to_json()) == words
    assert wildcards.in_words(request) == words
    plain = GenerationRequest(prompt="a boat")
    assert wildcards.in_words(plain) is plain
    text = write_infotext(words, FileHashes(checkpoint="0"), schedule="Karras")
    read = read_infotext(text)
    assert read.prompt == words.prompt
    assert (read.get("Template"), read.get("Negative Template")) == (request.prompt, request.negative_prompt)


def test_every_picture_has_words_of_its_own(wildcards: Wildcards) -> None:
    request = GenerationRequest(prompt="{a|b|c|d} {a|b|c|d}", seed=40, batch_size=3, batch_count=2)
    found = wildcards.requests(request)
    assert [each.seed for each in found] == [40, 41, 42, 43, 44, 45]
    assert [each.pictures for each in found] == [1] * 6
    assert [each.prompt for each in found] == [
        each.prompt for each in wildcards.samples(request.prompt, seed=40, count=6)
    ]
    assert len({each.prompt for each in found}) > 1
    varied = wildcards.requests(
        GenerationRequest(prompt="{a|b}", seed=1, batch_size=3, variation=Variation(seed=3, strength=0.2))
    )
    assert [(each.prompt in "ab", each.pictures) for each in varied] == [(True, 3)]
    plain = GenerationRequest(prompt="a boat", batch_size=3)
    assert wildcards.requests(plain) == [plain]
