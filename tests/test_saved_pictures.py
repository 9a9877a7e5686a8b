"""Whose the saved pictures are: who is given which, also after a restart, and what a damaged or full disk costs."""

import shutil
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from backend.app import App, Options
from backend.errors import OutputError
from backend.events import ImageReady
from backend.extensions.quick_engine import QuickEngine
from backend.job import Job
from backend.jobs import KEPT_JOBS
from backend.request import GenerationRequest
from backend.saved_pictures import AT_ONCE, SavedPictures

ANNA, BERT = "a" * 32, "b" * 32
REQUEST = GenerationRequest(prompt="a red circle", steps=1, width=64, height=64, seed=1)


@pytest.fixture
def pictures(tmp_path: Path) -> Iterator[SavedPictures]:
    pictures = SavedPictures(tmp_path / "pictures.sqlite3")
    yield pictures
    pictures.close()


def save(pictures: SavedPictures, path: Path, owner: str) -> None:
    """As the worker does, with a file that is there."""
    path.write_bytes(b"pixels")
    pictures.hear(Job(REQUEST, owner), ready(path))


def ready(path: Path, index: int = 0) -> ImageReady:
    words = f"about {path.stem}"
    return ImageReady(index=index, seed=1, path=path, width=64, height=64, infotext=words, request="{}")


def names(pictures: SavedPictures, owner: str) -> list[str]:
    return [each.path.stem for each in pictures.of(owner)]


def test_each_has_their_own_newest_first_while_the_files_are_there(pictures: SavedPictures, tmp_path: Path) -> None:
    for name, owner in (("one", ANNA), ("two", BERT), ("three", ANNA), ("four", ANNA)):
        save(pictures, tmp_path / f"{name}.png", owner)
    assert names(pictures, ANNA) == ["four", "three", "one"]
    assert names(pictures, BERT) == ["two"]
    assert names(pictures, "") == []
    (tmp_path / "three.png").unlink()
    (tmp_path / "four.png").rename(tmp_path / "elsewhere.png")
    (left,) = pictures.of(ANNA)
    assert (left.path, left.infotext, left.owner) == (tmp_path / "one.png", "about one", ANNA)
    assert abs(left.saved - left.path.stat().st_mtime) < 60


def test_what_was_deleted_is_forgotten_and_what_is_out_of_reach_is_not(tmp_path: Path) -> None:
    path = tmp_path / "pictures.sqlite3"
    pictures = SavedPictures(path)
    for name in ("disk/txt2img/monday/1", "disk/txt2img/tuesday/2", "disk/txt2img/tuesday/3", "unplugged/txt2img/x/4"):
        file = tmp_path / f"{name}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        save(pictures, file, ANNA)
    shutil.rmtree(tmp_path / "disk/txt2img/monday")
    (tmp_path / "disk/txt2img/tuesday/2.png").unlink()
    (tmp_path / "unplugged").rename(tmp_path / "away")
    assert pictures.forget_missing() == 2
    pictures.close()
    assert all(f"about {name}".encode() not in path.read_bytes() for name in ("1", "2"))
    (tmp_path / "away").rename(tmp_path / "unplugged")
    again = SavedPictures(path)
    assert names(again, ANNA) == ["4", "3"]
    again.close()


def test_many_come_as_they_are_asked_for(pictures: SavedPictures, tmp_path: Path) -> None:
    count = 2 * AT_ONCE + 1
    for number in range(count):
        save(pictures, tmp_path / f"{number}.png", ANNA)
    newest_first = [str(number) for number in reversed(range(count))]
    assert names(pictures, ANNA) == newest_first
    begun = pictures.of(ANNA)
    assert [each.path.stem for each in islice(begun, AT_ONCE)] == newest_first[:AT_ONCE]
    save(pictures, tmp_path / "later.png", ANNA)
    assert [each.path.stem for each in begun] == newest_first[AT_ONCE:]


def test_a_name_that_is_given_again_has_a_new_owner(pictures: SavedPictures, tmp_path: Path) -> None:
    save(pictures, tmp_path / "00001.png", ANNA)
    save(pictures, tmp_path / "00001.png", BERT)
    assert (names(pictures, ANNA), names(pictures, BERT)) == ([], ["00001"])


def test_what_an_earlier_atelier_made_is_taken_in_from_its_jobs(tmp_path: Path) -> None:
    """Of a name that two of them have the newer one has it; what is known already stays as it is."""
    jobs = []
    for number, (owner, name) in enumerate([(ANNA, "one"), (BERT, "one"), (ANNA, "two"), (ANNA, "known")]):
        path = tmp_path / f"{name}.png"
        path.write_bytes(b"pixels")
        job = Job(REQUEST, owner, created=1000.0 + number)
        job.emit(ready(path))
        jobs.append(job)
    before = SavedPictures(tmp_path / "pictures.sqlite3")
    save(before, tmp_path / "known.png", BERT)
    before.close()
    pictures = SavedPictures(tmp_path / "pictures.sqlite3", jobs)
    assert names(pictures, ANNA) == ["two"]
    assert names(pictures, BERT) == ["known", "one"]
    assert [each.saved for each in pictures.of(ANNA)] == [1002.0]
    pictures.close()


def test_a_disk_that_says_no_costs_no_picture(
    pictures: SavedPictures, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pictures.close()
    save(pictures, tmp_path / "one.png", ANNA)
    assert "could not be written down" in caplog.text
    with pytest.raises(OutputError, match="cannot be read"):
        list(pictures.of(ANNA))


def test_pictures_outlive_their_jobs_and_the_process(options: Options) -> None:
    app = App(options, worker=QuickEngine)
    app.start()
    for number in range(KEPT_JOBS + 2):
        for owner in (ANNA, BERT):
            (job,) = app.submit(GenerationRequest(prompt=f"{number}", steps=1, width=64, height=64, seed=1), owner)
            list(job.follow())
    app.queue.forget(app.queue.jobs(BERT)[-1])
    app.close()
    app = App(options, worker=QuickEngine)
    try:
        assert len(app.queue.jobs(ANNA)) <= KEPT_JOBS + 1
        for owner in (ANNA, BERT):
            found = list(app.pictures.of(owner))
            said = [each.infotext.partition("\n")[0] for each in found]
            assert said == [str(number) for number in reversed(range(KEPT_JOBS + 2))]
            assert {each.owner for each in found} == {owner}
    finally:
        app.close()
