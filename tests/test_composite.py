import tracemalloc

import cv2
import numpy as np
import pytest

from backend.imaging.composite import BAND, EASED, MIDDLE, MOST_GAIN, composite, matched, over, ring_around
from backend.imaging.mask import Bytes

SHAPE = (40, 50)
ALL = np.full(SHAPE, 255, np.uint8)


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
    after = np.abs(matched(shifted, original, ring, ALL).astype(int) - original).mean()
    assert after < before / 3


def test_what_needs_no_change_gets_none() -> None:
    ring = np.ones(SHAPE, bool)
    assert np.abs(matched(smooth(2), smooth(2), ring, ALL).astype(int) - smooth(2)).max() <= 1
    none = np.zeros(SHAPE, bool)
    assert matched(smooth(2), smooth(3), none, ALL) is not smooth(3)
    assert np.array_equal(matched(smooth(2), smooth(3), none, ALL), smooth(2))


def test_a_few_wild_pixels_in_the_ring_decide_nothing() -> None:
    original = smooth(4)
    ring = np.ones(SHAPE, bool)
    wild = original.copy()
    wild.reshape(-1, 3)[:60] = (255, 0, 255)
    calm, stirred = matched(original, original, ring, ALL), matched(original, wild, ring, ALL)
    assert np.abs(calm.astype(int) - stirred).mean() < 6


def matched_at_once(made: Bytes, original: Bytes, ring: np.ndarray) -> Bytes:
    """The same formula on whole arrays."""

    def middle(colours: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        low, high = np.percentile(colours, MIDDLE, axis=0)
        clipped = colours.clip(low, high)
        return clipped.mean(axis=0).astype(np.float32), clipped.std(axis=0).astype(np.float32)

    ours, wanted = (cv2.cvtColor(each.astype(np.float32) / 255, cv2.COLOR_RGB2LAB) for each in (made, original))
    there, here = middle(ours[ring]), middle(wanted[ring])
    gain = ((here[1] + EASED) / (there[1] + EASED)).clip(1 / MOST_GAIN, MOST_GAIN)
    lab = ((ours - there[0]) * gain + here[0]).astype(np.float32)
    return (cv2.cvtColor(lab, cv2.COLOR_LAB2RGB) * 255).round().clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("shape", [SHAPE, (700, 900), (3, BAND + 40)])
def test_in_bands_it_is_the_same_to_the_byte(shape: tuple[int, int]) -> None:
    """Several bands, a width that is no multiple of anything, and a row longer than a band."""
    random = np.random.default_rng(6)
    made, original = (random.integers(0, 256, (*shape, 3), np.uint8) for _ in range(2))
    mask = np.zeros(shape, np.uint8)
    mask[-shape[0] // 3 :, shape[1] // 3 :] = random.integers(1, 256, shape, np.uint8)[
        -shape[0] // 3 :, shape[1] // 3 :
    ]
    ring = ring_around(mask, np.ones(shape, bool))
    there = mask > 0
    ours = matched(made, original, ring, mask)
    assert np.array_equal(ours[there], matched_at_once(made, original, ring)[there])
    weight = mask[..., None].astype(int)
    assert np.array_equal(composite(original, ours, mask), (ours * weight + original * (255 - weight) + 127) // 255)


def test_a_large_picture_is_worked_on_in_bands() -> None:
    """Bytes beside what goes in: of floats for each pixel there would be dozens of pictures."""
    shape = (3000, 4000)
    made, original = np.full((*shape, 3), 90, np.uint8), np.full((*shape, 3), 120, np.uint8)
    mask = np.full(shape, 255, np.uint8)
    mask[:24] = 0
    ring = mask == 0
    tracemalloc.start()
    composite(original, matched(made, original, ring, mask), mask)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * made.nbytes


def test_over_what_is_half_clear_no_paper_shows() -> None:
    """One colour over itself stays that colour, however clear it is and however much of it is laid."""
    colour = (200, 30, 40)
    levels = np.arange(256, dtype=np.uint8)
    base = np.empty((256, 256, 4), np.uint8)
    base[..., :3] = colour
    base[..., 3] = levels
    mask = np.repeat(levels[:, None], 256, axis=1)
    done = over(base, np.full((256, 256, 3), colour, np.uint8), mask)
    assert (done[..., :3] == colour).all()
    share = mask / 255
    assert np.abs(done[..., 3] - (255 * share + levels * (1 - share))).max() <= 0.51
    assert np.array_equal(done[0], base[0]), "where nothing is laid, not one bit changes"


def test_what_was_clear_does_not_show_through_and_over_what_is_opaque_it_is_a_composite() -> None:
    base, made = noise(1, 4), noise(2)
    mask = np.random.default_rng(5).integers(0, 256, SHAPE, np.uint8)
    base[..., 3] = 0
    done = over(base, made, mask)
    assert np.array_equal(done[..., :3][mask > 0], made[mask > 0])
    assert np.array_equal(done[..., 3], mask)
    base[..., 3] = 255
    done = over(base, made, mask)
    assert np.array_equal(done[..., :3], composite(np.ascontiguousarray(base[..., :3]), made, mask))
    assert (done[..., 3] == 255).all()
