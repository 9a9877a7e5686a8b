"""What one body became: a job, or several where a script or the words left to chance ask for that."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass

from backend.app import App
from backend.events import Failed, ImageReady
from backend.extension_api import Several
from backend.grids.request import GridRequest
from backend.job import Job
from backend.request import GenerationRequest


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A picture that is answered, and the request whose it is."""

    image: ImageReady
    request: GenerationRequest
    subseed: int = 0


@dataclass(frozen=True, kw_only=True)
class Call:
    """The jobs of a body in the order in which their pictures are answered. Of a grid `drawing` draws it, and stands
    behind them in the line; without `lone` only what it drew is answered."""

    jobs: tuple[Job, ...]
    drawing: Job | None = None
    lone: bool = True

    @property
    def all(self) -> tuple[Job, ...]:
        """Every job there is, one that stands for several cells once, as it was queued."""
        queued = sorted({job.id: job for job in self.jobs}.values(), key=lambda job: job.rank)
        return (*queued, self.drawing) if self.drawing else tuple(queued)

    @property
    def request(self) -> GenerationRequest:
        """What stands for all."""
        request = self.jobs[0].request
        assert isinstance(request, GenerationRequest)
        return request

    @property
    def grids(self) -> list[Shown]:
        """The pictures that were drawn of others: the whole one first, as there."""
        if self.drawing is None or not self.drawing.images:
            return []
        *parts, whole = self.drawing.images
        subseeds = self.request.variation_seeds(0)
        return [
            Shown(image=image, request=self.request, subseed=subseeds[0] if subseeds else 0)
            for image in (whole, *parts)
        ]

    @property
    def shown(self) -> list[Shown]:
        """Every picture that is answered."""
        jobs = self.jobs if self.lone else ()
        return [*self.grids, *(each for job in jobs for each in _pictures(job, first=self.drawing is not None))]

    @property
    def failure(self) -> Failed | None:
        """Why it failed, if it did: a grid is drawn without the pictures that are missing."""
        if self.drawing is not None and not isinstance(_ending(self.drawing), Failed):
            return None
        endings = (_ending(job) for job in (*self.jobs, *([self.drawing] if self.drawing else [])))
        return next((each for each in endings if isinstance(each, Failed)), None)


def _ending(job: Job) -> object:
    return job.since()[-1][1]


def _pictures(job: Job, *, first: bool) -> Iterator[Shown]:
    """A job's pictures, or the first of them, which is what stands in a grid."""
    request = job.request
    assert isinstance(request, GenerationRequest)
    batches = range(request.batch_count)
    subseeds = [seed for batch in batches for seed in request.variation_seeds(batch)] or [0] * request.pictures
    for image in job.images[:1] if first else job.images:
        yield Shown(image=image, request=request, subseed=subseeds[image.index])


class Calls:
    """The calls whose jobs have not all ended. Safe to use from any thread."""

    def __init__(self, app: App):
        self._app = app
        self._lock = threading.Lock()
        self._calls: list[Call] = []

    def begin(self, asked: Several, owner: str) -> Call:
        """Queue what a body asks for: all of it or nothing. Raises `UserError`."""
        call = self._queued(asked, owner)
        with self._lock:
            going = [each for each in self._calls if not all(job.ended for job in each.all)]
            self._calls = [*going, call]
        return call

    def of(self, job: Job) -> Call:
        """The call that a job belongs to; of one that was queued elsewhere that alone."""
        with self._lock:
            calls = list(self._calls)
        found = next((call for call in calls if any(each is job for each in call.all)), None)
        return found or Call(jobs=(job,))

    def end(self, job: Job) -> None:
        """End everything of the call that a job belongs to; a grid is drawn of what there is, if anything is."""
        call = self.of(job)
        for each in call.all:
            nothing = not any(cell.images for cell in call.jobs)
            if not each.ended and (each is not call.drawing or nothing or each is job):
                self._app.queue.cancel(each)

    def _queued(self, asked: Several, owner: str) -> Call:
        app = self._app
        if asked.grid is None:
            requests = [each for request in asked.requests for each in app.several(request)]
            return Call(jobs=tuple(app.queue.submit_all(requests, owner)))
        drawing = app.grids.begin(asked.grid, owner)
        request = drawing.request
        assert isinstance(request, GridRequest)
        jobs = {job.id: job for job in app.queue.jobs(owner)}
        cells = sorted(app.grids.find(request.place, owner).cells, key=lambda cell: (cell.z, cell.y, cell.x))
        return Call(jobs=tuple(jobs[cell.job] for cell in cells if cell.job in jobs), drawing=drawing, lone=asked.lone)
