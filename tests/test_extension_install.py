"""What an installation does: whole or not at all, with what extensions depend on, and nothing is run."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backend.errors import UserError
from backend.extensions.dependencies import Dependencies, Package
from backend.extensions.extensions import Extensions
from backend.extensions.install import BUSY, STAGING, Installer, Plan
from backend.extensions.manifest import Manifest
from backend.extensions.source import ORIGIN, Origin
from backend.extensions.zip_source import ZipSource, sha256_of
from tests.extension_studio import Studio, opened, refused
from tests.packaged import files, write_wheel, write_zip


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    with opened(tmp_path) as studio:
        yield studio


# --- what is planned, installed, updated and removed ---


def test_a_plan_says_what_it_would_do_and_runs_nothing(studio: Studio) -> None:
    plan = studio.installer.plan(studio.zip(permissions=["network"]))
    assert (plan.manifest.id, plan.manifest.version, plan.replaces) == ("frame", "1.0.0", None)
    assert (plan.new_permissions, plan.packages, plan.remarks) == (("network",), (), ())
    assert plan.origin == Origin(kind="zip", address="0.zip", pin=sha256_of(studio.folder / "0.zip"))
    assert (studio.left(), studio.extensions.all(), studio.was_run()) == ([], (), False)


def test_what_is_installed_is_off_until_it_is_switched_on(studio: Studio) -> None:
    extension = studio.install(studio.zip())
    assert (extension.state, extension.bundled, studio.was_run()) == ("off", False, False)
    assert extension.folder == studio.place / "frame"
    assert (extension.folder / "parts" / "words.txt").read_text() == "words\n"
    assert studio.installer.origin("frame") == Origin.from_json((extension.folder / ORIGIN).read_text())
    assert not studio.staged()
    studio.extensions.switch("frame", True)
    assert (extension.state, studio.was_run()) == ("on", True)


def test_a_flat_zip_is_one_too(studio: Studio) -> None:
    path = write_zip(studio.folder / "flat.zip", files())
    assert studio.install(ZipSource(path=path, name="flat.zip")).title == "Frame"


def test_an_update_stays_on_unless_it_asks_for_more(studio: Studio) -> None:
    studio.install(studio.zip())
    studio.extensions.switch("frame", True)
    plan = studio.installer.plan(studio.zip(version="1.1.0"))
    assert plan.replaces is not None
    assert (plan.replaces.version, plan.new_permissions) == ("1.0.0", ())
    extension = studio.installer.install(plan.id)
    assert (extension.state, extension.version) == ("on", "1.1.0")
    extension = studio.install(studio.zip(version="1.2.0", permissions=["files"]))
    assert (extension.state, extension.wanted, extension.version) == ("off", False, "1.2.0")
    assert studio.left() == ["frame"]


def test_a_removed_one_is_gone_and_off_when_it_comes_again(studio: Studio) -> None:
    studio.install(studio.zip())
    studio.extensions.switch("frame", True)
    studio.installer.remove("frame")
    assert (studio.left(), studio.extensions.all()) == ([], ())
    (studio.data / "extensions.json").write_text('{"switched": {"frame": true}}')
    studio.extensions = Extensions(studio.data, bundled=studio.folder / "bundled")
    studio.extensions.load()
    studio.installer = Installer(studio.extensions, studio.data, pip=studio.pip)
    for mark in studio.data.rglob("was_run"):
        mark.unlink()
    assert studio.install(studio.zip()).state == "off"
    assert not studio.was_run()


def test_what_ships_with_atelier_is_neither_replaced_nor_removed(tmp_path: Path) -> None:
    for name, text in files().items():
        path = tmp_path / "bundled" / "frame" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "bundled" / "bundled.txt").write_text("frame\n")
    (tmp_path / "other").mkdir()
    studio = Studio(tmp_path / "other")
    studio.extensions = Extensions(studio.data, bundled=tmp_path / "bundled")
    studio.extensions.load()
    studio.installer = Installer(studio.extensions, studio.data, pip=studio.pip)
    refused(studio, studio.zip(), "Frame ships with Atelier: nothing can take its place")
    with pytest.raises(UserError, match="it can be switched off, and not removed"):
        studio.installer.remove("frame")


def test_a_plan_is_good_once_and_only_for_what_it_was_made_for(studio: Studio) -> None:
    first, second = studio.installer.plan(studio.zip()), studio.installer.plan(studio.zip(version="2.0"))
    studio.installer.install(first.id)
    for plan, sentence in ((first, "no longer there"), (second, "Frame has changed meanwhile")):
        with pytest.raises(UserError, match=sentence):
            studio.installer.install(plan.id)
    third = studio.installer.plan(studio.zip())
    studio.installer.discard(third.id)
    with pytest.raises(UserError, match="no longer there"):
        studio.installer.install(third.id)
    assert not studio.staged()


def test_what_cannot_be_put_in_place_leaves_the_old_one(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    old = studio.install(studio.zip())
    studio.extensions.switch("frame", True)
    write_wheel(studio.wheels, "paintlib", "1.0")
    plan = studio.installer.plan(studio.zip(version="2.0", dependencies=["paintlib"]))
    next(studio.wheels.iterdir()).unlink()
    with pytest.raises(UserError, match="pip could not do it"):
        studio.installer.install(plan.id)
    assert (old.state, old.version) == ("on", "1.0.0")
    assert studio.extensions.find("frame") is old
    # And where it fails after the files are in place.
    write_wheel(studio.wheels, "paintlib", "1.0")
    plan = studio.installer.plan(studio.zip(version="2.0", dependencies=["paintlib"]))
    really = Dependencies.put

    def fail(self: Dependencies, built: Path, trash: Path) -> Callable[[], None]:
        really(self, built, trash)()
        raise OSError("the disk is full")

    monkeypatch.setattr(Dependencies, "put", fail)
    with pytest.raises(UserError, match=r"Frame could not be installed: the disk is full\. Nothing was changed"):
        studio.installer.install(plan.id)
    assert (old.state, studio.extensions.find("frame")) == ("on", old)
    assert not (studio.data / "extensions-packages").exists()
    assert Manifest.read(studio.place / "frame").version == "1.0.0"
    assert not studio.staged()


def test_only_one_thing_at_a_time(studio: Studio) -> None:
    class Impatient:
        def fetch(self, into: Path, work: Path) -> Origin:
            with pytest.raises(UserError, match=BUSY):
                studio.installer.plan(studio.zip())
            return studio.zip().fetch(into, work)

    assert studio.install(Impatient()).id == "frame"


def test_what_an_ended_atelier_left_is_swept(studio: Studio) -> None:
    left = studio.place / STAGING / "left"
    left.mkdir(parents=True)
    plan = studio.installer.plan(studio.zip())
    assert [path.name for path in studio.staged()] == [plan.id]


# --- what extensions depend on ---


def test_dependencies_are_planned_installed_and_found(studio: Studio) -> None:
    write_wheel(studio.wheels, "paintlib", "1.4", needs=["brushlib>=2"])
    write_wheel(studio.wheels, "brushlib", "2.1")
    plan = studio.installer.plan(studio.zip(dependencies=["paintlib>=1", "numpy>=1"]))
    assert [(each.name, each.version) for each in plan.packages] == [("brushlib", "2.1"), ("paintlib", "1.4")]
    assert plan.packages[1].sha256 == sha256_of(studio.wheels / "paintlib-1.4-py3-none-any.whl")
    assert not (studio.data / "extensions-packages").exists()
    studio.installer.install(plan.id)
    assert (studio.data / "extensions-packages" / "paintlib.py").is_file()
    assert studio.extensions.switch("frame", True).state == "on"
    import paintlib  # type: ignore[import-not-found]

    assert paintlib.VERSION == "1.4"
    del sys.modules["paintlib"]


def test_a_package_is_installed_only_as_it_was_planned(studio: Studio) -> None:
    write_wheel(studio.wheels, "paintlib", "1.4")
    plan = studio.installer.plan(studio.zip(dependencies=["paintlib"]))
    write_wheel(studio.wheels, "paintlib", "1.4", contents={"paintlib.py": "evil = 1\n"})
    with pytest.raises(UserError, match="pip could not do it"):
        studio.installer.install(plan.id)
    assert not studio.left()
    assert not (studio.data / "extensions-packages").exists()


def test_what_atelier_has_is_not_installed_twice_and_not_replaced(studio: Studio) -> None:
    write_wheel(studio.wheels, "numpy", "99.0")
    plan = studio.installer.plan(studio.zip(dependencies=["numpy"]))
    assert plan.packages == ()
    studio.installer.discard(plan.id)
    refused(
        studio,
        studio.zip(dependencies=["numpy>=99"]),
        r"Frame needs numpy>=99, and Atelier needs numpy [\d.]+: the two",
    )
    write_wheel(studio.wheels, "paintlib", "1.4", needs=["numpy>=99"])
    refused(
        studio,
        studio.zip(dependencies=["paintlib"]),
        r"These cannot be had together: .*paintlib 1.4, which Frame needs, needs numpy>=99; Atelier needs numpy",
    )


def test_two_that_disagree_are_refused_when_the_second_is_installed(studio: Studio) -> None:
    for version in ("1.0", "2.0"):
        write_wheel(studio.wheels, "paintlib", version)
    studio.install(studio.zip(id="first", dependencies=["paintlib<2"]))
    with pytest.raises(
        UserError, match=r"These cannot be had together: (First needs paintlib<2|Second needs paintlib>=2); "
    ) as refusal:
        studio.installer.plan(studio.zip(id="second", dependencies=["paintlib>=2"]))
    assert "First needs paintlib<2" in str(refusal.value)
    assert "Second needs paintlib>=2" in str(refusal.value)
    assert studio.left() == ["first"]
    write_wheel(studio.wheels, "brushlib", "1.0", needs=["paintlib>=2"])
    with pytest.raises(UserError, match=r"brushlib 1.0, which Second needs, needs paintlib>=2") as refusal:
        studio.installer.plan(studio.zip(id="second", dependencies=["brushlib"]))
    assert "First needs paintlib<2" in str(refusal.value)


def test_two_that_agree_share_what_they_need(studio: Studio) -> None:
    for version in ("1.0", "1.5", "2.0"):
        write_wheel(studio.wheels, "paintlib", version)
    studio.install(studio.zip(id="first", dependencies=["paintlib"]))
    plan = studio.installer.plan(studio.zip(id="second", dependencies=["paintlib<2"]))
    assert [(each.name, each.version) for each in plan.packages] == [("paintlib", "1.5")]
    assert [(each.name, each.version) for each in plan.dropped] == [("paintlib", "2.0")]
    studio.installer.install(plan.id)
    assert 'VERSION = "1.5"' in (studio.data / "extensions-packages" / "paintlib.py").read_text()


@pytest.mark.parametrize(
    ("dependency", "sentence"),
    [
        ("nothing_such>=3", "Frame needs nothing_such>=3, of which no version that is ready made and fits was found"),
        ("paintlib @ https://example.org/paintlib.whl", "must be named with its version, and not by an address"),
    ],
)
def test_a_dependency_that_cannot_be_had_is_refused(studio: Studio, dependency: str, sentence: str) -> None:
    refused(studio, studio.zip(dependencies=[dependency]), sentence)


def test_a_dependency_for_another_system_is_none(studio: Studio) -> None:
    assert studio.installer.plan(studio.zip(dependencies=['nothing_such; sys_platform == "amiga"'])).packages == ()


def test_the_packages_of_one_that_lies_there_can_be_installed(studio: Studio) -> None:
    """One whose folder was put there by hand: start-up installs nothing."""
    write_wheel(studio.wheels, "paintlib", "1.0")
    for name, text in files(dependencies=["paintlib"]).items():
        path = studio.place / "by_hand" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    studio.extensions.rescan()
    extension = studio.extensions.switch("frame", True)
    assert extension.state == "broken"
    assert "needs paintlib" in extension.problem
    assert not (studio.data / "extensions-packages").exists()
    plan: Plan = studio.installer.plan_present("frame")
    assert [each.name for each in plan.packages] == ["paintlib"]
    assert isinstance(plan.packages[0], Package)
    assert studio.installer.install(plan.id).state == "on"
