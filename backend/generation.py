"""One request at work on a loaded model: from words to latents to pictures, by lighter ways when memory runs out."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch
from PIL import Image
from torch import Tensor

from backend.errors import UserError
from backend.events import Notice
from backend.families.denoising import conditionings
from backend.families.depth import DepthEstimator
from backend.families.unseen import DEPTH, Shown, further_channels
from backend.frame import Frame
from backend.imaging import vae
from backend.init_image import HiresFix
from backend.jobs import Job
from backend.model_manager.memory.rescue import Relief, Rescue
from backend.model_manager.residency import LoadedModel, Residency
from backend.picture_latents import difference_mask, known_of, shown_of, to_picture, to_pixels
from backend.prompt.embeddings import Inversions
from backend.request import GenerationRequest
from backend.sampling.denoiser import GuidedDenoiser, Words
from backend.sampling.img2img import Known, lengthened, shortened
from backend.sampling.samplers import find_sampler
from backend.sampling_pass import Made, SamplingPass
from backend.settings import SettingsStore
from backend.watch import Watch

T = TypeVar("T")
TILE = 32  # latents along a side of a tile, where a picture is decoded in tiles: 256 pixels of a usual VAE
LARGEST_WHOLE = 2048 * 2048  # pixels: a larger picture goes through the VAE in tiles from the start


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
        *,
        depth_folder: Path,
        frame: Frame | None = None,
        second: HiresFix | None = None,
        steps_before: int = 0,
        steps_after: int = 0,
    ):
        """`model` is leased from `residency` for as long as this is used, and already wears what the tokens of the
        prompt put on: `request` comes without them. Encodes the words, and the picture of `frame` if there is one.

        `depth_folder` may hold a network that computes the depths which a depth checkpoint wants.
        With `second` it is the second pass over pictures that were made (`refined`). `steps_before` and `steps_after`
        are those of other passes over the same pictures, for the job's progress.
        """
        self._request = request
        self._job = job
        self._model = model
        self._inversions = inversions
        self._second = second
        self._rescue = Rescue(free=residency.free_idle, offload=residency.offload, notice=self._tell)
        self._relief = Relief(batch=1 if find_sampler(request.sampler).joint else request.batch_size)
        self.format = model.family.latent_format
        self._factor, self._scale = self.format.factor, self.format.scale
        self._part = (0, 0, 1)  # batch, part of it, and of how many
        self._in_float32 = False
        for sentence in (*model.remarks, *inversions.skipped.values()):
            self._tell(sentence)
        self._depth_folder = depth_folder
        self._depths: DepthEstimator | None = None  # once it was needed
        self._words: dict[tuple[int, int], Words] = {}  # by the size that is made
        if frame is not None:
            frame = self._with_depth(frame)
        self._frame = frame
        self._known = None if frame is None else self._known_of(frame)
        self._pass = self._prepared(frame)
        self._before = steps_before
        steps = steps_before + self._pass.steps + steps_after
        self._watch = Watch(job, lambda: model.previewer, settings, steps=steps, batches=request.batch_count)

    def batch(self, number: int) -> Iterator[Made]:
        """The latents of batch `number` (from 0): all at once, or in as many parts as memory allows.

        Ends early with the part that was stopped. Raises `UserError` if memory or numbers do not suffice at all.
        """
        yield from self._parts(number, number * self._request.batch_size, self._request.seeds(number), self._known)

    def refined(self, number: int, made: Made) -> Iterator[Made]:
        """The latents of the second pass over those that were `made` in batch `number`, and enlarged since."""
        assert made.latents is not None
        yield from self._parts(number, made.first, made.seeds, Known(latents=made.latents))

    def pictures(self, made: Made) -> Iterator[Image.Image]:
        """The pictures of latents, one at a time, in the frame if there is one.

        Raises `UserError` if there is no picture, not even in full precision, or not enough memory.
        """
        for k, picture in enumerate(self.decoded(made)):
            if self._frame is None:
                yield picture
                continue
            allowed = None
            if made.known is not None and made.latents is not None:
                allowed = difference_mask(self._frame, made.known, made.latents, k)
            result = self._frame.result(picture, allowed)
            seam = self._frame.seam(result) if made.stop is None else None
            yield result if seam is None else self.remade(seam, made.seeds[k]) or result

    def remade(self, frame: Frame, seed: int) -> Image.Image | None:
        """The picture of another frame, with the same words and steps; nothing if that is stopped before its end.
        Raises `UserError` as `pictures`."""
        sampling = self._prepared(frame)
        known = self._known_of(frame)
        made = self._eased(lambda _: self._sampled(sampling, 0, [seed], known), "making the picture")
        return None if made.stop is not None else next(frame.result(picture) for picture in self.decoded(made))

    def redrawn(self, tile: Image.Image, seed: int, *, part: tuple[int, int, int]) -> Image.Image | None:
        """A tile in RGB, as large as the frame's area, made new by as much as the frame is; nothing if that is stopped.

        `part` is the batch, the tile's number in it, and how many there are, for the job's progress. Raises `UserError`
        as `pictures`.
        """
        assert self._frame is not None
        self._part = part
        return self.remade(self._with_depth(Frame.of_picture(tile, self._frame.strength)), seed)

    def decoded(self, made: Made) -> Iterator[Image.Image]:
        """What the VAE makes of latents, one at a time. Bytes are cut off, not rounded, as A1111 does. Raises
        `UserError` as `pictures`."""
        for latents in () if made.latents is None else made.latents.split(1):
            pixels = self._eased(
                lambda now, z=latents: vae.decode(
                    self._model.networks.vae, z, self._scale, tile=TILE if self._tile(self._size(z), now) else None
                ),
                "decoding the picture",
                tiles=True,
            )
            if not pixels.isfinite().all():
                raise self._no_numbers("VAE")
            yield to_picture(pixels)

    def encoded(self, picture: Image.Image) -> Tensor:
        """The latents of a picture in RGB, (1, channels, height / 8, width / 8). Raises `UserError` if memory does not
        suffice, or its numbers have no end."""
        latents = self._eased(lambda now: self._latents(picture, now), "reading the picture", tiles=True)
        if not latents.isfinite().all():
            raise self._no_numbers("VAE")
        return latents

    def _latents(self, picture: Image.Image, now: Relief) -> Tensor:
        pixels = to_pixels(picture, self._model.device)
        return vae.encode(self._model.networks.vae, pixels, self._scale, tile=self._tile(picture.size, now))

    def _size(self, latents: Tensor) -> tuple[int, int]:
        return latents.shape[-1] * self._factor, latents.shape[-2] * self._factor

    def _tile(self, size: tuple[int, int], now: Relief) -> int | None:
        """The side in pixels of the tiles in which the VAE takes a picture, if it is not to be taken whole."""
        return TILE * self._factor if now.tiled or size[0] * size[1] > LARGEST_WHOLE else None

    def _with_depth(self, frame: Frame) -> Frame:
        """The frame with the depths that a depth checkpoint wants, if it is one and they were not given."""
        if frame.depth is not None or further_channels(self._model.networks, self.format) != DEPTH:
            return frame
        depth = self._eased(lambda _: self._estimator()(frame.shown), "reading the depth")
        return replace(frame, depth=depth)

    def _estimator(self) -> DepthEstimator:
        if self._depths is None:
            self._depths = DepthEstimator(self._model.record.path, self._depth_folder, self._model.device)
        return self._depths

    def _known_of(self, frame: Frame) -> Known:
        return known_of(frame, self.encoded(frame.picture), self._factor)

    def _shown(self, frame: Frame) -> Shown:
        return shown_of(frame, self._model.device, self._tile(frame.area, self._relief))

    def _prepared(self, frame: Frame | None) -> SamplingPass:
        """A pass with its words encoded: once for all tiles, and for a seam."""
        request, second, steps = self._request, self._second, None
        size = (request.width, request.height) if second is None else second.target(request.width, request.height)
        size = size if frame is None else frame.area
        if frame is not None:
            steps = shortened(request.steps, frame.strength)
        elif second is not None:
            steps = lengthened(request.steps, second.denoising_strength)
        shown = None if frame is None else partial(self._shown, frame)
        if size not in self._words:
            self._words[size] = self._eased(lambda _: self._encoded(size), "reading the prompt")
        made = SamplingPass(request, self._model, self._words[size], size=size, steps=steps, shown=shown)
        self._eased(lambda _: made.prepare(), "reading the picture")
        return made

    def _encoded(self, size: tuple[int, int]) -> Words:
        model = self._model
        return conditionings(self._request, model.family, model.networks, model.tokenizer, self._inversions, size)

    def _parts(self, batch: int, first: int, seeds: list[int], known: Known | None) -> Iterator[Made]:
        done = part = 0
        while done < len(seeds):

            def work(now: Relief, done: int = done, part: int = part) -> Made:
                left = seeds[done:]
                self._part = (batch, part, part + -(-len(left) // now.batch))
                some = left[: now.batch]
                return self._sampled(self._pass, first + done, some, known and known.part(done, len(some)))

            made = self._eased(work, "making the picture", batches=True)
            yield made
            if made.stop is not None:
                return
            done += len(made.seeds)
            part += 1

    def _sampled(self, sampling: SamplingPass, first: int, seeds: list[int], known: Known | None) -> Made:
        """Latents of some pictures; in full precision where the UNet's is not enough."""
        unet = self._model.networks.unet
        if not self._in_float32:
            try:
                return self._made(sampling, sampling.prepared, first, seeds, known)
            except FloatingPointError:
                if unet.dtype == torch.float32:
                    raise self._no_numbers("UNet") from None
            self._in_float32 = True
            self._tell(
                "The UNet's numbers grew beyond half precision: the picture is made in full precision, which takes "
                "longer."
            )
        with vae.in_float32(unet):
            try:
                return self._made(sampling, sampling.denoiser(), first, seeds, known)
            except FloatingPointError:
                raise self._no_numbers("UNet") from None

    def _made(
        self, sampling: SamplingPass, denoise: GuidedDenoiser, first: int, seeds: list[int], known: Known | None
    ) -> Made:
        # A pass of its own, over a seam, is the last part of the picture's once more.
        before = self._before + max(0, self._pass.steps - sampling.steps)
        self._watch.begin(*self._part, before=before)
        inpainting = self._frame.inpainting if self._frame and sampling is self._pass else None
        content = inpainting.masked_content if inpainting else ""
        return sampling.made(first, seeds, denoise, self._watch, known=known, content=content)

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
