"""The composition root: makes each part once, in order, and closes them."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from backend.errors import UserError
from backend.files import sweep_partial
from backend.job_store import SQLiteJobStore
from backend.jobs import JobQueue, Worker
from backend.model_manager.catalog import Catalog
from backend.model_manager.status import ModelStatus, StatusBoard
from backend.outputs import Outputs
from backend.paths import MODELS, ROOT
from backend.request import GenerationRequest
from backend.sampling.samplers import find_sampler
from backend.sampling.schedules import AUTOMATIC, find_schedule, is_automatic
from backend.settings import SettingsStore

log = logging.getLogger(__name__)


Device = Literal["auto", "cuda", "mps", "cpu"]


@dataclass(frozen=True, kw_only=True)
class Options:
    """How this run was started: folders to search besides ``models/``, where data goes, what it runs on."""

    data_dir: Path = ROOT
    checkpoint_dirs: tuple[Path, ...] = ()
    lora_dirs: tuple[Path, ...] = ()
    vae_dirs: tuple[Path, ...] = ()
    embedding_dirs: tuple[Path, ...] = ()
    device: Device = "auto"
    xformers: bool = False


class App:
    """Everything one running Atelier consists of; nothing here draws a page."""

    def __init__(self, options: Options, *, worker: Callable[["App"], Worker] | None = None):
        """`worker` replaces the engine, for tests of the page."""
        self.options = options
        self.settings = SettingsStore(options.data_dir / "settings.json")
        self.catalog = Catalog((MODELS / "checkpoints", *options.checkpoint_dirs))
        self.status = StatusBoard(ModelStatus(device=options.device))
        self.outputs = Outputs(lambda: self.settings.value, options.data_dir / "outputs")
        self.queue = JobQueue(
            lambda: (worker or _engine)(self),
            prepare=self.prepare,
            store=SQLiteJobStore(options.data_dir / "queue.sqlite3"),
        )

    def start(self) -> None:
        """Begin to work; heavy imports happen on the worker's thread."""
        swept = sweep_partial(self.outputs.folder)
        if swept:
            log.info("removed %d unfinished files", swept)
        self.queue.start()

    def close(self) -> None:
        """End the running job at its next step; what waits is kept for the next start."""
        self.queue.close()

    def prepare(self, request: GenerationRequest) -> GenerationRequest:
        """What happens to a request at the door: names are checked and made exact, what is unset is decided.

        Raises `UserError` for an unknown sampler, schedule or checkpoint.
        """
        schedule = AUTOMATIC if is_automatic(request.schedule) else find_schedule(request.schedule).name
        record = self.catalog.find(request.checkpoint or self.settings.value.checkpoint)
        return replace(
            request.resolved(),
            sampler=find_sampler(request.sampler).name,
            schedule=schedule,
            checkpoint=record.name,
        )


def _engine(app: App) -> Worker:
    """The real worker. Imported here, on the worker's thread: torch takes seconds, and the page is served first."""
    app.status.post(loading="PyTorch", problem="")
    try:
        from backend.engine import Engine

        return Engine.create(app)
    except UserError as error:
        app.status.post(problem=str(error))
        raise
    finally:
        app.status.post(loading="")
