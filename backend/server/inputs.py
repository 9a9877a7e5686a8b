"""Where the browser puts pictures: ``POST /atelier/inputs`` with a file's bytes, ``GET /atelier/inputs/NAME``."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, PlainTextResponse, Response

from backend.app import App
from backend.errors import UserError
from backend.inputs import AT_ONCE, MOST_BYTES
from backend.server.json_door import JsonRoute, said

TOO_LARGE = f"A picture may have {MOST_BYTES:,} bytes at most."
FOREVER = "private, max-age=31536000, immutable"  # a name stands for its bytes


def router(app: App) -> APIRouter:
    """Both routes. A picture that is put in comes back as ``{"name", "width", "height"}``."""
    routes = APIRouter(prefix="/atelier/inputs", route_class=JsonRoute)
    # As many as are decoded at once: more would wait in the threads that all other routes work on.
    readers = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="inputs")

    @routes.post("")
    async def put(request: Request) -> Response:
        data = await picture_bytes(request)
        stored = await asyncio.get_running_loop().run_in_executor(readers, app.inputs.put, data)
        return said(request, {"name": stored.name, "width": stored.width, "height": stored.height})

    @routes.get("/{name}")
    def get(request: Request, name: str) -> Response:
        try:
            path, kind = app.inputs.path(name), app.inputs.media_type(name)
        except UserError as error:
            return PlainTextResponse(str(error), status_code=404)
        headers = {"ETag": f'"{name}"', "Cache-Control": FOREVER, "X-Content-Type-Options": "nosniff"}
        if request.headers.get("if-none-match") == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        return FileResponse(path, media_type=kind, headers=headers)

    return routes


async def picture_bytes(request: Request) -> bytes:
    """All bytes of a picture that is sent. Raises `UserError` for more than a picture may have: before the first one is
    read where that is declared."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > MOST_BYTES:
        raise UserError(TOO_LARGE)
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > MOST_BYTES:
            raise UserError(TOO_LARGE)
    return bytes(data)
