"""What a script lays out with gradio, written down instead of shown: which values it takes, and how they look."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Self

from pydantic import create_model

from backend.extension_api import Field, Params

INPUTS = ("Checkbox", "Slider", "Number", "Textbox", "TextArea", "Dropdown", "Radio")
Read = Callable[[Any], Any]


class Component:
    """Anything of gradio's: a part of the layout too, and whatever an event of it would give back."""

    def __init__(self, kind: str, given: Mapping[str, Any]):
        self.kind = kind
        self.given = given

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_raised: object) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self.given[name] if name in self.given else lambda *_args, **_named: Component("event", {})


class Recorder:
    """Stands where the module gradio would."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)

        def make(*args: Any, **given: Any) -> Component:
            # By position gradio has the value first, but for these.
            first = {"Slider": ("minimum", "maximum", "value", "step"), "Dropdown": ("choices", "value")}
            names = first.get(name, ("choices", "value") if name == "Radio" else ("value",))
            return Component(name, {**dict(zip(names, args, strict=False)), **given})

        return make


def params_of(components: Sequence[Any], called: str) -> tuple[type[Params], list[Read]]:
    """Parameters, ``arg0`` and so on, and for each argument of `run` what makes it of their values. What is no field
    here keeps the value that it begins with."""
    fields: dict[str, Any] = {}
    reads: list[Read] = []
    for number, component in enumerate(components or ()):
        name = f"arg{number}"
        found = _field(component, f"{called}_{number}") if isinstance(component, Component) else None
        if found is None:
            fixed = getattr(component, "given", {}).get("value")
            reads.append(lambda _params, fixed=fixed: fixed)
            continue
        kind, field, read = found
        fields[name] = (kind, field)
        reads.append(lambda params, name=name, read=read: read(getattr(params, name)))
    return create_model("OldScript", __base__=Params, **fields), reads


def _field(component: Component, suffix: str) -> tuple[Any, Any, Read] | None:
    given, kind = component.given, component.kind
    if kind not in INPUTS or given.get("multiselect"):
        return None
    title = str(given.get("label") or kind)
    how: dict[str, Any] = {"suffix": f"old_{suffix}"}
    value = given.get("value")
    match kind:
        case "Checkbox":
            return bool, Field(default=bool(value), title=title, json_schema_extra=how), bool
        case "Slider" | "Number":
            return _number(given, title, how)
        case "Textbox" | "TextArea":
            how["lines"] = int(given.get("lines", 1))
            return str, Field(default=str(value or ""), title=title, json_schema_extra=how), str
    choices = [str(each[0] if isinstance(each, tuple) else each) for each in given.get("choices") or ()]
    if not choices:
        return None
    first = choices[value] if isinstance(value, int) and given.get("type") == "index" else str(value)
    first = first if first in choices else choices[0]
    read: Read = choices.index if given.get("type") == "index" else str
    one: Any = Literal[tuple(choices)]  # pyright: ignore[reportInvalidTypeForm]
    return one, Field(default=first, title=title, json_schema_extra=how), read


def _number(given: Mapping[str, Any], title: str, how: dict[str, Any]) -> tuple[Any, Any, Read]:
    low, high, step, value = (given.get(name) for name in ("minimum", "maximum", "step", "value"))
    value = low if value is None else value
    whole = given.get("precision") == 0 or all(
        isinstance(each, int) or each is None for each in (low, high, step, value)
    )
    kind = int if whole else float
    if step:
        how["step"] = step
    limits: dict[str, Any] = {name: kind(end) for name, end in (("ge", low), ("le", high)) if end is not None}
    return kind, Field(default=kind(value or 0), title=title, json_schema_extra=how, **limits), kind
