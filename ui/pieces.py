"""Pieces of the page that are HTML and script of our own, from ``static/``.

Plain `gr.HTML` and no subclasses of it: Gradio writes a ``.pyi`` beside the module of every subclass. And no value
goes into a template: Gradio evaluates what comes out as a JavaScript template literal, so that a file called ``${...}``
would be run. Scripts put values in as text.
"""

from typing import Any

import gradio as gr

from ui.static_files import BASE, read


def piece(
    template: str, elem_id: str | None = None, *, script: str = "", value: Any = None, event: str = ""
) -> gr.HTML:
    """The HTML file `template`; the function `script` of ``pieces.js``, if there is one, shows `value` in it, and may
    tell Python of an `event`."""
    tell = f", () => trigger('{event}')" if event else ""
    start = (
        f"import(new URL('{BASE}/pieces.js', document.baseURI))"
        f".then((all) => all.{script}(element, props, watch{tell}));"
    )
    return gr.HTML(
        value,
        html_template=read(template),
        js_on_load=start if script else None,
        apply_default_css=False,
        elem_id=elem_id,
    )


def notice(elem_id: str, *, good: bool = False) -> gr.HTML:
    """A place for one sentence to the person; its value is plain text, and empty while there is nothing to say."""
    place = piece("notice.html", elem_id, script="notice", value="")
    place.elem_classes = ["notice", "good"] if good else ["notice"]
    return place


def live_view(elem_id: str) -> gr.HTML:
    """What happens, as it happens: the picture being made, the gallery of its job, the jobs and the history.

    Everything shown there arrives over the live channel (`backend.server.live`) and is drawn by ``live_view.js``. What
    it sends back to Python are two wishes, each with a job's id and a picture's number: ``reuse`` and ``reuse_seed``.
    """
    reuse = "reuse: (picture) => trigger('reuse', picture)"
    seed = "reuseSeed: (picture) => trigger('reuse_seed', picture)"
    return _drawn("live_view", elem_id, f"{{ {reuse}, {seed} }}")


def status_chip(elem_id: str) -> gr.HTML:
    """What is loaded and on which device, and whether the page still hears from Atelier; and light or dark."""
    return _drawn("status_chip", elem_id)


def prompt_chips(elem_id: str) -> gr.HTML:
    """The LoRAs in the prompt as a row with their weights; nothing while there are none, neither there nor on disk."""
    return _drawn("prompt_chips", elem_id)


def model_cards(elem_id: str) -> gr.HTML:
    """All models, drawn by ``models.js`` from what `backend.server.models` answers. What it sends back to Python is the
    wish ``choose`` with a checkpoint's name."""
    return _drawn("models", elem_id, "{ choose: (name) => trigger('choose', { name }) }")


def _drawn(name: str, elem_id: str, wishes: str = "{}") -> gr.HTML:
    """The HTML file `name`, drawn by the function ``start`` of the script `name`, which is given the `wishes` that it
    may send back to Python."""
    # Gradio finds a component's own events by their quoted names in this text.
    start = f"import(new URL('{BASE}/{name}.js', document.baseURI)).then((all) => all.start(element, {wishes}));"
    return gr.HTML(html_template=read(f"{name}.html"), js_on_load=start, apply_default_css=False, elem_id=elem_id)
