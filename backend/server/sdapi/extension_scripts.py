"""Parameters of extensions as always-on scripts: by an extension's title or id, with values by position or by name."""

from collections.abc import Mapping, Sequence
from typing import Any

from backend.extension_api import TABS
from backend.extensions.extension import Extension
from backend.extensions.parameters import ENABLED, field_title, title_of
from backend.server.sdapi.door import Refused
from backend.server.sdapi.scripts import Argument, Script


def always_on_of(active: Sequence[Extension]) -> dict[str, Script]:
    """Those of the extensions that are on and have parameters, by their titles in lower case and by their ids. Of two
    with one title it is the first."""
    found: dict[str, Script] = {}
    for extension in active:
        parameters = extension.brought.parameters
        if parameters is None or not parameters.tabs:
            continue
        schema = parameters.kind.model_json_schema().get("properties", {})
        script = Script(
            title=title_of(extension),
            always_on=True,
            for_words="txt2img" in parameters.tabs,
            for_pictures=bool(set(parameters.tabs) - {TABS[0]}),
            arguments=tuple(
                _argument(name, field_title(name, field), schema.get(name, {}))
                for name, field in parameters.kind.model_fields.items()
            ),
            place=f"extras.{extension.id}",
        )
        for name in (script.title.casefold(), extension.id):
            found.setdefault(name, script)
    return found


def _argument(name: str, label: str, row: Mapping[str, Any]) -> Argument:
    low, high = row.get("minimum"), row.get("maximum")
    return Argument(
        name=name,
        label=label,
        default=row.get("default"),
        range=None if low is None or high is None else (low, high),
        step=row.get("step", row.get("multipleOf")),
        choices=tuple(str(each) for each in row.get("enum", ())),
    )


def values_of(script: Script, given: Any) -> dict[str, Any]:
    """What a body tells an extension, by places in a request; nothing where it is switched off. Whoever names one and
    does not say whether it is on means that it is. Raises `Refused`."""
    if not isinstance(given, list | Mapping):
        raise Refused(f"{script.title}: args must be a list or an object, not {str(given)[:60]!r}.", status=422)
    values = script.values(given)
    said = {str(name).casefold() for name in given} if isinstance(given, Mapping) else None
    values = {
        each.name: values[each.name]
        for number, each in enumerate(script.arguments)
        if (number < len(given) if said is None else said & {each.name.casefold(), each.label.casefold()})
    }
    if values.get(ENABLED) is False:
        return {}
    return {f"{script.place}.{name}": value for name, value in values.items()}
