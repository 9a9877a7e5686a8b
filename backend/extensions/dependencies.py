"""The Python packages that extensions need: resolved in one step together with ours, and kept in a folder of theirs.

What Atelier depends on stays as it is: it holds as a constraint, and comes first when something is imported.
"""

import importlib
import importlib.metadata
import json
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from backend.errors import UserError
from backend.extensions.manifest import Manifest
from backend.extensions.pip import Pip, PipError

RECORD = "resolved.json"  # in the folder of packages
CONSTRAINT = "The user requested (constraint) "
REQUESTED = "The user requested "


class DependencyError(UserError):
    """Packages that cannot be had, or not together."""


@dataclass(frozen=True, kw_only=True)
class Package:
    """A package to be installed, as pip resolved it: exactly this file."""

    name: str
    version: str
    sha256: str
    url: str = ""


@dataclass(frozen=True, kw_only=True)
class Resolution:
    """All packages that extensions need besides ours, and for which extensions that was worked out."""

    packages: tuple[Package, ...] = ()
    extensions: tuple[str, ...] = ()

    def without(self, other: "Resolution") -> tuple[Package, ...]:
        """The packages that the other one does not have in that version."""
        known = {(each.name, each.version) for each in other.packages}
        return tuple(each for each in self.packages if (each.name, each.version) not in known)

    def to_json(self) -> str:
        """As `from_json` reads it."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Resolution":
        """What `to_json` wrote; nothing for anything else."""
        try:
            values = json.loads(text)
            packages = tuple(Package(**each) for each in values["packages"])
            return cls(packages=packages, extensions=tuple(map(str, values["extensions"])))
        except (ValueError, TypeError, KeyError):
            return cls()


class Dependencies:
    """The folder with the packages of extensions, made anew as a whole whenever they change."""

    def __init__(self, folder: Path, pip: Pip):
        self.folder = folder
        self._pip = pip

    def now(self) -> Resolution:
        """What lies there."""
        try:
            return Resolution.from_json((self.folder / RECORD).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError):
            return Resolution()

    def resolve(self, manifests: Iterable[Manifest], work: Path) -> Resolution:
        """The packages for these extensions, all together, with ours as they are; nothing is installed.

        `work` is a folder for what is needed meanwhile. Raises `DependencyError` with both sides of a conflict.
        """
        wanted = list(_wanted(manifests))
        ours = self._ours()
        for each in wanted:
            _check_ours(each, ours)
        ids = tuple(sorted({each.extension.id for each in wanted}))
        if all(canonicalize_name(each.requirement.name) in ours and not each.requirement.extras for each in wanted):
            return Resolution(extensions=ids)
        constraints, requirements = work / "constraints.txt", work / "requirements.txt"
        constraints.write_text("".join(f"{name}=={version}\n" for name, version in ours.items()), encoding="utf-8")
        requirements.write_text("".join(f"{each.requirement}\n" for each in wanted), encoding="utf-8")
        try:
            rows = self._pip.report(work, "-c", str(constraints), "-r", str(requirements))
        except PipError as error:
            raise DependencyError(_conflict(error.said, wanted) or str(error)) from error
        for row in rows:
            _check_address(row, rows)
        packages = sorted((_package(row) for row in rows), key=lambda each: each.name)
        for each in packages:
            if each.name in ours:
                raise DependencyError(
                    f"{each.name} {each.version} would take the place of {ours[each.name]}, which Atelier needs."
                )
        return Resolution(packages=tuple(packages), extensions=ids)

    def build(self, resolution: Resolution, into: Path, work: Path) -> None:
        """Install a resolution's packages into a new folder, each the file that was resolved. Raises `PipError`."""
        into.mkdir()
        if resolution.packages:
            listed = work / "hashed.txt"
            lines = (f"{each.name}=={each.version} --hash=sha256:{each.sha256}\n" for each in resolution.packages)
            listed.write_text("".join(lines), encoding="utf-8")
            self._pip.install(work, listed, into)
        (into / RECORD).write_text(resolution.to_json(), encoding="utf-8")

    def put(self, built: Path, trash: Path) -> Callable[[], None]:
        """Let a folder that was built take the place of the one there is; what is returned takes that back. Raises
        `OSError`, and then all is as before."""
        aside = trash / f"{self.folder.name}-{time.time_ns()}"
        before = self.folder.exists()
        if before:
            aside.parent.mkdir(parents=True, exist_ok=True)
            self.folder.rename(aside)
        try:
            built.rename(self.folder)
        except OSError:
            if before:
                aside.rename(self.folder)
            raise
        importlib.invalidate_caches()

        def undo() -> None:
            shutil.rmtree(self.folder, ignore_errors=True)
            if before:
                aside.rename(self.folder)
            importlib.invalidate_caches()

        return undo

    def _ours(self) -> dict[str, str]:
        """The versions of what is installed beside Atelier itself, by canonical names."""
        folder = self.folder.resolve()
        paths = [path for path in sys.path if path and Path(path).resolve() != folder]
        found: dict[str, str] = {}
        for each in importlib.metadata.distributions(path=paths):
            name, version = each.metadata["Name"], each.version
            if name and _is_version(version):
                found.setdefault(canonicalize_name(name), version)
        return found


@dataclass(frozen=True, kw_only=True)
class _Wanted:
    extension: Manifest
    requirement: Requirement

    @property
    def said(self) -> str:
        return f"{self.extension.name} needs {self.requirement}"


def _wanted(manifests: Iterable[Manifest]) -> Iterable[_Wanted]:
    for manifest in manifests:
        for text in manifest.dependencies:
            requirement = Requirement(text)
            if requirement.url:
                raise DependencyError(
                    f"{manifest.name} needs {text}: a package must be named with its version, and not by an address."
                )
            if requirement.marker is None or requirement.marker.evaluate():
                yield _Wanted(extension=manifest, requirement=requirement)


def _check_ours(wanted: _Wanted, ours: Mapping[str, str]) -> None:
    there = ours.get(canonicalize_name(wanted.requirement.name))
    if there is not None and not wanted.requirement.specifier.contains(there, prereleases=True):
        raise DependencyError(
            f"{wanted.said}, and Atelier needs {wanted.requirement.name} {there}: the two cannot be had together."
        )


def _check_address(row: Mapping[str, Any], rows: Iterable[Mapping[str, Any]]) -> None:
    """Raises `DependencyError` for a package that another one names by an address: what lies there is another thing
    tomorrow, and comes from where nobody looks."""
    if not row.get("is_direct"):
        return
    name, address = row["metadata"]["name"], row["download_info"].get("url", "")
    needing = [each["metadata"]["name"] for each in rows if _names_by_address(each, name)]
    raise DependencyError(
        f"{' and '.join(needing) or 'A package'} needs {name} from the address {address[:300]}: a package must be "
        "named with its version, and not by an address."
    )


def _names_by_address(row: Mapping[str, Any], name: str) -> bool:
    needed = [Requirement(text) for text in row["metadata"].get("requires_dist", ())]
    return any(each.url and canonicalize_name(each.name) == canonicalize_name(name) for each in needed)


def _package(row: Mapping[str, Any]) -> Package:
    """A row of pip's report. Raises `DependencyError` for a package whose file has no sha256."""
    about, download = row["metadata"], row["download_info"]
    sha256 = download.get("archive_info", {}).get("hashes", {}).get("sha256", "")
    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise DependencyError(f"{about['name']} {about['version']} comes without a sha256, so it is not installed.")
    return Package(
        name=canonicalize_name(about["name"]), version=about["version"], sha256=sha256, url=download.get("url", "")
    )


def _conflict(said: str, wanted: Sequence[_Wanted]) -> str:
    """Both sides of what pip could not bring together; empty where it failed for another reason."""
    _, found, causes = said.partition("The conflict is caused by:")
    if found:
        lines = [line.strip() for line in causes.strip().partition("\n\n")[0].splitlines()]
        sides = list(dict.fromkeys(side for line in lines if (side := _side(line, wanted))))
        if sides:
            return f"These cannot be had together: {'; '.join(sides)}."
    missing = re.search(r"No matching distribution found for (.+)", said)
    if missing is None:
        return ""
    text = missing[1].strip()
    who = _asking(text, wanted)
    reason = f"{who[0].extension.name} needs {text}" if who else f"A package needs {text}"
    return f"{reason}, of which no version that is ready made and fits was found."


def _side(line: str, wanted: Sequence[_Wanted]) -> str:
    if line.startswith(CONSTRAINT):
        name, _, version = line.removeprefix(CONSTRAINT).partition("==")
        return f"Atelier needs {name} {version}"
    if line.startswith(REQUESTED):
        text = line.removeprefix(REQUESTED)
        return " and ".join(each.extension.name for each in _asking(text, wanted)) + f" needs {text}"
    found = re.fullmatch(r"(\S+) (\S+) depends on (.+)", line)
    if found is None:
        return ""
    name = canonicalize_name(re.sub(r"\[.*\]", "", found[1]))
    who = [each.extension.name for each in wanted if canonicalize_name(each.requirement.name) == name]
    by = f", which {who[0]} needs," if who else ""
    return f"{found[1]} {found[2]}{by} needs {found[3]}"


def _asking(text: str, wanted: Sequence[_Wanted]) -> list[_Wanted]:
    """Who asked for what pip repeats in words of its own."""
    try:
        asked = Requirement(text)
    except ValueError:
        return []
    name = canonicalize_name(asked.name)
    same = [each for each in wanted if canonicalize_name(each.requirement.name) == name]
    return [each for each in same if each.requirement.specifier == asked.specifier] or same


def _is_version(text: str | None) -> bool:
    try:
        Version(text or "")
    except InvalidVersion:
        return False
    return True
