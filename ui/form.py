"""The form of a tab: the table of fields bound to components on the page and to `GenerationRequest`."""

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from gradio.blocks import Block
from gradio.components import Component
from gradio.events import Dependency

from backend.errors import InvalidRequest
from backend.request import GenerationRequest, label
from backend.settings import Settings
from ui.fields import FIELDS, Field

# How all events of the page are: no work is done in one, so it waits in no queue, and nobody else may call it.
SHORT_EVENT: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
SHOWN = 40  # characters of what is no number that the message repeats
_WHOLE_NUMBER = re.compile(r"\s*[+-]?\d{1,30}\s*")


class Form:
    """Components by the names they have in a request; order and position mean nothing.

    Values arrive as the browser sent them (`preprocess=False`), so that it is `GenerationRequest` which says what is
    wrong with one, in one voice for the page and for every other way in.
    """

    def __init__(self, prefix: str, settings: Settings, suited: Mapping[str, Any]):
        """`prefix` begins every element's id, such as ``txt2img``; `suited` values go before the settings'."""
        self._prefix = prefix
        self._first = (settings, suited)
        self._fields: dict[str, Field] = {field.name: field for field in FIELDS}
        self.components: dict[str, Block] = {}

    def place(self, name: str, **options: Any) -> Component:
        """Put the field here in the layout; `options` go to the component besides the table's."""
        field = self._fields[name]
        component = field.make(
            value=_first_value(field, *self._first),
            label=label(name),
            elem_id=f"{self._prefix}_{field.suffix}",
            **{**field.options, **options},
        )
        self.components[name] = component
        return component

    def adopt(self, name: str, component: Block) -> None:
        """Take a component that stands elsewhere on the page as the field `name`."""
        self.components[name] = component

    def set_defaults(self, settings: Settings, suited: Mapping[str, Any]) -> None:
        """Let newly opened pages begin with these settings, and with what suits the checkpoint."""
        for name, component in self.components.items():
            if name in self._fields and isinstance(component, Component):
                component.value = _first_value(self._fields[name], settings, suited)

    def on(self, trigger: Callable[..., Dependency], act: Callable[..., Any], outputs: Any = None) -> Dependency:
        """Call `act(request, **values)` on an event with the browser's request and all values by name.

        No click is lost while another is under way.
        """
        return trigger(
            act,
            None,
            outputs,
            inputs_kwargs=self.components,
            preprocess=False,
            trigger_mode="multiple",
            **SHORT_EVENT,
        )

    @staticmethod
    def request(values: Mapping[str, Any]) -> GenerationRequest:
        """The request that these values ask for. Raises `InvalidRequest` with a sentence."""
        read = dict(values)
        for name, value in values.items():
            if name == "seed":
                read[name] = _seed(value)
            elif value is None and name not in ("prompt", "negative_prompt", "checkpoint"):
                raise InvalidRequest(f"{label(name)} is empty; it needs a value.")
            elif value is None:
                read[name] = ""
        return GenerationRequest.from_values(read)

    def updates(self, request: GenerationRequest) -> dict[Block, Any]:
        """What to set so that the form asks for this request; the checkpoint is the caller's."""
        values = {**asdict(request), "seed": str(request.seed)}
        return {self.components[name]: values[name] for name in self._fields}


def _first_value(field: Field, settings: Settings, suited: Mapping[str, Any]) -> Any:
    return suited.get(field.name, field.default(settings))


def _seed(value: object) -> object:
    if value is None or value == "":
        return GenerationRequest().seed
    if isinstance(value, str) and _WHOLE_NUMBER.fullmatch(value):
        return int(value)
    return value[:SHOWN] if isinstance(value, str) else value
