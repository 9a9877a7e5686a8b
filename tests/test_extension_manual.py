"""The manual for authors says what the interface is, and every part of the interface has a test and a user."""

import ast
import inspect
import re
from collections.abc import Iterator

import pytest

from backend import extension_api
from backend.extension_api import ExtensionApi, Hooks, JobTurn, PictureTurn, Turn
from backend.extensions import manual
from backend.paths import ROOT

HOOKS = [name for name, _ in manual._functions(Hooks)]
METHODS = [name for name, member in vars(ExtensionApi).items() if callable(member) and not name.startswith("_")]
TURNS = [name for kind in (Turn, JobTurn, PictureTurn) for name, _ in manual._functions(kind)]
CALLED = [
    name
    for name in extension_api.__all__
    if inspect.isfunction(thing := getattr(extension_api, name)) and thing.__module__ == extension_api.__name__
]
BUNDLED = sorted(path.parent for path in (ROOT / "extensions").glob("*/extension.toml"))


def trees() -> Iterator[ast.Module]:
    for folder in BUNDLED:
        for path in folder.rglob("*.py"):
            yield ast.parse(path.read_text(encoding="utf-8"))


def hooks_used() -> set[str]:
    """The names of all functions of bundled extensions that stand under ``@hook``."""
    return {
        node.name
        for tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and "hook" in map(ast.unparse, node.decorator_list)
    }


def methods_used() -> set[str]:
    """What bundled extensions call of ``api`` or read off it."""
    return {
        node.attr
        for tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value).rpartition(".")[2] in ("api", "_api")
    }


def attributes_of(name: str) -> set[str]:
    """What bundled extensions ask of what they call by that name."""
    return {
        node.attr
        for tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == name
    }


def names_of_tests() -> set[str]:
    found = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        found |= set(re.findall(r"^(?:async )?def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE))
    return found


def test_the_list_says_what_ships_and_each_has_a_page() -> None:
    text = manual.BUNDLED.read_text(encoding="utf-8")
    assert manual.renewed(text) == text, "run `python -m backend.extensions.manual`"
    assert all(f"({folder.name}/README.md)" in text and (folder / "README.md").is_file() for folder in BUNDLED)


def test_the_manual_says_what_the_interface_is() -> None:
    text = manual.MANUAL.read_text(encoding="utf-8")
    assert manual.renewed(text) == text, "run `python -m backend.extensions.manual`"
    assert manual.renewed(text.replace("on_sampling_end", "on_the_end")) == text  # a stale part is noticed


@pytest.mark.parametrize("name", [*HOOKS, *METHODS])
def test_every_hook_and_every_method_has_a_paragraph(name: str) -> None:
    section = manual.MANUAL.read_text(encoding="utf-8").partition(f"# `{name}`\n")[2].partition("\n#")[0]
    prose = section.rpartition("```")[2].strip()
    assert len(prose) > 20, f"{name} has no paragraph in the manual"


@pytest.mark.parametrize("name", HOOKS)
def test_every_hook_has_a_test(name: str) -> None:
    assert f"test_hook_{name}" in names_of_tests()


@pytest.mark.parametrize("name", HOOKS)
def test_every_hook_is_used_by_a_bundled_extension(name: str) -> None:
    assert name in hooks_used()


@pytest.mark.parametrize("name", METHODS)
def test_everything_that_can_be_brought_is_brought_by_a_bundled_extension(name: str) -> None:
    assert name in methods_used()


@pytest.mark.parametrize("name", TURNS)
def test_everything_that_a_turn_is_asked_is_asked_by_a_bundled_extension(name: str) -> None:
    assert name in attributes_of("turn")


@pytest.mark.parametrize("name", CALLED)
def test_every_function_is_in_the_manual_and_called_by_a_bundled_extension(name: str) -> None:
    assert f"### `{name}`\n" in manual.MANUAL.read_text(encoding="utf-8")
    assert any(
        ast.unparse(node.func) == name for tree in trees() for node in ast.walk(tree) if isinstance(node, ast.Call)
    )


def test_who_asks_is_a_parameter_of_a_bundled_extension_s_route() -> None:
    assert any("Depends(asked_by)" in ast.unparse(tree) for tree in trees())
