"""A folder of extensions with its installer and a folder of wheels, for tests of what is installed."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from backend.errors import UserError
from backend.extensions.extension import Extension
from backend.extensions.extensions import Extensions
from backend.extensions.install import STAGING, Installer
from backend.extensions.package_source import PackageSource
from backend.extensions.pip import Pip
from backend.extensions.source import Source
from backend.extensions.zip_source import ZipSource
from tests.packaged import files, write_zip


class Studio:
    """Extensions in a folder, and what installs them with the wheels of another."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.wheels = folder / "wheels"
        self.wheels.mkdir(parents=True)
        self.data = folder / "data"
        (folder / "bundled").mkdir()
        self.pip = Pip({"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.wheels), "PIP_CONFIG_FILE": os.devnull})
        self.extensions = Extensions(self.data, bundled=folder / "bundled")
        self.extensions.load()
        self.installer = Installer(self.extensions, self.data, pip=self.pip)
        self.place = self.data / "extensions"

    def zip(self, contents: dict[str, str] | None = None, **about: object) -> ZipSource:
        """A zip with an extension in it."""
        number = len(list(self.folder.glob("*.zip")))
        path = write_zip(self.folder / f"{number}.zip", contents or files(**about), top="frame-main")  # type: ignore[arg-type]
        return ZipSource(path=path, name=path.name)

    def package(self, name: str, version: str) -> PackageSource:
        return PackageSource(name=name, version=version, pip=self.pip)

    def install(self, source: Source) -> Extension:
        return self.installer.install(self.installer.plan(source).id)

    def left(self) -> list[str]:
        """What lies in the folder of extensions, staging and trash apart."""
        if not self.place.is_dir():
            return []
        return sorted(path.name for path in self.place.iterdir() if not path.name.startswith("."))

    def staged(self) -> list[Path]:
        folder = self.place / STAGING
        return sorted(folder.iterdir()) if folder.is_dir() else []

    def was_run(self) -> bool:
        return any(self.data.rglob("was_run"))


@contextmanager
def opened(folder: Path) -> Iterator[Studio]:
    """A studio in that folder; in the end its extensions are off and its packages out of the way."""
    studio = Studio(folder)
    path = list(sys.path)
    yield studio
    studio.extensions.close()
    sys.path[:] = path


def refused(studio: Studio, source: Callable[[], Source] | Source, sentence: str) -> None:
    """A plan of that source is refused with a sentence, and nothing of it is left or was run."""
    with pytest.raises(UserError, match=sentence):
        studio.installer.plan(source() if callable(source) else source)
    assert not studio.staged()
    assert not studio.left()
    assert not studio.was_run()
