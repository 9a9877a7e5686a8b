"""Downloads: a list of files on their way into the model folders, at most two at once.

Nothing has its final name before it was verified, and nothing is replaced. Whoever calls this must have made sure that
the person may: only somebody at the machine itself, for the files of all are touched.
"""

import logging
import secrets
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from backend.errors import ModelFileError, UserError
from backend.listeners import Listeners
from backend.model_manager.downloads.download_record import Download, DownloadRecord, DownloadStore
from backend.model_manager.downloads.intake import (
    PICKLES,
    SAFETENSORS,
    check_part,
    is_plain_path,
    place,
    recognise,
    safe_name,
)
from backend.model_manager.downloads.transfer import (
    SHA256,
    Halted,
    Limits,
    NoRoom,
    Part,
    RemoteFile,
    Transfer,
    disk_problem,
    need_room,
)
from backend.web_address import parse_address
from backend.web_client import Stop, WebClient

log = logging.getLogger(__name__)

AT_ONCE = 2
TOLD_EVERY = 0.2  # seconds between two reports of progress
RATE_OVER = 5.0  # seconds
JOINED_WITHIN = 15.0  # seconds; looking up a name cannot be broken off
SECRET_FIELDS = frozenset({"token", "access_token", "auth_token", "api_token", "api_key", "apikey", "key"})


def web_download(address: str, folder: Path, *, name: str = "", sha256: str = "") -> Download:
    """A download of any file on the web; `sha256` is what the person was told it has. Raises `UserError`."""
    digest = sha256.strip().lower().removeprefix("sha256:")
    if digest and not SHA256.fullmatch(digest):
        raise UserError(f"{sha256!r} is no sha256: it has 64 signs, of 0-9 and a-f.")
    return Download(folder=folder, files=(RemoteFile(address=address.strip(), sha256=digest),), name=name)


class _Task:
    """One download's changing side."""

    def __init__(self, record: DownloadRecord):
        self.record = record
        self.stop = Stop()
        self.thread: threading.Thread | None = None
        self.wish = ""  # what the person wants of a running one: "pause" or "cancel"
        self.told = 0.0
        self.past: deque[tuple[float, int]] = deque()

    def pace(self) -> float:
        """Bytes a second over the last few seconds."""
        now, received = time.monotonic(), self.record.received
        self.past.append((now, received))
        while now - self.past[0][0] > RATE_OVER:
            self.past.popleft()
        then, had = self.past[0]
        return max(0.0, (received - had) / (now - then)) if now > then else 0.0


class Downloads:
    """The downloads of this installation, each running one on a thread of its own. Safe to use from any thread."""

    def __init__(self, database: Path, client: WebClient, roots: Sequence[Path], *, limits: Limits | None = None):
        """`database` is the list's SQLite file. `roots` are the model folders: nothing is put anywhere else."""
        self._client = client
        self._roots = tuple(root.resolve() for root in roots)
        self._limits = limits or Limits()
        self._store = DownloadStore(database)
        self._lock = threading.RLock()
        self._tasks = {record.id: _Task(record) for record in self._store.load()}
        self._listeners = Listeners()
        self._closing = False

    def all(self) -> list[DownloadRecord]:
        """Every download as it is now, oldest first."""
        with self._lock:
            return [task.record for task in self._tasks.values()]

    def start(self, download: Download) -> DownloadRecord:
        """Begin a download, or queue it. Raises `UserError` if it cannot be what it should be: an address or a name
        that is none, a folder that is not a model folder, a name that is taken, a file that does not fit."""
        download = self._checked(download)
        parts = tuple(Part() for _ in download.files)
        record = DownloadRecord(id=secrets.token_hex(8), created=time.time(), download=download, parts=parts)
        with self._lock:
            for task in self._tasks.values():
                other = task.record
                if (
                    not other.ended
                    and other.download.files == download.files
                    and other.download.folder == download.folder
                ):
                    raise UserError(f"{other.name} is in the list of downloads already.")
            self._store.save(record)
            self._tasks[record.id] = _Task(record)
        self._fill()
        return record

    def pause(self, id: str) -> None:
        """End a download for now; what was fetched is kept. Raises `UserError` if there is none of that id."""
        with self._lock:
            task = self._task(id)
            if task.thread is not None:
                task.wish = task.wish or "pause"
                task.stop.set()
            elif task.record.state == "queued":
                self._change(task, state="paused", problem="")
        self._listeners.tell()

    def resume(self, id: str) -> None:
        """Go on with one that is paused or failed. Raises `UserError` if there is none of that id."""
        with self._lock:
            task = self._task(id)
            if task.thread is None and task.record.state in ("paused", "failed"):
                self._change(task, state="queued", problem="")
        self._fill()

    def cancel(self, id: str) -> None:
        """Take a download off the list and remove what is not finished of it; a finished file stays. Raises `UserError`
        if there is none of that id."""
        with self._lock:
            task = self._task(id)
            if task.thread is not None:
                task.wish = "cancel"
                task.stop.set()
            else:
                self._remove(task)
        self._listeners.tell()

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener()` after each change, progress at most five times a second, on the thread that made it;
        returns the function that ends it."""
        return self._listeners.add(listener)

    def close(self) -> None:
        """Pause what runs and wait for it; the list goes on with the next start."""
        with self._lock:
            self._closing = True
            running = [(task, task.thread) for task in self._tasks.values() if task.thread is not None]
            for task, _ in running:
                task.wish = task.wish or "pause"
                task.stop.set()
        for _, thread in running:
            thread.join(JOINED_WITHIN)
        self._store.close()

    def _checked(self, download: Download) -> Download:
        if not download.files or (len(download.files) > 1 and not download.whole_folder):
            raise UserError("A download is one file, or a whole folder.")
        for file in download.files:
            fields = dict(parse_qsl(parse_address(file.address).target.partition("?")[2]))
            secret = next((field for field in fields if field.lower() in SECRET_FIELDS), "")
            if secret:
                host = parse_address(file.address).authority
                raise UserError(
                    f"The address carries a secret in {secret!r}: leave it out, and set it as token for {host}."
                )
            if download.whole_folder and not is_plain_path(file.path):
                raise UserError(f"{file.path!r} cannot be a file's place in a folder.")
        folder = self._inside(download.folder)
        name = safe_name(download.name)
        if (download.name or download.whole_folder) and not name:
            raise UserError(f"{download.name!r} cannot be a name.")
        if name and (folder / name).exists():
            raise UserError(f"{name} is in {folder.name} already: give it another name.")
        need_room(next(p for p in (folder, *folder.parents) if p.is_dir()), download.size or 0, self._limits.kept_free)
        return replace(download, folder=folder, name=name)

    def _inside(self, folder: Path) -> Path:
        """The folder with its links followed, which must be in one of the model folders then."""
        resolved = folder.resolve()
        if not any(resolved.is_relative_to(root) for root in self._roots):
            raise UserError(f"{folder} is not one of the model folders, or leads out of them.")
        return resolved

    def _task(self, id: str) -> _Task:
        if id not in self._tasks:
            raise UserError("This download is no longer in the list.")
        return self._tasks[id]

    def _change(self, task: _Task, **changes: Any) -> None:
        task.record = replace(task.record, **changes)
        try:
            self._store.save(task.record)
        except UserError as error:
            log.warning("%s", error)  # the partial files are what counts; the next change is written again

    def _remove(self, task: _Task) -> None:
        shutil.rmtree(task.record.staging(), ignore_errors=True)
        self._store.forget(task.record.id)
        self._tasks.pop(task.record.id, None)

    def _fill(self) -> None:
        """Start what waits, as far as there is room."""
        with self._lock:
            running = sum(task.thread is not None for task in self._tasks.values())
            waiting = [task for task in self._tasks.values() if task.record.state == "queued"]
            for task in waiting[: max(0, AT_ONCE - running)]:
                if self._closing:
                    break
                task.stop, task.wish, task.past = Stop(), "", deque()
                self._change(task, state="running")
                task.thread = threading.Thread(target=self._work, args=(task,), name="download", daemon=True)
                task.thread.start()
        self._listeners.tell()

    def _work(self, task: _Task) -> None:
        """A download from here to its end, whatever that is."""
        ending: dict[str, Any] = {}
        try:
            self._fetch(task)
            ending = self._publish(task)
        except Halted:
            ending = {"state": "paused"}
        except NoRoom as error:
            ending = {"state": "paused", "problem": str(error)}
        except UserError as error:
            ending = {"state": "failed", "problem": str(error)}
        except Exception as error:
            log.exception("a download failed")
            ending = {
                "state": "failed",
                "problem": f"A fault of Atelier's: {type(error).__name__}. Resume to try again.",
            }
        with self._lock:
            task.thread = None
            self._change(task, rate=0.0, **ending)
            if task.wish == "cancel":
                self._remove(task)
        self._fill()

    def _fetch(self, task: _Task) -> None:
        """Every file into its partial file."""
        record = task.record
        try:
            record.staging().mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise disk_problem(error) from error
        for index, file in enumerate(record.download.files):
            part = task.record.parts[index]
            if part.verified:
                continue
            transfer = Transfer(self._client, file, record.partial(index), part, task.stop, self._limits)
            for told in transfer.run():
                self._progress(task, index, told)

    def _progress(self, task: _Task, index: int, part: Part) -> None:
        with self._lock:
            before = task.record.parts[index]
            parts = (*task.record.parts[:index], part, *task.record.parts[index + 1 :])
            task.record = replace(task.record, parts=parts)
            # What resuming needs is written at once; the number of bytes is in the partial file.
            if replace(before, received=part.received) != part:
                self._change(task)
            now = time.monotonic()
            due = now - task.told >= TOLD_EVERY
            if due:
                task.told = now
                task.record = replace(task.record, rate=task.pace())
        if due:
            self._listeners.tell()

    def _publish(self, task: _Task) -> dict[str, Any]:
        """Look into what came, and give it its name; returns how the record ends."""
        with self._lock:
            self._change(task, state="checking")
        self._listeners.tell()
        record = task.record
        try:
            if self._inside(record.download.folder) != record.download.folder:
                raise UserError(f"{record.download.folder} leads elsewhere since the download began.")
            if record.download.whole_folder:
                path, note = _publish_folder(record), ""
            else:
                path, note = _publish_file(record)
            shutil.rmtree(record.staging(), ignore_errors=True)
        except ModelFileError:
            shutil.rmtree(record.staging(), ignore_errors=True)
            with self._lock:
                self._change(task, parts=tuple(Part() for _ in record.parts))
            raise
        except OSError as error:
            raise disk_problem(error) from error
        return {"state": "finished", "path": path, "note": note, "problem": ""}


def _publish_file(record: DownloadRecord) -> tuple[Path, str]:
    partial, name = record.partial(0), record.name
    content = recognise(partial, name)
    stem = Path(name).stem if Path(name).suffix.lower() in (SAFETENSORS, *PICKLES) else name
    return place(partial, record.download.folder, safe_name(stem + content.suffix)), content.note


def _publish_folder(record: DownloadRecord) -> Path:
    whole = record.staging() / "whole"
    for index, file in enumerate(record.download.files):
        target = whole / file.path
        if not target.exists():  # it can be there if Atelier was stopped in the midst of this
            check_part(record.partial(index), file.path)
            target.parent.mkdir(parents=True, exist_ok=True)
            record.partial(index).rename(target)
    return place(whole, record.download.folder, record.name)
