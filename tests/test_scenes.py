import itertools

import numpy as np
import pytest

from starter.scenes import COLOURS, STYLES, SUBJECTS, Scene, captions, draw, held_out, scenes, triples


def test_the_world_has_what_the_card_says() -> None:
    assert len(SUBJECTS) >= 12
    assert {"circle", "square", "triangle", "star", "heart", "moon", "tree", "house", "flower", "boat"} <= set(SUBJECTS)
    assert {"red", "green", "yellow", "blue", "white", "black"} <= set(COLOURS)
    assert len(COLOURS) == 8
    assert len(STYLES) >= 3


def test_fifteen_of_a_hundred_triples_are_held_out_and_never_drawn() -> None:
    kept_out = held_out()
    assert kept_out <= set(triples())
    assert round(len(kept_out) / len(triples()), 2) == 0.15
    drawn = itertools.islice(scenes(np.random.default_rng(0)), 5000)
    seen = {(scene.subject, scene.colour, scene.background) for scene in drawn}
    assert seen == set(triples()) - kept_out


def test_a_scene_is_drawn_the_same_again_and_another_way_with_another_chance() -> None:
    scene = Scene(subject="boat", colour="red", background="blue", style="watercolor")
    first, again, other = (np.asarray(draw(scene, np.random.default_rng(seed), 64)) for seed in (1, 1, 2))
    assert first.shape == (64, 64, 3)
    assert (first == again).all()
    assert (first != other).any()


@pytest.mark.parametrize("style", STYLES)
def test_a_caption_never_says_what_is_not_there(style: str) -> None:
    """Every word of the world that stands in a caption is the scene's."""
    scene = Scene(subject="tree", colour="orange", background="white", position="left", size="small", style=style)
    ways = captions(scene)
    assert len(set(ways)) >= 8
    own = {"tree", "orange", "white", "left", "small", style}
    words = {*SUBJECTS, *COLOURS, *STYLES, "left", "right", "top", "bottom", "small", "large"} - {""}
    for way in ways:
        assert set(way.replace(",", " ").split()) & words <= own
    assert any(way.startswith("a small orange tree on a white background") for way in ways)


def test_articles_are_right() -> None:
    assert "an orange cat on a blue background" in captions(Scene(subject="cat", colour="orange", background="blue"))
    assert "a cat on an orange background" in captions(Scene(subject="cat", colour="blue", background="orange"))
