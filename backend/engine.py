"""The story of one generation."""

import time
from typing import TYPE_CHECKING

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from PIL import Image
from torch import Tensor

from backend.errors import Cancelled, Stopped, UserError
from backend.events import ImageReady, Loading, Progress
from backend.infotext import write_infotext
from backend.jobs import Job
from backend.model_manager.catalog import Catalog
from backend.model_manager.hashes import HashIndex
from backend.model_manager.residency import LoadedModel, Residency, choose_device
from backend.outputs import Outputs
from backend.prompt.encode import encode
from backend.request import GenerationRequest
from backend.sampling.denoiser import GuidedDenoiser
from backend.sampling.noise import BrownianNoise, ImageNoise
from backend.sampling.samplers import Noise, Sampler, find_sampler, sigmas_for, table_for
from backend.sampling.schedules import is_automatic
from backend.settings import SettingsStore

if TYPE_CHECKING:
    from backend.app import App

PREVIEW_PAUSE = 0.1  # seconds: nobody sees more than ten previews a second


class Engine:
    """Makes pictures. Used by one thread, which owns the device."""

    def __init__(self, residency: Residency, catalog: Catalog, outputs: Outputs, settings: SettingsStore):
        self.residency = residency
        self._catalog = catalog
        self._outputs = outputs
        self._settings = settings

    @classmethod
    def create(cls, app: "App") -> "Engine":
        """The engine of an `App`, with the checkpoint that the settings name already loaded.

        A checkpoint that cannot be loaded is told on the status and does not stop the engine. Raises `UserError` if
        the device that was asked for is not there.
        """
        hashes = HashIndex(app.options.data_dir / "models.sqlite3")
        device = choose_device(app.options.device)
        residency = Residency(device, app.status, hashes, xformers=app.options.xformers)
        engine = cls(residency, app.catalog, app.outputs, app.settings)
        try:
            with residency.ready(app.catalog.find(app.settings.value.checkpoint)):
                pass
        except UserError as error:
            app.status.post(problem=str(error))
        return engine

    @torch.inference_mode()
    def generate(self, request: GenerationRequest, job: Job) -> None:
        """Make and save every picture of `request`, telling `job`.

        Raises `Cancelled` when the job was ended (its pictures so far are saved), `UserError` for what the artist can
        mend.
        """
        job.emit(Loading(what=request.checkpoint))
        sampler = find_sampler(request.sampler)
        with self.residency.ready(self._catalog.find(request.checkpoint)) as model:
            sigmas = sigmas_for(sampler, request.schedule, request.steps, model.table)
            denoise = self._denoiser(request, sampler, model)
            watch = _Watch(job, request, model, self._settings, steps=sampler.taken(request.steps))
            for batch in range(request.batch_count):
                job.next_pictures()
                seeds = request.seeds(batch)
                latents, stop = self._sample(sampler, denoise, sigmas, seeds, model, request, watch)
                if latents is not None and (stop is None or self._settings.value.save_interrupted):
                    self._deliver(latents, batch, seeds, model, request, job)
                if isinstance(stop, Cancelled):
                    raise stop
                watch.next_batch()

    def _denoiser(self, request: GenerationRequest, sampler: Sampler, model: LoadedModel) -> GuidedDenoiser:
        """At a guidance of 1 the negative prompt has no weight, so it is neither encoded nor asked."""
        texts = [request.prompt] if request.cfg_scale == 1 else [request.prompt, request.negative_prompt]
        encoded = encode(model.tokenizer, model.networks.text_encoder, texts, request.clip_skip)
        uncond = encoded[1] if len(encoded) > 1 else None
        return GuidedDenoiser(
            model.networks.unet, table_for(sampler, model.table), encoded[0], uncond, request.cfg_scale
        )

    def _sample(
        self,
        sampler: Sampler,
        denoise: GuidedDenoiser,
        sigmas: list[float],
        seeds: list[int],
        model: LoadedModel,
        request: GenerationRequest,
        watch: "_Watch",
    ) -> tuple[Tensor | None, Stopped | None]:
        """One batch of latents, (batch, channels, height / 8, width / 8) of unit variance, and what ended it early.

        Stopped early, the latents are the last guess of the clean picture, or nothing before the first step.
        """
        latent = model.family.latent_format
        shape = (latent.channels, request.height // latent.factor, request.width // latent.factor)
        images = ImageNoise(seeds, shape, model.device)
        start = (sigmas[0] ** 2 + 1) ** 0.5 if sampler.unit_variance_start else sigmas[0]
        x = images.next() * start
        noise: Noise = lambda _sigma, _next: images.next()  # noqa: E731 - the two ways differ in this one line
        if sampler.noise == "brownian":
            noise = BrownianNoise(x, min(s for s in sigmas if s > 0), max(sigmas), seeds)
        try:
            return sampler.function(denoise, x, sigmas, noise=noise, on_step=watch), None
        except Stopped as stop:
            return watch.denoised, stop

    def _deliver(
        self, latents: Tensor, batch: int, seeds: list[int], model: LoadedModel, request: GenerationRequest, job: Job
    ) -> None:
        """Decode, save and announce the pictures of one batch, one at a time."""
        sampler = find_sampler(request.sampler)
        # A1111 writes the schedule that Automatic stood for, except where that is the plain one.
        automatic = is_automatic(request.schedule) and sampler.automatic_schedule != "Uniform"
        schedule = sampler.automatic_schedule if automatic else request.schedule
        for k, seed in enumerate(seeds):
            image = decode(model, latents[k : k + 1])
            single = request.single(seed)
            infotext = write_infotext(single, schedule=schedule, model_hash=model.sha256.result()[:10])
            path = self._outputs.save(image, single, infotext=infotext, schedule=schedule)
            job.emit(
                ImageReady(
                    index=batch * request.batch_size + k,
                    seed=seed,
                    path=path,
                    width=image.width,
                    height=image.height,
                    infotext=infotext,
                    request=single.to_json(),
                )
            )


def decode(model: LoadedModel, latents: Tensor) -> Image.Image:
    """One picture of (1, channels, h, w) latents of unit variance. Bytes are cut off, not rounded, as A1111 does.

    In half precision a VAE can overflow: then it is asked once more in float32. Raises `UserError` if there still is
    no picture.
    """
    vae = model.networks.vae
    z = latents / model.family.latent_format.scale
    pixels = _decoded(vae, z)
    if not pixels.isfinite().all() and vae.dtype != torch.float32:
        dtype = vae.dtype
        vae.to(torch.float32)  # pyright: ignore[reportArgumentType]  the wrapped method is typed without its self
        try:
            pixels = _decoded(vae, z)
        finally:
            vae.to(dtype)  # pyright: ignore[reportArgumentType]  as above
    if not pixels.isfinite().all():
        raise UserError(
            f"The checkpoint {model.record.name} made numbers without end (NaN) and no picture: "
            "the file may be damaged."
        )
    data = ((pixels[0].movedim(0, -1) + 1) / 2).clamp(0, 1) * 255
    return Image.fromarray(data.to(torch.uint8).cpu().numpy())


def _decoded(vae: AutoencoderKL, z: Tensor) -> Tensor:
    """Pixels around 0, (n, 3, height, width), computed in the VAE's precision and given in float32."""
    # Annotated as FloatTensor, which no tensor of torch is.
    return vae.decode(z.to(vae.dtype), return_dict=False)[0].float()  # pyright: ignore[reportArgumentType]


class _Watch:
    """Called after each step: ends the batch when asked to, and tells the job how far it is."""

    def __init__(
        self, job: Job, request: GenerationRequest, model: LoadedModel, settings: SettingsStore, *, steps: int
    ):
        self.denoised: Tensor | None = None
        self._job = job
        self._batches = request.batch_count
        self._model = model
        self._settings = settings
        self._steps = steps
        self._batch = 1
        self._done = 0  # steps of all batches, those that were skipped too
        self._made = 0  # steps that took their time
        self._started = time.monotonic()
        self._preview: bytes | None = None
        self._previewed = 0.0

    def __call__(self, step: int, denoised: Tensor) -> None:
        self.denoised = denoised
        self._done += 1
        self._made += 1
        now = time.monotonic()
        rate = self._made / max(now - self._started, 1e-6)
        self._job.emit(
            Progress(
                step=step + 1,
                steps=self._steps,
                batch=self._batch,
                batches=self._batches,
                rate=rate,
                remaining=max(0, self._steps * self._batches - self._done) / rate,
                preview=self._newest_preview(step, denoised, now),
            )
        )
        self._job.check()

    def next_batch(self) -> None:
        """The next step belongs to the next batch; what a skipped one left undone is done with."""
        self._done = self._batch * self._steps
        self._batch += 1
        self.denoised = None

    def _newest_preview(self, step: int, denoised: Tensor, now: float) -> bytes | None:
        settings = self._settings.value
        last = step + 1 == self._steps
        due = (step + 1) % settings.preview_every == 0 and now - self._previewed >= PREVIEW_PAUSE
        if settings.previews and (due or last):
            self._preview = self._model.previewer.jpeg(denoised)
            self._previewed = now
        return self._preview
