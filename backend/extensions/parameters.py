"""The parameters of extensions: their words, their values as texts, and whether those can be."""

import re
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from types import MappingProxyType
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from backend.errors import InvalidRequest
from backend.extensions.brought import Parameters
from backend.extensions.extension import Extension
from backend.infotext.fields import flag, whole
from backend.infotext.keys import KNOWN_KEYS
from backend.infotext.values import plain

ENABLED = "enabled"  # the switch of the whole
_NO_KEY = re.compile(r"[^\w \-/.()+'&#]+")  # what an infotext's key cannot have
LONGEST_KEY = 80
SHOWN = 60
_BOUNDS: Mapping[str, str] = MappingProxyType(
    {
        "greater_than_equal": "must be at least {ge}",
        "less_than_equal": "must be at most {le}",
        "greater_than": "must be more than {gt}",
        "less_than": "must be less than {lt}",
        "literal_error": "must be one of {expected}",
        "enum": "must be one of {expected}",
        "bool_parsing": "must be true or false",
        "bool_type": "must be true or false",
        "int_parsing": "must be a whole number",
        "int_type": "must be a whole number",
        "int_from_float": "must be a whole number",
        "float_parsing": "must be a number",
        "float_type": "must be a number",
        "finite_number": "must be a number with an end",
        "string_type": "must be a text",
    }
)


def title_of(extension: Extension) -> str:
    """The words of an extension's accordion, which its keys and axes begin with."""
    parameters = extension.brought.parameters
    return (parameters.title if parameters else "") or extension.title


def field_title(name: str, field: FieldInfo) -> str:
    """The words of a parameter."""
    words = name.replace("_", " ")
    return field.title or words[:1].upper() + words[1:]


def fields_of(kind: type[BaseModel]) -> Iterator[tuple[str, FieldInfo]]:
    """The parameters by their names, without the switch."""
    return ((name, field) for name, field in kind.model_fields.items() if name != ENABLED)


def key_of(words: str) -> str:
    """A key of the infotext that no key of Atelier or of AUTOMATIC1111 is."""
    key = _NO_KEY.sub(" ", words).strip()
    key = re.sub(r"\s+", " ", key if key[:1].isalnum() else f"Extension {key}")[:LONGEST_KEY].strip()
    return f"Extension {key}"[:LONGEST_KEY].strip() if key in KNOWN_KEYS else key


def choices_of(field: FieldInfo) -> tuple[Any, ...]:
    """What a parameter can be chosen from, as JSON has it; nothing where it is no list."""
    kind = field.annotation
    if get_origin(kind) is Literal:
        return get_args(kind)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return tuple(each.value for each in kind)
    return ()


def reader_of(field: FieldInfo) -> Callable[[str], object]:
    """How a parameter is read of a text; it raises `ValueError` for what it cannot read."""
    choices = {as_text(each): each for each in choices_of(field)}
    if choices:

        def choose(text: str) -> object:
            if text not in choices:
                raise ValueError(f"{text[:SHOWN]!r} is none of {', '.join(choices)}")
            return choices[text]

        return choose
    return {bool: flag, int: whole, float: float}.get(field.annotation or str, str)


def as_text(value: object) -> str:
    """A value as an infotext and a legend have it."""
    return plain(value) if isinstance(value, float) else str(value)


def exact(extension: Extension, parameters: Parameters, values: Mapping[str, Any]) -> dict[str, Any]:
    """All parameters with these values, as JSON. Who names an extension means it, unless `values` say that it is not
    enabled. Raises `InvalidRequest` with a sentence."""
    switched = {ENABLED: True} if ENABLED in parameters.kind.model_fields else {}
    try:
        return parameters.kind.model_validate({**switched, **values}).model_dump(mode="json")
    except ValidationError as error:
        raise InvalidRequest(f"{title_of(extension)}: {_sentence(parameters.kind, error)}") from error


def _sentence(kind: type[BaseModel], error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    name = str(first["loc"][0]) if first["loc"] else ""
    field = kind.model_fields.get(name)
    if first["type"] == "extra_forbidden" or (name and field is None):
        known = ", ".join(kind.model_fields) or "none"
        return f"There is no parameter called {name[:SHOWN]!r}; there are {known}."
    said = _BOUNDS.get(first["type"])
    rule = said.format_map(first.get("ctx", {})) if said else str(first["msg"]).removeprefix("Value error, ")
    if field is None:
        return f"{rule.rstrip('.')}."
    return f"{field_title(name, field)} is {str(first['input'])[:SHOWN]!r}; it {rule.rstrip('.')}."
