"""Tiled upscale by the real engine on a tiny checkpoint: sizes, orders, seeds and bytes."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from PIL import Image
from PIL.PngImagePlugin import PngImageFile
from transformers import CLIPTextModel

from backend.app import App, Options
from backend.errors import InvalidRequest, UserError
from backend.events import Event, Finished, Loading, Progress
from backend.init_image import Box, InitImage, Inpainting, TiledUpscale
from backend.jobs import Job
from backend.request import LARGEST_SEED, GenerationRequest
from tests.test_engine import REQUEST, Interruptor, interrupted
from tests.test_img2img import made, noise, put

SIZE = (72, 48)
TWICE = TiledUpscale(scale=2, overlap=16)  # 144 x 96 in tiles of 64: three by two
COLUMNS, ROWS, TILES = 3, 2, 6
STEPS = 2  # of three at 0.5


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, written_checkpoint: Path) -> Iterator[App]:
    folder = tmp_path_factory.mktemp("tiled")
    app = App(Options(data_dir=folder, checkpoint_dirs=(written_checkpoint.parent,), device="cpu"))
    app.start()
    yield app
    app.close()


@pytest.fixture(scope="module")
def picture(app: App) -> str:
    return put(app, noise(SIZE))


def tiled(picture: str, upscale: TiledUpscale = TWICE, **options: object) -> GenerationRequest:
    init = InitImage(picture=picture, upscale=upscale, denoising_strength=0.5)
    return replace(REQUEST, init=init, **options)  # pyright: ignore[reportArgumentType]


def colours(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGB"), np.int16)


def file_bytes(image: Image.Image) -> bytes:
    assert isinstance(image, PngImageFile)
    return Path(str(image.filename)).read_bytes()


@contextmanager
def unet_inputs() -> Iterator[list[tuple[int, ...]]]:
    """The shape of each batch of latents that a UNet is given meanwhile."""
    seen: list[tuple[int, ...]] = []

    def note(module: torch.nn.Module, args: tuple[torch.Tensor, ...]) -> None:
        if isinstance(module, UNet2DConditionModel):
            seen.append(tuple(args[0].shape))

    hook = torch.nn.modules.module.register_module_forward_pre_hook(note)
    try:
        yield seen
    finally:
        hook.remove()


def test_every_tile_is_made_once_at_its_size_and_steps_are_counted_over_all(app: App, picture: str) -> None:
    job = app.queue.submit(tiled(picture), "me")
    with unet_inputs() as seen:
        assert list(job.follow())[-1] == Finished()
    assert {shape[1:] for shape in seen} == {(4, 8, 8)}
    assert sum(shape[0] for shape in seen) == TILES * STEPS * 2  # with the words and without
    (progress,) = [event for _, event in job.since() if isinstance(event, Progress)]
    assert (progress.step, progress.steps, progress.batches) == (TILES * STEPS, TILES * STEPS, 1)
    (image,) = job.images
    assert (image.width, image.height, image.seed) == (144, 96, 1)


def test_the_words_are_encoded_once_for_all_tiles(app: App, picture: str) -> None:
    seen: list[int] = []

    def note(module: torch.nn.Module, _args: object) -> None:
        if isinstance(module, CLIPTextModel):
            seen.append(1)

    def passes(request: GenerationRequest) -> int:
        seen.clear()
        made(app, request)
        return len(seen)

    hook = torch.nn.modules.module.register_module_forward_pre_hook(note)
    try:
        of_tiles = replace(tiled(picture), prompt="words that nobody has asked for yet")
        plain = replace(of_tiles, prompt="and others", init=InitImage(picture=picture, denoising_strength=0.5))
        assert passes(of_tiles) == passes(plain) > 0
    finally:
        hook.remove()


def test_the_same_request_gives_the_same_bytes_and_says_what_was_done(app: App, picture: str) -> None:
    image = made(app, tiled(picture, replace(TWICE, upscaler="lanczos")))
    assert isinstance(image, PngImageFile)
    infotext = image.text["parameters"]
    assert "SD upscale overlap: 16, SD upscale upscaler: Lanczos, " in infotext
    assert "Size: 64x64, " in infotext
    assert "Denoising strength: 0.5" in infotext
    assert Path(str(image.filename)).parent.parent.name == "img2img"
    again = made(app, GenerationRequest.from_json(image.text["atelier"]))
    assert file_bytes(again) == file_bytes(image)


def test_a_tile_is_img2img_of_its_part_with_the_seed_of_its_number(app: App, picture: str) -> None:
    """In the corner of a tile that no other one reaches, it is that tile's picture to the byte."""
    whole = colours(made(app, tiled(picture)))
    large = noise(SIZE).resize((144, 96), Image.Resampling.LANCZOS)
    last_column, last_row = 144 - 64, 96 - 64
    corners = {
        0: (0, 0),
        COLUMNS - 1: (last_column, 0),
        TILES - COLUMNS: (0, last_row),
        TILES - 1: (last_column, last_row),
    }
    for index, (left, top) in corners.items():
        part = put(app, large.crop((left, top, left + 64, top + 64)))
        plain = replace(REQUEST, init=InitImage(picture=part, denoising_strength=0.5), seed=1 + index)
        x, y = (0 if left == 0 else 48), (0 if top == 0 else 48)
        tile = colours(made(app, plain))[y : y + 16, x : x + 16]
        assert np.array_equal(tile, whole[top + y : top + y + 16, left + x : left + x + 16]), index
        other = colours(made(app, replace(plain, seed=2 + index)))[y : y + 16, x : x + 16]
        assert not np.array_equal(tile, other)


def test_pictures_have_the_next_seeds_and_each_can_be_made_alone(app: App, picture: str) -> None:
    job = app.queue.submit(tiled(picture, batch_size=2, batch_count=2, seed=LARGEST_SEED - 1), "me")
    assert list(job.follow())[-1] == Finished()
    assert [image.index for image in job.images] == [0, 1, 2, 3]
    assert [image.seed for image in job.images] == [LARGEST_SEED - 1, LARGEST_SEED, 0, 1]
    (progress,) = [event for _, event in job.since() if isinstance(event, Progress)]
    assert (progress.step, progress.batch) == (2 * TILES * STEPS, 2)
    for image in job.images[1:3]:
        alone = made(app, GenerationRequest.from_json(image.request))
        assert file_bytes(alone) == image.path.read_bytes()
    assert len({image.path.read_bytes() for image in job.images}) == 4


@pytest.mark.parametrize(
    ("size", "scale", "result", "tiles"),
    [((72, 48), 1.5, (108, 72), 4), ((20, 70), 1, (20, 70), 2), ((1, 1), 8, (8, 8), 1), ((33, 97), 1.3, (43, 126), 3)],
)
def test_any_size_and_factor(
    size: tuple[int, int], scale: float, result: tuple[int, int], tiles: int, app: App
) -> None:
    request = tiled(put(app, noise(size)), TiledUpscale(upscaler="Nearest", scale=scale, overlap=16))
    with unet_inputs() as seen:
        assert made(app, request).size == result
    assert sum(shape[0] for shape in seen) == tiles * STEPS * 2


def test_the_sketch_is_enlarged_with_the_picture(app: App, picture: str) -> None:
    sketch = Image.new("RGBA", SIZE, (0, 0, 0, 0))
    sketch.paste((255, 0, 0, 255), (0, 0, 24, 48))
    request = tiled(picture)
    assert request.init is not None
    sketched = made(app, replace(request, init=replace(request.init, sketch=put(app, sketch))))
    flat = noise(SIZE)
    flat.paste(sketch, mask=sketch)
    assert sketched.tobytes() == made(app, tiled(put(app, flat))).tobytes()
    assert sketched.tobytes() != made(app, request).tobytes()


def test_interrupted_in_the_middle_the_other_tiles_are_what_was_enlarged(app: App, picture: str) -> None:
    """Ended after the first step of the fourth tile: the upper row is done, and no more."""
    job = Interruptor(app.prepare(tiled(picture, batch_count=2)), after=COLUMNS * STEPS + 1)
    (ready,) = interrupted(app, job)
    assert job.state == "interrupted"
    after = colours(Image.open(ready.path))
    whole = colours(made(app, tiled(picture)))
    large = colours(noise(SIZE).resize((144, 96), Image.Resampling.LANCZOS))
    assert np.array_equal(after[:40], whole[:40])
    assert np.array_equal(after[56:], large[56:])
    assert not np.array_equal(after[:40], large[:40])


def test_before_the_first_tile_there_is_no_picture_and_it_can_be_left_out(app: App, picture: str) -> None:
    assert interrupted(app, Interruptor(app.prepare(tiled(picture)), after=1)) == []
    app.settings.update({"save_interrupted": False})
    try:
        assert interrupted(app, Interruptor(app.prepare(tiled(picture)), after=STEPS + 1)) == []
    finally:
        app.settings.update({"save_interrupted": True})


def test_skip_goes_on_with_the_next_picture(app: App, picture: str) -> None:
    job = Interruptor(app.prepare(tiled(picture, batch_count=2)), after=STEPS + 1, skip=True)
    images = interrupted(app, job)
    assert job.state == "finished"
    assert [image.seed for image in images] == [1, 2]
    alone = made(app, tiled(picture, seed=2))
    assert file_bytes(alone) == images[1].path.read_bytes()


@pytest.mark.parametrize(("way", "state", "pictures"), [("skip", "finished", 1), ("cancel", "interrupted", 0)])
def test_while_it_is_enlarged_a_job_can_be_ended_but_nothing_skipped(
    way: str, state: str, pictures: int, app: App, picture: str
) -> None:
    class Early(Job):
        def emit(self, event: Event) -> None:
            super().emit(event)
            if isinstance(event, Loading):
                getattr(self, way)()

    job = Early(app.prepare(tiled(picture)), "me")
    assert len(interrupted(app, job)) == pictures
    assert job.state == state


def test_what_cannot_be_is_said_at_the_door(app: App, picture: str) -> None:
    with pytest.raises(UserError, match="upscaler called 'Magic'"):
        app.prepare(tiled(picture, TiledUpscale(upscaler="Magic", overlap=16)))
    assert app.prepare(tiled(picture, TiledUpscale(upscaler="nearest", overlap=16))).init == InitImage(
        picture=picture, denoising_strength=0.5, upscale=TiledUpscale(upscaler="Nearest", overlap=16)
    )
    long = put(app, Image.new("RGB", (3000, 8)))
    with pytest.raises(InvalidRequest, match="3,000 x 8 would become 24,000 x 64; 16,384 pixels along"):
        app.prepare(tiled(long, TiledUpscale(scale=8, overlap=16)))


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"box": Box(left=0, top=0, width=64, height=64)}, "leave out box"),
        ({"inpainting": Inpainting(mask="b" * 64)}, "leave out inpainting"),
        ({"depth": "b" * 64}, "leave out depth map"),
    ],
)
def test_only_whole_pictures_are_upscaled_in_tiles(other: dict[str, object], words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        InitImage(picture="a" * 64, upscale=TWICE, **other)  # pyright: ignore[reportArgumentType]


def test_tiles_share_at_most_half() -> None:
    with pytest.raises(InvalidRequest, match="Tile overlap 40 is more than half of a tile of 64 x 64; up to 32"):
        tiled("a" * 64, TiledUpscale(overlap=40))
    assert tiled("a" * 64, TiledUpscale(overlap=32)).init is not None
