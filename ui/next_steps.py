"""What can be done with a picture that was made: make it again, vary it, take it to another tab.

Every window sends these wishes through one hidden component, whose value brings back what is left for the page's own
scripts to do: ``{"tab", "canvas", "files", "problem", "stamp"}``.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import gradio as gr
from gradio.blocks import Block

from backend.any_request import Request, read_request
from backend.app import App
from backend.errors import InvalidRequest, ModelFileError, UserError
from backend.events import ImageReady
from backend.init_image import InitImage
from backend.jobs import Job
from backend.request import GenerationRequest
from backend.upscaling.metadata import read_metadata
from backend.upscaling.request import UpscaleRequest
from ui.fields import SCALE_BY, SCALE_TO, TO_SIZE
from ui.form import SHORT_EVENT, SHOWN, SWITCHES, Form
from ui.generate import Actions, may_here, owner_here
from ui.origins import tab_of
from ui.painted import within_range
from ui.pieces import wishes

NOTHING: Mapping[Block, Any] = MappingProxyType({})
STRENGTHS = {"subtle": 0.3, "strong": 0.6}  # denoising of a variation


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What a window asks for, and whose it is."""

    asked_by: gr.Request
    owner: str
    values: Mapping[str, Any]

    def job(self, app: App) -> Job:
        """The job that is meant. Raises `UserError`."""
        return app.queue.find(str(self.values.get("job", "")), self.owner)

    def picture(self, app: App) -> tuple[Request, ImageReady]:
        """The picture that is meant, with the request that makes it alone. Raises `UserError`."""
        for image in self.job(app).images:
            if image.index == self.values.get("index"):
                return read_request(image.request), image
        raise InvalidRequest("This job has no such picture.")


class NextSteps:
    """Answers the wishes, with the forms of all tabs and their places for a sentence, by the tabs' names."""

    def __init__(self, app: App, forms: Mapping[str, Form], buttons: Mapping[str, Actions]):
        """Stand here in the layout, unseen."""
        self._app = app
        self._forms = forms
        self._messages: dict[str, gr.HTML] = {tab: each.message for tab, each in buttons.items()}
        self._place = wishes("wishes")
        # Those of the checkpoint are one component in all forms.
        components = {part._id: part for form in forms.values() for part in form.components.values()}
        everything: list[Any] = [*components.values(), *self._messages.values(), self._place]
        acts: dict[str, Callable[[Wish], dict[Block, Any]]] = {
            "reuse": self._reuse,
            "reuse_seed": self._reuse_seed,
            "take": self._take,
            "vary": self._vary,
            "recipe": self._recipe,
        }
        for name, act in acts.items():
            getattr(self._place, name)(self._handler(act), None, everything, **SHORT_EVENT)

    def _handler(self, act: Callable[[Wish], dict[Block, Any]]) -> Callable[..., dict[Block, Any]]:
        def handle(event: gr.EventData, request: gr.Request) -> dict[Block, Any]:
            values = event._data if isinstance(event._data, dict) else {}
            try:
                return act(Wish(asked_by=request, owner=owner_here(request), values=values))
            except UserError as error:
                return self._answer(problem=str(error))

        return handle

    def _answer(self, changes: Mapping[Block, Any] = NOTHING, **todo: Any) -> dict[Block, Any]:
        """The changes, with what the page's scripts have to do; the stamp makes it new, also when it is the same as
        before. What was said in the tabs is over, unless the changes say otherwise."""
        quiet: dict[Block, Any] = dict.fromkeys(self._messages.values(), "")
        return {**quiet, **changes, self._place: {**todo, "stamp": str(time.monotonic_ns())}}

    def _reuse(self, wish: Wish) -> dict[Block, Any]:
        """Fill the form of the tab that a picture, or a whole job, came from; and what lay on its canvas."""
        whole = "index" not in wish.values
        return self._filled(wish.job(self._app).request if whole else wish.picture(self._app)[0])

    def _recipe(self, wish: Wish) -> dict[Block, Any]:
        """The same from what a file says of itself that was dropped on a prompt."""
        text = read_metadata(self._app.inputs.path(str(wish.values.get("name", "")))).request
        if not text:
            raise InvalidRequest("This picture does not say how it was made in a way that Atelier can read.")
        return self._filled(read_request(text))

    def _filled(self, asked: Request) -> dict[Block, Any]:
        tab = tab_of(asked)
        form, message = self._forms[tab], self._messages[tab]
        changes = form.updates(asked)
        todo: dict[str, Any] = {"tab": tab}
        if isinstance(asked, UpscaleRequest):
            changes[form.components["sizing"]] = SCALE_TO if asked.by_size else SCALE_BY
            try:
                todo["files"] = [self._stored(name) for name in asked.inputs]
            except UserError as error:
                changes[message] = f"Everything is filled in but the pictures. {error}"
            return self._answer(changes, **todo)
        changes |= self._checkpoint(form, message, asked)
        if asked.init is not None:
            changes[form.components["sizing"]] = TO_SIZE
            try:
                todo["canvas"] = self._canvas(asked.init)
            except UserError as error:
                changes[message] = f"Everything is filled in but what lay on the canvas. {error}"
        return self._answer(changes, **todo)

    def _canvas(self, init: InitImage) -> dict[str, Any]:
        """What lay on the canvas. Raises `UserError` if one of the pictures is gone."""
        for name in init.inputs:
            self._app.inputs.path(name)
        return {
            "picture": init.picture,
            "sketch": init.sketch,
            "mask": init.inpainting.mask if init.inpainting else "",
            "box": asdict(init.box) if init.box else None,
            "depth": self._stored(init.depth) if init.depth else None,
        }

    def _painter(self, wish: Wish, usual: str) -> Form:
        """The form that a wish names, if it is one that makes pictures with a checkpoint."""
        form = self._forms.get(str(wish.values.get("tab")))
        return form if form and "seed" in form.components else self._forms[usual]

    def _stored(self, name: str) -> dict[str, Any]:
        width, height = self._app.inputs.size(name)
        return {"name": name, "width": width, "height": height}

    def _checkpoint(self, form: Form, message: gr.HTML, asked: GenerationRequest) -> dict[Block, Any]:
        try:
            name = self._app.catalog.find(asked.checkpoint).name
        except ModelFileError as error:
            return {message: f"Everything is filled in but the checkpoint. {error}"}
        return {form.components["checkpoint"]: gr.update(value=name, choices=self._app.catalog.names())}

    def _reuse_seed(self, wish: Wish) -> dict[Block, Any]:
        form = self._painter(wish, "txt2img")
        _, image = wish.picture(self._app)
        if image.seed < 0:
            raise InvalidRequest("This picture has no seed: it was enlarged, not made.")
        return self._answer({form.components["seed"]: str(image.seed)})

    def _take(self, wish: Wish) -> dict[Block, Any]:
        """Fill the form of the tab that the picture goes to with the words and ways it was made with; the page's own
        script brings the picture itself. What nobody knows of stays as it is."""
        form = self._painter(wish, "img2img")
        asked = _recipe_of(*wish.picture(self._app))
        if asked is None:
            return self._answer()
        plain = replace(asked, init=None, hires=None, seed=-1, batch_size=1, batch_count=1)
        kept = {form.components[name] for name in ("width", "height", *SWITCHES) if name in form.components}
        changes = {part: value for part, value in form.updates(plain).items() if part not in kept}
        return self._answer({**changes, **self._checkpoint(form, self._messages[form.prefix], plain)})

    def _vary(self, wish: Wish) -> dict[Block, Any]:
        """Queue the picture once more, a little or a lot otherwise, with a seed of its own."""
        may_here(wish.asked_by, "make")
        said = str(wish.values.get("strength"))
        if said not in STRENGTHS:
            raise InvalidRequest(f"A variation is {' or '.join(STRENGTHS)}, not {said[:SHOWN]!r}.")
        made, image = wish.picture(self._app)
        asked = _recipe_of(made, image)
        if asked is None:
            raise InvalidRequest("This picture does not say how it was made: use it as input and describe it.")
        width, height = within_range(image.width, image.height)
        picture = self._app.inputs.put(_bytes(image.path)).name
        init = InitImage(picture=picture, denoising_strength=STRENGTHS[said])
        varied = replace(asked.single(-1), width=width, height=height, init=init, hires=None)
        self._app.queue.submit(varied, wish.owner)
        return self._answer()


def _recipe_of(made: Request, image: ImageReady) -> GenerationRequest | None:
    """How the picture itself was made: of an enlarged one, as its file says of the original."""
    if isinstance(made, GenerationRequest):
        return made
    text = read_metadata(image.path).request
    try:
        asked = read_request(text) if text else None
    except UserError:
        return None
    return asked if isinstance(asked, GenerationRequest) else None


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path.name} is no longer in {path.parent}: it was moved or deleted.") from error
