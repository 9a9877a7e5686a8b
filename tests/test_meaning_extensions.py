"""What the bundled extensions do to pictures of the shipped starter: shares over the fixed seeds of `tests.meaning`,
beside a control run."""

import functools
from collections.abc import Callable, Iterator
from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image

from backend.app import App
from backend.request import GenerationRequest
from backend.sampling_options import Guidance
from extensions.face_detail import detect
from extensions.watermark import signature
from starter.judge import Verdict, lab
from starter.scenes import COLOURS
from tests.meaning import BATCH, FIRST_SEED, SEEDS, made, run, share, side_of, starter_studio
from tests.test_bundled_pictures import as_jpeg, resized, switched_on

pytestmark = pytest.mark.slow

REQUEST = GenerationRequest(prompt="a red circle on a blue background", sampler="DPM++ 2M", steps=8, cfg_scale=5)


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    with starter_studio(tmp_path_factory.mktemp("data")) as app:
        yield app


@pytest.fixture(scope="module")
def make(studio: App) -> Callable[[GenerationRequest], list[Image.Image]]:
    side = side_of(studio)
    plain = functools.cache(lambda request: made(studio, side, request))
    return lambda request: made(studio, side, request) if request.extras else plain(request)


Make = Callable[[GenerationRequest], list[Image.Image]]


def asking(name: str, request: GenerationRequest = REQUEST, **values: object) -> GenerationRequest:
    return replace(request, extras={name: {"enabled": True, **values}})


def told_apart(pictures: list[Image.Image]) -> float:
    """The share of pictures whose subject is more red than yellow on its left and the other way round on its right, by
    20 Lab units each: a difference that nobody overlooks."""

    def is_so(picture: Image.Image) -> bool:
        pixels = np.asarray(picture)
        row, column, reach = pixels.shape[0] // 2, pixels.shape[1] // 2, pixels.shape[1] // 6
        halves = (pixels[row - 12 : row + 12, column - reach : column - 4], pixels[row - 12 : row + 12, column + 4 :])
        left, right = (lab(np.median(half[:, : reach - 4].reshape(-1, 3), axis=0)[None]) for half in halves)
        red, yellow = (lab(np.array([COLOURS[name]], np.float32)) for name in ("red", "yellow"))
        nearer = [np.linalg.norm(right - red) - np.linalg.norm(left - red)]
        nearer += [np.linalg.norm(left - yellow) - np.linalg.norm(right - yellow)]
        return bool(min(nearer) >= 20)

    return float(np.mean([is_so(picture) for picture in pictures]))


def test_each_region_is_what_its_words_say(studio: App, make: Make) -> None:
    """The share of pictures whose circle is red on its left and yellow on its right, as two regions say; beside it that
    of the regions the other way round, and of one prompt with both words."""
    words = ("a red circle on a blue background", "a yellow circle on a blue background")
    base = replace(REQUEST, prompt="a circle on a blue background")
    with switched_on(studio, "regional"):
        there = told_apart(make(asking("regional", base, regions="\n".join(words))))
        turned = told_apart(make(asking("regional", base, regions="\n".join(words[::-1]))))
    alone = told_apart(make(replace(base, prompt="a red and yellow circle on a blue background")))
    assert there >= 0.8, there
    assert max(turned, alone) <= 0.1, (turned, alone)


def test_the_repainted_subject_is_what_its_words_say_and_the_rest_stays(studio: App, make: Make) -> None:
    """The share of pictures of a red circle whose subject is yellow after it was found and repainted by words of its
    own, with the words of the whole for a control; and what lies outside the region, bit by bit."""
    values = {"strength": 0.9, "confidence": 0.1, "grow": 2, "blur": 2, "largest": 0.7, "padding": 24, "most": 1}
    plain = make(REQUEST)
    with switched_on(studio, "face_detail"):
        repainted = make(asking("face_detail", prompt="a yellow circle on a blue background", **values))
        again = make(asking("face_detail", **values))
    assert share(repainted, yellow) >= 0.8, share(repainted, yellow)
    assert max(share(again, yellow), share(plain, yellow)) <= 0.1
    for before, after in zip(plain, repainted, strict=True):
        found = detect.regions(before, detect.DISTINCT)
        reach = np.zeros(before.size[::-1], np.uint8)
        for region in found[:1]:
            reach = cv2.dilate(region.mask, np.ones((25, 25), np.uint8))
        assert np.array_equal(np.asarray(before)[reach == 0], np.asarray(after)[reach == 0])


def yellow(verdict: Verdict) -> bool:
    return verdict.colour == "yellow"


def right(verdict: Verdict) -> bool:
    """Whether it shows what `REQUEST` asks for."""
    return (verdict.subject, verdict.colour, verdict.background) == ("circle", "red", "blue")


def excess(pictures: list[Image.Image]) -> float:
    """The mean share of channel values at the very ends: what is lost where colours are too loud."""
    return float(np.mean([((np.asarray(p) <= 2) | (np.asarray(p) >= 253)).mean() for p in pictures]))


def test_apg_keeps_colours_at_a_high_cfg_scale(studio: App, make: Make) -> None:
    """How much is clipped at CFG 20, beside classifier-free guidance; and that the words are followed no less."""
    high = replace(REQUEST, cfg_scale=20)
    loud = make(high)
    with switched_on(studio, "apg"):
        kept = make(replace(high, guidance=Guidance(method="Adaptive projected")))
    assert excess(kept) <= 0.5 * excess(loud), (excess(kept), excess(loud))
    assert share(kept, right) >= share(loud, right) - 0.1, (share(kept, right), share(loud, right))


def test_each_window_shows_what_the_words_say(studio: App) -> None:
    """At three times the width that the starter knows: the share of the three parts, each as large as a window, that
    show what was asked; beside that of the same parts where the network sees the whole, and draws one long thing."""
    side = side_of(studio)
    request = replace(REQUEST, checkpoint="starter", width=3 * side, height=side, seed=FIRST_SEED, cfg_scale=4)
    request = replace(request, batch_size=BATCH, batch_count=SEEDS // BATCH)

    def parts(pictures: list[Image.Image]) -> list[Image.Image]:
        assert len(pictures) == SEEDS
        return [p.crop((left, 0, left + side, side)) for p in pictures for left in range(0, 3 * side, side)]

    whole = share(parts(run(studio, request)), right)
    with switched_on(studio, "tiled_diffusion"):
        windows = share(parts(run(studio, asking("tiled_diffusion", request, window=side, overlap=0.0))), right)
    assert windows >= 0.8, windows
    assert whole <= 0.2, whole


def test_freeu_changes_how_and_not_what(studio: App, make: Make) -> None:
    """The share of pictures that show what was asked, with FreeU's values for SD 1.x and without it."""
    with switched_on(studio, "freeu"):
        weighed = make(asking("freeu", b1=1.5, b2=1.6, s1=0.9, s2=0.2))
    plain = make(REQUEST)
    assert share(weighed, right) >= share(plain, right) - 0.1, (share(weighed, right), share(plain, right))


def test_a_watermark_in_made_pictures_is_read_again(studio: App) -> None:
    """The share of made pictures of 192 x 192 from which it is read, as they are, from JPEG at quality 80, at three
    quarters and as both; beside pictures made without it."""
    request = replace(REQUEST, checkpoint="starter", width=192, height=192, seed=FIRST_SEED, steps=6)
    request = replace(request, batch_size=BATCH, batch_count=SEEDS // BATCH)
    plain = [np.asarray(picture) for picture in run(studio, request)]
    with switched_on(studio, "watermark", text="atelier"):
        marked = [np.asarray(picture) for picture in run(studio, request)]
    for way in (lambda p: p, as_jpeg, resized, lambda p: as_jpeg(resized(p))):
        assert np.mean([signature.read(way(pixels)) == b"atelier" for pixels in marked]) >= 0.9
        assert not any(signature.read(way(pixels)) for pixels in plain)
