"""Pictures that begin with a picture, by the real engine on a tiny checkpoint: mechanics, not meaning."""

import io
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from backend.app import App, Options
from backend.errors import InvalidRequest, UserError
from backend.events import Event, Failed, Finished, ImageReady, Notice, Progress
from backend.extensions.course import Course
from backend.frame import Frame
from backend.init_image import MASKED_CONTENT, RESIZE_MODES, Box, HiresFix, InitImage, Inpainting, SoftInpainting
from backend.jobs import Job
from backend.request import GenerationRequest, PictureSeeds
from tests.test_engine import REQUEST, Interruptor, interrupted

SIZE = (96, 80)


def noise(size: tuple[int, int], seed: int = 0) -> Image.Image:
    """Soft colours, no two pixels alike in a row: what is put back wrongly by one pixel shows."""
    values = np.random.default_rng(seed).integers(0, 255, (size[1] // 8 + 1, size[0] // 8 + 1, 3), np.uint8)
    return Image.fromarray(values).resize(size, Image.Resampling.BICUBIC)


def put(app: App, picture: Image.Image) -> str:
    data = io.BytesIO()
    picture.save(data, "PNG")
    return app.inputs.put(data.getvalue()).name


def spot(size: tuple[int, int], where: tuple[int, int, int, int]) -> Image.Image:
    mask = Image.new("L", size, 0)
    mask.paste(255, where)
    return mask


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, written_checkpoint: Path) -> Iterator[App]:
    folder = tmp_path_factory.mktemp("img2img")
    app = App(Options(data_dir=folder, checkpoint_dirs=(written_checkpoint.parent,), device="cpu"))
    app.start()
    yield app
    app.close()


@pytest.fixture(scope="module")
def picture(app: App) -> str:
    return put(app, noise(SIZE))


def made(app: App, request: GenerationRequest) -> Image.Image:
    events = list(app.queue.submit(request, "me").follow())
    assert events[-1] == Finished(), events[-1]
    (ready,) = [event for event in events if isinstance(event, ImageReady)]
    image = Image.open(ready.path)
    image.load()
    assert (ready.width, ready.height) == image.size
    return image


def beginning(picture: str, **options: object) -> GenerationRequest:
    return replace(REQUEST, init=InitImage(picture=picture, **options))  # pyright: ignore[reportArgumentType]


def test_a_picture_is_made_of_a_picture_and_again(app: App, picture: str) -> None:
    image = made(app, beginning(picture))
    assert isinstance(image, PngImageFile)
    assert image.size == (64, 64)
    assert "Denoising strength: 0.75" in image.text["parameters"]
    assert Path(str(image.filename)).parent.parent.name == "img2img"
    again = GenerationRequest.from_json(image.text["atelier"])
    assert made(app, again).tobytes() == image.tobytes()
    other = made(app, beginning(put(app, noise(SIZE, 1))))
    assert other.tobytes() != image.tobytes()


@pytest.mark.parametrize(("steps", "strength", "calls"), [(20, 0.75, 16), (30, 0.4, 13), (10, 0.05, 1), (4, 1, 4)])
def test_steps_are_counted_as_everybody_counts_them(
    steps: int, strength: float, calls: int, app: App, picture: str
) -> None:
    request = replace(beginning(picture, denoising_strength=strength), steps=steps)
    job = app.queue.submit(request, "me")
    assert list(job.follow())[-1] == Finished()
    (progress,) = [event for _, event in job.since() if isinstance(event, Progress)]
    assert (progress.step, progress.steps) == (calls, calls)


@pytest.mark.parametrize("mode", RESIZE_MODES)
def test_every_resize_mode_makes_the_size_that_was_asked_for(mode: str, app: App) -> None:
    for size in ((100, 30), (33, 97), (1, 1)):
        name = put(app, noise(size))
        assert made(app, beginning(name, resize_mode=mode, denoising_strength=0.1)).size == (64, 64)


WHERE = (30, 20, 60, 50)
WAYS = {
    "whole": {},
    "only masked": {"area": "Only masked", "padding": 8},
    "soft": {"soft": SoftInpainting()},
    **{content: {"masked_content": content} for content in MASKED_CONTENT},
    "sharp": {"mask_blur": 0},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("mode", RESIZE_MODES[:3])
def test_not_a_bit_changes_outside_the_mask(way: str, mode: str, app: App, picture: str) -> None:
    """The mask grown by as far as its blur reaches; inside, something changes."""
    mask = put(app, spot(SIZE, WHERE))
    inpainting = Inpainting(mask=mask, **WAYS[way])  # pyright: ignore[reportArgumentType]
    result = made(app, beginning(picture, resize_mode=mode, inpainting=inpainting))
    assert (result.mode, result.size) == ("RGB", SIZE)
    before, after = np.asarray(noise(SIZE)), np.asarray(result)
    reach = int(2.5 * inpainting.mask_blur + 0.5)
    outside = np.ones(before.shape[:2], bool)
    outside[20 - reach : 50 + reach, 30 - reach : 60 + reach] = False
    assert np.array_equal(before[outside], after[outside])
    assert np.abs(before[20:50, 30:60].astype(int) - after[20:50, 30:60]).mean() > 1


def test_the_inverse_paints_the_rest(app: App, picture: str) -> None:
    mask = put(app, spot(SIZE, WHERE))
    result = made(app, beginning(picture, inpainting=Inpainting(mask=mask, inverted=True, mask_blur=0)))
    before, after = np.asarray(noise(SIZE)), np.asarray(result)
    assert np.array_equal(before[20:50, 30:60], after[20:50, 30:60])
    assert not np.array_equal(before[:15], after[:15])


@pytest.mark.parametrize("where", [(40, 30, 41, 31), (0, 0, 1, 1), (95, 79, 96, 80), (0, 0, 96, 80), (90, 0, 96, 80)])
@pytest.mark.parametrize("area", ["Whole picture", "Only masked"])
def test_masks_of_one_pixel_of_everything_and_at_the_border(
    where: tuple[int, int, int, int], area: str, app: App, picture: str
) -> None:
    mask = put(app, spot(SIZE, where))
    inpainting = Inpainting(mask=mask, mask_blur=0, area=area, colour_match=False)
    result = made(app, beginning(picture, inpainting=inpainting, denoising_strength=1))
    before, after = np.asarray(noise(SIZE)), np.asarray(result)
    masked = np.asarray(spot(SIZE, where)) > 0
    assert np.array_equal(before[~masked], after[~masked])
    assert not np.array_equal(before[masked], after[masked])


def test_a_half_clear_picture_gets_no_pale_rim(app: App) -> None:
    """A red one, and red is what is made."""
    half = Image.new("RGBA", SIZE, (200, 30, 40, 128))
    mask = put(app, spot(SIZE, WHERE))
    inpainting = Inpainting(mask=mask, mask_blur=6, colour_match=False)
    frame = Frame.of(beginning(put(app, half), inpainting=inpainting), app.inputs)
    assert frame is not None
    done = np.asarray(frame.result(Image.new("RGB", (64, 64), (200, 30, 40))))
    assert (done[..., :3] == (200, 30, 40)).all()
    assert (done[35, 45, 3], done[0, 0, 3]) == (255, 128)


def test_an_empty_mask_is_a_sentence(app: App, picture: str) -> None:
    mask = put(app, Image.new("L", SIZE, 0))
    events = list(app.queue.submit(beginning(picture, inpainting=Inpainting(mask=mask)), "me").follow())
    assert events[-1] == Failed(
        message="The mask is empty: paint where the picture is to be made new.", kind="invalid_value"
    )


def test_the_whole_picture_resized_is_what_others_make(app: App, picture: str) -> None:
    mask = put(app, spot(SIZE, WHERE))
    result = made(app, beginning(picture, inpainting=Inpainting(mask=mask, exact_outside=False)))
    assert result.size == (64, 64)


@pytest.mark.parametrize("picture_mode", ["RGB", "RGBA"])
def test_outpainting_keeps_every_old_pixel(picture_mode: str, app: App) -> None:
    old = noise(SIZE).convert(picture_mode)
    if picture_mode == "RGBA":
        old.putpixel((2, 2), (9, 8, 7, 0))
    box = Box(left=-24, top=-16, width=SIZE[0] + 48, height=SIZE[1] + 16)
    for inpainting in (Inpainting(), Inpainting(masked_content="fill", seam_pass=True), Inpainting(mask_blur=0)):
        result = made(app, beginning(put(app, old), box=box, inpainting=inpainting))
        assert (result.mode, result.size) == (picture_mode, (SIZE[0] + 48, SIZE[1] + 16))
        kept = result.crop((24, 16, 24 + SIZE[0], 16 + SIZE[1]))
        assert kept.tobytes() == old.tobytes()


def test_the_pass_over_the_seam_changes_the_new_side_near_it(app: App, picture: str) -> None:
    box = Box(left=0, top=0, width=SIZE[0] + 96, height=SIZE[1])
    plain = Inpainting(masked_content="fill")
    without, with_seam = (
        np.asarray(made(app, beginning(picture, box=box, inpainting=each)), int)
        for each in (plain, replace(plain, seam_pass=True))
    )
    changed = np.abs(without - with_seam).max(axis=(0, 2)) > 0
    assert not changed[: SIZE[0]].any()
    assert changed[SIZE[0] + 2 : SIZE[0] + 20].all()
    assert not changed[SIZE[0] + 72 :].any()


@pytest.mark.parametrize("strength", [0.1, 0.75])
def test_the_pass_over_the_seam_ends_where_the_picture_does(strength: float, app: App, picture: str) -> None:
    box = Box(left=0, top=0, width=SIZE[0] + 96, height=SIZE[1])
    inpainting = Inpainting(masked_content="fill", seam_pass=True)
    request = replace(beginning(picture, box=box, inpainting=inpainting, denoising_strength=strength), steps=8)
    job = app.queue.submit(request, "me")
    assert list(job.follow())[-1] == Finished()
    (progress,) = (event for _, event in job.since() if isinstance(event, Progress))
    assert progress.step == progress.steps == int(8 * strength) + 1


def test_a_small_mask_in_a_large_picture(app: App) -> None:
    """The model sees 64 x 64 pixels, the result has all of them."""
    old = noise((12_000, 200))
    mask = put(app, spot(old.size, (7000, 100, 7020, 120)))
    inpainting = Inpainting(mask=mask, area="Only masked")
    result = made(app, beginning(put(app, old), inpainting=inpainting, denoising_strength=1))
    assert result.size == old.size
    before, after = np.asarray(old), np.asarray(result)
    rows, columns = np.nonzero((before != after).any(axis=2))
    assert rows.min() >= 90 and rows.max() < 130 and columns.min() >= 6990 and columns.max() < 7030


def test_any_picture_can_be_made_anew_by_the_same_words(app: App) -> None:
    """As an upscale in tiles does with each of them."""
    from backend.engine import Engine

    request = app.prepare(REQUEST)
    engine, course = Engine.create(app), Course(None, request, Job(request, "me"))
    with torch.inference_mode(), engine._at_work(request, course) as (generation, _):
        tile = noise((96, 64))
        near, far = (generation.remade(Frame.of_picture(tile, strength), PictureSeeds(5)) for strength in (0.1, 1.0))
        again = generation.remade(Frame.of_picture(tile, 1.0), PictureSeeds(5))
    assert near is not None and far is not None and again is not None
    assert near.size == far.size == (96, 64)
    assert near.tobytes() != far.tobytes() == again.tobytes()


def test_what_neither_picture_nor_box_covers_is_clear(app: App, picture: str) -> None:
    box = Box(left=64, top=48, width=64, height=64)
    result = made(app, beginning(picture, box=box, inpainting=Inpainting()))
    assert (result.mode, result.size) == ("RGBA", (128, 112))
    alpha = np.asarray(result)[..., 3]
    assert (alpha[80:, :64] == 0).all() and (alpha[:48, 96:] == 0).all()
    assert (alpha[:80, :96] == 255).all() and (alpha[48:, 64:] == 255).all()


def test_a_box_within_the_picture_is_all_that_changes(app: App, picture: str) -> None:
    box = Box(left=8, top=16, width=40, height=32)
    result = made(app, beginning(picture, box=box))
    before, after = np.asarray(noise(SIZE)), np.asarray(result)
    inside = np.zeros(before.shape[:2], bool)
    inside[16:48, 8:48] = True
    assert np.array_equal(before[~inside], after[~inside])
    assert not np.array_equal(before[inside], after[inside])


def test_a_sketch_shows_in_what_is_made_of_it(app: App, picture: str) -> None:
    sketch = Image.new("RGBA", SIZE, (0, 0, 0, 0))
    sketch.paste((255, 0, 0, 255), (0, 0, 48, 80))
    plain = made(app, beginning(picture, denoising_strength=0.1))
    drawn = made(app, beginning(picture, denoising_strength=0.1, sketch=put(app, sketch)))
    assert plain.tobytes() != drawn.tobytes()


def test_what_does_not_fit_together_is_said_at_the_door(app: App, picture: str) -> None:
    small, mask = put(app, noise((9, 9))), put(app, spot((8, 8), (0, 0, 4, 4)))
    within = Box(left=0, top=0, width=64, height=64)
    for init, words in (
        (InitImage(picture="0" * 64), "put it in again"),
        (InitImage(picture=picture, sketch=small), "The sketch has 9 x 9 pixels; it must have the picture's 96 x 80."),
        (InitImage(picture=picture, inpainting=Inpainting(mask=mask)), "The mask has 8 x 8 pixels"),
        (InitImage(picture=picture, box=Box(left=96, top=0, width=64, height=64)), "The box lies outside the picture"),
        (InitImage(picture=picture, box=within, inpainting=Inpainting()), "There is nothing to paint"),
        (InitImage(picture=picture, box=Box(left=0, top=0, width=16_384, height=16_000)), "150 million are allowed"),
    ):
        with pytest.raises(UserError, match=words):
            app.prepare(replace(REQUEST, init=init))


def test_an_interrupted_picture_is_put_into_its_place_too(app: App, picture: str) -> None:
    mask = put(app, spot(SIZE, WHERE))
    request = beginning(picture, inpainting=Inpainting(mask=mask, mask_blur=0), denoising_strength=1)
    job = Interruptor(app.prepare(replace(request, steps=10)), after=4)
    (ready,) = interrupted(app, job)
    assert job.state == "interrupted"
    before, after = np.asarray(noise(SIZE)), np.asarray(Image.open(ready.path))
    outside = np.asarray(spot(SIZE, WHERE)) == 0
    assert np.array_equal(before[outside], after[outside])
    assert not np.array_equal(before[~outside], after[~outside])


@pytest.mark.parametrize("upscaler", ["latent", "Latent (nearest-exact)", "Lanczos"])
def test_hires_makes_it_larger_with_as_many_steps_more(upscaler: str, app: App) -> None:
    hires = HiresFix(upscaler=upscaler, scale=2, steps=4, denoising_strength=0.5)
    job = app.queue.submit(replace(REQUEST, hires=hires, batch_size=2), "me")
    assert list(job.follow())[-1] == Finished()
    assert [(image.width, image.height, image.seed) for image in job.images] == [(128, 128, 1), (128, 128, 2)]
    (progress,) = [event for _, event in job.since() if isinstance(event, Progress)]
    assert (progress.step, progress.steps) == (7, 7)
    alone = np.asarray(made(app, replace(REQUEST, hires=hires, seed=2)), int)
    assert np.abs(alone - np.asarray(Image.open(job.images[1].path))).max() <= 1
    assert "Hires upscaler: " in job.images[0].infotext


def test_hires_of_another_size_checkpoint_and_words(app: App) -> None:
    hires = HiresFix(width=128, height=96, steps=2, checkpoint="starter", prompt="a blue star", sampler="Euler a")
    image = made(app, replace(REQUEST, hires=hires))
    assert image.size == (128, 96)
    assert isinstance(image, PngImageFile)
    digest = app.hashes.sha256(app.catalog.find("starter")).result()[:10]
    assert (
        f"Denoising strength: 0.7, RNG: NV, Hires checkpoint: starter [{digest}], Hires sampler: Euler a, Hires "
        "prompt: a blue star, Hires resize: 128x96, Hires steps: 2, Hires upscaler: Latent, Version: Atelier"
    ) in image.text["parameters"]
    other = made(app, replace(REQUEST, hires=replace(hires, checkpoint="")))
    assert other.tobytes() != image.tobytes()


def test_hires_without_noise_only_enlarges(app: App) -> None:
    hires = HiresFix(upscaler="Nearest", denoising_strength=0, scale=2)
    job = app.queue.submit(replace(REQUEST, hires=hires), "me")
    assert list(job.follow())[-1] == Finished()
    (progress,) = [event for _, event in job.since() if isinstance(event, Progress)]
    assert progress.steps == REQUEST.steps
    assert (job.images[0].width, job.images[0].height) == (128, 128)


def test_hires_ended_in_the_first_pass_gives_what_is_there(app: App) -> None:
    job = Interruptor(app.prepare(replace(REQUEST, steps=10, hires=HiresFix())), after=3)
    (ready,) = interrupted(app, job)
    assert (job.state, ready.width) == ("interrupted", 64)


def first_passes(app: App, count: int) -> list[bytes]:
    """What the words alone become, with as many seeds."""
    return [made(app, replace(REQUEST, seed=REQUEST.seed + k)).tobytes() for k in range(count)]


def pictures(images: list[ImageReady], width: int) -> list[bytes]:
    return [Image.open(image.path).tobytes() for image in images if image.width == width]


@pytest.mark.parametrize("upscaler", ["Latent", "Nearest"])
def test_hires_ended_in_the_second_pass_keeps_the_first_ones_pictures(upscaler: str, app: App) -> None:
    """Besides what there is of the second one's; each can be made again by what it says of itself."""
    request = app.prepare(replace(REQUEST, batch_count=2, hires=HiresFix(upscaler=upscaler)))
    job = Interruptor(request, after=2 * 2 * REQUEST.steps - 1)  # in the second pass of the second picture
    images = interrupted(app, job)
    assert job.state == "interrupted"
    assert [(image.index, image.width, image.seed) for image in images] == [(0, 128, 1), (1, 128, 2), (3, 64, 2)]
    assert pictures(images, 64) == first_passes(app, 2)[1:]
    assert any("The second pass did not come" in each.message for _, each in job.since() if isinstance(each, Notice))
    again = GenerationRequest.from_json(images[-1].request)
    assert (again.hires, again.seed) == (None, 2)
    assert made(app, again).tobytes() == pictures(images, 64)[0]


def test_a_skipped_second_pass_keeps_its_picture_and_the_next_is_whole(app: App) -> None:
    request = app.prepare(replace(REQUEST, batch_count=2, hires=HiresFix()))
    job = Interruptor(request, after=REQUEST.steps + 1, skip=True)
    images = interrupted(app, job)
    assert job.state == "finished"
    assert [(image.index, image.width) for image in images] == [(0, 128), (2, 64), (1, 128)]


def test_hires_ended_where_interrupted_pictures_are_not_wanted_keeps_none(app: App) -> None:
    app.settings.update({"save_interrupted": False})
    try:
        assert interrupted(app, Interruptor(app.prepare(replace(REQUEST, hires=HiresFix())), after=4)) == []
    finally:
        app.settings.update({"save_interrupted": True})


def test_a_second_pass_that_fails_leaves_the_first_ones_pictures(app: App, written_checkpoint: Path) -> None:
    """The door saw a good file; somebody cut it while the first pass was made."""
    victim = written_checkpoint.parent / "victim.safetensors"
    shutil.copy(written_checkpoint, victim)

    class Unlucky(Job):
        def emit(self, event: Event) -> None:
            super().emit(event)
            if isinstance(event, Progress) and event.step == REQUEST.steps:
                victim.write_bytes(written_checkpoint.read_bytes()[:-1000])

    try:
        request = app.prepare(replace(REQUEST, batch_size=2, hires=HiresFix(checkpoint="victim")))
        job = Unlucky(request, "me")
        images = interrupted(app, job)
    finally:
        victim.unlink()
    (failed,) = [event for _, event in job.since() if isinstance(event, Failed)]
    assert failed.message.startswith("victim.safetensors is cut short")
    assert [image.index for image in images] == [0, 1]
    differences = [
        np.abs(np.frombuffer(ours, np.uint8).astype(int) - np.frombuffer(alone, np.uint8)).max()
        for ours, alone in zip(pictures(images, 64), first_passes(app, 2), strict=True)
    ]
    assert max(differences) <= 1


@pytest.mark.parametrize(
    ("hires", "words"),
    [
        (HiresFix(upscaler="Magic"), "upscaler called 'Magic'"),
        (HiresFix(sampler="Magic"), "sampler called 'Magic'"),
        (HiresFix(checkpoint="magic"), "magic"),
    ],
)
def test_a_second_pass_that_cannot_be_is_said_at_the_door(hires: HiresFix, words: str, app: App) -> None:
    with pytest.raises(UserError, match=words):
        app.prepare(replace(REQUEST, hires=hires))


def test_a_second_pass_of_a_picture_is_refused(picture: str) -> None:
    with pytest.raises(InvalidRequest, match="Hires"):
        replace(beginning(picture), hires=HiresFix())
