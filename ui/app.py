"""The page as a whole: its header, its tabs, and how it is mounted."""

from collections.abc import Mapping
from types import MappingProxyType

import gradio as gr
from fastapi import FastAPI

from backend.app import App
from backend.extension_api import Tab
from backend.server.risks import risk
from ui import extras, img2img, inpaint, models, origins, settings, txt2img
from ui.checkpoint import CheckpointSelector
from ui.extension_fields import parts_of
from ui.extension_tabs import built_tabs, place_tabs
from ui.fields import EXTRAS, FIELDS, HIRES, INIT, INPAINTING, OPTIONS, TILED, Field
from ui.form import Form
from ui.generate import Sender
from ui.next_steps import NextSteps
from ui.operations import shown_operations
from ui.pages import Pages, Renewals
from ui.pieces import extensions_banner, extensions_tab, person_chip, piece, png_info, share_banner, status_chip
from ui.script_fields import script_fields, shown_scripts
from ui.static_files import ROUTE, PageFiles

QUEUE_PAUSE = 0.05  # seconds between two looks into Gradio's queue
# The tabs that make pictures with a checkpoint, and what their forms ask for beside what extensions bring.
TABLES: Mapping[Tab, tuple[Field, ...]] = MappingProxyType(
    {
        "txt2img": (*FIELDS, *OPTIONS, *HIRES),
        "img2img": (*FIELDS, *OPTIONS, *INIT, *TILED),
        "inpaint": (*FIELDS, *OPTIONS, *INIT, *INPAINTING),
    }
)


def build(app: App, *, login: bool = False, shared: bool = False, renewals: Renewals | None = None) -> gr.Blocks:
    """Lay the page out. A new tab is a line here. `login` and `shared` say what this run was started with; among
    `renewals` is what lets windows that are opened from now on begin with what is set by then."""
    renewed = renewals or Renewals()
    own_tabs = built_tabs(app)  # first: of one that fails nothing may stand on the page
    with gr.Blocks(title="Atelier", fill_width=True, analytics_enabled=False) as page:
        if shared:
            share_banner("share_banner")
        extensions_banner("extensions_banner")
        with gr.Row(elem_id="header"):
            piece("wordmark.html", "wordmark")
            checkpoint = CheckpointSelector(app)
            status_chip("model_status")
            if login or shared:
                person_chip("person")
        painters = {name: _form(app, name, checkpoint) for name in TABLES}
        for form in painters.values():
            form.adopt("checkpoint", checkpoint.list)
        added = shown_operations()
        table = (*EXTRAS, *(row for operation in added for row in operation.fields))
        enlarger = Form("extras", app.settings.value, {}, table)

        def renew() -> None:
            """Let pages that are opened from now on begin with what is set now."""
            checkpoint.renew()
            for form in painters.values():
                form.set_defaults(app.settings.value, checkpoint.suited)
            page.config = page.get_config_file()

        renewed.acts.append(renew)
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
                buttons["extras"] = extras.build(page, app, enlarger, sender, added)
            with gr.Tab("PNG Info", id="pnginfo", elem_id="tab_pnginfo"):
                png_info("pnginfo")
            place_tabs(own_tabs)
            with gr.Tab("Models", id="models", elem_id="tab_models"):
                cards = models.build(page, list(painters.values()))
            with gr.Tab("Extensions", id="extensions", elem_id="tab_extensions"):
                extensions_tab("extensions_page")
            with gr.Tab("Settings", id="settings", elem_id="tab_settings") as tab:
                settings.build(app, tab, renewed)
        NextSteps(app, {**painters, "extras": enlarger}, buttons, renewed)
        checkpoint.listen(page, list(painters.values()), cards, renewed)
    page.queue(api_open=False)
    # Nothing waits in it (`SHORT_EVENT`), and by itself it would look a thousand times a second.
    page._queue.sleep_when_free = QUEUE_PAUSE
    return page


def _form(app: App, tab: Tab, checkpoint: CheckpointSelector) -> Form:
    """What a tab asks for: its own fields, those of extensions, and those of the scripts that it offers."""
    scripts = shown_scripts(app.scripts.offered(tab), app.scripts.axes())
    table = (*TABLES[tab], *script_fields(scripts))
    parts = parts_of(app.extensions.active(), tab)
    return Form(tab, app.settings.value, checkpoint.suited, table, parts, scripts)


def mount(server: FastAPI, app: App, *, subpath: str = "", login: bool = False, shared: bool = False) -> FastAPI:
    """Serve the page at ``/`` of `server`, and its scripts and styles; other routes must be there before. `subpath` is
    what the addresses of all of them begin with, `login` and `shared` as in `build`."""
    server.mount(ROUTE, risk("read")(PageFiles()), name="page-files")
    server.include_router(origins.router(app))

    def made(renewals: Renewals) -> gr.Blocks:
        return build(app, login=login, shared=shared, renewals=renewals)

    pages = Pages(server, app, made, subpath=subpath)
    app.extensions.subscribe(pages.outdate)
    return server
