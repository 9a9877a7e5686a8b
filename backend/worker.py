"""What the queue's thread does with each kind of request."""

from typing import TYPE_CHECKING

from backend.any_request import Request
from backend.engine import Engine
from backend.grids.grids import Grids
from backend.grids.request import GridRequest
from backend.jobs import Job
from backend.upscaling.request import UpscaleRequest
from backend.upscaling.work import Upscaling

if TYPE_CHECKING:
    from backend.app import App


class DeviceWorker:
    """The engine, and beside it what needs no checkpoint. Used by one thread, which owns the device."""

    def __init__(self, engine: Engine, upscaling: Upscaling, grids: Grids):
        self._engine = engine
        self._upscaling = upscaling
        self._grids = grids

    @classmethod
    def create(cls, app: "App") -> "DeviceWorker":
        """The worker of an `App`. Raises `UserError` if the device that was asked for is not there."""
        engine = Engine.create(app)
        upscaling = Upscaling(app.upscalers, app.inputs, app.outputs, engine.residency.free_idle)
        return cls(engine, upscaling, app.grids)

    def generate(self, request: Request, job: Job) -> None:
        """Make and save every picture of `request`, telling `job`; raises what `Engine.generate` does."""
        if isinstance(request, UpscaleRequest):
            self._upscaling.run(request, job)
        elif isinstance(request, GridRequest):
            self._grids.draw(request, job)
        else:
            self._engine.generate(request, job)
