"""The scripts that extensions bring: ways to many pictures from one form, found by title and asked for a plan."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from backend.errors import InvalidRequest, unknown_name
from backend.extension_api import Params, Script, Several
from backend.extensions.extension import Extension
from backend.extensions.extensions import Extensions
from backend.extensions.param_axes import axes_of
from backend.grids.axes import AXES, Axis
from backend.grids.styled import styled_grid, styles_axis, with_styles
from backend.request import GenerationRequest
from backend.styles import Styles

NONE = "None"  # what stands in the list where no script is chosen
_EMPTY = ("string", "array")  # kinds of fields of which nothing is a value too
_SIGNS = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, kw_only=True)
class Offered:
    """A script of the list, whose it is, and its name among the fields of a form."""

    id: str
    script: Script[Any]
    extension: Extension

    @property
    def title(self) -> str:
        """What it is chosen by."""
        return self.script.title

    @property
    def schema(self) -> Mapping[str, Mapping[str, Any]]:
        """Its fields in their order, each as a row of its JSON schema, with what it says of the form."""
        return self.script.kind.model_json_schema().get("properties", {})

    def params(self, values: Mapping[str, Any], said: Callable[[str], str] | None = None) -> Params:
        """Its parameters, of values by name, as `read_params` has them."""
        return read_params(self.script.kind, values, said)


def read_params(kind: type[Params], values: Mapping[str, Any], said: Callable[[str], str] | None = None) -> Params:
    """The parameters that these values are; no text and no list is an empty one. Raises `InvalidRequest` in the words
    that `said` has for a name, which are those of the form unless given."""
    rows = kind.model_json_schema().get("properties", {})
    words = said or (lambda name: str(rows.get(name, {}).get("title", name)))
    given = {}
    for name, value in values.items():
        if value is None and rows.get(name, {}).get("type") not in _EMPTY:
            raise InvalidRequest(f"{words(name)} is empty; it needs a value.")
        given[name] = "" if value is None else value
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        raise InvalidRequest(_sentence(error, words)) from error


@dataclass(frozen=True, kw_only=True)
class Planning:
    """A `ScriptTurn`: the axes there are, and the styles."""

    styles: Styles
    axes: Sequence[Axis] = AXES

    def with_styles(self, request: GenerationRequest, names: Sequence[str]) -> GenerationRequest:
        """The request with the words of these styles. Raises `InvalidRequest`."""
        return with_styles(request, names, self.styles)


class Scripts:
    """Those of the extensions that are on. Safe to use from any thread."""

    def __init__(self, extensions: Extensions, styles: Styles):
        self._extensions = extensions
        self._styles = styles

    def offered(self, tab: str | None = None) -> list[Offered]:
        """The scripts of a tab, or all, by their titles; of two of one title the first counts."""
        found: dict[str, Offered] = {}
        for extension in self._extensions.active():
            for number, script in enumerate(extension.brought.scripts):
                if tab is None or tab in script.tabs:
                    # The first has the extension's own name, so that another one beside it changes no field's.
                    id = extension.id if not number else f"{extension.id}-{_SIGNS.sub('-', script.title.lower())}"
                    found.setdefault(script.title.casefold(), Offered(id=id, script=script, extension=extension))
        return sorted(found.values(), key=lambda each: each.title.casefold())

    def find(self, title: str, tab: str | None = None) -> Offered:
        """The script of that title, in any case. Raises `InvalidRequest`."""
        offered = self.offered(tab)
        for each in offered:
            if each.title.casefold() == title.strip().casefold():
                return each
        self.refuse_gone(title)
        raise InvalidRequest(unknown_name("script", title[:40], [NONE, *(each.title for each in offered)]))

    def refuse_gone(self, title: str) -> None:
        """Raises `InvalidRequest` for the title of a script that an extension brings which is not on."""
        if all(each.title.casefold() != title.strip().casefold() for each in self.offered()):
            self._extensions.names.scripts.refuse_gone(title)

    def axes(self, chosen: Sequence[str] = ()) -> tuple[Axis, ...]:
        """Every axis there is: of the table, the styles after those that are `chosen`, of extensions and of their
        parameters."""
        return (*AXES, styles_axis(self._styles, chosen), *axes_of(self._extensions.active()))

    def styled(self, request: GenerationRequest, chosen: Sequence[str]) -> GenerationRequest:
        """A request without a script, with the words of these styles. Raises `InvalidRequest`."""
        return with_styles(request, chosen, self._styles)

    def plan(self, offered: Offered, request: GenerationRequest, params: Params, chosen: Sequence[str] = ()) -> Several:
        """What a script makes of a request, with the words of the chosen styles: put on last, as in AUTOMATIC1111, so
        that it sees the prompt as it was written. Raises `UserError`."""
        turn = Planning(styles=self._styles, axes=self.axes(chosen))
        script = offered.script
        found = self._extensions.calls.answer(offered.extension, "plan", script.plan, request, params, turn)
        if not isinstance(found, Several):
            raise self._extensions.calls.failed(offered.extension, "plan", TypeError(f"{found!r} is no Several"))
        return replace(
            found,
            requests=tuple(with_styles(each, chosen, self._styles) for each in found.requests),
            grid=found.grid and styled_grid(found.grid, chosen, self._styles),
        )


def _sentence(error: ValidationError, said: Callable[[str], str]) -> str:
    """The first thing that is wrong."""
    fault = error.errors()[0]
    name = str(fault["loc"][0]) if fault["loc"] else ""
    reason = fault["msg"].removeprefix("Value error, ").rstrip(".")
    if fault["type"] == "extra_forbidden":
        return f"There is no {name[:60]!r} here."
    if not name:
        return f"{reason}."
    return f"{said(name)} is {str(fault['input'])[:60]!r}: {reason[:1].lower()}{reason[1:]}."
