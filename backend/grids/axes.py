"""The axes of a plot: which value of a request each of them changes, under AUTOMATIC1111's names."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from types import MappingProxyType
from typing import Any, Literal, Protocol

from backend import checked
from backend.errors import InvalidRequest, unknown_name
from backend.grids.values import listed, numbers, orders, whole_numbers
from backend.imaging.upscale import ENLARGERS
from backend.infotext.values import plain
from backend.init_image import LATENT_UPSCALERS
from backend.model_manager.identity import Kind
from backend.request import AUTOMATIC_VAE, OWN_VAE, GenerationRequest, label
from backend.sampling.samplers import SAMPLERS, find_sampler, split_name
from backend.sampling.schedules import find_schedule, is_automatic, schedule_names
from backend.sampling_options import NOISE_SOURCES, Refiner, Variation

NOTHING = "Nothing"
NONE = "None"
_SIZE = re.compile(r"\s*(\d{1,6})\s*[xX×]\s*(\d{1,6})\s*")


class Names(Protocol):
    """What models there are, by kind."""

    def __call__(self, kind: Kind, /) -> Sequence[str]: ...


Value = Any  # what an axis reads of its text: a number, a name, the order of words
Apply = Callable[[GenerationRequest, Value, Sequence[Value]], GenerationRequest]


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One of the table. `read` makes values of a text, and raises `InvalidRequest` for what is none; `apply` puts one
    of them (of all, which Prompt S/R needs) into a request. The higher the `cost`, from 0 to 1, the more rarely its
    value changes. `choices` are what one would fill the axis with; `seeds` says that -1 is a seed to be chosen. In the
    legend a value stands `said` behind the axis' name, alone, or as a file without its folder. An axis that `follows`
    others is applied after them."""

    name: str
    read: Callable[[str, str], Sequence[Value]]
    apply: Apply
    cost: float = 0.0
    choices: Callable[[Names], Sequence[str]] | None = None
    seeds: bool = False
    said: Literal["named", "alone", "file"] = "named"
    follows: bool = False

    def values(self, text: str) -> list[Value]:
        """The values in a text, of which there must be one. Raises `InvalidRequest`."""
        found = list(self.read(self.name, checked.text(self.name, text)))
        if not found:
            raise InvalidRequest(f"{self.name} has no values: name some, or choose {NOTHING} for this axis.")
        return found

    def legend(self, value: Value) -> str:
        """What stands beside the pictures of a value."""
        if isinstance(value, tuple):
            said = ", ".join(value)
        elif isinstance(value, float):
            said = plain(round(value, 8))
        else:
            said = str(value)
        match self.said:
            case "file":
                return said.rpartition("/")[2]
            case "alone":
                return said
        return f"{self.name}: {said}"


def _words(_what: str, text: str) -> Sequence[str]:
    return [item for item in listed(text) if item]


def _first_may_be_empty(_what: str, text: str) -> Sequence[str]:
    """For search and replace, where nothing is a word too, but is no word to search for."""
    found = listed(text)
    return found if found and found[0] else []


def _yes_or_no(what: str, text: str) -> Sequence[bool]:
    words = {"true": True, "false": False}
    found = [item.casefold() for item in listed(text) if item]
    for item in found:
        if item not in words:
            raise InvalidRequest(f"{what} can be True or False, not {item!r}.")
    return [words[item] for item in found]


def _sizes(what: str, text: str) -> Sequence[str]:
    found = [item for item in listed(text) if item]
    for item in found:
        if not _SIZE.fullmatch(item):
            raise InvalidRequest(f"{what} has the value {item[:40]!r}, which is no size such as 512x768.")
    return found


def _put(place: str, *, needed: str = "") -> Apply:
    """Puts a value into the field at `place`; where its part is not there, `needed` says what to do."""

    def apply(request: GenerationRequest, value: Value, _values: Sequence[Value]) -> GenerationRequest:
        return _replaced(request, place.split("."), value, place, needed)

    return apply


def _replaced(part: Any, way: Sequence[str], value: Value, place: str, needed: str) -> Any:
    inner = getattr(part, way[0])
    if len(way) == 1:
        return replace(part, **{way[0]: value})
    if inner is None:
        raise InvalidRequest(f"{label(place)} cannot be plotted here: {needed}.")
    return replace(part, **{way[0]: _replaced(inner, way[1:], value, place, needed)})


def _variation(name: str) -> Apply:
    def apply(request: GenerationRequest, value: Value, _values: Sequence[Value]) -> GenerationRequest:
        return replace(request, variation=replace(request.variation or Variation(), **{name: value}))

    return apply


def _in_second(name: str) -> Apply:
    """Puts a value where noise is put on something that is there: a picture, or what the first pass made."""

    def apply(request: GenerationRequest, value: Value, _values: Sequence[Value]) -> GenerationRequest:
        place = ["init" if request.init is not None else "hires", name]
        return _replaced(request, place, value, ".".join(place), "begin with a picture, or switch hires fix on")

    return apply


def _sampler(request: GenerationRequest, name: str, _values: Sequence[Value]) -> GenerationRequest:
    sampler, schedule = split_name(name)
    return replace(request, sampler=sampler.name, schedule=schedule.name if schedule else request.schedule)


def _schedule(request: GenerationRequest, name: str, _values: Sequence[Value]) -> GenerationRequest:
    return replace(request, schedule=name if is_automatic(name) else find_schedule(name).name)


def _second_sampler(request: GenerationRequest, name: str, values: Sequence[Value]) -> GenerationRequest:
    return _put("hires.sampler", needed=_HIRES)(request, find_sampler(name).name, values)


def _refiner(request: GenerationRequest, name: str, _values: Sequence[Value]) -> GenerationRequest:
    if name.casefold() in ("", NONE.casefold()):
        return replace(request, refiner=None)
    known = request.refiner or Refiner(checkpoint=name)
    return replace(request, refiner=replace(known, checkpoint=name))


def _size(request: GenerationRequest, text: str, _values: Sequence[Value]) -> GenerationRequest:
    found = _SIZE.fullmatch(text)
    assert found is not None, "checked when it was read"
    return replace(request, width=int(found[1]), height=int(found[2]))


def _searched(request: GenerationRequest, value: str, values: Sequence[str]) -> GenerationRequest:
    """The first value, wherever it stands in the prompts, by this one."""
    wanted = values[0]
    if wanted not in request.prompt and wanted not in request.negative_prompt:
        raise InvalidRequest(f"Prompt S/R did not find {wanted[:80]!r} in prompt or negative prompt.")
    hires = request.hires
    if hires is not None:
        second = {name: getattr(hires, name).replace(wanted, value) for name in ("prompt", "negative_prompt")}
        hires = replace(hires, **second)
    first = {name: getattr(request, name).replace(wanted, value) for name in ("prompt", "negative_prompt")}
    return replace(request, **first, hires=hires)


def _ordered(request: GenerationRequest, value: tuple[str, ...], _values: Sequence[Value]) -> GenerationRequest:
    """The words in this order, each at a place where one of them stood."""
    prompt, places = request.prompt, []
    for word in value:
        start = prompt.find(word)
        if start < 0:
            raise InvalidRequest(f"Prompt order did not find {word[:80]!r} in the prompt.")
        places.append((start, start + len(word)))
    places.sort()
    if any(before[1] > after[0] for before, after in pairwise(places)):
        raise InvalidRequest("Prompt order has words that stand in one another in the prompt: name them apart.")
    pieces, done = [], 0
    for (start, end), word in zip(places, value, strict=True):
        pieces += [prompt[done:start], word]
        done = end
    return replace(request, prompt="".join([*pieces, prompt[done:]]))


def _truth(_names: Names) -> Sequence[str]:
    return ("True", "False")


def _samplers(_names: Names) -> Sequence[str]:
    return tuple(SAMPLERS)


def _upscalers(names: Names) -> Sequence[str]:
    return (*LATENT_UPSCALERS, *ENLARGERS, *names(Kind.UPSCALER))


_HIRES = "switch hires fix on"
_PICTURE = "begin with a picture"
_MASK = "paint a mask"


def _row(name: str, read: Callable[[str, str], Sequence[Value]], place: str, needed: str = "", **more: Any) -> Axis:
    return Axis(name=name, read=read, apply=_put(place, needed=needed), **more)


AXES: tuple[Axis, ...] = (
    Axis(name=NOTHING, read=lambda _what, _text: [""], apply=lambda request, _value, _values: request, said="alone"),
    _row("Seed", whole_numbers, "seed", seeds=True),
    Axis(name="Var. seed", read=whole_numbers, apply=_variation("seed"), seeds=True),
    Axis(name="Var. strength", read=numbers, apply=_variation("strength")),
    _row("Steps", whole_numbers, "steps"),
    _row("Hires steps", whole_numbers, "hires.steps", _HIRES),
    _row("CFG Scale", numbers, "cfg_scale"),
    _row("Image CFG Scale", numbers, "init.image_cfg_scale", _PICTURE),
    Axis(name="Prompt S/R", read=_first_may_be_empty, apply=_searched, said="alone"),
    Axis(name="Prompt order", read=orders, apply=_ordered, said="alone", follows=True),
    Axis(name="Sampler", read=_words, apply=_sampler, choices=_samplers, said="alone"),
    Axis(name="Hires sampler", read=_words, apply=_second_sampler, choices=_samplers, said="alone"),
    _row("Checkpoint name", _words, "checkpoint", cost=1.0, choices=lambda names: names(Kind.CHECKPOINT), said="file"),
    _row("Negative Guidance minimum sigma", numbers, "guidance.ngms"),
    _row("Sigma Churn", numbers, "sampling.sigma_churn"),
    _row("Sigma min", numbers, "sampling.sigma_tmin"),
    _row("Sigma max", numbers, "sampling.sigma_tmax"),
    _row("Sigma noise", numbers, "sampling.sigma_noise"),
    Axis(name="Schedule type", read=_words, apply=_schedule, choices=lambda _names: schedule_names(), follows=True),
    _row("Schedule min sigma", numbers, "sampling.schedule_min_sigma"),
    _row("Schedule max sigma", numbers, "sampling.schedule_max_sigma"),
    _row("Schedule rho", numbers, "sampling.schedule_rho"),
    _row("Beta schedule alpha", numbers, "sampling.beta_alpha"),
    _row("Beta schedule beta", numbers, "sampling.beta_beta"),
    _row("Eta", numbers, "sampling.eta"),
    _row("Clip skip", whole_numbers, "clip_skip"),
    Axis(name="Denoising", read=numbers, apply=_in_second("denoising_strength")),
    _row("Initial noise multiplier", numbers, "init.noise_multiplier", _PICTURE),
    Axis(name="Extra noise", read=numbers, apply=_in_second("extra_noise")),
    _row("Hires upscaler", _words, "hires.upscaler", _HIRES, choices=_upscalers, said="file"),
    _row("Cond. Image Mask Weight", numbers, "init.inpainting.mask_weight", _MASK),
    _row("VAE", _words, "vae", cost=0.7, choices=lambda names: (AUTOMATIC_VAE, OWN_VAE, *names(Kind.VAE)), said="file"),
    _row("UniPC Order", whole_numbers, "sampling.unipc_order", cost=0.5),
    _row("Always discard next-to-last sigma", _yes_or_no, "sampling.discard_penultimate", choices=_truth),
    _row("SGM noise multiplier", _yes_or_no, "sampling.sgm_noise_multiplier", choices=_truth),
    Axis(
        name="Refiner checkpoint",
        read=_words,
        apply=_refiner,
        cost=1.0,
        choices=lambda names: (NONE, *names(Kind.CHECKPOINT)),
        said="file",
    ),
    _row("Refiner switch at", numbers, "refiner.switch_at", "choose a refiner", follows=True),
    _row("RNG source", _words, "noise_source", choices=lambda _names: NOISE_SOURCES),
    Axis(name="Size", read=_sizes, apply=_size),
)
BY_NAME: Mapping[str, Axis] = MappingProxyType({axis.name: axis for axis in AXES})
# AUTOMATIC1111's other axes, and why they are none here.
ELSEWHERE: Mapping[str, str] = MappingProxyType(
    {
        "Distilled CFG Scale": "it is for families that Atelier does not run",
        "Face restore": "there is no face restoration",
        "FP8 mode": "checkpoints are kept in the numbers they have",
        "Token merging ratio": "tokens are not merged",
        "Token merging ratio high-res": "tokens are not merged",
    }
)


def find_axis(name: str, more: Sequence[Axis] = ()) -> Axis:
    """The axis of that name, in any case, of the table or of `more`. Raises `InvalidRequest` for one that there is not,
    and says why."""
    wanted = name.strip().casefold()
    for axis in (*AXES, *more):
        if axis.name.casefold() == wanted:
            return axis
    for other, reason in ELSEWHERE.items():
        if other.casefold() == wanted:
            raise InvalidRequest(f"{other} cannot be plotted: {reason}.")
    raise InvalidRequest(unknown_name("axis", name, [*dict.fromkeys([*BY_NAME, *(axis.name for axis in more)])]))


def choices_of(axis: Axis, names: Names) -> list[str]:
    """What *fill all* puts into an axis of names; nothing for one of numbers."""
    return list(axis.choices(names)) if axis.choices else []
