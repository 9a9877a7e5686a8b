"""The extensions that take part in one way through a sampler: from its start, over each guess, to its end."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from torch import Tensor

from backend.events import Notice
from backend.extension_api import Guess
from backend.extensions.extension import Extension
from backend.extensions.patching import NO_NUMBER, Patches, as_expected
from backend.extensions.tables import ActiveToken
from backend.extensions.turns import SamplingPlace, SamplingTurn
from backend.refiner import Relay
from backend.sampling.denoiser import GuidedDenoiser
from backend.sampling_pass import Made

if TYPE_CHECKING:
    from backend.extensions.course import Course


class SamplingStage:
    """Stands around a denoiser while `around` lasts, and around that of the refiner after it."""

    def __init__(self, course: "Course", place: SamplingPlace):
        self._course = course
        self._place = place
        self._patches = Patches(course.host.calls, lambda sentence: course.job.emit(Notice(message=sentence)))
        self._turns: dict[str, SamplingTurn] = {}
        self._steps = course.impls("on_step")
        self._now: GuidedDenoiser | None = None

    @contextmanager
    def around(self, denoise: GuidedDenoiser | Relay, tokens: Sequence[ActiveToken]) -> Iterator[None]:
        """The sampling begins, and however it ends, what was put on is taken off."""
        try:
            self._start(tokens)
            self.go_to(denoise.now if isinstance(denoise, Relay) else denoise)
            yield
        finally:
            self.leave()

    def go_to(self, denoiser: GuidedDenoiser) -> None:
        """From here on this one makes the guesses."""
        self.leave()
        self._now = denoiser
        if self._steps or self._patches.any:
            denoiser.around = self
            self._patches.put_on(denoiser.unet)

    def leave(self) -> None:
        """Take everything off. Before its checkpoint leaves the device."""
        self._patches.take_off()
        if self._now is not None:
            self._now.around = None
            self._now = None

    def network(
        self, unet: Any, x: Tensor, t: Tensor, arguments: Mapping[str, Any], negative: Sequence[bool]
    ) -> Tensor:
        """As `Around.network`."""
        self._patches.negative = negative
        return self._patches.network(unet, x, t, arguments)

    def guessed(
        self, *, x: Tensor, sigma: float, call: int, calls: int, cond: Tensor, uncond: Tensor, denoised: Tensor
    ) -> Tensor:
        """As `Around.guessed`."""
        for participant, impl in self._steps:
            guess = Guess(x=x, sigma=sigma, call=call, calls=calls, cond=cond, uncond=uncond, denoised=denoised)
            arguments = {"guess": guess, "turn": self._turn(participant.extension)}
            denoised = self._course.called(participant, impl, arguments, denoised, _as_latents)
        return denoised

    def ended(self, made: Made) -> Made:
        """What was made, as they leave it, and what stands around the VAE when it is decoded."""
        latents = made.latents
        if made.stop is None and latents is not None:
            for participant, impl in self._course.impls("on_sampling_end"):
                arguments = {"latents": latents, "turn": self._turn(participant.extension)}
                latents = self._course.called(participant, impl, arguments, latents, _as_latents)
        return replace(
            made, latents=latents, decoding=self._patches.vae("decode"), encoding=self._patches.vae("encode")
        )

    def _start(self, tokens: Sequence[ActiveToken]) -> None:
        for participant, impl in self._course.impls("on_sampling_start"):
            turn = self._turn(participant.extension)
            with turn.starting():
                self._course.called(participant, impl, {"turn": turn}, None, lambda _made, _before: None)
        for each in tokens:
            turn = self._turn(each.extension)
            with turn.starting():
                each.activate(each.token, turn)

    def _turn(self, extension: Extension) -> SamplingTurn:
        if extension.id not in self._turns:
            self._turns[extension.id] = SamplingTurn(extension, self._course, self._place, self._patches)
        return self._turns[extension.id]


def _as_latents(made: Any, before: Tensor) -> Tensor:
    latents = as_expected(made, before)
    if not latents.isfinite().all() and before.isfinite().all():
        raise ValueError(NO_NUMBER)
    return latents
