"""The routes that touch the files of all: trash, conversion, merging, and which folders are searched."""

import os
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from pydantic import Field

from backend.app import App
from backend.errors import UserError
from backend.model_manager.catalog import FolderState
from backend.model_manager.conversion.merge_recipe import MergeRecipe, Method, Precision, inpainting_recipe
from backend.model_manager.conversion.tensor_file import SUFFIX
from backend.model_manager.downloads.intake import safe_name
from backend.model_manager.identity import Kind
from backend.model_manager.inventory.record import WORDS, ModelRecord
from backend.model_manager.inventory.scan import Format
from backend.model_manager.inventory.trash import restore, trash
from backend.model_manager.inventory.trees import ModelFolder, layout_of
from backend.server.json_door import Nothing, Order, is_local, only_local, order, said
from backend.server.model_works import works
from backend.server.risks import risk

LONGEST_PATH = 4096  # characters
Id = Annotated[str | None, Field(max_length=64)]


class RestoreOrder(Order):
    """What `trash` gave for a model."""

    trashed: str


class FolderOrder(Order):
    """A folder to search, and the kind of models in it if it holds one kind only."""

    path: Annotated[str, Field(min_length=1, max_length=LONGEST_PATH)]
    kind: Kind | None = None


class PathOrder(Order):
    """A folder that was added."""

    path: Annotated[str, Field(min_length=1, max_length=LONGEST_PATH)]


class MergeOrder(Order):
    """A merge of `a`, `b` and perhaps `c`; or with `inpainting` the inpainting version of `checkpoint`, by what the two
    bases differ in. Models are named by their ids."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    a: Id = None
    b: Id = None
    c: Id = None
    method: Method = "weighted sum"
    multiplier: Annotated[float, Field(allow_inf_nan=False)] = 0.3
    precision: Precision = "float16"
    vae: Id = None
    inpainting: bool = False
    checkpoint: Id = None
    base: Id = None
    inpainting_base: Id = None


def add_routes(routes: APIRouter, app: App) -> None:
    """``works``, ``folders``, ``merge``, ``restore``, ``ID/trash`` and ``ID/convert``, with what belongs to them."""
    _work_routes(routes, app)
    _folder_routes(routes, app)
    _trash_routes(routes, app)


def _work_routes(routes: APIRouter, app: App) -> None:
    @routes.get("/works")
    @risk("read")
    def all_works(request: Request) -> Response:
        return said(request, works(app))

    @routes.post("/works/{work}/cancel", dependencies=[Depends(only_local)])
    @risk("manage")
    def cancel(request: Request, work: str, _: Annotated[Nothing, Depends(order(Nothing))]) -> Response:
        app.chores.cancel(work)
        return said(request, {})

    @routes.post("/works/{work}/forget", dependencies=[Depends(only_local)])
    @risk("manage")
    def forget(request: Request, work: str, _: Annotated[Nothing, Depends(order(Nothing))]) -> Response:
        app.chores.forget(work)
        return said(request, {})

    @routes.post("/merge", dependencies=[Depends(only_local)])
    @risk("manage")
    def merge(request: Request, wish: Annotated[MergeOrder, Depends(order(MergeOrder))]) -> Response:
        return said(request, {"work": app.chores.merge(_recipe(app, wish), _target(app, wish.name)).id})

    @routes.post("/{id}/convert", dependencies=[Depends(only_local)])
    @risk("manage")
    def convert(request: Request, id: str, _: Annotated[Nothing, Depends(order(Nothing))]) -> Response:
        return said(request, {"work": app.chores.convert(app.overview.find(id).record).id})


def _folder_routes(routes: APIRouter, app: App) -> None:
    @routes.get("/folders")
    @risk("read")
    def folders(request: Request) -> Response:
        states = app.catalog.folders() if is_local(request) else []
        return said(request, {"folders": [_folder(state) for state in states]})

    @routes.post("/folders", dependencies=[Depends(only_local)])
    @risk("manage")
    def add(request: Request, wish: Annotated[FolderOrder, Depends(order(FolderOrder))]) -> Response:
        app.catalog.add_folder(ModelFolder(path=_path(wish.path), kind=wish.kind or Kind.UNKNOWN))
        return folders(request)

    @routes.post("/folders/remove", dependencies=[Depends(only_local)])
    @risk("manage")
    def remove(request: Request, wish: Annotated[PathOrder, Depends(order(PathOrder))]) -> Response:
        app.catalog.remove_folder(_path(wish.path))
        return folders(request)


def _trash_routes(routes: APIRouter, app: App) -> None:
    @routes.post("/{id}/trash", dependencies=[Depends(only_local)])
    @risk("manage")
    def throw_away(request: Request, id: str, _: Annotated[Nothing, Depends(order(Nothing))]) -> Response:
        record = app.overview.find(id).record
        if app.residency:
            app.residency.unload(record)  # Windows moves nothing that is mapped
        token = trash(record.path, _roots(app))
        app.catalog.refresh()
        return said(request, {"trashed": token})

    @routes.post("/restore", dependencies=[Depends(only_local)])
    @risk("manage")
    def put_back(request: Request, wish: Annotated[RestoreOrder, Depends(order(RestoreOrder))]) -> Response:
        paths = restore(wish.trashed, _roots(app))
        app.catalog.refresh()
        return said(request, {"restored": [str(path) for path in paths]})


def _roots(app: App) -> list[Path]:
    return [folder.path for folder in app.catalog.roots()]


def _path(text: str) -> Path:
    if "\0" in text:
        raise UserError("A path has no such sign in it.")
    return Path(os.path.expandvars(text.strip())).expanduser()


def _folder(state: FolderState) -> dict[str, str | bool]:
    folder = state.folder
    layout = layout_of(folder.path) if folder.kind is Kind.UNKNOWN else None
    return {
        "path": str(folder.path),
        "kind": folder.kind.value,
        "there": state.there,
        "added": state.added,
        "title": layout[0].title if layout else f"{WORDS[folder.kind]}s",
    }


def _recipe(app: App, wish: MergeOrder) -> MergeRecipe:
    if wish.inpainting:
        return inpainting_recipe(
            inpainting_base=_file(app, wish.inpainting_base, "inpainting base"),
            plain_base=_file(app, wish.base, "base"),
            checkpoint=_file(app, wish.checkpoint, "checkpoint"),
        )
    return MergeRecipe(
        a=_file(app, wish.a, "first checkpoint"),
        b=_file(app, wish.b, "second checkpoint"),
        c=_file(app, wish.c, "third checkpoint") if wish.c else None,
        method=wish.method,
        multiplier=wish.multiplier,
        precision=wish.precision,
        vae=_file(app, wish.vae, "VAE", Kind.VAE) if wish.vae else None,
    )


def _file(app: App, id: str | None, part: str, kind: Kind = Kind.CHECKPOINT) -> Path:
    """The file that a part of a merge names."""
    if not id:
        raise UserError(f"The merge needs a {part}.")
    record: ModelRecord = app.overview.find(id).record
    if record.kind is not kind:
        raise UserError(f"{record.path.name} is no {WORDS[kind]}.")
    if record.format is not Format.SAFETENSORS:
        raise UserError(f"{record.path.name} is no safetensors file: convert it first, or choose another {part}.")
    return record.path


def _target(app: App, name: str) -> Path:
    stem = name.strip()
    safe = safe_name((stem[: -len(SUFFIX)] if stem.lower().endswith(SUFFIX) else stem) + SUFFIX)
    if not safe.lower().endswith(SUFFIX) or len(safe) == len(SUFFIX):
        raise UserError(f"{name[:80]!r} cannot be the name of a file.")
    return app.options.own_folder(Kind.CHECKPOINT) / safe
