"""Which of Gradio's routes the page needs; all others are closed.

Gradio brings routes for sign-in, uploads, files, fetching addresses, monitoring and editing the page's own code. None
of them is used here, and each has been a way in. What comes with a newer Gradio is closed until it is named here.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from backend.server.risks import MEBIBYTE, Rule, declare_all

LARGEST_EVENT = 8 * MEBIBYTE  # all values of a form, with the steps on a canvas
LOOK = Rule(risk="read")
# An event only looks for the guard; handlers that do more ask for themselves (`ui.generate.may_here`).
EVENT = Rule(risk="read", largest=LARGEST_EVENT)
API = "/gradio_api"
PAGE_ROUTES: Mapping[str, Rule] = MappingProxyType(
    {
        **dict.fromkeys(("/", "/config", "/config/", "/favicon.ico", "/theme.css", "/robots.txt"), LOOK),
        **dict.fromkeys(("/static/{path:path}", "/assets/{path:path}", "/manifest.json"), LOOK),
        **dict.fromkeys((f"{API}/theme.css", f"{API}/heartbeat/{{session_hash}}", f"{API}/startup-events"), LOOK),
        **dict.fromkeys((f"{API}/run/{{api_name}}", f"{API}/run/{{api_name}}/"), EVENT),
    }
)


def declare_page_routes(routes: Iterable[Any]) -> None:
    """Give Gradio's routes their rules."""
    declare_all(routes, PAGE_ROUTES)
