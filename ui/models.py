"""The tab that shows every model: what lies in the folders, what is in memory, and ways to add and change.

Nothing of that is in Python: `backend.server.models` answers the page's own scripts (``static/models*.js``), which draw
it. What goes through Gradio is what its components must know of: the prompts, and which checkpoint is chosen.
"""

from collections.abc import Sequence

import gradio as gr

from ui.form import Form
from ui.pieces import model_cards


def build(page: gr.Blocks, forms: Sequence[Form]) -> gr.HTML:
    """Lay the tab out; what is returned tells of a checkpoint chosen there, by its event ``choose`` with a name."""
    cards = model_cards("models_cards")
    prompts = [form.components[name] for form in forms for name in ("prompt", "negative_prompt")]
    tell = "() => dispatchEvent(new Event('atelier-prompts'))"
    # After the next frame, when Gradio has put the text into its field.
    later = f"() => requestAnimationFrame({tell})"
    changes = [prompt.change for prompt in prompts if isinstance(prompt, gr.Textbox)]
    gr.on([page.load, *changes], None, None, js=later, api_visibility="private")
    return cards
