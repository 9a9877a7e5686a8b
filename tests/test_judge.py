"""The judge is right about what the starter's world draws, forgives what a small model does to it, and nothing else."""

import itertools
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageOps

from starter.judge import SUBJECTS, Verdict, accepts, any_scenes, judge, main, measure
from starter.scenes import COLOURS, Scene, draw

Painter = Callable[[ImageDraw.ImageDraw], None]
SIDE = 256
SUBJECT, PAPER, OTHER = COLOURS["purple"], COLOURS["yellow"], COLOURS["green"]


def painted(paint: Painter) -> Image.Image:
    """Something purple on yellow that `scenes` never draws, at 64 pixels."""
    picture = Image.new("RGB", (SIDE, SIDE), PAPER)
    paint(ImageDraw.Draw(picture))
    return picture.resize((64, 64), Image.Resampling.BOX)


def polygon(corners: int, *, turn: float = 0.0, height: float = 1.0) -> Painter:
    """A regular polygon of radius 80, `turn` in corners' shares, flattened to `height`."""
    angles = 2 * np.pi * (np.arange(corners) + turn) / corners
    points = [(128 + 80 * float(np.cos(a)), 128 + 80 * height * float(np.sin(a))) for a in angles]
    return lambda pen: pen.polygon(points, fill=SUBJECT)


def disc(pen: ImageDraw.ImageDraw, x: float, radius: float, colour: tuple[int, int, int] = SUBJECT) -> None:
    pen.ellipse((x - radius, 128 - radius, x + radius, 128 + radius), fill=colour)


def mastless_boat(pen: ImageDraw.ImageDraw) -> None:
    pen.polygon([(48, 160), (208, 160), (178, 200), (78, 200)], fill=SUBJECT)
    pen.polygon([(130, 50), (194, 144), (130, 144)], fill=SUBJECT)
    pen.polygon([(122, 50), (122, 144), (78, 144)], fill=SUBJECT)


def two_discs(pen: ImageDraw.ImageDraw) -> None:
    disc(pen, 70, 50)
    disc(pen, 190, 36)


def ring(pen: ImageDraw.ImageDraw) -> None:
    disc(pen, 128, 80)
    disc(pen, 128, 56, (251, 214, 72))  # the same paper in another light


def wobbly(picture: Image.Image, rng: np.random.Generator, pixels: float) -> Image.Image:
    """`picture` with every point moved by about `pixels`, neighbours together."""
    side = picture.width
    y, x = np.mgrid[:side, :side].astype(np.float32)
    dx, dy = (cv2.resize(rng.normal(0, pixels, (7, 7)).astype(np.float32), (side, side)) for _ in range(2))
    moved = cv2.remap(np.asarray(picture), x + dx, y + dy, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return Image.fromarray(np.asarray(moved, np.uint8))


def random_blob(rng: np.random.Generator) -> Painter:
    angles = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    radius = np.full(64, 65.0)
    for waves in range(2, 7):
        radius += 16 / waves**0.5 * rng.normal() * np.cos(waves * angles + rng.uniform(0, 2 * np.pi))
    points = [(128 + r * np.cos(a), 128 + r * np.sin(a)) for r, a in zip(np.abs(radius), angles, strict=True)]
    return lambda pen: pen.polygon(points, fill=SUBJECT)


def test_the_figures_of_the_judge_reach_their_aims() -> None:
    figures = {figure.name: figure for figure in measure(90)}
    assert set(figures) == {
        "right_64", "right_128", "blurred_64", "noisy_64", "jpeg_64", "one_word_off", "another_caption", "time"
    }  # fmt: skip
    # How long it takes is this machine's business.
    assert [str(figure) for name, figure in figures.items() if not figure.ok and name != "time"] == []


def test_the_command_prints_one_line_a_figure(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--pictures", "2"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 8
    assert lines[0] == "right_64 100.0 % (aim >= 98) ok"


def test_the_measuring_scenes_are_of_every_kind() -> None:
    drawn = list(itertools.islice(any_scenes(np.random.default_rng(0)), 720))
    assert len({(s.subject, s.position, s.size, s.style) for s in drawn}) == 720
    assert len({(s.colour, s.background) for s in drawn}) == 56


def test_each_word_is_accepted_for_itself() -> None:
    picture = draw(Scene(subject="cat", colour="blue", background="orange"), np.random.default_rng(0))
    asked = Scene(subject="cat", colour="red", background="orange")
    agreement = accepts(picture, asked)
    assert (agreement.subject, agreement.colour, agreement.background) == (True, False, True)
    assert not agreement.whole


@pytest.mark.parametrize(("pixels", "share"), [(1.0, 0.93), (2.0, 0.65)])
def test_a_wobbly_silhouette_is_still_its_subject(pixels: float, share: float) -> None:
    rng = np.random.default_rng(0)
    scenes = [
        Scene(subject=subject, colour="red", background="white", size=size)
        for subject, size in itertools.product(SUBJECTS, ("small", "", "large"))
        for _ in range(3)
    ]
    right = [accepts(wobbly(draw(scene, rng, 64), rng, pixels), scene).whole for scene in scenes]
    assert np.mean(right) >= share


def test_a_colour_cast_does_not_change_the_words() -> None:
    rng = np.random.default_rng(0)
    scenes = list(itertools.islice(any_scenes(rng), 120))
    cast = np.array([1.06, 0.97, 0.93])
    pictures = [Image.fromarray((np.asarray(draw(s, rng, 64)) * cast).clip(0, 255).astype(np.uint8)) for s in scenes]
    assert np.mean([accepts(p, s).whole for p, s in zip(pictures, scenes, strict=True)]) >= 0.93


@pytest.mark.parametrize("subject", ["fish", "moon", "boat"])
def test_a_mirrored_subject_is_that_subject(subject: str) -> None:
    scene = Scene(subject=subject, colour="yellow", background="blue")
    assert accepts(ImageOps.mirror(draw(scene, np.random.default_rng(0))), scene).whole


def test_a_boat_that_lost_its_mast_is_a_boat() -> None:
    assert judge(painted(mastless_boat)).subject == "boat"


@pytest.mark.parametrize("background", COLOURS)
def test_bare_paper_shows_nothing(background: str) -> None:
    rng = np.random.default_rng(0)
    blotches = Image.fromarray(rng.integers(0, 60, (7, 7), dtype=np.uint8)).resize((128, 128), Image.Resampling.BICUBIC)
    flat = Image.new("RGB", (128, 128), COLOURS[background])
    mottled = Image.composite(Image.new("RGB", flat.size, "white"), flat, blotches)
    for picture in (flat, mottled):
        assert (judge(picture).subject, judge(picture).background) == ("", background)


@pytest.mark.parametrize(
    "paint",
    [
        pytest.param(two_discs, id="two discs"),
        pytest.param(ring, id="a ring"),
        pytest.param(lambda pen: pen.rectangle((0, 0, 110, SIDE), fill=SUBJECT), id="half of the picture"),
        pytest.param(lambda pen: pen.rectangle((40, 100, 216, 156), fill=SUBJECT), id="a bar"),
        pytest.param(lambda pen: pen.pieslice((48, 48, 208, 208), 0, 180, fill=SUBJECT), id="half a disc"),
        pytest.param(polygon(3, turn=0.75), id="a triangle on its tip"),
        pytest.param(polygon(4), id="a square on its tip"),
        pytest.param(polygon(60, height=0.6), id="an ellipse"),
        pytest.param(polygon(60, height=0.5), id="a fish without a tail"),
        pytest.param(lambda pen: pen.rectangle((14, 14, 242, 242), fill=SUBJECT), id="nearly all of the picture"),
        pytest.param(lambda pen: pen.rectangle((0, 0, 90, 90), fill=SUBJECT), id="a corner"),
        pytest.param(lambda pen: disc(pen, 128, 12), id="a speck"),
    ],
)
def test_what_is_none_of_the_subjects_has_no_name(paint: Painter) -> None:
    verdict = judge(painted(paint))
    assert (verdict.subject, verdict.background) == ("", "yellow")


def test_random_blobs_are_not_taken_for_subjects() -> None:
    rng = np.random.default_rng(0)
    named = [judge(painted(random_blob(rng))).subject != "" for _ in range(100)]
    assert np.mean(named) <= 0.1


def test_noise_shows_nothing_at_all() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    assert judge(Image.fromarray(noise)) == Verdict(subject="", colour="", background="")


@pytest.mark.filterwarnings("error")
def test_a_pattern_shows_nothing() -> None:
    squares = (np.indices((64, 64)) // 8).sum(0) % 2 == 0
    picture = Image.fromarray(np.where(squares[..., None], SUBJECT, PAPER).astype(np.uint8))
    assert judge(picture).subject == ""


def test_a_subject_in_two_colours_has_no_colour() -> None:
    def halves(pen: ImageDraw.ImageDraw) -> None:
        disc(pen, 128, 80)
        pen.pieslice((48, 48, 208, 208), 0, 180, fill=OTHER)

    verdict = judge(painted(halves))
    assert (verdict.subject, verdict.colour) == ("circle", "")


@pytest.mark.parametrize("rgb", [(128, 128, 128), (120, 72, 30), (250, 160, 190), (60, 200, 210)])
def test_a_colour_without_a_name_gets_none(rgb: tuple[int, int, int]) -> None:
    paper = Image.new("RGB", (64, 64), rgb)
    ImageDraw.Draw(paper).ellipse((16, 16, 48, 48), fill=COLOURS["red"])
    assert judge(paper).background == ""


def test_a_picture_that_is_not_square_is_refused() -> None:
    with pytest.raises(ValueError, match="64x32"):
        judge(Image.new("RGB", (64, 32)))
