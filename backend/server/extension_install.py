"""Installing, updating and removing extensions: what would be done is shown first, then it is done.

All of it takes somebody at this machine while nobody else can reach it (`can_change_code`). Handlers are plain
functions: fetching and resolving take their time on threads.
"""

import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request, Response
from fastapi.concurrency import run_in_threadpool
from packaging.version import Version
from pydantic import Field

from backend.app import App
from backend.extensions.dependencies import Package
from backend.extensions.git_source import GitSource
from backend.extensions.install import Plan
from backend.extensions.manifest import PERMISSIONS
from backend.extensions.package_source import PackageSource
from backend.extensions.zip_source import ZipSource
from backend.server.extension_cards import card, listed_for
from backend.server.extension_models import needed
from backend.server.extension_rights import only_code
from backend.server.json_door import Nothing, Order, order, said
from backend.server.problems import TooLarge
from backend.server.risks import MEBIBYTE, risk

LARGEST_ZIP = 256 * MEBIBYTE
ZIP_TYPES = frozenset({"application/zip", "application/x-zip-compressed", "application/octet-stream", ""})
Words = Annotated[str, Field(max_length=2000)]


class PlanOrder(Order):
    """Where an extension is to come from: a repository at a commit, or a package in a version."""

    kind: Literal["git", "package"]
    address: Words
    pin: Words


class PinOrder(Order):
    """Which one an extension is to become: a commit, a tag or a version."""

    pin: Words


class InstallOrder(Order):
    """A plan that somebody has read."""

    plan: Words


def add_routes(routes: APIRouter, app: App) -> None:
    """All routes of this module."""
    _plan_routes(routes, app)
    _routes_of_one(routes, app)


def _plan_routes(routes: APIRouter, app: App) -> None:
    @routes.post("/plan")
    @risk("code")
    def plan(request: Request, words: Annotated[PlanOrder, Depends(order(PlanOrder))]) -> Response:
        only_code(request)
        address, pin = words.address.strip(), words.pin.strip()
        source = GitSource(url=address, commit=pin) if words.kind == "git" else PackageSource(name=address, version=pin)
        return said(request, planned(app, app.installer.plan(source)))

    @routes.post("/plan/zip")
    @risk("code", largest=LARGEST_ZIP, types=ZIP_TYPES)
    async def plan_zip(request: Request, name: str = "extension.zip") -> Response:
        only_code(request)
        folder = Path(await run_in_threadpool(tempfile.mkdtemp, prefix="atelier-extension-"))
        try:
            path = folder / "extension.zip"
            await _received(request, path)
            source = ZipSource(path=path, name=Path(name).name[:200])
            return said(request, planned(app, await run_in_threadpool(app.installer.plan, source)))
        finally:
            await run_in_threadpool(shutil.rmtree, folder, ignore_errors=True)

    @routes.post("/install")
    @risk("code")
    def install(request: Request, words: Annotated[InstallOrder, Depends(order(InstallOrder))]) -> Response:
        only_code(request)
        return said(request, card(app, app.installer.install(words.plan)))

    @routes.post("/discard")
    @risk("code")
    def discard(request: Request, words: Annotated[InstallOrder, Depends(order(InstallOrder))]) -> Response:
        only_code(request)
        app.installer.discard(words.plan)
        return said(request, {})


def _routes_of_one(routes: APIRouter, app: App) -> None:
    @routes.post("/{id}/newest")
    @risk("code")
    def newest(request: Request, id: str, _: Annotated[Nothing, Depends(order(Nothing))]) -> Response:
        only_code(request)
        found, now = app.installer.newest(id), app.installer.origin(id)
        return said(request, {"pin": found, "same": now is not None and now.pin == found})

    @routes.post("/{id}/update")
    @risk("code")
    def update(request: Request, id: str, words: Annotated[PinOrder, Depends(order(PinOrder))]) -> Response:
        only_code(request)
        return said(request, planned(app, app.installer.plan_update(id, words.pin)))

    @routes.post("/{id}/packages")
    @risk("code")
    def packages(request: Request, id: str, _: Annotated[Nothing, Depends(order(Nothing))]) -> Response:
        only_code(request)
        return said(request, planned(app, app.installer.plan_present(id)))

    @routes.post("/{id}/remove")
    @risk("code")
    def remove(request: Request, id: str, _: Annotated[Nothing, Depends(order(Nothing))]) -> Response:
        only_code(request)
        app.installer.remove(id)
        return said(request, listed_for(request, app))


async def _received(request: Request, path: Path) -> None:
    """Write a body into a file. Raises `TooLarge`."""
    size = 0
    file = await run_in_threadpool(path.open, "wb")
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size > LARGEST_ZIP:
                raise TooLarge(f"A zip file may have {LARGEST_ZIP:,} bytes at most.")
            await run_in_threadpool(file.write, chunk)
    finally:
        await run_in_threadpool(file.close)


def planned(app: App, plan: Plan) -> dict[str, Any]:
    """A plan as the page shows it."""
    manifest, old = plan.manifest, plan.replaces
    return {
        "plan": plan.id,
        "id": manifest.id,
        "title": manifest.name,
        "version": manifest.version,
        "description": manifest.description,
        "author": manifest.author,
        "origin": asdict(plan.origin) if plan.origin else None,
        "before": asdict(plan.before) if plan.before else None,
        "replaces": old.version if old else "",
        "older": old is not None and Version(manifest.version) < Version(old.version),
        "permissions": [PERMISSIONS[word] for word in manifest.permissions],
        "new_permissions": [PERMISSIONS[word] for word in plan.new_permissions],
        "dependencies": list(manifest.dependencies),
        "models": needed(app, manifest),
        "packages": [_package(each) for each in plan.packages],
        "dropped": [_package(each) for each in plan.dropped],
        "remarks": list(plan.remarks),
    }


def _package(package: Package) -> str:
    return f"{package.name} {package.version}"
