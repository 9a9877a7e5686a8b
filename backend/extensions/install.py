"""Installing extensions: first a plan, of which nothing is run, then what was agreed to, whole or not at all."""

import logging
import secrets
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from backend.errors import UserError
from backend.extensions import loading
from backend.extensions.dependencies import Dependencies, Package, Resolution
from backend.extensions.extension import Extension
from backend.extensions.extensions import Extensions
from backend.extensions.git_source import COMMIT, GitSource, newest_commit, tagged_commit
from backend.extensions.manifest import Manifest
from backend.extensions.package_source import PackageSource, newest_version
from backend.extensions.pip import Pip
from backend.extensions.source import ORIGIN, WORDS, Origin, Source, only_folder

log = logging.getLogger(__name__)

STAGING = ".staging"  # in the folder of installed extensions, so that a rename puts one in place
TRASH = ".trash"
KEPT_PLANS = 4
KEPT_TRASH = 20
BUSY = "Something else is being installed just now: wait until that is done."


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What an installation would do; nothing has been done yet but fetching.

    `replaces` is what lies there under the same id, and `before` where that came from; `new_permissions` are those that
    this one does not have, `packages` those that would be fetched and `dropped` those that no extension would need any
    more. `remarks` are sentences.
    """

    id: str
    manifest: Manifest
    origin: Origin | None
    replaces: Manifest | None
    before: Origin | None
    new_permissions: tuple[str, ...]
    packages: tuple[Package, ...]
    dropped: tuple[Package, ...]
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Staged:
    """A plan with what it was made of. `files` is None where only packages are to be installed; `before` is what lay
    there of packages then."""

    plan: Plan
    folder: Path
    files: Path | None
    resolution: Resolution
    before: Resolution


class Installer:
    """Installs, updates and removes extensions. One thing at a time; from any thread but the page's own, as it waits.

    Whoever calls it has made sure that this person may (`backend.server.arrival.can_change_code`).
    """

    def __init__(
        self,
        extensions: Extensions,
        data_dir: Path,
        *,
        pip: Pip | None = None,
        protocols: tuple[str, ...] = ("https",),
    ):
        """`protocols` are those that git may speak for an update."""
        self._extensions = extensions
        self._protocols = protocols
        self._pip = pip or Pip()
        self._staging = extensions.folder / STAGING
        self._trash = extensions.folder / TRASH
        self._dependencies = Dependencies(data_dir / loading.PACKAGES, self._pip)
        self._lock = threading.Lock()
        self._plans: dict[str, _Staged] = {}

    def plan(self, source: Source) -> Plan:
        """Fetch an extension and say what installing it would do. Raises `UserError`; then nothing is left."""
        with self._alone(), self._folder() as folder:
            files, work = folder / "files", folder / "work"
            files.mkdir()
            work.mkdir()
            origin = source.fetch(files, work)
            found = only_folder(files)
            manifest = Manifest.read(found)
            loading.check_api(manifest)
            replaced = self._there(manifest.id)
            if replaced is not None and replaced.bundled:
                raise UserError(f"{replaced.title} ships with Atelier: nothing can take its place.")
            return self._planned(folder, manifest, origin, found, replaced)

    def plan_present(self, id: str) -> Plan:
        """Say which packages an extension that is there needs. Raises `UserError`."""
        with self._alone(), self._folder() as folder:
            (folder / "work").mkdir()
            extension = self._extensions.find(id)
            if extension.manifest is None:
                raise UserError(f"{extension.title} cannot be installed: {extension.problem}")
            return self._planned(folder, extension.manifest, self.origin(id), None, extension)

    def plan_update(self, id: str, pin: str) -> Plan:
        """The same extension from where it came, at another commit or tag, or in another version, be it newer or older.
        Raises `UserError`."""
        plan = self.plan(self._pinned(self._origin_of(id), pin.strip()))
        if plan.manifest.id != id:
            self.discard(plan.id)
            raise UserError(f"What is there now is another extension, {plan.manifest.name}: {id} is not updated.")
        return plan

    def newest(self, id: str) -> str:
        """The newest commit or version that there is where an extension came from. Raises `UserError`."""
        origin = self._origin_of(id)
        with self._alone(), self._folder(keep=False) as folder:
            if origin.kind == "git":
                return newest_commit(origin.address, folder, self._protocols)
            return newest_version(origin.address, folder, self._pip)

    def _pinned(self, origin: Origin, pin: str) -> Source:
        """Another one from the same place. Raises `UserError`, of a tag that is none too."""
        if origin.kind != "git":
            return PackageSource(name=origin.address, version=pin, pip=self._pip)
        if COMMIT.fullmatch(pin.lower()):
            return GitSource(url=origin.address, commit=pin, protocols=self._protocols)
        with self._alone(), self._folder(keep=False) as folder:
            commit = tagged_commit(origin.address, pin, folder, self._protocols)
        return GitSource(url=origin.address, commit=commit, tag=pin, protocols=self._protocols)

    def origin(self, id: str) -> Origin | None:
        """Where an extension came from, if it was installed here."""
        try:
            text = (self._extensions.find(id).folder / ORIGIN).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return None
        return Origin.from_json(text)

    def discard(self, plan: str) -> None:
        """Forget a plan."""
        with self._alone():
            staged = self._plans.pop(plan, None)
            if staged is not None:
                _remove(staged.folder)

    def install(self, plan: str) -> Extension:
        """Do what a plan says: the files, and every package that extensions need.

        A new extension is off. One that takes the place of another stays on if that was, unless it asks for more
        permissions. Raises `UserError`, and then all is as it was.
        """
        with self._alone():
            staged = self._plans.pop(plan, None)
            if staged is None:
                raise UserError("This plan is no longer there: look once more at what would be installed.")
            try:
                return self._install(staged)
            except OSError as error:
                name, reason = staged.plan.manifest.name, error.strerror or error
                raise UserError(f"{name} could not be installed: {reason}. Nothing was changed.") from error
            finally:
                _remove(staged.folder)

    def remove(self, id: str) -> None:
        """Switch an extension off and take its folder away; what it kept stays. Raises `UserError`."""
        with self._alone():
            extension = self._extensions.find(id)
            if extension.bundled:
                raise UserError(f"{extension.title} ships with Atelier: it can be switched off, and not removed.")
            self._extensions.forget(id)
            try:
                self._throw_away(extension.folder)
            except OSError as error:
                raise UserError(f"{extension.title} could not be removed: {error.strerror or error}.") from error
            finally:
                self._extensions.rescan()

    def _planned(
        self, folder: Path, manifest: Manifest, origin: Origin | None, files: Path | None, replaced: Extension | None
    ) -> Plan:
        before = self._dependencies.now()
        resolution = self._dependencies.resolve(self._together(manifest, before), folder / "work")
        old = replaced.manifest if replaced is not None and files is not None else None
        known = replaced.manifest.permissions if replaced is not None and replaced.manifest else ()
        plan = Plan(
            id=folder.name,
            manifest=manifest,
            origin=origin,
            replaces=old,
            before=self.origin(manifest.id) if old is not None else None,
            new_permissions=tuple(each for each in manifest.permissions if each not in known),
            packages=resolution.without(before),
            dropped=before.without(resolution),
            remarks=tuple(_remarks(before.without(resolution))),
        )
        self._plans[plan.id] = _Staged(plan=plan, folder=folder, files=files, resolution=resolution, before=before)
        while len(self._plans) > KEPT_PLANS:
            _remove(self._plans.pop(next(iter(self._plans))).folder)
        return plan

    def _together(self, manifest: Manifest, before: Resolution) -> list[Manifest]:
        """This extension and those whose packages must be there with its own: who is on, or was resolved before."""
        others = [
            each.manifest
            for each in self._extensions.all()
            if each.manifest is not None
            and each.id != manifest.id
            and (each.wanted or each.state == "on" or each.id in before.extensions)
        ]
        return [*others, manifest]

    def _install(self, staged: _Staged) -> Extension:
        plan = staged.plan
        replaced = self._there(plan.manifest.id)
        known = replaced.manifest if replaced is not None and staged.files is not None else None
        if known != plan.replaces:
            raise UserError(f"{plan.manifest.name} has changed meanwhile: look once more at what would be installed.")
        packages = staged.folder / "packages"
        now = self._dependencies.now()
        changed = staged.resolution != now
        if changed and staged.before != now:
            raise UserError(
                f"The packages that extensions need have changed since {plan.manifest.name} was looked at: look once "
                "more at what would be installed."
            )
        if changed:
            self._dependencies.build(staged.resolution, packages, staged.folder / "work")
        was_on = replaced is not None and replaced.wanted
        with ExitStack() as undo:
            if staged.files is not None:
                undo.callback(self._put_files(staged, staged.files, replaced))
            if changed:
                undo.callback(self._dependencies.put(packages, self._trash))
            undo.pop_all()
        self._sweep_trash()
        log.info("installed %s %s from %s", plan.manifest.id, plan.manifest.version, plan.origin)
        return self._taken_up(plan, was_on=was_on)

    def _put_files(self, staged: _Staged, files: Path, replaced: Extension | None) -> Callable[[], None]:
        """Put an extension's folder in place; what is returned takes that back. Raises `OSError`."""
        target = self._extensions.folder / staged.plan.manifest.id
        if staged.plan.origin is not None:
            (files / ORIGIN).write_text(_noted(staged.plan.origin, staged.plan.before).to_json(), encoding="utf-8")
        old = replaced.folder if replaced is not None else target
        aside = self._throw_away(old) if old.is_symlink() or old.exists() else None
        try:
            if target.exists():  # a folder of that name with another extension in it
                raise FileExistsError(f"the folder {target.name} belongs to another extension")
            files.rename(target)
        except OSError:
            if aside is not None:
                aside.rename(old)
            raise

        def undo() -> None:
            _remove(target)
            if aside is not None:
                aside.rename(old)

        return undo

    def _taken_up(self, plan: Plan, *, was_on: bool) -> Extension:
        """Let the program see what is there now, running nothing that nobody has agreed to."""
        id = plan.manifest.id
        loading.add_packages(self._dependencies.folder.parent)
        if self._there(id) is None:
            self._extensions.forget_switch(id)  # of one that was called so once
            self._extensions.rescan()
            return self._extensions.find(id)
        if was_on and plan.new_permissions:
            self._extensions.switch(id, False)
        return self._extensions.reload(id)

    def _there(self, id: str) -> Extension | None:
        return next((each for each in self._extensions.all() if each.id == id), None)

    def _origin_of(self, id: str) -> Origin:
        origin = self.origin(id)
        if origin is None or origin.kind == "zip":
            name = self._extensions.find(id).title
            came = f"{name} came as {WORDS['zip']}" if origin else f"It is not known where {name} came from"
            raise UserError(f"{came}: to update it, install another file.")
        return origin

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if not self._lock.acquire(blocking=False):
            raise UserError(BUSY)
        try:
            yield
        finally:
            self._lock.release()

    @contextmanager
    def _folder(self, *, keep: bool = True) -> Iterator[Path]:
        """A new folder to work in, which is removed where what is done in it fails, or `keep` does not say so."""
        try:
            self._sweep()
            folder = self._staging / secrets.token_hex(16)
            folder.mkdir(parents=True)
        except OSError as error:
            raise UserError(f"The folder for extensions cannot be written to: {error.strerror or error}.") from error
        done = False
        try:
            yield folder
            done = keep
        except OSError as error:
            raise UserError(f"It could not be prepared: {error.strerror or error}.") from error
        finally:
            if not done:
                _remove(folder)

    def _sweep(self) -> None:
        """Remove what an Atelier that ended meanwhile has left."""
        known = {staged.folder for staged in self._plans.values()}
        for folder in self._staging.iterdir() if self._staging.is_dir() else ():
            if folder not in known:
                _remove(folder)

    def _throw_away(self, folder: Path) -> Path:
        """Move a folder to where nothing is looked for, from where somebody may take it back. Raises `OSError`."""
        aside = self._trash / f"{folder.name}-{time.time_ns()}"
        aside.parent.mkdir(parents=True, exist_ok=True)
        folder.rename(aside)
        return aside

    def _sweep_trash(self) -> None:
        there = (
            sorted(self._trash.iterdir(), key=lambda each: each.name.rpartition("-")[2]) if self._trash.is_dir() else []
        )
        for each in there[:-KEPT_TRASH]:
            _remove(each)


def _noted(origin: Origin, before: Origin | None) -> Origin:
    """Where one comes from, with what was there before it, to which somebody may want to go back."""
    if before is None or (before.kind, before.address) != (origin.kind, origin.address):
        return origin
    return replace(origin, before=before.pin if before.pin != origin.pin else before.before)


def _remarks(gone: tuple[Package, ...]) -> Iterator[str]:
    """What somebody should know: a module that was imported stays as it was until the next start."""
    if gone and any(each.name.replace("-", "_") in sys.modules for each in gone):
        yield "Packages that are in use change: restart Atelier afterwards."


def _remove(folder: Path) -> None:
    if folder.is_symlink():
        folder.unlink(missing_ok=True)
    else:
        shutil.rmtree(folder, ignore_errors=True)
