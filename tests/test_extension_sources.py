"""Zips and packages to install from, also hostile ones: refused with a sentence, and nothing is run."""

import stat
import struct
import sys
import tarfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from backend.errors import UserError
from backend.extensions import source
from backend.extensions.git_source import GitSource
from backend.extensions.package_source import newest_version
from backend.extensions.program import ProgramError, environment, run
from backend.extensions.source import ORIGIN, Origin, SourceError
from backend.extensions.zip_source import ZipSource
from tests.extension_studio import Studio, opened, refused
from tests.packaged import MODULE, files, manifest, write_wheel, write_zip


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    with opened(tmp_path) as studio:
        yield studio


# --- what a zip may not be ---


def entry(name: str, mode: int = stat.S_IFREG | 0o644) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    return info


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("../evil.py", "leads out of its folder"),
        ("frame/../../evil.py", "leads out of its folder"),
        ("/etc/evil.py", "leads out of its folder"),
        ("C:/evil.py", "leads out of its folder"),
        ("..\\evil.py", "leads out of its folder|no name that a file can have"),
        ("frame\\evil.py", "no name that a file can have"),
        ("frame/nul.txt", "no name that a file can have"),
        ("frame/evil.py.", "no name that a file can have"),
        ("frame/e\u202evil.py", "no name that a file can have"),
        ("/".join(["deep"] * 20), "path is too long"),
        ("frame/EXTENSION.toml", "two files that are one on many disks"),
        ("frame/__init__.py/more", "two files that are one on many disks"),
    ],
)
def test_a_path_that_leads_elsewhere_is_refused(studio: Studio, name: str, sentence: str) -> None:
    path = write_zip(
        studio.folder / "bad.zip", {**{f"frame/{each}": text for each, text in files().items()}, name: "x"}
    )
    refused(studio, ZipSource(path=path, name="bad.zip"), sentence)
    assert not (studio.data / "extensions" / "evil.py").exists()
    assert not list(studio.folder.rglob("evil.py*"))


@pytest.mark.parametrize("mode", [stat.S_IFLNK | 0o777, stat.S_IFIFO | 0o644, stat.S_IFCHR | 0o644])
def test_a_link_is_refused(studio: Studio, mode: int) -> None:
    path = write_zip(studio.folder / "bad.zip", files())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(entry("passwords", mode), "/etc/passwd")
    refused(studio, ZipSource(path=path, name="bad.zip"), "'passwords' in it is (a link|no plain file): it is not")


def test_a_bomb_is_refused_before_and_while_it_unfolds(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "LARGEST", 1 << 20)
    monkeypatch.setattr(source, "LARGEST_FILE", 1 << 20)
    path = write_zip(studio.folder / "bomb.zip", {**files(), "zeros": b"\0" * (8 << 20)})
    refused(studio, ZipSource(path=path, name="bomb.zip"), "more than 1 MB when it is unpacked")
    data = bytearray(path.read_bytes())
    for mark, place in ((b"PK\x01\x02", 24), (b"PK\x03\x04", 22)):  # where both headers tell the size
        at = data.rindex(b"zeros") if mark == b"PK\x01\x02" else data.index(b"zeros")
        head = data.rindex(mark, 0, at)
        data[head + place : head + place + 4] = struct.pack("<I", 10)
    path.write_bytes(data)
    refused(studio, ZipSource(path=path, name="bomb.zip"), "no zip file, or a damaged one|more than 1 MB")
    path = write_zip(studio.folder / "many.zip", {**files(), **{f"many/{n}": "" for n in range(source.MOST_FILES)}})
    refused(studio, ZipSource(path=path, name="many.zip"), "more than 5,000 files")


def test_a_damaged_zip_and_one_without_a_manifest_are_refused(studio: Studio) -> None:
    path = studio.folder / "bad.zip"
    path.write_bytes(b"PK no zip at all")
    refused(studio, ZipSource(path=path, name="bad.zip"), "no zip file, or a damaged one")
    write_zip(path, {"frame/__init__.py": MODULE})
    refused(studio, ZipSource(path=path, name="bad.zip"), "There is no extension.toml in it")
    write_zip(path, {"frame/extension.toml": manifest(), "other/x": ""})
    refused(studio, ZipSource(path=path, name="bad.zip"), "There is no extension.toml in it")
    write_zip(path, {"extension.toml": "id = 3"})
    refused(studio, ZipSource(path=path, name="bad.zip"), "id is 3, and no text")
    write_zip(path, files(api=">=9"))
    refused(studio, ZipSource(path=path, name="bad.zip"), "is written for the extension interface >=9")
    write_zip(path, files())
    data = bytearray(path.read_bytes())
    data[80] ^= 0xFF
    path.write_bytes(data)
    refused(studio, ZipSource(path=path, name="bad.zip"), "damaged")


def test_what_is_nobodys_to_bring_is_left_out(studio: Studio) -> None:
    more = {ORIGIN: "{}", ".GIT/config": "", "__pycache__/__init__.cpython-311.pyc": "", "parts/__pycache__/x": ""}
    extension = studio.install(studio.zip({**files(), **more}))
    there = sorted(str(path.relative_to(extension.folder)) for path in extension.folder.rglob("*") if path.is_file())
    assert there == [ORIGIN, "__init__.py", "extension.toml", "parts/words.txt"]
    assert studio.installer.origin("frame") is not None


# --- packages ---


def in_package(**about: object) -> dict[str, str | bytes]:
    return {f"frame_extension/{name}": text for name, text in files(**about).items()}  # type: ignore[arg-type]


def test_a_package_is_unpacked_and_never_installed(studio: Studio) -> None:
    write_wheel(studio.wheels, "frame_extension", "1.0", contents=in_package())
    write_wheel(studio.wheels, "frame_extension", "2.0", contents=in_package(version="2.0"), needs=["nothing_such"])
    extension = studio.install(studio.package("frame-extension", "1.0"))
    assert (extension.version, extension.state, studio.was_run()) == ("1.0.0", "off", False)
    origin = studio.installer.origin("frame")
    assert origin is not None
    assert (origin.kind, origin.address, origin.pin, len(origin.sha256)) == ("package", "frame-extension", "1.0", 64)
    assert studio.installer.newest("frame") == "2.0"
    assert studio.installer.install(studio.installer.plan_update("frame", "2.0").id).version == "2.0"
    assert newest_version("frame_extension", studio.folder, studio.pip) == "2.0"
    origin = studio.installer.origin("frame")
    assert origin is not None
    assert (origin.pin, origin.before) == ("2.0", "1.0")
    assert studio.installer.install(studio.installer.plan_update("frame", origin.before).id).version == "1.0.0"
    with pytest.raises(UserError, match="is named with its version"):
        studio.installer.plan_update("frame", "latest")


def test_a_package_that_is_no_extension_is_refused(studio: Studio) -> None:
    write_wheel(studio.wheels, "paintlib", "1.0")
    refused(studio, studio.package("paintlib", "1.0"), "has 0 folders with a extension.toml|has 0 folders")
    refused(studio, studio.package("paintlib", "9.9"), "could not be fetched")
    for name, version in (("--index-url", "1"), ("a b", "1"), ("paintlib", "latest"), ("paintlib", ""), ("x @ y", "1")):
        refused(
            studio, lambda name=name, version=version: studio.package(name, version), "no name|named with its version"
        )


def test_a_package_that_would_have_to_be_built_is_refused(studio: Studio) -> None:
    """To build one is to run it."""
    marked = studio.folder / "marked"
    built = studio.folder / "source" / "evil-1.0"
    built.mkdir(parents=True)
    (built / "setup.py").write_text(f"open({str(marked)!r}, 'w')\n")
    (built / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n")
    with tarfile.open(studio.wheels / "evil-1.0.tar.gz", "w:gz") as archive:
        archive.add(built, "evil-1.0")
    refused(studio, studio.package("evil", "1.0"), "could not be fetched as a package that is ready made")
    refused(
        studio, studio.zip(dependencies=["evil"]), "Frame needs evil, of which no version that is ready made and fits"
    )
    assert not marked.exists()


# --- programs ---


def test_a_program_that_takes_too_long_is_ended_with_all_it_began(tmp_path: Path) -> None:
    child = "import time; time.sleep(1.5); open('late', 'w')"
    code = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {child!r}]); time.sleep(60)"
    with pytest.raises(ProgramError, match=r"was not done within 0\.5 seconds and was ended"):
        run([sys.executable, "-c", code], folder=tmp_path, env=environment(), seconds=0.5)
    time.sleep(2)
    assert not (tmp_path / "late").exists()
    with pytest.raises(ProgramError, match="no_such_program cannot be run"):
        run(["no_such_program"], folder=tmp_path, env=environment(), seconds=1)


def test_an_origin_that_cannot_be_read_is_none() -> None:
    assert Origin.from_json("{}") is Origin.from_json("[]") is Origin.from_json("no") is None
    assert Origin.from_json('{"kind": "ftp", "address": "x", "pin": "y"}') is None
    with pytest.raises(SourceError):
        GitSource(url="https://example.org", commit="")
