"""Tiled upscale: a picture enlarged, and made new tile by tile with the words of the request (A1111's SD upscale).

However large it becomes, what is generated is a tile; besides, there are the enlarged picture and the one it becomes.
"""

from dataclasses import dataclass, replace

from PIL import Image

from backend.events import Loading
from backend.frame import Frame, with_sketch
from backend.generation import Generation
from backend.imaging.tiles import count, redraw_in_tiles
from backend.imaging.upscale import Upscalers
from backend.init_image import InitImage, TiledUpscale
from backend.inputs import Inputs
from backend.jobs import Job
from backend.model_manager.residency import Residency
from backend.request import LARGEST_SEED, GenerationRequest, PictureSeeds
from backend.upscaling.fitting import in_tiles_that_fit


def enlarged(
    init: InitImage, upscale: TiledUpscale, inputs: Inputs, upscalers: Upscalers, residency: Residency, job: Job
) -> Image.Image:
    """The picture of a request in RGB, with its sketch, at the size that it is to have. The network that did it is let
    go.

    No picture is being made yet, so there is nothing to skip. Raises `Cancelled` if the job is ended, `UserError` for
    an input that is not there, an upscaler that cannot be used, and where memory does not suffice.
    """
    job.emit(Loading(what=upscale.upscaler))
    inputs.check(init)
    picture = with_sketch(inputs.picture(init.picture), init, inputs)
    size = upscale.target(*picture.size)

    def stop(_done: int, _of: int) -> None:
        job.next_pictures()

    try:
        return in_tiles_that_fit(
            lambda tile: upscalers.upscale(picture, upscale.upscaler, *size, tile=tile, on_tile=stop),
            residency.free_idle,
            job,
        )
    finally:
        upscalers.close()


@dataclass(frozen=True, kw_only=True)
class Redrawing:
    """An enlarged picture, `large`, in RGB, that is to be made new for a request."""

    large: Image.Image
    request: GenerationRequest
    init: InitImage
    overlap: int

    @property
    def tile(self) -> tuple[int, int]:
        """Width and height of a tile."""
        return self.request.width, self.request.height

    @property
    def tiles(self) -> int:
        """How many the picture has."""
        width, height = (max(sides) for sides in zip(self.large.size, self.tile, strict=True))
        return count(width, height, self.tile, self.overlap)

    @property
    def frame(self) -> Frame:
        """That of a tile, whichever: all are as large, and made new by as much."""
        return Frame.of_picture(Image.new("RGB", self.tile), self.init.denoising_strength)

    def picture(self, generation: Generation, number: int, seeds: PictureSeeds) -> tuple[Image.Image | None, bool]:
        """Picture `number` of the request (from 0), and whether it is whole; `generation` works in `frame`.

        Tile t (from 0, row by row) is made with the noise of seed + t, counted modulo 2**64, and varied towards the
        same one. The next picture of the request begins with seed + 1, as pictures from words do, so that each one can
        be made again alone. Where it is stopped, the tiles that follow are what was enlarged; before the first one is
        made there is no picture. Raises `UserError` as `Generation.pictures`.
        """
        batch, before = divmod(number, self.request.batch_size)
        done, stopped = 0, False

        def make(tile: Image.Image, index: int) -> Image.Image:
            nonlocal done, stopped
            part = (batch, before * self.tiles + index, self.request.batch_size * self.tiles)
            of_tile = replace(seeds, seed=(seeds.seed + index) % (LARGEST_SEED + 1))
            made = None if stopped else generation.redrawn(tile, of_tile, part=part)
            stopped = made is None
            done += not stopped
            return made or tile

        picture = redraw_in_tiles(self.large, make, tile=self.tile, overlap=self.overlap)
        return (picture if done else None), not stopped
