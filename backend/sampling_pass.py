"""One way through a sampler on a loaded model: from noise, or from latents that are known, to latents."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from backend.errors import Stopped
from backend.families.denoising import calls_of, denoiser_for
from backend.families.unseen import Shown
from backend.imaging.vae import Around
from backend.model_manager.residency import LoadedModel
from backend.refiner import Relay, Switch
from backend.request import GenerationRequest, PictureSeeds
from backend.sampling.denoiser import GuidedDenoiser, Words
from backend.sampling.img2img import Known, Steps
from backend.sampling.noise import BrownianNoise, Drawing, ImageNoise
from backend.sampling.plan import plan_for, table_for
from backend.sampling.samplers import find_sampler
from backend.sampling.solvers import Noise
from backend.sampling_options import Refiner
from backend.watch import Watch


@dataclass(frozen=True)
class Made:
    """Latents of unit variance, (pictures, channels, height / 8, width / 8), of the pictures with these seeds; `first`
    is the first one's number in the request. `known` is what they began with, as far as that is needed later; `refined`
    ones were ended by the refiner. `decoding` and `encoding` stand around the VAE as long as these are worked on.

    Ended early by `stop`, they are the last guess of the clean picture, or nothing before the first step.
    """

    first: int
    seeds: list[PictureSeeds]
    latents: Tensor | None
    stop: Stopped | None
    known: Known | None = None
    refined: bool = False
    decoding: Around | None = None
    encoding: Around | None = None

    def singles(self) -> "list[Made]":
        """The same, picture by picture, without what they began with."""
        latents = [None] * len(self.seeds) if self.latents is None else self.latents.split(1)
        pairs = enumerate(zip(self.seeds, latents, strict=True))
        return [
            replace(self, first=self.first + k, seeds=[seeds], latents=each, known=None) for k, (seeds, each) in pairs
        ]


@dataclass(frozen=True, kw_only=True)
class Noising:
    """How noise is put on latents that are known: so many times as much as the level asks for, and `extra` more."""

    multiplier: float = 1.0
    extra: float = 0.0


AS_ASKED = Noising()


class SamplingPass:
    """What a request's sampler does with a model: all steps of its schedule, or the last ones of a longer one."""

    def __init__(
        self,
        request: GenerationRequest,
        model: LoadedModel,
        *,
        size: tuple[int, int],
        steps: Steps | None = None,
        shown: Callable[[], Shown] | None = None,
        noising: Noising = AS_ASKED,
    ):
        """`size` is what is made, (width, height), on `model`, or on what takes over from it. `shown()` is the picture
        that a UNet may look at, made when a denoiser is."""
        self._request = request
        self._size = size
        self._table = model.table
        self._latent = model.family.latent_format
        self._device = model.device
        self._shown = shown
        self._noising = noising
        self._sampler = find_sampler(request.sampler)
        self._taken = steps.taken if steps else None
        self._plan = plan_for(
            self._sampler,
            request.schedule,
            steps.scheduled if steps else request.steps,
            model.table,
            request.sampling,
            taken=self._taken,
        )
        self._prepared: tuple[object, GuidedDenoiser] | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of what is made."""
        return self._size

    @property
    def steps(self) -> int:
        """How many steps it takes."""
        return self._plan.steps

    @property
    def sigmas(self) -> Sequence[float]:
        """Its noise levels, from the first to the last."""
        return self._plan.sigmas

    def prepared(self, model: LoadedModel, words: Words) -> GuidedDenoiser:
        """`denoiser`, kept for the next pictures while the networks are the same."""
        if self._prepared is None or self._prepared[0] is not model.networks:
            self._prepared = (model.networks, self.denoiser(model, words))
        return self._prepared[1]

    def denoiser(self, model: LoadedModel, words: Words) -> GuidedDenoiser:
        """One of the networks as they are now; `words` are the request's `conditionings` for the size."""
        return denoiser_for(
            self._request,
            model.family,
            model.networks,
            words,
            table_for(self._sampler, model.table),
            shown=self._shown() if self._shown else None,
            size=self._size,
            steps=self._taken,
            apart=self._device.type == "cpu",  # which gains little by batches
        )

    def switch(self, refiner: Refiner) -> Switch:
        """When the refiner takes over."""
        return Switch(
            at=refiner.switch_at,
            by_sampling_steps=refiner.by_sampling_steps,
            calls=calls_of(self._request, self._taken or self._request.steps),
            table=self._table,
            by_timestep=self._sampler.unit_variance,
        )

    def made(
        self,
        first: int,
        seeds: Sequence[PictureSeeds],
        denoise: GuidedDenoiser | Relay,
        watch: Watch,
        *,
        known: Known | None = None,
        content: str = "",
    ) -> Made:
        """The latents of the pictures with these `seeds`, from `known` ones if there are some.

        `content` is what stands under the mask (A1111's "latent noise" and "latent nothing" are made here). `watch`
        may end the run after a step. Raises `FloatingPointError` if the latents are not finite.
        """
        images = self._images(seeds)
        noise = images.next()
        if known is not None and content in ("latent noise", "latent nothing"):
            known = known.emptied(self._images(seeds, plain=True).next() if content == "latent noise" else None)
        if known is None:
            x = self._plan.start(noise)
        else:
            x = self._plan.start(noise * self._noising.multiplier, known.latents, self._noising.extra)
        fresh: Noise = lambda _sigma, _next: images.next()  # noqa: E731 - the two ways differ in this one line
        if self._sampler.noise == "brownian":
            fresh = BrownianNoise(x, *self._plan.span, [each.seed for each in seeds], self._request.noise_source)
        denoise.restart()
        guess = denoise if known is None else known.kept(denoise)
        try:
            solve = self._sampler.solver(self._request.sampling)
            latents = solve(guess, x, self._plan.sigmas, noise=fresh, on_step=watch)
            watch.end(self.steps)
        except Stopped as stop:
            return self._as_made(first, seeds, denoise, watch.denoised, known, stop)
        if known is not None:
            latents = known.finished(latents)
        if not latents.isfinite().all():
            raise FloatingPointError("not a number after the last step")
        return self._as_made(first, seeds, denoise, latents, known)

    def _as_made(
        self,
        first: int,
        seeds: Sequence[PictureSeeds],
        denoise: GuidedDenoiser | Relay,
        latents: Tensor | None,
        known: Known | None,
        stop: Stopped | None = None,
    ) -> Made:
        refined = isinstance(denoise, Relay) and denoise.refined
        return Made(first, list(seeds), latents, stop, known, refined)

    def _images(self, seeds: Sequence[PictureSeeds], *, plain: bool = False) -> ImageNoise:
        """The noise of pictures; a `plain` one is drawn for this size, from their seeds alone."""
        request, sampling, factor = self._request, self._request.sampling, self._latent.factor
        drawing = Drawing(source=request.noise_source)
        if not plain:
            resized = request.seed_resize
            drawing = replace(
                drawing,
                strength=request.variation.strength if request.variation else 0.0,
                drawn_at=None if resized is None else (resized[1] // factor, resized[0] // factor),
                seed_delta=sampling.ensd if self._sampler.uses_ensd and sampling.eta != 0 else 0,
            )
        shape = (self._latent.channels, self._size[1] // factor, self._size[0] // factor)
        varied = [each.variation for each in seeds if each.variation is not None]
        return ImageNoise([each.seed for each in seeds], shape, self._device, drawing, variation_seeds=varied)
