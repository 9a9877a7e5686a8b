"""The form of a tab: a table of fields bound to components on the page and to a request."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from gradio.blocks import Block
from gradio.components import Component
from gradio.events import Dependency

from backend.errors import InvalidRequest
from backend.request import GenerationRequest, label
from backend.settings import Settings
from backend.upscaling.request import UpscaleRequest
from ui.fields import FIELDS, Field

if TYPE_CHECKING:
    from ui.extension_fields import Part
    from ui.script_fields import Shown

# How all events of the page are: no work is done in one, so it waits in no queue, and nobody else may call it.
SHORT_EVENT: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
SHOWN = 40  # characters of what is no number that the message repeats
# Checkboxes that say whether parts of a request are there, with the places of these.
SWITCHES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "hires": ("hires",),
        "init.upscale": ("init.upscale",),
        "init.inpainting.soft": ("init.inpainting.soft",),
        "refiner": ("refiner",),
        "extra": ("variation", "seed_resize"),
    }
)
EXTRAS = "extras"  # the part of a request in which each extension has one, with a switch of its own
OPERATIONS_PLACE = "operations"  # in Extras: image operations by their names, each with a switch of its own
# Texts of which nothing is a value too.
_MAY_BE_EMPTY = frozenset(
    {"prompt", "negative_prompt", "checkpoint", "refiner.checkpoint"}
    | {f"hires.{name}" for name in ("prompt", "negative_prompt", "checkpoint", "sampler", "schedule")}
)
_SEEDS = ("seed", "variation.seed")
_SIDES = ("width", "height")
_OPEN = frozenset({"sampling.eta"})  # may be nothing, which is a value of its own
_WHOLE_NUMBER = re.compile(r"\s*[+-]?\d{1,30}\s*")


class Form:
    """Components by the places they have in a request, ``init.inpainting.mask_blur``; order and position mean nothing.

    Values arrive as the browser sent them (`preprocess=False`), so that it is the request which says what is wrong with
    one, in one voice for the page and for every other way in.
    """

    def __init__(
        self,
        prefix: str,
        settings: Settings,
        suited: Mapping[str, Any],
        table: Sequence[Field] = FIELDS,
        parts: "Sequence[Part]" = (),
        scripts: "Sequence[Shown]" = (),
    ):
        """`prefix` begins every element's id, such as ``txt2img``; `suited` values go before the settings'. `parts` are
        those of extensions, whose fields are added to the table's; `scripts` those whose fields it has."""
        self.prefix = prefix
        self.parts = parts
        self.scripts = scripts
        self._first = (settings, suited)
        rows = (*table, *(row for part in parts for row in part.rows))
        self._fields: dict[str, Field] = {field.name: field for field in rows}
        self.components: dict[str, Block] = {}

    def id(self, suffix: str) -> str:
        """The id of an element of this tab."""
        return f"{self.prefix}_{suffix}"

    def place(self, name: str, **options: Any) -> Component:
        """Put the field here in the layout; `options` go to the component besides the table's."""
        field = self._fields[name]
        choices = {} if field.choices is None else {"choices": list(field.choices())}
        component = field.make(
            value=_first_value(field, *self._first),
            elem_id=self.id(field.suffix),
            **{"label": field.label, **field.options, **choices, **options},
        )
        self.components[name] = component
        return component

    def adopt(self, name: str, component: Block) -> None:
        """Take a component that stands elsewhere on the page as the field `name`."""
        self.components[name] = component

    def set_defaults(self, settings: Settings, suited: Mapping[str, Any]) -> None:
        """Let newly opened pages begin with these settings, and with what suits the checkpoint."""
        self._first = (settings, suited)
        for name, component in self.components.items():
            if name in self._fields and isinstance(component, Component):
                component.value = _first_value(self._fields[name], settings, suited)

    def on(
        self, trigger: Callable[..., Dependency], act: Callable[..., Any], outputs: Any = None, *, js: str | None = None
    ) -> Dependency:
        """Call `act(request, **values)` on an event with the browser's request and all values by name, as the script
        `js` gives them back if there is one.

        No click is lost while another is under way.
        """
        return trigger(
            act,
            None,
            outputs,
            inputs_kwargs=self.components,
            js=js,
            preprocess=False,
            trigger_mode="multiple",
            **SHORT_EVENT,
        )

    @staticmethod
    def request(values: Mapping[str, Any]) -> GenerationRequest:
        """The request that these values ask for, but for styles and scripts, which make others of it. Raises
        `InvalidRequest` with a sentence."""
        on = {name: value for name, value in without_parts(values).items() if name.partition(".")[0] != "script"}
        on.pop("styles", None)
        own = {name: value for name, value in on.items() if _within(name, EXTRAS)}  # extensions know what may be empty
        read = own | filled({name: value for name, value in on.items() if name not in {*_SEEDS, *_OPEN, *own}})
        read |= {name: _seed(on[name]) for name in _SEEDS if name in on}
        read |= {name: on[name] for name in _OPEN if name in on}
        return GenerationRequest.from_values(_varied(_nested(read)))

    def values_for(self, request: GenerationRequest | UpscaleRequest) -> dict[str, Any]:
        """What the components have to hold, by their places, so that the form asks for this request; what has a part's
        switch off is left out. The checkpoint, and what the form adopted besides, are the caller's."""
        values = _flat(asdict(request))
        asked = getattr(request, OPERATIONS_PLACE, {})
        values |= _flat({operation_place(name): params for name, params in asked.items()})
        values |= {place: operation_of(place) in asked for place in self._fields if _is_operation(place)}
        if isinstance(request, GenerationRequest):
            resized = request.seed_resize or ()
            values |= {f"seed_resize.{side}": value for side, value in zip(_SIDES, resized, strict=False)}
            values["sampling.eta"] = request.sampling.eta
        for name, parts in SWITCHES.items():
            values[name] = any(_within(place, part) for place in values for part in parts)
        values |= {name: part_of(name) in map(part_of, values) for name in self._fields if is_switch(name)}
        values |= {"seed": str(request.seed), "styles": []}  # a request has the final words
        if "variation.seed" in values:
            values["variation.seed"] = str(values["variation.seed"])
        return {name: values[name] for name in self._fields if name in values}

    def updates(self, request: GenerationRequest | UpscaleRequest) -> dict[Block, Any]:
        """The same by components, to be set."""
        return {self.components[name]: value for name, value in self.values_for(request).items()}

    @property
    def names(self) -> tuple[str, ...]:
        """The places of all fields of this tab's own, in their order."""
        return tuple(self._fields)

    def label(self, name: str) -> str:
        """The words of a field on the page."""
        return self._fields[name].label if name in self._fields else label(name)

    def first(self, name: str) -> Any:
        """The value that a newly opened page begins with, before a checkpoint has a say."""
        return self._fields[name].default(self._first[0])


def without_parts(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values without the switches, and without those of a part that is switched off."""
    off = [part for name, parts in SWITCHES.items() if not values.get(name, True) for part in parts]
    off += [part_of(name) for name, value in values.items() if is_switch(name) and not value]
    return {
        name: value
        for name, value in values.items()
        if name not in SWITCHES and not any(_within(name, part) for part in off)
    }


def is_switch(name: str) -> bool:
    """Whether a place is that of an extension's switch, ``extras.frame.enabled``."""
    return _within(name, EXTRAS) and name.endswith(".enabled") and name.count(".") == 2


def operation_place(name: str) -> str:
    """The place of an operation's switch, below which its parameters have theirs, whatever signs are in its name."""
    return f"{OPERATIONS_PLACE}.{name.replace('%', '%25').replace('.', '%2E')}"


def operation_of(place: str) -> str:
    """The operation whose switch or parameter has that place."""
    return place.split(".")[1].replace("%2E", ".").replace("%25", "%")


def _is_operation(place: str) -> bool:
    """Whether a place is that of an operation's switch."""
    return _within(place, OPERATIONS_PLACE) and place.count(".") == 1


def part_of(name: str) -> str:
    """Of a place among an extension's parameters that of all of them, ``extras.frame``; else the place itself."""
    return ".".join(name.split(".")[:2]) if _within(name, EXTRAS) else name


def filled(values: Mapping[str, Any], said: Callable[[str], str] = label) -> dict[str, Any]:
    """The values, of which none may be missing but texts. Raises `InvalidRequest` with the words that `said` has for
    one."""
    for name, value in values.items():
        if value is None and name not in _MAY_BE_EMPTY:
            raise InvalidRequest(f"{said(name)} is empty; it needs a value.")
    return {name: "" if value is None else value for name, value in values.items()}


def _varied(values: dict[str, Any]) -> dict[str, Any]:
    """The values of a request without a variation of no strength, and with the size that the seed is resized from as a
    pair. Raises `InvalidRequest` for one that has a single side."""
    if "variation" in values and values["variation"].get("strength") == 0:
        del values["variation"]
    if "seed_resize" in values:
        sides = [values["seed_resize"].get(side, 0) for side in _SIDES]
        if any(sides) and not all(sides):
            raise InvalidRequest(f"{label('seed_resize')} needs a width and a height, or 0 for both.")
        values["seed_resize"] = tuple(sides) if all(sides) else None
    return values


def _within(name: str, part: str) -> bool:
    return name.startswith(f"{part}.")


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values by their places as the object that they are places in."""
    whole: dict[str, Any] = {}
    for name, value in values.items():
        *parts, last = name.split(".")
        inner = whole
        for part in parts:
            inner = inner.setdefault(part, {})
        inner[last] = value
    return whole


def _flat(values: Mapping[str, Any], place: str = "") -> dict[str, Any]:
    """The inverse of `_nested`; what is not there has no place."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{place}{name}.")
        elif value is not None:
            flat[f"{place}{name}"] = value
    return flat


def _first_value(field: Field, settings: Settings, suited: Mapping[str, Any]) -> Any:
    return suited.get(field.name, field.default(settings))


def _seed(value: object) -> object:
    if value is None or value == "":
        return GenerationRequest().seed
    if isinstance(value, str) and _WHOLE_NUMBER.fullmatch(value):
        return int(value)
    return value[:SHOWN] if isinstance(value, str) else value
