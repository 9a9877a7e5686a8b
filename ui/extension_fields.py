"""Fields made from a pydantic model: the parameters of extensions as rows of a form's table, and where they stand."""

import html
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import gradio as gr
from pydantic import BaseModel

from backend.errors import UserError
from backend.extension_api import Tab
from ui.fields import Field
from ui.form import Form
from ui.pieces import hint

if TYPE_CHECKING:
    from backend.extensions.extension import Extension

log = logging.getLogger(__name__)

PLACE = "extras"  # the part of a request in which extensions have theirs
SWITCH = "enabled"
STEPS = 100  # places of a slider for numbers with decimals, about
LARGEST_LINES = 24


@dataclass(frozen=True, kw_only=True)
class Part:
    """The parameters of one extension in a tab: rows of its table, what is said below them, and what is wrong where
    they cannot be shown."""

    id: str
    title: str
    rows: tuple[Field, ...] = ()
    hints: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""

    @property
    def switch(self) -> str:
        """The place of the field that switches all of it, or nothing."""
        name = f"{PLACE}.{self.id}.{SWITCH}"
        return name if any(row.name == name for row in self.rows) else ""


def parts_of(extensions: "Sequence[Extension]", tab: Tab) -> tuple[Part, ...]:
    """What the extensions that are on show in a tab, in their order."""
    return tuple(_parts(extensions, tab))


def _parts(extensions: "Sequence[Extension]", tab: Tab) -> Iterator[Part]:
    for extension in extensions:
        brought = extension.brought.parameters
        if brought is None or tab not in brought.tabs:
            continue
        title = brought.title or extension.title
        try:
            found = rows(brought.kind, f"{PLACE}.{extension.id}", f"ext_{extension.id}", title=title)
        except UserError as error:
            yield Part(id=extension.id, title=title, problem=str(error))
            continue
        yield Part(id=extension.id, title=title, rows=found, hints=hints(brought.kind, f"{PLACE}.{extension.id}"))


def place(form: Form) -> None:
    """Stand here in the layout: each extension's parameters, under its switch or, without one, folded."""
    for part in form.parts:
        with gr.Column(elem_id=form.id(f"ext_{part.id}"), elem_classes=["part", "of-extension"]):
            if part.problem:
                hint(plain(f"{part.title}: {part.problem}"))
            elif part.switch:
                form.place(part.switch, label=part.title, elem_classes="part-switch")
                with gr.Column(elem_classes="part-rest"):
                    _fields(form, part)
            else:
                with gr.Accordion(part.title, open=False, elem_id=form.id(f"fold_{part.id}"), elem_classes="quiet"):
                    _fields(form, part)


def _fields(form: Form, part: Part) -> None:
    said = part.hints.get(part.switch)
    if said:
        hint(plain(said))
    for row in part.rows:
        if row.name == part.switch:
            continue
        form.place(row.name)
        if part.hints.get(row.name):
            hint(plain(part.hints[row.name]))


def rows(kind: type[BaseModel], where: str, suffix: str, *, title: str = "") -> tuple[Field, ...]:
    """A row for each field of a model: ``where.name`` in the values, ``suffix_name`` behind the tab's name in ids, or
    what the field's ``json_schema_extra`` says as ``suffix``. A switch is called `title`.

    Raises `UserError` for a field of which there is no form, and whatever else an author writes into a schema.
    """
    try:
        return tuple(_rows(kind, where, suffix, title))
    except UserError:
        raise
    except Exception as error:
        log.exception("the fields of %s cannot be shown", kind.__name__)
        raise UserError(f"Its fields cannot be shown: {error}.") from error


def _rows(kind: type[BaseModel], where: str, suffix: str, title: str) -> Iterator[Field]:
    schema = kind.model_json_schema()
    for name, given in schema.get("properties", {}).items():
        row = _resolved(given, schema.get("$defs", {}))
        if row.get("page") is False:  # a program's alone
            continue
        said = title if name == SWITCH and title else str(row.get("title") or name.replace("_", " ").capitalize())
        make, options = _component(row, said)
        first = row.get("default")
        yield Field(
            name=f"{where}.{name}",
            suffix=str(row.get("suffix", f"{suffix}_{name}")),
            make=make,
            default=lambda _, first=first: first,
            options=options,
            said=said,
        )


def hints(kind: type[BaseModel], where: str) -> dict[str, str]:
    """What a model says of its fields, by their places."""
    schema = kind.model_json_schema()
    found = {name: _resolved(given, schema.get("$defs", {})) for name, given in schema.get("properties", {}).items()}
    return {f"{where}.{name}": str(row["description"]) for name, row in found.items() if row.get("description")}


def _resolved(row: Mapping[str, Any], named: Mapping[str, Any]) -> dict[str, Any]:
    """A row of a JSON schema with what it refers to; of one that may be null as well the other."""
    found = dict(row)
    for choice in found.pop("anyOf", []):
        if choice.get("type") != "null":
            found = {**choice, **found}
    for reference in [found.pop("$ref", ""), *(each.get("$ref", "") for each in found.pop("allOf", []))]:
        if reference:
            target = named.get(reference.rpartition("/")[2], {})
            # The words of a list of choices are about the list, those of the field about the field.
            found = {**{key: value for key, value in target.items() if key not in ("title", "description")}, **found}
    return found


def _component(row: Mapping[str, Any], said: str) -> tuple[Any, dict[str, Any]]:
    """What a field looks like. Raises `UserError`."""
    if "const" in row:
        return gr.Dropdown, {"choices": [row["const"]]}
    if "enum" in row:
        return gr.Dropdown, {"choices": list(row["enum"])}
    match row.get("type"):
        case "boolean":
            return gr.Checkbox, {}
        case "integer" | "number":
            return _number(row)
        case "string":
            lines = min(LARGEST_LINES, max(1, int(row.get("lines", 1))))
            words = {"placeholder": str(row["placeholder"])} if "placeholder" in row else {}
            return gr.Textbox, {"lines": lines, "max_lines": max(lines, 12) if lines > 1 else 1, **words}
        case "array" if "enum" in row.get("items", {}):
            return gr.Dropdown, {"choices": list(row["items"]["enum"]), "multiselect": True}
    raise UserError(f"There is no field for {said!r}: a parameter is a bool, a number, a text or a choice.")


def _number(row: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    whole = row["type"] == "integer"
    low, high = (row.get(name, row.get(f"exclusive{name.capitalize()}")) for name in ("minimum", "maximum"))
    step = row.get("step", row.get("multipleOf"))
    if low is None or high is None:
        limits = {name: value for name, value in (("minimum", low), ("maximum", high)) if value is not None}
        return gr.Number, {**limits, "step": step or (1 if whole else 0.01)}
    usual = 1 if whole else next(each for each in (0.01, 0.05, 0.1, 0.5, 1.0, high - low) if high - low <= each * STEPS)
    return gr.Slider, {"minimum": low, "maximum": high, "step": step or usual, "buttons": []}


def plain(words: str) -> str:
    """Words as HTML in which nothing is run: neither by the browser nor by Gradio's templates."""
    return "".join(f"&#{ord(sign)};" if sign in "${}`\\" else sign for sign in html.escape(words))
