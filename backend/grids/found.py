"""Which pictures of a grid are there: found by what their files say, and what became of the jobs that are over."""

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, Self

from backend.errors import OutputError
from backend.infotext.recipe import read_recipe
from backend.jobs import Job
from backend.outputs import SUFFIXES

log = logging.getLogger(__name__)

FOLDERS = ("txt2img", "img2img")
State = Literal["queued", "running", "made", "stopped", "failed", "lost"]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a cell: the picture that was `made`, `stopped` by somebody, `failed` for the reason in `message`,
    or `lost` with the process. `request` is what the cell's request writes; `pictures` are those of the job."""

    request: str
    state: State
    message: str = ""
    pictures: tuple[str, ...] = ()

    @classmethod
    def of(cls, job: Job) -> Self:
        """Of a job that has ended."""
        events = [event for _, event in job.since()]
        message = str(getattr(events[-1], "message", ""))
        known: dict[str, State] = {"finished": "made", "interrupted": "stopped", "failed": "failed"}
        state = known[job.state]
        pictures = tuple(str(image.path) for image in sorted(job.images, key=lambda image: image.index))
        if state == "made" and not pictures:
            state = "stopped"  # skipped, and not kept
        return cls(request=job.request.to_json(), state=state, message=message, pictures=pictures)

    @property
    def picture(self) -> Path | None:
        """The first one, if it is whole and still there."""
        path = Path(self.pictures[0]) if self.state == "made" and self.pictures else None
        return path if path is not None and path.is_file() else None


class OutcomeFile:
    """What is known of a grid's cells, a line each; a later line counts for an earlier one."""

    def __init__(self, path: Path):
        self._path = path

    def add(self, outcome: Outcome) -> None:
        """Raises `OutputError` when the disk says no."""
        try:
            with self._path.open("a", encoding="ascii") as file:
                file.write(f"{json.dumps(asdict(outcome))}\n")
        except OSError as error:
            raise OutputError(f"{self._path} could not be written: {error.strerror or error}.") from error

    def read(self) -> Mapping[str, Outcome]:
        """The newest outcome of each request; a line that was cut short by a crash is left out."""
        try:
            lines = self._path.read_text(encoding="ascii", errors="replace").splitlines()
        except OSError:
            return {}
        found: dict[str, Outcome] = {}
        for line in lines:
            try:
                values = json.loads(line)
                outcome = Outcome(**{**values, "pictures": tuple(values["pictures"])})
            except (ValueError, TypeError, KeyError):
                continue
            found[outcome.request] = outcome
        return found


def pictures_of(wanted: Mapping[str, str], folder: Path, since: str, but: set[str]) -> dict[str, Path]:
    """Pictures by their keys in `wanted`, whose values are the requests that their files hold: looked for in the
    folders of all days from `since` (as ``2026-11-22``), `but` for these files."""
    keys = {request: key for key, request in wanted.items()}
    found: dict[str, Path] = {}
    for path in _pictures(folder, since):
        if len(found) == len(keys):
            break
        if str(path) in but:
            continue
        recipe = read_recipe(path)
        key = keys.get(recipe.request) if recipe else None
        if key is not None:
            found.setdefault(key, path)
    return found


def _pictures(folder: Path, since: str) -> Iterator[Path]:
    for kind in FOLDERS:
        days = sorted((folder / kind).iterdir()) if (folder / kind).is_dir() else []
        for day in days:
            if day.name >= since and day.is_dir():
                yield from (path for path in sorted(day.iterdir()) if path.suffix in SUFFIXES.values())
