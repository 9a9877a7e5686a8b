import numpy as np
import pytest
from PIL import Image

from backend.imaging.resize import CROP, FILL, JUST_RESIZE, placement, resize
from backend.init_image import RESIZE_MODES


def ramp(width: int, height: int) -> Image.Image:
    """Red grows to the right, green downwards."""
    y, x = np.mgrid[0:height, 0:width]
    return Image.fromarray(
        np.stack([x * 255 / max(1, width - 1), y * 255 / max(1, height - 1), x * 0], -1).round().astype(np.uint8)
    )


@pytest.mark.parametrize("mode", RESIZE_MODES)
@pytest.mark.parametrize("size", [(64, 64), (100, 37), (37, 101), (1, 1), (1, 400), (513, 511)])
@pytest.mark.parametrize("area", [(64, 64), (128, 64), (72, 200)])
def test_every_mode_gives_the_size(mode: str, size: tuple[int, int], area: tuple[int, int]) -> None:
    assert resize(ramp(*size), mode, *area).size == area
    assert resize(ramp(*size).convert("L"), mode, *area).size == area


@pytest.mark.parametrize("mode", RESIZE_MODES)
def test_a_picture_of_the_size_stays_what_it_is(mode: str) -> None:
    assert resize(ramp(64, 48), mode, 64, 48).tobytes() == ramp(64, 48).tobytes()


def test_cropping_cuts_both_sides_alike() -> None:
    cropped = np.asarray(resize(ramp(200, 100), CROP, 100, 100), int)
    assert np.abs(cropped - np.asarray(ramp(200, 100).crop((50, 0, 150, 100)), int)).max() <= 1


def test_filling_goes_on_with_the_edges() -> None:
    filled = np.asarray(resize(ramp(200, 100), FILL, 200, 200), int)
    assert np.abs(filled[50:150] - np.asarray(ramp(200, 100), int)).max() <= 1
    assert (filled[:50] == filled[50]).all() and (filled[150:] == filled[149]).all()


@pytest.mark.parametrize("mode", RESIZE_MODES)
@pytest.mark.parametrize(("size", "area"), [((200, 100), (128, 128)), ((90, 130), (128, 64)), ((64, 64), (64, 64))])
def test_what_is_put_in_can_be_taken_out_where_it_was(mode: str, size: tuple[int, int], area: tuple[int, int]) -> None:
    """A ramp survives interpolation, so a shift by half a pixel would show."""
    picture, placed = ramp(*size), placement(mode, size, area)
    left, top, right, bottom = placed.seen
    taken = np.asarray(placed.taken(placed.put(picture)), int)
    wanted = np.asarray(picture.crop(placed.seen), int)
    assert taken.shape == wanted.shape
    inner = (slice(3, -3), slice(3, -3))
    assert np.abs(taken[inner] - wanted[inner]).max() <= 3
    if mode in (JUST_RESIZE, FILL):
        assert (left, top, right, bottom) == (0, 0, *size)


@pytest.mark.parametrize("size", [(1, 999), (1, 1000), (12_000, 3)])
def test_a_thin_picture_covers_a_large_area(size: tuple[int, int]) -> None:
    """As a whole it would have thousands of millions of pixels."""
    placed = placement(CROP, size, (2048, 64))
    area = placed.put(ramp(*size))
    left, top, right, bottom = placed.seen
    assert area.size == (2048, 64)
    assert placed.taken(area).size == (right - left, bottom - top)
    middle = ramp(*size).getpixel((size[0] // 2, size[1] // 2))
    assert np.abs(np.asarray(area, float)[31:33, 1023:1025].mean(axis=(0, 1)) - middle).max() <= 2


def test_sizes_between_are_a1111s() -> None:
    """Whole pixels by integer division, as the other side of the ratio asks."""
    for mode, expected in ((CROP, (-27, 0, 119, 64)), (FILL, (0, 15, 64, 34))):
        placed = placement(mode, (301, 161), (64, 64))
        assert (placed.left, placed.top, placed.width, placed.height) == expected
