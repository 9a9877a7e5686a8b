"""The checkpoint selector on top of the page, and the size that suits what is chosen."""

from collections.abc import Callable
from typing import Any

import gradio as gr
from gradio.blocks import Block

from backend.app import App
from backend.errors import UserError
from backend.model_manager.catalog import ModelRecord
from ui.form import SHORT_EVENT, Form
from ui.pieces import notice, piece

USUAL_SIZE = (512, 512)  # while there is no checkpoint that could say


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
        self._unusable = piece("unusable.html", "unusable_checkpoints", script="unusable")
        self.renew()

    @property
    def native_size(self) -> tuple[int, int]:
        """Width and height in pixels that suit the checkpoint chosen."""
        record = self._chosen()
        return record.native_size if record else USUAL_SIZE

    def renew(self) -> None:
        """Let newly opened pages begin with the checkpoint chosen now."""
        record = self._chosen()
        self.list.choices = [(name, name) for name in self._app.catalog.names()]
        self.list.value = record.name if record else None
        self._unusable.value = self._problems()

    def listen(self, page: gr.Blocks, form: Form, chosen: Callable[[], None]) -> None:
        """Remember each choice, and call `chosen()` then; where the size was the last checkpoint's own, it becomes the
        new one's."""
        width, height = form.components["width"], form.components["height"]
        message = notice("checkpoint_message")

        def choose(name: object, *size: object) -> dict[Block, Any]:
            before = self.native_size
            try:
                self._app.settings.update({"checkpoint": self._app.catalog.find(str(name or "")).name})
            except UserError as error:
                return {message: str(error)}
            except OSError as error:
                return {message: f"Your choice could not be remembered: {error.strerror or error}."}
            chosen()
            follows = size == before
            return {message: "", **(dict(zip((width, height), self.native_size, strict=True)) if follows else {})}

        def look() -> tuple[Any, list[dict[str, str]]]:
            record = self._chosen()
            shown = gr.update(choices=self._app.catalog.names(), value=record.name if record else None)
            return shown, self._problems()

        form_size: list[Any] = [width, height]
        self.list.input(choose, [self.list, *form_size], [message, *form_size], preprocess=False, **SHORT_EVENT)
        gr.on([self._refresh.click, page.load], look, None, [self.list, self._unusable], **SHORT_EVENT)

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
