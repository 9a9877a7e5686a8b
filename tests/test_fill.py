import numpy as np
import pytest
from PIL import Image

from backend.imaging.fill import FILLS, extended, fill
from backend.init_image import MASKED_CONTENT


def ramp(side: int = 96) -> Image.Image:
    x = np.linspace(60, 200, side)
    plane = np.broadcast_to(x, (side, side))
    return Image.fromarray(np.stack([plane, plane.T, 255 - plane], -1).round().astype(np.uint8))


def hole(side: int = 96, where: tuple[int, int, int, int] = (30, 30, 66, 66)) -> Image.Image:
    mask = Image.new("L", (side, side), 0)
    mask.paste(255, where)
    return mask


@pytest.mark.parametrize("content", FILLS)
def test_a_hole_is_filled_with_what_is_around_it_and_nothing_of_what_was_in_it(content: str) -> None:
    filled = []
    for inside in ((255, 0, 255), (0, 255, 0)):
        picture = ramp()
        picture.paste(inside, mask=hole())
        filled.append(np.asarray(fill(content, picture, hole()), int))
    assert np.array_equal(filled[0], filled[1])
    assert np.abs(filled[0] - np.asarray(ramp(), int))[30:66, 30:66].mean() < 40
    outside = np.asarray(hole()) == 0
    assert np.abs(filled[0] - np.asarray(ramp(), int))[outside].max() <= 1


@pytest.mark.parametrize("content", ["blur", "Navier-Stokes"])
def test_ours_go_on_smoothly_over_the_edge_of_a_hole(content: str) -> None:
    picture = ramp()
    picture.paste((255, 0, 255), mask=hole())
    filled = np.asarray(fill(content, picture, hole()), int)
    assert np.abs(np.diff(filled[48], axis=0)).max() <= 14


@pytest.mark.parametrize("content", sorted(set(MASKED_CONTENT) - set(FILLS)))
def test_the_others_fill_nothing_here(content: str) -> None:
    assert fill(content, ramp(), hole()).tobytes() == ramp().tobytes()


@pytest.mark.parametrize("content", FILLS)
@pytest.mark.parametrize("size", [(96, 96), (1, 1), (3, 200)])
def test_everything_may_be_a_hole(content: str, size: tuple[int, int]) -> None:
    picture = Image.new("RGB", size, (9, 99, 199))
    assert fill(content, picture, Image.new("L", size, 255)).size == size
    assert fill(content, picture, Image.new("L", size, 0)).tobytes() == picture.tobytes()


def test_a_thing_far_inside_is_filled_too() -> None:
    """From the edges of a large picture; and in no level of the pyramid black."""
    picture = Image.new("RGB", (700, 500), (200, 150, 100))
    mask = Image.new("L", (700, 500), 255)
    mask.paste(0, (0, 0, 700, 3))
    for content in ("blur", "Navier-Stokes"):
        filled = np.asarray(fill(content, picture, mask), int)
        assert np.abs(filled - (200, 150, 100)).max() <= 1


def test_outside_the_edge_goes_on() -> None:
    picture = ramp(10)
    wide = np.asarray(extended(picture, (-5, -2, 14, 10)))
    inner = np.asarray(picture)
    assert wide.shape == (12, 19, 3)
    assert np.array_equal(wide[2:, 5:15], inner)
    assert (wide[2:, :5] == inner[:, :1]).all() and (wide[2:, 15:] == inner[:, -1:]).all()
    assert (wide[:2, 5:15] == inner[0]).all()
    assert extended(picture, (2, 3, 6, 9)).tobytes() == picture.crop((2, 3, 6, 9)).tobytes()
