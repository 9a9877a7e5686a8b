"""The checkpoint selector on top of the page, and how the form follows what is chosen."""

from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr
from gradio.blocks import Block

from backend.app import App
from backend.errors import UserError
from backend.model_manager.catalog import ModelRecord
from ui.form import SHORT_EVENT, Form
from ui.generate import may_here
from ui.pieces import notice, piece
from ui.suited import followed, suited_values


class CheckpointSelector:
    """The list, a button that looks into the folders again, and why some files are not in the list."""

    def __init__(self, app: App):
        """Stand here in the layout."""
        self._app = app
        with gr.Row(elem_id="quicksettings"):
            self.list = gr.Dropdown(
                label="Checkpoint", container=False, elem_id="setting_sd_model_checkpoint", interactive=True
            )
            self._refresh = gr.Button(
                "Look for checkpoints again", elem_id="refresh_sd_model_checkpoint", elem_classes="icon-button refresh"
            )
        self._unusable = piece("unusable.html", "unusable_checkpoints", script="unusable", event="checkpoints")
        self.renew()

    @property
    def suited(self) -> dict[str, Any]:
        """Values of the form that suit the checkpoint chosen; what a person wants with it goes before."""
        record = self._chosen()
        own = self._app.presets.of_checkpoint(record.name) if record else {}
        return {**suited_values(record, self._app.settings.value), **own}

    def renew(self) -> None:
        """Let newly opened pages begin with the checkpoint chosen now."""
        record = self._chosen()
        self.list.choices = [(name, name) for name in self._app.catalog.names()]
        self.list.value = record.name if record else None
        self._unusable.value = self._problems()

    def listen(self, page: gr.Blocks, forms: Sequence[Form], cards: gr.HTML, chosen: Callable[[], None]) -> None:
        """Remember each choice, also one among the `cards` of the Models tab, and call `chosen()` then; what of
        the forms was as suited the last one becomes what suits the new one. The list follows what is on disk."""
        message = notice("checkpoint_message")

        def choose(request: gr.Request, name: object, *values: object) -> dict[Block, Any]:
            before = self.suited
            try:
                may_here(request, "make")
                self._app.settings.update({"checkpoint": self._app.catalog.find(str(name or "")).name})
            except UserError as error:
                return {message: str(error)}
            except OSError as error:
                return {message: f"Your choice could not be remembered: {error.strerror or error}."}
            chosen()
            changes: dict[Block, Any] = {}
            standing = iter(values)
            for form in forms:
                shown = {name: next(standing) for name in form.names}
                plain = {name: form.first(name) for name in form.names}
                news = followed(shown, {**plain, **before}, {**plain, **self.suited})
                own = self._app.presets.of_checkpoint(self._app.settings.value.checkpoint)
                news |= {each: value for each, value in own.items() if each in shown and shown[each] != value}
                changes |= {form.components[name]: value for name, value in news.items()}
            return {message: "", **changes}

        def choose_card(event: gr.EventData, request: gr.Request, *values: object) -> dict[Block, Any]:
            picked = event._data if isinstance(event._data, dict) else {}
            changes = choose(request, picked.get("name"), *values)
            return changes if changes[message] else {**changes, self.list: self._shown()}

        def look() -> tuple[Any, list[dict[str, str]]]:
            return self._shown(), self._problems()

        def look_again() -> tuple[Any, list[dict[str, str]]]:
            self._app.catalog.refresh()
            return look()

        def follow(name: object) -> tuple[Any, list[dict[str, str]]]:
            """What this window has chosen stays chosen."""
            stays = name in self._app.catalog.names()
            return gr.update(choices=self._app.catalog.names()) if stays else self._shown(), self._problems()

        suited: list[Any] = [form.components[name] for form in forms for name in form.names]
        shown: list[Any] = [self.list, self._unusable]
        self.list.input(choose, [self.list, *suited], [message, *suited], preprocess=False, **SHORT_EVENT)
        cards.choose(choose_card, suited, [self.list, message, *suited], preprocess=False, **SHORT_EVENT)
        page.load(look, None, shown, **SHORT_EVENT)
        self._refresh.click(look_again, None, shown, **SHORT_EVENT)
        self._unusable.checkpoints(follow, self.list, shown, preprocess=False, **SHORT_EVENT)
        tell = "(name) => { window.atelierCheckpoint = name; dispatchEvent(new Event('atelier-checkpoint')); }"
        gr.on([page.load, self.list.change], None, self.list, js=tell, api_visibility="private")

    def _shown(self) -> Any:
        record = self._chosen()
        return gr.update(choices=self._app.catalog.names(), value=record.name if record else None)

    def _chosen(self) -> ModelRecord | None:
        """The checkpoint that a request without a name gets, else the first, else none."""
        for name in (self._app.settings.value.checkpoint, ""):
            try:
                return self._app.catalog.find(name)
            except UserError:
                continue
        return None

    def _problems(self) -> list[dict[str, str]]:
        records = self._app.catalog.records()
        return [{"name": record.name, "problem": record.problem} for record in records if record.problem]
