"""Works on model files that take minutes: conversions and merges, one at a time, with progress, on a thread."""

import logging
import os
import secrets
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from backend.errors import Cancelled, ModelFileError, UserError
from backend.listeners import Listeners
from backend.model_manager.catalog import Catalog
from backend.model_manager.conversion.tensor_file import SUFFIX
from backend.model_manager.inventory.hashes import HashIndex
from backend.model_manager.inventory.record import ModelRecord
from backend.model_manager.inventory.scan import Format

if TYPE_CHECKING:  # what they need is imported when one begins
    from backend.model_manager.conversion.merge_recipe import MergeRecipe

log = logging.getLogger(__name__)

TOLD_EVERY = 0.2  # seconds between two reports of progress
KEPT = 30  # ended works that stay in the list
JOINED_WITHIN = 15.0  # seconds
MOST_NAMES = 5  # in a sentence

ChoreKind = Literal["convert", "merge"]
State = Literal["queued", "running", "finished", "failed", "cancelled"]
Progress = Callable[[float, str], None]
# Makes the target; returns a sentence about it, or nothing.
Work = Callable[[Progress, Callable[[], bool]], str]


@dataclass(frozen=True, kw_only=True)
class Chore:
    """A work and how far it is: `share` from 0 to 1, `doing` in words. `problem` is a sentence where it failed, `note`
    one about what it made; `result` is the new model's name once it is finished."""

    id: str
    kind: ChoreKind
    title: str
    target: Path
    state: State = "queued"
    share: float = 0.0
    doing: str = ""
    problem: str = ""
    note: str = ""
    result: str = ""

    @property
    def ended(self) -> bool:
        """Whether nothing of it is left to do."""
        return self.state not in ("queued", "running")


class _Task:
    """One work's changing side."""

    def __init__(self, chore: Chore, work: Work):
        self.chore = chore
        self.work = work
        self.cancelled = threading.Event()
        self.told = 0.0


class Chores:
    """The works of this run of Atelier, in the order in which they were asked for. Safe to use from any thread."""

    def __init__(self, catalog: Catalog, hashes: HashIndex):
        self._catalog = catalog
        self._hashes = hashes
        self._lock = threading.RLock()
        self._tasks: dict[str, _Task] = {}
        self._thread: threading.Thread | None = None
        self._listeners = Listeners()
        self._closing = False

    def all(self) -> list[Chore]:
        """Every work as it is now, oldest first."""
        with self._lock:
            return [task.chore for task in self._tasks.values()]

    def convert(self, record: ModelRecord) -> Chore:
        """Make a pickle a safetensors file of the same name beside it. Raises `UserError` if it is none, or if there
        is such a file."""
        if record.format is not Format.PICKLE:
            raise ModelFileError(f"{record.path.name} is no pickle: there is nothing to convert.")
        target = record.path.with_name(record.path.name.removesuffix(record.path.suffix) + SUFFIX)

        def work(progress: Progress, cancelled: Callable[[], bool]) -> str:
            from backend.model_manager.conversion.convert import convert

            report = convert(record.path, target, progress=progress, cancelled=cancelled)
            left_out = ", ".join(report.inert[:MOST_NAMES])
            return f"What the pickle wanted to run was left out: {left_out}." if left_out else ""

        return self.start("convert", f"{record.path.name} to safetensors", target, work)

    def merge(self, recipe: "MergeRecipe", target: Path) -> Chore:
        """Make the checkpoint of `recipe` as `target`. Raises `UserError` for what can be said before it begins."""
        from backend.model_manager.conversion.merge_recipe import check_recipe

        check_recipe(recipe, target)
        known = self._known_hashes({*recipe.parents(), recipe.vae})

        def work(progress: Progress, cancelled: Callable[[], bool]) -> str:
            from backend.model_manager.conversion.merge import merge

            report = merge(
                recipe, target, progress=progress, cancelled=cancelled, known_sha256=lambda path: known.get(path, "")
            )
            return f"{report.only_in_a:,} tensors are the first checkpoint's alone." if report.only_in_a else ""

        return self.start("merge", f"Merge into {target.stem}", target, work)

    def start(self, kind: ChoreKind, title: str, target: Path, work: Work) -> Chore:
        """Queue a work that makes `target`. Raises `UserError` if that is there, or already being made."""
        chore = Chore(id=secrets.token_hex(8), kind=kind, title=title, target=target)
        with self._lock:
            if os.path.lexists(target):
                raise ModelFileError(f"There is a file {target.name} in {target.parent} already; it is not replaced.")
            if any(not task.chore.ended and task.chore.target == target for task in self._tasks.values()):
                raise UserError(f"{target.name} is being made already.")
            if self._closing:
                raise UserError("Atelier is being closed.")
            self._tasks[chore.id] = _Task(chore, work)
            for task in [task for task in self._tasks.values() if task.chore.ended][:-KEPT]:
                del self._tasks[task.chore.id]
            if self._thread is None:
                self._thread = threading.Thread(target=self._keep_working, name="chores", daemon=True)
                self._thread.start()
        self._listeners.tell()
        return chore

    def cancel(self, id: str) -> None:
        """End a work at its next piece, or before it begins; nothing of it stays. Raises `UserError` if there is none
        of that id."""
        with self._lock:
            task = self._task(id)
            task.cancelled.set()
            if task.chore.state == "queued":
                task.chore = replace(task.chore, state="cancelled")
        self._listeners.tell()

    def forget(self, id: str) -> None:
        """Take an ended work off the list. Raises `UserError` if there is none of that id, or if it has not ended."""
        with self._lock:
            if not self._task(id).chore.ended:
                raise UserError("This work has not ended: cancel it first.")
            del self._tasks[id]
        self._listeners.tell()

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener()` after each change, progress at most five times a second, on the thread that made it;
        returns the function that ends it."""
        return self._listeners.add(listener)

    def close(self) -> None:
        """Cancel everything and wait for what runs."""
        with self._lock:
            self._closing = True
            for task in self._tasks.values():
                task.cancelled.set()
            thread = self._thread
        if thread is not None:
            thread.join(JOINED_WITHIN)

    def _task(self, id: str) -> _Task:
        if id not in self._tasks:
            raise UserError("This work is no longer in the list.")
        return self._tasks[id]

    def _known_hashes(self, paths: Collection[Path | None]) -> Mapping[Path, str]:
        return {record.path: self._hashes.known(record) for record in self._catalog.all() if record.path in paths}

    def _keep_working(self) -> None:
        while task := self._next():
            self._change(task, **self._ending(task))
            self._listeners.tell()

    def _next(self) -> _Task | None:
        """The one to do now; without one the thread ends, and the next work begins another."""
        with self._lock:
            task = next((task for task in self._tasks.values() if task.chore.state == "queued"), None)
            if task is None or self._closing:
                self._thread = None
                return None
            self._change(task, state="running")
        self._listeners.tell()
        return task

    def _ending(self, task: _Task) -> dict[str, Any]:
        """Do a work; returns how it ends, whatever that is."""
        try:
            note = task.work(lambda share, doing: self._progress(task, share, doing), task.cancelled.is_set)
            self._catalog.refresh()
        except Cancelled:
            return {"state": "cancelled", "doing": ""}
        except UserError as error:
            return {"state": "failed", "problem": str(error), "doing": ""}
        except Exception as error:
            log.exception("a work failed")
            return {"state": "failed", "problem": f"A fault of Atelier's: {type(error).__name__}.", "doing": ""}
        return {
            "state": "finished",
            "share": 1.0,
            "note": note,
            "result": self._name_of(task.chore.target),
            "doing": "",
        }

    def _name_of(self, path: Path) -> str:
        """What the catalog calls the new file."""
        return next((record.name for record in self._catalog.all() if record.path == path), path.stem)

    def _progress(self, task: _Task, share: float, doing: str) -> None:
        begins = doing != task.chore.doing
        self._change(task, share=min(max(share, 0.0), 1.0), doing=doing)
        now = time.monotonic()
        if begins or now - task.told >= TOLD_EVERY:
            task.told = now
            self._listeners.tell()

    def _change(self, task: _Task, **changes: Any) -> None:
        with self._lock:
            task.chore = replace(task.chore, **changes)
