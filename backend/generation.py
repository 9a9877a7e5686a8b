"""One request at work on a loaded model: from words to latents to pictures, by lighter ways when memory runs out."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import torch
from PIL import Image
from torch import Tensor

from backend.errors import Stopped, UserError
from backend.events import Notice
from backend.families.denoising import denoiser_for
from backend.imaging import vae
from backend.jobs import Job
from backend.model_manager.memory.rescue import Relief, Rescue
from backend.model_manager.residency import LoadedModel, Residency
from backend.prompt.embeddings import Inversions
from backend.request import GenerationRequest
from backend.sampling.denoiser import GuidedDenoiser
from backend.sampling.noise import BrownianNoise, ImageNoise
from backend.sampling.samplers import Noise, find_sampler, sigmas_for, table_for
from backend.settings import SettingsStore
from backend.watch import Watch

T = TypeVar("T")
TILE = 32  # latents along a side of a tile, where a picture is decoded in tiles: 256 pixels of a usual VAE


@dataclass(frozen=True)
class Made:
    """Latents of unit variance, (pictures, channels, height / 8, width / 8), of the pictures with these seeds; `first`
    is the first one's number in the request.

    Ended early by `stop`, they are the last guess of the clean picture, or nothing before the first step.
    """

    first: int
    seeds: list[int]
    latents: Tensor | None
    stop: Stopped | None


class Generation:
    """Makes the pictures of a request, batch by batch. Everything it does to get by with less memory or with numbers
    that overflow is told to the job as a `Notice`, and holds for the rest of the request."""

    def __init__(
        self,
        request: GenerationRequest,
        job: Job,
        model: LoadedModel,
        inversions: Inversions,
        residency: Residency,
        settings: SettingsStore,
    ):
        """`model` is leased from `residency` for as long as this is used, and already wears what the tokens of the
        prompt put on: `request` comes without them. Encodes the words."""
        self._request = request
        self._job = job
        self._model = model
        self._inversions = inversions
        self._sampler = find_sampler(request.sampler)
        self._sigmas = sigmas_for(self._sampler, request.schedule, request.steps, model.table)
        steps = self._sampler.taken(request.steps)
        self._watch = Watch(job, lambda: model.previewer, settings, steps=steps, batches=request.batch_count)
        self._rescue = Rescue(free=residency.free_idle, offload=residency.offload, notice=self._tell)
        self._relief = Relief(batch=request.batch_size)
        self._in_float32 = False
        for sentence in (*model.remarks, *inversions.skipped.values()):
            self._tell(sentence)
        self._denoise = self._eased(lambda _: self._denoiser(), "reading the prompt")

    def batch(self, number: int) -> Iterator[Made]:
        """The latents of batch `number` (from 0): all at once, or in as many parts as memory allows.

        Ends early with the part that was stopped. Raises `UserError` if memory or numbers do not suffice at all.
        """
        seeds = self._request.seeds(number)
        done = part = 0
        while done < len(seeds):
            made = self._eased(
                lambda now, done=done, part=part: self._sampled(number, done, part, now.batch),
                "making the picture",
                batches=True,
            )
            yield made
            if made.stop is not None:
                return
            done += len(made.seeds)
            part += 1

    def pictures(self, made: Made) -> Iterator[Image.Image]:
        """The pictures of latents, one at a time. Bytes are cut off, not rounded, as A1111 does.

        Raises `UserError` if there is no picture, not even in full precision, or not enough memory.
        """
        scale = self._model.family.latent_format.scale
        for latents in () if made.latents is None else made.latents.split(1):
            pixels = self._eased(
                lambda now, z=latents: vae.decode(self._model.networks.vae, z, scale, tile=TILE if now.tiled else None),
                "decoding the picture",
                tiles=True,
            )
            if not pixels.isfinite().all():
                raise self._no_numbers("VAE")
            data = ((pixels[0].movedim(0, -1) + 1) / 2).clamp(0, 1) * 255
            yield Image.fromarray(data.to(torch.uint8).cpu().numpy())

    def _sampled(self, batch: int, done: int, part: int, most: int) -> Made:
        """What of a batch is not done, at most `most` pictures; in full precision where the UNet's is not enough."""
        seeds = self._request.seeds(batch)[done:]
        parts = part + -(-len(seeds) // most)
        first = batch * self._request.batch_size + done
        unet = self._model.networks.unet
        if not self._in_float32:
            self._watch.begin(batch, part, parts)
            try:
                return self._made(first, seeds[:most], self._denoise)
            except FloatingPointError:
                if unet.dtype == torch.float32:
                    raise self._no_numbers("UNet") from None
            self._in_float32 = True
            self._tell(
                "The UNet's numbers grew beyond half precision: the picture is made in full precision, which takes "
                "longer."
            )
        self._watch.begin(batch, part, parts)
        with vae.in_float32(unet):
            try:
                return self._made(first, seeds[:most], self._denoiser())
            except FloatingPointError:
                raise self._no_numbers("UNet") from None

    def _made(self, first: int, seeds: list[int], denoise: GuidedDenoiser) -> Made:
        """Raises `FloatingPointError` if the latents are not finite."""
        request, sampler, sigmas = self._request, self._sampler, self._sigmas
        latent = self._model.family.latent_format
        shape = (latent.channels, request.height // latent.factor, request.width // latent.factor)
        images = ImageNoise(seeds, shape, self._model.device)
        start = (sigmas[0] ** 2 + 1) ** 0.5 if sampler.unit_variance_start else sigmas[0]
        x = images.next() * start
        noise: Noise = lambda _sigma, _next: images.next()  # noqa: E731 - the two ways differ in this one line
        if sampler.noise == "brownian":
            noise = BrownianNoise(x, min(s for s in sigmas if s > 0), max(sigmas), seeds)
        try:
            latents = sampler.function(denoise, x, sigmas, noise=noise, on_step=self._watch)
        except Stopped as stop:
            return Made(first, seeds, self._watch.denoised, stop)
        if not latents.isfinite().all():
            raise FloatingPointError("not a number after the last step")
        return Made(first, seeds, latents, None)

    def _denoiser(self) -> GuidedDenoiser:
        model = self._model
        table = table_for(self._sampler, model.table)
        return denoiser_for(self._request, model.family, model.networks, model.tokenizer, table, self._inversions)

    def _eased(self, work: Callable[[Relief], T], what: str, *, tiles: bool = False, batches: bool = False) -> T:
        result, self._relief = self._rescue.run(work, self._relief, what=what, tiles=tiles, batches=batches)
        return result

    def _tell(self, sentence: str) -> None:
        self._job.emit(Notice(message=sentence))

    def _no_numbers(self, network: str) -> UserError:
        return UserError(
            f"The {network} of {self._model.record.name} made numbers without end (NaN) and no picture, in full "
            "precision too: the file may be damaged."
        )
