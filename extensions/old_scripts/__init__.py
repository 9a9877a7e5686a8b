"""Scripts that were written for AUTOMATIC1111's list *Script*: ``scripts/*.py`` in this extension's data folder.

A script's `run` is called where the picture is done; `process_images` is a nested generation. See the README for what
cannot be.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from backend.extension_api import (
    ExtensionApi,
    Field,
    GenerationRequest,
    Image,
    InvalidRequest,
    Params,
    PictureTurn,
    Script,
    ScriptTurn,
    Several,
    Tab,
    hook,
)

from . import stand_ins
from .components import Read, params_of
from .processing import Processing, grid_of

NAME = "old_scripts"


class Chosen(Params):
    """Which script a request is for, and its values as JSON."""

    script: str = Field(default="", title="Script")
    values: str = Field(default="{}", title="Values")


@dataclass(frozen=True, kw_only=True)
class OldScript:
    """A script that could be read."""

    title: str
    script: stand_ins.Script
    kind: type[Params]
    reads: list[Read]
    tabs: tuple[Tab, ...]

    def plan(self, request: GenerationRequest, params: Params, _turn: ScriptTurn) -> Several:
        """The request, with the script's name on it."""
        own = Chosen(script=self.title, values=json.dumps(params.model_dump(mode="json")))
        return Several(requests=[replace(request, extras={**request.extras, NAME: own.model_dump()})])

    def run(self, values: str, turn: PictureTurn, image: Image.Image) -> Image.Image:
        """What the script makes of a picture: of several a grid, of none the picture itself."""
        p = Processing(turn, image)
        params = self.kind.model_validate(json.loads(values))
        p.script_args = args = [read(params) for read in self.reads]
        found = self.script.run(p, *args)
        images = [each.convert("RGB") for each in found.images] if found is not None else []
        return grid_of(images) if len(images) > 1 else images[0] if images else image


class Shelf:
    """The scripts that are there, by their titles."""

    def __init__(self) -> None:
        self.scripts: dict[str, OldScript] = {}


@hook
def register(api: ExtensionApi) -> None:
    api.params(Chosen, tabs=())
    folder = api.data_dir / "scripts"
    folder.mkdir(exist_ok=True)
    there = api.keep(Shelf()).scripts
    for path in sorted(folder.glob("*.py")):
        try:
            found = list(_read(path))
        except Exception as error:  # noqa: BLE001 - a stranger's code: the others are read all the same
            api.log.warning("%s is left out: %s: %s", path.name, type(error).__name__, error)
            continue
        for each in found:
            if each.title not in there:
                there[each.title] = each
                api.script(Script(title=each.title, kind=each.kind, plan=each.plan, tabs=each.tabs))


@hook
def on_image(image: Image.Image, turn: PictureTurn) -> Image.Image:
    chosen = turn.params(Chosen)
    script = turn.kept(Shelf).scripts.get(chosen.script)
    if script is None:
        raise InvalidRequest(f"The script {chosen.script!r} is not there any more.")
    return script.run(chosen.values, turn, image)


def _read(path: Path) -> list[OldScript]:
    """The scripts of a file that are chosen in the list. Raises whatever the file raises."""
    module = stand_ins.load(path, stand_ins.modules(path.parent))
    base = stand_ins.Script
    kinds = [each for each in vars(module).values() if isinstance(each, type) and issubclass(each, base)]
    return [_of(kind, path) for kind in kinds if kind is not base]


def _of(kind: Callable[[], Any], path: Path) -> OldScript:
    script = kind()
    script.filename = str(path)
    shown = {img2img: script.show(img2img) for img2img in (False, True)}
    if stand_ins.ALWAYS_VISIBLE in shown.values():
        raise InvalidRequest("it is always on: only scripts that are chosen in the list can be run")
    words: tuple[Tab, ...] = ("txt2img",) if shown[False] else ()
    pictures: tuple[Tab, ...] = ("img2img", "inpaint") if shown[True] else ()
    made, reads = params_of(script.ui(not shown[False]), path.stem)
    return OldScript(title=str(script.title()), script=script, kind=made, reads=reads, tabs=(*words, *pictures))
