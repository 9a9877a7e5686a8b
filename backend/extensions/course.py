"""The extensions that take part in one generation, stage by stage."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PIL import Image

from backend.errors import Stopped, UserError
from backend.extension_api import Pass
from backend.extensions import extras
from backend.extensions.calls import Calls
from backend.extensions.extension import Extension, HookImpl, Own
from backend.extensions.parameters import LONGEST_KEY
from backend.extensions.tables import bringers_of, tokens_in
from backend.extensions.turns import JobTurn, PicturePlace, PictureTurn, SamplingPlace
from backend.infotext.keys import DESCRIPTIVE_KEYS, REQUEST_KEYS
from backend.inputs import Inputs
from backend.job import Job
from backend.request import GenerationRequest

if TYPE_CHECKING:
    from backend.extensions.sampling_stage import SamplingStage
    from backend.refiner import Relay
    from backend.sampling.denoiser import GuidedDenoiser, Words

SAMPLING_STAGES = ("on_sampling_start", "on_step", "on_sampling_end")
# Those of a job. What on_prompts made of a request is in the request, and nobody needs it to make a picture again.
STAGES = (
    *("on_request", "on_conditioning"),
    *SAMPLING_STAGES,
    *("on_image", "on_save", "on_finish"),
)
_KEY = re.compile(r"\w[\w \-/.()+'&#]*")
MOST_NOTES = 100
LONGEST_NOTE = 10_000


@dataclass(frozen=True, kw_only=True)
class Host:
    """What extensions need of the house while something is made: who is on, how they are called, the pictures that were
    put in, and the door that a request goes through."""

    active: Callable[[], Sequence[Extension]]
    calls: Calls
    inputs: Inputs
    prepare: Callable[[GenerationRequest], GenerationRequest]


@dataclass(frozen=True, kw_only=True)
class Participant:
    """An extension that takes part, with the hooks that it had when the job began."""

    extension: Extension
    impls: Mapping[str, Sequence[HookImpl]]


class Course:
    """One request on its way through the extensions that take part: those that it names, and those that are on and have
    no parameters. In a nested generation only those that it names take part.

    Whatever an extension raises is an `ExtensionFault` with its name, but for `Stopped`. Used by the worker's thread.
    """

    def __init__(self, host: Host | None, request: GenerationRequest, job: Job, *, asking: Sequence[Extension] = ()):
        """`asking` are the extensions, the outermost first, that a nested generation is made for: none of them takes
        part. Without a host nobody does."""
        self.asked = self.request = request
        self.job = job
        self.asking = tuple(asking)
        self.notes: dict[str, str] = {}
        self._host = host
        self._active = tuple(host.active()) if host is not None else ()
        # As they are now: one that is switched off meanwhile has none of it any more.
        self._own = {extension: extension.own for extension in self._active}
        self._parameters = {extension: extension.brought.parameters for extension in self._active}
        self._participants = self._taking_part(request)
        self._took_part = {each.extension.id: each.extension for each in self._participants}

    @property
    def host(self) -> Host:
        """Of those that take part."""
        assert self._host is not None
        return self._host

    def own(self, extension: Extension) -> Own | None:
        """What was an extension's own when this began, or is now, where it was off then."""
        return self._own.get(extension) or extension.own

    @property
    def is_nested(self) -> bool:
        return bool(self.asking)

    @property
    def versions(self) -> dict[str, str]:
        """The versions of those that took part, and of those that bring a sampler, a schedule, a guidance method or an
        upscaler of the request, by their ids."""
        used = {extension.id: extension for extension in bringers_of(self._active, self.request)}
        return {id: extension.version for id, extension in sorted({**self._took_part, **used}.items())}

    @property
    def pairs(self) -> dict[str, str]:
        """What the infotext of each picture says of them."""
        took_part = {each: asked for each, asked in self._parameters.items() if each.id in self._took_part}
        return {**extras.pairs(took_part, self.request), **self.notes}

    def note(self, key: str, value: str) -> None:
        """Add a pair to the infotexts from now on. Raises `UserError` for one that cannot be."""
        self.notes |= as_pairs({key: value})
        if len(self.notes) > MOST_NOTES:
            raise UserError(f"A picture has more than {MOST_NOTES} notes.")

    @contextmanager
    def begun(self) -> Iterator[GenerationRequest]:
        """The request that is worked on; at the end of a job, however that comes, they are told what was saved.

        Raises `InvalidRequest` where the request names one that is not on.
        """
        self.asked = self.request = extras.checked(self._active, self.asked)
        try:
            yield self._worked_on()
        except Exception:
            self._finish(quietly=True)
            raise
        self._finish()

    def words(self, words: "Words") -> "Words":
        """The encoded words as they will be used."""
        for participant, impl in self.impls("on_conditioning"):
            arguments = {"words": words, "turn": JobTurn(participant.extension, self)}
            words = self.called(participant, impl, arguments, words, _as_words)
        return words

    @contextmanager
    def sampling(
        self, part: Pass, place: Callable[[Pass], SamplingPlace], denoise: "GuidedDenoiser | Relay", prompt: str
    ) -> Iterator["SamplingStage | None"]:
        """Around one way through a sampler: what they put on the networks is there meanwhile. `prompt` has its tokens.
        Nothing where nobody has to do with it."""
        tokens = tokens_in(prompt) if self._host is not None and "<" in prompt else []
        if not tokens and not any(map(self.impls, SAMPLING_STAGES)):
            yield None
            return
        from backend.extensions.sampling_stage import SamplingStage

        self._took_part |= {token.extension.id: token.extension for token in tokens}
        stage = SamplingStage(self, place("nested" if self.is_nested else part))
        with stage.around(denoise, tokens):
            yield stage

    def image(self, image: Image.Image, place: PicturePlace) -> tuple[Image.Image, Stopped | None]:
        """A picture as it will be saved; where somebody was stopped in between, as far as it had come, and by what."""
        for participant, impl in self.impls("on_image"):
            turn = PictureTurn(participant.extension, self, place)
            try:
                image = self.called(participant, impl, {"image": image.copy(), "turn": turn}, image, _as_picture)
            except Stopped as stop:
                return image, stop
        return image, None

    def saved(self, image: Image.Image, place: PicturePlace) -> dict[str, str]:
        """All that they say of a picture in its infotext."""
        said: dict[str, str] = {}
        for participant, impl in self.impls("on_save"):
            turn = PictureTurn(participant.extension, self, place)
            said |= self.called(participant, impl, {"image": image.copy(), "turn": turn}, {}, _as_said)
        return {**self.pairs, **said}

    def _worked_on(self) -> GenerationRequest:
        for participant, impl in self.impls("on_request"):
            turn = JobTurn(participant.extension, self)
            arguments = {"request": self.request, "turn": turn}
            changed = self.called(participant, impl, arguments, self.request, self._as_request)
            if changed is not self.request:
                self.request = changed
        if self.request is not self.asked:
            self._participants = self._taking_part(self.request)
            self._took_part |= {each.extension.id: each.extension for each in self._participants}
        return self.request

    def _as_request(self, made: Any, before: GenerationRequest) -> GenerationRequest:
        """What an extension made of a request, exact as at the door."""
        if not isinstance(made, GenerationRequest):
            raise TypeError(f"it must return a request, not a {type(made).__name__}")
        if made == before:
            return before
        if (made.batch_size, made.batch_count) != (before.batch_size, before.batch_count):
            raise ValueError(
                "it must leave batch size and batch count as they are: on_prompts can make several requests"
            )
        with self.host.calls.pause():
            return self.host.prepare(made)

    def _finish(self, *, quietly: bool = False) -> None:
        """Tell all of them. The first fault is raised afterwards, unless there is another one already."""
        faults: list[Exception] = []
        for participant, impl in () if self.is_nested else self.impls("on_finish"):
            arguments = {"images": tuple(self.job.images), "turn": JobTurn(participant.extension, self)}
            try:
                self.called(participant, impl, arguments, None, lambda _made, _before: None)
            except (UserError, Stopped) as error:
                faults.append(error)
        for fault in faults[:0] if quietly else faults[:1]:
            raise fault

    def _taking_part(self, request: GenerationRequest) -> tuple[Participant, ...]:
        left_out = {extension.id for extension in self.asking}
        return tuple(
            Participant(extension=extension, impls=extension.impls)
            for extension in self._active
            if extension.id not in left_out and takes_part(extension, request, nested=self.is_nested)
        )

    def impls(self, stage: str) -> list[tuple[Participant, HookImpl]]:
        """Their functions for a stage, in their order."""
        return [(each, impl) for each in self._participants for impl in each.impls.get(stage, ())]

    def called(
        self,
        participant: Participant,
        impl: HookImpl,
        arguments: Mapping[str, Any],
        before: Any,
        check: Callable[[Any, Any], Any],
    ) -> Any:
        """What a hook returns, as `check` takes it; None leaves what was `before`."""

        def work() -> Any:
            made = impl.function(**{name: arguments[name] for name in impl.argnames})
            return before if made is None else check(made, before)

        return self.host.calls.call(participant.extension, impl.name, work)


def takes_part(
    extension: Extension, request: GenerationRequest, *, nested: bool = False, stages: Sequence[str] = STAGES
) -> bool:
    """Whether an extension that is on takes part in making a request, in any of these stages."""
    if extension.id in request.extras:
        return True
    return extension.brought.parameters is None and not nested and any(map(extension.hookimpls, stages))


def as_pairs(made: Mapping[Any, Any]) -> dict[str, str]:
    """Pairs for an infotext. Raises `ValueError` for what nobody could read back, and for keys that are taken."""
    pairs: dict[str, str] = {}
    for given, value in made.items():
        if not isinstance(given, str) or not isinstance(value, str):
            raise TypeError("keys and values of an infotext are texts")
        key = given.strip()
        if not _KEY.fullmatch(key) or len(key) > LONGEST_KEY:
            raise ValueError(
                f"{key[:LONGEST_KEY]!r} can be no key of an infotext: letters, digits, spaces and -/.()+'&#"
            )
        if key in REQUEST_KEYS | DESCRIPTIVE_KEYS:
            raise ValueError(f"the key {key!r} of the infotext means something else already: choose another one")
        if len(value) > LONGEST_NOTE:
            raise ValueError(f"the value of {key!r} is longer than {LONGEST_NOTE:,} characters")
        pairs[key] = value
    return pairs


def _as_picture(made: Any, _before: Image.Image) -> Image.Image:
    if not isinstance(made, Image.Image) or not all(made.size):
        raise TypeError(f"it must return a picture, not a {type(made).__name__}")
    return made if made.mode in ("RGB", "RGBA") else made.convert("RGB")


def _as_said(made: Any, _before: object) -> dict[str, str]:
    if not isinstance(made, Mapping):
        raise TypeError(f"it must return keys with their values, not a {type(made).__name__}")
    return as_pairs(made)


def _as_words(made: Any, before: "Words") -> "Words":
    """Words such as the network can be told. What was not a number before is nobody's fault."""
    from backend.sampling.denoiser import Words

    if not isinstance(made, Words):
        raise TypeError(f"it must return Words, not a {type(made).__name__}")
    known = before.cond.at(0)[0].context
    fine = all(bool(each.context.isfinite().all()) for each in before.cond.at(0))
    for prompt in (made.cond, made.uncond):
        for part in prompt.parts if prompt is not None else ():
            for _, said in part.schedule:
                if said.context.ndim != 2 or said.context.shape[-1] != known.shape[-1]:
                    raise ValueError(
                        f"the words must be tensors of (tokens, {known.shape[-1]}), not {tuple(said.context.shape)}"
                    )
                if fine and not said.context.isfinite().all():
                    raise ValueError("it made something that is not a number (NaN) of what is")
    return made
