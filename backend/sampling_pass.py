"""One way through a sampler on a loaded model: from noise, or from latents that are known, to latents."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from backend.errors import Stopped
from backend.families.denoising import denoiser_for
from backend.families.unseen import Shown
from backend.model_manager.residency import LoadedModel
from backend.request import GenerationRequest
from backend.sampling.denoiser import GuidedDenoiser, Words
from backend.sampling.img2img import Known, Steps
from backend.sampling.noise import BrownianNoise, ImageNoise
from backend.sampling.plan import plan_for, table_for
from backend.sampling.samplers import find_sampler
from backend.sampling.solvers import Noise
from backend.watch import Watch


@dataclass(frozen=True)
class Made:
    """Latents of unit variance, (pictures, channels, height / 8, width / 8), of the pictures with these seeds; `first`
    is the first one's number in the request. `known` is what they began with, as far as that is needed later.

    Ended early by `stop`, they are the last guess of the clean picture, or nothing before the first step.
    """

    first: int
    seeds: list[int]
    latents: Tensor | None
    stop: Stopped | None
    known: Known | None = None

    def singles(self) -> "list[Made]":
        """The same, picture by picture, without what they began with."""
        latents = [None] * len(self.seeds) if self.latents is None else self.latents.split(1)
        pairs = zip(self.seeds, latents, strict=True)
        return [Made(self.first + k, [seed], each, self.stop) for k, (seed, each) in enumerate(pairs)]


class SamplingPass:
    """What a request's sampler does with a model: all steps of its schedule, or the last ones of a longer one."""

    def __init__(
        self,
        request: GenerationRequest,
        model: LoadedModel,
        words: Words,
        *,
        size: tuple[int, int],
        steps: Steps | None = None,
        shown: Callable[[], Shown] | None = None,
    ):
        """`words` are the request's `conditionings` for `size`, which is what is made, (width, height). `shown()` is
        the picture that the UNet may look at, made when a denoiser is."""
        self._request = request
        self._size = size
        self._model = model
        self._words = words
        self._shown = shown
        self._sampler = find_sampler(request.sampler)
        scheduled = steps.scheduled if steps else request.steps
        self._plan = plan_for(
            self._sampler,
            request.schedule,
            scheduled,
            model.table,
            request.sampling,
            taken=steps.taken if steps else None,
        )
        self._prepared: GuidedDenoiser | None = None

    @property
    def steps(self) -> int:
        """How many steps it takes."""
        return self._plan.steps

    @property
    def prepared(self) -> GuidedDenoiser:
        """The denoiser that `prepare` made."""
        assert self._prepared is not None
        return self._prepared

    def prepare(self) -> None:
        """Encode what the UNet looks at, once for all pictures."""
        self._prepared = self.denoiser()

    def denoiser(self) -> GuidedDenoiser:
        """One of the networks as they are now."""
        model = self._model
        table = table_for(self._sampler, model.table)
        shown = self._shown() if self._shown else None
        return denoiser_for(
            self._request, model.family, model.networks, self._words, table, shown=shown, size=self._size
        )

    def made(
        self,
        first: int,
        seeds: list[int],
        denoise: GuidedDenoiser,
        watch: Watch,
        *,
        known: Known | None = None,
        content: str = "",
    ) -> Made:
        """The latents of the pictures with these `seeds`, from `known` ones if there are some.

        `content` is what stands under the mask (A1111's "latent noise" and "latent nothing" are made here). `watch`
        may end the run after a step. Raises `FloatingPointError` if the latents are not finite.
        """
        latent = self._model.family.latent_format
        shape = (latent.channels, self._size[1] // latent.factor, self._size[0] // latent.factor)
        images = ImageNoise(seeds, shape, self._model.device)
        noise = images.next()
        if known is not None and content in ("latent noise", "latent nothing"):
            known = known.emptied(noise if content == "latent noise" else None)
        x = self._plan.start(noise, None if known is None else known.latents)
        fresh: Noise = lambda _sigma, _next: images.next()  # noqa: E731 - the two ways differ in this one line
        if self._sampler.noise == "brownian":
            fresh = BrownianNoise(x, *self._plan.span, seeds)
        guess = denoise if known is None else known.kept(denoise)
        try:
            solve = self._sampler.solver(self._request.sampling)
            latents = solve(guess, x, self._plan.sigmas, noise=fresh, on_step=watch)
        except Stopped as stop:
            return Made(first, seeds, watch.denoised, stop, known)
        if known is not None:
            latents = known.finished(latents)
        if not latents.isfinite().all():
            raise FloatingPointError("not a number after the last step")
        return Made(first, seeds, latents, None, known)
