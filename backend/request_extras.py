"""What a request tells extensions: JSON values by the extension's id and the value's name, which nobody can change."""

import json
import math
from collections.abc import Mapping
from typing import Any, NoReturn, Self

from backend.errors import InvalidRequest

WHAT = "Extensions"
DEEPEST = 20


class Fixed(dict[str, Any]):
    """A mapping of JSON values that stays as it is; lists in it are tuples. It compares and is written as any other."""

    def __hash__(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride] - a dict has none, as it changes
        return hash(json.dumps(self, sort_keys=True))

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _memo: object) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (dict(self),)

    def _refused(self, *_arguments: object, **_named: object) -> NoReturn:
        raise TypeError("what a request says cannot be changed: make another request")

    __setitem__ = __delitem__ = __ior__ = _refused
    clear = pop = popitem = setdefault = update = _refused  # pyright: ignore[reportAssignmentType]


def fixed_extras(given: object, what: str = WHAT) -> Fixed:
    """The extras of a request, which sentences call `what`. Raises `InvalidRequest` for what is no mapping of mappings
    of JSON values."""
    if not isinstance(given, Mapping):
        raise InvalidRequest(f"{what} must be an object with an object of values for each name.")
    for id, values in given.items():
        if not isinstance(id, str) or not isinstance(values, Mapping):
            raise InvalidRequest(f"{what}: the values of {str(id)[:80]!r} must be an object with named values.")
    return Fixed({id: _fixed(f"{what}, {id[:80]}", values, DEEPEST) for id, values in given.items()})


def _fixed(what: str, value: object, depth: int) -> Any:
    match value:
        case None | bool() | int() | str():
            return value
        case float() if math.isfinite(value):
            return value
        case Mapping() if depth and all(isinstance(name, str) for name in value):
            return Fixed({str(name): _fixed(what, each, depth - 1) for name, each in value.items()})
        case list() | tuple() if depth:
            return tuple(_fixed(what, each, depth - 1) for each in value)
    raise InvalidRequest(f"{what}: {str(value)[:80]!r} is no value that JSON has, or too deep in others.")
