"""What one extension has registered: kept by its owner, so that all of it goes when the extension is switched off."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from PIL import Image
from pydantic import BaseModel

from backend.extension_api import (
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
    ScheduleFunction,
    Script,
    Tab,
    Token,
)


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """Parameters of a generation, and where they are shown."""

    kind: type[Params]
    title: str
    tabs: tuple[Tab, ...]


@dataclass(frozen=True, kw_only=True)
class Sampler:
    name: str
    sample: SampleFunction
    aliases: tuple[str, ...] = ()
    second_order: bool = False


@dataclass(frozen=True, kw_only=True)
class Schedule:
    name: str
    levels: ScheduleFunction
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class GuidanceMethod:
    name: str
    guide: GuidanceFunction


@dataclass(frozen=True, kw_only=True)
class Upscaler:
    name: str
    upscale: Callable[[Image.Image, int, int], Image.Image]


@dataclass(frozen=True, kw_only=True)
class Operation:
    name: str
    operate: Callable[[Image.Image, Any], Image.Image]
    kind: type[Params]


@dataclass(frozen=True, kw_only=True)
class ExtraNetwork:
    name: str
    activate: Callable[[Token, SamplingTurn], None]


@dataclass(frozen=True, kw_only=True)
class CardPage:
    title: str
    cards: Callable[[], Sequence[Card]]


@dataclass(frozen=True, kw_only=True)
class OwnTab:
    title: str
    build: Callable[[], None]


@dataclass(frozen=True, kw_only=True)
class GalleryAction:
    title: str
    act: Callable[[Path], str]


@dataclass(frozen=True, kw_only=True)
class CardAction:
    title: str
    act: Callable[[ModelRecord], str]
    kinds: tuple[Kind, ...] = ()


@dataclass(frozen=True, kw_only=True)
class CanvasTool:
    title: str
    select: Callable[[Image.Image, tuple[int, int]], Image.Image]
    hint: str = ""


@dataclass(frozen=True, kw_only=True)
class Routes:
    router: APIRouter
    risk: Risk


@dataclass(frozen=True, kw_only=True)
class Listener:
    event: EventName
    call: Callable[[Any], None]


@dataclass
class Brought:
    """All that `register` has registered, in its order."""

    parameters: Parameters | None = None
    settings: type[BaseModel] | None = None
    scripts: list[Script[Any]] = field(default_factory=list)
    words: PromptWords | None = None
    samplers: list[Sampler] = field(default_factory=list)
    schedules: list[Schedule] = field(default_factory=list)
    guidances: list[GuidanceMethod] = field(default_factory=list)
    upscalers: list[Upscaler] = field(default_factory=list)
    operations: list[Operation] = field(default_factory=list)
    extra_networks: list[ExtraNetwork] = field(default_factory=list)
    axes: list[Axis] = field(default_factory=list)
    card_pages: list[CardPage] = field(default_factory=list)
    tabs: list[OwnTab] = field(default_factory=list)
    gallery_actions: list[GalleryAction] = field(default_factory=list)
    card_actions: list[CardAction] = field(default_factory=list)
    canvas_tools: list[CanvasTool] = field(default_factory=list)
    routes: list[Routes] = field(default_factory=list)
    listeners: list[Listener] = field(default_factory=list)
