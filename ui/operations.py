"""Image operations of Extras, which extensions bring: a switch for each, with its parameters below."""

import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from backend.errors import UserError
from backend.upscaling.operations import ENABLED, OPERATIONS
from ui.extension_fields import hints, plain, rows
from ui.fields import Field
from ui.form import OPERATIONS_PLACE, Form, operation_of, operation_place
from ui.pieces import hint


@dataclass(frozen=True, kw_only=True)
class ShownOperation:
    """An operation with its rows of the table: the first is its switch. `problem` is why it has no fields."""

    name: str
    switch: Field
    rows: tuple[Field, ...] = ()
    hints: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""

    @property
    def fields(self) -> tuple[Field, ...]:
        """All of them."""
        return () if self.problem else (self.switch, *self.rows)


def shown_operations() -> tuple[ShownOperation, ...]:
    """Those that there are now."""
    found = []
    for row in OPERATIONS.values():
        where, suffix = operation_place(row.name), _suffix(row.name)
        switch = Field(name=where, suffix=suffix, make=gr.Checkbox, default=lambda _: False, said=row.name)
        try:
            made = [each for each in rows(row.kind, where, suffix) if each.name != f"{where}.{ENABLED}"]
        except UserError as error:
            found.append(ShownOperation(name=row.name, switch=switch, problem=str(error)))
            continue
        found.append(ShownOperation(name=row.name, switch=switch, rows=tuple(made), hints=hints(row.kind, where)))
    return tuple(found)


def _suffix(name: str) -> str:
    """What the ids of an operation's elements end with: another one for each name."""
    words = re.sub(r"[^a-z0-9]+", "_", name.lower())
    if words.replace("_", " ") == name.lower():
        return f"op_{words}"
    return f"op_{words.strip('_')}_{zlib.crc32(name.lower().encode()):08x}"


def place(form: Form, operations: Sequence[ShownOperation]) -> None:
    """Stand here in the layout."""
    for operation in operations:
        with gr.Column(elem_id=form.id(f"{operation.switch.suffix}_part"), elem_classes=["part", "of-extension"]):
            if operation.problem:
                hint(plain(f"{operation.name}: {operation.problem}"))
                continue
            form.place(operation.switch.name, elem_classes="part-switch")
            with gr.Column(elem_classes="part-rest"):
                for row in operation.rows:
                    form.place(row.name)
                    if operation.hints.get(row.name):
                        hint(plain(operation.hints[row.name]))


def taken(values: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What the values of a form ask for of operations; these are taken out of them."""
    own = {name: values.pop(name) for name in list(values) if name.startswith(f"{OPERATIONS_PLACE}.")}
    found: dict[str, dict[str, Any]] = {}
    for name, value in own.items():
        if name.count(".") == 1 and value:
            found.setdefault(operation_of(name), {})
    for name, value in own.items():
        if name.count(".") > 1 and operation_of(name) in found:
            found[operation_of(name)][name.split(".", 2)[2]] = value
    return found
