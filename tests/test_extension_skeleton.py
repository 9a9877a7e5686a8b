"""What an author begins with: a new extension whose test passes, and the fixtures that it uses."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from backend.errors import UserError
from backend.extensions.manifest import Manifest
from backend.extensions.skeleton import write_skeleton
from backend.extensions.testing import opened
from backend.paths import ROOT
from tests.extension_folders import write_extension


def test_what_is_written_passes_its_own_test(tmp_path: Path) -> None:
    written = subprocess.run(
        [sys.executable, "-m", "backend.extensions", "new", "Picture frame", "--folder", str(tmp_path / "extensions")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    place = tmp_path / "extensions" / "picture_frame"
    assert written.returncode == 0, written.stderr
    assert str(place) in written.stdout
    assert Manifest.read(place).name == "Picture frame"
    tested = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", str(place)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert tested.returncode == 0, tested.stdout
    assert "..." in tested.stdout
    # A test that passes whatever the extension does would be no test.
    code = place / "__init__.py"
    code.write_text(code.read_text().replace("    return framed", "    return image"))
    assert subprocess.run([*tested.args], cwd=ROOT, capture_output=True, check=False).returncode == 1


@pytest.mark.parametrize("name", ["", "x", "9 lives", "über", "../frame", "a" * 41, "watermark"])
def test_a_name_that_cannot_be_is_a_sentence(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError):
        write_skeleton(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    place = write_skeleton("my-frame", tmp_path)
    assert place.name == "my_frame"
    assert Manifest.read(place).name == "My frame"
    with pytest.raises(UserError, match="already"):
        write_skeleton("My Frame", tmp_path)


def test_the_studio_of_authors_says_what_a_person_would_be_told(tmp_path: Path) -> None:
    code = """
    @hook
    def on_image(image, turn):
        if turn.request.prompt == "fail":
            raise ValueError("no frame")
        (inner,) = turn.generate(turn.request.single(7))
        turn.note("Frame seed", str(turn.seed))
        return inner.resize((32, 32))
    """
    folder = write_extension(tmp_path / "mine", "frame", code)
    with opened(folder, tmp_path / "data") as studio:
        first, second = studio.generate("a red circle", batch_size=2)
        assert (first.image.size, first.seed, second.seed) == ((32, 32), 1, 2)
        assert first.image.tobytes() == second.image.tobytes()  # both are of the seed that was asked for within
        assert "Frame seed: 2" in second.infotext
        with pytest.raises(UserError, match="Frame failed in on_image: ValueError: no frame"):
            studio.generate("fail")


def test_the_studio_of_authors_refuses_what_cannot_be_loaded(tmp_path: Path) -> None:
    folder = write_extension(tmp_path / "mine", "frame", "import nothing_of_this_name")
    with pytest.raises(UserError, match="ModuleNotFoundError"), opened(folder, tmp_path / "data"):
        pass
