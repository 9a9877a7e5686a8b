"""The story of one generation."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from traceback import clear_frames
from typing import TYPE_CHECKING

import torch
from PIL import Image

from backend.delivery import Collection, Delivery, FinishedPicture, Nested
from backend.encoded_words import EncodedWords
from backend.errors import Skipped, Stopped, UserError
from backend.events import Loading, Notice
from backend.extensions.course import Course, Host
from backend.extensions.nested import generate_within
from backend.families.denoising import calls_of, passes_of
from backend.families.unseen import further_channels
from backend.frame import Frame
from backend.generation import Generation, Player
from backend.hires import Enlarged, enlarge, refine, second_pass, steps_of
from backend.imaging.upscale import Upscalers
from backend.init_image import HiresFix, InitImage, TiledUpscale
from backend.inputs import Inputs
from backend.jobs import Job
from backend.model_manager.catalog import Catalog, ModelRecord
from backend.model_manager.identity import Kind
from backend.model_manager.inventory.hashes import HashIndex
from backend.model_manager.lora.lora_uses import LoraUses
from backend.model_manager.memory.budgets import Budgets
from backend.model_manager.memory.devices import choose_device, describe
from backend.model_manager.residency import LoadedModel, Residency
from backend.outputs import Outputs
from backend.prompt.conditioning_cache import ConditioningCache
from backend.prompt.editing import Passes
from backend.prompt.embeddings import Inversions, inversions_in
from backend.prompt.encode import words_of
from backend.prompt.grammar import LoraToken, read_prompt
from backend.prompt.loras import named_loras
from backend.recipe import Recipe
from backend.request import OWN_VAE, GenerationRequest
from backend.sampling.samplers import find_sampler
from backend.sampling.schedules import is_automatic
from backend.sampling_pass import Made
from backend.settings import SettingsStore
from backend.tiled_upscale import Redrawing, enlarged
from backend.workplace import Chosen, Workplace

if TYPE_CHECKING:
    from backend.app import App


class Engine:
    """Makes pictures. Used by one thread, which owns the device."""

    def __init__(
        self,
        residency: Residency,
        catalog: Catalog,
        hashes: HashIndex,
        outputs: Outputs,
        settings: SettingsStore,
        inputs: Inputs,
        upscalers: Upscalers,
        depth_folder: Path,
        extensions: Host | None = None,
    ):
        """Without a host no extension takes part."""
        self.residency = residency
        self.encoded = ConditioningCache()
        self._catalog = catalog
        self._hashes = hashes
        self._loras = LoraUses(hashes)
        self._outputs = outputs
        self._settings = settings
        self._inputs = inputs
        self._upscalers = upscalers
        self._depth_folder = depth_folder
        self._extensions = extensions

    @classmethod
    def create(cls, app: "App") -> "Engine":
        """The engine of an `App`, with the checkpoint that the settings name already loaded.

        A checkpoint that cannot be loaded is told on the status and does not stop the engine. Raises `UserError` if
        the device that was asked for is not there.
        """
        options = app.options
        device = choose_device(options.device, options.precision)
        budgets = Budgets(ram=_in_bytes(options.ram_gb), vram=_in_bytes(options.vram_gb))
        residency = Residency(device, app.status, app.hashes, budgets=budgets, xformers=options.xformers)
        app.residency = residency
        engine = cls(
            residency,
            app.catalog,
            app.hashes,
            app.outputs,
            app.settings,
            app.inputs,
            app.upscalers,
            options.depth_folder,
            Host(active=app.extensions.active, calls=app.extensions.calls, inputs=app.inputs, prepare=app.prepare),
        )
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
        course = Course(self._extensions, request, job)
        self._run(course, Delivery(course, self._outputs, self._settings))

    def _within(self, outer: Course, generation: Generation) -> Nested:
        """How an extension that has its turn in `outer` makes pictures of its own, whose checkpoint takes the place of
        that of `generation` meanwhile."""

        def make(course: Course) -> list[Image.Image]:
            generation.leave()
            kept = Collection(course, self._outputs, self._settings)
            self._run(course, kept)
            return kept.images

        return lambda extension, request: generate_within(outer, extension, request, make)

    def _run(self, course: Course, delivery: Delivery) -> None:
        with course.begun() as request:
            if request.hires is not None:
                try:
                    self._generate_twice(request, request.hires, delivery)
                finally:
                    self._upscalers.close()
            elif request.init is not None and request.init.upscale is not None:
                self._generate_in_tiles(request, request.init, request.init.upscale, delivery)
            else:
                self._generate_once(request, delivery)

    def _generate_once(self, request: GenerationRequest, delivery: Delivery) -> None:
        frame = Frame.of(request, self._inputs)
        with self._at_work(request, delivery.course, frame=frame) as (generation, recipe):
            for batch in range(request.batch_count):
                delivery.next_pictures()
                for part in generation.batch(batch):
                    self._finish(generation, part, recipe, delivery)

    def _generate_twice(self, request: GenerationRequest, hires: HiresFix, delivery: Delivery) -> None:
        """With hires fix. What the first pass made is delivered as it is where the second one does not come to its
        end."""
        for batch in range(request.batch_count):
            delivery.next_pictures()
            waiting: dict[int, Made] = {}
            try:
                self._in_two_passes(batch, request, hires, waiting, delivery)
            except Exception as reason:
                # Else what memory may have run out of is held by the frames that it went through.
                clear_frames(reason.__traceback__)
                stop = reason if isinstance(reason, Stopped) else None
                self._keep_first_pass(waiting, request, delivery, stop)
                raise
            self._keep_first_pass(waiting, request, delivery, Skipped())
            if waiting:
                delivery.go_on(Skipped())

    def _in_two_passes(
        self, batch: int, request: GenerationRequest, hires: HiresFix, waiting: dict[int, Made], delivery: Delivery
    ) -> None:
        """One batch. `waiting`, by their numbers, is what the first pass made and the second has not yet; latents, so
        that it costs next to nothing.

        Each pass has its checkpoint and LoRAs to itself while it runs: two of one architecture share their modules.
        """
        second = second_pass(request, hires)
        before, after = steps_of(request, None), steps_of(second, hires)
        large: list[Enlarged] = []
        course, job = delivery.course, delivery.job
        with self._at_work(request, course, steps_after=after) as (generation, recipe):
            for part in generation.batch(batch):
                if part.stop is not None:
                    self._finish(generation, part, recipe, delivery)
                    continue
                waiting |= {each.first: each for each in part.singles()}
                with suppress(Skipped):
                    large.append(enlarge(generation, part, request, hires, self._upscalers, self._free, job))
        if not large:
            return
        with self._at_work(second, course, first=request, steps_before=before) as (generation, _):
            for each in large:
                for part in refine(generation, batch, each, hires):
                    self._finish(generation, part, recipe, delivery, waiting)

    def _keep_first_pass(
        self, waiting: Mapping[int, Made], request: GenerationRequest, delivery: Delivery, stop: Stopped | None
    ) -> None:
        """Deliver what still waits for its second pass, each with the request that makes it again. Where that was ended
        by `stop`, it is an interrupted picture, which the settings may not want. What extensions had put around the
        VAE of the first pass is still there."""
        if not waiting or not delivery.wants(stop):
            return
        delivery.job.emit(
            Notice(
                message=f"The second pass did not come to its end: what the first one made is kept, at {request.width} "
                f"x {request.height}."
            )
        )

        def alone(asked: GenerationRequest) -> GenerationRequest:
            return replace(asked, hires=None, refiner=None)

        # What the second pass had made of some when it was stopped.
        guessed = {image.index for image in delivery.job.images}
        with self._at_work(alone(request), delivery.course) as (generation, recipe):
            nested = self._within(delivery.course, generation)
            for number, made in waiting.items():
                index = number + request.pictures if number in guessed else number
                for image in generation.pictures(made):
                    done = FinishedPicture(image=image, number=number, index=index, recipe=recipe, nested=nested)
                    delivery.take(done, alone)

    def _generate_in_tiles(
        self, request: GenerationRequest, init: InitImage, upscale: TiledUpscale, delivery: Delivery
    ) -> None:
        """With a tiled upscale. The picture is enlarged once, before the checkpoint is loaded."""
        job = delivery.job
        large = enlarged(init, upscale, self._inputs, self._upscalers, self.residency, job)
        redrawing = Redrawing(large=large, request=request, init=init, overlap=upscale.overlap)
        every = [seeds for batch in range(request.batch_count) for seeds in request.picture_seeds(batch)]
        with self._at_work(request, delivery.course, frame=redrawing.frame) as (generation, recipe):
            nested = self._within(delivery.course, generation)
            for number, seeds in enumerate(every):
                delivery.next_pictures()
                picture, whole = redrawing.picture(generation, number, seeds)
                stop = None if whole else Skipped()
                if picture is not None and delivery.wants(stop):
                    delivery.take(
                        FinishedPicture(image=picture, number=number, index=number, recipe=recipe, nested=nested)
                    )
                if not whole:
                    delivery.next_pictures()  # which says so if it was not only this picture that was ended
                delivery.go_on(stop)

    @contextmanager
    def _at_work(
        self,
        request: GenerationRequest,
        course: Course,
        *,
        frame: Frame | None = None,
        first: GenerationRequest | None = None,
        steps_before: int = 0,
        steps_after: int = 0,
    ) -> Iterator[tuple[Generation, Recipe]]:
        """The checkpoint of a request leased and at work on it, with the extensions of `course`; and what the pictures'
        infotexts will say of it. It is the second pass of `first`, if that is given."""
        job = course.job
        job.emit(Loading(what=request.checkpoint))
        record = self._catalog.find(request.checkpoint)
        named = named_loras(request.prompt, self._catalog, record)
        chosen = Chosen(record=record, vae=self._catalog.vae(request.vae, record), loras=self._loras.of(named))
        words = replace(request, prompt=read_prompt(request.prompt).text)
        passes = passes_of(request, first=None if first is None else calls_of(first, first.steps))
        with Workplace(self.residency, tiling=request.tiling) as place:
            model = place.take(chosen)
            inversions, embeddings = self._inversions(words, model)
            recipe = self._recipe(request, model, chosen.vae, named, embeddings)
            generation = Generation(
                words,
                job,
                place,
                Player(
                    chosen=chosen,
                    words=EncodedWords(
                        words,
                        passes,
                        self.encoded,
                        lambda asked, model: inversions if asked is words else self._inversions(asked, model)[0],
                        course.words,
                    ),
                ),
                self._free,
                self._settings,
                refiner=self._refiner(words, passes, chosen, course),
                depth_folder=self._depth_folder,
                course=course,
                prompt=request.prompt,
                frame=frame,
                second=first and first.hires,
                steps_before=steps_before,
                steps_after=steps_after,
            )
            yield generation, recipe

    def _refiner(self, words: GenerationRequest, passes: Passes, first: Chosen, course: Course) -> Player | None:
        """Who ends the pictures that another one begins, if anybody does. With hires fix it is the second pass that is
        refined, as AUTOMATIC1111 has it."""
        refiner = words.refiner
        if refiner is None or words.hires is not None:
            return None
        record = self._catalog.find(refiner.checkpoint)
        if record.path == first.record.path:
            return None
        refiner.check_latents(same=record.identity.vae_family == first.record.identity.vae_family)
        loras = first.loras if record.family == first.record.family else ()
        if len(loras) < len(first.loras):
            course.job.emit(
                Notice(message=f"The LoRAs are not put on {record.name}, which is {record.identity.title}.")
            )
        chosen = Chosen(record=record, vae=self._catalog.vae(words.vae, record), loras=loras)
        found = EncodedWords(
            words, passes, self.encoded, lambda asked, model: self._inversions(asked, model)[0], course.words
        )
        return Player(chosen=chosen, words=found)

    def _free(self) -> int:
        """Drop what is in memory and not in use; returns the bytes of its networks."""
        self.encoded.clear()
        return self.residency.free_idle()

    def _finish(
        self,
        generation: Generation,
        part: Made,
        recipe: Recipe,
        delivery: Delivery,
        waiting: dict[int, Made] | None = None,
    ) -> None:
        """Decode and deliver what was made; what is whole is `waiting` no more. Raises `Cancelled` if the whole job was
        ended meanwhile."""
        nested = self._within(delivery.course, generation)
        if delivery.wants(part.stop):
            for number, image in enumerate(generation.pictures(part), part.first):
                delivery.take(FinishedPicture(image=image, number=number, index=number, recipe=recipe, nested=nested))
                if waiting and part.stop is None:
                    del waiting[number]
        delivery.go_on(part.stop)

    def _inversions(self, words: GenerationRequest, model: LoadedModel) -> tuple[Inversions, Mapping[str, ModelRecord]]:
        """The embeddings that the words may name, of those that can be read, and the files of those that stand there,
        by what one writes for them."""
        usable = [record for record in self._catalog.records(Kind.EMBEDDING) if not record.problem]
        records = {record.path.stem: record for record in reversed(usable)}  # of two of a name the first
        texts = [words.prompt, words.negative_prompt]
        widths = [encoder.config.hidden_size for encoder in model.networks.text_encoders()]
        inversions = inversions_in(texts, [record.path for record in records.values()], widths, model.tokenizer)
        used = words_of(model.tokenizer, texts, inversions)
        return inversions, {inversion.name: records[inversion.name] for inversion in used}

    def _recipe(
        self,
        request: GenerationRequest,
        model: LoadedModel,
        vae: ModelRecord | None,
        loras: Sequence[tuple[LoraToken, ModelRecord]],
        embeddings: Mapping[str, ModelRecord],
    ) -> Recipe:
        sampler = find_sampler(request.sampler)
        # A1111 writes the schedule that Automatic stood for, except where that is the plain one.
        automatic = is_automatic(request.schedule) and sampler.automatic_schedule != "Uniform"
        return Recipe(
            schedule=sampler.automatic_schedule if automatic else request.schedule,
            checkpoint=model.sha256,
            vae=None if vae is None else self._hashes.sha256(vae),
            refiner=self._hash_of(request.refiner.checkpoint) if request.refiner else None,
            hires_checkpoint=self._hash_of(request.hires.checkpoint) if request.hires else None,
            vae_name=OWN_VAE if vae is None else vae.name,
            loras={token.name: self._hashes.of_tensors(record) for token, record in loras},
            embeddings={name: self._hashes.sha256(record) for name, record in embeddings.items()},
            further=further_channels(model.networks, model.family.latent_format),
            device=_in_words(model.device, model.networks.unet.dtype),
        )

    def _hash_of(self, checkpoint: str) -> Future[str] | None:
        return self._hashes.sha256(self._catalog.find(checkpoint)) if checkpoint else None


def _in_bytes(gigabytes: float | None) -> int | None:
    return None if gigabytes is None else int(gigabytes * 1e9)


def _in_words(device: torch.device, dtype: torch.dtype) -> str:
    """A device and the numbers it computes in, as a picture says them."""
    return f"{describe(device)}, {str(dtype).removeprefix('torch.')}"
