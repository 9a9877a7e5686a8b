"""The composition root: makes each part once, in order, and closes them."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from backend.errors import UserError
from backend.events import Event
from backend.extensions.door import prompted
from backend.extensions.extension import ExtensionFault
from backend.extensions.extensions import Extensions
from backend.extensions.extras import checked
from backend.extensions.install import Installer
from backend.extensions.registration import Services
from backend.extensions.supervisor import HeldUp, Pulse
from backend.files import sweep_partial
from backend.grids.grids import Grids
from backend.grids.request import GridRequest
from backend.grids.scripts import Scripts
from backend.imaging.upscale import Upscalers
from backend.init_image import LATENT_UPSCALERS, HiresFix, InitImage
from backend.inputs import Inputs
from backend.job import Once
from backend.job_store import SQLiteJobStore
from backend.jobs import Job, JobQueue, Limits, Worker
from backend.model_manager.catalog import Catalog
from backend.model_manager.chores import Chores
from backend.model_manager.downloads.access_tokens import AccessTokens
from backend.model_manager.downloads.download import Downloads
from backend.model_manager.downloads.hub import Hub, hub_endpoint, vouched_origins
from backend.model_manager.identity import Kind
from backend.model_manager.inventory.hashes import HashIndex
from backend.model_manager.inventory.overview import Overview
from backend.model_manager.inventory.record import CONTROL, WORDS, ModelRecord
from backend.model_manager.inventory.trees import ATELIER, ModelFolder
from backend.model_manager.memory.status import ModelStatus, StatusBoard
from backend.outputs import Outputs
from backend.paths import MODELS, ROOT
from backend.presets import Presets
from backend.prompt.loras import named_loras
from backend.request import AUTOMATIC_VAE, OWN_VAE, GenerationRequest
from backend.retention import Retention
from backend.sampling.guidance import find_guidance
from backend.sampling.samplers import find_sampler
from backend.sampling.schedules import AUTOMATIC, find_schedule, is_automatic
from backend.sampling_options import Refiner
from backend.saved_pictures import SavedPictures
from backend.settings import SettingsStore
from backend.styles import DEFAULT, Styles
from backend.upscaling import door
from backend.upscaling.request import UpscaleRequest
from backend.watchdog import Watchdog
from backend.web_client import WebClient
from backend.wildcards import Wildcards

if TYPE_CHECKING:
    import torch

    from backend.model_manager.residency import Residency

log = logging.getLogger(__name__)

R = TypeVar("R", GenerationRequest, UpscaleRequest, GridRequest)
Device = Literal["auto", "cuda", "mps", "cpu"]
Precision = Literal["auto", "fp16", "bf16", "fp32"]


@dataclass(frozen=True, kw_only=True)
class Options:
    """How this run was started: folders to search besides ``models/``, where data goes, what it runs on.

    `installation` is where our own ``models/`` lies. `model_dirs` hold models of every kind: installations of
    AUTOMATIC1111, Forge or ComfyUI, or folders of any order. `trusted` are origins in the own network from which models
    may be fetched, besides the one that HF_ENDPOINT names. In `safe_mode` no extension is loaded; `extension_flags` are
    the values of the flags that extensions declare, by their names without dashes in front. `pulse` tells who watches
    over this process what it is in, and `held_up` says what the one before it was ended in.
    """

    data_dir: Path = ROOT
    installation: Path = MODELS.parent
    checkpoint_dirs: tuple[Path, ...] = ()
    lora_dirs: tuple[Path, ...] = ()
    vae_dirs: tuple[Path, ...] = ()
    embedding_dirs: tuple[Path, ...] = ()
    controlnet_dirs: tuple[Path, ...] = ()
    upscaler_dirs: tuple[Path, ...] = ()
    model_dirs: tuple[Path, ...] = ()
    wildcard_dirs: tuple[Path, ...] = ()
    device: Device = "auto"
    xformers: bool = False
    precision: Precision = "auto"
    ram_gb: float | None = None
    vram_gb: float | None = None
    trusted: frozenset[str] = frozenset()
    safe_mode: bool = False
    extension_flags: Mapping[str, str | bool] = field(default_factory=dict)
    pulse: Pulse | None = None
    held_up: HeldUp | None = None

    @property
    def folders(self) -> tuple[ModelFolder, ...]:
        """Every folder to search, ``models/`` first."""
        given = {
            Kind.CHECKPOINT: self.checkpoint_dirs,
            Kind.LORA: self.lora_dirs,
            Kind.VAE: self.vae_dirs,
            Kind.EMBEDDING: self.embedding_dirs,
            Kind.CONTROLNET: self.controlnet_dirs,
            Kind.UPSCALER: self.upscaler_dirs,
            Kind.UNKNOWN: self.model_dirs,
        }
        return (
            *ATELIER.folders(self.installation),
            *(ModelFolder(path=path, kind=kind) for kind, paths in given.items() for path in paths),
        )

    def folders_called(self, name: str) -> tuple[Path, ...]:
        """Where files may lie that an extension knows: see `ExtensionApi.folders`."""
        declared = self.wildcard_dirs if name == "wildcards" else ()
        return (self.data_dir / name, *declared, *(folder / name for folder in self.model_dirs))

    @property
    def depth_folder(self) -> Path:
        """Where a depth model may lie that computes what depth checkpoints want: ``models/depth``."""
        return self.own_folder(Kind.CHECKPOINT).with_name("depth")

    def own_folder(self, kind: Kind) -> Path:
        """Where new files of a kind go: a folder of our own. Raises `UserError` for a kind that has none."""
        kind = Kind.CONTROLNET if kind in CONTROL else kind
        for folder in ATELIER.folders(self.installation):
            if folder.kind is kind:
                return folder.path
        raise UserError(f"There is no folder for a {WORDS[kind]}: say what it is.")


class App:
    """Everything one running Atelier consists of; nothing here draws a page."""

    def __init__(self, options: Options, *, worker: Callable[["App"], Worker] | None = None):
        """`worker` replaces the engine, for tests of the page."""
        self.options = options
        self.settings = SettingsStore(options.data_dir / "settings.json")
        self.catalog = Catalog(options.folders, options.data_dir / "models.sqlite3")
        self.catalog.start()
        self.overview = Overview(self.catalog)
        self.hashes = HashIndex(options.data_dir / "models.sqlite3")
        self.tokens = AccessTokens(options.data_dir / "tokens.json")
        self.web = WebClient(token=self.tokens.token, trusted=vouched_origins() | options.trusted)
        self.hub = Hub(self.web, hub_endpoint())
        models = [folder.path for folder in ATELIER.folders(options.installation)]
        self.downloads = Downloads(options.data_dir / "downloads.sqlite3", self.web, models)
        self.chores = Chores(self.catalog, self.hashes)
        self._fetched = self._finished_downloads()
        self.downloads.subscribe(self._on_download)
        self.residency: Residency | None = None  # once the worker has loaded PyTorch
        self.status = StatusBoard(ModelStatus(device=options.device))
        self.inputs = Inputs(options.data_dir / "inputs")
        self.styles = Styles(options.data_dir, [folder / DEFAULT for folder in options.model_dirs])
        self.presets = Presets(options.data_dir / "presets.json")
        self.upscalers = Upscalers(self.catalog, self._place)
        self.outputs = Outputs(lambda: self.settings.value, options.data_dir / "outputs")
        self.queue = JobQueue(
            lambda: (worker or _engine)(self),
            prepare=self.prepare,
            store=SQLiteJobStore(options.data_dir / "queue.sqlite3"),
            limits=self._limits,
        )
        self.pictures = SavedPictures(options.data_dir / "pictures.sqlite3", self.queue.everybody())
        self.grids = Grids(self.outputs, self.queue, self._prepare_cell)
        self.extensions = Extensions(options.data_dir, services=self._services(), safe_mode=options.safe_mode)
        self._listen()
        self.extensions.load()
        self._blame(options.held_up)
        self.installer = Installer(self.extensions, options.data_dir)
        self.watchdog = Watchdog(self.extensions, self.queue.give_up)
        self.scripts = Scripts(self.extensions, self.styles)
        self.wildcards = Wildcards(self.extensions)
        self.retention = Retention(
            self.inputs, lambda: self.settings.value.keep_inputs_days, self.queue.inputs, self.pictures
        )

    def start(self) -> None:
        """Begin to work; heavy imports happen on the worker's thread."""
        swept = sum(map(sweep_partial, (self.outputs.folder, self.inputs.folder)))
        if swept:
            log.info("removed %d unfinished files", swept)
        self.grids.start()
        self.watchdog.start()
        self.queue.start()
        self.retention.start()

    def close(self) -> None:
        """End the running job at its next step; what waits is kept for the next start."""
        self.grids.close()
        self.queue.close()
        self.retention.close()
        self.watchdog.close()
        self.extensions.close()
        self.pictures.close()
        self.chores.close()
        self.downloads.close()
        self.hashes.close()
        self.overview.close()
        self.catalog.close()

    def submit(self, request: GenerationRequest, owner: str, *, once: Once | None = None) -> list[Job]:
        """Queue a request, as several jobs where each of its pictures has words of its own, or extensions make several
        of it. Raises `UserError`, and then none is queued; a submission that was named before is answered with its
        jobs."""
        return self.queue.submit_all(self.several(request), owner, once=once)

    def several(self, request: GenerationRequest) -> list[GenerationRequest]:
        """What is queued for a request: what extensions make of it at the door. Raises `UserError`."""
        return prompted(self.extensions.active(), self.extensions.calls, request)

    def prepare(self, request: R) -> R:
        """What happens to a request at the door: names are checked and made exact, what is unset is decided.

        Raises `UserError` for one that cannot be.
        """
        if isinstance(request, UpscaleRequest):
            return door.prepare(request, self.upscalers, self.inputs)
        if isinstance(request, GridRequest):
            return request
        return self._prepare(request)

    def _prepare_cell(self, request: GenerationRequest) -> GenerationRequest:
        """A cell of a grid at the door: one request, whatever extensions make of it, with the words of its first
        picture."""
        first = self.several(replace(request, batch_size=1, batch_count=1))[0]
        return self._prepare(replace(first, batch_size=request.batch_size, batch_count=request.batch_count))

    def _prepare(self, request: GenerationRequest) -> GenerationRequest:
        """A generation at the door.

        Raises `UserError` for an unknown sampler, schedule, checkpoint, VAE, LoRA or upscaler, for a refiner of another
        kind, for pictures that were not put in or do not fit together, and for extensions that are off.
        """
        request = checked(self.extensions.active(), request)
        schedule = AUTOMATIC if is_automatic(request.schedule) else find_schedule(request.schedule).name
        record = self.catalog.find(request.checkpoint or self.settings.value.checkpoint)
        vae = self.catalog.vae(request.vae, record)
        two = request.refiner is not None or (request.hires is not None and bool(request.hires.checkpoint))
        # Of two checkpoints each has what lies beside itself, so that no one name says it.
        automatic = two and request.vae == AUTOMATIC_VAE
        resolved = AUTOMATIC_VAE if automatic else vae.name if vae else OWN_VAE
        named_loras(request.prompt, self.catalog, record)
        if request.init is not None:
            self.inputs.check(request.init)
        return replace(
            request.resolved(),
            init=request.init and self._exact(request.init),
            hires=request.hires and self._prepared(request.hires, request.prompt, record, resolved),
            refiner=request.refiner and self._prepared_refiner(request.refiner, request.hires, record, resolved),
            sampler=find_sampler(request.sampler).name,
            guidance=replace(request.guidance, method=find_guidance(request.guidance.method).name),
            schedule=schedule,
            checkpoint=record.name,
            vae=resolved,
        )

    def _exact(self, init: InitImage) -> InitImage:
        """The picture to begin with, its upscaler named as it is."""
        if init.upscale is None:
            return init
        return replace(init, upscale=replace(init.upscale, upscaler=self.upscalers.exact(init.upscale.upscaler)))

    def _listen(self) -> None:
        """Let extensions be told what happens, and whoever watches over this process what they do."""
        events, pulse, loaded = self.extensions.events, self.options.pulse, ""

        def on_event(job: Job, event: Event) -> None:
            self.pictures.hear(job, event)  # first: who is told of a picture may ask whose it is
            events.on_job(job, event)

        def on_status() -> None:
            nonlocal loaded
            before, loaded = loaded, self.status.value.checkpoint
            if loaded and loaded != before:
                events.tell("checkpoint_loaded", loaded)

        self.queue.hear(on_event)
        self.settings.subscribe(lambda: events.tell("settings_changed"))
        self.status.subscribe(on_status)
        if pulse is not None:
            pulse.job_of = self.queue.job_on
            self.extensions.calls.watch = lambda thread, call: pulse.watch(
                thread, call.extension.id if call else "", call.where if call else ""
            )
        if self.options.held_up is not None:
            self.extensions.hold(self.options.held_up)

    def _blame(self, held_up: HeldUp | None) -> None:
        """The job that was under way when an extension ended the process before this one is not tried again."""
        if held_up is None or not held_up.job:
            return
        titles = {extension.id: extension.title for extension in self.extensions.all()}
        title = titles.get(held_up.extension, held_up.extension)
        sentence = f"{title} {held_up.what}. It is off now; switch it on in Extensions to try it again."
        self.queue.fail(held_up.job, ExtensionFault(sentence))

    def _services(self) -> Services:
        return Services(
            models=self.catalog.records,
            folders=self.options.folders_called,
            outputs=lambda: self.outputs.folder,
            pictures=self.pictures.of,
            flags=self.options.extension_flags,
            seconds=lambda: self.settings.value.extension_seconds,
        )

    def _limits(self) -> Limits:
        settings = self.settings.value
        return Limits(total=settings.queue_total, each=settings.queue_each)

    def _place(self) -> "torch.device":
        """What is computed on."""
        if self.residency is None:
            raise UserError("There is no device yet: PyTorch is still being loaded.")
        return self.residency.device.place

    def _prepared(self, hires: HiresFix, prompt: str, first: ModelRecord, vae: str) -> HiresFix:
        """The second pass of hires fix at the door; what it leaves open stays open.

        What would not fit to its checkpoint is said here, and not when the first pass is made.
        """
        record = self.catalog.find(hires.checkpoint) if hires.checkpoint else first
        named_loras(hires.prompt or prompt, self.catalog, record)
        schedule = hires.schedule
        if schedule:
            schedule = AUTOMATIC if is_automatic(schedule) else find_schedule(schedule).name
        latent = next((name for name in LATENT_UPSCALERS if name.casefold() == hires.upscaler.strip().casefold()), None)
        exact = replace(hires, upscaler=latent or self.upscalers.exact(hires.upscaler))
        exact.check_latents(same=record.identity.vae_family == first.identity.vae_family)
        self.catalog.vae(vae, record)  # a named one is that of both passes
        return replace(
            exact,
            checkpoint=record.name if hires.checkpoint else "",
            sampler=hires.sampler and find_sampler(hires.sampler).name,
            schedule=schedule,
        )

    def _prepared_refiner(self, refiner: Refiner, hires: HiresFix | None, first: ModelRecord, vae: str) -> Refiner:
        """The refiner at the door, held against whom it takes over from: with hires fix that is the second pass."""
        record = self.catalog.find(refiner.checkpoint)
        before = self.catalog.find(hires.checkpoint) if hires is not None and hires.checkpoint else first
        exact = replace(refiner, checkpoint=record.name)
        exact.check_latents(same=record.identity.vae_family == before.identity.vae_family)
        self.catalog.vae(vae, record)
        return exact

    def _finished_downloads(self) -> frozenset[str]:
        return frozenset(record.id for record in self.downloads.all() if record.ended)

    def _on_download(self) -> None:
        """What has come is looked for at once, on the thread that fetched it."""
        before, self._fetched = self._fetched, self._finished_downloads()
        if self._fetched - before:
            self.catalog.refresh()


def _engine(app: App) -> Worker:
    """The real worker. Imported here, on the worker's thread: torch takes seconds, and the page is served first."""
    app.status.post(loading="PyTorch", problem="")
    try:
        from backend.worker import DeviceWorker

        return DeviceWorker.create(app)
    except UserError as error:
        app.status.post(problem=str(error))
        raise
    finally:
        app.status.post(loading="")
