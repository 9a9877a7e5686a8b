"""Tiles: they cover, they meet without a seam, and they take no more memory than a band of themselves."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from backend.imaging import tiles
from backend.imaging.tiles import count, in_tiles, redraw_in_tiles, spans


def same(tile: Image.Image, _index: int) -> Image.Image:
    return tile


def larger(factor: int) -> Callable[[Image.Image, int], Image.Image]:
    return lambda tile, _index: tile.resize((tile.width * factor, tile.height * factor), Image.Resampling.NEAREST)


def random_picture(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


def levels(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture).astype(int)


# --- where they lie ---


@pytest.mark.parametrize(
    ("side", "starts"), [(192, [0]), (1, [0]), (193, [0, 1]), (376, [0, 184]), (377, [0, 92, 185])]
)
def test_a_side_takes_the_fewest_tiles(side: int, starts: list[int]) -> None:
    assert [span.start for span in spans(side, 192, 8)] == starts


@pytest.mark.parametrize(("tile", "overlap"), [(192, 8), (64, 32), (48, 0), (33, 7), (2, 1), (1, 0)])
def test_tiles_cover_every_pixel_and_share_what_is_asked(tile: int, overlap: int) -> None:
    for side in range(1, 6 * tile + 2):
        found = spans(side, tile, overlap)
        assert found[0].start == 0
        assert found[-1].end == side
        assert {span.length for span in found} == {min(side, tile)}
        for before, after in itertools.pairwise(found):
            assert before.end - after.start >= overlap
            assert after.start <= after.fade_from <= after.fade_to <= before.end
            assert after.fade_to - after.fade_from == overlap
            assert before.fade_from < after.fade_from


@pytest.mark.parametrize(("tile", "overlap"), [(64, 33), (64, -1), (0, 1)])
def test_more_than_half_a_tile_is_not_shared(tile: int, overlap: int) -> None:
    with pytest.raises(ValueError, match="can share"):
        spans(100, tile, overlap)


def test_one_fades_into_the_next_in_a_straight_line() -> None:
    _, second = spans(20, 12, 4)
    assert (second.start, second.fade_from, second.fade_to) == (8, 8, 12)
    assert second.weights(1)[:5].tolist() == [0.125, 0.375, 0.625, 0.875, 1]
    assert second.weights(2)[:9].tolist() == [0.0625 + k / 8 for k in range(8)] + [1]


# --- without a seam ---


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (1, 128, 254), (77, 3, 200)])
@pytest.mark.parametrize("factor", [1, 2, 4])
def test_a_constant_picture_stays_one_to_the_byte(colour: tuple[int, int, int], factor: int) -> None:
    picture = Image.new("RGB", (150, 101), colour)
    made = in_tiles(picture, larger(factor), tile=(48, 32), overlap=9)
    assert made.size == (150 * factor, 101 * factor)
    assert made.getcolors() == [(made.width * made.height, colour)]


@pytest.mark.parametrize("size", [(1, 1), (5, 200), (200, 5), (150, 101), (96, 64), (97, 65)])
def test_tiles_that_are_left_alone_give_the_very_picture(size: tuple[int, int]) -> None:
    picture = random_picture(*size)
    assert in_tiles(picture, same, tile=(48, 32), overlap=9).tobytes() == picture.tobytes()
    assert in_tiles(picture, larger(3), tile=(48, 32), overlap=9).tobytes() == larger(3)(picture, 0).tobytes()


def test_a_gradient_has_no_step_where_tiles_differ() -> None:
    """Each tile is brighter than the one before by 32: across a fade of 24 pixels that is 2 levels a pixel at most, by
    the rounding of the mask; without the fade it is all at once."""
    picture = Image.new("RGB", (200, 40), (40, 40, 40))

    def brighter(tile: Image.Image, index: int) -> Image.Image:
        return Image.new("RGB", tile.size, (40 + 32 * index,) * 3)

    def largest_step(overlap: int) -> int:
        made = in_tiles(picture, brighter, tile=(80, 40), overlap=overlap)
        return int(np.abs(np.diff(levels(made), axis=1)).max())

    assert largest_step(24) <= 2
    assert largest_step(0) == 32


def test_what_a_tile_does_at_its_edges_is_not_seen() -> None:
    """A frame of three pixels around every tile, as a network's padding leaves one: inside of the picture it is gone
    where more is shared than is faded over, and stays at the picture's own border."""

    def framed(tile: Image.Image, _index: int) -> Image.Image:
        made = Image.new("RGB", tile.size, (255, 0, 0))
        made.paste(tile.crop((3, 3, tile.width - 3, tile.height - 3)), (3, 3))
        return made

    picture = Image.new("RGB", (100, 100), (0, 0, 255))
    made = levels(in_tiles(picture, framed, tile=(60, 60), overlap=8))
    assert (made[3:97, 3:97] == (0, 0, 255)).all()
    assert (made[:3] == (255, 0, 0)).all()


@pytest.mark.parametrize("size", [(300, 202), (75, 50), (217, 333), (599, 1), (1, 1), (450, 303)])
def test_brought_to_a_size_it_is_what_the_whole_would_be(size: tuple[int, int]) -> None:
    """In bands and at once Lanczos sees the same pixels; where a ratio is odd, it rounds them once more."""
    picture = random_picture(150, 101, seed=2)
    made = in_tiles(picture, larger(4), tile=(48, 32), overlap=9, size=size)
    whole = larger(4)(picture, 0).resize(size, Image.Resampling.LANCZOS)
    assert made.size == size
    assert np.abs(levels(made) - levels(whole)).max() <= (0 if 600 % size[0] == 0 and 404 % size[1] == 0 else 1)


# --- order, counts, memory ---


def test_tiles_come_row_by_row_and_each_is_told_of() -> None:
    picture = Image.new("RGB", (120, 90))
    told: list[tuple[int, int]] = []
    numbers: list[int] = []

    def make(tile: Image.Image, index: int) -> Image.Image:
        numbers.append(index)
        assert tile.size == (48, 32)
        return tile

    in_tiles(picture, make, tile=(48, 32), overlap=8, on_tile=lambda done, of: told.append((done, of)))
    assert numbers == list(range(12))
    assert told == [(k + 1, 12) for k in range(12)]
    assert count(120, 90, (48, 32), 8) == 12


def test_whoever_is_told_can_end_it() -> None:
    made: list[int] = []

    def make(tile: Image.Image, index: int) -> Image.Image:
        made.append(index)
        return tile

    def enough(done: int, _of: int) -> None:
        if done == 3:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        in_tiles(Image.new("RGB", (500, 500)), make, tile=(64, 64), overlap=8, on_tile=enough)
    assert made == [0, 1, 2]


def test_a_tile_of_another_size_is_refused() -> None:
    def odd(tile: Image.Image, index: int) -> Image.Image:
        return tile if index < 3 else tile.resize((7, 7))

    with pytest.raises(ValueError, match="a tile of 64x64 became 7x7"):
        in_tiles(Image.new("RGB", (200, 200)), odd, tile=(64, 64), overlap=8)


def test_besides_the_pictures_only_a_band_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every picture that the module makes new is counted: the result, and bands of little more than a row of tiles.
    Enlarged whole, 2048x2048 by 4 would be 8192 rows."""
    made: list[tuple[int, int]] = []
    new = Image.new

    def counted(mode: str, size: tuple[int, int], *rest: float) -> Image.Image:
        made.append(size)
        return new(mode, size, *rest)

    largest: list[int] = []

    def make(tile: Image.Image, _index: int) -> Image.Image:
        largest.append(tile.width * tile.height)
        return tile.resize((tile.width * 4, tile.height * 4), Image.Resampling.NEAREST)

    picture = new("RGB", (2048, 2048))
    monkeypatch.setattr(tiles.Image, "new", counted)
    in_tiles(picture, make, tile=(192, 192), overlap=8, size=(4096, 4096))
    assert (4096, 4096) in made
    bands = [height for width, height in made if width == 4 * 2048]
    assert bands
    assert max(bands) <= 192 * 4 * 1.1
    assert max(largest) == 192 * 192


# --- redrawing ---


@pytest.mark.parametrize("size", [(300, 200), (301, 203), (64, 64), (50, 300), (3, 3), (1, 1)])
def test_a_picture_of_any_size_is_redrawn_in_tiles_of_whole_latents(size: tuple[int, int]) -> None:
    seen: list[tuple[int, int]] = []

    def make(tile: Image.Image, index: int) -> Image.Image:
        assert index == len(seen)
        seen.append(tile.size)
        return tile

    picture = random_picture(*size)
    made = redraw_in_tiles(picture, make, tile=(128, 96), overlap=32)
    assert made.tobytes() == picture.tobytes()
    assert set(seen) == {(128, 96)}


def test_a_picture_of_4096_is_redrawn_a_tile_at_a_time() -> None:
    """What a generation is given never grows with the picture; each tile has the next seed."""
    seen: list[tuple[int, tuple[int, int]]] = []

    def make(tile: Image.Image, index: int) -> Image.Image:
        seen.append((index, tile.size))
        return tile

    picture = Image.new("RGB", (4096, 4096), (9, 99, 199))
    made = redraw_in_tiles(picture, make, tile=(1024, 1024), overlap=64)
    assert seen == [(k, (1024, 1024)) for k in range(25)]
    assert count(*picture.size, (1024, 1024), 64) == 25
    assert made.getcolors() == [(4096 * 4096, (9, 99, 199))]


def test_a_tile_to_redraw_is_of_whole_latents() -> None:
    with pytest.raises(ValueError, match="multiples of 8"):
        redraw_in_tiles(Image.new("RGB", (64, 64)), same, tile=(100, 64))
