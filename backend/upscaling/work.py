"""An upscale at work: picture by picture, each saved as soon as it is there."""

import time
from collections.abc import Callable

from PIL import Image

from backend.errors import Skipped, UserError
from backend.events import ImageReady, Loading, Notice, Progress
from backend.imaging.upscale import Upscalers
from backend.inputs import Inputs
from backend.jobs import Job
from backend.outputs import ENLARGED, Outputs
from backend.upscaling.fitting import in_tiles_that_fit
from backend.upscaling.metadata import POSTPROCESSING, Metadata, postprocessing, read_metadata, with_postprocessing
from backend.upscaling.operations import operated
from backend.upscaling.request import UpscaleRequest


class Upscaling:
    """Enlarges the pictures of requests. Used by the thread that owns the device."""

    def __init__(self, upscalers: Upscalers, inputs: Inputs, outputs: Outputs, free: Callable[[], int]):
        """`free()` drops models that are loaded and not in use and returns their bytes."""
        self._upscalers = upscalers
        self._inputs = inputs
        self._outputs = outputs
        self._free = free

    def run(self, request: UpscaleRequest, job: Job) -> None:
        """Enlarge and save every picture of `request`, telling `job`. The networks are let go at the end.

        A picture among several that cannot be made is told as a `Notice`, and the others are made. Raises `Cancelled`
        when the job was ended (its pictures so far are saved), `UserError` if no picture could be made.
        """
        job.emit(Loading(what=request.upscaler))
        progress = _Progress(job, request)
        problem: UserError | None = None
        try:
            for index, name in enumerate(request.inputs):
                job.next_pictures()
                progress.begin(index)
                try:
                    self._one(request.single(name), name, index, job, progress)
                except Skipped:
                    continue
                except UserError as error:
                    problem = error
                    if request.pictures > 1:
                        job.emit(Notice(message=f"Picture {index + 1} of {request.pictures}: {error}"))
        finally:
            self._upscalers.close()
        if problem and not job.images:
            raise problem

    def _one(self, request: UpscaleRequest, name: str, index: int, job: Job, progress: "_Progress") -> None:
        picture = self._inputs.picture(name)
        enlarged = in_tiles_that_fit(lambda tile: self._enlarged(picture, request, tile, progress), self._free, job)
        made = operated(enlarged, request.operations)
        original = read_metadata(self._inputs.path(name)) if request.keep_metadata else Metadata()
        done = postprocessing(request, *picture.size)
        infotext = with_postprocessing(original.infotext, done)
        path = self._outputs.save_extra(
            made,
            infotext=infotext,
            request=original.request or request.to_json(),
            chunks={**original.others, POSTPROCESSING: done, ENLARGED: request.to_json()},
        )
        job.emit(
            ImageReady(
                index=index,
                seed=request.seed,
                path=path,
                width=made.width,
                height=made.height,
                infotext=infotext,
                request=request.to_json(),
            )
        )

    def _enlarged(self, picture: Image.Image, request: UpscaleRequest, tile: int, progress: "_Progress") -> Image.Image:
        """One picture, by one upscaler or as a blend of two, cut if it is to be."""
        target = request.target(*picture.size)
        made, *others = (
            self._upscalers.upscale(
                picture, name, target.width, target.height, tile=tile, on_tile=progress.of_upscaler(phase)
            )
            for phase, name in enumerate(progress.upscalers)
        )
        for other in others:
            made = Image.blend(made, other, request.visibility_2)
        if target.crop:
            left, top = (target.width - target.crop[0]) // 2, (target.height - target.crop[1]) // 2
            made = made.crop((left, top, left + target.crop[0], top + target.crop[1]))
        return made


class _Progress:
    """Tells a job how far it is, tile by tile, and ends it when asked to. A picture is a batch of the job's."""

    def __init__(self, job: Job, request: UpscaleRequest):
        self.upscalers = [request.upscaler, *([request.upscaler_2] if request.blended else [])]
        self._job = job
        self._pictures = request.pictures
        self._index = 0
        self._started = time.monotonic()
        self._made = 0

    def begin(self, index: int) -> None:
        """The next picture is number `index`, from 0."""
        self._index = index

    def of_upscaler(self, phase: int) -> Callable[[int, int], None]:
        """What is told of the tiles of the first (0) or the second (1) upscaler."""

        def tell(done: int, of: int) -> None:
            self._made += 1
            rate = self._made / max(time.monotonic() - self._started, 1e-6)
            step, steps = phase * of + done, len(self.upscalers) * of
            remaining = (steps * (self._pictures - self._index) - step) / rate
            self._job.emit(
                Progress(
                    step=step,
                    steps=steps,
                    batch=self._index + 1,
                    batches=self._pictures,
                    rate=rate,
                    remaining=remaining,
                )
            )
            self._job.check()

        return tell
