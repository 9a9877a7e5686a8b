"""Extensions as the page has them: what each is, how it is, and what it may be told."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from fastapi import Request

from backend.app import App
from backend.extensions.extension import Extension
from backend.extensions.manifest import PERMISSIONS
from backend.extensions.offered import stamp_of
from backend.extensions.works import ExtensionWork
from backend.server.arrival import can_change_code, is_local
from backend.server.extension_models import needed
from backend.server.extension_rights import NOT_HERE
from backend.server.owner import person_of
from backend.server.people import may

# What one brings, in words: each with the name of the list in `Brought` that holds it.
BRINGS = (
    ("a script", "scripts", "scripts"),
    ("a sampler", "samplers", "samplers"),
    ("a schedule", "schedules", "schedules"),
    ("a guidance method", "guidances", "guidance methods"),
    ("an upscaler", "upscalers", "upscalers"),
    ("an image operation", "operations", "image operations"),
    ("a kind of token", "extra_networks", "kinds of tokens"),
    ("an axis", "axes", "axes"),
    ("a page of cards", "card_pages", "pages of cards"),
    ("a tab", "tabs", "tabs"),
    ("a button below results", "gallery_actions", "buttons below results"),
    ("a button at models", "card_actions", "buttons at models"),
    ("a canvas tool", "canvas_tools", "canvas tools"),
)


def listed_for(request: Request, app: App) -> dict[str, Any]:
    """All there are, with their background jobs, and what whoever asks may do."""
    extensions = app.extensions
    manage = may(person_of(request), "manage")
    allowed = {
        "manage": manage,
        "fetch": manage and is_local(request),
        "code": can_change_code(request),
        "why_not": NOT_HERE,
    }
    return {
        "may": allowed,
        "revision": extensions.revision,
        "failures": extensions.failures,
        "stamp": stamp_of(extensions.active()),
        "safe_mode": extensions.safe_mode,
        "extensions": [card(app, each, manage=manage) for each in extensions.all()],
        "works": works(app),
    }


def card(app: App, extension: Extension, *, manage: bool = True) -> dict[str, Any]:
    """One of them; of one whose manifest cannot be read only where it lies and why. Its settings, which may be keys of
    other services, and what went wrong are for those who `manage`."""
    manifest = extension.manifest
    return {
        "id": extension.id,
        "title": extension.title,
        "version": extension.version,
        "description": manifest.description if manifest else "",
        "author": manifest.author if manifest else "",
        "homepage": manifest.homepage if manifest else "",
        "bundled": extension.bundled,
        "folder": extension.folder.name,
        "origin": _origin(app, extension),
        "state": extension.state,
        "wanted": extension.wanted,
        "problem": extension.problem,
        "permissions": [PERMISSIONS[word] for word in manifest.permissions] if manifest else [],
        "dependencies": list(manifest.dependencies) if manifest else [],
        "models": needed(app, manifest) if manifest else [],
        "brings": list(_brings(extension)),
        "failures": _failures(extension) if manage else [],
        "settings": _settings(extension) if manage else None,
    }


def _origin(app: App, extension: Extension) -> dict[str, str] | None:
    """Where one came from that was installed here."""
    origin = None if extension.bundled else app.installer.origin(extension.id)
    return asdict(origin) if origin else None


def _failures(extension: Extension) -> list[dict[str, Any]]:
    """What went wrong in it, the newest first."""
    return [asdict(each) for each in reversed(tuple(extension.failures))]


def _settings(extension: Extension) -> dict[str, Any] | None:
    """Its settings as they are, with the schema of what they may be."""
    settings = extension.settings
    if settings is None or extension.state != "on":
        return None
    return {"schema": settings.kind.model_json_schema(), "values": settings.value.model_dump(mode="json")}


def _brings(extension: Extension) -> Iterator[str]:
    """What it has brought, in words."""
    brought = extension.brought
    if brought.parameters is not None and brought.parameters.tabs:
        yield f"parameters in {', '.join(brought.parameters.tabs)}"
    for one, name, several in BRINGS:
        count = len(getattr(brought, name))
        if count:
            yield one if count == 1 else f"{count} {several}"
    if brought.routes:
        yield "routes for programs"
    if extension.manifest and extension.manifest.js:
        yield "a script on the page"


def works(app: App) -> list[dict[str, Any]]:
    """The background jobs of all."""
    return [work(each) for each in app.extensions.works.all()]


def work(each: ExtensionWork) -> dict[str, Any]:
    """A background job as it is now."""
    return {
        "id": each.id,
        "extension": each.extension,
        "title": each.title,
        "state": each.state,
        "share": each.share,
        "doing": each.doing,
        "problem": each.problem,
    }
