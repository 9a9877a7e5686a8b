"""A job's pictures over HTTP: the file as it was saved, and small ones for lists. Only for the job's owner."""

from pathlib import Path
from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse, Response

from backend.app import App
from backend.errors import InvalidRequest, UserError
from backend.events import ImageReady
from backend.server.owner import owner_of
from backend.server.risks import risk
from backend.server.thumbs import Thumbs, state_of

MEDIA_TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".webp": "image/webp"}
AN_HOUR = 3600


def router(app: App) -> APIRouter:
    """The route ``/atelier/pictures/JOB/INDEX``, with ``?download=1`` and ``?thumb=PIXELS``."""
    thumbs = Thumbs()
    routes = APIRouter()

    # A plain function: it runs on a thread, because it reads files and makes small pictures.
    @routes.get("/atelier/pictures/{job_id}/{index}")
    @risk("read")
    def picture(request: Request, job_id: str, index: int, download: bool = False, thumb: int = 0) -> Response:
        try:
            path = _find(app, owner_of(request), job_id, index).path
        except UserError as error:
            return PlainTextResponse(str(error), status_code=404)
        return served(request, path, thumbs, download=download, thumb=thumb)

    return routes


def served(request: Request, path: Path, thumbs: Thumbs, *, download: bool, thumb: int) -> Response:
    """A saved picture: the file itself, or, with a longer side of `thumb` pixels, a small one."""
    try:
        state = state_of(path)
        etag = f'"{state[0]:x}-{state[1]:x}-{thumb}"'
        headers = {"ETag": etag, "Cache-Control": "private, no-cache", "X-Content-Type-Options": "nosniff"}
        if thumb:
            headers["Cache-Control"] = f"private, max-age={AN_HOUR}"
        if request.headers.get("if-none-match") == etag:
            return Response(status_code=304, headers=headers)
        if thumb:
            return Response(thumbs.of(path, state, thumb), media_type="image/webp", headers=headers)
        if download:
            headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{quote(path.name, safe='')}"
        # At once, so that a file which goes away meanwhile is either whole or gone.
        return Response(path.read_bytes(), media_type=MEDIA_TYPES[path.suffix], headers=headers)
    except UserError as error:
        return PlainTextResponse(str(error), status_code=404)
    except OSError:
        gone = f"{path.name} is no longer in {path.parent}: it was moved or deleted."
        return PlainTextResponse(gone, status_code=404)


def _find(app: App, owner: str, job_id: str, index: int) -> ImageReady:
    for image in app.queue.find(job_id, owner).images:
        if image.index == index:
            return image
    raise InvalidRequest(f"This job has no picture number {index}.")
