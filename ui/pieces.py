"""Pieces of the page that are HTML and script of our own, from ``static/``.

Plain `gr.HTML` and no subclasses of it: Gradio writes a ``.pyi`` beside the module of every subclass. And no value
goes into a template: Gradio evaluates what comes out as a JavaScript template literal, so that a file called ``${...}``
would be run. Scripts put values in as text.
"""

import json
from collections.abc import Mapping, Sequence
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


def hint(words: str) -> gr.HTML:
    """A quiet sentence of ours below some fields."""
    return gr.HTML(f'<p class="hint">{words}</p>', js_on_load=None, apply_default_css=False)


def heading(words: str) -> gr.HTML:
    """A quiet heading above some fields."""
    return gr.HTML(f'<h3 class="fields-heading">{words}</h3>', js_on_load=None, apply_default_css=False)


def told(elem_id: str) -> gr.HTML:
    """A quiet line below some fields; its value is plain text, and empty while there is nothing to say."""
    return piece("said.html", elem_id, script="notice", value="")


def live_view(tab: str) -> gr.HTML:
    """What happens, as it happens: the picture being made, the gallery of its job, the jobs and the history.

    Everything shown there arrives over the live channel (`backend.server.live`) and is drawn by ``live_view.js``. Each
    tab has one; what a person wishes for a picture goes through `wishes`.
    """
    view = _drawn("live_view", f"{tab}_results", json.dumps({"tab": tab}))
    view.elem_classes = ["tab-results"]
    return view


def wishes(elem_id: str) -> gr.HTML:
    """Not seen: what the page's scripts wish from Python for a picture, as events with a job's id and a picture's
    number; what they have to do themselves comes back as the value. See `ui.next_steps`."""
    # Gradio finds a component's own events by their quoted names in this text.
    names = (
        *("'reuse'", "'reuse_seed'", "'take'", "'vary'", "'propose'", "'apply'", "'restore'", "'materialise'"),
        *("'preset'", "'save_preset'"),
    )
    sends = ", ".join(f"{name}: (wish) => trigger({name}, wish)" for name in names)
    start = (
        f"import(new URL('{BASE}/wishes.js', document.baseURI)).then((all) => all.start({{ {sends} }}, props, watch));"
    )
    return gr.HTML(html_template="<div></div>", js_on_load=start, apply_default_css=False, elem_id=elem_id)


def picture_files(elem_id: str, *, most: int, folders: bool = False, ask: str = "") -> gr.HTML:
    """A place for up to `most` pictures from the disk: dropped, pasted or chosen, whole folders too where `folders`
    says so. Where there is room for one, another one takes its place. `ask` are other words for what is asked for."""
    offers = {"name": elem_id, "most": most, "folders": folders, "ask": ask}
    return _drawn("picture_files", elem_id, json.dumps(offers))


def png_info(elem_id: str) -> gr.HTML:
    """What a file says of how it was made, drawn by ``png_info.js`` from what `backend.server.recipes` answers."""
    return _drawn("png_info", elem_id)


def script_cost(tab: str, scripts: Sequence[Mapping[str, Any]], listed: Sequence[str], nothing: str) -> gr.HTML:
    """What the script of a tab will cost, and the doors to its grids, drawn by ``scripts.js``; `scripts` are those of
    the list and how their fields stand, `listed` the axes that can be filled with all their choices, `nothing` the name
    of the one that is none. Its value is ``{"sentence"}`` or ``{"problem"}``."""
    about = json.dumps({"tab": tab, "scripts": list(scripts), "listed": list(listed), "nothing": nothing})
    place = _drawn(
        "scripts",
        f"{tab}_script_cost",
        f"{{ ...{about}, props, watch, estimate: (about) => trigger('estimate', about) }}",
    )
    place.elem_classes = ["script-foot"]
    return place


def choices_preview(tab: str) -> gr.HTML:
    """What a prompt with wildcards and choices may become; nothing while it has none. Drawn by ``choices.js``."""
    place = _drawn("choices", f"{tab}_choices", json.dumps({"tab": tab}))
    place.elem_classes = ["tab-choices"]
    return place


def status_chip(elem_id: str) -> gr.HTML:
    """What is loaded and on which device, and whether the page still hears from Atelier; and light or dark."""
    return _drawn("status_chip", elem_id)


def person_chip(elem_id: str) -> gr.HTML:
    """Who is logged in, and the way out."""
    return _drawn("person_chip", elem_id)


def share_banner(elem_id: str) -> gr.HTML:
    """While a public link leads here: where it begins, when it ends, and a button that ends it now."""
    return _drawn("share_banner", elem_id)


def extensions_banner(elem_id: str) -> gr.HTML:
    """Where the extensions are others than when this window was opened: that it should be loaded anew."""
    return _drawn("extensions_banner", elem_id)


def extensions_tab(elem_id: str) -> gr.HTML:
    """All extensions, drawn by ``extensions.js`` from what `backend.server.extensions` answers."""
    return _drawn("extensions", elem_id)


def prompt_chips(elem_id: str) -> gr.HTML:
    """The LoRAs in the prompt as a row with their weights; nothing while there are none, neither there nor on disk."""
    chips = _drawn("prompt_chips", elem_id)
    chips.elem_classes = ["tab-loras"]
    return chips


def model_cards(elem_id: str) -> gr.HTML:
    """All models, drawn by ``models.js`` from what `backend.server.models` answers. What it sends back to Python is the
    wish ``choose`` with a checkpoint's name."""
    return _drawn("models", elem_id, "{ choose: (name) => trigger('choose', { name }) }")


def _drawn(name: str, elem_id: str, more: str = "{}") -> gr.HTML:
    """The HTML file `name`, drawn by the function ``start`` of the script `name`, which is also given what `more` says:
    values, or the wishes that it may send back to Python."""
    # Gradio finds a component's own events by their quoted names in this text.
    start = f"import(new URL('{BASE}/{name}.js', document.baseURI)).then((all) => all.start(element, {more}));"
    return gr.HTML(html_template=read(f"{name}.html"), js_on_load=start, apply_default_css=False, elem_id=elem_id)
