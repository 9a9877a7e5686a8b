"""``/controlnet/*``, the routes of the extension that most clients look for: what there is of it."""

from fastapi import APIRouter, Request, Response

from backend.app import App
from backend.model_manager.identity import Kind
from backend.server.risks import risk
from backend.server.sdapi.door import FAULTS, LARGEST_PICTURES, SdRoute, absent, said

VERSION = 2  # of the interface
NO_MODULE, NO_MODEL = "none", "None"
NONE_HERE = "There is no ControlNet here yet: no preprocessor can be run."


def router(app: App) -> APIRouter:
    """Lists that say what can be used, and a sentence where something is to be run."""
    routes = APIRouter(prefix="/controlnet", route_class=SdRoute, tags=["AUTOMATIC1111: ControlNet"], responses=FAULTS)

    def models() -> list[str]:
        return [NO_MODEL, *app.catalog.names(Kind.CONTROLNET)]

    @routes.get("/version")
    @risk("read")
    def version() -> Response:
        return said({"version": VERSION})

    @routes.get("/model_list")
    @risk("read")
    def model_list(update: bool = True) -> Response:  # noqa: ARG001 - the catalog looks by itself
        return said({"model_list": models()})

    @routes.get("/module_list")
    @risk("read")
    def module_list(alias_names: bool = False) -> Response:  # noqa: ARG001 - one that has no alias
        detail = {NO_MODULE: {"model_free": False, "sliders": []}}
        return said({"module_list": [NO_MODULE], "module_detail": detail})

    @routes.get("/control_types")
    @risk("read")
    def control_types() -> Response:
        everything = {
            "module_list": [NO_MODULE],
            "model_list": models(),
            "default_option": NO_MODULE,
            "default_model": NO_MODEL,
        }
        return said({"control_types": {"All": everything}})

    @routes.get("/settings")
    @risk("read")
    def settings() -> Response:
        return said({"control_net_unit_count": 0})

    @routes.post("/detect")
    @risk("make", largest=LARGEST_PICTURES)
    def detect(request: Request) -> Response:  # noqa: ARG001 - whatever it holds
        raise absent(NONE_HERE)

    @routes.post("/render_openpose_json")
    @risk("make", largest=LARGEST_PICTURES)
    def render_openpose_json(request: Request) -> Response:  # noqa: ARG001 - whatever it holds
        raise absent(NONE_HERE)

    return routes
