"""Styles: AUTOMATIC1111's file is read and written, and what nobody touched stays as it is."""

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from backend.errors import UserError
from backend.style_sheet import BOM, StyleSheet
from backend.styles import DEFAULT, Style, Styles

# As A1111 writes it, with a note that somebody added, a row by hand, and another's column.
THEIRS = (
    BOM
    + b"name,prompt,negative_prompt,note\r\n"
    + b'ink,"{prompt}, ink drawing, ""sumi-e""",colour,mine\r\n'
    + b"\r\n"
    + b'two lines,"soft light,\nmist",,\n'
    + b"  spaced ,plain words,bad hands\r\n"
    + b"last,at the end,"
)
TEXT = some.text(alphabet=some.characters(codec="utf-8", exclude_characters="\0"), max_size=30)
PLAIN_TEXT = some.text(alphabet='ab ,"{}\n\r()', max_size=20)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / DEFAULT).write_bytes(THEIRS)
    return tmp_path


def named(styles: Styles) -> dict[str, Style]:
    return {style.name: style for style in styles.all()}


def test_a_file_of_automatic1111_is_read(folder: Path) -> None:
    styles = Styles(folder)
    assert [style.name for style in styles.all()] == ["ink", "two lines", "  spaced ", "last"]
    assert named(styles)["ink"].prompt == '{prompt}, ink drawing, "sumi-e"'
    assert named(styles)["two lines"].prompt == "soft light,\nmist"
    assert styles.problems == ()


def test_what_is_not_touched_stays_byte_for_byte(folder: Path) -> None:
    styles, path = Styles(folder), folder / DEFAULT
    styles.save(Style(name="new", prompt='a "quoted", word\nand a line', negative_prompt="fog"))
    written = path.read_bytes()
    assert written == THEIRS + b'\r\nnew,"a ""quoted"", word\nand a line",fog,\r\n'
    styles.save(Style(name="ink", prompt="ink", negative_prompt="colour"), replaces="ink")
    old, new = b'ink,"{prompt}, ink drawing, ""sumi-e""",colour,mine\r\n', b"ink,ink,colour,mine\r\n"
    assert path.read_bytes() == written.replace(old, new)
    styles.delete("new")
    styles.delete("ink")
    assert path.read_bytes() == THEIRS.replace(old, b"") + b"\r\n"


def test_a_style_is_renamed_and_moved_to_another_file(folder: Path) -> None:
    styles = Styles(folder)
    assert styles.put_in("../more?.csv", b"name,prompt\nold,words\n") == 1
    assert styles.files == (DEFAULT, "styles/more.csv")
    styles.save(Style(name="brush", prompt="b", file="styles/more.csv"), replaces="ink")
    assert "ink" not in named(styles)
    # the first versions had no negative prompts
    assert (folder / "styles" / "more.csv").read_bytes() == b"name,prompt,negative_prompt\nold,words,\nbrush,b,\n"
    assert named(styles)["old"].file == "styles/more.csv"


def test_of_two_of_a_name_the_last_counts(folder: Path) -> None:
    styles = Styles(folder)
    styles.put_in("b.csv", b"name,text\nlast,other\n")
    assert named(styles)["last"].prompt == "other"


def test_a_new_file_is_as_automatic1111_begins_one(tmp_path: Path) -> None:
    styles = Styles(tmp_path)
    assert styles.all() == ()
    styles.save(Style(name="a", prompt="b", negative_prompt="c"))
    assert (tmp_path / DEFAULT).read_bytes() == BOM + b"name,prompt,negative_prompt\r\na,b,c\r\n"


def test_another_program_s_file_is_seen_and_its_changes_too(tmp_path: Path) -> None:
    path = tmp_path / "elsewhere" / DEFAULT
    path.parent.mkdir()
    path.write_bytes(THEIRS)
    styles = Styles(tmp_path, [path, tmp_path / "not there.csv"])
    assert styles.files == (DEFAULT, str(path))
    path.write_bytes(b"name,prompt,negative_prompt\nother,words,\n")
    assert list(named(styles)) == ["other"]


@pytest.mark.parametrize(
    ("data", "words"), [(b"a,b\n1,2\n", "no styles file"), (b"name,prompt\n\xff,\n", "UTF-8")], ids=["columns", "bytes"]
)
def test_a_file_that_is_none_is_named_and_never_written_to(tmp_path: Path, data: bytes, words: str) -> None:
    (tmp_path / DEFAULT).write_bytes(data)
    styles = Styles(tmp_path)
    assert styles.all() == ()
    assert words in styles.problems[0]
    with pytest.raises(UserError, match=words):
        styles.save(Style(name="a"))
    with pytest.raises(UserError, match=words):
        styles.put_in("x", data)
    assert (tmp_path / DEFAULT).read_bytes() == data


@pytest.mark.parametrize(
    ("style", "words"),
    [
        (Style(name=" "), "needs a name"),
        (Style(name="a\nb"), "needs a name"),
        (Style(name="n" * 201), "200 characters"),
        (Style(name="ink"), "already"),
        (Style(name="a", prompt="\0"), "no text"),
        (Style(name="a", file="../../x.csv"), "no styles file called"),
    ],
)
def test_a_style_that_cannot_be_kept_is_a_sentence(folder: Path, style: Style, words: str) -> None:
    with pytest.raises(UserError, match=words):
        Styles(folder).save(style)
    assert (folder / DEFAULT).read_bytes() == THEIRS


def test_words_go_around_the_prompt_or_behind_it(folder: Path) -> None:
    styles = Styles(folder)
    assert styles.applied(["ink", "last"], "a boat", "") == ('a boat, ink drawing, "sumi-e", at the end', "colour")
    assert styles.applied(["last"], "", "fog") == ("at the end", "fog")
    assert styles.applied([], " as it is ", "") == (" as it is ", "")
    with pytest.raises(UserError, match="no style called 'inc'; did you mean ink"):
        styles.applied(["inc"], "", "")


def test_styles_that_were_applied_are_taken_out_again(folder: Path) -> None:
    styles = Styles(folder)
    styles.save(Style(name="only a place", prompt="{prompt}"))
    for chosen in (["ink"], ["last", "ink"], ["ink", "  spaced ", "last"], ["two lines"]):
        found = styles.taken_out(*styles.applied(chosen, "a (boat:1.2)", "fog"))
        assert (list(found.styles), found.prompt, found.negative_prompt) == (chosen, "a (boat:1.2)", "fog")
    # a part of a style is no style
    assert styles.taken_out("a boat, plain words", "").styles == ()
    assert styles.taken_out("a boat,  at the end", "").prompt == "a boat,  at the end"


@given(some.lists(some.tuples(PLAIN_TEXT, PLAIN_TEXT), max_size=3), PLAIN_TEXT, PLAIN_TEXT)
def test_taking_out_never_changes_what_is_made(words: list[tuple[str, str]], prompt: str, negative: str) -> None:
    class Fixed(Styles):
        def all(self) -> tuple[Style, ...]:
            return tuple(Style(name=f"{n}", prompt=p, negative_prompt=q) for n, (p, q) in enumerate(words))

    styles = Fixed(Path())
    made = styles.applied([style.name for style in styles.all()], prompt, negative)
    found = styles.taken_out(*made)
    assert styles.applied(found.styles, found.prompt, found.negative_prompt) == made


@given(some.lists(some.tuples(TEXT, TEXT, TEXT), max_size=4))
def test_cells_are_those_of_python_s_reader(rows: list[tuple[str, str, str]]) -> None:
    text = io.StringIO()
    csv.writer(text).writerows([("name", "prompt", "negative_prompt"), *rows])
    sheet = StyleSheet.read(text.getvalue().encode())
    assert sheet.styles == tuple(row for row in rows if row[0])
    assert sheet.data == text.getvalue().encode()


@given(some.text(alphabet='ab,"\r\n', max_size=60))
def test_any_text_is_read_and_kept(text: str) -> None:
    data = ("name,prompt\n" + text).encode()
    sheet = StyleSheet.read(data)
    assert sheet.data == data
    assert sheet.with_style(("x", "y", "z")).styles[-1] == ("x", "y", "z")
