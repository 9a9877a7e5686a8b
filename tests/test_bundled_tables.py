"""Bundled extensions that bring rows of tables, or lead a sampling, on the real engine: sampler_kit, simple_control."""

import io
import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from backend.app import App
from backend.errors import InvalidRequest
from backend.events import Failed
from backend.extension_api import Person
from backend.extensions.asking import asked_as
from backend.extensions.param_axes import axes_of
from backend.grids.axes import find_axis
from backend.request import GenerationRequest
from backend.sampling.samplers import SAMPLERS
from backend.sampling.schedules import SCHEDULES
from backend.sampling.solvers import sample_euler
from backend.upscaling.request import UpscaleRequest
from starter.scenes import Scene, draw
from tests import meaning
from tests.bundled import REQUEST, asking, made, on, picture, pixels
from tests.meaning import side_of, starter_studio

LEVELS = [14.6, 9.0, 5.0, 2.5, 1.2, 0.6, 0.3, 0.1, 0.03]


# --- sampler_kit: the registries ---


def test_the_kit_stands_in_the_tables_and_leaves_them(app: App) -> None:
    before = list(SAMPLERS), list(SCHEDULES), app.upscalers.names()
    on(app, "sampler_kit")
    assert SAMPLERS.find("gradient_estimation").name == "Gradient Estimation"
    assert SCHEDULES.find("laplace").name == "Laplace"
    assert "Bicubic, sharpened" in app.upscalers.names()
    app.extensions.switch("sampler_kit", False)
    assert (list(SAMPLERS), list(SCHEDULES), app.upscalers.names()) == before
    with pytest.raises(InvalidRequest, match="Gradient Estimation"):
        app.prepare(replace(REQUEST, sampler="Gradient Estimation"))


def test_the_kits_sampler_and_schedule_make_a_picture_again_and_again(app: App) -> None:
    on(app, "sampler_kit")
    request = replace(REQUEST, sampler="gradient_estimation", schedule="Laplace")
    (image,) = made(app, request)
    assert "Sampler: Gradient Estimation, Schedule type: Laplace" in image.infotext
    assert (picture(app, request) == pixels(image.path)).all()
    plain = replace(request, sampler="Euler")
    assert (picture(app, plain) != pixels(image.path)).any()


def test_gradient_estimation_is_nearer_to_the_solution_than_euler(app: App) -> None:
    """For data that are normal with a deviation of s the ODE has the solution x = x0 sqrt((s^2 + sigma^2) / (s^2 +
    sigma0^2)), and the clean picture is guessed as x s^2 / (s^2 + sigma^2)."""
    torch = pytest.importorskip("torch")
    (sampler,) = on(app, "sampler_kit").brought.samplers
    deviation = 0.6
    x = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1)) * LEVELS[0]
    told: list[int] = []

    def ended(sample: Callable[..., Any]) -> Any:
        told.clear()
        return sample(
            lambda x, sigma: x * (deviation**2 / (deviation**2 + sigma**2)),
            x,
            LEVELS,
            noise=lambda *_: torch.zeros_like(x),
            on_step=lambda number, _: told.append(number),
        )

    exact = x * math.sqrt((deviation**2 + LEVELS[-1] ** 2) / (deviation**2 + LEVELS[0] ** 2))
    by_euler, by_gradient = ((ended(sample) - exact).abs().mean() for sample in (sample_euler, sampler.sample))
    assert told == list(range(len(LEVELS) - 1))
    assert by_gradient < by_euler


def test_gradient_estimation_is_the_papers_second_step(app: App) -> None:
    """x2 = x1 + (s2 - s1) (2 e1 - e0), where e are the predicted noises; to zero it is the prediction."""
    torch = pytest.importorskip("torch")
    (sampler,) = on(app, "sampler_kit").brought.samplers
    noises = {4.0: 1.0, 2.0: 3.0, 1.0: 7.0}

    def ended(*levels: float) -> float:
        x = torch.full((1, 1, 1, 1), 10.0)
        predict = lambda x, sigma: x - sigma * noises[sigma]  # noqa: E731 - so that the noise is what the table says
        return float(sampler.sample(predict, x, levels, noise=lambda *_: x, on_step=lambda *_: None))

    first = 10 + (2 - 4) * 1.0
    second = first + (1 - 2) * (2 * 3.0 - 1.0)
    assert ended(4.0, 2.0) == first
    assert ended(4.0, 2.0, 1.0) == second
    assert ended(4.0, 2.0, 1.0, 0.0) == second - 1.0 * 7.0


@pytest.mark.parametrize("steps", [1, 2, 3, 20, 150])
def test_laplace_falls_from_end_to_end_and_is_densest_in_the_middle(app: App, steps: int) -> None:
    (schedule,) = on(app, "sampler_kit").brought.schedules
    levels = list(schedule.levels(steps, 0.03, 14.6))
    assert len(levels) == steps
    assert levels[0] == 14.6
    assert steps == 1 or levels[-1] == 0.03
    assert all(a > b for a, b in itertools.pairwise(levels))
    if steps >= 20:
        assert sum(0.5 < level < 2 for level in levels) > 0.6 * steps


def test_the_kits_upscaler_and_operations_work_in_extras(app: App) -> None:
    on(app, "sampler_kit")
    data = io.BytesIO()
    Image.radial_gradient("L").convert("RGB").resize((64, 48)).save(data, "PNG")
    name = app.inputs.put(data.getvalue()).name
    request = UpscaleRequest(inputs=(name,), upscaler="bicubic, sharpened", scale=2)
    (plain,) = made(app, request)
    assert Image.open(plain.path).size == (128, 96)
    asked = {"Vignette": {"amount": 1.0, "reach": 0.2}, "grain": {"amount": 0.5, "seed": 3}}
    (both,) = made(app, replace(request, operations=asked))
    (again,) = made(app, replace(request, operations=asked))
    assert (pixels(both.path) == pixels(again.path)).all()
    difference = pixels(both.path) - pixels(plain.path)
    assert pixels(both.path)[0, 0].max() <= 1  # a corner without light
    assert difference[40:56, 56:72].std() > 2  # grain in the middle, where no shade is
    assert abs(difference[40:56, 56:72].mean()) < 6
    (none,) = made(app, replace(request, operations={"Grain": {}, "Vignette": {}}))
    assert (pixels(none.path) == pixels(plain.path)).all()
    with pytest.raises(InvalidRequest, match="Grain: Amount"):
        app.queue.submit(replace(request, operations={"Grain": {"amount": 2}}), "me")


def test_the_kits_axis_keeps_the_area(app: App) -> None:
    on(app, "sampler_kit")
    axis = find_axis("aspect ratio", axes_of(app.extensions.active()))
    shapes = axis.values("1:1, 3 : 2,9:16")
    assert shapes == ["1:1", "3:2", "9:16"]
    request = replace(REQUEST, width=512, height=512)
    sizes = [(made.width, made.height) for shape in shapes for made in [axis.apply(request, shape, shapes)]]
    assert sizes == [(512, 512), (624, 416), (384, 680)]
    for text in ("3x2", "0:1", "3:2:1", ","):
        with pytest.raises(InvalidRequest):
            axis.values(text)


def test_a_tint_colours_the_picture_and_is_no_word_of_the_prompt(app: App) -> None:
    on(app, "sampler_kit")
    plain = picture(app, REQUEST)
    (none,) = made(app, replace(REQUEST, prompt="a red circle <tint:0000ff:0>"))
    assert np.abs(pixels(none.path) - plain).max() <= 1  # the same words, and nothing of the colour
    (image,) = made(app, replace(REQUEST, prompt="a red circle <tint:0000ff:0.8>"))
    blue = pixels(image.path)
    assert (blue[..., 2] - blue[..., 0]).mean() > (plain[..., 2] - plain[..., 0]).mean() + 20
    assert "<tint:0000ff:0.8>" in image.infotext
    assert (picture(app, REQUEST) == plain).all()  # nothing of it is left


def test_the_spread_of_the_words_is_theirs_alone(app: App) -> None:
    on(app, "sampler_kit")
    plain = picture(app, REQUEST)
    assert (picture(app, asking(REQUEST, "sampler_kit", spread=0.5)) != plain).any()
    # Where all tokens say the same there are no words.
    together = picture(app, asking(REQUEST, "sampler_kit", spread=0.0))
    assert (together != plain).any()
    assert (picture(app, REQUEST) == plain).all()


# --- simple_control: on_request, on_sampling_start with residuals, on_step, on_sampling_end ---


@pytest.fixture
def guided(app: App, tmp_path: Path) -> App:
    """With a guide called ``latest``, twice as wide as high."""
    drawn = Image.new("RGB", (160, 80), "white")
    ImageDraw.Draw(drawn).rectangle((10, 10, 70, 70), fill="black")
    drawn.save(tmp_path / "drawn.png")
    (action,) = on(app, "simple_control").brought.gallery_actions
    with asked_as(Person(owner="me", name="", administrator=True)):
        assert action.act(tmp_path / "drawn.png").startswith("drawn.png is the guide called latest")
    return app


NOTHING = {"layout": 0.0, "edges": 0.0, "colours": 0.0}


@pytest.mark.parametrize("part", ["layout", "edges", "colours"])
def test_each_part_of_a_guide_changes_the_picture_and_is_taken_off(guided: App, part: str) -> None:
    plain = picture(guided, REQUEST)
    assert (picture(guided, asking(REQUEST, "simple_control", **NOTHING)) == plain).all()
    asked = asking(REQUEST, "simple_control", **NOTHING | {part: 1.0})
    changed = picture(guided, asked)
    assert np.abs(changed - plain).max() > 1
    assert (picture(guided, asked) == changed).all()
    assert (picture(guided, REQUEST) == plain).all()


def test_a_guide_counts_until_its_share_of_the_steps(guided: App) -> None:
    plain = picture(guided, REQUEST)
    never, first, always = (
        picture(guided, asking(REQUEST, "simple_control", layout=1.0, until=until)) for until in (0.0, 0.25, 1.0)
    )
    assert (never == plain).all()
    assert (first != plain).any()
    assert (always != first).any()


def test_a_picture_takes_the_guides_shape_and_its_file_what_was_asked(guided: App) -> None:
    (image,) = made(guided, asking(replace(REQUEST, width=128, height=128), "simple_control", shape=True))
    with Image.open(image.path) as picture:
        assert picture.size == (184, 88)  # the nearest to 181 x 90.5 that can be
    assert GenerationRequest.from_json(image.request).width == 128
    assert "Size: 184x88" in image.infotext


def test_a_picture_that_was_put_in_is_a_guide_too(guided: App, tmp_path: Path) -> None:
    name = guided.inputs.put((tmp_path / "drawn.png").read_bytes()).name
    by_file, by_name = (
        picture(guided, asking(REQUEST, "simple_control", guide=guide, layout=1.0)) for guide in ("latest", name)
    )
    assert (by_file == by_name).all()


def test_a_guide_that_is_not_there_fails_the_job_with_a_sentence(guided: App) -> None:
    events = list(guided.queue.submit(asking(REQUEST, "simple_control", guide="mine"), "me").follow())
    assert isinstance(events[-1], Failed)
    assert events[-1].message.startswith("Simple control: There is no guide called 'mine' in ")
    assert events[-1].message.endswith("; there are latest.")


AT_LEAST, AT_MOST = 0.75, 0.4  # of the seeds, with a guide and without: said before it was measured


def test_the_latest_guide_is_ones_own(guided: App) -> None:
    events = list(guided.queue.submit(asking(REQUEST, "simple_control", layout=1.0), "somebody else").follow())
    assert isinstance(events[-1], Failed)
    assert events[-1].message.startswith("Simple control: There is no guide called 'latest' in ")


@pytest.mark.slow
def test_a_guide_says_where_things_stand(tmp_path: Path) -> None:
    """The starter puts its red circle into the middle. With a guide that has one on the left, as fine as can be and for
    most of the steps, it stands there; with one as it is proposed, the coarse picture comes nearer to the guide's."""
    drawn = draw(Scene(subject="circle", colour="red", background="white", position="left"), np.random.default_rng(5))
    drawn.save(tmp_path / "guide.png")
    request = GenerationRequest(prompt="a red circle on a white background", steps=12)
    with starter_studio(tmp_path / "data") as app:
        (action,) = on(app, "simple_control").brought.gallery_actions
        with asked_as(Person(owner="test", name="", administrator=True)):
            action.act(tmp_path / "guide.png")
        fine = asking(request, "simple_control", layout=1.0, cells=16, until=0.8)
        plain, usual, guided = (
            meaning.made(app, side_of(app), each) for each in (request, asking(request, "simple_control"), fine)
        )
    nearer = [coarse(a, drawn) < coarse(b, drawn) for a, b in zip(usual, plain, strict=True)]
    shares = {"guided": on_the_left(guided), "plain": on_the_left(plain), "nearer": sum(nearer) / len(nearer)}
    print(f"\n{shares}")
    assert shares["guided"] >= AT_LEAST
    assert shares["plain"] <= AT_MOST
    assert shares["nearer"] >= AT_LEAST


def on_the_left(pictures: list[Image.Image]) -> float:
    """The share of pictures whose redness has its centre in the left two fifths of the width."""
    found = []
    for each in pictures:
        colours = np.asarray(each, dtype=np.float64)
        red = np.clip(colours[..., 0] - colours[..., 1:].max(axis=2), 0, None)
        red[red < 40] = 0
        centre = (red.sum(axis=0) @ np.arange(red.shape[1])) / max(red.sum(), 1e-9) / red.shape[1]
        found.append(bool(0 < centre < 0.4))
    return sum(found) / len(found)


def coarse(one: Image.Image, other: Image.Image) -> float:
    """How far two pictures are apart once they are reduced to 8 x 8."""
    small = [np.asarray(each.convert("RGB").resize((8, 8), Image.Resampling.BOX), float) for each in (one, other)]
    return float(np.abs(small[0] - small[1]).mean())
