"""The canvas: our own surface to paint on, drawn by ``static/canvas/canvas.js``.

Pictures do not travel through Gradio. Before a form is sent, its script calls ``commit()`` of the canvas, which puts
what changed into the server's store of inputs and gives names; those go into the form.
"""

import json

import gradio as gr

from ui.static_files import BASE, read


def canvas(name: str, elem_id: str, *, mask: bool = True, sketch: bool = True, box: bool = True) -> gr.HTML:
    """A canvas that the browser remembers under `name`, with the layers and the box that a tab has a use for."""
    offers = json.dumps({"name": name, "mask": mask, "sketch": sketch, "box": box})
    start = f"import(new URL('{BASE}/canvas/canvas.js', document.baseURI)).then((all) => all.start(element, {offers}));"
    return gr.HTML(html_template=read("canvas.html"), js_on_load=start, apply_default_css=False, elem_id=elem_id)
