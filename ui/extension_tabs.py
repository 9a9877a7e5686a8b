"""Tabs of extensions: laid out by their own code, each apart from the page, so that one that fails is a sentence."""

import asyncio
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any

import gradio as gr
from gradio.block_function import BlockFunction
from gradio.components import Component
from gradio.context import Context, LocalContext

from backend.app import App
from backend.errors import UserError
from backend.extensions.asking import asked_as
from backend.extensions.extension import Extension
from backend.server.owner import asker
from ui.generate import may_here
from ui.pieces import told


@dataclass(frozen=True, kw_only=True)
class BuiltTab:
    """A tab of an extension: what it consists of, or why there is nothing."""

    id: str
    title: str
    part: gr.Blocks | None = None
    problem: str = ""


def built_tabs(app: App) -> tuple[BuiltTab, ...]:
    """The tabs of all extensions that are on. To be called while no page is being laid out."""
    return tuple(
        _built(app, extension, f"ext_{extension.id}_{number}", own.title, own.build)
        for extension in app.extensions.active()
        for number, own in enumerate(extension.brought.tabs)
    )


def place_tabs(tabs: Sequence[BuiltTab]) -> None:
    """Stand here in the row of tabs."""
    for tab in tabs:
        with gr.Tab(tab.title, id=tab.id, elem_id=f"tab_{tab.id}"), gr.Column(elem_classes="extension-tab"):
            if tab.part is None:
                sentence = told(f"{tab.id}_problem")
                sentence.value = tab.problem
            else:
                tab.part.render()


def _built(app: App, extension: Extension, id: str, title: str, build: Callable[[], None]) -> BuiltTab:
    def laid_out() -> gr.Blocks:
        with gr.Blocks(analytics_enabled=False) as part:
            build()
        for block in part.blocks.values():
            if isinstance(block, Component):
                # Attached already, with this part: the page would attach it once more, past the fence.
                block.load_event_to_attach = None
        return part

    calls = app.extensions.calls
    try:
        part = calls.call_apart(extension, f"the tab {title}", laid_out)
    except UserError as error:
        return BuiltTab(id=id, title=title, problem=str(error))
    finally:
        Context.root_block = Context.block = None  # what a build that was given up has left there
    for event in part.fns.values():
        if inspect.isgeneratorfunction(event.fn) or inspect.isasyncgenfunction(event.fn):
            problem = f"{extension.title}: an event of the tab {title} yields; here it returns once."
            return BuiltTab(id=id, title=title, problem=problem)
        _fence(app, extension, event)
    return BuiltTab(id=id, title=title, part=part)


def _fence(app: App, extension: Extension, event: BlockFunction) -> None:
    """Let an event of an extension wait in no queue, be for those who may make pictures, know whose it is, and fail
    with a sentence. What fills a tab when the page is opened, and is sent nothing, is for everybody who may look."""
    event.queue, event.api_visibility = False, "private"
    function = event.fn
    if function is None:
        return
    work = (lambda *values: asyncio.run(function(*values))) if inspect.iscoroutinefunction(function) else function
    fills = not event.inputs and all(name == "load" for _, name in event.targets)
    where = f"an event of its tab ({getattr(function, '__name__', 'a function')})"

    @wraps(function)  # Gradio reads off its signature what else it wants, such as the request
    def fenced(*values: Any) -> Any:
        request = LocalContext.request.get(None)
        try:
            if request is None:
                return app.extensions.calls.call_apart(extension, where, work, *values)
            may_here(request, "read" if fills else "make")
            assert request.request is not None
            with asked_as(asker(request.request)):
                return app.extensions.calls.call_apart(extension, where, work, *values)
        except UserError as error:
            raise gr.Error(str(error), print_exception=False) from error

    event.fn = fenced
