"""Extras: the request, its work on real files, and its way through the queue beside generations."""

import io
import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngImageFile, PngInfo

from backend.any_request import read_request
from backend.app import App
from backend.errors import Cancelled, InvalidRequest, UserError
from backend.events import Event, Finished, ImageReady, Interrupted, Loading, Notice, Progress, Started
from backend.imaging.upscale import Upscalers
from backend.inputs import Inputs
from backend.job_store import SQLiteJobStore
from backend.jobs import Job, JobQueue
from backend.model_manager.catalog import Catalog
from backend.model_manager.identity import Kind
from backend.model_manager.inventory.trees import ModelFolder
from backend.outputs import ENLARGED, EXIF_IFD, IMAGE_DESCRIPTION, USER_COMMENT, Outputs, encode
from backend.request import GenerationRequest
from backend.settings import Settings
from backend.upscaling import door, network
from backend.upscaling.metadata import POSTPROCESSING, Metadata, postprocessing, read_metadata, with_postprocessing
from backend.upscaling.request import Target, UpscaleRequest
from backend.upscaling.work import Upscaling
from tests import upscalers
from tests.upscalers import write_upscaler

NAME = "0" * 64
REQUEST = UpscaleRequest(inputs=(NAME,))
INFOTEXT = "a red boat, Zoë\nNegative prompt: blue\nSteps: 20, Sampler: Euler, Seed: 7, Size: 64x48"


# --- the request ---


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("inputs", (), "Pictures must be 1 to 1,000"),
        ("inputs", (NAME,) * 1001, "Pictures must be 1 to 1,000"),
        ("inputs", NAME, "Pictures must be 1 to 1,000"),
        ("inputs", (3,), "Pictures must be text"),
        ("upscaler", "None", "An upscaler must be chosen"),
        ("upscaler", 1, "Upscaler must be text"),
        ("visibility_2", 1.1, "Upscaler 2 visibility must be from 0 to 1"),
        ("scale", 0.5, "Scale by must be from 1 to 8"),
        ("scale", math.nan, "Scale by must be from 1 to 8"),
        ("max_side", -1, "Max side length must be from 0 to 16384"),
        ("width", 16_385, "Width must be from 0 to 16384"),
        ("height", 1.5, "Height must be a whole number"),
        ("crop", "yes", "Crop to fit must be true or false"),
    ],
)
def test_a_wrong_value_is_named(name: str, value: object, sentence: str) -> None:
    with pytest.raises(InvalidRequest, match=f"^{sentence}"):
        replace(REQUEST, **{name: value})


def test_a_request_comes_back_from_its_text_as_what_it_was() -> None:
    """And a generation's text is told apart from it."""
    request = UpscaleRequest(
        inputs=(NAME, "1" * 64),
        upscaler="a, b",
        upscaler_2="Nearest",
        visibility_2=0.25,
        scale=2,
        width=300,
        crop=False,
    )
    assert UpscaleRequest.from_json(request.to_json()) == read_request(request.to_json()) == request
    generation = GenerationRequest(prompt='{"kind": "upscale"}', seed=3)
    assert read_request(generation.to_json()) == generation


@pytest.mark.parametrize(
    "text", ["", "[]", '{"kind": "upscale"}', '{"kind": "upscale", "inputs": ["a"], "odd": 1}', '{"inputs": ["a"]}']
)
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        UpscaleRequest.from_json(text)


@pytest.mark.parametrize(
    ("size", "asked", "target"),
    [
        ((100, 60), {"scale": 4}, Target(width=400, height=240)),
        ((101, 61), {"scale": 1.25}, Target(width=126, height=76)),
        ((1, 1), {"scale": 1}, Target(width=1, height=1)),
        ((100, 60), {"scale": 4, "max_side": 400}, Target(width=400, height=240)),
        ((100, 60), {"scale": 4, "max_side": 200}, Target(width=200, height=120)),
        ((60, 100), {"scale": 8, "max_side": 50}, Target(width=30, height=50)),
        ((1000, 1), {"scale": 2, "max_side": 50}, Target(width=50, height=1)),
        ((100, 60), {"width": 300, "height": 300}, Target(width=500, height=300, crop=(300, 300))),
        ((100, 60), {"width": 300, "height": 300, "crop": False}, Target(width=500, height=300)),
        ((100, 60), {"width": 200, "height": 120}, Target(width=200, height=120)),
        ((100, 60), {"width": 250}, Target(width=250, height=150)),
        ((100, 60), {"height": 90}, Target(width=150, height=90)),
        ((3, 7), {"width": 1000, "height": 1000}, Target(width=1000, height=2333, crop=(1000, 1000))),
        ((100, 60), {"width": 250, "max_side": 10}, Target(width=250, height=150)),
    ],
)
def test_the_size_follows_from_what_is_asked(size: tuple[int, int], asked: dict[str, Any], target: Target) -> None:
    assert replace(REQUEST, **asked).target(*size) == target


@pytest.mark.parametrize("size", [(4097, 4096), (16_000, 10), (20_000, 1)])
def test_what_would_be_too_large_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(InvalidRequest, match="would become"):
        replace(REQUEST, scale=8 if size[1] < 100 else 4).target(*size)
    assert replace(REQUEST, scale=4).target(4096, 4096).size == (16_384, 16_384)


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        ({"scale": 4}, "Postprocess upscale by: 4, Postprocess upscaler: Lanczos"),
        ({"scale": 1.5, "upscaler": "a: b"}, 'Postprocess upscale by: 1.5, Postprocess upscaler: "a: b"'),
        (
            {"scale": 4, "max_side": 200},
            "Postprocess upscale by: 4, Max side length: 200, Postprocess upscaler: Lanczos",
        ),
        (
            {"width": 300, "height": 300, "upscaler_2": "Nearest", "visibility_2": 0.3},
            "Postprocess upscale to: 300x300, Postprocess crop to: 300x300, Postprocess upscaler: Lanczos, "
            "Postprocess upscaler 2: Nearest, Postprocess upscaler 2 visibility: 0.3",
        ),
        ({"width": 250, "upscaler_2": "Nearest"}, "Postprocess upscale to: 250x150, Postprocess upscaler: Lanczos"),
    ],
)
def test_what_was_done_is_written_as_a1111_writes_it(asked: dict[str, Any], text: str) -> None:
    assert postprocessing(replace(REQUEST, **asked), 100, 60) == text


def test_what_was_done_stands_at_the_end_of_the_parameters() -> None:
    assert with_postprocessing(INFOTEXT, "Postprocess upscale by: 4") == f"{INFOTEXT}, Postprocess upscale by: 4"
    assert with_postprocessing("a boat", "Postprocess upscale by: 4") == "a boat\nPostprocess upscale by: 4"
    assert with_postprocessing("", "Postprocess upscale by: 4") == "Postprocess upscale by: 4"


# --- what a picture says of itself ---


@pytest.mark.parametrize("format", ["png", "jpeg", "webp"])
def test_our_own_pictures_are_read_in_every_format(format: str, tmp_path: Path) -> None:
    path = tmp_path / "picture"
    request = GenerationRequest(prompt="夜の港").to_json()
    path.write_bytes(encode(Image.new("RGB", (8, 8)), format, 90, f"夜の港\n{INFOTEXT}", request))
    assert read_metadata(path) == Metadata(infotext=f"夜の港\n{INFOTEXT}", request=request)


def test_other_texts_and_alphabets_are_kept(tmp_path: Path) -> None:
    chunks = PngInfo()
    for name, text in {"workflow": "{}", "Author": "Zoë 夜"}.items():
        chunks.add_itxt(name, text)
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png", pnginfo=chunks)
    assert read_metadata(tmp_path / "a.png") == Metadata(others={"workflow": "{}", "Author": "Zoë 夜"})
    for data in (b"UNICODE\0" + INFOTEXT.encode("utf-16-le"), b"ASCII\0\0\0" + INFOTEXT.replace("ë", "e").encode()):
        exif = Image.Exif()
        exif.get_ifd(EXIF_IFD)[USER_COMMENT] = data
        exif[IMAGE_DESCRIPTION] = "DCIM"
        Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg", exif=exif)
        found = read_metadata(tmp_path / "a.jpg")
        assert (found.infotext.replace("ë", "e"), found.request) == (INFOTEXT.replace("ë", "e"), "")


@pytest.mark.parametrize("data", [b"", b"no picture", b"\x89PNG\r\n\x1a\n" + bytes(50)])
def test_a_file_that_says_nothing_is_no_fault(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(data)
    assert read_metadata(tmp_path / "a") == Metadata()
    assert read_metadata(tmp_path / "b") == Metadata()


# --- the work ---


class Shop:
    """Everything that an upscale needs, in a folder, with a list of what its job told."""

    def __init__(self, folder: Path, settings: Settings | None = None):
        write_upscaler(folder / "upscalers" / "doubling.safetensors", upscalers.doubling())
        catalog = Catalog([ModelFolder(path=folder / "upscalers", kind=Kind.UPSCALER)])
        self.upscalers = Upscalers(catalog, torch.device("cpu"))
        self.inputs = Inputs(folder / "inputs")
        self.outputs = Outputs(lambda: settings or Settings(), folder / "outputs")
        self.freed = 0
        self.told: list[Event] = []

    def put(self, picture: Image.Image, **chunks: str) -> str:
        """A picture that is put in as a PNG with these texts."""
        data, texts = io.BytesIO(), PngInfo()
        for name, text in chunks.items():
            texts.add_text(name, text)
        picture.save(data, "PNG", pnginfo=texts)
        return self.inputs.put(data.getvalue()).name

    def _free(self) -> int:
        self.freed += 1
        return 0

    def run(
        self, request: UpscaleRequest, look: Callable[[Job, Event], None] = lambda _job, _event: None
    ) -> list[ImageReady]:
        """The pictures of a request, which passes the door; `look` sees each event as it happens."""
        request = door.prepare(request, self.upscalers, self.inputs)
        job = Job(request, "me")

        def listen(job: Job) -> None:
            self.told.append(job.since()[-1][1])
            look(job, self.told[-1])

        job.listen(listen)
        Upscaling(self.upscalers, self.inputs, self.outputs, self._free).run(request, job)
        return job.images


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


def opened(image: ImageReady) -> Image.Image:
    with Image.open(image.path) as picture:
        picture.load()
        return picture


def test_pictures_are_enlarged_in_order_and_saved_under_extras(shop: Shop) -> None:
    pictures = [noise(20, 12), noise(9, 30, 1)]
    names = tuple(shop.put(picture) for picture in pictures)
    images = shop.run(UpscaleRequest(inputs=names, upscaler="Doubling", scale=2))
    assert [image.index for image in images] == [0, 1]
    assert [image.path.name for image in images] == ["00000.png", "00001.png"]
    assert {image.path.parent for image in images} == {shop.outputs.folder / "extras" / time.strftime("%Y-%m-%d")}
    for image, picture, name in zip(images, pictures, names, strict=True):
        size = (picture.width * 2, picture.height * 2)
        assert (image.width, image.height) == size
        assert opened(image).tobytes() == picture.resize(size, Image.Resampling.NEAREST).tobytes()
        assert read_request(image.request) == UpscaleRequest(inputs=(name,), upscaler="doubling", scale=2)
    assert [type(event) for event in shop.told] == [Loading, Progress, ImageReady, Progress, ImageReady]


def test_two_upscalers_are_blended_as_far_as_the_second_is_visible(shop: Shop) -> None:
    name = shop.put(picture := noise(20, 12))
    request = UpscaleRequest(inputs=(name,), upscaler="Lanczos", upscaler_2="Nearest", scale=3)

    def made(visibility: float) -> bytes:
        return opened(shop.run(replace(request, visibility_2=visibility))[0]).tobytes()

    smooth = picture.resize((60, 36), Image.Resampling.LANCZOS)
    blocks = picture.resize((60, 36), Image.Resampling.NEAREST)
    assert made(0.25) == Image.blend(smooth, blocks, 0.25).tobytes()
    assert made(0) == smooth.tobytes()
    assert made(1) == blocks.tobytes()


def test_what_does_not_fit_is_cut_off_on_both_sides(shop: Shop) -> None:
    name = shop.put(picture := noise(20, 12))
    image = shop.run(UpscaleRequest(inputs=(name,), upscaler="Nearest", width=24, height=24))[0]
    whole = picture.resize((40, 24), Image.Resampling.NEAREST)
    assert opened(image).tobytes() == whole.crop((8, 0, 32, 24)).tobytes()


def test_the_originals_texts_are_kept_and_ours_added(shop: Shop) -> None:
    own = GenerationRequest(prompt="a red boat").to_json()
    name = shop.put(noise(8, 8), parameters=INFOTEXT, atelier=own, workflow="{}")
    done = "Postprocess upscale by: 2, Postprocess upscaler: Lanczos"
    image = shop.run(UpscaleRequest(inputs=(name,), scale=2))[0]
    assert image.infotext == f"{INFOTEXT}, {done}"
    picture = opened(image)
    assert isinstance(picture, PngImageFile)
    assert picture.text == {
        "parameters": f"{INFOTEXT}, {done}",
        "atelier": own,
        "workflow": "{}",
        POSTPROCESSING: done,
        ENLARGED: image.request,
    }
    again = shop.run(UpscaleRequest(inputs=(name,), scale=2, keep_metadata=False))[0]
    picture = opened(again)
    assert isinstance(picture, PngImageFile)
    assert picture.text == {
        "parameters": done,
        "atelier": again.request,
        POSTPROCESSING: done,
        ENLARGED: again.request,
    }
    assert again.infotext == done


XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description dc:creator="Zoë" {attribute}xmlns:tiff="http://ns.adobe.com/tiff/1.0/">{element}'
    "</rdf:Description></rdf:RDF></x:xmpmeta>"
)


def test_a_result_is_not_said_to_lie_on_its_side(shop: Shop) -> None:
    """Its pixels are upright by then; what else was said of it stays."""
    exif = Image.Exif()
    exif[0x0112] = 6
    for attribute, element in (
        ('tiff:Orientation="6" ', ""),
        ("tiff:Orientation='6' ", ""),
        ("", "<tiff:Orientation>6</tiff:Orientation>"),
    ):
        data, texts = io.BytesIO(), PngInfo()
        texts.add_itxt("XML:com.adobe.xmp", XMP.format(attribute=attribute, element=element))
        texts.add_text("Raw profile type exif", f"\nexif\n{len(exif.tobytes()):8}\n{exif.tobytes().hex()}\n")
        noise(20, 12).save(data, "PNG", pnginfo=texts, exif=exif)
        name = shop.inputs.put(data.getvalue()).name
        with Image.open(shop.run(UpscaleRequest(inputs=(name,), scale=2))[0].path) as picture:
            assert isinstance(picture, PngImageFile)
            assert picture.size == (24, 40)
            assert ImageOps.exif_transpose(picture).size == picture.size
            assert (picture.text["XML:com.adobe.xmp"].count("Zoë"), "Orientation" in str(picture.text)) == (1, False)
            assert not [said for said in picture.text if said.startswith("Raw")]


@pytest.mark.parametrize("format", ["jpeg", "webp"])
def test_other_formats_carry_the_parameters_too(format: Literal["jpeg", "webp"], tmp_path: Path) -> None:
    shop = Shop(tmp_path, Settings(image_format=format))
    name = shop.put(noise(8, 8), parameters=INFOTEXT, atelier="{}")
    image = shop.run(UpscaleRequest(inputs=(name,), scale=2))[0]
    assert image.path.suffix == {"jpeg": ".jpg", "webp": ".webp"}[format]
    assert read_metadata(image.path) == Metadata(infotext=image.infotext, request="{}")
    assert image.infotext.startswith(INFOTEXT)


def test_a_picture_with_transparency_stays_transparent(shop: Shop) -> None:
    picture = noise(8, 8)
    picture.putalpha(Image.linear_gradient("L").resize((8, 8)))
    image = shop.run(UpscaleRequest(inputs=(shop.put(picture),), upscaler="doubling", upscaler_2="Lanczos", scale=2))[0]
    assert opened(image).mode == "RGBA"


def test_progress_counts_tiles_upscalers_and_pictures(shop: Shop) -> None:
    names = tuple(shop.put(noise(300, 100, seed)) for seed in (0, 1))
    shop.run(UpscaleRequest(inputs=names, upscaler="doubling", upscaler_2="doubling", visibility_2=0.5, scale=2))
    told = [(event.step, event.steps, event.batch, event.batches) for event in shop.told if isinstance(event, Progress)]
    assert told == [(step, 4, batch, 2) for batch in (1, 2) for step in (1, 2, 3, 4)]
    last = [event for event in shop.told if isinstance(event, Progress)][-1]
    assert last.remaining == 0
    assert last.rate > 0


def test_an_interrupt_keeps_the_pictures_that_are_done(shop: Shop) -> None:
    names = tuple(shop.put(noise(300, 100, seed)) for seed in (0, 1, 2))
    tiles: list[int] = []

    def look(job: Job, event: Event) -> None:
        if isinstance(event, Progress):
            tiles.append(event.batch)
            if len(tiles) == 3:
                job.cancel()

    with pytest.raises(Cancelled):
        shop.run(UpscaleRequest(inputs=names, upscaler="doubling", scale=2), look)
    assert tiles == [1, 1, 2]
    assert [event.index for event in shop.told if isinstance(event, ImageReady)] == [0]


def test_a_skip_goes_on_with_the_next(shop: Shop) -> None:
    names = tuple(shop.put(noise(300, 100, seed)) for seed in (0, 1, 2))

    def look(job: Job, event: Event) -> None:
        if isinstance(event, Progress) and event.batch == 2:
            job.skip()

    images = shop.run(UpscaleRequest(inputs=names, upscaler="doubling", scale=2), look)
    assert [image.index for image in images] == [0, 2]


def test_one_bad_picture_among_several_does_not_end_the_others(shop: Shop) -> None:
    names = tuple(shop.put(noise(8, 8, seed)) for seed in (0, 1))

    def look(_job: Job, event: Event) -> None:
        if isinstance(event, Loading):
            shop.inputs.path(names[0]).unlink()

    images = shop.run(UpscaleRequest(inputs=names, scale=2), look)
    assert [image.index for image in images] == [1]
    notices = [event.message for event in shop.told if isinstance(event, Notice)]
    assert len(notices) == 1
    assert notices[0].startswith("Picture 1 of 2: There is no picture")


def test_if_no_picture_can_be_made_the_job_says_why(shop: Shop) -> None:
    name = shop.put(noise(8, 8))

    def look(_job: Job, event: Event) -> None:
        if isinstance(event, Loading):
            shop.inputs.path(name).unlink()

    with pytest.raises(UserError, match="There is no picture"):
        shop.run(UpscaleRequest(inputs=(name,), scale=2), look)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"inputs": (NAME,)}, "There is no picture"),
        ({"upscaler": "Lanzcos"}, "did you mean Lanczos"),
        ({"upscaler_2": "odd"}, "There is no upscaler called 'odd'"),
    ],
)
def test_the_door_refuses_what_is_not_there(shop: Shop, changed: dict[str, Any], sentence: str) -> None:
    request = replace(UpscaleRequest(inputs=(shop.put(noise(8, 8)),)), **changed)
    with pytest.raises(UserError, match=sentence):
        door.prepare(request, shop.upscalers, shop.inputs)


def test_the_door_refuses_what_would_become_too_large(shop: Shop) -> None:
    name = shop.put(Image.new("L", (20_000, 1)))
    with pytest.raises(InvalidRequest, match="would become 80,000 x 4"):
        door.prepare(UpscaleRequest(inputs=(name,)), shop.upscalers, shop.inputs)


def test_when_memory_runs_out_the_tiles_become_smaller(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    run, seen = network.Network.__call__, list[tuple[int, int]]()

    def short_of_memory(self: network.Network, tile: Image.Image) -> Image.Image:
        seen.append(tile.size)
        if tile.width > 64:
            raise torch.OutOfMemoryError("out of memory")
        return run(self, tile)

    monkeypatch.setattr(network.Network, "__call__", short_of_memory)
    name = shop.put(picture := noise(100, 60))
    image = shop.run(UpscaleRequest(inputs=(name,), upscaler="doubling", scale=2))[0]
    assert opened(image).tobytes() == picture.resize((200, 120), Image.Resampling.NEAREST).tobytes()
    assert seen == [(100, 60), (64, 60), (64, 60)]
    assert shop.freed == 1
    assert [event.message for event in shop.told if isinstance(event, Notice)]


def test_the_network_is_let_go_with_the_job(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[str] = []
    load = network.load_model

    def counted(path: Path) -> object:
        loads.append(path.stem)
        return load(path)

    monkeypatch.setattr(network, "load_model", counted)
    names = tuple(shop.put(noise(8, 8, seed)) for seed in (0, 1))
    for _ in range(2):
        shop.run(UpscaleRequest(inputs=names, upscaler="doubling", scale=2))
    assert loads == ["doubling", "doubling"]


# --- the queue ---


def put_in(app: App, picture: Image.Image) -> str:
    data = io.BytesIO()
    picture.save(data, "PNG")
    return app.inputs.put(data.getvalue()).name


def test_generations_and_upscales_go_through_one_queue(app: App) -> None:
    """With the real engine: a picture is made, and then enlarged as what it was."""
    made = app.queue.submit(GenerationRequest(prompt="a", steps=1, width=64, height=64, seed=5), "me")
    assert isinstance(list(made.follow())[-1], Finished)
    first = made.images[0]
    name = app.inputs.put(first.path.read_bytes()).name
    job = app.queue.submit(UpscaleRequest(inputs=(name,), upscaler="lanczos", scale=2), "me")
    events = list(job.follow())
    assert isinstance(events[0], Started)
    assert isinstance(events[-1], Finished)
    (image,) = job.images
    assert (image.width, image.height) == (128, 128)
    assert image.infotext == f"{first.infotext}, Postprocess upscale by: 2, Postprocess upscaler: Lanczos"
    assert read_metadata(image.path).request == first.request
    assert job in app.queue.jobs("me")
    with pytest.raises(UserError, match="There is no picture"):
        app.queue.submit(UpscaleRequest(inputs=(NAME,)), "me")


def test_an_upscale_survives_the_process(tmp_path: Path) -> None:
    """Queued ones to be done, a running one as stopped, an ended one with its pictures."""
    request = UpscaleRequest(inputs=(NAME,), scale=2)
    store = SQLiteJobStore(tmp_path / "queue.sqlite3")
    queue = JobQueue(lambda: pytest.fail("it was not started"), store=store)
    ended, running, _ = (queue.submit(replace(request, scale=scale), "me") for scale in (2, 3, 4))
    ended.emit(
        ImageReady(
            index=0, seed=-1, path=tmp_path / "a.png", width=2, height=2, infotext="b", request=request.to_json()
        )
    )
    ended.emit(Interrupted())
    running.emit(Started())
    store.close()
    again = SQLiteJobStore(tmp_path / "queue.sqlite3").load()
    assert [(job.request, job.state) for job in again] == [
        (replace(request, scale=2), "interrupted"),
        (replace(request, scale=3), "queued"),
        (replace(request, scale=4), "queued"),
    ]
    assert again[0].images == ended.images


def test_a_job_list_can_show_what_an_upscale_is() -> None:
    """By the names that a generation has for it."""
    request = UpscaleRequest(inputs=(NAME,) * 3, upscaler="4x", upscaler_2="Lanczos", visibility_2=0.5, scale=2.5)
    assert request.prompt == "Upscale 2.5 times with 4x and Lanczos"
    assert replace(request, width=640, visibility_2=0).prompt == "Upscale to 640 x any with 4x"
    assert request.pictures == 3
    shown = ("prompt", "checkpoint", "sampler", "steps", "width", "height", "seed", "pictures")
    assert all(type(getattr(request, name)) is type(getattr(GenerationRequest(), name)) for name in shown)
