"""The values that a request has for extensions: held against them at the door, and said in the infotext."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from backend.errors import InvalidRequest
from backend.extensions.brought import Parameters
from backend.extensions.extension import Extension
from backend.extensions.parameters import ENABLED, as_text, exact, field_title, fields_of, key_of, reader_of, title_of
from backend.infotext.extended import ExtensionHere, ParameterRow
from backend.request import GenerationRequest

MARKED = "on"  # the value of the key that says only that an extension took part


def checked(active: Sequence[Extension], request: GenerationRequest) -> GenerationRequest:
    """The request with its extras exact: every parameter with a value, and none of an extension that is not enabled.

    `active` are the extensions that are on. Raises `InvalidRequest` for one that is not, and for values that cannot be.
    """
    if not request.extras:
        return request
    known = {extension.id: extension for extension in active}
    found: dict[str, Mapping[str, Any]] = {}
    for id, given in request.extras.items():
        extension = known.get(id)
        if extension is None:
            raise InvalidRequest(f"This needs the extension {id[:40]}, which is off: switch it on in Extensions.")
        parameters = extension.brought.parameters
        if parameters is None:
            raise InvalidRequest(f"{extension.title} has no parameters: leave it out, it takes part while it is on.")
        values = exact(extension, parameters, given)
        if values.get(ENABLED, True):
            found[id] = values
    return request if found == request.extras else replace(request, extras=found)


def pairs(took_part: Mapping[Extension, Parameters | None], request: GenerationRequest) -> dict[str, str]:
    """What the infotext says of a request's extras: the values that are not as usual, else that the extension took
    part. `took_part` are extensions with the parameters that they had when the job began."""
    said: dict[str, str] = {}
    for extension, parameters in took_part.items():
        if parameters is None or extension.id not in request.extras:
            continue
        values, usual = request.extras[extension.id], exact(extension, parameters, {})
        keys = _keys(extension, parameters)
        unusual = {key: as_text(values[name]) for name, key in keys.items() if values.get(name) != usual[name]}
        said |= unusual or {key_of(title_of(extension)): MARKED}
    return said


def _keys(extension: Extension, parameters: Parameters) -> dict[str, str]:
    """The keys of the infotext by the parameters' names."""
    title = title_of(extension)
    return {name: key_of(f"{title} {field_title(name, field)}") for name, field in fields_of(parameters.kind)}


def here(active: Sequence[Extension]) -> tuple[ExtensionHere, ...]:
    """What a recipe may say of the extensions that are on."""
    return tuple(map(_here, active))


def _here(extension: Extension) -> ExtensionHere:
    parameters = extension.brought.parameters
    about: dict[str, Any] = {"id": extension.id, "title": title_of(extension), "version": extension.version}
    if parameters is None:
        return ExtensionHere(**about, marker="", rows=(), checked=dict)
    keys = _keys(extension, parameters)
    rows = tuple(
        ParameterRow(key=keys[name], name=name, read=reader_of(field)) for name, field in fields_of(parameters.kind)
    )
    check = partial(exact, extension, parameters)
    return ExtensionHere(**about, marker=key_of(title_of(extension)), rows=rows, checked=check)
