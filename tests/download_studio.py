"""A hub on this machine and an installation that downloads from it, for tests."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from backend.model_manager.downloads.access_tokens import AccessTokens
from backend.model_manager.downloads.download import Downloads
from backend.model_manager.downloads.download_record import Download, DownloadRecord
from backend.model_manager.downloads.hub import Hub, HubPlace
from backend.model_manager.downloads.transfer import Limits
from backend.web_client import WebClient
from tests.hub_server import HubServer, Repository, Server, safetensors_bytes

QUICK = Limits(pause=0.01, attempts=3, kept_free=0, sync_every=256 * 1024)
MODEL = safetensors_bytes(1024 * 1024)
SMALL = safetensors_bytes(3000)
PLACE = HubPlace(repository="artist/style", path="style.safetensors")
TEXTS = {
    "model_index.json": b'{"_class_name": "StableDiffusionPipeline", "custom_pipeline": "evil"}',
    "scheduler/scheduler_config.json": b"{}",
    "tokenizer/merges.txt": b"a b\n",
    "unet/config.json": b'{"in_channels": 4}',
}


@dataclass
class Studio:
    """A hub, the host of its large files, and an installation that downloads from them."""

    hub: HubServer
    storage: Server
    folder: Path
    database: Path
    tokens: AccessTokens
    downloads: Downloads
    limits: Limits = QUICK

    def client(self) -> WebClient:
        trusted = {self.hub.origin, self.storage.origin}
        return WebClient(token=self.tokens.token, trusted=trusted)

    def restart(self, limits: Limits | None = None) -> None:
        """Close the installation and open it again."""
        self.downloads.close()
        self.limits = limits or self.limits
        self.downloads = Downloads(self.database, self.client(), [self.folder.parent], limits=self.limits)

    def from_hub(self, place: HubPlace = PLACE) -> Download:
        return Hub(self.client(), self.hub.origin).download_file(place, self.folder)

    def whole_folder(self) -> Download:
        hub = Hub(self.client(), self.hub.origin)
        listing = hub.listing(HubPlace(repository="artist/folder"))
        (choice,) = [choice for choice in listing.choices() if choice.folder]
        return hub.download(listing, choice, self.folder)

    def now(self, id: str) -> DownloadRecord:
        (record,) = [record for record in self.downloads.all() if record.id == id]
        return record

    def until(self, happened: Callable[[], bool]) -> None:
        """Wait for something that a change of the list tells."""
        changed = threading.Condition()

        def tell() -> None:
            with changed:
                changed.notify_all()

        end = self.downloads.subscribe(tell)
        try:
            with changed:
                assert changed.wait_for(happened, timeout=60), [(r.state, r.problem) for r in self.downloads.all()]
        finally:
            end()

    def settle(self, id: str) -> DownloadRecord:
        """The download once nothing of it runs."""
        self.until(lambda: self.now(id).state in ("finished", "failed", "paused"))
        return self.now(id)

    def run(self, download: Download) -> DownloadRecord:
        return self.settle(self.downloads.start(download).id)

    def left(self) -> list[str]:
        """What there is in the model folder."""
        return sorted(path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*"))

    def sent(self) -> int:
        """Bytes of files that the servers sent."""
        return self.hub.sent + self.storage.sent


@contextmanager
def studio_at(tmp_path: Path) -> Iterator[Studio]:
    repositories = {
        "artist/style": Repository({"style.safetensors": MODEL, "style.ckpt": b"\x80\x02" + os.urandom(9000)}),
        "artist/gated": Repository({"style.safetensors": MODEL}, gated=True),
        "artist/folder": Repository(
            {**TEXTS, "unet/diffusion_pytorch_model.safetensors": MODEL, "vae/x.safetensors": SMALL, "run.py": b"evil"}
        ),
    }
    with Server(host="localhost") as storage, HubServer(repositories, storage) as hub:
        assert isinstance(hub, HubServer)
        folder, database = tmp_path / "models" / "loras", tmp_path / "data" / "downloads.sqlite3"
        folder.mkdir(parents=True)
        tokens = AccessTokens(tmp_path / "data" / "tokens.json")
        client = WebClient(token=tokens.token, trusted={hub.origin, storage.origin})
        downloads = Downloads(database, client, [folder.parent], limits=QUICK)
        studio = Studio(hub, storage, folder, database, tokens, downloads)
        yield studio
        studio.downloads.close()
