"""Axes of a plot for the parameters of extensions."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from pydantic.fields import FieldInfo

from backend.errors import InvalidRequest
from backend.extensions.brought import Parameters
from backend.extensions.extension import Extension
from backend.extensions.parameters import as_text, choices_of, exact, field_title, fields_of, reader_of, title_of
from backend.grids.axes import Apply, Axis
from backend.grids.values import listed, numbers, whole_numbers
from backend.request import GenerationRequest


def axes_of(active: Sequence[Extension]) -> list[Axis]:
    """Those of the extensions that are on: one for each parameter, ``<title>: <parameter>``, and what else they
    brought."""
    found: list[Axis] = []
    for extension in active:
        parameters = extension.brought.parameters
        if parameters is not None and parameters.tabs:
            found += [_axis(extension, parameters, name, field) for name, field in fields_of(parameters.kind)]
        found += extension.brought.axes
    return found


def _axis(extension: Extension, parameters: Parameters, name: str, field: FieldInfo) -> Axis:
    choices = ("True", "False") if field.annotation is bool else tuple(map(as_text, choices_of(field)))
    return Axis(
        name=f"{title_of(extension)}: {field_title(name, field)}",
        read=_reader(field),
        apply=_put(extension, parameters, name),
        choices=(lambda _names: choices) if choices else None,
    )


def _reader(field: FieldInfo) -> Callable[[str, str], Sequence[Any]]:
    if field.annotation is int:
        return whole_numbers
    if field.annotation is float:
        return numbers
    read = reader_of(field)

    def words(what: str, text: str) -> list[Any]:
        try:
            return [read(item) for item in listed(text) if item or read is str]
        except ValueError as error:
            raise InvalidRequest(f"{what}: {error}.") from error

    return words


def _put(extension: Extension, parameters: Parameters, name: str) -> Apply:
    """Puts a value among the extension's, which takes part in that picture."""

    def apply(request: GenerationRequest, value: Any, _values: Sequence[Any]) -> GenerationRequest:
        values = exact(extension, parameters, {**request.extras.get(extension.id, {}), name: value})
        return replace(request, extras={**request.extras, extension.id: values})

    return apply
