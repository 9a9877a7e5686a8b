import math

import cv2
import numpy as np
import pytest
from PIL import Image

from backend.imaging.mask import (
    blurred,
    bounds,
    doubled,
    grown,
    in_ratio,
    latent_mask,
    mask_of,
    outwards,
    shrunk,
    touched,
)


def square(size: int, where: tuple[int, int, int, int]) -> np.ndarray:
    mask = np.zeros((size, size), np.uint8)
    left, top, right, bottom = where
    mask[top:bottom, left:right] = 255
    return mask


def test_what_is_opaque_is_masked_where_there_is_transparency() -> None:
    picture = Image.new("RGBA", (3, 1))
    for x, alpha in enumerate((0, 128, 129)):
        picture.putpixel((x, 0), (255, 255, 255, alpha))
    assert mask_of(picture).tolist() == [[0, 0, 255]]
    assert mask_of(picture, rounded=False).tolist() == [[0, 128, 129]]
    grey = Image.new("RGB", (2, 1), (100, 100, 100))
    assert mask_of(grey).tolist() == [[100, 100]]


@pytest.mark.parametrize("blur", [1, 4, 33, 64])
def test_the_blur_is_a_gaussian_of_a1111s_width(blur: int) -> None:
    """Of an edge: the integral of the Gaussian, to a level; and nothing beyond the kernel."""
    size = 600
    mask = square(size, (0, 0, size // 2, size))
    row = blurred(mask, blur)[size // 2].astype(float)
    x = np.arange(size) + 0.5 - size // 2
    wanted = [255 * 0.5 * (1 - math.erf(v / (blur * math.sqrt(2)))) for v in x]
    assert np.abs(row - wanted).max() < 4
    reach = int(2.5 * blur + 0.5)
    assert not row[size // 2 + reach :].any()
    assert row[size // 2 + reach - max(1, blur // 2)] > 0
    assert blurred(mask, 0) is mask


def test_both_halves_of_a_blurred_edge() -> None:
    levels = np.array([[0, 60, 127, 128, 200, 255]], np.uint8)
    assert doubled(levels).tolist() == [[0, 120, 254, 255, 255, 255]]
    assert outwards(levels).tolist() == [[0, 0, 0, 1, 145, 255]]


@pytest.mark.parametrize(
    ("where", "padding", "expected"),
    [
        ((10, 20, 30, 40), 0, (10, 20, 30, 40)),
        ((10, 20, 30, 40), 15, (0, 5, 45, 55)),
        ((99, 99, 100, 100), 32, (67, 67, 100, 100)),
    ],
)
def test_bounds(where: tuple[int, int, int, int], padding: int, expected: tuple[int, int, int, int]) -> None:
    assert bounds(square(100, where), padding) == expected
    assert bounds(np.zeros((5, 5), np.uint8), padding) is None


@pytest.mark.parametrize(
    ("region", "ratio", "expected"),
    [
        ((40, 40, 60, 50), (64, 64), (40, 35, 60, 55)),
        ((40, 40, 50, 61), (64, 64), (35, 40, 56, 61)),
        ((0, 0, 20, 10), (64, 64), (0, 0, 20, 20)),
        ((80, 90, 100, 100), (64, 64), (80, 80, 100, 100)),
        ((0, 45, 100, 55), (64, 64), (0, 0, 100, 100)),
        ((10, 10, 90, 90), (128, 64), (0, 10, 100, 90)),
    ],
)
def test_a_region_is_widened_to_the_ratio_within_the_picture(
    region: tuple[int, int, int, int], ratio: tuple[int, int], expected: tuple[int, int, int, int]
) -> None:
    assert in_ratio(region, ratio, (100, 100)) == expected


def test_the_latents_mask_is_hard_unless_it_is_soft() -> None:
    mask = Image.fromarray(blurred(square(128, (32, 32, 96, 96)), 8))
    hard, soft = latent_mask(mask, (16, 16)), latent_mask(mask, (16, 16), rounded=False)
    assert set(np.unique(hard)) == {0.0, 1.0}
    assert hard[4:12, 4:12].mean() > 0.9 and not hard[:3].any()
    assert ((soft > 0.2) & (soft < 0.8)).any()
    reduced = np.asarray(mask.resize((16, 16), Image.Resampling.BICUBIC), float) / 255
    assert np.array_equal(hard, np.around(reduced))


@pytest.mark.parametrize("place", [(0, 0), (63, 63), (7, 8), (40, 3)])
def test_one_pixel_is_not_lost(place: tuple[int, int]) -> None:
    x, y = place
    mask = square(64, (x, y, x + 1, y + 1))
    found = latent_mask(Image.fromarray(mask), (8, 8))
    assert found.sum() == 1 and found[y // 8, x // 8] == 1
    assert np.array_equal(touched(mask, (8, 8)), found)


def test_growing_and_shrinking() -> None:
    mask = square(60, (20, 20, 40, 40))
    assert (grown(mask, 5) > 0).sum() > (mask > 0).sum() > (shrunk(mask, 5) > 0).sum() == 100
    assert cv2.countNonZero(shrunk(square(60, (0, 0, 60, 60)), 5)) == 3600  # the picture's own edge is none
