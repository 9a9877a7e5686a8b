"""A page with nothing on it but a canvas, and a stand-in for the server's store of inputs."""

import hashlib
import io
import threading

import gradio as gr
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from PIL import Image

from ui.canvas import canvas
from ui.static_files import BASE, ROUTE, STYLES, PageFiles
from ui.theme import theme

STYLED = "".join(f'<link rel="stylesheet" href="{BASE}/{name}.css">' for name in STYLES)


class Easel:
    """Serves the page on a port of its own, and keeps what is sent to it."""

    def __init__(self) -> None:
        self.inputs: dict[str, bytes] = {}
        self.sent: list[bytes] = []
        self.refusal = ""  # the sentence with which nothing more is taken
        self.pictures: dict[str, bytes] = {}
        web = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
        web.add_api_route("/atelier/inputs", self._put, methods=["POST"])
        web.add_api_route("/atelier/pictures/{name}", self._picture)
        web.add_api_route("/atelier/extensions/slots", no_extensions)
        web.mount(ROUTE, PageFiles())
        page = gr.mount_gradio_app(
            web, self._page(), path="/", theme=theme(), head=STYLED, footer_links=[], run_history=False, pwa=False
        )
        self._server = uvicorn.Server(uvicorn.Config(page, port=0, log_level="warning", ws="websockets-sansio"))
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        while not self._server.started:
            self._thread.join(0.01)

    @staticmethod
    def _page() -> gr.Blocks:
        with gr.Blocks(title="Easel", fill_width=True, analytics_enabled=False) as page, gr.Tabs(elem_id="tabs"):
            with gr.Tab("Inpaint"):
                canvas("inpaint", "inpaint_canvas")
            with gr.Tab("Words"):
                gr.Textbox(label="Prompt", elem_id="words")
        return page

    async def _put(self, request: Request) -> Response:
        data = await request.body()
        if self.refusal:
            return JSONResponse({"problem": self.refusal}, status_code=400)
        name = hashlib.sha256(data).hexdigest()
        self.sent.append(data)
        self.inputs[name] = data
        with Image.open(io.BytesIO(data)) as image:
            width, height = image.size
        return Response(f'{{"name": "{name}", "width": {width}, "height": {height}}}', media_type="application/json")

    async def _picture(self, name: str, thumb: int = 0) -> Response:
        data = self.pictures[name]
        if thumb:
            with Image.open(io.BytesIO(data)) as image:
                image.thumbnail((thumb, thumb))
                data = png(image)
        return Response(data, media_type="image/png")

    def offer(self, name: str, image: Image.Image) -> str:
        """Put a picture where the page may fetch it; its address."""
        self.pictures[name] = png(image)
        return f"atelier/pictures/{name}"

    @property
    def url(self) -> str:
        port = self._server.servers[0].sockets[0].getsockname()[1]
        return f"http://127.0.0.1:{port}/"

    def close(self) -> None:
        self._server.should_exit = True
        self._thread.join(10)


def no_extensions() -> dict[str, list[str]]:
    """What the page is told where none is on."""
    return {name: [] for name in ("modules", "gallery", "cards", "canvas", "pages")}


def png(image: Image.Image) -> bytes:
    """The file's bytes."""
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
