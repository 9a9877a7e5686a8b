"""Every extension there is: found, switched on and off, loaded, and taken away again."""

import logging
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from backend.errors import UserError, unknown_name
from backend.extensions import found, loading, names
from backend.extensions.brought import Brought
from backend.extensions.calls import Calls, reason
from backend.extensions.events import Events
from backend.extensions.extension import Extension
from backend.extensions.found import Found
from backend.extensions.log import ExtensionLog
from backend.extensions.manifest import Manifest
from backend.extensions.names import Names
from backend.extensions.offered import code_time
from backend.extensions.registration import Registration, Services
from backend.extensions.supervisor import HeldUp
from backend.extensions.switches import FILE, Switches
from backend.extensions.tables import put_in
from backend.extensions.works import Works
from backend.listeners import Listeners
from backend.paths import ROOT

log = logging.getLogger(__name__)

FOLDER = "extensions"  # in the data folder: those that somebody has installed
DATA = "extensions-data"  # beside it: what they keep
LOAD_SECONDS = 20.0
SAFE_MODE = "Atelier runs in safe mode, in which no extension is on: start it without --safe-mode."
CIRCLE = "What extensions say with before and after contradicts itself ({}): these take their turns last, by name."


class Extensions:
    """The extensions of an `App`. Who only looks takes no lock; changes are made one after the other.

    `bundled` is the folder of those that ship with Atelier. In `safe_mode` all are listed and none is loaded.
    `revision` counts the changes of what there is, `failures` what went wrong in all of them; `names` knows what those
    brought that are not on now.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        bundled: Path = ROOT / FOLDER,
        services: Services | None = None,
        safe_mode: bool = False,
    ):
        self.safe_mode = safe_mode
        self.revision = 0
        self.failures = 0
        self.folder = data_dir / FOLDER
        self._data_dir = data_dir
        self._bundled = bundled
        self._services = services or Services()
        self.calls = Calls(self._services.seconds)
        self.works = Works(self.calls)
        self.events = Events(self.calls)
        at_first = frozenset(id for id, on in found.shipped(bundled).items() if on)
        self._switches = Switches(data_dir / FILE, at_first)
        self.names = Names(data_dir / names.FILE)
        self._lock = threading.RLock()
        self._all: tuple[Extension, ...] = ()
        self._active: tuple[Extension, ...] = ()
        self._undo: dict[str, ExitStack] = {}
        self._loaded: dict[str, Manifest] = {}  # what each said of itself when it was loaded
        self._listeners = Listeners()
        self._failing = threading.Lock()
        self._failure_listeners = Listeners()
        self._closed = False

    def load(self) -> None:
        """Look for extensions, and load those that are on. Never raises for one that cannot be loaded."""
        with self._lock:
            self._look()
            for extension in self._all:
                self._put_on(extension)
            self._order()

    def all(self) -> tuple[Extension, ...]:
        """Every one there is, by its title."""
        return self._all

    def active(self) -> tuple[Extension, ...]:
        """Those that are on, in the order of their turns."""
        return self._active

    def find(self, id: str) -> Extension:
        """The one of that id. Raises `UserError` if there is none."""
        for extension in self._all:
            if extension.id == id:
                return extension
        raise UserError(unknown_name("extension", id, [each.id for each in self._all]))

    def switch(self, id: str, on: bool) -> Extension:
        """Switch one on or off, and remember it. One that cannot be loaded is ``broken`` then, and says why.

        Raises `UserError` if there is none of that id, where it cannot be written down, and for switching on in safe
        mode.
        """
        with self._lock:
            extension = self.find(id)
            if on and self.safe_mode:
                raise UserError(SAFE_MODE)
            self._switches.switch(id, on)
            self._take_off(extension)
            extension.wanted = on
            extension.failures.clear()
            self._put_on(extension)
            self._changed()
        self._listeners.tell()
        return extension

    def reload(self, id: str) -> Extension:
        """Read one anew from its folder. Raises `UserError` if there is none of that id."""
        with self._lock:
            extension = self.find(id)
            self._take_off(extension)
            self._look()
            extension = self.find(id)
            self._put_on(extension)
            self._changed()
        self._listeners.tell()
        return extension

    def rescan(self, *, strangers: bool = True) -> None:
        """Look for extensions that came, went or changed. Without `strangers` no code is loaded that does not ship with
        Atelier: whoever asks may not say so."""
        with self._lock:
            self._look()
            for extension in self._all:
                if not (strangers or extension.bundled):
                    continue
                if extension.state == "on" and self._loaded.get(extension.id) != extension.manifest:
                    self._take_off(extension)
                if extension.state != "on":
                    self._put_on(extension)
            self._changed()
        self._listeners.tell()

    def forget(self, id: str) -> None:
        """Take one off and forget its switch, before its folder is removed; `rescan` follows. Raises `UserError`."""
        with self._lock:
            extension = self.find(id)
            self._take_off(extension)
            extension.wanted = False
            self._switches.forget(id)
            self._changed()
        self._listeners.tell()

    def forget_switch(self, id: str) -> None:
        """Forget the switch of one that is not there, before its folder comes: so it is off at first."""
        self._switches.forget(id)

    def hold(self, held_up: HeldUp) -> None:
        """Keep one off that ended the process before this one, until it is switched on again. To be called before
        `load`."""
        self._switches.hold(held_up.extension, f"It {held_up.what}: switch it on again to try.")

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener()` after each change of what there is, on the thread that made it; returns the function that
        ends it."""
        return self._listeners.add(listener)

    def on_failure(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener()` after each failure of an extension, on the thread on which it came: often, so it returns at
        once. Returns the function that ends it."""
        return self._failure_listeners.add(listener)

    def note_failure(self, id: str, where: str, error: BaseException) -> None:
        """Remember what went wrong in one of them; nothing where it is gone."""
        for extension in self._all:
            if extension.id == id:
                extension.note_failure(where, str(error) if isinstance(error, UserError) else reason(error))

    def close(self) -> None:
        """Take all of them off."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self.works.close()
            self.events.close()
            for extension in reversed(self._active):
                self._take_off(extension)
            self._active = ()
            self.names.close()
            for extension in self._all:
                extension.log.close()

    def _look(self) -> None:
        """Make the list of what lies in the folders; an extension that stays where it was stays the same."""
        known = {(extension.id, extension.folder): extension for extension in self._all}
        there = []
        for each in found.look(self._bundled, self.folder):
            extension = known.pop((each.id, each.folder), None) or self._extension(each)
            extension.manifest = each.manifest
            extension.wanted = self._switches.is_on(each.id) and not self.safe_mode
            if each.problem:
                self._take_off(extension)
                extension.state, extension.problem = "broken", each.problem
            elif extension.state == "broken":
                extension.state, extension.problem = "off", ""
            there.append(extension)
        for gone in known.values():
            self._take_off(gone)
            gone.log.close()
        self._all = tuple(sorted(there, key=lambda each: (each.title.casefold(), each.id)))

    def _extension(self, each: Found) -> Extension:
        data_dir = self._data_dir / DATA / each.id
        return Extension(
            id=each.id,
            folder=each.folder,
            data_dir=data_dir,
            log=ExtensionLog(each.id, data_dir),
            bundled=each.bundled,
            failed=self._failed,
        )

    def _failed(self) -> None:
        with self._failing:
            self.failures += 1
        self._failure_listeners.tell()

    def _put_on(self, extension: Extension) -> None:
        """Load one that is wanted and is not on. What fails leaves nothing behind but a sentence."""
        manifest = extension.manifest
        if not extension.wanted or manifest is None or extension.state == "on":
            return
        if why := self._switches.held_up(extension.id):
            extension.state, extension.problem = "broken", why
            return
        loading.add_packages(self._data_dir)
        extension.code_time = code_time(extension.folder)
        with ExitStack() as undo:
            try:
                loading.check(manifest)
                self._bring(extension, undo)
            except UserError as error:
                extension.state, extension.problem = "broken", _sentence(extension, error)
                extension.log.error("could not be loaded: %s", error)
                return
            self._undo[extension.id] = undo.pop_all()
        self._loaded[extension.id] = manifest
        extension.state, extension.problem = "on", ""
        extension.revision += 1
        self.names.note(extension)
        self.events.add(extension)

    def _bring(self, extension: Extension, undo: ExitStack) -> None:
        """Import and register one; `undo` takes all of it away again. Raises `UserError`."""
        undo.callback(_empty, extension)
        apart = self.calls.call_apart
        module = apart(extension, "its import", loading.import_module, extension, limit=LOAD_SECONDS)
        undo.callback(loading.drop_modules, module.__name__, module)
        impls = loading.hooks_of(module, extension.id)
        if not impls and not (extension.manifest and extension.manifest.js):
            raise UserError("it has no hook: functions such as register stand below @hook.")
        registration = Registration(extension, self._services, self.works, self.events)
        try:
            for impl in impls.get("register", ()):
                arguments = dict.fromkeys(impl.argnames, registration)
                apart(extension, "register", impl.function, limit=LOAD_SECONDS, **arguments)
        finally:
            registration.close()
        extension.module, extension.impls = module, impls
        extension.brought, extension.own = registration.brought, registration.own
        undo.callback(put_in(extension, self.calls))

    def _take_off(self, extension: Extension) -> None:
        """Take away all that one has brought."""
        undo = self._undo.pop(extension.id, None) if extension.state == "on" else None
        if extension.manifest is not None:  # else it stays as broken as it was found
            extension.state, extension.problem = "off", ""
        self._active = tuple(each for each in self._active if each is not extension)
        self.events.remove(extension)
        self.works.cancel_all(extension)
        if undo is not None:
            undo.close()

    def _order(self) -> None:
        on = {extension.id: extension for extension in self._all if extension.state == "on"}
        order, circle = found.in_order(on.values())
        for extension in on.values():
            contradicts = extension.id in circle
            extension.problem = CIRCLE.format(", ".join(sorted(circle))) if contradicts else ""
        self._active = tuple(on[id] for id in order)
        self.names.renew(self._all)

    def _changed(self) -> None:
        self._order()
        self.revision += 1


def _empty(extension: Extension) -> None:
    extension.brought = Brought()
    extension.impls = {}
    extension.module = extension.own = None


def _sentence(extension: Extension, error: UserError) -> str:
    """What is wrong with one, as a sentence of its own below its name."""
    text = str(error).removeprefix(f"{extension.title}: ")
    return text[:1].upper() + text[1:]
