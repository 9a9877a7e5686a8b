"""What the tabs that make pictures share: their buttons, handing a request to the queue, and remembering the form."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from backend.any_request import Request
from backend.app import App
from backend.errors import UserError
from backend.grids.grid import Grid
from backend.request import GenerationRequest
from backend.server.owner import owner_of, person_of, require
from backend.server.people import Person, Risk
from ui.fields import FOLDED
from ui.form import Form
from ui.pieces import notice
from ui.static_files import read

# Values of a form that a reload must not bring back: they are remembered elsewhere.
_ELSEWHERE = ("checkpoint", "painting", "inputs", "folder", "picture_folder")
NAMED = 3  # of what was not queued; the others are counted


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Requests that are queued one by one, each with the name of its picture, and what became none: names with a
    sentence. `remarks` are sentences about what they are not."""

    requests: Sequence[tuple[str, Request | Grid]]
    refused: Sequence[tuple[str, str]] = ()
    remarks: Sequence[str] = ()

    def said(self, queued: int, refused: Sequence[tuple[str, str]]) -> str:
        """What to tell the person when the first `queued` requests stand in the line, and `refused` do not."""
        if not refused:
            return " ".join(self.remarks)
        sentences = dict.fromkeys(sentence for _, sentence in refused)
        if not queued and len(sentences) == 1:
            return next(iter(sentences))
        names = [name for name, _ in refused]
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        listed = ", ".join(name or "a picture" for name in names[:NAMED])
        return f"{queued} of {queued + len(names)} are queued, but not {listed}{more}. {' '.join([*sentences][:NAMED])}"


@dataclass(frozen=True)
class Actions:
    """The buttons of a tab, and the place for a sentence beside them."""

    generate: gr.Button
    message: gr.HTML


def actions(form: Form, words: str = "Generate") -> Actions:
    """Stand here in the layout: the button that makes pictures, Skip, Interrupt."""
    with gr.Column(elem_id=form.id("actions"), elem_classes="tab-actions"):
        message = notice(form.id("message"))
        with gr.Row(elem_id=form.id("buttons"), elem_classes="tab-buttons"):
            generate = gr.Button(words, variant="primary", elem_id=form.id("generate"), elem_classes="generate")
            gr.Button("Skip", elem_id=form.id("skip"), elem_classes=["ender", "skip"])
            gr.Button("Interrupt", elem_id=form.id("interrupt"), elem_classes=["ender", "interrupt"])
    return Actions(generate, message)


class Sender:
    """Hands requests to the queue, in the order of the clicks."""

    def __init__(self, app: App):
        self._app = app
        self._in_turn = asyncio.Lock()

    def tie(
        self,
        form: Form,
        button: gr.Button,
        message: gr.HTML,
        asked: Callable[[Mapping[str, Any]], Sequence[Request | Grid] | Batch],
        js: str | None = None,
    ) -> None:
        """On each click queue what `asked` reads from the values, and say what is wrong with them if anything is."""

        async def submit(request: gr.Request, **values: Any) -> str:
            async with self._in_turn:  # on threads, quick clicks could overtake each other
                return await asyncio.to_thread(self._submit, asked, request, values)

        form.on(button.click, submit, message, js=js)

    def _submit(
        self,
        asked: Callable[[Mapping[str, Any]], Sequence[Request | Grid] | Batch],
        request: gr.Request,
        values: dict[str, Any],
    ) -> str:
        try:
            may_here(request, "make")
            owner, wanted = owner_here(request), asked(values)
        except UserError as error:
            return str(error)
        batch = wanted if isinstance(wanted, Batch) else Batch(requests=[("", each) for each in wanted])
        for queued, (_, each) in enumerate(batch.requests):
            try:
                self._queue(each, owner)
            except UserError as error:  # a line that is full is so for all that follow
                rest = [(name, str(error)) for name, _ in batch.requests[queued:]]
                return batch.said(queued, [*rest, *batch.refused])
        return batch.said(len(batch.requests), batch.refused)

    def _queue(self, wanted: Request | Grid, owner: str) -> None:
        if isinstance(wanted, Grid):
            self._app.grids.begin(wanted, owner)
        elif isinstance(wanted, GenerationRequest):
            self._app.submit(wanted, owner)
        else:
            self._app.queue.submit(wanted, owner)


def owner_here(request: gr.Request) -> str:
    """Whose browser sent this event. Raises `UserError` if it does not say."""
    assert request.request is not None  # an event that waits in no queue comes with the browser's own request
    return owner_of(request.request)


def person_here(request: gr.Request) -> Person:
    """Who sent this event."""
    assert request.request is not None
    return person_of(request.request)


def may_here(request: gr.Request, risk: Risk) -> None:
    """Raises `UserError` if whoever sent this event may not do what carries this risk: to the guard in front, all
    events of the page look alike."""
    assert request.request is not None
    require(request.request, risk)


def remember(page: gr.Blocks, form: Form) -> None:
    """Keep what stands in the form, in the browser alone; the checkpoint is remembered by the settings."""
    kept = {name: component for name, component in form.components.items() if name not in _ELSEWHERE}
    fields: list[Any] = list(kept.values())
    usual = {part: {name: form.first(name) for name in names if name in kept} for part, names in FOLDED.items()}
    names = {
        "FORM_NAME": json.dumps(form.prefix),
        "FIELD_NAMES": json.dumps(list(kept)),
        "USUAL": json.dumps(usual),
    }
    script = read("remember.js")
    for name, text in names.items():
        script = script.replace(name, text)
    gr.on(
        [field.change for field in fields],
        None,
        fields,
        js=f"(...values) => {{ {script} keep(values); return []; }}",
        api_visibility="private",
    )
    page.load(
        None, fields, fields, js=f"(...values) => {{ {script} return restore(values); }}", api_visibility="private"
    )
