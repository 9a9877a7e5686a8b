"""What words do to pictures, on the shipped starter: shares over fixed consecutive seeds, each beside its control run.

The pictures are judged by `starter.judge`, which is scored itself in `tests/test_judge.py`. Every bound lies between
the two shares that were measured when the weights were made; they stand beside it.
"""

import functools
import io
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageDraw

from backend.app import App
from backend.init_image import Box, HiresFix, InitImage, Inpainting
from backend.paths import MODELS
from backend.request import GenerationRequest
from starter.judge import Verdict, judge, lab
from starter.scenes import Scene, draw
from tests.meaning import BATCH, FIRST_SEED, SEEDS, Make, made, run, share, side_of, starter_studio

STARTER = MODELS / "checkpoints" / "starter.safetensors"


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    with starter_studio(tmp_path_factory.mktemp("data")) as app:
        yield app


@pytest.fixture(scope="module")
def side(studio: App) -> int:
    return side_of(studio)


@pytest.fixture(scope="module")
def make(studio: App, side: int) -> Make:
    """The pictures of a request, one for each of the fixed seeds; each request is made once."""
    return functools.cache(lambda request: made(studio, side, request))


def red_circle_on_blue(verdict: Verdict) -> bool:
    return (verdict.subject, verdict.colour, verdict.background) == ("circle", "red", "blue")


def test_the_prompt_decides(make: Make) -> None:
    asked = share(make(GenerationRequest(prompt="a red circle on a blue background")), red_circle_on_blue)
    control = share(make(GenerationRequest(prompt="a yellow star on a green background")), red_circle_on_blue)
    assert control <= 0.5 <= asked, (asked, control)  # measured: 1.00 against 0.00


@pytest.mark.slow
def test_every_word_of_a_prompt_decides_its_part(make: Make) -> None:
    """Subject, colour and background change one by one, each against the same seeds."""
    base = make(GenerationRequest(prompt="a red circle on a blue background"))
    for prompt, says in {
        "a red star on a blue background": lambda verdict: verdict.subject == "star",
        "a white circle on a blue background": lambda verdict: verdict.colour == "white",
        "a red circle on a white background": lambda verdict: verdict.background == "white",
    }.items():
        asked, control = share(make(GenerationRequest(prompt=prompt)), says), share(base, says)
        assert control <= 0.5 <= asked, (prompt, asked, control)


@pytest.mark.slow
def test_the_negative_prompt_takes_away(make: Make) -> None:
    request = GenerationRequest(prompt="a circle")

    def blue_behind(verdict: Verdict) -> bool:
        return verdict.background == "blue"

    control = share(make(request), blue_behind)
    asked = share(make(replace(request, negative_prompt="a blue background")), blue_behind)
    assert asked <= 0.2 <= control, (asked, control)  # measured: 0.00 against 0.41


@pytest.mark.slow
def test_guidance_strengthens(make: Make) -> None:
    """On a house, the subject with most parts: the simple ones the starter draws without guidance too."""
    request = GenerationRequest(prompt="a red house on a white background")

    def red_house_on_white(verdict: Verdict) -> bool:
        return (verdict.subject, verdict.colour, verdict.background) == ("house", "red", "white")

    strong, weak = (share(make(replace(request, cfg_scale=scale)), red_house_on_white) for scale in (7.0, 1.0))
    assert weak <= 0.86 <= strong, (strong, weak)  # measured: 1.00 against 0.72


STEPS = 12  # of what begins with a picture


def put(app: App, picture: Image.Image) -> str:
    data = io.BytesIO()
    picture.save(data, "PNG")
    return app.inputs.put(data.getvalue()).name


def scene(subject: str, colour: str, background: str, side: int, position: str = "") -> Image.Image:
    shown = Scene(subject=subject, colour=colour, background=background, position=position, size="", style="")
    return draw(shown, np.random.default_rng(0), side)


def blue_star(verdict: Verdict) -> bool:
    return (verdict.subject, verdict.colour) == ("star", "blue")


@pytest.mark.slow
def test_a_masked_subject_becomes_what_the_words_say_and_nothing_else_changes(
    make: Make, studio: App, side: int
) -> None:
    picture = scene("circle", "red", "white", side)
    mask = Image.new("L", (side, side), 0)
    edge = side // 20
    ImageDraw.Draw(mask).ellipse((edge, edge, side - edge, side - edge), fill=255)
    inpainting = Inpainting(mask=put(studio, mask), masked_content="fill")
    init = InitImage(picture=put(studio, picture), denoising_strength=1, inpainting=inpainting)
    request = GenerationRequest(prompt="a blue star on a white background", steps=STEPS, init=init)
    pictures = make(request)
    asked = share(pictures, blue_star)
    control = share(make(replace(request, prompt="a red circle on a white background")), blue_star)
    assert control <= 0.5 <= asked, (asked, control)  # measured: 1.00 against 0.00

    reach = Image.new("L", (side, side), 0)
    grown = edge - int(2.5 * inpainting.mask_blur + 0.5)
    ImageDraw.Draw(reach).ellipse((grown, grown, side - grown, side - grown), fill=255)
    outside = np.asarray(reach) == 0
    assert outside.sum() > side  # the corners
    for result in pictures:
        assert np.array_equal(np.asarray(result)[outside], np.asarray(picture)[outside])


def across(picture: Image.Image, line: int) -> float:
    """How far the colours left and right of a vertical line are from each other: Lab units, the mean over all rows."""
    colours = lab(np.asarray(picture.convert("RGB")))
    return float(
        np.linalg.norm(colours[:, line - 2 : line].mean(1) - colours[:, line : line + 2].mean(1), axis=1).mean()
    )


@pytest.mark.slow
def test_outpainting_goes_on_with_what_is_there(make: Make, studio: App, side: int) -> None:
    """A quarter of some pictures is cut off and made again. The distance across the seam is held against the one across
    the same line in the whole picture; beside it, without fill, blur and colour match, by which a seam is hidden."""
    words = GenerationRequest(prompt="a red circle on a blue background")
    whole, line = make(words)[::BATCH], side * 3 // 4
    box = Box(left=0, top=0, width=side, height=side)
    hidden = Inpainting(masked_content="Navier-Stokes")
    bare = Inpainting(masked_content="latent noise", mask_blur=0, colour_match=False)
    shares: list[float] = []
    for inpainting in (hidden, bare):
        good = 0
        for k, picture in enumerate(whole):
            old = picture.crop((0, 0, line, side))
            init = InitImage(picture=put(studio, old), denoising_strength=1, box=box, inpainting=inpainting)
            batch = replace(words, checkpoint="starter", width=side, height=side, batch_size=BATCH, steps=STEPS)
            for result in run(studio, replace(batch, seed=FIRST_SEED + k * BATCH, init=init)):
                assert result.size == (side, side)
                assert result.crop((0, 0, line, side)).tobytes() == old.tobytes()
                good += across(result, line) <= 1.5 * across(picture, line) and judge(result).background == "blue"
        shares.append(good / SEEDS)
    assert shares[1] <= 0.5 <= shares[0], shares  # measured: 1.00 against 0.00


@pytest.mark.slow
def test_a_low_strength_keeps_the_layout_and_a_high_one_follows_the_words(make: Make, studio: App, side: int) -> None:
    """Kept is what is nearer to the picture it began with than to what the words make of the same seed."""
    picture = scene("star", "green", "white", side, "left")
    init = InitImage(picture=put(studio, picture))
    words = GenerationRequest(prompt="a red circle on a blue background", cfg_scale=4, steps=STEPS)
    low, high = (make(replace(words, init=replace(init, denoising_strength=each))) for each in (0.3, 0.9))
    own = make(words)

    def kept(pictures: list[Image.Image]) -> float:
        begun = np.asarray(picture, float)
        nearer = [
            np.abs(np.asarray(a, float) - begun).mean() < np.abs(np.asarray(a, float) - np.asarray(b, float)).mean()
            for a, b in zip(pictures, own, strict=True)
        ]
        return float(np.mean(nearer))

    assert kept(high) <= 0.5 <= kept(low), (kept(low), kept(high))  # measured: 1.00 against 0.00
    follows = [share(pictures, red_circle_on_blue) for pictures in (high, low)]
    assert follows[1] <= 0.5 <= follows[0], follows  # measured: 1.00 against 0.00


@pytest.mark.slow
def test_hires_fix_keeps_the_composition(studio: App, side: int) -> None:
    """The share of seeds whose second pass is more like its own first pass than like any other seed's; the control are
    the same seeds made at the large size at once."""
    words = GenerationRequest(
        prompt="a circle",
        checkpoint="starter",
        width=side // 2,
        height=side // 2,
        seed=FIRST_SEED,
        steps=STEPS,
        batch_size=BATCH,
        batch_count=SEEDS // BATCH,
    )
    first = run(studio, words)
    twice = run(studio, replace(words, hires=HiresFix(scale=2, steps=8, denoising_strength=0.5)))
    at_once = run(studio, replace(words, width=side, height=side))
    assert {picture.size for picture in (*twice, *at_once)} == {(side, side)}

    def difference(large: Image.Image, small: Image.Image) -> float:
        shrunk = large.resize(small.size, Image.Resampling.BOX)
        return float(np.abs(np.asarray(shrunk, float) - np.asarray(small, float)).mean())

    def kept(pictures: list[Image.Image]) -> float:
        nearest = [min(range(SEEDS), key=lambda k: difference(picture, first[k])) for picture in pictures]
        return float(np.mean(np.array(nearest) == np.arange(SEEDS)))

    assert kept(at_once) <= 0.35 <= kept(twice), (kept(twice), kept(at_once))  # measured: 0.69 against 0.03


HALVES = {  # every subject the starter knows, in colours of its own
    "circle": ("green", "black"),
    "square": ("blue", "orange"),
    "triangle": ("yellow", "purple"),
    "star": ("orange", "blue"),
    "heart": ("purple", "yellow"),
    "moon": ("white", "blue"),
    "tree": ("green", "white"),
    "house": ("white", "red"),
    "flower": ("red", "green"),
    "boat": ("black", "yellow"),
    "fish": ("red", "white"),
    "cat": ("orange", "green"),
}


@pytest.mark.slow
def test_an_inpainting_checkpoint_goes_on_with_what_is_around_the_hole(studio: App, side: int) -> None:
    """A little more than the right half of a subject is made again at strength 1, from words that leave the colours
    open. It counts what then has the subject, colour and background of its visible part; the control is the ordinary
    starter, into whose guesses the visible part is only put back. 96 pictures each."""
    mask = Image.new("L", (side, side), 0)
    ImageDraw.Draw(mask).rectangle((side * 45 // 100, 0, side, side), fill=255)
    inpainting = Inpainting(mask=put(studio, mask), masked_content="fill")

    def right(checkpoint: str) -> float:
        good = 0
        for number, (subject, colours) in enumerate(HALVES.items()):
            request = GenerationRequest(
                prompt=f"a {subject}",
                checkpoint=checkpoint,
                width=side,
                height=side,
                cfg_scale=3,
                steps=STEPS,
                seed=FIRST_SEED + number * BATCH,
                batch_size=BATCH,
                init=InitImage(
                    picture=put(studio, scene(subject, *colours, side)), denoising_strength=1, inpainting=inpainting
                ),
            )
            verdicts = [judge(each) for each in run(studio, request)]
            good += sum((each.subject, each.colour, each.background) == (subject, *colours) for each in verdicts)
        return good / (len(HALVES) * BATCH)

    asked, control = right("starter-inpainting"), right("starter")
    assert control <= 0.72 <= asked, (asked, control)  # measured: 0.82 against 0.63
