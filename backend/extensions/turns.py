"""An extension's turns in one generation: what `backend.extension_api` promises of them."""

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from PIL import Image
from pydantic import BaseModel

from backend.errors import UserError
from backend.events import Notice
from backend.extension_api import (
    AroundAttention,
    AroundJoin,
    AroundNetwork,
    AroundVae,
    AttentionPlace,
    ExtensionApi,
    Params,
    Pass,
    Residuals,
)
from backend.extensions.extension import Extension, Own
from backend.request import GenerationRequest

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from backend.extensions.course import Course
    from backend.extensions.patching import Patches, Shape
    from backend.sampling.denoiser import Words

P = TypeVar("P", bound=Params)
S = TypeVar("S", bound=BaseModel)
T = TypeVar("T")


class DoorTurn:
    """A turn at the door, where nothing is queued yet."""

    def __init__(self, extension: Extension, request: GenerationRequest, own: Own | None):
        """`own` is None for one that was off when this began."""
        self._extension = extension
        self._request = request
        self._its_own = own

    @property
    def api(self) -> ExtensionApi:
        return self._own.api

    @property
    def request(self) -> GenerationRequest:
        return self._request

    def params(self, kind: type[P]) -> P:
        return kind.model_validate(self.request.extras.get(self._extension.id, {}))

    def settings(self, kind: type[S]) -> S:
        settings = self._own.settings
        if settings is None or not isinstance(settings.value, kind):
            raise UserError(f"it has no settings {kind.__name__}: register names them to api.settings.")
        return settings.value

    def kept(self, kind: type[T]) -> T:
        thing = self._own.kept.get(kind)
        if thing is None:
            raise UserError(f"it keeps no {kind.__name__}: register hands it to api.keep.")
        return thing

    @property
    def _own(self) -> Own:
        if self._its_own is None:
            raise UserError("it has been switched off meanwhile.")
        return self._its_own


class JobTurn(DoorTurn):
    """A turn while the job runs."""

    def __init__(self, extension: Extension, course: "Course", request: GenerationRequest | None = None):
        """`request` is that of one picture, if it is about one."""
        super().__init__(extension, request or course.request, course.own(extension))
        self._course = course

    @property
    def owner(self) -> str:
        return self._course.job.owner

    def remark(self, sentence: str) -> None:
        self._course.job.emit(Notice(message=str(sentence)))

    def picture(self, name: str) -> Image.Image:
        return self._course.host.inputs.picture(name)

    def note(self, key: str, value: str) -> None:
        self._course.note(key, value)

    def check(self) -> None:
        self._course.host.calls.renew()
        self._course.job.check()


@dataclass(frozen=True, kw_only=True)
class PicturePlace:
    """One picture: its number in the job, its seed, the request that makes it alone, and how the pictures of another
    request are made for an extension."""

    index: int
    seed: int
    request: GenerationRequest
    nested: Callable[[Extension, GenerationRequest], list[Image.Image]]


class PictureTurn(JobTurn):
    """A turn at one picture."""

    def __init__(self, extension: Extension, course: "Course", place: PicturePlace):
        super().__init__(extension, course, place.request)
        self._place = place

    @property
    def index(self) -> int:
        return self._place.index

    @property
    def seed(self) -> int:
        return self._place.seed

    def keep(self, image: Image.Image) -> str:
        data = io.BytesIO()
        image.save(data, "PNG", compress_level=1)
        return self._course.host.inputs.put(data.getvalue()).name

    def generate(self, request: GenerationRequest) -> list[Image.Image]:
        return self._place.nested(self._extension, request)


@dataclass(frozen=True, kw_only=True)
class SamplingPlace:
    """One way through a sampler, on a network that is at work."""

    part: Pass
    seeds: Sequence[int]
    size: tuple[int, int]
    sigmas: Sequence[float]
    device: "torch.device"
    shapes: "Callable[[], tuple[Sequence[Shape], Shape]]"
    encode: "Callable[[str, str], Words]"
    latents: "Callable[[Image.Image], Tensor]"


class SamplingTurn(JobTurn):
    """A turn from the start of a sampling to its end. What is put on or asked of the checkpoint is at its start."""

    def __init__(self, extension: Extension, course: "Course", place: SamplingPlace, patches: "Patches"):
        super().__init__(extension, course)
        self._place = place
        self._patches = patches
        self._starting = False

    @contextmanager
    def starting(self) -> Iterator[None]:
        """Meanwhile something can be put on."""
        self._starting = True
        try:
            yield
        finally:
            self._starting = False

    @property
    def part(self) -> Pass:
        return self._place.part

    @property
    def seeds(self) -> Sequence[int]:
        return self._place.seeds

    @property
    def size(self) -> tuple[int, int]:
        return self._place.size

    @property
    def sigmas(self) -> Sequence[float]:
        return self._place.sigmas

    @property
    def device(self) -> "torch.device":
        return self._place.device

    @property
    def negative_rows(self) -> Sequence[bool]:
        return self._patches.negative

    @property
    def residual_shapes(self) -> "tuple[Sequence[Shape], Shape]":
        return self._place.shapes()

    def encode(self, prompt: str, negative_prompt: str = "") -> "Words":
        self._only_at_the_start("encode")
        with self._course.host.calls.pause():
            return self._place.encode(prompt, negative_prompt)

    def latents(self, picture: Image.Image) -> "Tensor":
        self._only_at_the_start("latents")
        with self._course.host.calls.pause():
            return self._place.latents(picture)

    def wrap_network(self, around: AroundNetwork) -> None:
        self._only_at_the_start("wrap_network", around)
        self._patches.wrap_network(self._extension, around)

    def wrap_attention(self, around: AroundAttention, where: Callable[[AttentionPlace], bool] | None = None) -> None:
        self._only_at_the_start("wrap_attention", around, where)
        self._patches.wrap_attention(self._extension, around, where)

    def wrap_joins(self, around: AroundJoin) -> None:
        self._only_at_the_start("wrap_joins", around)
        self._patches.wrap_joins(self._extension, around)

    def add_residuals(self, residuals: Residuals) -> None:
        self._only_at_the_start("add_residuals", residuals)
        self._patches.add_residuals(self._extension, residuals)

    def wrap_vae(self, *, decode: AroundVae | None = None, encode: AroundVae | None = None) -> None:
        self._only_at_the_start("wrap_vae", decode, encode)
        self._patches.wrap_vae(self._extension, decode=decode, encode=encode)

    def _only_at_the_start(self, what: str, *functions: Any) -> None:
        if not self._starting:
            raise UserError(f"{what} can be called in on_sampling_start only.")
        for function in functions:
            if function is not None and not callable(function):
                raise UserError(f"{what} wants functions, not {function!r}.")
