"""The routes of the Models tab behind the real guard, on folders of a test's own."""

import io
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image
from safetensors.numpy import save_file

from backend.app import App, Options
from backend.jobs import Worker
from backend.model_manager.inventory.overview import id_of
from backend.server import models
from backend.server.guard import Guard
from backend.server.owner import OWNER_COOKIE
from tests.scripted import ScriptedWorker

HERE = "http://127.0.0.1:7860"
ME, OTHER = "a" * 32, "b" * 32
PATIENCE = 600.0
BASE = "/atelier/models"


def lora(width: int) -> dict[str, np.ndarray]:
    """A LoRA for checkpoints whose text conditioning is so wide."""
    shapes = {"alpha": (), "lora_down.weight": (4, width), "lora_up.weight": (320, 4)}
    return {
        f"lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_{part}.{end}": np.zeros(shape, np.float16)
        for part in "kv"
        for end, shape in shapes.items()
    }


LORA = lora(768)


@dataclass
class Studio:
    """An app on folders of this test's own, a page at this machine, and one elsewhere."""

    app: App
    root: Path
    guarded: Guard
    clients: dict[str, TestClient] = field(default_factory=dict)

    def client(self, peer: str = "127.0.0.1", owner: str = ME) -> TestClient:
        key = f"{peer} {owner}"
        if key not in self.clients:
            self.clients[key] = TestClient(
                self.guarded, base_url=HERE, client=(peer, 50000), cookies={OWNER_COOKIE: owner}
            )
        return self.clients[key]

    def get(self, path: str = "", **options: Any) -> Any:
        return self.client().get(BASE + path, **options)

    def post(self, path: str, value: object = None, **options: Any) -> Any:
        return self.client().post(BASE + path, json={} if value is None else value, **options)

    def done(self, path: str, value: object = None) -> Any:
        answer = self.post(path, value)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def refused(self, path: str, value: object = None, status: int = 400) -> str:
        answer = self.post(path, value)
        assert answer.status_code == status, answer.text
        assert answer.json().keys() == {"problem"}
        return answer.json()["problem"]

    def models(self) -> dict[str, dict[str, Any]]:
        """The list, by file name."""
        return {model["file"]: model for model in self.get().json()["models"]}

    def write_lora(self, name: str, tensors: dict[str, np.ndarray] = LORA, **metadata: str) -> str:
        """A LoRA in our own folder; returns its id."""
        path = self.root / "models" / "loras" / f"{name}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(tensors, path, metadata)
        self.app.catalog.refresh()
        return id_of(path)

    def until(self, happened: Callable[[], object]) -> None:
        end = time.monotonic() + PATIENCE
        while not happened():
            assert time.monotonic() < end, self.get("/works").json()
            time.sleep(0.01)

    def work(self, id: str) -> dict[str, Any]:
        return next(each for each in self.get("/works").json()["works"] if each["id"] == id)

    def download(self, id: str) -> dict[str, Any]:
        return next(each for each in self.get("/works").json()["downloads"] if each["id"] == id)


@contextmanager
def studio_of(options: Options, worker: Callable[[App], Worker] | None = ScriptedWorker) -> Iterator[Studio]:
    """A studio whose catalog has looked at everything; `worker` is not started."""
    app = App(options, worker=worker)
    try:
        server = FastAPI()
        server.include_router(models.router(app))
        app.catalog.wait(PATIENCE)
        yield Studio(app, options.installation, Guard(server))
    finally:
        app.close()


def options_at(folder: Path, checkpoint: Path) -> Options:
    """Everything below `folder`; the folder of `checkpoint` is searched as well."""
    return Options(data_dir=folder / "data", installation=folder / "atelier", checkpoint_dirs=(checkpoint.parent,))


def checkpoint(studio: Studio) -> str:
    return studio.models()["tiny.safetensors"]["id"]


def picture(path: Path, colour: str = "red", size: tuple[int, int] = (300, 200)) -> Path:
    Image.new("RGB", size, colour).save(path)
    return path


def colour_of(data: bytes) -> tuple[int, ...]:
    with Image.open(io.BytesIO(data)) as image:
        pixel = image.convert("RGB").getpixel((10, 10))
    assert isinstance(pixel, tuple)
    return pixel
