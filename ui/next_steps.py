"""What can be wished for: to make a picture again, vary it, take it to another tab; to fill a form from a recipe or a
preset, and to undo that.

Every window sends these wishes, with the values of all forms, through one hidden component. Its value brings back what
is left for the page's own scripts to do: ``{"tab", "canvas", "files", "problem", "stamp"}``, ``proposal`` for the
dialog, ``undo`` with the values that a form had before, ``done`` with what to say.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import gradio as gr
from gradio.blocks import Block

from backend.any_request import Request, read_request
from backend.app import App
from backend.errors import InvalidRequest, ModelFileError, UserError
from backend.events import ImageReady
from backend.grids.request import GridRequest
from backend.infotext.recipe import TEXT
from backend.init_image import InitImage
from backend.jobs import Job
from backend.recipe_offer import from_values, own_request
from backend.request import GenerationRequest
from backend.server.people import shelf_of
from backend.upscaling.metadata import read_metadata
from backend.upscaling.request import UpscaleRequest
from ui import presets, recipes
from ui.fields import SCALE_BY, SCALE_TO, TO_SIZE
from ui.form import SHORT_EVENT, SHOWN, SWITCHES, Form
from ui.generate import Actions, may_here, owner_here, person_here
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
    forms: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # what stands in each, by tab and place

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

    def __init__(self, app: App, forms: Mapping[str, Form], buttons: Mapping[str, Actions], renew: Callable[[], None]):
        """Stand here in the layout, unseen; `renew()` lets newly opened pages begin with what is set by then."""
        self._app = app
        self._renew = renew
        self._forms = forms
        self._messages: dict[str, gr.HTML] = {tab: each.message for tab, each in buttons.items()}
        self._place = wishes("wishes")
        # Those of the checkpoint are one component in all forms.
        components = {part._id: part for form in forms.values() for part in form.components.values()}
        everything: list[Any] = [*components.values(), *self._messages.values(), self._place]
        names = {
            tab: [name for name in (*form.names, "checkpoint") if name in form.components]
            for tab, form in forms.items()
        }
        standing = {f"{tab} {name}": forms[tab].components[name] for tab in names for name in names[tab]}
        acts: dict[str, Callable[[Wish], dict[Block, Any]]] = {
            "reuse": self._reuse,
            "reuse_seed": self._reuse_seed,
            "take": self._take,
            "vary": self._vary,
            "propose": self._propose,
            "apply": self._apply,
            "restore": self._restore,
            "materialise": self._materialise,
            "preset": self._preset,
            "save_preset": self._save_preset,
        }
        for name, act in acts.items():
            send = getattr(self._place, name)
            send(self._handler(act), None, everything, inputs_kwargs=standing, preprocess=False, **SHORT_EVENT)

    def _handler(self, act: Callable[[Wish], dict[Block, Any]]) -> Callable[..., dict[Block, Any]]:
        def handle(event: gr.EventData, request: gr.Request, **standing: Any) -> dict[Block, Any]:
            values = event._data if isinstance(event._data, dict) else {}
            forms: dict[str, dict[str, Any]] = {tab: {} for tab in self._forms}
            for place, value in standing.items():
                tab, _, name = place.partition(" ")
                forms[tab][name] = value
            try:
                return act(Wish(asked_by=request, owner=owner_here(request), values=values, forms=forms))
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
        return self._filled(wish, wish.job(self._app).request if whole else wish.picture(self._app)[0])

    def _propose(self, wish: Wish) -> dict[Block, Any]:
        """Say what a recipe would change. One of Extras alone, which has no words, fills its form at once."""
        recipe = from_values(wish.values.get("recipe"))
        own = own_request(recipe)
        if isinstance(own, UpscaleRequest) and not recipe.infotext.get("Steps"):
            return self._filled(wish, own)
        if not own and not recipe.infotext.pairs and recipe.origin == TEXT and wish.values.get("typed"):
            raise InvalidRequest("There are no parameters in this prompt: paste those of a picture, then press again.")
        form = self._forms[recipes.tab_for(recipe, self._painter(wish, "txt2img").prefix)]
        found = recipes.brought(recipe, form, self._app)
        return self._answer(proposal=recipes.proposed(recipe, found, form, wish.forms[form.prefix]))

    def _apply(self, wish: Wish) -> dict[Block, Any]:
        """Fill a form from a recipe; with all of it also what lay on its canvas, where the recipe is ours and says."""
        recipe = from_values(wish.values.get("recipe"))
        form, way = self._painter(wish, "txt2img"), str(wish.values.get("way"))
        with_picture = wish.values.get("with_picture") is True
        found = recipes.brought(recipe, form, self._app, with_picture=with_picture)
        changes = self._changes(form, recipes.chosen(found.values, way))
        todo: dict[str, Any] = {"tab": form.prefix, "undo": self._undo(wish, form, changes)}
        own = own_request(recipe)
        whole = way != recipes.PROMPTS and not with_picture
        if whole and isinstance(own, GenerationRequest) and own.init and tab_of(own) == form.prefix:
            self._bring(form, own.init, changes, todo)
        return self._answer(changes, done="The form is filled in", **todo)

    def _restore(self, wish: Wish) -> dict[Block, Any]:
        """Bring back what stood in a form before."""
        form, values = self._painter(wish, "txt2img"), wish.values.get("values")
        changes = self._changes(form, values if isinstance(values, dict) else {})
        return self._answer(changes, tab=form.prefix)

    def _materialise(self, wish: Wish) -> dict[Block, Any]:
        """Put the words of styles into the prompts; what else is chosen stays so."""
        form = self._painter(wish, "txt2img")
        standing = wish.forms[form.prefix]
        words = [str(standing.get(name) or "") for name in ("prompt", "negative_prompt")]
        names = _names(wish.values.get("styles"))
        prompt, negative = self._app.styles.applied(names, *words)
        others = [name for name in _names(standing.get("styles")) if name not in names]
        changes = self._changes(form, {"prompt": prompt, "negative_prompt": negative, "styles": others})
        return self._answer(changes, undo=self._undo(wish, form, changes), done="The words are in the prompts")

    def _preset(self, wish: Wish) -> dict[Block, Any]:
        """Fill a form from a preset."""
        form = self._painter(wish, "txt2img")
        preset = self._app.presets.find(str(wish.values.get("name")), shelf_of(person_here(wish.asked_by)))
        changes = self._changes(form, presets.fitting(form, preset.values))
        return self._answer(changes, undo=self._undo(wish, form, changes), done=f"{preset.name} is filled in")

    def _save_preset(self, wish: Wish) -> dict[Block, Any]:
        """Keep what stands in a form, for whoever asks or, where they may, for everybody."""
        form = self._painter(wish, "txt2img")
        try:
            may_here(wish.asked_by, presets.risk_of(wish.values))
            shelf = shelf_of(person_here(wish.asked_by))
            words = presets.save(self._app, form, wish.forms[form.prefix], wish.values, shelf)
        except UserError as error:  # the dialog that asked says it
            return self._answer(saved={"problem": str(error)})
        if "checkpoint" in wish.values:
            self._renew()
        return self._answer(saved={"words": words})

    def _changes(self, form: Form, values: Mapping[str, Any]) -> dict[Block, Any]:
        """Values of a form by their names, as what to set."""
        known = {name: value for name, value in values.items() if name in (*form.names, "checkpoint")}
        changes = {form.components[name]: value for name, value in known.items()}
        if "checkpoint" in known:
            names = self._app.catalog.names()
            changes[form.components["checkpoint"]] = gr.update(value=known["checkpoint"], choices=names)
        if "styles" in known:
            names = [style.name for style in self._app.styles.all()]
            changes[form.components["styles"]] = gr.update(value=known["styles"], choices=names)
        return changes

    def _undo(self, wish: Wish, form: Form, changes: Mapping[Block, Any]) -> dict[str, Any]:
        """What stands now in the fields that will change."""
        standing = wish.forms.get(form.prefix, {})
        return {
            "tab": form.prefix,
            "values": {name: standing[name] for name in standing if form.components[name] in changes},
        }

    def _filled(self, wish: Wish, asked: Request) -> dict[Block, Any]:
        asked = asked.base if isinstance(asked, GridRequest) else asked
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
            self._bring(form, asked.init, changes, todo)
        return self._answer(changes, undo=self._undo(wish, form, changes), **todo)

    def _bring(self, form: Form, init: InitImage, changes: dict[Block, Any], todo: dict[str, Any]) -> None:
        """Let the page bring back what lay on the canvas, or say why that cannot be."""
        try:
            todo["canvas"] = self._canvas(init)
        except UserError as error:
            changes[self._messages[form.prefix]] = f"Everything is filled in but what lay on the canvas. {error}"

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
        changes |= self._checkpoint(form, self._messages[form.prefix], plain)
        return self._answer(changes, undo=self._undo(wish, form, changes))

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


def _names(value: object) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


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
