"""Image operations of Extras, which extensions bring: done to each picture after it was enlarged."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from PIL import Image
from pydantic import BaseModel, ValidationError

from backend.errors import InvalidRequest
from backend.request_extras import Fixed, fixed_extras
from backend.sampling.lookup import Table

ENABLED = "enabled"  # a switch of this name is that of the whole


@dataclass(frozen=True, kw_only=True)
class Operation:
    """A row of the table: `operate(picture, params)` makes another picture of one in RGB or RGBA; `kind` are its
    parameters."""

    name: str
    operate: Callable[[Image.Image, BaseModel], Image.Image]
    kind: type[BaseModel]
    aliases: tuple[str, ...] = ()


OPERATIONS: Table[Operation] = Table("image operation")


def checked_operations(asked: Mapping[str, Mapping[str, Any]]) -> Fixed:
    """What a request asks for at the door: every name as the table has it, every parameter checked and said.

    One that is switched off by its own ``enabled`` is left out. Raises `InvalidRequest` for an operation that there is
    not, and for a value that one does not take.
    """
    exact: dict[str, Any] = {}
    for name, values in asked.items():
        row = OPERATIONS.find(name)
        params = _params(row, values).model_dump(mode="json")
        if params.get(ENABLED) is not False:
            exact[row.name] = params
    return fixed_extras(exact, "Operations")


def operated(picture: Image.Image, asked: Mapping[str, Mapping[str, Any]]) -> Image.Image:
    """The picture after all operations of a request, in the order of their names."""
    for name in sorted(asked):
        row = OPERATIONS.find(name)
        picture = row.operate(picture, _params(row, asked[name]))
    return picture


def said(name: str, values: Mapping[str, Any]) -> str:
    """An operation's parameters in words, but for those that are as usual; ``on`` where all are."""
    row = OPERATIONS.get(name)
    usual = {} if row is None else row.kind().model_dump(mode="json")
    unusual = {key: value for key, value in values.items() if value != usual.get(key)}
    return ", ".join(f"{key}: {value}" for key, value in unusual.items()) or "on"


def _params(row: Operation, values: Mapping[str, Any]) -> BaseModel:
    try:
        return row.kind.model_validate(dict(values))
    except ValidationError as error:
        fault = error.errors()[0]
        place = str(fault["loc"][0]) if fault["loc"] else ""
        field = row.kind.model_fields.get(place)
        title = (field.title if field else None) or place
        raise InvalidRequest(f"{row.name}: {title} is {fault['input']!r:.80}: {fault['msg']}.") from error
