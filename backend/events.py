"""What a job tells whoever watches it."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened to a job."""


@dataclass(frozen=True, kw_only=True)
class Started(Event):
    """The worker took the job up."""


@dataclass(frozen=True, kw_only=True)
class Loading(Event):
    """The job waits for something named in `what`, such as a checkpoint."""

    what: str


@dataclass(frozen=True, kw_only=True)
class Notice(Event):
    """Something was done otherwise than asked, so that the job can go on; `message` is a sentence for the artist."""

    message: str


@dataclass(frozen=True, kw_only=True)
class Progress(Event):
    """One step is done. Of these only the newest is kept: a slow watcher skips the rest.

    `step` of `steps` in batch `batch` of `batches` (all from 1); `rate` in steps a second; `remaining` in seconds for
    the whole job; `preview` is a small JPEG of what the picture looks like so far, if one was made.
    """

    step: int
    steps: int
    batch: int
    batches: int
    rate: float
    remaining: float
    preview: bytes | None = None


@dataclass(frozen=True, kw_only=True)
class ImageReady(Event):
    """A picture was made and saved. `index` counts the job's pictures from 0; `infotext` is what its file carries."""

    index: int
    seed: int
    path: Path
    width: int
    height: int
    infotext: str
    request: str


@dataclass(frozen=True, kw_only=True)
class Finished(Event):
    """The job ended well."""


@dataclass(frozen=True, kw_only=True)
class Interrupted(Event):
    """The artist ended the job; what was there is kept."""


@dataclass(frozen=True, kw_only=True)
class Failed(Event):
    """The job ended with a fault; `message` is a sentence for the artist, `kind` a word for programs: that of the
    `UserError`, else ``failed``."""

    message: str
    kind: str = "failed"


ENDINGS = (Finished, Interrupted, Failed)
