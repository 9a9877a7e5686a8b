"""The live channel: one WebSocket per window, through which everything that happens to the owner's jobs arrives.

To the window, as JSON text:

* ``{"type": "status", ...}`` what is loaded and on what (the fields of `ModelStatus`)
* ``{"type": "jobs", "jobs": [...]}`` all of the owner's jobs in their order, whenever any of them changes; `place`
  counts everybody's queued jobs from 1, so it changes with what others do
* ``{"type": "pictures", "job": id, "pictures": [...]}`` pictures that this window has not been told of
* ``{"type": "progress", "job": id, "step": ...}`` the newest step; answered with ``{"op": "seen"}``
* ``{"type": "models", "version": n}`` there are other models than before, or they are described otherwise; at most
  twice a second
* ``{"type": "works", "works": [...], "downloads": [...]}`` what is fetched, converted and merged, at most five times a
  second
* ``{"type": "extensions", "stamp": "...", "revision": n, "failures": n, "works": [...]}`` which extensions are on, as a
  word that is another one when a page made now would be another one, how often one has failed, and the background jobs
* ``{"type": "problem", "message": ...}`` the sentence that answers an order which could not be followed
* ``{"type": "alive"}`` nothing happened for a while

and as bytes a preview: `ID_LENGTH` ASCII characters of the job's id, then a JPEG. It follows its progress message; the
next progress is sent only when the last one was seen, so that a slow window skips and nothing piles up anywhere.

From the window: ``{"op": "interrupt" | "skip" | "cancel_queued" | "seen"}``, ``{"op": "cancel" | "retry" | "forget",
"job": id}`` and ``{"op": "move", "job": id, "places": n}``. All of them reach the owner's own jobs only.

A window that connects anew is told everything from the start: a reload loses nothing.
"""

import asyncio
import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from enum import Flag, auto
from typing import Any

from fastapi import APIRouter, WebSocket, WebSocketDisconnect

from backend.app import App
from backend.errors import InvalidRequest, UserError
from backend.events import ENDINGS, Failed, ImageReady, Loading, Notice, Progress
from backend.extensions.offered import stamp_of
from backend.grids.request import GridRequest
from backend.jobs import Job
from backend.server.extension_cards import works as extension_works
from backend.server.model_works import works
from backend.server.owner import owner_of, require
from backend.server.risks import risk

ID_LENGTH = 32
EXCERPT = 240  # characters of a prompt that a list shows
HEARTBEAT = 20.0  # seconds of silence after which a window is told that the channel lives
LONGEST_ORDER = 1000  # characters
POLICY_VIOLATION = 1008  # RFC 6455, section 7.4.1


class News(Flag):
    """What a window has not been told yet."""

    STATUS = auto()
    JOBS = auto()
    PROGRESS = auto()
    MODELS = auto()
    WORKS = auto()
    EXTENSIONS = auto()


EVERYTHING = News.STATUS | News.JOBS | News.PROGRESS | News.MODELS | News.WORKS | News.EXTENSIONS
# Seconds between two messages about what can change many times in one.
PAUSES = {News.MODELS: 0.5, News.WORKS: 0.2, News.EXTENSIONS: 0.2}


def router(app: App) -> APIRouter:
    """The route ``/atelier/live``."""
    channel = Channel(app)
    routes = APIRouter()

    @routes.websocket("/atelier/live")
    @risk("read")
    async def live(socket: WebSocket) -> None:
        await channel.serve(socket)

    return routes


class Channel:
    """All open windows, and the newest preview of each running job (a progress without one must not lose it)."""

    def __init__(self, app: App):
        self._app = app
        self._windows: set[Window] = set()
        self._previews: dict[str, bytes] = {}
        self._stamp = ""
        app.queue.subscribe(self._on_job)
        app.status.subscribe(lambda: self._note(News.STATUS))
        app.overview.subscribe(lambda: self._note(News.MODELS))
        app.chores.subscribe(lambda: self._note(News.WORKS))
        app.downloads.subscribe(lambda: self._note(News.WORKS))
        app.extensions.works.subscribe(lambda: self._note(News.EXTENSIONS))
        app.extensions.on_failure(lambda: self._note(News.EXTENSIONS))

    async def serve(self, socket: WebSocket) -> None:
        """Tell one window everything until it goes away."""
        await socket.accept()
        if not self._stamp:  # now, and not before there was a page: that is made anew first, and told of afterwards
            self._stamp = stamp_of(self._app.extensions.active())
            self._app.extensions.subscribe(self._on_extensions)
        try:
            owner = owner_of(socket)
        except UserError as error:
            await socket.send_text(_problem(str(error)))
            await socket.close(POLICY_VIOLATION)
            return
        window = Window(socket, owner, self._app, self._previews.get, self._extensions)
        self._windows.add(window)
        try:
            await window.serve()
        finally:
            self._windows.discard(window)

    def _on_job(self, job: Job) -> None:
        events = job.since()
        newest = events[-1][1] if events else None
        if isinstance(newest, Progress) and newest.preview:
            self._previews[job.id] = newest.preview
        elif isinstance(newest, ENDINGS):
            self._previews.pop(job.id, None)
        news = News.PROGRESS if isinstance(newest, Progress) else News.JOBS
        for window in tuple(self._windows):
            if window.owner == job.owner or news is News.JOBS:  # the places in line are everybody's
                window.note(news)

    def _on_extensions(self) -> None:
        self._stamp = stamp_of(self._app.extensions.active())
        self._note(News.EXTENSIONS)

    def _extensions(self) -> dict[str, Any]:
        extensions = self._app.extensions
        return {
            "type": "extensions",
            "stamp": self._stamp,
            "revision": extensions.revision,
            "failures": extensions.failures,
            "works": extension_works(self._app),
        }

    def _note(self, news: News) -> None:
        for window in tuple(self._windows):
            window.note(news)


class Window:
    """One open page. What it is told is read off the jobs when it is sent, so it is never older than it must be."""

    def __init__(
        self,
        socket: WebSocket,
        owner: str,
        app: App,
        preview: Callable[[str], bytes | None],
        extensions: Callable[[], dict[str, Any]],
    ):
        self.owner = owner
        self._socket = socket
        self._app = app
        self._preview = preview
        self._extensions = extensions
        self._loop = asyncio.get_running_loop()
        self._news = EVERYTHING
        self._due: set[News] = set()
        self._told_at: dict[News, float] = {}
        self._wake = asyncio.Event()
        self._wake.set()
        self._seen = True
        self._told_rows: list[dict[str, Any]] | None = None
        self._told_pictures: dict[str, int] = {}
        self._told_progress: tuple[str, int] = ("", 0)
        self._told_preview: bytes | None = None

    def note(self, news: News) -> None:
        """Something happened; called from any thread, returns at once."""
        with contextlib.suppress(RuntimeError):  # the loop has closed: so has the window
            self._loop.call_soon_threadsafe(self._note, news)

    def _note(self, news: News) -> None:
        pause = PAUSES.get(news, 0.0)
        wait = self._told_at.get(news, -pause) + pause - self._loop.time()
        if news in self._due:
            return
        if wait > 0:
            self._due.add(news)
            self._loop.call_later(wait, self._note_now, news)
        else:
            self._note_now(news)

    def _note_now(self, news: News) -> None:
        self._due.discard(news)
        self._news |= news
        self._wake.set()

    async def serve(self) -> None:
        """Send and receive until the window closes."""
        tasks = {asyncio.create_task(self._send()), asyncio.create_task(self._receive())}
        done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        for task in done:
            with contextlib.suppress(WebSocketDisconnect):
                task.result()

    async def _send(self) -> None:
        while True:
            try:
                async with asyncio.timeout(HEARTBEAT):
                    await self._wake.wait()
            except TimeoutError:
                await self._socket.send_text(json.dumps({"type": "alive"}))
                continue
            self._wake.clear()
            news, self._news = self._news, News(0)
            if News.STATUS in news:
                await self._socket.send_text(json.dumps({"type": "status", **asdict(self._app.status.value)}))
            if News.JOBS in news:
                for message in self._jobs():
                    await self._socket.send_text(json.dumps(message))
            if News.PROGRESS in news:
                await self._send_progress()
            if News.MODELS in news:
                await self._tell_of(News.MODELS, {"type": "models", "version": self._app.overview.version})
            if News.WORKS in news:
                # Not on the loop: the list is locked while the disk is written to.
                await self._tell_of(News.WORKS, {"type": "works", **await asyncio.to_thread(works, self._app)})
            if News.EXTENSIONS in news:
                await self._tell_of(News.EXTENSIONS, self._extensions())

    async def _tell_of(self, news: News, message: dict[str, Any]) -> None:
        self._told_at[news] = self._loop.time()
        await self._socket.send_text(json.dumps(message))

    def _jobs(self) -> Iterator[dict[str, Any]]:
        jobs = self._app.queue.jobs(self.owner)
        outlook = self._app.queue.outlook()
        places = {id: stands.position for id, stands in outlook.items()}
        rows = list(_rows(jobs, places))
        if rows != self._told_rows:
            self._told_rows = rows
            # A time alone is no news: the page counts it down.
            begins = {id: stands.begins_in for id, stands in outlook.items()}
            yield {"type": "jobs", "jobs": [{**row, "begins_in": begins.get(row["id"])} for row in rows]}
        for job in jobs:
            images = job.images
            told = self._told_pictures.get(job.id, 0)
            if len(images) > told:
                self._told_pictures[job.id] = len(images)
                pictures = [_picture(job, image) for image in images[told:]]
                yield {"type": "pictures", "job": job.id, "pictures": pictures}

    async def _send_progress(self) -> None:
        if not self._seen:
            self._news |= News.PROGRESS  # sent when the window has seen the last one
            return
        for job in self._app.queue.jobs(self.owner):
            progress = next(((n, e) for n, e in job.since() if isinstance(e, Progress)), None)
            if job.state != "running" or progress is None or (job.id, progress[0]) == self._told_progress:
                continue
            self._told_progress = (job.id, progress[0])
            self._seen = False
            await self._socket.send_text(json.dumps({"type": "progress", "job": job.id, **_step(progress[1])}))
            preview = self._preview(job.id)
            if preview and preview is not self._told_preview:
                self._told_preview = preview
                await self._socket.send_bytes(job.id.encode("ascii") + preview)
            return  # one worker: at most one job runs

    async def _receive(self) -> None:
        while (message := await self._socket.receive())["type"] == "websocket.receive":
            text = message.get("text") or ""
            try:
                order = _order(text)
                if order["op"] == "seen":
                    self._seen = True
                    self._wake.set()
                else:
                    require(self._socket, "make")  # the guard saw somebody who looks
                    # Not on the loop: the store flushes to the disk.
                    await asyncio.to_thread(self._obey, order)
            except UserError as error:
                await self._socket.send_text(_problem(str(error)))

    def _obey(self, order: dict[str, Any]) -> None:
        queue = self._app.queue
        running = [job for job in queue.jobs(self.owner) if job.state == "running"]
        match order["op"]:
            case "interrupt":
                for job in running:
                    queue.cancel(job)
            case "skip":
                for job in running:
                    job.skip()
            case "cancel_queued":
                queue.cancel_queued(self.owner)
            case "cancel":
                queue.cancel(self._named(order))
            case "retry":
                queue.retry(self._named(order))
            case "forget":
                queue.forget(self._named(order))
            case "move":
                queue.move(self._named(order), _places(order))
            case other:
                raise InvalidRequest(f"The live channel knows no order called {str(other)[:40]!r}.")

    def _named(self, order: dict[str, Any]) -> Job:
        return self._app.queue.find(str(order.get("job")), self.owner)


def _order(text: str) -> dict[str, Any]:
    try:
        order = json.loads(text) if len(text) <= LONGEST_ORDER else None
    except ValueError:
        order = None
    if not isinstance(order, dict) or "op" not in order:
        raise InvalidRequest("The live channel expects a short JSON object with an 'op'.")
    return order


def _places(order: dict[str, Any]) -> int:
    places = order.get("places")
    if isinstance(places, bool) or not isinstance(places, int):
        raise InvalidRequest(f"'places' must be a whole number, not {str(places)[:40]!r}.")
    return places


def _problem(message: str) -> str:
    return json.dumps({"type": "problem", "message": message})


def _rows(jobs: list[Job], places: dict[str, int]) -> Iterator[dict[str, Any]]:
    for job in jobs:
        state, request = job.state, job.request
        events = [event for _, event in job.since()]
        newest = events[-1] if events else None
        yield {
            "id": job.id,
            "state": state,
            "created": job.created,
            "place": places.get(job.id, 0) if state == "queued" else 0,
            "message": newest.message if isinstance(newest, Failed) else "",
            "notices": [event.message for event in events if isinstance(event, Notice)],
            "loading": newest.what if isinstance(newest, Loading) else "",
            "prompt": request.prompt[:EXCERPT],
            "checkpoint": request.checkpoint,
            "sampler": request.sampler,
            "steps": request.steps,
            "width": request.width,
            "height": request.height,
            "seed": str(request.seed),  # JavaScript's numbers end at 2**53
            "count": request.pictures,
            "grid": request.place if isinstance(request, GridRequest) else "",
        }


def _picture(job: Job, image: ImageReady) -> dict[str, Any]:
    return {
        "index": image.index,
        "seed": str(image.seed),
        "width": image.width,
        "height": image.height,
        "url": f"atelier/pictures/{job.id}/{image.index}",
        "file": str(image.path),
        "infotext": image.infotext,
    }


def _step(progress: Progress) -> dict[str, Any]:
    return {
        "step": progress.step,
        "steps": progress.steps,
        "batch": progress.batch,
        "batches": progress.batches,
        "rate": progress.rate,
        "remaining": progress.remaining,
    }
