"""Completes tags while somebody types: the list is served by a route, and looked through in the browser."""

from backend.extension_api import APIRouter, ExtensionApi, hook

TAGS = {"circle": 812, "circlet": 40, "city": 520, "square": 700, "blue background": 650, "red background": 610}


@hook
def register(api: ExtensionApi) -> None:
    routes = APIRouter()

    @routes.get("/tags")
    def tags() -> dict[str, int]:
        return TAGS

    api.routes(routes)
