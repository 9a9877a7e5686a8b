"""`backend.extensions.manifest`: what an extension says of itself, and which are found."""

from pathlib import Path

import pytest

from backend.extensions.found import look, shipped
from backend.extensions.manifest import FlagSpec, Manifest, ManifestError, NeededModel
from backend.paths import ROOT
from tests.extension_folders import manifest, write_extension

WHOLE = """
id = "frame"
name = "Picture frame"
version = "1.2.0"
api = ">=1.0,<2"
description = "Puts a frame around each picture."
author = "A. Painter"
homepage = "https://example.org/frame"
dependencies = ["shapely>=2; python_version > '3'"]
permissions = ["network", "files"]
js = "page/frame.js"
before = ["watermark"]
after = ["fixer"]

[[flags]]
name = "--frame-width"
help = "how wide frames are"

[[flags]]
name = "--frame-round"
type = "flag"

[[models]]
name = "corners.safetensors"
kind = "upscaler"
source = "https://example.org/corners.safetensors"
"""


def test_everything_that_can_be_said_is_read() -> None:
    read = Manifest.from_text(WHOLE)
    assert (read.id, read.name, read.version, read.js) == ("frame", "Picture frame", "1.2.0", "page/frame.js")
    assert (read.before, read.after, read.permissions) == (("watermark",), ("fixer",), ("network", "files"))
    assert read.flags == (
        FlagSpec(name="--frame-width", help="how wide frames are"),
        FlagSpec(name="--frame-round", type="flag"),
    )
    assert read.models == (
        NeededModel(name="corners.safetensors", kind="upscaler", source="https://example.org/corners.safetensors"),
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("id = ", "is no TOML"),
        ('name = "x"', "has no id"),
        (manifest("frame", name=None), "has no name"),
        (manifest("frame", version=None), "has no version"),
        (manifest("frame", api=None), "has no api"),
        (manifest("Frame"), "'Frame' cannot be"),
        (manifest("f"), "'f' cannot be"),
        (manifest("../frame"), "cannot be"),
        (manifest("frame", version="one"), "'one'"),
        (manifest("frame", api="1"), "'1'"),
        (manifest("frame", name=3), "name is 3"),
        (manifest("frame", description="x" * 501), "longer than 500"),
        (manifest("frame", dependencies="shapely"), "no list of texts"),
        (manifest("frame", dependencies=["sh apely"]), "'sh apely'"),
        (manifest("frame", permissions=["everything"]), "no permission called 'everything'"),
        (manifest("frame", js="../frame.js"), "'../frame.js'"),
        (manifest("frame", js="/etc/frame.js"), "'/etc/frame.js'"),
        (manifest("frame", js="frame.html"), "'frame.html'"),
        (manifest("frame", homepage="javascript:alert(1)"), "begins with https"),
        (manifest("frame", colour="red"), "no entry called 'colour'"),
        (manifest("frame") + '[[flags]]\nname = "--listen"', "'--listen'"),
        (manifest("frame") + '[[flags]]\nname = "--frame-width"\ntype = "number"', "'number'"),
        (manifest("frame") + '[[flags]]\nhelp = "x"', "has no name"),
        (manifest("frame") + '[[models]]\nname = "x"\nsize = 3', "no entry called 'size'"),
        (manifest("frame", models=["x"]), "[[models]]"),
        (f"id = {'[' * 5000}", "is no TOML"),
    ],
)
def test_what_cannot_be_is_a_sentence(text: str, said: str) -> None:
    with pytest.raises(ManifestError) as error:
        Manifest.from_text(text)
    assert said in str(error.value)
    assert str(error.value).endswith(".")


def test_a_folder_without_a_manifest_and_one_that_is_too_large(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"has no extension\.toml"):
        Manifest.read(tmp_path)
    (tmp_path / "extension.toml").write_text("#" * 70_000)
    with pytest.raises(ManifestError, match="larger than"):
        Manifest.read(tmp_path)
    (tmp_path / "extension.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ManifestError, match="cannot be read"):
        Manifest.read(tmp_path)


def test_a_changed_manifest_is_read_again(tmp_path: Path) -> None:
    folder = write_extension(tmp_path, "frame")
    assert Manifest.read(folder).version == "1.0"
    write_extension(tmp_path, "frame", version="1.0.1")
    assert Manifest.read(folder).version == "1.0.1"


def test_of_two_with_one_id_the_one_whose_folder_is_called_so_has_it(tmp_path: Path) -> None:
    write_extension(tmp_path, "frame")
    (tmp_path / "extensions" / "frame").rename(tmp_path / "extensions" / "a_frame")
    write_extension(tmp_path, "frame")
    found = {each.folder.name: each for each in look(tmp_path / "none", tmp_path / "extensions")}
    assert found["frame"].id == "frame"
    assert not found["frame"].problem
    assert found["a_frame"].id == "a_frame"
    assert "'frame' is that of another one, in the folder frame" in found["a_frame"].problem


def test_ours_come_first_and_only_those_that_are_listed(tmp_path: Path) -> None:
    for id in ("ours", "strange"):
        write_extension(tmp_path / "shipped", id)
    (tmp_path / "shipped" / "extensions" / "bundled.txt").write_text("# ours\nours on\ngone\n")
    write_extension(tmp_path, "ours")
    assert shipped(tmp_path / "shipped" / "extensions") == {"ours": True, "gone": False}
    found = look(tmp_path / "shipped" / "extensions", tmp_path / "extensions")
    assert [(each.id, each.bundled, bool(each.problem)) for each in found] == [
        ("ours", True, False),
        ("ours-2", False, True),
    ]
    same = look(tmp_path / "shipped" / "extensions", tmp_path / "shipped" / "extensions")
    assert {each.id: each.bundled for each in same} == {"ours": True, "strange": False}


def test_what_ships_is_listed_and_not_ignored() -> None:
    folder = ROOT / "extensions"
    listed = shipped(folder)
    found = look(folder, folder)
    assert {each.id for each in found if each.bundled} == listed.keys()
    assert [each.problem for each in found if each.bundled and each.problem] == []
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert {line.split("/")[2] for line in ignored if line.startswith("!/extensions/") and line.endswith("/")} == (
        listed.keys()
    )
