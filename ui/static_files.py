"""The page's own scripts and styles: plain files, served as they are."""

from pathlib import Path
from typing import Any

from fastapi.staticfiles import StaticFiles
from starlette.responses import Response

FOLDER = Path(__file__).parent / "static"
ROUTE = "/atelier/static"
STYLES = (
    *("page", "form", "stage", "jobs", "history", "live_view", "lightbox", "settings", "door"),
    *("models", "models_bar", "models_card", "models_drawer", "models_panels", "models_lists", "prompt_chips"),
    *("prompt_comfort", "canvas", "canvas_tools", "canvas_proposals", "compare", "painted"),
    *("sheet", "recipe_words", "recipes", "png_info", "scripts", "grid_sheet"),
    *("extensions", "extension_parts"),
)
BASE = ROUTE.lstrip("/")  # relative: it works below a proxy's path too
# Linked, not given to Gradio as `css_paths`: it rewrites selectors, and breaks lists in :is() and what follows `body`.
HEAD = "".join(
    [
        *(f'<link rel="stylesheet" href="{BASE}/{name}.css">' for name in STYLES),
        f'<script type="module" src="{BASE}/main.js"></script>',
    ]
)


def head(stamp: str) -> str:
    """What stands in the head of a page that was made of the extensions with this stamp."""
    return f'<meta name="atelier-extensions" content="{stamp}">{HEAD}'


def read(name: str) -> str:
    """The text of a file that goes into the page itself."""
    return (FOLDER / name).read_text(encoding="utf-8")


class PageFiles(StaticFiles):
    """Files that the browser keeps but asks about each time: a page never runs yesterday's script."""

    def __init__(self) -> None:
        super().__init__(directory=FOLDER)

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        """Starlette's answer (with an ETag), to be asked about again."""
        response = super().file_response(*args, **kwargs)
        response.headers["Cache-Control"] = "no-cache"
        return response
