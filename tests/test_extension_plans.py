"""Plans of installations: nothing is run for one, and none is carried out that says what is no longer true."""

import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from backend.errors import UserError
from backend.extensions.pip import PipError
from tests.extension_studio import Studio, opened, refused
from tests.packaged import write_wheel


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    with opened(tmp_path) as studio:
        yield studio


BACKEND = """\
import os

open({mark!r}, "w").write("run")


def get_requires_for_build_wheel(settings=None):
    return []


def prepare_metadata_for_build_wheel(folder, settings=None):
    os.makedirs(folder + "/evil-1.0.dist-info")
    with open(folder + "/evil-1.0.dist-info/METADATA", "w") as file:
        file.write("Metadata-Version: 2.1\\nName: evil\\nVersion: 1.0\\n")
    return "evil-1.0.dist-info"


def build_wheel(*_):
    raise SystemExit
"""
PROJECT = '[build-system]\nrequires = []\nbuild-backend = "build"\nbackend-path = ["."]\n'


@pytest.mark.parametrize("packed", [True, False])
def test_what_a_package_names_by_an_address_is_not_built(studio: Studio, packed: bool) -> None:
    """Whatever pip was told of what is ready made: that does not hold for an address, be it of a file or a folder."""
    mark, folder = studio.folder / "marked", studio.folder / "source" / "evil-1.0"
    folder.mkdir(parents=True)
    (folder / "pyproject.toml").write_text(f'{PROJECT}[project]\nname = "evil"\nversion = "1.0"\n')
    (folder / "build.py").write_text(BACKEND.format(mark=str(mark)))
    place = folder.with_name("evil-1.0.tar.gz")
    with tarfile.open(place, "w:gz") as archive:
        archive.add(folder, "evil-1.0")
    write_wheel(studio.wheels, "nice", "1.0", needs=[f"evil @ {(place if packed else folder).as_uri()}"])
    refused(studio, studio.zip(dependencies=["nice"]), r"evil-1\.0[^ ]* \(from nice\) is not ready made: it would have")
    assert not mark.exists()


def test_a_package_that_another_names_by_an_address_is_refused(studio: Studio) -> None:
    there = write_wheel(studio.folder / "elsewhere", "other", "1.0")
    write_wheel(studio.wheels, "nice", "1.0", needs=[f"other @ {there.as_uri()}"])
    refused(
        studio,
        studio.zip(dependencies=["nice"]),
        r"nice needs other from the address file:.*other-1\.0-py3-none-any\.whl: a package must be named",
    )


def test_pip_starts_no_program(studio: Studio, tmp_path: Path) -> None:
    """Which it does for another thing as well: to look at a folder that was named to it."""
    (tmp_path / "setup.py").write_text(f"open({str(tmp_path / 'marked')!r}, 'w')\n")
    with pytest.raises(PipError, match="is not ready made"):
        studio.pip.report(tmp_path, str(tmp_path))
    assert not (tmp_path / "marked").exists()


# --- plans of before something else was installed ---


def test_a_plan_does_not_take_away_packages_that_came_after_it(studio: Studio) -> None:
    for name in ("paintlib", "brushlib"):
        write_wheel(studio.wheels, name, "1.0")
    first = studio.installer.plan(studio.zip(id="first", dependencies=["paintlib"]))
    second = studio.installer.plan(studio.zip(id="second", dependencies=["brushlib"]))
    assert second.dropped == ()
    studio.installer.install(first.id)
    with pytest.raises(UserError, match="have changed since Second was looked at: look once more"):
        studio.installer.install(second.id)
    packages = studio.data / "extensions-packages"
    assert (packages / "paintlib.py").is_file()
    assert studio.left() == ["first"]
    studio.install(studio.zip(id="second", dependencies=["brushlib"]))
    assert (packages / "paintlib.py").is_file()
    assert (packages / "brushlib.py").is_file()


def test_a_plan_that_needs_what_came_meanwhile_is_carried_out(studio: Studio) -> None:
    """Nothing of the packages changes then."""
    write_wheel(studio.wheels, "paintlib", "1.0")
    studio.install(studio.zip(id="first", dependencies=["paintlib"]))
    second = studio.installer.plan(studio.zip(id="second"))
    third = studio.installer.plan(studio.zip(id="third"))
    for plan in (second, third):
        studio.installer.install(plan.id)
    assert studio.left() == ["first", "second", "third"]
