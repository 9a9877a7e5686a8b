"""What many tests need: a folder of their own, a tiny checkpoint in the real layout, an app that works on them."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from backend.app import App, Options
from tests.checkpoints import write_tiny_checkpoint


@pytest.fixture(scope="session")
def written_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file behind `tiny_checkpoint`, written once."""
    path = tmp_path_factory.mktemp("written") / "tiny.safetensors"
    write_tiny_checkpoint(path)
    return path


@pytest.fixture
def tiny_checkpoint(written_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Stable Diffusion 1.x file with small random networks and the real vocabulary's size, alone in a folder of this
    test's own, where it may put others beside it."""
    return Path(shutil.copy(written_checkpoint, tmp_path_factory.mktemp("checkpoints")))


@pytest.fixture
def options(tmp_path: Path, tiny_checkpoint: Path) -> Options:
    """Options of an app that keeps everything in the test's own folder and runs on the CPU."""
    return Options(data_dir=tmp_path / "data", checkpoint_dirs=(tiny_checkpoint.parent,), device="cpu")


@pytest.fixture
def app(options: Options) -> Iterator[App]:
    """A running app with the real engine."""
    app = App(options)
    app.start()
    yield app
    app.close()
