"""A job's pictures over HTTP: the file as it was saved, and small ones for lists. Only for the job's owner."""

import io
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse, Response
from PIL import Image

from backend.app import App
from backend.errors import InvalidRequest, UserError
from backend.events import ImageReady
from backend.server.owner import owner_of

MEDIA_TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".webp": "image/webp"}
THUMB_RANGE = (32, 1024)  # pixels of the longer side
THUMBS_KEPT = 600
THUMB_QUALITY = 82
AN_HOUR = 3600


def router(app: App) -> APIRouter:
    """The route ``/atelier/pictures/JOB/INDEX``, with ``?download=1`` and ``?thumb=PIXELS``."""
    thumb_of = lru_cache(THUMBS_KEPT)(_thumb)
    routes = APIRouter()

    # A plain function: it runs on a thread, because it reads files and makes small pictures.
    @routes.get("/atelier/pictures/{job_id}/{index}")
    def picture(request: Request, job_id: str, index: int, download: bool = False, thumb: int = 0) -> Response:
        try:
            path = _find(app, owner_of(request), job_id, index).path
            state = _state(path)
            etag = f'"{state[0]:x}-{state[1]:x}-{thumb}"'
            headers = {"ETag": etag, "Cache-Control": "private, no-cache", "X-Content-Type-Options": "nosniff"}
            if thumb:
                headers["Cache-Control"] = f"private, max-age={AN_HOUR}"
            if request.headers.get("if-none-match") == etag:
                return Response(status_code=304, headers=headers)
            if thumb:
                return Response(thumb_of(path, state, _within(thumb)), media_type="image/webp", headers=headers)
            if download:
                headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{quote(path.name, safe='')}"
            return Response(_read(path), media_type=MEDIA_TYPES[path.suffix], headers=headers)
        except UserError as error:
            return PlainTextResponse(str(error), status_code=404)

    return routes


def _find(app: App, owner: str, job_id: str, index: int) -> ImageReady:
    for image in app.queue.find(job_id, owner).images:
        if image.index == index:
            return image
    raise InvalidRequest(f"This job has no picture number {index}.")


def _state(path: Path) -> tuple[int, int]:
    """What changes when the file does. Raises `UserError` when it is gone."""
    try:
        stat = path.stat()
    except OSError as error:
        raise _gone(path) from error
    return stat.st_mtime_ns, stat.st_size


def _read(path: Path) -> bytes:
    """At once, so that a file which goes away meanwhile is either whole or gone."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise _gone(path) from error


def _gone(path: Path) -> UserError:
    return UserError(f"{path.name} is no longer in {path.parent}: it was moved or deleted.")


def _within(size: int) -> int:
    low, high = THUMB_RANGE
    return max(low, min(high, size))


def _thumb(path: Path, _state: tuple[int, int], size: int) -> bytes:
    try:
        with Image.open(path) as image:
            image.draft("RGB", (size, size))
            small = image.convert("RGB")
    except (OSError, SyntaxError) as error:
        raise UserError(f"{path.name} in {path.parent} cannot be read: it was changed or damaged.") from error
    small.thumbnail((size, size), Image.Resampling.LANCZOS)
    data = io.BytesIO()
    small.save(data, "WEBP", quality=THUMB_QUALITY, method=2)
    return data.getvalue()
