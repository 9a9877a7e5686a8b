"""Previews over the routes: strangers' pictures in, small ones out, and nothing is lost."""

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from backend.request import GenerationRequest
from tests.model_studio import ME, OTHER, Studio, colour_of, options_at, picture, studio_of


@pytest.fixture
def studio(tmp_path: Path, tiny_checkpoint: Path) -> Iterator[Studio]:
    with studio_of(options_at(tmp_path, tiny_checkpoint)) as studio:
        yield studio


def test_a_preview_is_a_small_picture_of_ours(studio: Studio) -> None:
    id = studio.write_lora("ink")
    assert studio.get(f"/{id}/preview").status_code == 404
    path = studio.root / "models" / "loras" / "ink.jpg"
    picture(path, "blue", (900, 600))
    answer = studio.get(f"/{id}/preview")
    assert answer.headers["content-type"] == "image/webp"
    with Image.open(io.BytesIO(answer.content)) as image:
        assert image.size == (256, 171)
    for asked, side in {32: 32, 1: 32, 9_999: 900}.items():
        with Image.open(io.BytesIO(studio.get(f"/{id}/preview?thumb={asked}").content)) as image:
            assert image.width == side
    known = studio.get(f"/{id}/preview", headers={"if-none-match": answer.headers["etag"]})
    assert (known.status_code, known.content) == (304, b"")
    assert studio.get(f"/{id}/preview?thumb=many").json()["problem"]


@pytest.mark.parametrize(
    "data", [b"<script>alert(1)</script>", b"\x89PNG\r\n\x1a\n", b"GIF89a" + bytes(40), b"", b"<svg xmlns='x'/>"]
)
def test_what_is_no_picture_is_a_sentence(studio: Studio, data: bytes) -> None:
    id = studio.write_lora("ink")
    (studio.root / "models" / "loras" / "ink.png").write_bytes(data)
    answer = studio.get(f"/{id}/preview")
    assert answer.status_code == 400
    assert answer.json() == {"problem": "ink.png cannot be read as a picture."}


def test_a_preview_that_leads_elsewhere_is_not_shown(studio: Studio, tmp_path: Path) -> None:
    id = studio.write_lora("ink")
    folder = studio.root / "models" / "loras"
    picture(tmp_path / "secret.png")
    (folder / "ink.preview.png").symlink_to(tmp_path / "secret.png")
    assert studio.models()["ink.safetensors"]["preview"] == ""
    assert studio.get(f"/{id}/preview").status_code == 404
    picture(folder / "ink.png", "lime")  # the next that may be shown
    assert studio.models()["ink.safetensors"]["preview"]
    assert colour_of(studio.get(f"/{id}/preview").content)[1] > 200


def finished_job(studio: Studio, owner: str = ME) -> str:
    request = GenerationRequest(prompt="a green tree", steps=1, width=192, height=128, seed=5)
    job = studio.app.queue.submit(request, owner)
    for _ in job.follow():
        pass
    assert job.state == "finished"
    return job.id


def test_the_last_picture_becomes_the_preview_and_nothing_is_lost(studio: Studio) -> None:
    studio.app.start()
    id, job = studio.write_lora("ink"), finished_job(studio)
    folder = studio.root / "models" / "loras"
    path = picture(folder / "ink.preview.png", "blue")
    foreign = path.read_bytes()
    said = studio.done(f"/{id}/preview", {"job": job, "index": 0})
    assert said["preview"].startswith(f"atelier/models/{id}/preview?v=")
    assert (folder / "ink.preview.old-1.png").read_bytes() == foreign
    with Image.open(path) as image:
        assert image.size == (192, 128)
        assert "parameters" not in image.info
    studio.done(f"/{id}/preview", {"job": job, "index": 0})
    assert not (folder / "ink.preview.old-2.png").exists(), "ours may be replaced"
    with Image.open(path) as image:  # painted over by somebody, who keeps what the file says of itself
        said_of_itself = PngInfo()
        for key, value in image.info.items():
            said_of_itself.add_text(str(key), str(value))
        painted = image.convert("RGB")
    painted.putpixel((3, 3), (1, 2, 3))
    painted.save(path, pnginfo=said_of_itself)
    by_hand = path.read_bytes()
    studio.done(f"/{id}/preview", {"job": job, "index": 0})
    assert (folder / "ink.preview.old-2.png").read_bytes() == by_hand
    assert studio.done(f"/{id}/preview/remove")["preview"] == ""
    assert sorted(each.name for each in folder.glob("ink.*png")) == ["ink.preview.old-1.png", "ink.preview.old-2.png"]
    picture(folder / "ink.webp")
    studio.done(f"/{id}/preview/remove")
    assert (folder / "ink.old-1.webp").exists()
    assert "no preview" in studio.refused(f"/{id}/preview/remove")


def test_a_preview_is_not_written_through_a_link(studio: Studio, tmp_path: Path) -> None:
    studio.app.start()
    id, job = studio.write_lora("ink"), finished_job(studio)
    target = tmp_path / "mine.png"
    target.write_text("mine")
    (studio.root / "models" / "loras" / "ink.preview.png").symlink_to(target)
    studio.done(f"/{id}/preview", {"job": job, "index": 0})
    assert target.read_text() == "mine"
    assert not (studio.root / "models" / "loras" / "ink.preview.png").is_symlink()


def test_only_an_own_picture_can_be_used(studio: Studio) -> None:
    studio.app.start()
    id, job = studio.write_lora("ink"), finished_job(studio, OTHER)
    assert studio.refused(f"/{id}/preview", {"job": job, "index": 0}) == "There is no such job in your list."
    mine = finished_job(studio)
    assert "no picture number 3" in studio.refused(f"/{id}/preview", {"job": mine, "index": 3})
    assert [each for each in (studio.root / "models" / "loras").iterdir() if each.suffix == ".png"] == []
