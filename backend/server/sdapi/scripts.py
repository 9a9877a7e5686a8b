"""Scripts by their titles: those of AUTOMATIC1111's that Atelier has as a part of its requests.

A script takes its values by position, as AUTOMATIC1111 does, or by name.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from backend.init_image import OVERLAP_RANGE, SOFT_RANGES, TILED_SCALE_RANGE, SoftInpainting, TiledUpscale
from backend.server.sdapi.door import Refused

log = logging.getLogger(__name__)

NO_SCRIPT = ("", "none")


@dataclass(frozen=True, kw_only=True)
class Argument:
    """A value that a script takes: its name here, AUTOMATIC1111's label, its default, and between what or of which
    words it may be."""

    name: str
    label: str
    default: object = None
    range: tuple[float, float] | None = None
    step: float | None = None
    choices: tuple[str, ...] = ()

    @property
    def shown(self) -> dict[str, Any]:
        """Its row in ``/script-info``."""
        row: dict[str, Any] = {"label": self.label, "value": self.default}
        if self.range is not None:
            row |= {"minimum": self.range[0], "maximum": self.range[1]}
        if self.choices:
            row["choices"] = self.choices
        return row | ({"step": self.step} if self.step is not None else {})


@dataclass(frozen=True, kw_only=True)
class Script:
    """A script for img2img, unless it is not `for_pictures`, and with `for_words` for txt2img. `place` is the part of a
    request that its values are, if they are one."""

    title: str
    always_on: bool = False
    for_words: bool = False
    for_pictures: bool = True
    arguments: tuple[Argument, ...]
    place: str = ""

    @property
    def shown(self) -> list[dict[str, Any]]:
        """Its rows in ``/script-info``: one for each kind of body that it is for."""
        return [
            {
                "name": self.title.lower(),
                "is_alwayson": self.always_on,
                "is_img2img": img2img,
                "args": [argument.shown for argument in self.arguments],
            }
            for img2img, there in ((False, self.for_words), (True, self.for_pictures))
            if there
        ]

    def values(self, given: Sequence[Any] | Mapping[str, Any]) -> dict[str, Any]:
        """Each argument's value by its name: what is not given is the default. Raises `Refused`."""
        if isinstance(given, Mapping):
            names = {key.casefold(): each.name for each in self.arguments for key in (each.name, each.label) if key}
            unknown = [name for name in given if str(name).casefold() not in names]
            if unknown:
                known = ", ".join(each.name for each in self.arguments if each.name)
                raise Refused(f"{self.title} takes no {str(unknown[0])[:60]!r}; there are {known}.", status=422)
            said = {names[name.casefold()]: value for name, value in given.items()}
        else:
            if len(given) > len(self.arguments):
                raise Refused(
                    f"{self.title} takes {len(self.arguments)} values, and {len(given)} were sent.", status=422
                )
            said = {each.name: value for each, value in zip(self.arguments, given, strict=False) if value is not None}
        return {each.name: said.get(each.name, each.default) for each in self.arguments if each.name}


SOFT_INPAINTING = Script(
    title="Soft Inpainting",
    always_on=True,
    place="init.inpainting.soft",
    arguments=(
        Argument(name="enabled", label="Soft inpainting", default=False),
        *(
            Argument(
                name=name,
                label=name.replace("_", " ").capitalize(),
                default=getattr(SoftInpainting(), name),
                range=ends,
            )
            for name, ends in SOFT_RANGES.items()
        ),
    ),
)
SD_UPSCALE = Script(
    title="SD upscale",
    always_on=False,
    place="init.upscale",
    arguments=(
        Argument(name="", label=""),  # a paragraph on its page
        Argument(name="overlap", label="Tile overlap", default=TiledUpscale().overlap, range=OVERLAP_RANGE, step=16),
        Argument(name="upscaler", label="Upscaler", default="None"),
        Argument(name="scale", label="Scale Factor", default=TiledUpscale().scale, range=TILED_SCALE_RANGE, step=0.05),
    ),
)
SCRIPTS: Mapping[str, Script] = MappingProxyType({each.title.lower(): each for each in (SOFT_INPAINTING, SD_UPSCALE)})
# Parts of AUTOMATIC1111's page that are scripts there and have no say in a request through its interface.
OF_THE_PAGE = frozenset({"seed", "sampler", "refiner", "extra options", "comments", "hypertile", "api payload"})


def always_on(wanted: Mapping[str, Any], others: Sequence[str] = (), *, img2img: bool) -> dict[str, Any]:
    """What a body's ``alwayson_scripts`` mean, by places in a request, but for the `others`, by their names in lower
    case. One that is not here and is asked for nothing is passed over. Raises `Refused`."""
    found: dict[str, Any] = {}
    for title, said in wanted.items():
        given = arguments_of(said)
        if title.strip().casefold() in others:
            continue
        script = SCRIPTS.get(title.strip().casefold())
        if title.strip().casefold() in OF_THE_PAGE or _asks_nothing(given):
            log.info("the always-on script %s is passed over", ascii(title[:60]))
            continue
        if script is None or not script.always_on:
            there = f"; there is {', '.join([*others, SOFT_INPAINTING.title])}"
            raise Refused(f"always on script {title[:60]!r} not found{there}, for img2img.", status=422)
        if not isinstance(given, list | Mapping):
            raise Refused(f"{script.title}: args must be a list or an object, not {str(given)[:60]!r}.", status=422)
        values = script.values(given)
        if values.pop("enabled"):
            if not img2img:
                raise Refused(f"{script.title} is for img2img with a mask.", status=422)
            found |= {f"{script.place}.{name}": value for name, value in values.items()}
    return found


def arguments_of(said: Any) -> Any:
    """What an always-on script is told."""
    return said.get("args", []) if isinstance(said, Mapping) else said


def selected(
    name: str | None,
    arguments: Sequence[Any],
    upscalers: Sequence[str],
    others: Mapping[str, Script],
    *,
    img2img: bool,
) -> dict[str, Any]:
    """What a body's ``script_name`` and ``script_args`` mean, by places in a request; of a script among the `others`
    nothing. `upscalers` are those that a client may count. Raises `Refused`."""
    wanted = (name or "").strip().casefold()
    if wanted in NO_SCRIPT or wanted in others:
        return {}
    script = SCRIPTS.get(wanted)
    if script is None or script.always_on or not img2img:
        there = ", ".join(each.title for each in others.values())
        raise Refused(
            f"Script {str(name)[:60]!r} not found: there are {there}, and {SD_UPSCALE.title} for img2img without a "
            "mask.",
            status=422,
        )
    values = script.values(arguments)
    number = values["upscaler"]
    if isinstance(number, int) and not isinstance(number, bool):
        if not 0 <= number < len(upscalers):
            raise Refused(f"There is no upscaler number {number}; they go up to {len(upscalers) - 1}.", status=422)
        values["upscaler"] = upscalers[number]
    return {f"{script.place}.{name}": value for name, value in values.items()}


def _asks_nothing(given: Any) -> bool:
    """Whether a script is sent along switched off, as many clients do."""
    if not given or (isinstance(given, Mapping) and given.get("enabled") is False):
        return True
    if not isinstance(given, list):
        return False
    return given[0] is False or all(isinstance(unit, Mapping) and _is_off(unit) for unit in given)


def _is_off(unit: Mapping[str, Any]) -> bool:
    """Whether a ControlNet unit does nothing."""
    named = [str(unit.get(name, "none") or "none").casefold() for name in ("module", "model")]
    return unit.get("enabled") is False or named == ["none", "none"]
