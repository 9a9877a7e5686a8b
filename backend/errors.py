"""What can go wrong, as a tree.

AtelierError
├── UserError              its message is one sentence for a person: what is wrong, which value, what is allowed
│   ├── InvalidRequest     a generation that cannot be: nothing was queued
│   │   └── UnknownJob     a job that is not in the asking owner's list
│   ├── QueueFull          a line that takes no more jobs for now: nothing was queued
│   ├── ModelFileError     a model file that is missing, damaged, or of a kind that cannot be used here
│   ├── OutOfMemory        a device that has not enough memory, whatever was tried
│   └── OutputError        a picture that could not be saved where it should
└── Stopped                not a fault: the artist ended this picture or this job
    ├── Skipped            this picture only; the job goes on with the next
    └── Cancelled          the whole job
Abandoned                  no `Exception`: raised in a thread that an extension held up, so that it ends
"""

import difflib
from collections.abc import Iterable
from typing import ClassVar


class AtelierError(Exception):
    """Every exception that Atelier raises on purpose."""


class UserError(AtelierError):
    """Shown to the person as it is: a sentence that names the value and what is allowed.

    `kind` is a word for programs, empty where there is none but that something was asked for that cannot be.
    """

    kind: ClassVar[str] = ""


class InvalidRequest(UserError):
    """A value of a request is wrong; the message says which and why."""

    kind = "invalid_value"


class UnknownJob(InvalidRequest):
    """There is no such job in the owner's list, also when it is somebody else's."""

    kind = "not_found"


class QueueFull(UserError):
    """No more jobs are taken for now; `wait_seconds` is when to try again."""

    kind = "queue_full"

    def __init__(self, message: str, *, wait_seconds: int):
        super().__init__(message)
        self.wait_seconds = wait_seconds


class ModelFileError(UserError):
    """A model file cannot be used; the message names the file."""

    kind = "model_not_found"


class OutOfMemory(UserError):
    """The device has not enough memory for what was asked, whatever was tried."""

    kind = "oom"


class OutputError(UserError):
    """A picture could not be written; the message names the place."""

    kind = "not_saved"


class Stopped(AtelierError):
    """Raised at a step boundary because the artist asked for it."""


class Skipped(Stopped):
    """Only the pictures being made now are ended."""


class Cancelled(Stopped):
    """The whole job is ended."""


class Abandoned(BaseException):
    """Raised in a thread that was given up, so that it ends; others do its work. Only the thread's end catches it."""


def unknown_name(what: str, name: str, allowed: Iterable[str]) -> str:
    """The sentence for a name that is not in a table: the nearest names first, else all of them."""
    names = list(allowed)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(names)}."
    return f"There is no {what} called {name!r}; {hint}"
