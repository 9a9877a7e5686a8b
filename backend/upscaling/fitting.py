"""Enlarging by tiles that memory has room for."""

from collections.abc import Callable

from PIL import Image

from backend.events import Notice
from backend.imaging.upscale import TILE
from backend.jobs import Job
from backend.model_manager.memory.rescue import Relief, Rescue

SMALL_TILE = 64  # pixels, when memory ran out


def in_tiles_that_fit(work: Callable[[int], Image.Image], free: Callable[[], int], job: Job) -> Image.Image:
    """What `work(tile)` makes by tiles of the usual side in pixels, or by small ones when memory runs out: the job is
    told so.

    `free()` drops models that are loaded and not in use and returns their bytes. Raises `UserError` when nothing helps;
    what else `work` raises goes on.
    """
    rescue = Rescue(free=free, offload=lambda: False, notice=lambda sentence: job.emit(Notice(message=sentence)))
    made, _ = rescue.run(
        lambda now: work(SMALL_TILE if now.tiled else TILE),
        Relief(batch=1),
        what="enlarging the picture",
        tiles=True,
    )
    return made
