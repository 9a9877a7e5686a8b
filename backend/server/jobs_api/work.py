"""The routes of jobs: submit, look, follow, reorder, end, fetch."""

import hashlib
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Body, Header, Path, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from backend.any_request import Request as AnyRequest
from backend.app import App
from backend.errors import InvalidRequest
from backend.job import Job, Once, State
from backend.server.jobs_api.answers import answer, file_answer
from backend.server.jobs_api.events import EventStream, Numbers
from backend.server.jobs_api.request_schema import Generation, Upscale
from backend.server.jobs_api.views import (
    MEDIA_TYPES,
    PREFIX,
    JobList,
    JobView,
    QueueView,
    SubmittedView,
    job_view,
    submitted_view,
)
from backend.server.owner import owner_of
from backend.server.risks import MEBIBYTE, risk

LARGEST_REQUEST = 2 * MEBIBYTE  # every text of one as long as it may be, and escaped
MOST_PLACES = 1_000_000
Id = Annotated[str, Path(alias="job", description="The job's id.", pattern="^[0-9a-f]{32}$")]
Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="A name of your own for this submission: sent again it queues nothing more, and the first job is "
        "the answer, also after a restart, as long as that job is in your list.",
        min_length=1,
        max_length=200,
        pattern="^[ -~]+$",
    ),
]
FIRST: Mapping[str, Any] = {"prompt": "a red circle on a blue background", "steps": 20, "width": 128, "height": 128}
GENERATIONS: Any = {
    "words": {"summary": "A picture from words", "value": FIRST},
    "img2img": {
        "summary": "A picture that begins with another one, which was put in",
        "value": {**FIRST, "init": {"picture": "0" * 64, "denoising_strength": 0.6}},
    },
    "inpaint": {
        "summary": "A part of a picture made new: the mask's white",
        "value": {**FIRST, "init": {"picture": "0" * 64, "inpainting": {"mask": "1" * 64, "mask_blur": 4}}},
    },
    "chance": {
        "summary": "Two pictures, each with a colour of its own: two jobs",
        "value": {**FIRST, "prompt": "a {red|green} circle", "batch_count": 2},
    },
    "hires": {
        "summary": "A picture made once more, larger",
        "value": {**FIRST, "hires": {"upscaler": "Latent", "scale": 2, "denoising_strength": 0.6}},
    },
}
UPSCALES: Any = {"twice": {"summary": "A picture twice as large", "value": {"inputs": ["0" * 64], "scale": 2}}}
EVENT_STREAM: Mapping[int | str, dict[str, Any]] = {
    200: {
        "description": "Events, each with an id, its type as the event's name, and as data one of `EventView` as JSON. "
        "The last one is finished, interrupted or failed; then the stream ends.",
        "content": {"text/event-stream": {"schema": {"$ref": "#/components/schemas/EventMessage"}}},
    },
    204: {"description": "The job has ended, and the client has had everything."},
}
PICTURE: Mapping[int | str, dict[str, Any]] = {
    200: {
        "description": "The file as it was saved.",
        "content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in MEDIA_TYPES.values()},
    }
}


class Move(BaseModel):
    """Where a waiting job goes among your own."""

    model_config = ConfigDict(extra="forbid", frozen=True, json_schema_extra={"examples": [{"places": -1}]})

    places: Annotated[int, Field(strict=True, ge=-MOST_PLACES, le=MOST_PLACES)] = Field(
        description="How many places later; negative: earlier."
    )


def add_routes(routes: APIRouter, app: App) -> None:
    """All routes that have to do with jobs."""
    _submitting(routes, app)
    _looking(routes, app)
    _ordering(routes, app)
    _fetching(routes, app)


def _view(app: App, job: Job) -> JobView:
    return job_view(job, app.queue.outlook())


def _submitting(routes: APIRouter, app: App) -> None:
    def once(asked: AnyRequest, key: str | None) -> Once | None:
        return Once(key=key, asked=hashlib.sha256(asked.to_json().encode()).hexdigest()) if key else None

    def accepted(view: JobView) -> Response:
        return answer(view, 202, {"Location": f"{PREFIX}/jobs/{view.id}"})

    # Plain functions, here and below, are those that wait for a disk: they run on threads.
    @routes.post("/generations", status_code=202, response_model=SubmittedView, tags=["jobs"])
    @risk("make", largest=LARGEST_REQUEST)
    def generate(
        request: Request, asked: Annotated[Generation, Body(openapi_examples=GENERATIONS)], key: Key = None
    ) -> Response:
        """Queue a generation: pictures from words, or from a picture that was put in."""
        jobs = app.submit(asked, owner_of(request), once=once(asked, key))
        return accepted(submitted_view(jobs, app.queue.outlook()))

    @routes.post("/upscales", status_code=202, response_model=JobView, tags=["jobs"])
    @risk("make", largest=LARGEST_REQUEST)
    def upscale(
        request: Request, asked: Annotated[Upscale, Body(openapi_examples=UPSCALES)], key: Key = None
    ) -> Response:
        """Queue pictures that were put in to be enlarged as they are."""
        return accepted(_view(app, app.queue.submit(asked, owner_of(request), once=once(asked, key))))


def _looking(routes: APIRouter, app: App) -> None:
    @routes.get("/queue", response_model=QueueView, tags=["jobs"])
    @risk("read")
    async def queue(request: Request) -> Response:
        """How long the line is."""
        owner, line, settings = owner_of(request), list(app.queue.line()), app.settings.value
        return answer(
            QueueView(
                waiting=len(line),
                yours=sum(job.owner == owner for job in line),
                running=int(app.queue.is_working),
                limit_total=settings.queue_total,
                limit_each=settings.queue_each,
            )
        )

    @routes.get("/jobs", response_model=JobList, tags=["jobs"])
    @risk("read")
    async def jobs(
        request: Request,
        state: Annotated[State | None, Query(description="Only those that are so.")] = None,
        newest: Annotated[int, Query(ge=1, le=1000, description="At most so many, the newest.")] = 100,
    ) -> Response:
        """Your jobs, in the order they run or ran."""
        found = [job for job in app.queue.jobs(owner_of(request)) if state in (None, job.state)]
        outlook = app.queue.outlook()
        return answer(JobList.model_construct(jobs=[job_view(job, outlook) for job in found[-newest:]]))

    @routes.get("/jobs/{job}", response_model=JobView, tags=["jobs"])
    @risk("read")
    async def one(request: Request, id: Id) -> Response:
        """One of your jobs, as it is now."""
        return answer(_view(app, app.queue.find(id, owner_of(request))))


def _ordering(routes: APIRouter, app: App) -> None:
    @routes.post("/jobs/{job}/cancel", response_model=JobView, tags=["jobs"])
    @risk("make")
    def cancel(request: Request, id: Id) -> Response:
        """Take a waiting job out of the line, or end a running one at its next step; an ended one stays as it is."""
        job = app.queue.find(id, owner_of(request))
        app.queue.cancel(job)
        return answer(_view(app, job))

    @routes.post("/jobs/{job}/skip", response_model=JobView, tags=["jobs"])
    @risk("make")
    async def skip(request: Request, id: Id) -> Response:
        """End the pictures that are being made at their next step, and go on with the job's next ones."""
        job = app.queue.find(id, owner_of(request))
        if job.state == "running":
            job.skip()
        return answer(_view(app, job))

    @routes.post("/jobs/{job}/move", response_model=JobView, tags=["jobs"])
    @risk("make")
    def move(request: Request, id: Id, where: Move) -> Response:
        """Let a waiting job go before or behind others of yours; where other people's stand is not yours to say."""
        job = app.queue.find(id, owner_of(request))
        app.queue.move(job, where.places)
        return answer(_view(app, job))

    @routes.post("/jobs/{job}/retry", status_code=202, response_model=JobView, tags=["jobs"])
    @risk("make")
    def retry(request: Request, id: Id) -> Response:
        """Queue the same request, seed and all, once more."""
        job = app.queue.retry(app.queue.find(id, owner_of(request)))
        return answer(_view(app, job), 202, {"Location": f"{PREFIX}/jobs/{job.id}"})

    @routes.delete("/jobs/{job}", status_code=204, tags=["jobs"])
    @risk("make")
    def forget(request: Request, id: Id) -> Response:
        """Take an ended job out of your list; its pictures stay where they are."""
        job = app.queue.find(id, owner_of(request))
        if not job.ended:
            raise InvalidRequest("This job has not ended: cancel it first.")
        app.queue.forget(job)
        return Response(status_code=204)


def _fetching(routes: APIRouter, app: App) -> None:
    numbers = Numbers()

    @routes.get("/jobs/{job}/events", response_class=Response, responses=dict(EVENT_STREAM), tags=["jobs"])
    @risk("read")
    async def events(
        request: Request,
        id: Id,
        last: Annotated[
            str, Header(alias="Last-Event-ID", description="Go on behind the event of this id.", max_length=100)
        ] = "",
    ) -> Response:
        """Follow a job: everything that happened, then what happens."""
        job = app.queue.find(id, owner_of(request))
        after = numbers.after(last)
        if job.ended and not job.since(after):
            return Response(status_code=204)  # told so, a browser does not ask again
        return EventStream(job, numbers=numbers, after=after, outlook=lambda: app.queue.outlook().get(job.id))

    @routes.get("/jobs/{job}/pictures/{index}", response_class=Response, responses=dict(PICTURE), tags=["jobs"])
    @risk("read")
    def picture(request: Request, id: Id, index: Annotated[int, Path(ge=0, le=MOST_PLACES)]) -> Response:
        """A finished picture: the file's bytes, with the recipe inside."""
        image = app.queue.find(id, owner_of(request)).image(index)
        return file_answer(image.path, MEDIA_TYPES[image.path.suffix], image.path.name)
