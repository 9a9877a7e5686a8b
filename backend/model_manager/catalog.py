"""What models there are on disk."""

import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from backend.errors import ModelFileError, UserError
from backend.listeners import Listeners
from backend.model_manager.identity import Kind
from backend.model_manager.inventory.inspection import native_size
from backend.model_manager.inventory.model_index import IN_MEMORY, Choice, ModelIndex
from backend.model_manager.inventory.record import ModelRecord, misfit
from backend.model_manager.inventory.scan import Skipped, lies_in, measure, time_of
from backend.model_manager.inventory.sidecars import Notes, Sidecar, read_sidecar, write_notes
from backend.model_manager.inventory.survey import Shelves, Survey
from backend.model_manager.inventory.trees import ModelFolder, expand
from backend.request import AUTOMATIC_VAE, OWN_VAE

__all__ = ["Catalog", "FolderState", "ModelRecord", "native_size"]

PATIENCE = 1.0  # seconds that a list waits for a survey before it shows what is known so far
PAUSE = 10.0  # seconds between two looks of the background thread
HASH = re.compile("[0-9a-f]{8,64}")


@dataclass(frozen=True, kw_only=True)
class FolderState:
    """A folder as it was declared: whether it is there now, and whether it was added by a person, who may remove it."""

    folder: ModelFolder
    there: bool
    added: bool


class Catalog:
    """Every model in some folders and all folders below them; a file is looked into again only when it changed.

    Safe to use from any thread. Without `start` the first question looks at everything; with it a thread does, and
    keeps looking.
    """

    def __init__(self, folders: Sequence[Path | ModelFolder], index: Path = IN_MEMORY):
        """`folders` are searched in their order; a mere path is for checkpoints, a folder that is for no kind may be an
        installation of another program. `index` is the SQLite file that remembers what was found."""
        self._declared = [
            folder if isinstance(folder, ModelFolder) else ModelFolder(path=folder, kind=Kind.CHECKPOINT)
            for folder in folders
        ]
        self._index = ModelIndex(index)
        self._survey = Survey(self._index)
        self._surveying = threading.Lock()
        self._whole = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._listeners = Listeners()
        self._shelves = Shelves()

    def start(self) -> None:
        """Look at everything in the background, and every few seconds whether a folder has changed."""
        self._thread = threading.Thread(target=self._keep_looking, name="catalog", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End a survey at its next file, and close the index."""
        self._closing.set()
        self._whole.set()  # whoever waits for more waits in vain
        if self._thread:
            self._thread.join()
        self._index.close()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until everything was looked at once, at most `timeout` seconds; whether it was."""
        if self._thread is None and not self._whole.is_set():
            self.refresh()
        return self._whole.wait(timeout)

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener()` after each change, on the thread that found it; returns the function that ends it. There,
        read with `all`, or with `look=False`."""
        return self._listeners.add(listener)

    @property
    def waiting(self) -> int:
        """How many files are still to be looked into."""
        return self._survey.waiting

    @property
    def looked_into(self) -> int:
        """How many files were looked into since this catalog was made."""
        return self._survey.looked_into

    @property
    def skipped(self) -> list[Skipped]:
        """What lies in the folders and is not looked at, with the reason."""
        return list(self._shelves.skipped)

    def records(self, kind: Kind = Kind.CHECKPOINT, *, look: bool = True) -> list[ModelRecord]:
        """Every model of a kind that there is now, by name; of two with one name the first folder's. Without `look`
        the disk is not asked. While the first survey runs, what is known so far."""
        if look:
            self._look(kind)
        return list(self._shelves.of(kind))

    def all(self) -> list[ModelRecord]:
        """Every model of every kind, as of one survey; the disk is not asked."""
        shelves = self._shelves
        return [record for kind in Kind for record in shelves.of(kind)]

    def names(self, kind: Kind = Kind.CHECKPOINT) -> list[str]:
        """The names of those that can be used."""
        return [record.name for record in self.records(kind) if not record.problem]

    def find(self, name: str, kind: Kind = Kind.CHECKPOINT, *, look: bool = True) -> ModelRecord:
        """The model of that name, with or without suffix and A1111's ` [hash]`; for no name the starter, else the
        first. Without `look` the disk is not asked, and what is known is believed. Raises `ModelFileError` if there is
        none, or if it cannot be used."""
        if look:
            self._look()
        record = self._shelves.named(name, kind)
        if look and (record is None or not _is_as_it_was(record)):
            # That there is none is believed only after a look at everything.
            self.refresh()
            record = self._shelves.named(name, kind)
        if record is None:
            raise ModelFileError(self._shelves.nothing_named(name, kind))
        if record.problem:
            raise ModelFileError(record.problem)
        return record

    def vae(self, wanted: str, checkpoint: ModelRecord) -> ModelRecord | None:
        """The VAE of a request, or nothing for the checkpoint's own. `AUTOMATIC_VAE` is what lies beside the checkpoint
        as ``NAME.vae.safetensors``, as in A1111. Raises `ModelFileError` if there is none of the name, or if it is for
        another family."""
        if wanted == OWN_VAE:
            return None
        beside = checkpoint.path.with_name(f"{checkpoint.path.stem}.vae.safetensors")
        vae = (
            next((vae for vae in self.records(Kind.VAE) if vae.path == beside and not vae.problem), None)
            if wanted == AUTOMATIC_VAE
            else self.find(wanted, Kind.VAE)
        )
        if vae and not vae.identity.fits(checkpoint.identity):
            raise ModelFileError(misfit(vae, checkpoint))
        return vae

    def with_hash(self, text: str, kind: Kind | None = None) -> ModelRecord | None:
        """The model whose hash begins so: A1111's ``Model hash``, an AutoV2, one of ``Lora hashes``, or a whole sha256.

        Known are the hashes that were taken, of files and of their tensors alone, and those that files state.
        """
        beginning = text.strip().lower()
        if not HASH.fullmatch(beginning):
            return None
        self._look()
        shelves = self._shelves
        records = [shelves.by_key[key] for key in self._index.keys_of_hash(beginning) if key in shelves.by_key]
        records += [record for record in shelves.by_key.values() if record.stated_hash.startswith(beginning)]
        return next((each for each in records if kind in (None, each.kind) and _is_as_it_was(each)), None)

    def refresh(self) -> None:
        """Look at everything again, now; a survey that runs is waited for."""
        with self._surveying:
            self._run_survey()

    def choose(self, record: ModelRecord, choice: Choice | None) -> ModelRecord:
        """Let a person say what a file is, or, with nothing, let the file speak again; returns its record then.

        It is remembered for this path and size, and for every file of the same sha256 once that is known. Raises
        `UserError` if it cannot be.
        """
        self._index.put_choice(record.key, choice)
        self.refresh()
        return self._shelves.by_key.get(record.key, record)

    def folders(self) -> list[FolderState]:
        """Every folder as it was declared, in order."""
        given = [(folder, False) for folder in self._declared] + [(folder, True) for folder in self._index.roots()]
        return [FolderState(folder=folder, there=folder.path.is_dir(), added=added) for folder, added in given]

    def roots(self) -> list[ModelFolder]:
        """Every folder that is searched, resolved; of two that are one the first."""
        found: dict[Path, ModelFolder] = {}
        for declared in (*self._declared, *self._index.roots()):
            for folder in expand(declared):
                try:
                    path = folder.path.resolve()
                except (OSError, ValueError, RuntimeError):
                    continue  # a path that no file system could have, or links in a circle
                found.setdefault(path, ModelFolder(path=path, kind=folder.kind))
        return list(found.values())

    def add_folder(self, folder: ModelFolder) -> None:
        """Search another folder from now on, also after a restart. Raises `UserError` if that cannot be.

        Whoever calls this for a person makes sure that they may name folders of this machine.
        """
        path = folder.path.expanduser()
        if not path.is_absolute() or not path.is_dir():
            raise UserError(f"There is no folder {path}: name one with its full path.")
        path = path.resolve()
        if path == Path(path.anchor):
            raise UserError(f"{path} is a whole disk: name the folder on it that holds models.")
        if any(state.folder.path.resolve() == path for state in self.folders()):
            raise UserError(f"{path} is searched already.")
        self._index.add_root(replace(folder, path=path))
        self.refresh()

    def remove_folder(self, path: Path) -> None:
        """Search an added folder no longer. Raises `UserError` if it was not added."""
        if path not in [state.folder.path for state in self.folders() if state.added]:
            raise UserError(f"{path} was not added here, so it cannot be removed here.")
        self._index.remove_root(path)
        self.refresh()

    def sidecar(self, record: ModelRecord) -> Sidecar:
        """What lies beside a model, read now."""
        return read_sidecar(record.path, allowed=self._may_hold)

    def write_notes(self, record: ModelRecord, notes: Notes) -> None:
        """Keep a person's words beside a model. Raises `UserError` if that is not possible."""
        write_notes(record.path, notes, allowed=self._may_hold)
        self._listeners.tell()

    def _may_hold(self, target: Path) -> bool:
        return lies_in(str(target), (str(root.path) for root in self._shelves.roots))

    def _keep_looking(self) -> None:
        self.refresh()
        while not self._closing.wait(PAUSE):
            if self._has_changed():
                self.refresh()

    def _look(self, kind: Kind | None = None) -> None:
        """Survey again if something has changed: a folder, the index, or a file of `kind`. One that takes its time is
        not waited for longer than `PATIENCE`."""
        if not self._whole.is_set():
            self.wait(PATIENCE)
        elif self._has_changed(kind) and self._surveying.acquire(timeout=PATIENCE):
            try:
                self._run_survey()
            finally:
                self._surveying.release()

    def _has_changed(self, kind: Kind | None = None) -> bool:
        shelves = self._shelves
        return (
            self._index.version != shelves.version
            or any(time_of(folder) != changed for folder, changed in shelves.folders.items())
            or (kind is not None and not all(_is_as_it_was(record) for record in shelves.of(kind)))
        )

    def _run_survey(self) -> None:
        """To be called by the holder of `_surveying`."""
        for shelves in self._survey.run(self.roots(), stopped=self._closing.is_set):
            before, self._shelves = self._shelves, shelves
            if shelves.whole:
                self._whole.set()
            if (before.by_kind, before.skipped, before.roots) != (shelves.by_kind, shelves.skipped, shelves.roots):
                self._listeners.tell()


def _is_as_it_was(record: ModelRecord) -> bool:
    try:
        return measure(str(record.path), record.format) == (record.size, record.modified)
    except OSError:
        return False
