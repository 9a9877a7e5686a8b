"""The routes of what requests name: models, samplers, schedules, upscalers, and the pictures that were put in."""

import asyncio
import hashlib
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response

from backend.app import App
from backend.errors import InvalidRequest, UserError
from backend.extensions.extension import Extension
from backend.extensions.extras import here
from backend.imaging.decode import MEDIA_TYPES as PICTURE_MEDIA_TYPES
from backend.infotext.again import again
from backend.infotext.apply import propose
from backend.infotext.known_models import Missing
from backend.infotext.recipe import Recipe, read_recipe
from backend.inputs import AT_ONCE, StoredInput
from backend.model_manager.identity import Kind
from backend.request import GenerationRequest
from backend.sampling.samplers import SAMPLERS
from backend.sampling.schedules import AUTOMATIC, SCHEDULES
from backend.server.inputs import LARGEST, PICTURE_TYPES, picture_body
from backend.server.jobs_api.answers import answer, file_answer
from backend.server.jobs_api.views import (
    ExtensionList,
    ExtensionView,
    InputView,
    MissingView,
    ModelList,
    ModelView,
    NamedList,
    NamedView,
    PairView,
    PngInfo,
    model_view,
)
from backend.server.problems import NotFound
from backend.server.risks import risk

Sha256 = Annotated[
    str, Path(alias="sha256", description="Of the file's bytes, in hexadecimal.", pattern="^[0-9a-f]{64}$")
]
BYTES: Any = {
    "requestBody": {
        "required": True,
        "description": "A picture's file as it is.",
        "content": {
            kind: {"schema": {"type": "string", "format": "binary"}}
            for kind in ("image/png", "image/jpeg", "image/webp", "application/octet-stream")
        },
    }
}
FILE: Any = {
    200: {
        "description": "The bytes as they came.",
        "content": {
            kind: {"schema": {"type": "string", "format": "binary"}}
            for kind in sorted(set(PICTURE_MEDIA_TYPES.values()))
        },
    }
}


def add_routes(routes: APIRouter, app: App) -> None:
    """All routes of this module."""
    _models(routes, app)
    _tables(routes, app)
    _extensions(routes, app)
    # Not the threads that all routes work on: these hold a whole picture.
    readers = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="inputs")
    _inputs(routes, app, readers)
    _png_info(routes, app, readers)


def _models(routes: APIRouter, app: App) -> None:
    def listed(kind: Kind | None) -> Response:
        _, models = app.overview.models()
        views = [model_view(each) for each in models if kind in (None, each.record.kind)]
        return answer(ModelList.model_construct(models=sorted(views, key=lambda view: (view.kind, view.name))))

    @routes.get("/models", response_model=ModelList, tags=["models"])
    @risk("read")
    def models(kind: Annotated[Kind | None, Query(description="Only those of this kind.")] = None) -> Response:
        """The model files that there are, those that cannot be used with the reason."""
        return listed(kind)

    @routes.get("/loras", response_model=ModelList, tags=["models"])
    @risk("read")
    def loras() -> Response:
        """The LoRAs: a prompt puts one on by ``<lora:NAME:WEIGHT>``."""
        return listed(Kind.LORA)

    @routes.get("/models/{id}", response_model=ModelView, tags=["models"])
    @risk("read")
    def model(id: Annotated[str, Path(max_length=100)]) -> Response:
        """One model."""
        return answer(model_view(app.overview.find(id)))


def _tables(routes: APIRouter, app: App) -> None:
    @routes.get("/samplers", response_model=NamedList, tags=["models"])
    @risk("read")
    async def samplers() -> Response:
        """The sampling algorithms."""
        return answer(
            NamedList(names=[NamedView(name=row.name, aliases=list(row.aliases)) for row in SAMPLERS.values()])
        )

    @routes.get("/schedules", response_model=NamedList, tags=["models"])
    @risk("read")
    async def schedules() -> Response:
        """The ways to space noise levels; Automatic is what suits the sampler."""
        rows = [NamedView(name=row.name, aliases=list(row.aliases)) for row in SCHEDULES.values()]
        return answer(NamedList(names=[NamedView(name=AUTOMATIC, aliases=[]), *rows]))

    @routes.get("/upscalers", response_model=NamedList, tags=["models"])
    @risk("read")
    def upscalers() -> Response:
        """What can enlarge a picture."""
        return answer(NamedList(names=[NamedView(name=name, aliases=[]) for name in app.upscalers.names()]))


def _extensions(routes: APIRouter, app: App) -> None:
    @routes.get("/extensions", response_model=ExtensionList, tags=["models"])
    @risk("read")
    def extensions() -> Response:
        """The extensions that are on, and what a request may tell each of them."""
        return answer(ExtensionList(extensions=[_extension(each) for each in app.extensions.active()]))


def _extension(extension: Extension) -> ExtensionView:
    parameters = extension.brought.parameters
    return ExtensionView(
        id=extension.id,
        title=extension.title,
        version=extension.version,
        tabs=list(parameters.tabs) if parameters else [],
        parameters=parameters.kind.model_json_schema() if parameters else None,
    )


def _inputs(routes: APIRouter, app: App, readers: ThreadPoolExecutor) -> None:
    async def kept(data: bytes) -> Response:
        stored = await asyncio.get_running_loop().run_in_executor(readers, app.inputs.put, data)
        return answer(_input_view(stored))

    @routes.post("/inputs", response_model=InputView, openapi_extra=BYTES, tags=["pictures"])
    @risk("make", largest=LARGEST, types=PICTURE_TYPES)
    async def put(request: Request) -> Response:
        """Put a picture in, so that requests can name it."""
        return await kept(await picture_body(request))

    @routes.put("/inputs/{sha256}", response_model=InputView, openapi_extra=BYTES, tags=["pictures"])
    @risk("make", largest=LARGEST, types=PICTURE_TYPES)
    async def put_named(request: Request, name: Sha256) -> Response:
        """The same under the name that it must have: bytes of another sha256 are refused."""
        data = await picture_body(request)
        found = await asyncio.get_running_loop().run_in_executor(readers, lambda: hashlib.sha256(data).hexdigest())
        if found != name:
            raise InvalidRequest(
                f"The bytes have the sha256 {found}, not {name}: they did not arrive as they were sent."
            )
        return await kept(data)

    @routes.get("/inputs/{sha256}", response_model=InputView, tags=["pictures"])
    @risk("read")
    def known(name: Sha256) -> Response:
        """Whether a picture is there already, and its size: who knows its sha256 need not send it twice."""
        try:
            width, height = app.inputs.size(name)
        except UserError as error:
            raise NotFound(str(error)) from error
        return answer(InputView(name=name, width=width, height=height))

    @routes.get("/inputs/{sha256}/bytes", response_class=Response, responses=FILE, tags=["pictures"])
    @risk("read")
    def fetch(name: Sha256) -> Response:
        """A picture that was put in, as it came."""
        try:
            path, kind = app.inputs.path(name), app.inputs.media_type(name)
        except UserError as error:
            raise NotFound(str(error)) from error
        return file_answer(path, kind, name)


def _input_view(stored: StoredInput) -> InputView:
    return InputView(name=stored.name, width=stored.width, height=stored.height)


def _png_info(routes: APIRouter, app: App, readers: ThreadPoolExecutor) -> None:
    @routes.post("/png-info", response_model=PngInfo, openapi_extra=BYTES, tags=["pictures"])
    @risk("read", largest=LARGEST, types=PICTURE_TYPES)
    async def png_info(request: Request) -> Response:
        """How a picture was made, as its file says, whichever program wrote it."""
        data = await picture_body(request)
        return answer(await asyncio.get_running_loop().run_in_executor(readers, _said, app, data))


def _said(app: App, data: bytes) -> PngInfo:
    recipe = read_recipe(data)
    if recipe is None:
        remark = "This file does not say how it was made."
        return PngInfo.model_construct(
            **dict.fromkeys(("origin", "place", "text", "prompt", "negative_prompt"), ""),
            values=[],
            request=None,
            missing=[],
            remarks=[remark],
        )
    request, missing, remarks = _meant(app, recipe)
    return PngInfo.model_construct(
        origin=recipe.origin,
        place=recipe.place,
        text=recipe.text,
        prompt=recipe.infotext.prompt,
        negative_prompt=recipe.infotext.negative_prompt,
        values=[PairView(key=key, value=value) for key, value in recipe.infotext.pairs],
        request=request,
        missing=[
            MissingView(kind=each.kind, name=each.name, hash=each.hash, sentence=each.sentence) for each in missing
        ],
        remarks=[*remarks, *recipe.not_understood],
    )


def _meant(app: App, recipe: Recipe) -> tuple[GenerationRequest | None, tuple[Missing, ...], tuple[str, ...]]:
    """The request that a recipe means, if it means one, the models that are missing for it, and remarks."""
    extensions = here(app.extensions.active())
    try:
        if recipe.request:
            made = again(recipe, app.catalog, extensions)
            return made.request, made.missing, made.remarks
        proposal = propose(recipe.infotext, app.catalog, extensions)
        left_out = tuple(f"{each.key}: {each.reason}" for each in proposal.not_applied)
        return proposal.request(GenerationRequest()), proposal.missing, (*proposal.remarks, *left_out)
    except InvalidRequest as error:  # an upscale of ours, or values that do not go together
        return None, (), (str(error),)
