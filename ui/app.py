"""The page as a whole: its header, its tabs, and how it is mounted."""

import gradio as gr
from fastapi import FastAPI

from backend.app import App
from ui import models, settings, txt2img
from ui.checkpoint import CheckpointSelector
from ui.form import Form
from ui.pieces import piece, status_chip
from ui.static_files import FOLDER, HEAD, ROUTE, PageFiles
from ui.theme import theme

QUEUE_PAUSE = 0.05  # seconds between two looks into Gradio's queue


def build(app: App) -> gr.Blocks:
    """Lay the page out. A new tab is a line here."""
    with gr.Blocks(title="Atelier", fill_width=True, analytics_enabled=False) as page:
        with gr.Row(elem_id="header"):
            piece("wordmark.html", "wordmark")
            checkpoint = CheckpointSelector(app)
            status_chip("model_status")
        form = Form("txt2img", app.settings.value, checkpoint.suited)
        form.adopt("checkpoint", checkpoint.list)

        def renew() -> None:
            """Let pages that are opened from now on begin with what is set now."""
            checkpoint.renew()
            form.set_defaults(app.settings.value, checkpoint.suited)
            page.config = page.get_config_file()

        with gr.Tabs(elem_id="tabs"):
            with gr.Tab("txt2img", id="txt2img", elem_id="tab_txt2img"):
                txt2img.build(page, app, form)
            with gr.Tab("Models", id="models", elem_id="tab_models"):
                cards = models.build(page, form)
            with gr.Tab("Settings", id="settings", elem_id="tab_settings") as tab:
                settings.build(app, tab, renew)
        checkpoint.listen(page, form, cards, renew)
    page.queue(api_open=False)
    # Nothing waits in it (`SHORT_EVENT`), and by itself it would look a thousand times a second.
    page._queue.sleep_when_free = QUEUE_PAUSE
    return page


def mount(server: FastAPI, app: App) -> FastAPI:
    """Serve the page at ``/`` of `server`, and its scripts and styles; other routes must be there before."""
    server.mount(ROUTE, PageFiles(), name="page-files")
    return gr.mount_gradio_app(
        server,
        build(app),
        path="/",
        theme=theme(),
        head=HEAD,
        favicon_path=str(FOLDER / "favicon.svg"),
        footer_links=[],
        run_history=False,
        show_error=False,
        max_file_size=0,
        pwa=False,
        ssr_mode=False,
        mcp_server=False,
        enable_monitoring=False,
    )
