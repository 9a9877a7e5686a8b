"""A job's events as they happen, by server-sent events (WHATWG HTML, section 9.2).

Nothing is kept for a client: when there is room to send, what is new is read off the job. So a slow one skips steps, as
of these the job keeps the newest only, and one that went away costs nothing.
"""

import asyncio
import base64
import contextlib
import json
import re
import secrets
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any, Literal

from pydantic import Field
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from backend.events import ENDINGS, Event, Failed, Finished, ImageReady, Interrupted, Loading, Notice, Progress, Started
from backend.job import Job
from backend.outlook import Outlook
from backend.server.jobs_api.views import PictureView, ProgressView, View, picture_view, progress_view

HEARTBEAT = 10.0  # seconds of silence after which a client is told that the line stands
RETRY = 3000  # milliseconds after which a browser asks again
_ID = re.compile(r"([0-9a-f]{8})-(\d{1,9})")


class StartedView(View):
    """The job was begun."""

    type: Literal["started"] = "started"


class QueuedView(View):
    """The job waits; told at once and with every heartbeat."""

    type: Literal["queued"] = "queued"
    position: int = Field(ge=0)
    seconds_left: float | None


class LoadingView(View):
    """The job waits for something, such as a checkpoint."""

    type: Literal["loading"] = "loading"
    what: str


class NoticeView(View):
    """Something was done otherwise than asked, so that the job can go on."""

    type: Literal["notice"] = "notice"
    message: str


class StepView(ProgressView):
    """A step is done."""

    type: Literal["progress"] = "progress"
    preview: str = Field(description="A small JPEG of what it looks like so far as a data URL; empty without one.")


class MadeView(View):
    """A picture is finished and saved."""

    type: Literal["picture"] = "picture"
    picture: PictureView


class EndedView(View):
    """The last event of a job."""

    type: Literal["finished", "interrupted", "failed"]
    error: str = Field(description="Of a failed job a word for the fault; else empty.")
    message: str = Field(description="Of a failed job why, in one sentence; else empty.")


EventView = Annotated[
    QueuedView | StartedView | LoadingView | NoticeView | StepView | MadeView | EndedView, Field(discriminator="type")
]


def event_view(job: Job, event: Event) -> Any:
    """What a client is told of an event."""
    match event:
        case Started():
            return StartedView()
        case Loading():
            return LoadingView(what=event.what)
        case Notice():
            return NoticeView(message=event.message)
        case Progress():
            preview = base64.b64encode(event.preview or b"").decode("ascii")
            url = f"data:image/jpeg;base64,{preview}" if preview else ""
            return StepView(**progress_view(event).model_dump(), preview=url)
        case ImageReady():
            return MadeView(picture=picture_view(job, event))
        case Finished():
            return EndedView(type="finished", error="", message="")
        case Interrupted():
            return EndedView(type="interrupted", error="", message="")
        case Failed():
            return EndedView(type="failed", error=event.kind, message=event.message)
    raise TypeError(f"{event} has no view")


class Numbers:
    """The ids of events. They hold for one run of this program: after another start a job's events are counted anew,
    and a client that comes back is told everything."""

    def __init__(self) -> None:
        self._run = secrets.token_hex(4)

    def id(self, number: int) -> str:
        """The id of a job's event."""
        return f"{self._run}-{number}"

    def after(self, last_event_id: str) -> int:
        """The number of the event that a client had last; 0 for one that begins."""
        known = _ID.fullmatch(last_event_id.strip())
        return int(known[2]) if known and known[1] == self._run else 0


class EventStream(Response):
    """The events of one job from number `after` + 1 on, until it has ended or nobody listens any more."""

    media_type = "text/event-stream"

    def __init__(
        self,
        job: Job,
        *,
        numbers: Numbers,
        after: int,
        outlook: Callable[[], Outlook | None],
        heartbeat: float = HEARTBEAT,
    ):
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._job = job
        self._numbers = numbers
        self._after = after
        self._outlook = outlook
        self._heartbeat = heartbeat

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Send until the end; whatever happens, the job is listened to no longer."""
        wake, gone = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()

        def heard(_: Job) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has closed: so has the client
                loop.call_soon_threadsafe(wake.set)

        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            gone.set()
            wake.set()

        silence = self._job.listen(heard)
        watching = asyncio.create_task(watch())
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            async for text in self._texts(wake, gone):
                await send({"type": "http.response.body", "body": text.encode("ascii"), "more_body": True})
                await asyncio.sleep(0)  # where there is room, nothing else lets the loop hear that the client is gone
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            silence()
            watching.cancel()

    async def _texts(self, wake: asyncio.Event, gone: asyncio.Event) -> AsyncIterator[str]:
        yield f"retry: {RETRY}\n\n"
        if waiting := self._waiting():
            yield waiting
        while not gone.is_set():
            wake.clear()
            for number, event in self._job.since(self._after):
                if gone.is_set():
                    return
                self._after = number
                yield self._text(event, number)
                if isinstance(event, ENDINGS):
                    return
            try:
                async with asyncio.timeout(self._heartbeat):
                    await wake.wait()
            except TimeoutError:
                yield self._waiting() or ": alive\n\n"

    def _waiting(self) -> str:
        if self._job.state != "queued" or not (stands := self._outlook()):
            return ""
        view = QueuedView(position=stands.position, seconds_left=stands.seconds_left)
        return f"event: queued\ndata: {_json(view)}\n\n"

    def _text(self, event: Event, number: int) -> str:
        view = event_view(self._job, event)
        return f"id: {self._numbers.id(number)}\nevent: {view.type}\ndata: {_json(view)}\n\n"


def _json(view: View) -> str:
    return json.dumps(view.model_dump(), separators=(",", ":"))
