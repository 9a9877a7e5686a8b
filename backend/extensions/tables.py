"""What extensions bring, in the tables that requests choose from: every call of it goes through `Calls`."""

import functools
import itertools
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from PIL import Image

from backend.errors import InvalidRequest, UserError
from backend.extension_api import SamplingTurn, Token
from backend.extensions import brought
from backend.extensions.calls import Calls
from backend.extensions.extension import Extension
from backend.imaging.upscale import ENLARGERS, Enlarger
from backend.prompt.grammar import EXTRA_NETWORKS, ExtraNetwork, read_prompt
from backend.request import GenerationRequest
from backend.sampling.guidance import GUIDANCE, GuidanceMethod
from backend.sampling.lookup import Table
from backend.sampling.samplers import SAMPLERS, Sampler, one_each, two_each
from backend.sampling.schedules import DEFAULTS, SCHEDULES, Schedule, SigmaTable, ends
from backend.sampling.solvers import Noise, OnStep
from backend.sampling_options import SamplingOptions
from backend.upscaling.operations import OPERATIONS, Operation

if TYPE_CHECKING:
    from torch import Tensor

# The tables that extensions add to, by the list in `Brought` that holds what one brings for it.
TABLES: Mapping[str, Table[Any]] = MappingProxyType(
    {
        "samplers": SAMPLERS,
        "schedules": SCHEDULES,
        "guidances": GUIDANCE,
        "upscalers": ENLARGERS,
        "operations": OPERATIONS,
        "extra_networks": EXTRA_NETWORKS,
    }
)
KEPT_LEVELS = 64  # answers of a schedule, which the page, the door and the sampling ask for in turn


@dataclass(frozen=True, kw_only=True)
class BroughtNetwork(ExtraNetwork):
    """A kind of token, with whom it belongs to."""

    extension: Extension
    activate: Callable[[Token, SamplingTurn], None]


@dataclass(frozen=True, kw_only=True)
class ActiveToken:
    """A token of a prompt that an extension reads. `activate(token, turn)` wants a turn of that extension's, and raises
    `ExtensionFault` where it fails."""

    extension: Extension
    token: Token
    activate: Callable[[Token, SamplingTurn], None]


def put_in(extension: Extension, calls: Calls) -> Callable[[], None]:
    """Put all that an extension brings for the tables into them; what is returned takes it out again.

    Raises `InvalidRequest` for a name that is taken, and then nothing has been put in.
    """
    with ExitStack() as entered:
        for add in _rows(extension, calls):
            entered.callback(add())
        return entered.pop_all().close


def bringers_of(extensions: Sequence[Extension], request: GenerationRequest) -> list[Extension]:
    """Those of the extensions that bring something which a request names."""
    hires, upscale = request.hires, request.init.upscale if request.init else None
    names = {request.sampler, request.schedule, request.guidance.method}
    names |= {hires.sampler, hires.schedule, hires.upscaler} if hires else set()
    names |= {upscale.upscaler} if upscale else set()
    return [
        extension
        for extension in extensions
        if any(
            row.name in names
            for rows in (
                *(extension.brought.samplers, extension.brought.schedules),
                *(extension.brought.guidances, extension.brought.upscalers),
            )
            for row in rows
        )
    ]


def tokens_in(prompt: str) -> list[ActiveToken]:
    """The tokens of a prompt that extensions read, in their order."""
    found: list[ActiveToken] = []
    for each in read_prompt(prompt).extras:
        row = EXTRA_NETWORKS.get(each.kind)
        if isinstance(row, BroughtNetwork):
            token = Token(name=each.kind, arguments=each.arguments)
            found.append(ActiveToken(extension=row.extension, token=token, activate=row.activate))
    return found


def _rows(extension: Extension, calls: Calls) -> Iterator[Callable[[], Callable[[], None]]]:
    """For each thing that is brought, what adds it to its table."""
    has, title = extension.brought, extension.title
    for sampler in has.samplers:
        yield functools.partial(SAMPLERS.add, _sampler(extension, sampler, calls), title)
    for schedule in has.schedules:
        yield functools.partial(SCHEDULES.add, _schedule(extension, schedule, calls), title)
    for guidance in has.guidances:
        yield functools.partial(GUIDANCE.add, _guidance(extension, guidance, calls), title)
    for upscaler in has.upscalers:
        yield functools.partial(ENLARGERS.add, _enlarger(extension, upscaler, calls), title)
    for operation in has.operations:
        yield functools.partial(OPERATIONS.add, _operation(extension, operation, calls), title)
    for network in has.extra_networks:
        yield functools.partial(EXTRA_NETWORKS.add, _network(extension, network, calls), title)


def _sampler(extension: Extension, row: brought.Sampler, calls: Calls) -> Sampler:
    def sample(
        denoise: "Callable[[Tensor, float], Tensor]",
        x: "Tensor",
        sigmas: Sequence[float],
        *,
        noise: Noise,
        on_step: OnStep,
    ) -> "Tensor":
        finite = True

        def guess(x: "Tensor", sigma: float) -> "Tensor":
            nonlocal finite
            with calls.pause():
                denoised = denoise(x, float(sigma))
                finite = bool(denoised.isfinite().all())
                return denoised

        def step(number: int, denoised: "Tensor") -> None:
            with calls.pause():
                on_step(number, denoised)

        def work() -> "Tensor":
            latents = _shaped(row.sample(guess, x, sigmas, noise=noise, on_step=step), x)
            if finite and not latents.isfinite().all():
                raise UserError(f"the sampler {row.name} made something that is not a number of what is.")
            return latents

        return calls.call(extension, f"the sampler {row.name}", work)

    return Sampler(
        name=row.name,
        aliases=row.aliases,
        function=sample,
        noise="image",
        second_order=row.second_order,
        evaluations=two_each if row.second_order else one_each,
    )


def _schedule(extension: Extension, row: brought.Schedule, calls: Calls) -> Schedule:
    @functools.lru_cache(maxsize=KEPT_LEVELS)
    def levels(_revision: int, steps: int, lowest: float, highest: float) -> tuple[float, ...]:
        def work() -> tuple[float, ...]:
            made = tuple(float(level) for level in row.levels(steps, lowest, highest))
            falling = all(before > after for before, after in itertools.pairwise(made))
            if len(made) != steps or not falling or not all(level > 0 and math.isfinite(level) for level in made):
                raise UserError(
                    f"the schedule {row.name} must give {steps} falling noise levels above 0, not {_shown(made)}."
                )
            return made

        # Asked at the door too, where no watchdog is: so it has a thread of its own and little time.
        return calls.call_apart(extension, f"the schedule {row.name}", work)

    def sigmas(steps: int, table: SigmaTable, options: SamplingOptions = DEFAULTS) -> list[float]:
        revision = extension.settings.revision if extension.settings else 0  # what it answers may hang on them
        return [*levels(revision, steps, *ends(table, options)), 0.0]

    return Schedule(name=row.name, aliases=row.aliases, sigmas=sigmas)


def _guidance(extension: Extension, row: brought.GuidanceMethod, calls: Calls) -> GuidanceMethod:
    def combine(cond: "Tensor", uncond: "Tensor", scale: float, x: "Tensor", sigma: float) -> "Tensor":
        def work() -> "Tensor":
            guess = _shaped(row.guide(cond, uncond, scale, x, sigma), x)
            if not guess.isfinite().all() and cond.isfinite().all() and uncond.isfinite().all():
                raise UserError(f"the guidance {row.name} made something that is not a number of what is.")
            return guess

        return calls.call(extension, f"the guidance {row.name}", work)

    return GuidanceMethod(name=row.name, combine=combine)


def _enlarger(extension: Extension, row: brought.Upscaler, calls: Calls) -> Enlarger:
    def enlarge(picture: Image.Image, width: int, height: int) -> Image.Image:
        def work() -> Image.Image:
            made = _picture(row.upscale(picture, width, height))
            if made.size != (width, height):
                raise UserError(
                    f"the upscaler {row.name} was asked for {width} x {height} pixels and made {made.width} x "
                    f"{made.height}."
                )
            return made.convert("RGB")

        return calls.call(extension, f"the upscaler {row.name}", work)

    return Enlarger(name=row.name, enlarge=enlarge)


def _operation(extension: Extension, row: brought.Operation, calls: Calls) -> Operation:
    def operate(picture: Image.Image, params: object) -> Image.Image:
        def work() -> Image.Image:
            made = _picture(row.operate(picture, params))
            return made if made.mode in ("RGB", "RGBA") else made.convert("RGB")

        return calls.call(extension, f"the operation {row.name}", work)

    return Operation(name=row.name, operate=operate, kind=row.kind)


def _network(extension: Extension, row: brought.ExtraNetwork, calls: Calls) -> BroughtNetwork:
    if not re.fullmatch(r"\w+", row.name):
        raise InvalidRequest(
            f"A kind of token cannot be called {row.name!r}: it is written <name:...>, with letters, digits and _."
        )

    def activate(token: Token, turn: SamplingTurn) -> None:
        calls.call(extension, f"<{row.name}:...>", row.activate, token, turn)

    return BroughtNetwork(name=row.name, extension=extension, activate=activate)


def _shaped(made: Any, like: "Tensor") -> "Tensor":
    """What an extension made, if it is a tensor such as `like`."""
    if type(made) is not type(like) or made.shape != like.shape or made.device != like.device:
        raise UserError(f"it must return a tensor of the shape {tuple(like.shape)}, not {_shown(made)}.")
    return made.to(like.dtype)


def _picture(made: Any) -> Image.Image:
    if not isinstance(made, Image.Image) or not all(made.size):
        raise UserError(f"it must return a picture, not {_shown(made)}.")
    return made


def _shown(value: Any) -> str:
    """A value in a few words."""
    if hasattr(value, "shape"):
        return f"one of {tuple(value.shape)}"
    return f"{len(value)} others" if isinstance(value, tuple) else type(value).__name__
