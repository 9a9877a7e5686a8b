"""Grids at work: their cells are ordinary jobs, and behind these waits one that draws the picture of all."""

import hashlib
import logging
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from backend.errors import InvalidRequest, OutputError, UserError
from backend.events import ImageReady, Notice
from backend.files import write_atomically
from backend.grids.cost import cost_of_grid
from backend.grids.found import Outcome, OutcomeFile, State, pictures_of
from backend.grids.grid import Cell, Grid
from backend.grids.request import GridRequest
from backend.grids.sheet import draw
from backend.infotext.recipe import read_recipe
from backend.infotext.values import Infotext
from backend.jobs import Job, JobQueue
from backend.outputs import MADE_WITH, Outputs
from backend.request import GenerationRequest

log = logging.getLogger(__name__)

FOLDER = "grids"
VALUES, OUTCOMES = "grid.json", "outcomes.jsonl"
CHUNK = "atelier_grid"  # the whole grid as JSON, in a PNG
WAITING = ("queued", "running")


@dataclass(frozen=True, kw_only=True)
class CellState:
    """A cell, how far it is, and its picture, if that is there."""

    cell: Cell
    state: State
    message: str = ""
    picture: Path | None = None


class Grids:
    """The grids in the output folder, each in a folder of its own. Safe to use from any thread.

    A grid survives the process with what is on the disk: its values, the queue's jobs, the pictures. So its picture is
    drawn by a job of its own, which is durable, waits its turn behind the cells, and can be retried.
    """

    def __init__(self, outputs: Outputs, queue: JobQueue, prepare: Callable[[GenerationRequest], GenerationRequest]):
        """`prepare` is the door of requests."""
        self._outputs = outputs
        self._queue = queue
        self._prepare = prepare
        self._lock = threading.Lock()
        # Of grids that wait for their cells whose they are and what the cells' requests write, by the grids' places.
        self._watched: dict[str, tuple[str, set[str]]] = {}
        self._closing = False
        queue.subscribe(self._on_job)

    def start(self) -> None:
        """Watch for the cells of grids that were left over from the last time."""
        for job in list(self._queue.line()):
            if isinstance(job.request, GridRequest):
                place = job.request.place
                try:
                    self._watched[place] = (job.owner, {cell.request.to_json() for cell in self._read(place).cells})
                except UserError as error:
                    log.warning("A grid that waits cannot be drawn: %s", error)

    def close(self) -> None:
        """From now on a cell that is interrupted was so by the end of the process, and not by anybody."""
        self._closing = True

    def begin(self, grid: Grid, owner: str) -> Job:
        """Save a grid and queue its cells, and behind them the job that is returned, which draws it.

        Raises `UserError` for a cell that cannot be made, a grid that would be too large or that has no room in the
        line as a whole: then nothing was queued.
        """
        cells = tuple(replace(cell, request=self._prepare(cell.request)) for cell in grid.cells)
        grid = replace(grid, cells=cells, owner=_mark(owner))
        cost_of_grid(grid)
        place = f"{time.strftime('%Y-%m-%d/%H%M%S')}-{secrets.token_hex(4)}"
        self._write(place, grid)
        try:
            return self._queued(place, grid, grid.cells, owner)
        except UserError:
            shutil.rmtree(self._folder(place), ignore_errors=True)  # nothing of it was begun
            raise

    def resume(self, place: str, owner: str) -> Job:
        """Queue the cells whose pictures are not there, and the drawing. Raises `UserError` as `begin` does."""
        grid = self.find(place, owner)
        missing = [each.cell for each in self.cells(place, owner, search=True) if each.state not in ("made", *WAITING)]
        return self._queued(place, grid, missing, owner)

    def find(self, place: str, owner: str) -> Grid:
        """The owner's grid; `InvalidRequest` if there is none."""
        grid = self._read(place)
        if grid.owner != _mark(owner):
            raise InvalidRequest(f"There is no grid of yours at {place!r}.")
        return grid

    def places(self, owner: str) -> list[str]:
        """The owner's grids, newest first."""
        folder = self._outputs.folder / FOLDER
        paths = (path for path in folder.glob(f"*/*/{VALUES}") if _is_of(path, owner))
        return sorted((path.parent.relative_to(folder).as_posix() for path in paths), reverse=True)

    def cells(self, place: str, owner: str, *, search: bool = False) -> list[CellState]:
        """Every cell in the order in which they are made. With `search` pictures that are missing are looked for in the
        output folder, by what their files say."""
        grid = self.find(place, owner)
        outcomes = dict(self._outcomes(place).read())
        jobs = {job.id: job for job in self._queue.jobs(owner)}
        states = [_state(cell, jobs.get(cell.job), outcomes) for cell in grid.cells]
        missing = [each.cell for each in states if each.state not in ("made", *WAITING)]
        if not search or not missing:
            return states
        lost = {cell.request.to_json(): cell.shown.to_json() for cell in missing}
        but = {path for outcome in outcomes.values() if outcome.state != "made" for path in outcome.pictures}
        found = pictures_of(lost, self._outputs.folder, place.partition("/")[0], but)
        for request, path in found.items():
            outcomes[request] = Outcome(request=request, state="made", pictures=(str(path),))
            self._outcomes(place).add(outcomes[request])
        return [_state(each.cell, jobs.get(each.cell.job), outcomes) for each in states]

    def cancel(self, place: str, owner: str) -> None:
        """Take the waiting cells out of the line and end the one that is made now; the grid is drawn without them."""
        for cell in self.find(place, owner).cells:
            for job in self._queue.jobs(owner):
                if job.id == cell.job and not job.ended:
                    self._queue.cancel(job)

    def draw(self, request: GridRequest, job: Job) -> None:
        """Draw and save the picture of a grid, telling `job`. Called on the worker's thread.

        Cells that a crash cost, or that are still waiting, are made first: once, so that a picture that ends the
        process every time leaves an empty place in the end. Raises `UserError` if there is no picture at all.
        """
        states = self.cells(request.place, job.owner, search=True)
        late = [each.cell for each in states if each.state == "lost"]
        if not request.resumed and any(each.state in ("lost", *WAITING) for each in states):
            self._queued(request.place, self.find(request.place, job.owner), late, job.owner, resumed=True)
            job.emit(Notice(message="Some pictures of this grid are not there yet: it is drawn after them."))
            return
        made = {(each.cell.x, each.cell.y, each.cell.z): each for each in states if each.picture is not None}
        if not made:
            raise InvalidRequest("None of this grid's pictures is there, so there is nothing to draw.")
        grid = self.find(request.place, job.owner)
        planes = len(grid.z.legends) if grid.look.sub_grids and len(grid.z.legends) > 1 else 0
        pictures = draw(grid, lambda x, y, z: made[x, y, z].picture if (x, y, z) in made else None)
        for index, picture in enumerate(pictures):
            job.check()
            of = [at for at in made if at[2] == index] if index < planes else list(made)
            corner = min(of or made, key=lambda at: (at[2], at[1], at[0]))
            self._deliver(picture, index, made[corner], grid, request, job, with_z=index >= planes)

    def _deliver(
        self,
        picture: Image.Image,
        index: int,
        corner: CellState,
        grid: Grid,
        request: GridRequest,
        job: Job,
        *,
        with_z: bool,
    ) -> None:
        """Save and announce one picture. It says what AUTOMATIC1111's would: the recipe of the cell in its corner, and
        the axes."""
        recipe = read_recipe(corner.picture) if corner.picture else None
        infotext = _with_pairs(recipe.infotext if recipe else Infotext(), grid.pairs(with_z=with_z))
        made_with = {MADE_WITH: recipe.made_with} if recipe and recipe.made_with else {}
        path = self._outputs.save_grid(
            picture,
            self._folder(request.place),
            infotext=infotext,
            request=corner.cell.shown.to_json(),
            chunks={**made_with, CHUNK: replace(grid, owner="").to_json()},
        )
        job.emit(
            ImageReady(
                index=index,
                seed=corner.cell.shown.seed,
                path=path,
                width=picture.width,
                height=picture.height,
                infotext=infotext,
                request=corner.cell.shown.to_json(),
            )
        )

    def _queued(self, place: str, grid: Grid, cells: Iterable[Cell], owner: str, *, resumed: bool = False) -> Job:
        """Submit what is to be made, cells that are alike once, and the drawing, all or nothing; and write the jobs
        down."""
        wanted = {cell.request.to_json(): cell.request for cell in cells}
        drawing = GridRequest(place=place, title=grid.title, base=grid.base, resumed=resumed)
        with self._lock:
            self._watched[place] = (owner, {cell.request.to_json() for cell in grid.cells})
        outcomes = self._outcomes(place)
        before = {text: outcome for text, outcome in outcomes.read().items() if text in wanted}
        jobs: list[Job] = []
        try:
            for outcome in before.values():  # what became of it is open again
                outcomes.add(replace(outcome, state="lost"))
            # The cells of a drawing that comes again were let into the line with it.
            jobs = self._queue.submit_all([*wanted.values(), drawing], owner, admitted=resumed)
            self._write(place, grid.with_jobs({text: job.id for text, job in zip(wanted, jobs, strict=False)}))
        except UserError:
            for job in jobs:
                self._queue.cancel(job)
            self._unwatch(place)
            for outcome in before.values():
                outcomes.add(outcome)
            raise
        return jobs[-1]

    def _on_job(self, job: Job) -> None:
        """What became of a cell is written down when it ends: the queue forgets, and a half-made picture looks like a
        whole one."""
        if not self._watched or not job.ended:
            return
        if isinstance(job.request, GridRequest):
            self._unwatch(job.request.place)
            return
        text = job.request.to_json()
        with self._lock:
            watched = self._watched.items()
            places = [place for place, (owner, texts) in watched if owner == job.owner and text in texts]
        for place in places:
            outcome = Outcome.of(job)
            if self._closing and outcome.state == "stopped":
                outcome = replace(outcome, state="lost")
            try:
                self._outcomes(place).add(outcome)
            except OutputError as error:
                log.warning("%s", error)  # the queue knows it for now, and the picture is found again

    def _unwatch(self, place: str) -> None:
        """Unless its drawing waits once more."""
        waiting = (job.request for job in self._queue.line())
        if any(isinstance(request, GridRequest) and request.place == place for request in waiting):
            return
        with self._lock:
            self._watched.pop(place, None)

    def _folder(self, place: str) -> Path:
        return self._outputs.folder / FOLDER / place

    def _outcomes(self, place: str) -> OutcomeFile:
        return OutcomeFile(self._folder(place) / OUTCOMES)

    def _read(self, place: str) -> Grid:
        checked = GridRequest(place=place, title="", base=GenerationRequest())  # never a path of anybody's making
        try:
            return Grid.from_json((self._folder(checked.place) / VALUES).read_text(encoding="ascii"))
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidRequest(f"There is no grid at {place!r}.") from error

    def _write(self, place: str, grid: Grid) -> None:
        path = self._folder(place) / VALUES
        try:
            write_atomically(path, grid.to_json().encode())
        except OSError as error:
            raise OutputError(f"The grid could not be saved in {path.parent}: {error.strerror or error}.") from error


def _state(cell: Cell, job: Job | None, outcomes: Mapping[str, Outcome]) -> CellState:
    """How far a cell is: its job, while that is on its way, then what was written down, then the job again."""
    if job is not None and not job.ended:
        return CellState(cell=cell, state="running" if job.state == "running" else "queued")
    outcome = outcomes.get(cell.request.to_json()) or (Outcome.of(job) if job is not None else None)
    if outcome is None or (outcome.state == "made" and outcome.picture is None):
        return CellState(cell=cell, state="lost")
    return CellState(cell=cell, state=outcome.state, message=outcome.message, picture=outcome.picture)


def _with_pairs(infotext: Infotext, pairs: Mapping[str, str]) -> str:
    """An infotext with more pairs, in front of the version, where A1111 has what scripts say."""
    version = infotext.get("Version")
    before = tuple(pair for pair in infotext.pairs if pair[0] != "Version")
    return replace(infotext, pairs=before).with_pairs({**pairs, "Version": version}).text


def _mark(owner: str) -> str:
    """An owner in a file that may be passed on: the name itself would let others in."""
    return hashlib.sha256(owner.encode()).hexdigest()[:32]


def _is_of(path: Path, owner: str) -> bool:
    """Whether a grid's file is the owner's, by its beginning."""
    try:
        with path.open(encoding="ascii", errors="replace") as file:
            return f'"owner": "{_mark(owner)}"' in file.read(400)
    except OSError:
        return False
