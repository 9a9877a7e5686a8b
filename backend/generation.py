"""One request at work on a loaded model: from words to latents to pictures, by lighter ways when memory runs out."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from PIL import Image
from torch import Tensor

from backend.encoded_words import EncodedWords
from backend.errors import UserError
from backend.events import Loading, Notice
from backend.extension_api import Pass
from backend.extensions.course import Course
from backend.extensions.patching import residual_shapes
from backend.extensions.sampling_stage import SamplingStage
from backend.extensions.turns import SamplingPlace
from backend.families.depth import DepthEstimator
from backend.families.unseen import DEPTH, Shown, further_channels
from backend.frame import Frame
from backend.imaging import vae
from backend.imaging.vae import Around
from backend.init_image import HiresFix
from backend.jobs import Job
from backend.model_manager.memory.rescue import Relief, Rescue
from backend.model_manager.residency import LoadedModel
from backend.picture_latents import difference_mask, known_of, shown_of, to_picture, to_pixels
from backend.refiner import Relay
from backend.request import GenerationRequest, PictureSeeds
from backend.sampling.denoiser import GuidedDenoiser
from backend.sampling.img2img import Known, lengthened, shortened
from backend.sampling.samplers import find_sampler
from backend.sampling_pass import AS_ASKED, Made, Noising, SamplingPass
from backend.settings import SettingsStore
from backend.tiling import seamless, unwrapped, wrapped
from backend.watch import Watch
from backend.workplace import Chosen, Workplace

T = TypeVar("T")
TILE = 32  # latents along a side of a tile, where a picture is decoded in tiles: 256 pixels of a usual VAE
MARGIN = TILE // 4  # latents around a picture without a seam, where it is decoded in tiles
LARGEST_WHOLE = 2048 * 2048  # pixels: a larger picture goes through the VAE in tiles from the start


@dataclass(frozen=True, kw_only=True)
class Player:
    """A checkpoint that takes part in a request, and what it is told."""

    chosen: Chosen
    words: EncodedWords


class Generation:
    """Makes the pictures of a request, batch by batch. Everything it does to get by with less memory or with numbers
    that overflow is told to the job as a `Notice`, and holds for the rest of the request."""

    def __init__(
        self,
        request: GenerationRequest,
        job: Job,
        place: Workplace,
        player: Player,
        free: Callable[[], int],
        settings: SettingsStore,
        *,
        refiner: Player | None = None,
        depth_folder: Path,
        course: Course,
        prompt: str,
        frame: Frame | None = None,
        second: HiresFix | None = None,
        steps_before: int = 0,
        steps_after: int = 0,
    ):
        """`player` makes the pictures, and `refiner`, if there is one, ends them; they take turns in `place`, and wear
        what the tokens of the prompt put on: `request` comes without them. Encodes the words, and the picture of
        `frame` if there is one. `free()` drops what is in memory and not in use, and returns its bytes.

        `depth_folder` may hold a network that computes the depths which a depth checkpoint wants. The extensions of
        `course` take part in each sampling; `prompt` is the request's with its tokens.
        With `second` it is the second pass over pictures that were made (`refined`). `steps_before` and `steps_after`
        are those of other passes over the same pictures, for the job's progress.
        """
        self._request = request
        self._job = job
        self._place = place
        self._player = player
        self._refiner = refiner
        self._second = second
        self._course = course
        self._prompt = prompt
        self._stage: SamplingStage | None = None  # of the sampling that is under way
        self._told: set[str] = set()
        self._rescue = Rescue(free=free, offload=place.offload, notice=self._tell)
        self._relief = Relief(batch=1 if find_sampler(request.sampler).joint else request.batch_size)
        model = self._with(player)
        self.format = model.family.latent_format
        self._factor, self._scale = self.format.factor, self.format.scale
        self._part = (0, 0, 1)  # batch, part of it, and of how many
        self._in_float32 = False
        self._depth_folder = depth_folder
        self._depths: DepthEstimator | None = None  # once it was needed
        if frame is not None:
            frame = self._with_depth(frame)
        self._frame = frame
        self._known = None if frame is None else self._known_of(frame)
        self._pass = self._prepared(frame)
        self._before = steps_before
        steps = steps_before + self._pass.steps + steps_after
        self._watch = Watch(job, lambda: place.model.previewer, settings, steps=steps, batches=request.batch_count)

    def batch(self, number: int) -> Iterator[Made]:
        """The latents of batch `number` (from 0): all at once, or in as many parts as memory allows.

        Ends early with the part that was stopped. Raises `UserError` if memory or numbers do not suffice at all.
        """
        yield from self._parts(
            number, number * self._request.batch_size, self._request.picture_seeds(number), self._known
        )

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
            yield result if seam is None else self.remade(seam, made.seeds[k], made.encoding) or result

    def leave(self) -> None:
        """Let go of the checkpoint, until it is needed again."""
        self._place.leave()

    def remade(self, frame: Frame, seeds: PictureSeeds, encoding: Around | None = None) -> Image.Image | None:
        """The picture of another frame, with the same words and steps; nothing if that is stopped before its end.
        `encoding` stands around the encoder. Raises `UserError` as `pictures`."""
        sampling = self._prepared(frame)
        known = self._known_of(frame, encoding)
        made = self._eased(lambda _: self._sampled(sampling, 0, [seeds], known), "making the picture")
        return None if made.stop is not None else next(frame.result(picture) for picture in self.decoded(made))

    def redrawn(self, tile: Image.Image, seeds: PictureSeeds, *, part: tuple[int, int, int]) -> Image.Image | None:
        """A tile in RGB, as large as the frame's area, made new by as much as the frame is; nothing if that is stopped.

        `part` is the batch, the tile's number in it, and how many there are, for the job's progress. Raises `UserError`
        as `pictures`.
        """
        assert self._frame is not None
        self._part = part
        return self.remade(self._with_depth(Frame.of_picture(tile, self._frame.strength)), seeds)

    def decoded(self, made: Made) -> Iterator[Image.Image]:
        """What the VAE of whoever made them last makes of latents, one at a time. Bytes are cut off, not rounded, as
        A1111 does. Raises `UserError` as `pictures`."""
        for latents in () if made.latents is None else made.latents.split(1):
            player = self._refiner if made.refined and self._refiner else self._player
            pixels = self._eased(
                lambda now, who=player, z=latents: self._decoded(who, z, now, made.decoding),
                "decoding the picture",
                tiles=True,
            )
            if not pixels.isfinite().all():
                raise self._no_numbers("VAE")
            yield to_picture(pixels)

    def encoded(self, picture: Image.Image, around: Around | None = None) -> Tensor:
        """The latents of a picture in RGB, (1, channels, height / 8, width / 8). Raises `UserError` if memory does not
        suffice, or its numbers have no end."""
        latents = self._eased(lambda now: self._latents(picture, now, around), "reading the picture", tiles=True)
        if not latents.isfinite().all():
            raise self._no_numbers("VAE")
        return latents

    def _decoded(self, player: Player, latents: Tensor, now: Relief, around: Around | None) -> Tensor:
        network = self._with(player).networks.vae
        run = partial(self._run_decoder, network, now)
        return run(latents) if around is None else around(run, latents)

    def _run_decoder(self, network: AutoencoderKL, now: Relief, latents: Tensor) -> Tensor:
        if self._tile(self._size(latents), now) is None:
            return vae.decode(network, latents, self._scale)
        if not self._request.tiling:
            return vae.decode(network, latents, self._scale, tile=TILE)
        with seamless(network, beyond="zeros"):  # each tile has edges of its own
            pixels = vae.decode(network, wrapped(latents, MARGIN), self._scale, tile=TILE)
        return unwrapped(pixels, MARGIN * self._factor)

    def _latents(self, picture: Image.Image, now: Relief, around: Around | None) -> Tensor:
        model = self._with(self._player)
        pixels = to_pixels(picture, model.device)
        run = partial(self._run_encoder, model.networks.vae, now)
        return run(pixels) if around is None else around(run, pixels)

    def _run_encoder(self, network: AutoencoderKL, now: Relief, pixels: Tensor) -> Tensor:
        tile = self._tile((pixels.shape[-1], pixels.shape[-2]), now)
        if tile is None or not self._request.tiling:
            return vae.encode(network, pixels, self._scale, tile=tile)
        with seamless(network, beyond="zeros"):
            latents = vae.encode(network, wrapped(pixels, MARGIN * self._factor), self._scale, tile=tile)
        return unwrapped(latents, MARGIN)

    def _size(self, latents: Tensor) -> tuple[int, int]:
        return latents.shape[-1] * self._factor, latents.shape[-2] * self._factor

    def _tile(self, size: tuple[int, int], now: Relief) -> int | None:
        """The side in pixels of the tiles in which the VAE takes a picture, if it is not to be taken whole."""
        return TILE * self._factor if now.tiled or size[0] * size[1] > LARGEST_WHOLE else None

    def _with_depth(self, frame: Frame) -> Frame:
        """The frame with the depths that a depth checkpoint wants, if it is one and they were not given."""
        if frame.depth is not None or further_channels(self._with(self._player).networks, self.format) != DEPTH:
            return frame
        depth = self._eased(lambda _: self._estimator()(frame.shown), "reading the depth")
        return replace(frame, depth=depth)

    def _estimator(self) -> DepthEstimator:
        if self._depths is None:
            model = self._place.model
            self._depths = DepthEstimator(model.record.path, self._depth_folder, model.device)
        return self._depths

    def _known_of(self, frame: Frame, around: Around | None = None) -> Known:
        return known_of(frame, self.encoded(frame.picture, around), self._factor)

    def _shown(self, frame: Frame) -> Shown:
        return shown_of(frame, self._place.model.device, self._tile(frame.area, self._relief))

    def _prepared(self, frame: Frame | None) -> SamplingPass:
        """A pass with its words encoded, and what its UNet looks at."""
        request, second, steps = self._request, self._second, None
        size = (request.width, request.height) if second is None else second.target(request.width, request.height)
        size = size if frame is None else frame.area
        if frame is not None:
            steps = shortened(request.steps, frame.strength)
        elif second is not None:
            steps = lengthened(request.steps, second.denoising_strength)
        shown = None if frame is None else partial(self._shown, frame)
        model = self._with(self._player)
        made = SamplingPass(request, model, size=size, steps=steps, shown=shown, noising=self._noising(frame))
        self._eased(lambda _: self._player.words.of(self._with(self._player), size), "reading the prompt")
        for sentence in self._player.words.inversions(model).skipped.values():
            self._tell_once(sentence)
        self._eased(lambda _: self._denoiser(made, self._player), "reading the picture")
        return made

    def _noising(self, frame: Frame | None) -> Noising:
        if self._second is not None:
            return Noising(extra=self._second.extra_noise)
        init = self._request.init
        if frame is None or init is None:
            return AS_ASKED
        return Noising(multiplier=init.noise_multiplier, extra=init.extra_noise)

    def _with(self, player: Player) -> LoadedModel:
        """The model of a player, who has the place then."""
        model = self._place.take(player.chosen)
        for sentence in model.remarks:
            self._tell_once(sentence)
        return model

    def _denoiser(self, sampling: SamplingPass, player: Player) -> GuidedDenoiser:
        model = self._with(player)
        words = player.words.of(model, sampling.size)
        if self._place.is_precise:
            return sampling.denoiser(model, words)
        return sampling.prepared(model, words) if player is self._player else sampling.denoiser(model, words)

    def _relay(self, sampling: SamplingPass) -> GuidedDenoiser | Relay:
        """Who makes pictures: the player, and after a share of the way the refiner, if there is one."""
        first, second, asked = self._denoiser(sampling, self._player), self._refiner, self._request.refiner
        if second is None or asked is None:
            return first

        def take_over() -> GuidedDenoiser:
            stage = self._stage
            if stage is not None:
                stage.leave()
            self._job.emit(Loading(what=second.chosen.record.name))
            denoiser = self._denoiser(sampling, second)
            if stage is not None:
                stage.go_to(denoiser)
            return denoiser

        return Relay(first, sampling.switch(asked), take_over)

    def _parts(self, batch: int, first: int, seeds: Sequence[PictureSeeds], known: Known | None) -> Iterator[Made]:
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

    def _sampled(self, sampling: SamplingPass, first: int, seeds: Sequence[PictureSeeds], known: Known | None) -> Made:
        """Latents of some pictures; in full precision where the UNet's is not enough."""
        self._with(self._player)
        if not self._in_float32:
            try:
                return self._made(sampling, self._relay(sampling), first, seeds, known)
            except FloatingPointError:
                if self._place.model.networks.unet.dtype == torch.float32:
                    raise self._no_numbers("UNet") from None
                self._with(self._player)
            self._in_float32 = True
            self._tell(
                "The UNet's numbers grew beyond half precision: the picture is made in full precision, which takes "
                "longer."
            )
        with self._place.full_precision():
            try:
                return self._made(sampling, self._relay(sampling), first, seeds, known)
            except FloatingPointError:
                raise self._no_numbers("UNet") from None

    def _made(
        self,
        sampling: SamplingPass,
        denoise: GuidedDenoiser | Relay,
        first: int,
        seeds: Sequence[PictureSeeds],
        known: Known | None,
    ) -> Made:
        # A pass of its own, over a seam, is the last part of the picture's once more.
        before = self._before + max(0, self._pass.steps - sampling.steps)
        self._watch.begin(*self._part, before=before)
        inpainting = self._frame.inpainting if self._frame and sampling is self._pass else None
        content = inpainting.masked_content if inpainting else ""
        part = "first" if self._second is None else "hires"
        place = partial(self._sampling_place, sampling, seeds)
        with self._course.sampling(part, place, denoise, self._prompt) as self._stage:
            made = sampling.made(first, seeds, denoise, self._watch, known=known, content=content)
            return made if self._stage is None else self._stage.ended(made)

    def _sampling_place(self, sampling: SamplingPass, seeds: Sequence[PictureSeeds], part: Pass) -> SamplingPlace:
        """What extensions are told of a sampling; the player is at work when it starts."""
        model, size, player = self._place.model, sampling.size, self._player
        return SamplingPlace(
            part=part,
            seeds=tuple(each.seed for each in seeds),
            size=size,
            sigmas=tuple(sampling.sigmas),
            device=model.device,
            shapes=lambda: residual_shapes(model.networks.unet, (size[1] // self._factor, size[0] // self._factor)),
            encode=lambda prompt, negative: player.words.other(self._with(player), size, prompt, negative),
            latents=lambda picture: self.encoded(picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)),
        )

    def _eased(self, work: Callable[[Relief], T], what: str, *, tiles: bool = False, batches: bool = False) -> T:
        result, self._relief = self._rescue.run(work, self._relief, what=what, tiles=tiles, batches=batches)
        return result

    def _tell(self, sentence: str) -> None:
        self._job.emit(Notice(message=sentence))

    def _tell_once(self, sentence: str) -> None:
        """What is true of a checkpoint, however often it takes its turn."""
        if sentence not in self._told:
            self._told.add(sentence)
            self._tell(sentence)

    def _no_numbers(self, network: str) -> UserError:
        return UserError(
            f"The {network} of {self._place.model.record.name} made numbers without end (NaN) and no picture, in full "
            "precision too: the file may be damaged."
        )
