"""What a job began with: the tab it belongs to, and the pictures that its results can be held against."""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response

from backend.any_request import Request as AnyRequest
from backend.app import App
from backend.errors import UserError
from backend.server.owner import owner_of
from backend.server.risks import risk
from backend.upscaling.request import UpscaleRequest


def tab_of(request: AnyRequest) -> str:
    """The tab whose form asks for such a request."""
    if isinstance(request, UpscaleRequest):
        return "extras"
    if request.init is None:
        return "txt2img"
    return "inpaint" if request.init.inpainting or request.init.box else "img2img"


def origin_of(request: AnyRequest) -> dict[str, Any]:
    """The tab, the names of the pictures that were put in, and where the corner of the picture lies in the result: null
    where the result shows the whole of it in another size."""
    tab = tab_of(request)
    if isinstance(request, UpscaleRequest):
        return {"tab": tab, "pictures": list(request.inputs), "place": None}
    init = request.init
    if init is None:
        return {"tab": tab, "pictures": [], "place": None}
    inpainting = init.inpainting
    resized = inpainting is not None and not (inpainting.exact_outside or inpainting.only_masked or init.box)
    if tab == "img2img" or resized:
        return {"tab": tab, "pictures": [init.picture], "place": None}
    left, top = (max(0, -init.box.left), max(0, -init.box.top)) if init.box else (0, 0)
    return {"tab": tab, "pictures": [init.picture], "place": {"left": left, "top": top}}


def router(app: App) -> APIRouter:
    """The route ``/atelier/origins``: those of all the owner's jobs, by their ids."""
    routes = APIRouter()

    @routes.get("/atelier/origins")
    @risk("read")
    def origins(request: Request) -> Response:
        try:
            jobs = app.queue.jobs(owner_of(request))
        except UserError as error:
            return PlainTextResponse(str(error), status_code=404)
        return JSONResponse({job.id: origin_of(job.request) for job in jobs}, headers={"Cache-Control": "no-store"})

    return routes
