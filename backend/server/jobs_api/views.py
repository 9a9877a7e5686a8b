"""What ``/api/v2`` answers with: typed values, made from jobs, models and recipes."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from backend.any_request import Request
from backend.events import Failed as FailedEvent
from backend.events import ImageReady, Loading, Notice, Progress
from backend.grids.request import GridRequest
from backend.job import Job, State
from backend.model_manager.identity import Kind
from backend.model_manager.inventory.overview import Shown
from backend.outlook import Outlook
from backend.request import GenerationRequest
from backend.server.jobs_api.request_schema import Generation, Upscale
from backend.upscaling.request import UpscaleRequest

PREFIX = "/api/v2"
MEDIA_TYPES: Mapping[str, str] = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".webp": "image/webp",
    ".avif": "image/avif",
}
JobId = Annotated[str, Field(description="32 hexadecimal digits.", pattern="^[0-9a-f]{32}$")]
NoText = Annotated[str, Field(description="A sentence; empty where there is nothing to say.")]


class View(BaseModel):
    """A value that is answered."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class PictureView(View):
    """A finished picture of a job."""

    index: int = Field(ge=0, description="Counts the job's pictures from 0.")
    seed: int = Field(description="The seed that makes this picture alone; -1 where there is none.")
    width: int = Field(ge=1, description="Pixels.")
    height: int = Field(ge=1, description="Pixels.")
    media_type: str
    url: str = Field(description="Where the file's bytes are, from this server's root.")
    infotext: str = Field(description="What the file carries, in AUTOMATIC1111's words.")


class ProgressView(View):
    """The newest step of a running job."""

    step: int = Field(description="Of `steps`, from 1.")
    steps: int
    batch: int = Field(description="Of `batches`, from 1.")
    batches: int
    rate: float = Field(description="Steps a second.")
    remaining: float = Field(description="Seconds for the whole job.")


class GridView(View):
    """The drawing of a grid, which the page has asked for: its pictures are jobs of their own before it."""

    place: str = Field(description="The grid's folder among the grids.")
    title: str = Field(description="What it is, in a line.")
    base: Generation = Field(description="What its pictures were made from.")


class JobView(View):
    """A job as it is now."""

    id: JobId
    kind: Literal["generation", "upscale", "grid"]
    state: State
    created: float = Field(description="Seconds since 1970.")
    position: int = Field(ge=0, description="Its place in everybody's line, from 1; 0 for one that does not wait.")
    seconds_left: float | None = Field(description="Until it will have ended; null while nothing like it was measured.")
    error: str = Field(description="Of a failed job a word for the fault, such as oom or model_not_found; else empty.")
    message: NoText = Field(description="Of a failed job why, in one sentence; else empty.")
    loading: str = Field(description="What it is waiting for; empty where it is not.")
    notices: list[str] = Field(description="Sentences about what was done otherwise than asked, so that it can go on.")
    progress: ProgressView | None
    pictures: list[PictureView]
    request: Generation | Upscale | GridView = Field(
        description="As it is run: names made exact, seeds chosen, words drawn."
    )


class SubmittedView(JobView):
    """The job that a submission became, and further ones, where there are any."""

    others: list[JobView] = Field(
        description="Where a prompt leaves words to chance, by wildcards or {a|b}, each picture has words, and a job, "
        "of its own: these are the jobs of all pictures but the first."
    )


class JobList(View):
    """The asking person's jobs, in the order they run or ran."""

    jobs: list[JobView]


class QueueView(View):
    """The line of everybody's jobs, in numbers."""

    waiting: int = Field(ge=0, description="Everybody's waiting jobs.")
    yours: int = Field(ge=0, description="Yours among them.")
    running: int = Field(ge=0)
    limit_total: int = Field(ge=0, description="How many may wait; 0 is no limit.")
    limit_each: int = Field(ge=0, description="How many of one person may wait; 0 is no limit.")


class ModelView(View):
    """A model file."""

    id: str
    kind: Kind
    name: str = Field(description="What a request or a prompt calls it.")
    title: str = Field(description="What it is, in words.")
    family: str = Field(description="Its architecture: only models of one family go together.")
    size: int = Field(ge=0, description="Bytes.")
    problem: NoText = Field(description="Why it cannot be used; empty for one that can.")
    width: int = Field(ge=0, description="Pixels that a checkpoint makes best; 0 where that means nothing.")
    height: int = Field(ge=0)
    activation_text: str = Field(description="What a LoRA wants in the prompt, by its notes.")
    preferred_weight: float = Field(description="Of a LoRA, by its notes; 0 where they name none.")


class ModelList(View):
    """Models of one kind or of all, by name."""

    models: list[ModelView]


class NamedView(View):
    """A row of a table that requests name: a sampler, a schedule or an upscaler."""

    name: str
    aliases: list[str] = Field(description="Other names that a request may use.")


class NamedList(View):
    """A table of names, in the order in which the page shows them."""

    names: list[NamedView]


class ExtensionView(View):
    """An extension that is on."""

    id: str = Field(description="What `extras` of a request call it.")
    title: str
    version: str
    tabs: list[str] = Field(description="The tabs of the page in which its parameters stand.")
    parameters: dict[str, Any] | None = Field(
        description="The JSON schema of its values in `extras`; nothing where it has none and takes part by itself."
    )


class ExtensionList(View):
    """The extensions that are on, in the order of their turns."""

    extensions: list[ExtensionView]


class InputView(View):
    """A picture that was put in, under the sha256 of its bytes."""

    name: str = Field(pattern="^[0-9a-f]{64}$", description="What requests call it.")
    width: int = Field(ge=1, description="Pixels, when it stands upright.")
    height: int = Field(ge=1)


class PairView(View):
    """One value of an infotext."""

    key: str
    value: str


class MissingView(View):
    """A model that a picture was made with and that is not here."""

    kind: str
    name: str
    hash: str
    sentence: str


class PngInfo(View):
    """How a picture was made, as its file says."""

    origin: str = Field(description="The program that wrote it; empty where the file says nothing.")
    place: str = Field(description="Where in the file it stood.")
    text: str = Field(description="What stood there.")
    prompt: str
    negative_prompt: str
    values: list[PairView] = Field(description="Every other value, in AUTOMATIC1111's words.")
    request: Generation | None = Field(description="The request that it means; null where it means none.")
    missing: list[MissingView]
    remarks: list[str] = Field(description="Sentences about what was concluded, or not understood.")


def job_view(job: Job, outlook: Mapping[str, Outlook]) -> JobView:
    """A job as it is now, of which `outlook` may say where it stands."""
    events = [event for _, event in job.since()]
    newest = events[-1] if events else None
    state = job.state
    stands = outlook.get(job.id)
    progress = next((event for event in events if isinstance(event, Progress)), None)
    return JobView.model_construct(
        id=job.id,
        kind=_kind(job.request),
        state=state,
        created=job.created,
        position=stands.position if stands and state == "queued" else 0,
        seconds_left=0.0 if job.ended else stands.seconds_left if stands else None,
        error=newest.kind if isinstance(newest, FailedEvent) else "",
        message=newest.message if isinstance(newest, FailedEvent) else "",
        loading=newest.what if isinstance(newest, Loading) else "",
        notices=[event.message for event in events if isinstance(event, Notice)],
        progress=progress_view(progress) if progress and state == "running" else None,
        pictures=[picture_view(job, event) for event in events if isinstance(event, ImageReady)],
        request=_request_view(job.request),
    )


def submitted_view(jobs: Sequence[Job], outlook: Mapping[str, Outlook]) -> SubmittedView:
    """What a submission became."""
    first, *others = (job_view(job, outlook) for job in jobs)
    return SubmittedView.model_construct(**dict(first), others=others)


def _kind(request: Request) -> str:
    if isinstance(request, GridRequest):
        return "grid"
    return "generation" if isinstance(request, GenerationRequest) else "upscale"


def _request_view(request: Request) -> GenerationRequest | UpscaleRequest | GridView:
    if isinstance(request, GridRequest):
        return GridView.model_construct(place=request.place, title=request.title, base=request.base)
    return request


def picture_view(job: Job, image: ImageReady) -> PictureView:
    """A picture of a job."""
    return PictureView.model_construct(
        index=image.index,
        seed=image.seed,
        width=image.width,
        height=image.height,
        media_type=MEDIA_TYPES[image.path.suffix],
        url=f"{PREFIX}/jobs/{job.id}/pictures/{image.index}",
        infotext=image.infotext,
    )


def progress_view(progress: Progress) -> ProgressView:
    """A step, without its preview."""
    return ProgressView.model_construct(**{name: getattr(progress, name) for name in ProgressView.model_fields})


def model_view(shown: Shown) -> ModelView:
    """A model as everybody may know it: without the folders above it."""
    record = shown.record
    width, height = record.native_size if record.kind is Kind.CHECKPOINT else (0, 0)
    said: dict[str, Any] = {
        "activation_text": shown.notes.activation_text,
        "preferred_weight": shown.notes.preferred_weight,
    }
    return ModelView(
        id=shown.id,
        kind=record.kind,
        name=record.name,
        title=record.identity.title,
        family=record.identity.family,
        size=record.size,
        problem=record.problem,
        width=width,
        height=height,
        **said,
    )
