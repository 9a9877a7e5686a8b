"""Loopback: img2img that begins with its own result, several times, at a strength that changes on the way.

Each step is a job of its own, as each has a picture that is saved. It begins with the picture of the step before, which
is remembered while Atelier runs; a step whose predecessor is not there, such as one that is made again from its file,
makes all the steps before it anew, and so the same picture.
"""

import math
from collections import OrderedDict
from dataclasses import replace
from typing import Literal

from backend.extension_api import (
    LARGEST_SEED,
    ExtensionApi,
    Field,
    GenerationRequest,
    Image,
    InitImage,
    InvalidRequest,
    JobTurn,
    Params,
    PictureTurn,
    Script,
    ScriptTurn,
    Several,
    UserError,
    hook,
)

NAME = "loopback"
REMEMBERED = 200  # steps
Curve = Literal["Aggressive", "Linear", "Lazy"]


class Loopback(Params):
    """What a loop is asked for, in AUTOMATIC1111's order; its interrogation there is not here."""

    loops: int = Field(default=4, ge=1, le=32, title="Loops", json_schema_extra={"suffix": "loopback_loops"})
    final_strength: float = Field(
        default=0.5,
        ge=0,
        le=1,
        title="Final denoising strength",
        json_schema_extra={"suffix": "loopback_final_denoising_strength"},
    )
    curve: Curve = Field(
        default="Linear",
        title="Denoising strength curve",
        json_schema_extra={"suffix": "loopback_denoising_strength_curve", "segments": True},
    )
    interrogation: Literal["None"] = Field(
        default="None",
        title="Append interrogated prompt at each iteration",
        json_schema_extra={"page": False},
    )

    def strength(self, step: int, first: float) -> float:
        """That of a step, from 0, where the first has the strength `first`."""
        if self.loops == 1:
            return first
        way = step / (self.loops - 1)
        match self.curve:
            case "Aggressive":
                way = math.sin(way * math.pi / 2)
            case "Lazy":
                way = 1 - math.cos(way * math.pi / 2)
        return first + (self.final_strength - first) * way


class Step(Params):
    """Which step of a loop a request is, from 0, with what the others can be made of."""

    step: int = Field(default=0, ge=0, le=31, title="Step")
    loops: int = Field(default=1, ge=1, le=32, title="Loops")
    first_strength: float = Field(default=0.75, ge=0, le=1, title="First denoising strength")
    final_strength: float = Field(default=0.5, ge=0, le=1, title="Final denoising strength")
    curve: Curve = Field(default="Linear", title="Denoising strength curve")

    def requests(self, request: GenerationRequest) -> list[GenerationRequest]:
        """Every step up to the one that `request` is."""
        loop = Loopback(loops=self.loops, final_strength=self.final_strength, curve=self.curve)
        found = []
        for step in range(self.step + 1):
            init = replace(_init(request), denoising_strength=loop.strength(step, self.first_strength))
            seed = (request.seed - self.step + step) % (LARGEST_SEED + 1)
            own = self.model_copy(update={"step": step}).model_dump()
            found.append(replace(request, seed=seed, init=init, extras={**request.extras, NAME: own}))
        return found


class Steps:
    """The pictures of steps, by what they were asked for. Used by the worker's thread alone."""

    def __init__(self) -> None:
        self._pictures: OrderedDict[str, str] = OrderedDict()
        # What a step works on, where it has the picture of the one before, and what it was asked for.
        self._asked: OrderedDict[str, GenerationRequest] = OrderedDict()

    def picture(self, asked: GenerationRequest) -> str | None:
        """The name of a step's picture."""
        return self._pictures.get(asked.to_json())

    def begin(self, asked: GenerationRequest, worked_on: GenerationRequest) -> None:
        """A step has the picture that it is to begin with."""
        _remember(self._asked, worked_on.to_json(), asked)

    def asked(self, worked_on: GenerationRequest) -> GenerationRequest | None:
        """What a step was asked for that has the picture of the one before; None for any other."""
        return self._asked.get(worked_on.to_json())

    def keep(self, asked: GenerationRequest, name: str) -> None:
        """Remember the picture of a step."""
        _remember(self._pictures, asked.to_json(), name)


@hook
def register(api: ExtensionApi) -> None:
    api.keep(Steps())
    api.params(Step, tabs=())
    api.script(Script(title="Loopback", kind=Loopback, plan=_plan, tabs=("img2img", "inpaint")))


def _plan(request: GenerationRequest, params: Loopback, _turn: ScriptTurn) -> Several:
    """The steps one after the other, and all of them again for each batch, as AUTOMATIC1111 has them."""
    init = request.init
    if init is None:
        raise InvalidRequest("Loopback begins with a picture.")
    if init.upscale is not None:
        raise InvalidRequest("Loopback enlarges nothing: switch the tiled upscale off.")
    one = replace(request.resolved(), batch_size=1, batch_count=1)
    own = Step(
        step=params.loops - 1,
        loops=params.loops,
        first_strength=init.denoising_strength,
        final_strength=params.final_strength,
        curve=params.curve,
    )
    found: list[GenerationRequest] = []
    for batch in range(1, request.batch_count + 1):
        last = (one.seed + batch * params.loops - 1) % (LARGEST_SEED + 1)
        found += own.requests(replace(one, seed=last))
    return Several(requests=found)


@hook
def on_request(request: GenerationRequest, turn: JobTurn) -> GenerationRequest | None:
    """Begin with the picture of the step before, if it is there."""
    params, steps = turn.params(Step), turn.kept(Steps)
    if not params.step:
        return None
    name = steps.picture(params.requests(request)[-2])
    if name is None or not _is_there(name, turn):
        return None
    worked_on = _following(request, name)
    steps.begin(request, worked_on)
    return worked_on


@hook
def on_image(image: Image.Image, turn: PictureTurn) -> Image.Image:
    """Where the picture of the step before was not there, all steps anew."""
    params, request = turn.params(Step), turn.request
    if not params.step or turn.kept(Steps).asked(request) is not None:
        return image
    name = None
    for step in params.requests(request):
        (image,) = turn.generate(_following(step, name) if name else step)
        name = turn.keep(image)
    return image


@hook
def on_save(image: Image.Image, turn: PictureTurn) -> None:
    """The next step begins with what is saved of this one."""
    params, steps = turn.params(Step), turn.kept(Steps)
    if params.step + 1 < params.loops:
        steps.keep(steps.asked(turn.request) or turn.request, turn.keep(image))


def _following(request: GenerationRequest, name: str) -> GenerationRequest:
    """The same, beginning with the picture of the step before: what was painted is in it, and stands under the mask."""
    init = replace(_init(request), picture=name, sketch="")
    if init.inpainting is not None:
        init = replace(init, inpainting=replace(init.inpainting, masked_content="original"))
    return replace(request, init=init)


def _init(request: GenerationRequest) -> InitImage:
    if request.init is None:
        raise InvalidRequest("Loopback begins with a picture.")
    return request.init


def _is_there(name: str, turn: JobTurn) -> bool:
    try:
        turn.picture(name)
    except UserError:
        return False
    return True


def _remember(where: OrderedDict, key: str, value: object) -> None:
    where[key] = value
    where.move_to_end(key)
    while len(where) > REMEMBERED:
        where.popitem(last=False)
