"""An extension that was found: where it lies, how it is, and what it has brought."""

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from backend.errors import UserError
from backend.extension_api import ExtensionApi
from backend.extensions.brought import Brought
from backend.extensions.log import ExtensionLog
from backend.extensions.manifest import Manifest
from backend.extensions.settings_store import ExtensionSettings

KEPT_FAILURES = 20

State = Literal["off", "on", "broken"]


class ExtensionFault(UserError):
    """An extension failed, or said no; the sentence begins with its name."""

    kind = "extension_failed"


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Something that went wrong in an extension: when (seconds since 1970), in what, and a sentence."""

    at: float
    where: str
    sentence: str


@dataclass(frozen=True, kw_only=True)
class HookImpl:
    """A hook of an extension: its name, the function, and which of the stage's arguments it wants."""

    name: str
    function: Callable[..., Any]
    argnames: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Own:
    """What is an extension's own while it is on: what its `register` was handed, its settings, and what it keeps, by
    classes. Its turns in a job have those that it had when the job began."""

    api: ExtensionApi
    settings: ExtensionSettings[Any] | None
    kept: Mapping[type, Any]


@dataclass(kw_only=True, eq=False)
class Extension:
    """One that was found. Changed by `Extensions` only, under its lock; everybody else reads.

    `problem` is a sentence where it is ``broken``, and may be one where it is on. `wanted` says that somebody has
    switched it on, whatever became of that. `own` is there while it is on. `revision` counts how often it was loaded,
    and `code_time` is when the newest file of its code was changed, in nanoseconds, as it was when it was loaded.
    `failed()` is called after each failure, on the thread on which it came.
    """

    id: str
    folder: Path
    data_dir: Path
    log: ExtensionLog
    manifest: Manifest | None = None
    bundled: bool = False
    wanted: bool = False
    state: State = "off"
    problem: str = ""
    brought: Brought = field(default_factory=Brought)
    module: ModuleType | None = None
    own: Own | None = None
    impls: Mapping[str, Sequence[HookImpl]] = field(default_factory=dict)
    failures: deque[Failure] = field(default_factory=lambda: deque(maxlen=KEPT_FAILURES))
    revision: int = 0
    code_time: int = 0
    failed: Callable[[], None] = lambda: None

    @property
    def title(self) -> str:
        """What people call it."""
        return self.manifest.name if self.manifest else self.folder.name

    @property
    def version(self) -> str:
        """Which one it is; empty where its manifest cannot be read."""
        return self.manifest.version if self.manifest else ""

    @property
    def api(self) -> ExtensionApi | None:
        """What its `register` was handed; None where it is off."""
        return self.own.api if self.own else None

    @property
    def settings(self) -> ExtensionSettings[Any] | None:
        """Its settings, if it is on and has some."""
        return self.own.settings if self.own else None

    def hookimpls(self, name: str) -> Sequence[HookImpl]:
        """Its functions for a hook: none, or one."""
        return self.impls.get(name, ())

    def note_failure(self, where: str, sentence: str) -> None:
        """Remember that something went wrong; only the newest are kept."""
        self.failures.append(Failure(at=time.time(), where=where, sentence=sentence))
        self.failed()
