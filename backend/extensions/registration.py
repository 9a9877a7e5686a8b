"""What `register` is handed: it writes down what the extension brings, and refuses what cannot be."""

import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

from fastapi import APIRouter
from PIL import Image
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from backend.errors import UserError, unknown_name
from backend.extension_api import (
    TABS,
    Axis,
    Card,
    EventName,
    GuidanceFunction,
    Kind,
    ModelRecord,
    Params,
    PromptWords,
    Risk,
    SampleFunction,
    SamplingTurn,
    SavedPicture,
    ScheduleFunction,
    Script,
    Tab,
    Token,
    Work,
)
from backend.extensions import brought
from backend.extensions.events import Events
from backend.extensions.extension import Extension, Own
from backend.extensions.log import ExtensionLog
from backend.extensions.settings_store import FILE, ExtensionSettings, complaints
from backend.extensions.works import Works

S = TypeVar("S", bound=BaseModel)
T = TypeVar("T")
LONGEST_TITLE = 60


@dataclass(frozen=True, kw_only=True)
class Services:
    """What extensions are handed of an `App`: its model files by their kind, the folder that pictures are saved in, the
    pictures of an owner, the values of flags by their names without dashes in front, and how many seconds a hook may
    take."""

    models: Callable[[Kind], Sequence[ModelRecord]] = lambda _kind: ()
    folders: Callable[[str], Sequence[Path]] = lambda _name: ()
    outputs: Callable[[], Path] = Path
    pictures: Callable[[str], Iterator[SavedPicture]] = lambda _owner: iter(())
    flags: Mapping[str, str | bool] = field(default_factory=dict)
    seconds: Callable[[], float] = lambda: 60.0


class Registration:
    """An `ExtensionApi`. What is brought can be said until `close`; the rest is for as long as the extension is on."""

    def __init__(self, extension: Extension, services: Services, works: Works, events: Events):
        self._extension = extension
        self._services = services
        self._works = works
        self._events = events
        self._open = True
        self._settings: ExtensionSettings[Any] | None = None
        self._kept: dict[type, Any] = {}
        self.brought = brought.Brought()

    def close(self) -> None:
        """From now on nothing more can be brought: `register` has returned."""
        self._open = False

    @property
    def own(self) -> Own:
        """This, with the settings that were named and the things that are kept."""
        return Own(api=self, settings=self._settings, kept=dict(self._kept))

    @property
    def id(self) -> str:
        return self._extension.id

    @property
    def folder(self) -> Path:
        return self._extension.folder

    @property
    def data_dir(self) -> Path:
        self._extension.data_dir.mkdir(parents=True, exist_ok=True)
        return self._extension.data_dir

    @property
    def outputs(self) -> Path:
        return self._services.outputs()

    @property
    def log(self) -> ExtensionLog:
        return self._extension.log

    @property
    def flags(self) -> Mapping[str, str | bool]:
        manifest = self._extension.manifest
        declared = {spec.name.removeprefix("--"): spec for spec in (manifest.flags if manifest else ())}
        return {
            name: self._services.flags.get(name, "" if spec.type == "text" else False)
            for name, spec in declared.items()
        }

    # Parameters, settings, scripts

    def params(self, kind: type[Params], *, title: str = "", tabs: Sequence[Tab] = TABS) -> None:
        self._check("params")
        if self.brought.parameters is not None:
            raise UserError("it has parameters already: api.params is called once.")
        check_params(kind)
        for tab in tabs:
            _known("tab", tab, TABS)
        words = _title(title or self._extension.title)
        self.brought.parameters = brought.Parameters(kind=kind, title=words, tabs=tuple(tabs))

    def settings(self, kind: type[S]) -> ExtensionSettings[S]:
        self._check("settings")
        if self._settings is not None:
            raise UserError("it has settings already: api.settings is called once.")
        if not (inspect.isclass(kind) and issubclass(kind, BaseModel)):
            raise UserError(f"{kind!r} is no pydantic model: its settings are one.")
        found = ExtensionSettings(
            kind,
            self._extension.data_dir / FILE,
            self._extension.log,
            told=lambda: self._events.tell_one(self._extension, "settings_changed"),
        )
        self._settings = found
        self.brought.settings = kind
        return found

    def keep(self, thing: T) -> T:
        self._check("keep")
        if type(thing) in self._kept:
            raise UserError(f"it keeps a {type(thing).__name__} already: one of each class is kept.")
        self._kept[type(thing)] = thing
        return thing

    def script(self, script: Script[Any]) -> None:
        self._check("script")
        if not isinstance(script, Script):
            raise UserError(f"{script!r} is no Script.")
        _title(script.title)
        check_params(script.kind)
        _callable(f"plan of the script {script.title}", script.plan)
        for tab in script.tabs:
            _known("tab", tab, TABS)
        self.brought.scripts.append(script)

    def words(self, words: PromptWords) -> None:
        self._check("words")
        if self.brought.words is not None:
            raise UserError("it has words already: api.words is called once.")
        for name in ("names", "problems", "open", "plain", "samples"):
            _callable(f"{name} of the words", getattr(words, name, None))
        self.brought.words = words

    # Registries

    def sampler(
        self, name: str, sample: SampleFunction, *, aliases: Sequence[str] = (), second_order: bool = False
    ) -> None:
        self._check("sampler")
        self.brought.samplers.append(
            brought.Sampler(
                name=_title(name),
                sample=_callable(f"the sampler {name}", sample),
                aliases=_texts("aliases", aliases),
                second_order=second_order,
            )
        )

    def schedule(self, name: str, levels: ScheduleFunction, *, aliases: Sequence[str] = ()) -> None:
        self._check("schedule")
        levels = _callable(f"the schedule {name}", levels)
        self.brought.schedules.append(
            brought.Schedule(name=_title(name), levels=levels, aliases=_texts("aliases", aliases))
        )

    def guidance(self, name: str, guide: GuidanceFunction) -> None:
        self._check("guidance")
        guide = _callable(f"the guidance {name}", guide)
        self.brought.guidances.append(brought.GuidanceMethod(name=_title(name), guide=guide))

    def upscaler(self, name: str, upscale: Callable[[Image.Image, int, int], Image.Image]) -> None:
        self._check("upscaler")
        upscale = _callable(f"the upscaler {name}", upscale)
        self.brought.upscalers.append(brought.Upscaler(name=_title(name), upscale=upscale))

    def operation(self, name: str, operate: Callable[[Image.Image, Any], Image.Image], kind: type[Params]) -> None:
        self._check("operation")
        check_params(kind)
        operate = _callable(f"the operation {name}", operate)
        self.brought.operations.append(brought.Operation(name=_title(name), operate=operate, kind=kind))

    def extra_network(self, name: str, activate: Callable[[Token, SamplingTurn], None]) -> None:
        self._check("extra_network")
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", name) or name.casefold() == "lora":
            raise UserError(f"{name!r} cannot be the name of a token such as <name:argument>.")
        activate = _callable(f"the token {name}", activate)
        self.brought.extra_networks.append(brought.ExtraNetwork(name=name, activate=activate))

    def axis(self, axis: Axis) -> None:
        self._check("axis")
        if not isinstance(axis, Axis):
            raise UserError(f"{axis!r} is no Axis.")
        self.brought.axes.append(axis)

    def card_page(self, title: str, cards: Callable[[], Sequence[Card]]) -> None:
        self._check("card_page")
        cards = _callable(f"the page {title}", cards)
        self.brought.card_pages.append(brought.CardPage(title=_title(title), cards=cards))

    # The page

    def tab(self, title: str, build: Callable[[], None]) -> None:
        self._check("tab")
        build = _callable(f"the tab {title}", build)
        self.brought.tabs.append(brought.OwnTab(title=_title(title), build=build))

    def gallery_action(self, title: str, act: Callable[[Path], str]) -> None:
        self._check("gallery_action")
        act = _callable(f"the action {title}", act)
        self.brought.gallery_actions.append(brought.GalleryAction(title=_title(title), act=act))

    def card_action(self, title: str, act: Callable[[ModelRecord], str], *, kinds: Sequence[Kind] = ()) -> None:
        self._check("card_action")
        act = _callable(f"the action {title}", act)
        exact = tuple(_kind(each) for each in kinds)
        self.brought.card_actions.append(brought.CardAction(title=_title(title), act=act, kinds=exact))

    def canvas_tool(
        self, title: str, select: Callable[[Image.Image, tuple[int, int]], Image.Image], *, hint: str = ""
    ) -> None:
        self._check("canvas_tool")
        select = _callable(f"the tool {title}", select)
        self.brought.canvas_tools.append(brought.CanvasTool(title=_title(title), select=select, hint=hint))

    # Programs

    def routes(self, router: APIRouter, *, risk: Risk = "read") -> None:
        self._check("routes")
        if not isinstance(router, APIRouter):
            raise UserError(f"{router!r} is no APIRouter.")
        _known("risk", risk, get_args(Risk))
        self.brought.routes.append(brought.Routes(router=router, risk=risk))

    def on(self, event: EventName, listener: Callable[[Any], None]) -> None:
        self._check("on")
        _known("event", event, get_args(EventName))
        listener = _callable(f"the listener to {event}", listener)
        self.brought.listeners.append(brought.Listener(event=event, call=listener))

    def background(self, title: str, work: Callable[[Work], None]) -> None:
        if self._open:
            raise UserError("a background job begins when something happens, and not in register.")
        if self._extension.state != "on":
            raise UserError(f"{self._extension.title} is off.")
        self._works.begin(self._extension, _title(title), _callable(f"the background job {title}", work))

    def pictures(self, owner: str) -> Iterator[SavedPicture]:
        return self._services.pictures(owner)

    # Models

    def models(self, kind: Kind) -> Sequence[ModelRecord]:
        return self._services.models(_kind(kind))

    def folders(self, name: str) -> Sequence[Path]:
        return self._services.folders(name)

    def _check(self, what: str) -> None:
        if not self._open:
            raise UserError(f"api.{what} is for register only: what an extension brings is known when it is loaded.")


def check_params(kind: Any) -> None:
    """Raises `UserError` for what cannot be parameters: another class, a field without a default, or of a type that
    no form has."""
    if not (inspect.isclass(kind) and issubclass(kind, Params)):
        raise UserError(f"{kind!r} is no model of parameters: it must be a class that inherits Params.")
    for name, one in kind.model_fields.items():
        if one.is_required():
            raise UserError(f"the field {name} of {kind.__name__} has no default.")
        if not (_is_simple(one.annotation) or _stands_otherwise(one)):
            raise UserError(
                f"the field {name} of {kind.__name__} is none of bool, int, float, str and a Literal of texts."
            )
        if one.alias is not None:
            raise UserError(f"the field {name} of {kind.__name__} has an alias: it has one name everywhere.")
    try:
        # pydantic looks at no default, and each request names all parameters.
        kind.model_validate(kind().model_dump(mode="json"))
    except ValidationError as error:
        raise UserError(f"a default of {kind.__name__} cannot be: {complaints(kind, error)[0]}") from error


def _is_simple(annotation: Any) -> bool:
    if get_origin(annotation) is Literal:
        return all(isinstance(each, str) for each in get_args(annotation))
    return annotation in (bool, int, float, str)


def _stands_otherwise(one: FieldInfo) -> bool:
    """Whether a script says of a field how it stands in a form, or that it does not."""
    said = one.json_schema_extra
    return isinstance(said, dict) and ("type" in said or said.get("page") is False)


def _title(value: Any) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > LONGEST_TITLE or not value.isprintable():
        raise UserError(f"{value!r} cannot be a name: it is one line of up to {LONGEST_TITLE} characters.")
    return value.strip()


def _kind(value: Any) -> Kind:
    """A kind of model file, also by its word. Raises `UserError` for what is none."""
    try:
        return Kind(value)
    except ValueError:
        raise UserError(unknown_name("kind of model", str(value), list(Kind))) from None


def _texts(what: str, value: Any) -> tuple[str, ...]:
    if isinstance(value, str) or not all(isinstance(each, str) for each in value):
        raise UserError(f"{what} is {value!r}, and no list of texts.")
    return tuple(value)


def _callable(what: str, value: Any) -> Any:
    if not callable(value):
        raise UserError(f"{what} is {value!r}, which is no function.")
    return value


def _known(what: str, value: Any, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise UserError(unknown_name(what, str(value), allowed))
