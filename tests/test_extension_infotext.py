"""What a picture says of the extensions that took part, and what is made of it when it is read."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backend.app import App
from backend.extensions.extras import here
from backend.infotext.again import again
from backend.infotext.apply import propose
from backend.infotext.provenance import FileHashes, Provenance
from backend.infotext.read import read_infotext
from backend.infotext.recipe import Recipe, read_recipe
from backend.recipe_offer import offer
from backend.request import GenerationRequest
from tests.extended import extended, made, studio
from tests.test_extension_extras import FRAME, USUAL

REQUEST = GenerationRequest(
    prompt="a red circle", checkpoint="tiny", width=64, height=64, steps=1, seed=1, sampler="Euler"
)
VALUES = (
    {},
    {"width": 12},
    {"width": 0, "strength": 0.25, "colour": "gold", "inner": True, "words": 'a, b: "c"\nd'},
    {"words": "[1, 2]"},
    {"words": "on"},
)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, written_checkpoint: Path) -> Iterator[App]:
    with studio(tmp_path_factory.mktemp("infotext"), written_checkpoint) as app:
        yield app


def recipe_of(app: App, **values: Any) -> Recipe:
    (ready,) = made(app, replace(REQUEST, extras={"frame": values}))
    recipe = read_recipe(ready.path)
    assert recipe is not None
    assert recipe.text == ready.infotext
    return recipe


def test_it_says_what_is_not_as_usual(app: App) -> None:
    with extended(app, FRAME, "frame"):
        assert ", Picture frame: on, Version: Atelier " in recipe_of(app).text
        assert ", Picture frame Width of the frame: 12, Version:" in recipe_of(app, width=12).text
        assert ", Picture frame Strength: 1, Picture frame Inner: True" in recipe_of(app, strength=1, inner=True).text
        (plain,) = made(app, REQUEST)
        assert "Picture frame" not in plain.infotext


@pytest.mark.parametrize("values", VALUES)
def test_it_is_read_back(values: dict[str, Any], app: App) -> None:
    """From the text alone, from the whole file, and as the request that makes it again."""
    wanted = {"frame": {**USUAL, **values}}
    with extended(app, FRAME, "frame"):
        recipe = recipe_of(app, **values)
        extensions = here(app.extensions.active())
        read = propose(recipe.infotext, app.catalog, extensions)
        assert not read.not_applied
        assert read.request(GenerationRequest()).extras == wanted
        assert offer(recipe, app.catalog, extensions).request(GenerationRequest()).extras == wanted
        made_again = again(recipe, app.catalog, extensions)
        assert made_again.request.extras == wanted
        assert not made_again.remarks


def test_what_is_not_named_does_not_take_part(app: App) -> None:
    """A form in which it is on is told so; a mere prompt leaves it as it is."""
    base = replace(REQUEST, extras={"frame": USUAL, "other": {"a": 1}})
    with extended(app, FRAME, "frame"):
        extensions = here(app.extensions.active())
        (plain,) = made(app, REQUEST)
        recipe = read_recipe(plain.path)
        assert recipe is not None
        for proposal in (propose(recipe.infotext, app.catalog, extensions), offer(recipe, app.catalog, extensions)):
            assert proposal.fields["extras.frame"] is None
            assert proposal.request(base).extras == {"other": {"a": 1}}
        words = propose(read_infotext("a cat"), app.catalog, extensions)
        assert words.request(base).extras == base.extras


def test_a_value_that_cannot_be_is_not_applied_and_says_why(app: App) -> None:
    text = "a cat\nSteps: 1, Sampler: Euler, Seed: 1, Picture frame Width of the frame: 99, Picture frame Inner: maybe"
    with extended(app, FRAME, "frame"):
        read = propose(read_infotext(text), app.catalog, here(app.extensions.active()))
    assert [(each.key, each.reason) for each in read.not_applied] == [
        (
            "Picture frame Width of the frame",
            "Picture frame: Width of the frame is '99'; it must be at most 64.",
        ),
        ("Picture frame Inner", "Picture frame Inner cannot be read: 'maybe' is neither True nor False."),
    ]
    assert read.request(GenerationRequest()).extras == {"frame": USUAL}


def test_without_the_extension_its_keys_are_not_applied_and_the_rest_is_made(app: App) -> None:
    with extended(app, FRAME, "frame"):
        recipe = recipe_of(app, width=12)
    read = propose(recipe.infotext, app.catalog, here(app.extensions.active()))
    assert [(each.key, each.value) for each in read.not_applied] == [("Picture frame Width of the frame", "12")]
    made_again = again(recipe, app.catalog, here(app.extensions.active()))
    assert made_again.request.extras == {}
    assert made_again.remarks == ("The extension frame 1.0 took part in it and is not on here: it is left out.",)
    assert made(app, made_again.request)


def test_another_version_is_remarked(app: App) -> None:
    with extended(app, FRAME, "frame"):
        recipe = recipe_of(app, width=12)
    changed = FRAME.replace("le=64", "le=10")
    with extended(app, changed, "frame", version="2.0"):
        made_again = again(recipe, app.catalog, here(app.extensions.active()))
    assert made_again.request.extras == {}
    assert made_again.remarks[0] == "Picture frame was 1.0 then; here it is 2.0."
    assert made_again.remarks[1].startswith("Picture frame is left out: Picture frame: Width of the frame is '12'")


def test_those_that_are_always_on_are_said_too(app: App) -> None:
    with extended(app, "@hook\ndef on_image(image):\n    pass\n", "beside"):
        (ready,) = made(app, REQUEST)
        recipe = read_recipe(ready.path)
        assert recipe is not None
        assert Provenance.from_json(recipe.made_with).extensions == {"beside": "1.0"}
        assert not again(recipe, app.catalog, here(app.extensions.active())).remarks
    assert again(recipe, app.catalog, ()).remarks == (
        "The extension beside 1.0 took part in it and is not on here: it is left out.",
    )
    with extended(app, "", "silent"):  # which has nothing to do with a generation
        (ready,) = made(app, REQUEST)
    plain = read_recipe(ready.path)
    assert plain is not None
    assert "extensions" not in plain.made_with


def test_the_extension_that_brings_the_sampler_is_named(app: App) -> None:
    """It has no parameters and no stage, and yet nobody makes the picture again without it."""
    code = """
    def steps(denoise, x, sigmas, *, noise, on_step):
        for number, sigma in enumerate(sigmas[:-1]):
            x = denoise(x, sigma)
            on_step(number, x)
        return x

    @hook
    def register(api):
        api.sampler("Straight", steps)
    """
    with extended(app, code, "straight"):
        (ready,), (plain,) = made(app, replace(REQUEST, sampler="Straight")), made(app, REQUEST)
    for picture, named in ((ready, {"straight": "1.0"}), (plain, {})):
        recipe = read_recipe(picture.path)
        assert recipe is not None
        assert Provenance.from_json(recipe.made_with).extensions == named


def test_provenance_without_extensions_is_written_as_ever() -> None:
    plain = Provenance(files=FileHashes(checkpoint="a" * 64), device="CPU")
    assert "extensions" not in plain.to_json()
    assert Provenance.from_json(plain.to_json()) == plain
    with_some = replace(plain, extensions={"frame": "1.0"})
    assert Provenance.from_json(with_some.to_json()) == with_some


def test_notes_are_read_by_every_reader(app: App) -> None:
    code = "@hook\ndef on_save():\n    return {'Found faces': '2: left, right'}\n"
    with extended(app, code):
        (ready,) = made(app, REQUEST)
    read = read_infotext(ready.infotext)
    assert read.get("Found faces") == "2: left, right"
    assert read.text == ready.infotext
