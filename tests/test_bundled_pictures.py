"""The bundled extensions that change pictures, by the real engine on a tiny checkpoint: each changes what it is meant
to, nothing else, and is gone when it is not asked for. What they mean is in `tests/test_meaning_extensions.py`."""

import io
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from backend.app import App, Options
from backend.errors import UserError
from backend.events import Event, Failed, Finished, ImageReady, Notice
from backend.init_image import InitImage, Inpainting
from backend.request import GenerationRequest
from backend.sampling_options import Guidance
from extensions import apg, content_check, face_detail, freeu, regional, tiled_diffusion, watermark
from extensions.face_detail import detect
from extensions.watermark import signature
from starter.scenes import Scene, draw, scenes

REQUEST = GenerationRequest(
    prompt="a red circle", negative_prompt="dull", sampler="Euler", steps=2, cfg_scale=5, width=128, height=64, seed=5
)
SEEDS = 32
Pixels = np.ndarray


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, written_checkpoint: Path) -> Iterator[App]:
    folder = tmp_path_factory.mktemp("bundled")
    app = App(Options(data_dir=folder, checkpoint_dirs=(written_checkpoint.parent,), device="cpu"))
    app.start()
    yield app
    app.close()


@contextmanager
def switched_on(app: App, name: str, **settings: object) -> Iterator[None]:
    """The extension is on, with these settings."""
    extension = app.extensions.switch(name, True)
    assert extension.state == "on", extension.problem
    try:
        if settings:
            assert extension.settings is not None
            extension.settings.change(**settings)
        yield
    finally:
        app.extensions.switch(name, False)


def events(app: App, request: GenerationRequest) -> list[Event]:
    return list(app.queue.submit(request, "me").follow())


def pictures(happened: list[Event]) -> list[Image.Image]:
    assert happened[-1] == Finished(), happened[-1]
    return [Image.open(event.path) for event in happened if isinstance(event, ImageReady)]


def made(app: App, request: GenerationRequest) -> Image.Image:
    (picture,) = pictures(events(app, request))
    picture.load()
    return picture


def asking(name: str, request: GenerationRequest = REQUEST, **values: object) -> GenerationRequest:
    return replace(request, extras={name: {"enabled": True, **values}})


def put(app: App, picture: Image.Image) -> str:
    data = io.BytesIO()
    picture.save(data, "PNG")
    return app.inputs.put(data.getvalue()).name


def shown(app: App, picture: Image.Image, **extras: Mapping[str, Any]) -> GenerationRequest:
    """A request whose picture is the given one, but for a corner."""
    corner = Image.new("L", picture.size, 0)
    corner.paste(255, (0, 0, 8, 8))
    painting = Inpainting(mask=put(app, corner), mask_blur=0, area="Only masked", padding=0)
    init = InitImage(picture=put(app, picture), inpainting=painting, denoising_strength=0.5)
    return replace(REQUEST, init=init, width=64, height=64, extras=extras)


CHANGES = {
    "freeu": asking("freeu"),
    "regional": asking("regional", regions="a blue square\na green star"),
    "tiled_diffusion": asking("tiled_diffusion", window=64),
    "face_detail": asking("face_detail", confidence=0, smallest=0, largest=1, strength=1, grow=32),
    "apg": replace(REQUEST, guidance=Guidance(method="Adaptive projected")),
}


@pytest.mark.parametrize("name", CHANGES)
def test_the_picture_is_another_and_the_next_plain_one_the_same_to_the_bit(app: App, name: str) -> None:
    plain = made(app, REQUEST)
    with switched_on(app, name):
        changed = made(app, CHANGES[name])
        assert changed.size == plain.size
        assert changed.tobytes() != plain.tobytes()
        assert made(app, REQUEST).tobytes() == plain.tobytes()
        assert made(app, CHANGES[name]).tobytes() == changed.tobytes()
    with pytest.raises(UserError):
        app.queue.submit(CHANGES[name], "me")
    assert made(app, REQUEST).tobytes() == plain.tobytes()


@pytest.mark.parametrize(
    "request_",
    [
        asking("freeu", b1=1, b2=1, s1=1, s2=1),
        asking("tiled_diffusion", window=128),
    ],
    ids=["freeu", "tiled_diffusion"],
)
def test_values_that_ask_for_nothing_change_nothing(app: App, request_: GenerationRequest) -> None:
    (name,) = request_.extras
    plain = made(app, REQUEST)
    with switched_on(app, name):
        assert made(app, request_).tobytes() == plain.tobytes()


# --- FreeU ------------------------------------------------------------------------------------------------------------


def test_freeu_weighs_the_first_half_of_the_channels_by_their_mean() -> None:
    hidden = torch.randn(2, 8, 5, 7, generator=torch.Generator().manual_seed(0))
    result = freeu.strengthened(hidden, 1.5)
    mean = hidden.mean(1)
    for row in range(2):
        low, high = mean[row].min(), mean[row].max()
        factor = 0.5 * (mean[row] - low) / (high - low) + 1
        assert torch.allclose(result[row, :4], hidden[row, :4] * factor)
    assert torch.equal(result[:, 4:], hidden[:, 4:])


def test_freeu_weighs_low_frequencies_only() -> None:
    low = torch.full((1, 2, 16, 16), 3.0)
    high = torch.tensor([1.0, -1.0]).repeat(1, 2, 16, 8)
    assert torch.allclose(freeu.filtered(low + high, 0.25), 0.25 * low + high, atol=1e-5)


# --- Regional prompts -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", ["Columns", "Rows"])
def test_regions_share_every_pixel_out(split: str) -> None:
    edges = regional.bounds("1, 2, 1", 3)
    assert edges == [(0, 0.25), (0.25, 0.75), (0.75, 1)]
    for shape in ((8, 12), (3, 5), (1, 1)):
        found = regional.masks(edges, shape, split, torch.zeros(1))
        assert torch.allclose(sum(found, torch.zeros(1)), torch.ones(1, shape[0] * shape[1], 1))
        across = found[1].view(shape).mean(0 if split == "Columns" else 1)
        assert float(across.mean()) == pytest.approx(0.5)


def test_a_region_with_the_prompt_s_own_words_is_the_prompt(app: App) -> None:
    """But for rounding: the answers are mixed of equal ones."""
    plain = np.asarray(made(app, REQUEST), int)
    same = asking("regional", regions=f"{REQUEST.prompt}\n{REQUEST.prompt}", base=0.4)
    with switched_on(app, "regional"):
        assert np.abs(np.asarray(made(app, same), int) - plain).max() <= 1
        alone = asking("regional", regions="a blue star\na green boat", base=1)
        assert np.abs(np.asarray(made(app, alone), int) - plain).max() <= 1


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({}, "Regions is empty"),
        ({"regions": "a\nb", "ratios": "1"}, "2 with"),
        ({"regions": "a", "ratios": "x"}, "'x'"),
    ],
)
def test_regions_that_cannot_be_are_refused_before_anything_is_queued(
    app: App, values: dict[str, Any], sentence: str
) -> None:
    with switched_on(app, "regional"), pytest.raises(UserError, match=sentence):
        app.submit(asking("regional", **values), "me")


# --- Tiled diffusion --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("overlap", [0.0, 0.3, 0.75])
def test_windows_cover_everything_and_share_as_much_as_asked(overlap: float) -> None:
    for length in range(8, 100):
        begin = tiled_diffusion.starts(length, 8, overlap)
        assert begin[0] == 0 and begin[-1] == length - 8
        assert all(later - first <= round(8 * (1 - overlap)) for first, later in pairwise(begin))


class Recorder:
    """What `tiled_diffusion` asks of its turn, kept."""

    def __init__(self, size: tuple[int, int], window: int):
        self.size = size
        self.asked = tiled_diffusion.TiledDiffusion(enabled=True, window=window)

    def params(self, _kind: object) -> tiled_diffusion.TiledDiffusion:
        return self.asked

    def check(self) -> None:
        pass

    def wrap_network(self, around: Any) -> None:
        self.around = around


def test_a_network_that_looks_at_pixels_alone_gives_the_same_in_windows() -> None:
    turn = Recorder((216, 136), 64)
    tiled_diffusion.on_sampling_start(turn)  # pyright: ignore[reportArgumentType]
    x = torch.randn(2, 9, 17, 27, generator=torch.Generator().manual_seed(0))
    seen = []

    def network(x: torch.Tensor, t: torch.Tensor, *, factor: float) -> torch.Tensor:
        seen.append(x.shape[-2:])
        return x[:, :4] * factor + t

    assert torch.allclose(turn.around(network, x, torch.tensor(3.0), factor=2.0), x[:, :4] * 2 + 3, atol=1e-5)
    assert set(seen) == {(8, 8)} and len(seen) > 6


# --- Adaptive projected guidance --------------------------------------------------------------------------------------


def test_apg_without_a_limit_and_with_all_that_is_parallel_is_classifier_free_guidance(app: App) -> None:
    cond, uncond = torch.randn(2, 3, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    free = apg.Apg(parallel=1.0, length=0.0)
    assert torch.allclose(apg.projected(cond, uncond, 7, free), uncond + 7 * (cond - uncond), atol=1e-4)
    plain = np.asarray(made(app, REQUEST), int)
    with switched_on(app, "apg", parallel=1.0, length=0.0):
        assert np.abs(np.asarray(made(app, CHANGES["apg"]), int) - plain).max() <= 1


def test_apg_leads_upright_on_the_guess_and_no_farther_than_its_length() -> None:
    cond, uncond = torch.randn(2, 3, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    for length in (0.0, 1.0, 100.0):
        way = apg.projected(cond, uncond, 3, apg.Apg(parallel=0.0, length=length)) - cond
        assert ((way * cond).flatten(1).sum(1) / cond.flatten(1).norm(dim=1)).abs().max() < 1e-3
        most = 2 * length * (cond[0].numel() / apg.MEASURED_ON) ** 0.5
        assert not length or way.flatten(1).norm(dim=1).max() <= most * 1.001


# --- Face and detail --------------------------------------------------------------------------------------------------


def drawn(count: int = SEEDS) -> list[tuple[Scene, Image.Image]]:
    rng = np.random.default_rng(0)
    told = scenes(rng)
    return [(scene, draw(scene, rng)) for scene in (next(told) for _ in range(count))]


def blot(number: int) -> tuple[Image.Image, Pixels]:
    """An ellipse somewhere on a shaded, grainy ground of another colour; and where it is."""
    random = np.random.default_rng(number)
    y, x = np.mgrid[:160, :240]
    (left, top), (wide, high) = random.uniform(0.35, 0.65, 2) * (240, 160), random.uniform(15, 45, 2)
    inside = ((x - left) / wide) ** 2 + ((y - top) / high) ** 2 <= 1
    ground = random.uniform(60, 200, 3)
    colour = (ground + 128) % 256
    pixels = np.where(inside[..., None], colour, ground) + (x / 240 * 20)[..., None]
    return Image.fromarray(np.clip(pixels + random.normal(0, 6, pixels.shape), 0, 255).astype(np.uint8)), inside


def test_what_stands_out_is_found_where_it_is() -> None:
    """The share of pictures whose largest region covers the ellipse, by intersection over union; beside it that of the
    ellipse of the next picture."""
    masks, blots = [], []
    for number in range(SEEDS):
        picture, inside = blot(number)
        found = detect.regions(picture, detect.DISTINCT)
        masks.append(found[0].mask > 0 if found else np.zeros(inside.shape, bool))
        blots.append(inside)
    own = [covered(mask, inside) >= 0.8 for mask, inside in zip(masks, blots, strict=True)]
    others = [covered(mask, inside) >= 0.8 for mask, inside in zip(masks, blots[1:] + blots[:1], strict=True)]
    assert np.mean(own) >= 0.9, np.mean(own)
    assert np.mean(others) <= 0.1, np.mean(others)


def covered(one: Pixels, other: Pixels) -> float:
    return float((one & other).sum() / max(1, (one | other).sum()))


def test_ovals_of_skin_are_found_and_neither_squares_nor_other_colours() -> None:
    y, x = np.mgrid[:200, :300]
    oval = ((x - 90) / 30) ** 2 + ((y - 100) / 42) ** 2 <= 1
    for colour, place, count in (((224, 172, 140), oval, 1), ((60, 90, 200), oval, 0), ((224, 172, 140), x > 200, 0)):
        pixels = np.full((200, 300, 3), (40, 60, 50), np.uint8)
        pixels[place] = colour
        found = detect.regions(Image.fromarray(pixels), detect.SKIN)
        assert len(found) == count
        assert all(covered(region.mask > 0, place) > 0.9 for region in found)


def test_the_missing_file_of_a_detector_is_named(app: App) -> None:
    with switched_on(app, "face_detail"):
        (*_, end) = events(app, asking("face_detail", detector=detect.FACES))
    assert isinstance(end, Failed)
    assert "face_detection_yunet.onnx" in end.message


def test_only_what_was_found_is_repainted_and_nothing_is_said_otherwise(app: App) -> None:
    scene = Scene(subject="circle", colour="red", background="white", size="small")
    picture = draw(scene, np.random.default_rng(0))
    values = {"enabled": True, "strength": 1.0, "grow": 2, "blur": 2, "most": 1}
    plain = np.asarray(made(app, shown(app, picture)))
    with switched_on(app, "face_detail"):
        image = made(app, shown(app, picture, face_detail=values))
        happened = events(app, shown(app, picture, face_detail={**values, "smallest": 0.5, "largest": 0.6}))
    region, *_ = detect.regions(Image.fromarray(plain), detect.DISTINCT)
    changed = (np.asarray(image) != plain).any(-1)
    reach = face_detail.grown(region.mask, 2 + 2 * 4) > 0  # a blur of 2 is seen for some multiple of it
    assert not (changed & ~reach).any()
    assert changed[region.mask > 0].mean() > 0.5
    assert "Face and detail regions: 1" in image.info["parameters"]
    (left,) = pictures(happened)
    assert np.array_equal(np.asarray(left), plain)
    assert any(isinstance(event, Notice) and "nothing was found" in event.message for event in happened)


# --- Watermark --------------------------------------------------------------------------------------------------------


def textured(number: int, side: int) -> Pixels:
    """A picture whose spectrum falls as that of photographs does, about as 1 / frequency."""
    random = np.random.default_rng(number)
    radius = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side)))
    radius[0, 0] = 1
    waves = [np.fft.ifft2(np.fft.fft2(random.standard_normal((side, side))) / radius).real for _ in range(3)]
    grey = waves[0][..., None] + 0.3 * np.stack(waves, -1)
    return np.clip(128 + 50 * grey / grey.std(), 0, 255).astype(np.uint8)


def as_jpeg(pixels: Pixels, quality: int = 80) -> Pixels:
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "JPEG", quality=quality)
    return np.asarray(Image.open(data).convert("RGB"))


def resized(pixels: Pixels, factor: float = 0.75) -> Pixels:
    height, width = (round(side * factor) for side in pixels.shape[:2])
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS))


@pytest.mark.parametrize("kind", ["drawn", "textured"])
def test_a_watermark_survives_jpeg_and_a_resize_and_is_not_seen(kind: str) -> None:
    """Shares of pictures of 384 x 384 from which the very text is read, beside those without a watermark from which any
    is; and the mean error of the marked ones."""
    side, strength = 384, watermark.Watermark().strength
    if kind == "drawn":
        plain = [np.asarray(picture.resize((side, side), Image.Resampling.BICUBIC)) for _, picture in drawn()]
    else:
        plain = [textured(number, side) for number in range(SEEDS)]
    texts = [f"no. {number} äß".encode() for number in range(SEEDS)]
    marked = [signature.signed(pixels, text, strength) for pixels, text in zip(plain, texts, strict=True)]
    ways = [lambda p: p, as_jpeg, resized, lambda p: as_jpeg(resized(p)), lambda p: resized(as_jpeg(p), 1.5)]
    for way in ways:
        read = [signature.read(way(pixels)) for pixels in marked]
        assert np.mean([one == text for one, text in zip(read, texts, strict=True)]) >= 0.97
        assert not any(signature.read(way(pixels)) for pixels in plain)
    errors = [np.mean((one.astype(float) - other) ** 2) for one, other in zip(marked, plain, strict=True)]
    assert 10 * np.log10(255**2 / np.mean(errors)) >= 35, "PSNR in dB"


def test_a_watermark_is_in_the_file_and_its_action_reads_it(app: App) -> None:
    request = shown(app, Image.fromarray(textured(0, 256)))
    plain = made(app, request)
    with switched_on(app, "watermark", text="me, 2026"):
        (ready,) = [event for event in events(app, request) if isinstance(event, ImageReady)]
        (action,) = app.extensions.find("watermark").brought.gallery_actions
        assert action.act(Path(ready.path)) == "The watermark says: me, 2026"
        assert "no watermark" in action.act(Path(str(plain.filename)))  # pyright: ignore[reportAttributeAccessIssue]
    assert made(app, request).tobytes() == plain.tobytes()


def test_a_text_that_is_too_long_is_refused(app: App) -> None:
    with pytest.raises(ValidationError):
        watermark.Watermark(text="ä" * 9)
    with pytest.raises(UserError, match="16 bytes"), switched_on(app, "watermark", text="x" * 17):
        pass


def test_a_picture_without_room_is_left_as_it_is_and_said_so(app: App) -> None:
    request = shown(app, Image.new("RGB", (32, 32)))
    plain = made(app, request)
    with switched_on(app, "watermark", text="atelier"):
        happened = events(app, request)
    assert any(isinstance(event, Notice) and "no hold" in event.message for event in happened)
    assert pictures(happened)[0].tobytes() == plain.tobytes()


def test_a_transparent_picture_keeps_its_transparency() -> None:
    image = Image.fromarray(textured(1, 256))
    image.putalpha(Image.linear_gradient("L"))
    marked = watermark.hidden(image, "atelier", 1.5)
    assert marked.getchannel("A").tobytes() == image.getchannel("A").tobytes()
    assert watermark.text_of(marked) == "atelier"


# --- Content check ----------------------------------------------------------------------------------------------------


def test_the_rule_for_skin_is_the_published_one() -> None:
    tones = [(255, 224, 196), (224, 172, 140), (198, 134, 96), (141, 85, 54), (100, 60, 40)]
    others = [(60, 90, 200), (42, 158, 66), (128, 128, 128), (255, 255, 255), (0, 0, 0), (250, 240, 240)]
    assert content_check.skin(np.array([tones], np.uint8)).all()
    assert not content_check.skin(np.array([others], np.uint8)).any()


SKIN = Image.new("RGB", (128, 128), (224, 172, 140))
BLUE = Image.fromarray(
    np.asarray(Image.effect_noise((128, 128), 60).convert("RGB")) // 2 + np.array([0, 0, 99], np.uint8)
)


def test_the_check_acts_as_it_is_set_and_leaves_other_pictures(app: App) -> None:
    skin, blue = shown(app, SKIN), shown(app, BLUE)
    plain, left = made(app, skin), made(app, blue)
    with switched_on(app, "content_check", action="Remark"):
        happened = events(app, skin)
        assert any(isinstance(event, Notice) and "would act" in event.message for event in happened)
        assert pictures(happened)[0].tobytes() == plain.tobytes()
        assert "Content check: " in pictures(happened)[0].info["parameters"]
    with switched_on(app, "content_check", action="Blur"):
        assert made(app, skin).tobytes() == content_check.blurred(plain).tobytes()
        assert made(app, blue).tobytes() == left.tobytes()
    with switched_on(app, "content_check", action="Refuse"):
        happened = events(app, skin)
        assert isinstance(happened[-1], Failed)
        assert "not saved" in happened[-1].message
        assert not [event for event in happened if isinstance(event, ImageReady)]
        assert made(app, blue).tobytes() == left.tobytes()


def _varint(number: int) -> bytes:
    return bytes([number]) if number < 128 else bytes([number % 128 + 128]) + _varint(number // 128)


def _field(number: int, value: int | str | bytes) -> bytes:
    """A field of a message in protobuf's encoding."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    data = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def averaging_onnx() -> bytes:
    """A network in ONNX that answers with the mean of each channel of its picture: the last is blue's."""

    def tensor(name: str, *sides: int) -> bytes:
        shape = b"".join(_field(1, _field(1, side)) for side in sides)
        return _field(1, name) + _field(2, _field(1, _field(1, 1) + _field(2, shape)))

    node = _field(1, "picture") + _field(2, "answer") + _field(4, "GlobalAveragePool")
    inputs = _field(11, tensor("picture", 1, 3, 224, 224))
    graph = _field(1, node) + _field(2, "graph") + inputs + _field(12, tensor("answer", 1, 3, 1, 1))
    return _field(1, 8) + _field(7, graph) + _field(8, _field(1, "") + _field(2, 13))


def test_a_classifier_in_onnx_is_asked_instead(tmp_path: Path) -> None:
    path = tmp_path / "classifier.onnx"
    path.write_bytes(averaging_onnx())
    for blue in (0, 51, 255):
        image = Image.new("RGB", (300, 200), (250, 90, blue))
        assert content_check.judged(image, path)[0] == pytest.approx(blue / 255, abs=0.01)
    path.write_bytes(struct.pack("<d", 1.0))
    with pytest.raises(UserError, match=r"classifier\.onnx cannot be used"):
        content_check.judged(SKIN, path)
