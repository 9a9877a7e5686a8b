"""Scripts that make several pictures of one body: those that extensions bring, with values by position or by name."""

from collections.abc import Mapping, Sequence
from typing import Any

from backend.extension_api import Several
from backend.grids.scripts import Offered, Scripts
from backend.request import GenerationRequest
from backend.server.sdapi.scripts import Argument, Script


def scripts_of(scripts: Scripts) -> dict[str, Script]:
    """The scripts that there are, by their titles in lower case."""
    return {each.title.lower(): _script(each) for each in scripts.offered()}


def several(
    name: str | None,
    arguments: Sequence[Any] | Mapping[str, Any],
    request: GenerationRequest,
    scripts: Scripts,
    chosen: Sequence[str],
) -> Several:
    """What a body asks for whose script has that name, which may be one of a single picture, with the `chosen` styles:
    put on last, as there, so that a script sees the prompt as it was sent. Raises `UserError`, and `Refused` for values
    that the script does not take."""
    title = (name or "").strip().casefold()
    offered = next((each for each in scripts.offered(_tab(request)) if each.title.casefold() == title), None)
    if offered is None:
        return Several(requests=(scripts.styled(request, chosen),))
    rows = offered.schema
    given = {
        name: False if value == "" and rows[name].get("type") == "boolean" else value  # as some clients write it
        for name, value in _script(offered).values(arguments).items()
    }
    return scripts.plan(offered, request, offered.params(given, said=str), chosen)


def _tab(request: GenerationRequest) -> str:
    if request.init is None:
        return "txt2img"
    return "img2img" if request.init.inpainting is None else "inpaint"


def _script(offered: Offered) -> Script:
    tabs = offered.script.tabs
    return Script(
        title=offered.title,
        for_words="txt2img" in tabs,
        for_pictures="img2img" in tabs or "inpaint" in tabs,
        arguments=tuple(_argument(name, row) for name, row in offered.schema.items()),
    )


def _argument(name: str, row: Mapping[str, Any]) -> Argument:
    low, high = row.get("minimum"), row.get("maximum")
    return Argument(
        name=name,
        label=str(row.get("title", name)),
        default=row.get("default"),
        range=None if low is None or high is None else (low, high),
        step=row.get("step"),
        choices=tuple(row.get("enum", row.get("examples", ()))),
    )
