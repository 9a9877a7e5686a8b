"""Styles: named words that are put around a prompt, in AUTOMATIC1111's ``styles.csv``, read and written."""

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from backend import checked
from backend.errors import InvalidRequest, UserError, unknown_name
from backend.files import write_atomically
from backend.style_sheet import StyleSheet

DEFAULT = "styles.csv"
PLACEHOLDER = "{prompt}"
MOST_BYTES = 8 * 1024 * 1024
LONGEST_NAME = 200  # characters
_ENDING = ".csv"


@dataclass(frozen=True, kw_only=True)
class Style:
    """Words by a name, and what the file that they lie in is called."""

    name: str
    prompt: str = ""
    negative_prompt: str = ""
    file: str = DEFAULT

    def applied(self, prompt: str, negative_prompt: str) -> tuple[str, str]:
        """Both prompts with the style's words."""
        return _merged(self.prompt, prompt), _merged(self.negative_prompt, negative_prompt)


@dataclass(frozen=True, kw_only=True)
class Unstyled:
    """Prompts without the words of the styles that they were made with, and these styles in their order."""

    styles: tuple[str, ...]
    prompt: str
    negative_prompt: str


class Styles:
    """All styles of this installation. Files are read again when they have changed. Safe to use from any thread.

    Of one name in several files the last counts, as in AUTOMATIC1111. What is wrong with a file is in `problems`.
    """

    def __init__(self, folder: Path, more: Sequence[Path] = ()):
        """``styles.csv`` in `folder`, all files in its folder ``styles/``, and `more` files of other programs that may
        be there."""
        self._folder = folder
        self._more = tuple(more)
        self._lock = threading.RLock()
        self._read: dict[Path, tuple[tuple[int, int], StyleSheet | None, str]] = {}
        self.problems: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[str, ...]:
        """What the files are called, the one for new styles first; it may not be there yet."""
        return tuple(self._paths())

    def all(self) -> tuple[Style, ...]:
        """Every style, in the order of the files."""
        with self._lock:
            found: dict[str, Style] = {}
            problems: list[str] = []
            for file, path in self._paths().items():
                sheet, problem = self._sheet(path)
                problems += [problem] if problem else []
                for name, prompt, negative in sheet.styles if sheet else ():
                    found[name] = Style(name=name, prompt=prompt, negative_prompt=negative, file=file)
            self.problems = tuple(problems)
            return tuple(found.values())

    def applied(self, names: Sequence[str], prompt: str, negative_prompt: str) -> tuple[str, str]:
        """Both prompts with the words of these styles, one after the other. Raises `InvalidRequest` for a name that no
        style has."""
        known = {style.name: style for style in self.all()} if names else {}
        for name in names:
            if name not in known:
                raise InvalidRequest(unknown_name("style", str(name)[:80], known) if known else _no_style(name))
            prompt, negative_prompt = known[name].applied(prompt, negative_prompt)
        return prompt, negative_prompt

    def taken_out(self, prompt: str, negative_prompt: str) -> Unstyled:
        """Prompts without the styles that were applied to them: of those only that give the very same prompts when they
        are applied again. The longest that fits is taken first."""
        names: list[str] = []
        styles = sorted(self.all(), key=lambda style: -len(style.prompt) - len(style.negative_prompt))
        while (found := _first_taken_out(styles, prompt, negative_prompt)) is not None:
            name, prompt, negative_prompt = found
            names.append(name)
        return Unstyled(styles=tuple(reversed(names)), prompt=prompt, negative_prompt=negative_prompt)

    def save(self, style: Style, *, replaces: str = "") -> None:
        """Write a style into its file, in the place of the one called `replaces`, wherever that lies. Raises
        `UserError` for one that cannot be kept."""
        _check(style)
        with self._lock:
            path = self._path(style.file)
            before = {each.name: each for each in self.all()}
            if style.name != replaces and style.name in before:
                raise UserError(f"There is a style called {style.name!r} already: choose another name, or open that.")
            old = before.get(replaces)
            row = (style.name, style.prompt, style.negative_prompt)
            self._write(path, self._writable(path).with_style(row, replaces if old and old.file == style.file else ""))
            if old and old.file != style.file:
                self._remove(old)

    def delete(self, name: str) -> None:
        """Remove a style. Raises `UserError` if there is none of that name."""
        with self._lock:
            found = [style for style in self.all() if style.name == name]
            if not found:
                raise UserError(_no_style(name))
            self._remove(found[0])

    def put_in(self, file: str, data: bytes) -> int:
        """Keep a further file; how many styles it has. Raises `UserError` for one that is none, or whose name is
        taken."""
        if len(data) > MOST_BYTES:
            raise UserError(f"A styles file may have {MOST_BYTES:,} bytes, not {len(data):,}.")
        sheet = StyleSheet.read(data)
        stem = (
            "".join(sign for sign in Path(file).stem if sign.isalnum() or sign in " -_.")[:80].strip(" .") or "styles"
        )
        with self._lock:
            path = self._folder / "styles" / f"{stem or 'styles'}{_ENDING}"
            if path.exists():
                raise UserError(
                    f"There is a file {path.name} in the folder styles already: give this one another name."
                )
            self._write(path, sheet)
        return len(sheet.styles)

    def _paths(self) -> Mapping[str, Path]:
        own = sorted((self._folder / "styles").glob(f"*{_ENDING}"))
        found = {DEFAULT: self._folder / DEFAULT, **{f"styles/{path.name}": path for path in own}}
        return {**found, **{str(path): path for path in self._more if path.is_file()}}

    def _path(self, file: str) -> Path:
        paths = self._paths()
        if file not in paths:
            raise UserError(unknown_name("styles file", file[:80], paths))
        return paths[file]

    def _sheet(self, path: Path) -> tuple[StyleSheet | None, str]:
        """What a file holds, and what is wrong with it; neither where there is none."""
        try:
            now = path.stat()
        except OSError:
            return None, ""
        state = (now.st_mtime_ns, now.st_size)
        if path not in self._read or self._read[path][0] != state:
            self._read[path] = (state, *_opened(path, now.st_size))
        return self._read[path][1:]

    def _writable(self, path: Path) -> StyleSheet:
        """What a file holds, to be changed. Raises `UserError` for one that cannot be read: it would be lost."""
        sheet, problem = self._sheet(path)
        if problem:
            raise UserError(problem)
        return sheet or StyleSheet.empty()

    def _write(self, path: Path, sheet: StyleSheet) -> None:
        try:
            write_atomically(path, sheet.data)
        except OSError as error:
            raise UserError(f"{path.name} could not be written: {error.strerror or error}.") from error
        self._read.pop(path, None)

    def _remove(self, style: Style) -> None:
        path = self._path(style.file)
        self._write(path, self._writable(path).without(style.name))


def _no_style(name: object) -> str:
    return f"There is no style called {str(name)[:80]!r}: it was renamed or deleted."


def _opened(path: Path, size: int) -> tuple[StyleSheet | None, str]:
    if size > MOST_BYTES:
        return None, f"{path.name} is not read: it has {size:,} bytes, and {MOST_BYTES:,} are allowed."
    try:
        return StyleSheet.read(path.read_bytes()), ""
    except OSError as error:
        return None, f"{path.name} cannot be read: {error.strerror or error}."
    except UserError as error:
        return None, f"{path.name}: {error}"


def _check(style: Style) -> None:
    for what, value in {"Name": style.name, "Prompt": style.prompt, "Negative prompt": style.negative_prompt}.items():
        checked.text(what, value)
    if not style.name.strip() or style.name != style.name.strip() or "\n" in style.name:
        raise UserError("A style needs a name: one line, without spaces around it.")
    if len(style.name) > LONGEST_NAME:
        raise UserError(f"A style's name may have {LONGEST_NAME} characters, not {len(style.name)}.")


def _merged(words: str, prompt: str) -> str:
    """A prompt with a style's words: around it where they say where it stands, else behind it and a comma."""
    if PLACEHOLDER in words:
        return words.replace(PLACEHOLDER, prompt)
    if not words.strip():
        return prompt
    return ", ".join(filter(None, (prompt.strip(), words.strip())))


def _first_taken_out(styles: Iterable[Style], prompt: str, negative: str) -> tuple[str, str, str] | None:
    for style in styles:
        bare, bare_negative = _without(style.prompt, prompt), _without(style.negative_prompt, negative)
        if bare is None or bare_negative is None or (bare, bare_negative) == (prompt, negative):
            continue
        return style.name, bare, bare_negative
    return None


def _without(words: str, prompt: str) -> str | None:
    """The prompt that these words were put around; nothing where they were not."""
    if not words.strip():
        return prompt
    left, placeholder, right = words.partition(PLACEHOLDER)
    if not placeholder:
        left, right = "", words.strip()
        right = right if prompt == right else f", {right}"
    if len(prompt) < len(left) + len(right) or not (prompt.startswith(left) and prompt.endswith(right)):
        return None
    bare = prompt[len(left) : len(prompt) - len(right)]
    return bare if _merged(words, bare) == prompt else None
