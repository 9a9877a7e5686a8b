"""``extension.toml``: what an extension says of itself, readable without running any of it.

A manifest of a page::

    id = "frame"
    name = "Picture frame"
    version = "1.2.0"
    api = ">=1.0,<2"
    description = "Puts a frame around each picture."
    author = "A. Painter"
    homepage = "https://example.org/frame"
    dependencies = ["shapely>=2"]
    permissions = ["network"]
    js = "frame.js"
    before = ["watermark"]

    [[flags]]
    name = "--frame-width"
    help = "how wide frames are"
    type = "text"

    [[models]]
    name = "corners.safetensors"
    kind = "upscaler"
    source = "https://example.org/corners.safetensors"

`id`, `name`, `version` and `api` must be there. `dependencies` are Python packages as pip writes them; `before` and
`after` name extensions that take their turn later or earlier in each stage.
"""

import functools
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any, Literal, Self

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from backend.errors import UserError, unknown_name

FILE = "extension.toml"
ID = re.compile(r"[a-z][a-z0-9_]{1,39}")
LARGEST = 65_536  # bytes
LONGEST = 500  # characters of a text
FLAG = re.compile(r"--[a-z][a-z0-9]*(-[a-z0-9]+)+")
# What an extension may say that it is written to do, and how the page says it.
PERMISSIONS: Mapping[str, str] = MappingProxyType(
    {
        "network": "Connects to other machines.",
        "files": "Reads or writes files outside its own folder.",
        "programs": "Starts other programs.",
    }
)

FlagType = Literal["text", "flag"]


class ManifestError(UserError):
    """A manifest that is missing, or that says what cannot be."""


@dataclass(frozen=True, kw_only=True)
class FlagSpec:
    """A flag of the command line: ``text`` takes a value, ``flag`` is given or not."""

    name: str
    help: str = ""
    type: FlagType = "text"


@dataclass(frozen=True, kw_only=True)
class NeededModel:
    """A model file that an extension works with: its name, its kind in a word, and where it can be had."""

    name: str
    kind: str = ""
    source: str = ""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What an extension says of itself."""

    id: str
    name: str
    version: str
    api: str
    description: str = ""
    author: str = ""
    homepage: str = ""
    dependencies: tuple[str, ...] = ()
    permissions: tuple[str, ...] = ()
    js: str = ""
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    flags: tuple[FlagSpec, ...] = ()
    models: tuple[NeededModel, ...] = ()

    @classmethod
    def read(cls, folder: Path) -> Self:
        """The manifest in a folder. Raises `ManifestError` with a sentence."""
        path = folder / FILE
        try:
            stat = path.stat()
        except OSError as error:
            raise ManifestError(f"{folder.name} has no {FILE}: an extension says there what it is.") from error
        if stat.st_size > LARGEST:
            raise ManifestError(f"{path.name} of {folder.name} is larger than {LARGEST:,} bytes.")
        return _read(cls, path, stat.st_mtime_ns, stat.st_size, stat.st_ino)

    @classmethod
    def from_text(cls, text: str, *, where: str = FILE) -> Self:
        """The manifest that a text is; `where` names it in sentences. Raises `ManifestError`."""
        try:
            values = tomllib.loads(text)
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            raise ManifestError(f"{where} is no TOML: {error}.") from error
        fields = _Fields(values, where)
        for name in values:
            if name not in cls.__dataclass_fields__:
                raise ManifestError(f"{where}: {unknown_name('entry', name, cls.__dataclass_fields__)}")
        manifest = cls(
            id=fields.text("id", needed=True),
            name=fields.text("name", needed=True),
            version=fields.text("version", needed=True),
            api=fields.text("api", needed=True),
            description=fields.text("description"),
            author=fields.text("author"),
            homepage=fields.text("homepage"),
            dependencies=fields.texts("dependencies"),
            permissions=fields.texts("permissions"),
            js=fields.text("js"),
            before=fields.texts("before"),
            after=fields.texts("after"),
            flags=tuple(_flag(table) for table in fields.tables("flags")),
            models=tuple(_model(table) for table in fields.tables("models")),
        )
        manifest._check(where)
        return manifest

    def _check(self, where: str) -> None:
        if not ID.fullmatch(self.id):
            raise ManifestError(
                f"{where}: the id {self.id!r} cannot be: it is 2 to 40 small letters, digits and underscores, a letter "
                "first."
            )
        _parsed(Version, self.version, InvalidVersion, f"{where}: the version {self.version!r} is none such as 1.2.0.")
        _parsed(SpecifierSet, self.api, InvalidSpecifier, f"{where}: api {self.api!r} is no range such as >=1.0,<2.")
        for text in self.dependencies:
            _parsed(Requirement, text, InvalidRequirement, f"{where}: {text!r} is no dependency such as shapely>=2.")
        for word in self.permissions:
            if word not in PERMISSIONS:
                raise ManifestError(f"{where}: {unknown_name('permission', word, PERMISSIONS)}")
        if self.homepage and not re.match(r"https?://", self.homepage):
            raise ManifestError(f"{where}: the homepage {self.homepage!r} is no address that begins with https://.")
        if self.js and not is_within(self.js, ".js", ".mjs"):
            raise ManifestError(f"{where}: js is {self.js!r}, and no .js file within the folder.")
        for flag in self.flags:
            if not FLAG.fullmatch(flag.name):
                raise ManifestError(
                    f"{where}: the flag {flag.name!r} cannot be: it is two words or more such as --frame-width."
                )


def is_within(path: str, *suffixes: str) -> bool:
    """Whether this is a relative path with ``/``, of such a suffix, that leads nowhere out of its folder."""
    pure = PurePosixPath(path)
    return (
        not pure.is_absolute()
        and ".." not in pure.parts
        and not re.search(r"[\\:\0]", path)
        and (pure.suffix in suffixes)
    )


@functools.lru_cache(maxsize=256)
def _read(kind: type[Manifest], path: Path, _changed: int, _size: int, _file: int) -> Any:
    """What the file said when it was last changed: an App that is made looks at each, and few have changed."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"{FILE} of {path.parent.name} cannot be read: {error}.") from error
    return kind.from_text(text, where=f"{FILE} of {path.parent.name}")


def _parsed(parse: Callable[[str], object], text: str, fault: type[ValueError], sentence: str) -> None:
    try:
        parse(text)
    except fault as error:
        raise ManifestError(sentence) from error


class _Fields:
    """Values of a table, asked for by name and type."""

    def __init__(self, values: Mapping[str, Any], where: str):
        self._values = values
        self._where = where

    def text(self, name: str, *, needed: bool = False) -> str:
        value = self._values.get(name, "")
        if not isinstance(value, str):
            raise ManifestError(f"{self._where}: {name} is {value!r}, and no text between quotation marks.")
        if needed and not value.strip():
            raise ManifestError(f"{self._where} has no {name}.")
        if len(value) > LONGEST:
            raise ManifestError(f"{self._where}: {name} is longer than {LONGEST} characters.")
        return value.strip()

    def texts(self, name: str) -> tuple[str, ...]:
        value = self._values.get(name, [])
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise ManifestError(f"{self._where}: {name} is {value!r}, and no list of texts.")
        return tuple(value)

    def tables(self, name: str) -> list["_Fields"]:
        value = self._values.get(name, [])
        if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
            raise ManifestError(f"{self._where}: {name} is written as one table [[{name}]] or more.")
        return [_Fields(each, f"{self._where}, [[{name}]]") for each in value]

    def only(self, *names: str) -> None:
        """Raises `ManifestError` for a name that is none of these."""
        for name in self._values:
            if name not in names:
                raise ManifestError(f"{self._where}: {unknown_name('entry', name, names)}")

    def choice(self, name: str, first: FlagType, *others: FlagType) -> FlagType:
        value = self._values.get(name, first)
        for each in (first, *others):
            if value == each:
                return each
        raise ManifestError(f"{self._where}: {name} is {value!r}; allowed are {', '.join((first, *others))}.")


def _flag(fields: _Fields) -> FlagSpec:
    fields.only("name", "help", "type")
    return FlagSpec(
        name=fields.text("name", needed=True), help=fields.text("help"), type=fields.choice("type", "text", "flag")
    )


def _model(fields: _Fields) -> NeededModel:
    fields.only("name", "kind", "source")
    return NeededModel(name=fields.text("name", needed=True), kind=fields.text("kind"), source=fields.text("source"))
