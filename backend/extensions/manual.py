"""The manuals: what of ``docs/extensions.md`` is made from the interface itself, and of ``extensions/README.md`` from
the manifests.

``python -m backend.extensions.manual`` writes the parts between their marks anew; a test holds them true.
"""

import ast
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import is_dataclass
from pathlib import Path
from types import MappingProxyType

from backend import extension_api
from backend.extension_api import ExtensionApi, Hooks
from backend.extensions.found import shipped
from backend.extensions.manifest import Manifest
from backend.paths import ROOT

MANUAL = ROOT / "docs" / "extensions.md"
BUNDLED = ROOT / "extensions" / "README.md"
_MARKED = re.compile(r"(<!-- made: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
_LITERAL = re.compile(r"``(.+?)``")
_OURS = ("hook", "API_VERSION", "TABS")  # of `__all__` what is neither a class nor a type


def hooks() -> str:
    """Every hook with its signature and its paragraph."""
    return "\n".join(_section(name, member) for name, member in _functions(Hooks))


def api() -> str:
    """Every method of what `register` is handed, below the headings of the source."""
    headings = _headings(ExtensionApi)
    parts = []
    for name, member in _functions(ExtensionApi):
        if name in headings:
            parts.append(f"### {headings[name]}\n")
        parts.append(_section(name, member, level=4))
    return "\n".join(parts)


def types() -> str:
    """The classes that an extension is handed or makes, and the functions that it calls, which are defined in the
    interface."""
    parts = []
    for name in extension_api.__all__:
        thing = getattr(extension_api, name)
        if name in ("ExtensionApi", "Hooks") or getattr(thing, "__module__", "") != extension_api.__name__:
            continue
        if inspect.isfunction(thing):
            parts.append(_section(name, thing))
        if not inspect.isclass(thing):
            continue
        parts.append(f"### `{name}`\n\n{_prose(inspect.getdoc(thing))}\n")
        rows = [
            f"- `{_signature(member, inside)}`{f': {_prose(member.__doc__)}' if member.__doc__ else ''}"
            for inside, member in _functions(thing)
        ]
        rows += [f"- `{field}`" for field in _fields(thing)] if is_dataclass(thing) else []
        parts += [*rows, ""] if rows else []
    return "\n".join(parts)


def names() -> str:
    """What else may be imported: the values that a request is made of, and libraries' names."""
    found = [
        name
        for name in extension_api.__all__
        if name not in _OURS and getattr(getattr(extension_api, name), "__module__", "") != extension_api.__name__
    ]
    return ", ".join(f"`{name}`" for name in found) + ".\n"


def bundled() -> str:
    """The extensions that ship with Atelier, a row each."""
    rows = ["| | what it does | at first |", "| --- | --- | --- |"]
    for id, on in sorted(shipped(BUNDLED.parent).items()):
        about = Manifest.read(BUNDLED.parent / id)
        does = about.description.replace("|", "\\|").replace("<", "&lt;")
        rows.append(f"| [{about.name}]({id}/README.md) | {does} | {'on' if on else 'off'} |")
    return "\n".join(rows) + "\n"


PARTS: Mapping[str, Callable[[], str]] = MappingProxyType(
    {"hooks": hooks, "api": api, "types": types, "names": names, "bundled": bundled}
)


def renewed(text: str) -> str:
    """The manual with every part that is made, made anew."""
    return _MARKED.sub(lambda found: f"{found[1]}{PARTS[found[2]]()}{found[3]}", text)


def _functions(kind: type) -> Iterator[tuple[str, Callable[..., object]]]:
    """The functions and properties of a class in the order of the source, without those that are nobody's business."""
    for name, member in vars(kind).items():
        function = member.fget if isinstance(member, property) else member
        if inspect.isfunction(function) and (not name.startswith("_") or name == "__call__"):
            yield name, function


def _section(name: str, member: Callable[..., object], level: int = 3) -> str:
    prose = _prose(member.__doc__)
    return f"{'#' * level} `{name}`\n\n```python\n{_signature(member, name)}\n```\n" + (f"\n{prose}\n" if prose else "")


def _signature(member: Callable[..., object], name: str) -> str:
    """As it is written, without ``self``: from the source, which says types in the author's words."""
    tree = ast.parse(inspect.cleandoc("\n" + inspect.getsource(member)))
    function = tree.body[0]
    assert isinstance(function, ast.FunctionDef)
    given = function.args
    given.args = [each for each in given.args if each.arg != "self"]
    for each in (*given.args, *given.kwonlyargs, given.kwarg):
        if each is not None and each.annotation is not None:
            each.annotation = _unquoted(each.annotation)
    returns = "" if function.returns is None else ast.unparse(_unquoted(function.returns))
    if any(isinstance(each, ast.Name) and each.id == "property" for each in function.decorator_list):
        return f"{name}: {returns}"
    return f"{name}({ast.unparse(given)}) -> {returns}"


class _Unquoted(ast.NodeTransformer):
    """Takes the quotes off annotations that are evaluated later; those of a `Literal` are its values."""

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        if isinstance(node.value, str):
            return self.visit(ast.parse(node.value, mode="eval").body)
        return node

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        if isinstance(node.value, ast.Name) and node.value.id == "Literal":
            return node
        return self.generic_visit(node)


def _unquoted(annotation: ast.expr) -> ast.expr:
    return _Unquoted().visit(annotation)


def _fields(kind: type) -> Iterator[str]:
    """The fields of a dataclass as they are written."""
    tree = ast.parse(inspect.cleandoc("\n" + inspect.getsource(kind))).body[0]
    assert isinstance(tree, ast.ClassDef)
    for node in tree.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            value = f" = {ast.unparse(node.value)}" if node.value else ""
            yield f"{node.target.id}: {ast.unparse(_unquoted(node.annotation))}{value}"


def _prose(text: str | None) -> str:
    """A docstring as Markdown: its lines joined, its literals in single backticks."""
    paragraphs = inspect.cleandoc(text or "").split("\n\n")
    joined = (" ".join(line.strip() for line in each.splitlines()) for each in paragraphs)
    return _LITERAL.sub(r"`\1`", "\n\n".join(joined))


def _headings(kind: type) -> Mapping[str, str]:
    """By the name of the function that follows it, each comment that stands alone between two functions."""
    source = inspect.cleandoc("\n" + inspect.getsource(kind)).splitlines()
    found, waiting = {}, ""
    for line in source:
        comment = re.fullmatch(r"    # (.+)", line)
        function = re.match(r"    def (\w+)", line)
        waiting = comment[1] if comment else waiting
        if function and waiting:
            found[function[1]], waiting = waiting, ""
    return found


def write(*paths: Path) -> None:
    """Renew these files."""
    for path in paths:
        path.write_text(renewed(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    write(MANUAL, BUNDLED)
