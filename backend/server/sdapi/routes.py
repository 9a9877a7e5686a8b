"""The routes that make something, and those that say how far it is."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, TypeVar

from fastapi import APIRouter, Depends, Request, Response
from starlette.concurrency import run_in_threadpool

from backend.any_request import Request as JobRequest
from backend.app import App
from backend.inputs import AT_ONCE
from backend.server.owner import owner_of
from backend.server.risks import risk
from backend.server.sdapi import controlnet, extras, results
from backend.server.sdapi.calls import Call, Calls
from backend.server.sdapi.door import FAULTS, LARGEST_PICTURES, Refused, SdRoute, absent, not_found, said, schema, wish
from backend.server.sdapi.fields import (
    ExtraBatch,
    Extras,
    ExtraSingle,
    Generation,
    Img2Img,
    Interrogate,
    PngInfo,
    Txt2Img,
)
from backend.server.sdapi.generation import Translator
from backend.server.sdapi.list_routes import add_lists
from backend.server.sdapi.models import Models
from backend.server.sdapi.options import Options, OptionStore
from backend.server.sdapi.pictures import put
from backend.server.sdapi.progress import current, progress
from backend.server.sdapi.watch import Watch

T = TypeVar("T")

PREFIX = "/sdapi/v1"
NO_INTERROGATOR = "There is no interrogator here: pictures cannot be described."


def router(app: App) -> APIRouter:
    """Every route of this interface."""
    models = Models(app)
    options = Options(OptionStore(app.options.data_dir / "api-options.json"), app.settings, models)
    desk = Desk(app, models, options)
    routes = APIRouter(prefix=PREFIX, route_class=SdRoute, tags=["AUTOMATIC1111"], responses=FAULTS)
    _add_makers(routes, desk)
    _add_state(routes, desk)
    add_lists(routes, app, models, options)
    both = APIRouter()
    both.include_router(routes)
    both.include_router(controlnet.router(app))
    return both


class Desk:
    """Takes bodies, submits their jobs, and waits for these without a thread: any number of clients may wait. A client
    that goes away leaves its job, as AUTOMATIC1111 does."""

    def __init__(self, app: App, models: Models, options: Options):
        self.app = app
        self.watch = Watch(app.queue)
        self.calls = Calls(app)
        self._models = models
        self._options = options
        self._translator = Translator(app, models, options)
        # As many as are decoded at once: more would wait in the threads that all other routes work on.
        self._readers = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="sdapi")

    async def reading(self, work: Callable[[], T]) -> T:
        """Do something with pictures that were sent."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, work)

    async def generate(self, asked: Generation, owner: str) -> Response:
        """What txt2img and img2img answer. Raises `UserError`."""

        def begin() -> tuple[Generation, Call]:
            filled = self._translator.filled(asked)
            return filled, self.calls.begin(self._translator.asked(filled, owner), owner)

        understood, call = await (self.reading(begin) if isinstance(asked, Img2Img) else run_in_threadpool(begin))
        for job in call.all:
            await self.watch.end(job)
        return await run_in_threadpool(self._answer, call, understood, owner)

    def _answer(self, call: Call, understood: Generation, owner: str) -> Response:
        answer = said(results.answer(call, understood, self._models))
        if not understood.override_settings_restore_afterwards:
            self._options.keep(owner, understood.override_settings)
        return answer

    async def enlarge(self, asked: Extras, pictures: list[tuple[str, str]], owner: str) -> tuple[list[str], str]:
        """What the extras answer, for pictures and what each is called. Raises `UserError`."""

        def begin() -> tuple[tuple[str, ...], JobRequest | None]:
            names = tuple(put(self.app.inputs, text, what).name for text, what in pictures)
            return names, extras.upscale_request(asked, names, self._models)

        names, request = await self.reading(begin)
        if request is None:
            return [await run_in_threadpool(extras.as_it_was, self.app.inputs, name) for name in names], ""
        job = await run_in_threadpool(self.app.queue.submit, request, owner)
        await self.watch.end(job)
        return await run_in_threadpool(results.extras, job)


def _add_makers(routes: APIRouter, desk: Desk) -> None:
    @routes.post("/txt2img", openapi_extra=schema(Txt2Img))
    @risk("make", largest=LARGEST_PICTURES)
    async def txt2img(request: Request, body: Annotated[Txt2Img, Depends(wish(Txt2Img))]) -> Response:
        return await desk.generate(body, owner_of(request))

    @routes.post("/img2img", openapi_extra=schema(Img2Img))
    @risk("make", largest=LARGEST_PICTURES)
    async def img2img(request: Request, body: Annotated[Img2Img, Depends(wish(Img2Img))]) -> Response:
        return await desk.generate(body, owner_of(request))

    @routes.post("/extra-single-image", openapi_extra=schema(ExtraSingle))
    @risk("make", largest=LARGEST_PICTURES)
    async def single(request: Request, body: Annotated[ExtraSingle, Depends(wish(ExtraSingle))]) -> Response:
        if not body.image:
            raise not_found("Image not found: image must be a picture in base64.")
        images, words = await desk.enlarge(body, [(body.image, "The image")], owner_of(request))
        return said({"image": images[0] if images else "", "html_info": words})

    @routes.post("/extra-batch-images", openapi_extra=schema(ExtraBatch))
    @risk("make", largest=LARGEST_PICTURES)
    async def batch(request: Request, body: Annotated[ExtraBatch, Depends(wish(ExtraBatch))]) -> Response:
        if not body.imageList:
            raise Refused("imageList is empty: it must hold pictures.", status=422)
        named = [(each.data, f"Picture {each.name[:60]!r}") for each in body.imageList]
        images, words = await desk.enlarge(body, named, owner_of(request))
        return said({"images": images, "html_info": words})

    @routes.post("/png-info", openapi_extra=schema(PngInfo))
    @risk("read", largest=LARGEST_PICTURES)
    async def png_info(body: Annotated[PngInfo, Depends(wish(PngInfo))]) -> Response:
        return said(await desk.reading(lambda: extras.png_info(body.image)))

    @routes.post("/interrogate", openapi_extra=schema(Interrogate))
    @risk("make", largest=LARGEST_PICTURES)
    async def interrogate(body: Annotated[Interrogate, Depends(wish(Interrogate))]) -> Response:
        if not body.image:
            raise not_found("Image not found: image must be a picture in base64.")
        raise absent(NO_INTERROGATOR)


def _add_state(routes: APIRouter, desk: Desk) -> None:
    queue = desk.app.queue

    @routes.get("/progress")
    @risk("read")
    async def how_far(request: Request, skip_current_image: bool = False) -> Response:
        job = current(queue, owner_of(request))
        call = desk.calls.of(job) if job else None
        return said(progress(queue, desk.watch, job, call, with_image=not skip_current_image))

    # Plain functions run on threads: the store flushes to the disk.
    @routes.post("/interrupt")
    @risk("make")
    def interrupt(request: Request) -> Response:
        job = current(queue, owner_of(request))
        if job is not None:
            desk.calls.end(job)
        return said({})

    @routes.post("/skip")
    @risk("make")
    def skip(request: Request) -> Response:
        job = current(queue, owner_of(request))
        if job is not None and job.state == "running":
            job.skip()
        return said(None)
