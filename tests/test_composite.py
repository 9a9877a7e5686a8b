import numpy as np
import pytest

from backend.imaging.composite import composite, matched, ring_around

SHAPE = (40, 50)


def noise(seed: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*SHAPE, channels), np.uint8)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_where_the_mask_is_black_not_a_bit_changes(channels: int) -> None:
    mask = np.random.default_rng(5).integers(0, 256, SHAPE, np.uint8)
    mask[:20] = np.where(mask[:20] > 128, 255, 0)
    base, made = noise(1, channels), noise(2, channels)
    done = composite(base, made, mask)
    assert np.array_equal(done[mask == 0], base[mask == 0])
    assert np.array_equal(done[mask == 255], made[mask == 255])
    share = mask[..., None] / 255
    assert np.abs(done - (made * share + base * (1 - share))).max() <= 0.51


def test_the_ring_lies_around_the_mask_within_the_picture() -> None:
    mask = np.zeros((100, 100), np.uint8)
    mask[45:55, 45:55] = 1
    inside = np.ones(mask.shape, bool)
    inside[:, 60:] = False
    ring = ring_around(mask, inside)
    assert ring[50, 40] and ring[30, 50] and not ring[50, 50] and not ring[50, 65] and not ring[5, 5]


def smooth(seed: int) -> np.ndarray:
    small = np.random.default_rng(seed).normal(128, 30, (4, 5, 3))
    return np.kron(small, np.ones((10, 10, 1))).clip(0, 255).astype(np.uint8)


def test_colours_are_brought_to_those_around() -> None:
    original = smooth(1)
    shifted = (original * 0.85 + 12).astype(np.uint8)
    ring = np.zeros(SHAPE, bool)
    ring[:, :25] = True
    before = np.abs(shifted.astype(int) - original).mean()
    after = np.abs(matched(shifted, original, ring).astype(int) - original).mean()
    assert after < before / 3


def test_what_needs_no_change_gets_none() -> None:
    ring = np.ones(SHAPE, bool)
    assert np.abs(matched(smooth(2), smooth(2), ring).astype(int) - smooth(2)).max() <= 1
    none = np.zeros(SHAPE, bool)
    assert matched(smooth(2), smooth(3), none) is not smooth(3)
    assert np.array_equal(matched(smooth(2), smooth(3), none), smooth(2))


def test_a_few_wild_pixels_in_the_ring_decide_nothing() -> None:
    original = smooth(4)
    ring = np.ones(SHAPE, bool)
    wild = original.copy()
    wild.reshape(-1, 3)[:60] = (255, 0, 255)
    calm, stirred = matched(original, original, ring), matched(original, wild, ring)
    assert np.abs(calm.astype(int) - stirred).mean() < 6
