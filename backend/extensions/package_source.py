"""An extension in a Python package: its wheel is fetched and unpacked, and never installed."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from packaging.version import InvalidVersion, Version

from backend.extensions.manifest import FILE
from backend.extensions.pip import Pip, PipError
from backend.extensions.source import Origin, SourceError
from backend.extensions.zip_source import sha256_of, unpack

NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,98}[A-Za-z0-9])?")


def newest_version(name: str, work: Path, pip: Pip) -> str:
    """The newest version of a package that is ready made. Raises `UserError`."""
    if not NAME.fullmatch(name):
        raise SourceError(f"{name[:100]!r} is no name of a package.")
    rows = pip.report(work, "--no-deps", "--ignore-installed", name)
    if not rows:
        raise SourceError(f"There is no package {name} that is ready made.")
    return str(rows[0]["metadata"]["version"])


@dataclass(frozen=True, kw_only=True)
class PackageSource:
    """The package of that name in that version, from where pip finds it."""

    name: str
    version: str
    pip: Pip = field(default_factory=Pip, compare=False)

    def __post_init__(self) -> None:
        """Raises `SourceError` for what is no name and no version."""
        object.__setattr__(self, "name", self.name.strip())
        object.__setattr__(self, "version", self.version.strip())
        if not NAME.fullmatch(self.name):
            raise SourceError(f"{self.name[:100]!r} is no name of a package.")
        try:
            Version(self.version)
        except InvalidVersion as error:
            raise SourceError(
                f"A package is named with its version, such as {self.name}==1.2.0; {self.version[:100]!r} is none."
            ) from error

    def fetch(self, into: Path, work: Path) -> Origin:
        """As `Source.fetch`."""
        wanted, fetched, unpacked = f"{self.name}=={self.version}", work / "wheel", work / "unpacked"
        fetched.mkdir()
        try:
            self.pip.download(work, wanted, fetched)
        except PipError as error:
            raise SourceError(f"{wanted} could not be fetched as a package that is ready made. {error}") from error
        wheels = list(fetched.glob("*.whl"))
        if len(wheels) != 1:
            raise SourceError(f"{wanted} brought {len(wheels)} files, where one was expected.")
        unpacked.mkdir()
        unpack(wheels[0], unpacked)
        folders = sorted(path.parent for path in unpacked.rglob(FILE))
        if len(folders) != 1 or folders[0] == unpacked:
            raise SourceError(f"{wanted} has {len(folders)} folders with a {FILE}; an extension has one.")
        into.rmdir()
        folders[0].rename(into)
        return Origin(kind="package", address=self.name, pin=self.version, sha256=sha256_of(wheels[0]))
