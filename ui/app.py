"""The page as a whole: its header, its tabs, and how it is mounted."""

from collections.abc import Mapping
from types import MappingProxyType

import gradio as gr
from fastapi import FastAPI
from starlette.routing import Mount

from backend.app import App
from backend.server.risks import risk
from ui import extras, img2img, inpaint, models, origins, settings, txt2img
from ui.checkpoint import CheckpointSelector
from ui.fields import EXTRAS, FIELDS, HIRES, INIT, INPAINTING, OPTIONS, TILED, Field
from ui.form import Form
from ui.generate import Sender
from ui.next_steps import NextSteps
from ui.page_routes import declare_page_routes
from ui.pieces import person_chip, piece, png_info, share_banner, status_chip
from ui.script_fields import SCRIPT_FIELDS
from ui.static_files import FOLDER, HEAD, ROUTE, PageFiles
from ui.theme import theme

QUEUE_PAUSE = 0.05  # seconds between two looks into Gradio's queue
# The tabs that make pictures with a checkpoint, and what their forms ask for.
TABLES: Mapping[str, tuple[Field, ...]] = MappingProxyType(
    {
        "txt2img": (*FIELDS, *OPTIONS, *HIRES, *SCRIPT_FIELDS),
        "img2img": (*FIELDS, *OPTIONS, *INIT, *TILED, *SCRIPT_FIELDS),
        "inpaint": (*FIELDS, *OPTIONS, *INIT, *INPAINTING, *SCRIPT_FIELDS),
    }
)


def build(app: App, *, login: bool = False, shared: bool = False) -> gr.Blocks:
    """Lay the page out. A new tab is a line here. `login` and `shared` say what this run was started with."""
    with gr.Blocks(title="Atelier", fill_width=True, analytics_enabled=False) as page:
        if shared:
            share_banner("share_banner")
        with gr.Row(elem_id="header"):
            piece("wordmark.html", "wordmark")
            checkpoint = CheckpointSelector(app)
            status_chip("model_status")
            if login or shared:
                person_chip("person")
        painters = {name: Form(name, app.settings.value, checkpoint.suited, table) for name, table in TABLES.items()}
        for form in painters.values():
            form.adopt("checkpoint", checkpoint.list)
        enlarger = Form("extras", app.settings.value, {}, EXTRAS)

        def renew() -> None:
            """Let pages that are opened from now on begin with what is set now."""
            checkpoint.renew()
            for form in painters.values():
                form.set_defaults(app.settings.value, checkpoint.suited)
            page.config = page.get_config_file()

        sender = Sender(app)
        buttons = {}
        with gr.Tabs(elem_id="tabs"):
            with gr.Tab("txt2img", id="txt2img", elem_id="tab_txt2img"):
                buttons["txt2img"] = txt2img.build(page, app, painters["txt2img"], sender)
            with gr.Tab("img2img", id="img2img", elem_id="tab_img2img"):
                buttons["img2img"] = img2img.build(page, app, painters["img2img"], sender)
            with gr.Tab("Inpaint", id="inpaint", elem_id="tab_inpaint"):
                buttons["inpaint"] = inpaint.build(page, app, painters["inpaint"], sender)
            with gr.Tab("Extras", id="extras", elem_id="tab_extras"):
                buttons["extras"] = extras.build(page, app, enlarger, sender)
            with gr.Tab("PNG Info", id="pnginfo", elem_id="tab_pnginfo"):
                png_info("pnginfo")
            with gr.Tab("Models", id="models", elem_id="tab_models"):
                cards = models.build(page, list(painters.values()))
            with gr.Tab("Settings", id="settings", elem_id="tab_settings") as tab:
                settings.build(app, tab, renew)
        NextSteps(app, {**painters, "extras": enlarger}, buttons, renew)
        checkpoint.listen(page, list(painters.values()), cards, renew)
    page.queue(api_open=False)
    # Nothing waits in it (`SHORT_EVENT`), and by itself it would look a thousand times a second.
    page._queue.sleep_when_free = QUEUE_PAUSE
    return page


def mount(server: FastAPI, app: App, *, subpath: str = "", login: bool = False, shared: bool = False) -> FastAPI:
    """Serve the page at ``/`` of `server`, and its scripts and styles; other routes must be there before. `subpath` is
    what the addresses of all of them begin with, `login` and `shared` as in `build`."""
    server.mount(ROUTE, risk("read")(PageFiles()), name="page-files")
    server.include_router(origins.router(app))
    gr.mount_gradio_app(
        server,
        build(app, login=login, shared=shared),
        path="/",
        root_path=subpath or None,
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
    page = server.routes[-1]
    assert isinstance(page, Mount)
    declare_page_routes(page.routes)
    return server
