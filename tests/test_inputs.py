"""What people put in: every kind of file comes out right or is refused in a sentence, and no byte is lost."""

import hashlib
import io
import os
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo
from PIL.TiffImagePlugin import ImageFileDirectory_v2
from starlette.types import Message

from backend.app import App, Options
from backend.errors import UserError
from backend.init_image import InitImage
from backend.inputs import AT_ONCE, MOST_BYTES, Inputs, StoredInput
from backend.request import GenerationRequest
from backend.server import inputs
from backend.server.guard import Guard
from backend.server.json_door import JSON
from backend.upscaling.request import UpscaleRequest
from tests.loops import run_apart
from tests.scripted import ScriptedWorker

RED, BLUE = (200, 30, 40), (20, 40, 210)


@pytest.fixture
def store(tmp_path: Path) -> Inputs:
    return Inputs(tmp_path / "inputs")


def halves(mode: str = "RGB", size: tuple[int, int] = (20, 12)) -> Image.Image:
    """Left half red, right half blue."""
    picture = Image.new("RGB", size, RED)
    picture.paste(BLUE, (size[0] // 2, 0, *size))
    return picture.convert(mode)


def saved(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    data = io.BytesIO()
    image.save(data, format, **options)
    return data.getvalue()


def put(store: Inputs, data: bytes) -> Image.Image:
    stored = store.put(data)
    picture = store.picture(stored.name)
    assert picture.size == (stored.width, stored.height) == store.size(stored.name)
    folder = store.path(stored.name).parent
    assert Inputs(folder).size(stored.name) == picture.size, "not only because it is remembered"
    return picture


def test_the_bytes_are_kept_as_they_came_under_their_hash(store: Inputs) -> None:
    words = PngInfo()
    words.add_text("parameters", "a red circle\nSteps: 3")
    data = saved(halves(), pnginfo=words)
    stored = store.put(data)
    assert stored.name == hashlib.sha256(data).hexdigest()
    assert store.path(stored.name).read_bytes() == data
    assert store.put(data) == stored
    assert [path.name for path in store.path(stored.name).parent.iterdir()] == [stored.name]


@pytest.mark.parametrize("format", ["PNG", "WEBP", "BMP", "TIFF"])
def test_pixels_are_the_files(format: str, store: Inputs) -> None:
    options = {"lossless": True} if format == "WEBP" else {}
    assert put(store, saved(halves(), format, **options)).tobytes() == halves().tobytes()


@pytest.mark.parametrize("mode", ["1", "L", "P"])
def test_few_colours_are_rgb(mode: str, store: Inputs) -> None:
    picture = put(store, saved(halves(mode)))
    assert picture.mode == "RGB"
    assert picture.tobytes() == halves(mode).convert("RGB").tobytes()


def test_transparency_stays_and_an_opaque_alpha_goes(store: Inputs) -> None:
    clear = halves("RGBA")
    clear.putpixel((3, 3), (1, 2, 3, 0))
    assert put(store, saved(clear)).getpixel((3, 3)) == (1, 2, 3, 0)
    assert put(store, saved(halves("RGBA"))).mode == "RGB"
    palette = halves().quantize(4)
    index = palette.getpixel((0, 0))
    picture = put(store, saved(palette, transparency=index))
    assert picture.mode == "RGBA"
    assert (np.asarray(picture)[0, 0, 3], np.asarray(picture)[0, 19, 3]) == (0, 255)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_camera_held_sideways_is_set_upright(orientation: int, store: Inputs) -> None:
    """Each orientation is undone: the upright picture is turned the other way, and must come back."""
    upright = halves()
    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    lying = upright.transpose(turns[orientation]) if orientation in turns else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = put(store, saved(lying, exif=exif))
    assert picture.size == (20, 12)
    assert picture.tobytes() == upright.tobytes()
    assert not picture.getexif().get(0x0112, 0) > 1


def test_of_a_tiff_and_of_xmp_no_other_size_is_told(store: Inputs) -> None:
    """Pillow sets a TIFF upright by itself, and XMP says nothing to browsers."""
    tags = ImageFileDirectory_v2()
    tags[0x0112] = 6
    xmp = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
    )
    for data, size in (
        (saved(halves(), "TIFF", tiffinfo=tags), (12, 20)),
        (saved(halves(), "JPEG", xmp=xmp), (20, 12)),
    ):
        assert put(store, data).size == size


def test_inks_become_light(store: Inputs) -> None:
    picture = put(store, saved(halves("CMYK"), "JPEG", quality=95, subsampling=0))
    assert picture.mode == "RGB"
    assert np.abs(np.asarray(picture, int)[5, 2] - RED).max() < 24


def fixed(*values: float) -> bytes:
    return b"".join(struct.pack(">i", round(value * 65536)) for value in values)


def profile(space: bytes, gamma: float = 2.2, **corners: tuple[float, float, float]) -> bytes:
    """A colour profile by the ICC's rules (version 2): one curve for all channels, and XYZ of the primaries."""
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)
    words = b"desc" + bytes(4) + struct.pack(">I", 5) + b"ours\0" + bytes(78) + bytes(3)
    tags = {b"desc": words, b"cprt": b"text" + bytes(4) + b"-\0" + bytes(2)}
    tags[b"wtpt"] = b"XYZ " + bytes(4) + fixed(0.9642, 1, 0.8249)
    for name, corner in corners.items():
        tags[f"{name}XYZ".encode()] = b"XYZ " + bytes(4) + fixed(*corner)
    tags |= {f"{name}TRC".encode(): curve for name in (corners or "k")}
    table, data, start = b"", b"", 128 + 4 + 12 * len(tags)
    for name, tag in tags.items():
        table += name + struct.pack(">II", start + len(data), len(tag))
        data += tag
    body = struct.pack(">I", len(tags)) + table + data
    head = struct.pack(">I4sI", 128 + len(body), bytes(4), 0x02400000) + b"mntr" + space + b"XYZ " + bytes(12)
    head += b"acsp" + bytes(28) + fixed(0.9642, 1, 0.8249)
    return head.ljust(128, b"\0") + body


OF_RED, OF_GREEN, OF_BLUE = (0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7142)  # sRGB's
SWAPPED = profile(b"RGB ", r=OF_GREEN, g=OF_RED, b=OF_BLUE)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.mark.parametrize(
    ("mode", "format"),
    [*((mode, format) for mode in ("RGB", "RGBA") for format in ("PNG", "TIFF", "WEBP")), ("P", "PNG"), ("P", "TIFF")],
)
def test_colours_are_those_of_the_files_profile(mode: str, format: str, store: Inputs) -> None:
    """Of one that calls red what is green."""
    picture = Image.new("RGB", (20, 12), (230, 40, 40))
    if mode == "RGBA":
        picture.putalpha(Image.linear_gradient("L").resize(picture.size))
    options = {"lossless": True, "exact": True} if format == "WEBP" else {}
    sent = picture.quantize(2) if mode == "P" else picture
    done = put(store, saved(sent, format, icc_profile=SWAPPED, **options))
    assert np.abs(np.asarray(done.convert("RGB"), int) - (40, 230, 40)).max() <= 12
    if mode == "RGBA":
        assert done.getchannel("A").tobytes() == picture.getchannel("A").tobytes()


def test_shades_of_grey_have_profiles_too(store: Inputs) -> None:
    """Of light itself: half of it is 188 in sRGB. In 8 bits and in 16."""
    light = profile(b"GRAY", gamma=1)
    half = put(store, saved(Image.new("L", (4, 4), 128), icc_profile=light))
    finer = put(store, saved(Image.fromarray(np.full((4, 4), 128 * 257, np.uint16)), icc_profile=light))
    assert half.mode == finer.mode == "RGB"
    assert np.abs(np.asarray(half, int) - 188).max() <= 1
    assert np.abs(np.asarray(finer, int) - 188).max() <= 1
    clear = Image.new("LA", (4, 4), (128, 77))
    assert np.abs(np.asarray(put(store, saved(clear, icc_profile=light)), int)[0, 0] - (188, 188, 188, 77)).max() <= 1


@pytest.mark.parametrize("said", [SRGB, b"no profile", SWAPPED[:200], profile(b"GRAY", gamma=1), b"\0" * 500])
def test_a_profile_that_says_nothing_new_or_nothing_right_changes_not_a_bit(said: bytes, store: Inputs) -> None:
    many = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    assert put(store, saved(many, icc_profile=said)).tobytes() == many.tobytes()


def test_sixteen_bits_are_scaled_not_cut(store: Inputs) -> None:
    ramp = np.linspace(0, 65535, 256).round().astype(np.uint16).reshape(16, 16)
    picture = put(store, saved(Image.fromarray(ramp)))
    assert np.array_equal(np.asarray(picture)[..., 0], np.arange(256).reshape(16, 16))


def test_of_an_animation_the_first_picture_counts(store: Inputs) -> None:
    data = saved(halves(), "GIF", save_all=True, append_images=[Image.new("RGB", (20, 12), BLUE)], duration=50)
    assert np.abs(np.asarray(put(store, data).convert("RGB"), int)[5, 2] - RED).max() < 12


def test_one_pixel_and_twelve_thousand_are_pictures(store: Inputs) -> None:
    assert put(store, saved(Image.new("RGB", (1, 1), RED))).getpixel((0, 0)) == RED
    assert put(store, saved(Image.new("L", (12_000, 40), 7))).size == (12_000, 40)


def png_of(width: int, height: int) -> bytes:
    """A PNG that says it is so large and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [14_000, 60_000, 200_000])
def test_a_bomb_is_refused_before_it_is_opened(side: int, store: Inputs) -> None:
    with pytest.raises(UserError, match="pixels") as caught:
        store.put(png_of(side, side))
    assert str(caught.value).endswith("150 million are allowed.")


@pytest.mark.parametrize(
    "broken",
    [
        lambda: b"",
        lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        lambda: saved(Image.effect_noise((200, 200), 90))[:9000],
        lambda: png_of(50, 50),
        lambda: b"GIF89a" + bytes(20),
        lambda: saved(Image.new("RGB", (64, 64)), "AVIF").replace(b"av01", b"av99"),
        lambda: saved(Image.effect_noise((64, 64), 90), "AVIF").replace(b"iloc", b"icol"),
    ],
)
def test_what_is_no_whole_picture_is_a_sentence(broken: Callable[[], bytes], store: Inputs) -> None:
    with pytest.raises(UserError, match="cannot be read as a picture"):
        store.put(broken())


@pytest.mark.parametrize("name", ["", "a" * 64, "../settings.json", "A" * 64, "0" * 63])
def test_what_was_never_put_in_is_a_sentence(name: str, store: Inputs) -> None:
    for look in (store.path, store.picture, store.size, store.media_type):
        with pytest.raises(UserError, match="put it in again"):
            look(name)


OLD = 1_000_000_000.0  # seconds of the epoch: 2001


def aged(store: Inputs, *names: str) -> None:
    for name in names:
        os.utime(store.folder / name, (OLD, OLD))


def test_what_nobody_used_goes_and_what_is_used_or_needed_stays(store: Inputs) -> None:
    names = [store.put(saved(Image.new("RGB", (4, 4), (k, 0, 0)))).name for k in range(6)]
    (store.folder / "notes.txt").write_text("somebody's own")
    aged(store, *names, "notes.txt")
    for use, name in zip((store.path, store.size, store.picture, store.media_type), names, strict=False):
        use(name)
    assert store.drop_unused(OLD + 1, {names[4]}) == 1
    assert sorted(path.name for path in store.folder.iterdir()) == sorted([*names[:5], "notes.txt"])
    with pytest.raises(UserError, match="put it in again"):
        store.size(names[5])
    aged(store, names[0])
    store.put(saved(Image.new("RGB", (4, 4), (0, 0, 0))))
    assert store.drop_unused(OLD + 1, names[4:]) == 0, "put in again is used"


def test_pictures_of_jobs_in_the_list_stay_and_the_rest_as_long_as_the_settings_say(options: Options) -> None:
    app = App(options, worker=ScriptedWorker)
    queued, to_enlarge, other, young = (
        app.inputs.put(saved(Image.new("RGB", (8, 8), (k, 0, 0)))).name for k in range(4)
    )
    app.queue.submit(GenerationRequest(init=InitImage(picture=queued)), "me")
    app.queue.submit(UpscaleRequest(inputs=(to_enlarge,)), "you")
    aged(app.inputs, queued, to_enlarge, other)
    app.settings.update({"keep_inputs_days": 0})
    assert app.retention.sweep() == 0
    app.settings.update({"keep_inputs_days": 30})
    app.retention.start()  # looks once, whatever comes
    app.close()
    assert {path.name for path in app.inputs.folder.iterdir()} == {queued, to_enlarge, young}


@pytest.fixture
def client(options: Options) -> Iterator[TestClient]:
    app = App(options, worker=ScriptedWorker)
    server = FastAPI()
    server.include_router(inputs.router(app))
    with TestClient(Guard(server), base_url="http://localhost") as client:
        yield client
    app.close()


def test_a_picture_goes_in_and_comes_out(client: TestClient) -> None:
    data = saved(halves(), "JPEG")
    answer = client.post("/atelier/inputs", content=data)
    assert (answer.status_code, answer.headers["content-type"]) == (200, JSON)
    stored = answer.json()
    assert stored == {"name": hashlib.sha256(data).hexdigest(), "width": 20, "height": 12}
    got = client.get(f"/atelier/inputs/{stored['name']}")
    assert (got.content, got.headers["content-type"]) == (data, "image/jpeg")
    assert "immutable" in got.headers["cache-control"]
    again = client.get(f"/atelier/inputs/{stored['name']}", headers={"If-None-Match": got.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_what_is_wrong_is_said(client: TestClient) -> None:
    answer = client.post("/atelier/inputs", content=b"no picture")
    assert answer.status_code == 400
    assert answer.json()["problem"].startswith("This file cannot be read as a picture")
    assert client.get(f"/atelier/inputs/{'b' * 64}").status_code == 404

    def endless() -> Iterator[bytes]:
        for _ in range(MOST_BYTES // (16 * 1024 * 1024) + 1):
            yield bytes(16 * 1024 * 1024)

    assert client.post("/atelier/inputs", content=endless()).status_code == 400


def test_what_is_declared_too_large_is_not_read(options: Options) -> None:
    app = App(options, worker=ScriptedWorker)
    server = FastAPI()
    server.include_router(inputs.router(app))
    told: list[Message] = []

    async def receive() -> Message:
        raise AssertionError("nothing should be read")

    async def send(message: Message) -> None:
        told.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/atelier/inputs",
        "query_string": b"",
        "headers": [(b"host", b"localhost"), (b"content-length", str(MOST_BYTES + 1).encode())],
    }
    run_apart(server(scope, receive, send))
    app.close()
    assert told[0]["status"] == 400
    assert f"{MOST_BYTES:,} bytes" in told[1]["body"].decode()


def test_two_uploads_are_decoded_at_once_and_the_others_wait(options: Options) -> None:
    app = App(options, worker=ScriptedWorker)
    three = threading.Barrier(AT_ONCE + 1, timeout=0.5)
    met: list[bool] = []

    class Slow(Inputs):
        def put(self, data: bytes) -> StoredInput:
            try:
                three.wait()
                met.append(True)
            except threading.BrokenBarrierError:
                met.append(False)
            return super().put(data)

    app.inputs = Slow(app.inputs.folder)
    server = FastAPI()
    server.include_router(inputs.router(app))
    data = saved(halves())
    with TestClient(server) as client, ThreadPoolExecutor(6) as people:
        answers = list(people.map(lambda _: client.post("/atelier/inputs", content=data).status_code, range(6)))
    app.close()
    assert (answers, met) == ([200] * 6, [False] * 6)


@pytest.mark.parametrize("header", [{"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}])
def test_no_other_website_puts_anything_in(header: dict[str, str], client: TestClient) -> None:
    assert client.post("/atelier/inputs", content=saved(halves()), headers=header).status_code == 403
