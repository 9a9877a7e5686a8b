"""The noise: CUDA's numbers, one source per picture, and Brownian paths that are torchsde's."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
import torchsde
from torch import Tensor
from torchsde._brownian import brownian_interval

from backend.sampling.noise import BrownianNoise, Drawing, ImageNoise, PhiloxGenerator, slerp
from backend.sampling.schedules import SCHEDULES, SigmaTable
from bench.mixture import alphas_cumprod

CPU = torch.device("cpu")
SHAPE = 4, 8, 8
SEEDS = 0, 7, 2**32 + 5
SIGMAS = SCHEDULES["Karras"].sigmas(10, SigmaTable(alphas_cumprod()))[:-1]

# What torch.randn gives on CUDA for seed 0 and shape (3, 4), as AUTOMATIC1111 prints it.
CUDA_SEED_0 = [
    [-0.92466259, -0.42534415, -2.6438457, 0.14518388],
    [-0.12086647, -0.57972564, -0.62285122, -0.32838709],
    [-1.07454231, -0.36314407, -1.67105067, 2.26550497],
]


def test_philox_is_cudas() -> None:
    numbers = PhiloxGenerator(0).randn((3, 4))
    assert numbers.dtype == np.float32
    # The angle of the transform is rounded to float32 in CUDA and in AUTOMATIC1111, by up to 3e-7.
    np.testing.assert_allclose(numbers, CUDA_SEED_0, rtol=0, atol=4e-7)


def words(counter: tuple[int, int, int, int], key: tuple[int, int]) -> tuple[int, int, int, int]:
    """Philox 4x32-10 of one counter, as Salmon et al. 2011 write it, in whole numbers."""
    a, b, c, d = counter
    k, j = key
    for _ in range(10):
        left, right = a * 0xD2511F53, c * 0xCD9E8D57
        a, b, c, d = (right >> 32) ^ b ^ k, right & 0xFFFFFFFF, (left >> 32) ^ d ^ j, left & 0xFFFFFFFF
        k, j = (k + 0x9E3779B9) & 0xFFFFFFFF, (j + 0xBB67AE85) & 0xFFFFFFFF
    return a, b, c, d


def test_written_out_philox_passes_the_authors_known_answers() -> None:
    """Two lines of kat_vectors in their Random123 library, so that the next test stands on something."""
    assert words((0, 0, 0, 0), (0, 0)) == (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)
    pi = (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0)
    assert words(*pi) == (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1, 2**32, 0xDEADBEEF12345678, 2**64 - 1])
def test_every_number_is_that_of_its_counter(seed: int) -> None:
    """Any seed of 64 bits, any call, and numbers on both sides of a block of the computation."""
    generator = PhiloxGenerator(seed)
    for call in range(2):
        numbers = generator.randn((20_000,))
        for index in (0, 1, 16_383, 16_384, 19_999):
            u, v = words((call, 0, index, 0), (seed & 0xFFFFFFFF, seed >> 32))[:2]
            angle = np.float32(2 * math.pi).item() / 2**32 * (v + 0.5)
            wanted = math.sqrt(-2 * math.log((u + 0.5) / 2**32)) * math.sin(angle)
            assert numbers[index] == pytest.approx(wanted, rel=1e-6, abs=1e-12)


def test_shape_does_not_change_the_numbers_and_calls_do() -> None:
    flat, shaped = PhiloxGenerator(3), PhiloxGenerator(3)
    first, second = flat.randn((256,)), flat.randn((256,))
    np.testing.assert_array_equal(shaped.randn((4, 8, 8)).ravel(), first)
    np.testing.assert_array_equal(shaped.randn((2, 128)).ravel(), second)
    assert not np.isclose(first, second).any()


def test_philox_is_standard_normal() -> None:
    """Mean, deviation and kurtosis of 2^18 numbers within five of their standard errors."""
    numbers = PhiloxGenerator(1).randn((2**18,)).astype(np.float64)
    root = math.sqrt(numbers.size)
    assert abs(numbers.mean()) < 5 / root
    assert abs((numbers**2).mean() - 1) < 5 * math.sqrt(2) / root
    assert abs((numbers**4).mean() - 3) < 5 * math.sqrt(96) / root


def test_image_noise_starts_with_the_seeds_own_numbers() -> None:
    noise = ImageNoise([0, 1], (1, 3, 4), CPU)
    first, second = noise.next(), noise.next()
    assert (first.shape, first.dtype, first.device) == ((2, 1, 3, 4), torch.float32, CPU)
    for index, seed in enumerate((0, 1)):
        generator = PhiloxGenerator(seed)
        for drawn in (first, second):
            np.testing.assert_array_equal(drawn[index], generator.randn((1, 3, 4)))


def test_a_picture_has_the_same_noise_in_any_batch() -> None:
    together = ImageNoise(SEEDS, SHAPE, CPU)
    alone = [ImageNoise([seed], SHAPE, CPU) for seed in SEEDS]
    for _ in range(3):
        assert torch.equal(together.next(), torch.cat([noise.next() for noise in alone]))


def test_nothing_global_is_read_or_changed() -> None:
    def draw() -> Tensor:
        x = torch.zeros(1, *SHAPE)
        return ImageNoise([5], SHAPE, CPU).next() + BrownianNoise(x, 0.1, 10.0, [5])(10.0, 1.0)

    torch.manual_seed(1)
    state, theirs = torch.get_rng_state(), brownian_interval._randn
    first = draw()
    assert torch.equal(torch.get_rng_state(), state)
    assert brownian_interval._randn is theirs
    torch.manual_seed(2)
    assert torch.equal(draw(), first)


def brownian(seeds: tuple[int, ...] = SEEDS, dtype: torch.dtype = torch.float32) -> BrownianNoise:
    return BrownianNoise(torch.zeros(len(seeds), *SHAPE, dtype=dtype), SIGMAS[-1], SIGMAS[0], seeds)


def increment(noise: BrownianNoise, sigma: float, sigma_next: float) -> Tensor:
    """The unscaled increment of the path."""
    return noise(sigma, sigma_next) * math.sqrt(abs(sigma - sigma_next))


def test_brownian_noise_is_torchsdes_own_tree_on_philox_normals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its tree as k-diffusion asks it, with its source of normals replaced as AUTOMATIC1111 does: equal to the bit."""

    def philox(size: tuple[int, ...], dtype: torch.dtype, device: torch.device, seed: int) -> Tensor:
        return torch.from_numpy(PhiloxGenerator(int(seed)).randn(size)).to(device, dtype)

    ours = brownian()
    steps = [*pairwise(SIGMAS), *((a, math.sqrt(a * b)) for a, b in pairwise(SIGMAS))]
    drawn = [ours(a, b) for a, b in steps]
    monkeypatch.setattr(brownian_interval, "_randn", philox)
    for index, seed in enumerate(SEEDS):
        tree = torchsde.BrownianTree(SIGMAS[-1], torch.zeros(SHAPE), SIGMAS[0], entropy=seed)
        for (high, low), noise in zip(steps, drawn, strict=True):
            # Rounded as the tree does with it, which else complains about the last digits of its own ends.
            theirs = tree(round(low, 6), round(high, 6))
            assert isinstance(theirs, Tensor)
            assert torch.equal(noise[index], -theirs * (1 / math.sqrt(high - low)))


def test_brownian_noise_is_not_torchsdes_default() -> None:
    theirs = torchsde.BrownianTree(SIGMAS[-1], torch.zeros(SHAPE), SIGMAS[0], entropy=SEEDS[0])
    increments = theirs(round(SIGMAS[-1], 6), round(SIGMAS[0], 6))
    assert isinstance(increments, Tensor)
    assert not torch.allclose(increment(brownian(), SIGMAS[0], SIGMAS[-1])[0], -increments, atol=0.1)


def test_steps_of_a_path_add_up() -> None:
    noise = brownian(dtype=torch.float64)
    whole = increment(noise, SIGMAS[0], SIGMAS[-1])
    parts = sum((increment(noise, a, b) for a, b in pairwise(SIGMAS)), start=torch.zeros_like(whole))
    torch.testing.assert_close(parts, whole, rtol=0, atol=1e-12)
    middle = math.sqrt(SIGMAS[2] * SIGMAS[3])
    halves = increment(noise, SIGMAS[2], middle) + increment(noise, middle, SIGMAS[3])
    torch.testing.assert_close(halves, increment(noise, SIGMAS[2], SIGMAS[3]), rtol=0, atol=1e-12)


def test_a_path_does_not_depend_on_what_was_asked_before() -> None:
    forward, backward = brownian(), brownian()
    steps = list(pairwise(SIGMAS))
    asked = {step: forward(*step) for step in steps}
    for step in reversed(steps):
        # The same nodes, summed in the same order: equal but for increments taken as one node or as its halves.
        torch.testing.assert_close(backward(*step), asked[step], rtol=0, atol=2e-5)


def test_direction_changes_the_sign() -> None:
    noise = brownian()
    assert torch.equal(noise(5.0, 2.0), -noise(2.0, 5.0))


def test_a_picture_has_the_same_path_in_any_batch() -> None:
    together, alone = brownian(), [brownian((seed,)) for seed in SEEDS]
    for step in pairwise(SIGMAS):
        assert torch.equal(together(*step), torch.cat([noise(*step) for noise in alone]))


def test_pictures_and_steps_are_independent_and_of_unit_variance() -> None:
    """Over 2^14 numbers, means, variances and correlations are within five of their standard errors."""
    x = torch.zeros(2, 4, 64, 64)
    noise = BrownianNoise(x, SIGMAS[-1], SIGMAS[0], [1, 2])
    steps = [(SIGMAS[0], SIGMAS[1]), (SIGMAS[1], SIGMAS[2]), (SIGMAS[-2], SIGMAS[-1])]
    drawn = torch.cat([noise(*step).flatten(1) for step in steps]).double()
    bound = 5 / math.sqrt(drawn.shape[1])
    assert drawn.mean(1).abs().max() < bound
    products = drawn @ drawn.T / drawn.shape[1]
    assert (products.diagonal() - 1).abs().max() < math.sqrt(2) * bound
    assert (products - products.diagonal().diag()).abs().max() < bound


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_brownian_noise_is_shaped_like_the_latents(dtype: torch.dtype) -> None:
    noise = brownian(dtype=dtype)(SIGMAS[0], SIGMAS[1])
    assert (noise.shape, noise.dtype, noise.device) == ((len(SEEDS), *SHAPE), dtype, CPU)


@pytest.mark.filterwarnings("error")
def test_the_ends_of_a_path_may_be_asked_for() -> None:
    """torchsde rounds its ends to 1e-6 and warns about anything outside: also for ends that round inwards."""
    BrownianNoise(torch.zeros(1, *SHAPE), 14.6, 14.6, [1])  # one step: a path that nobody asks
    for sigma_min, sigma_max in ((0.0291675, 14.6146416), (0.0291664, 14.6146412), (SIGMAS[-1], SIGMAS[0])):
        noise = BrownianNoise(torch.zeros(1, *SHAPE), sigma_min, sigma_max, [1])
        assert noise(sigma_max, 1.0).isfinite().all()
        assert noise(1.0, sigma_min).isfinite().all()


def torchs(seed: int, *shapes: tuple[int, ...]) -> list[Tensor]:
    """What torch's own generator of the CPU gives for a seed, draw after draw."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for shape in shapes]


@pytest.mark.parametrize("source", ["CPU", "GPU"])
def test_other_sources_are_torchs_generators(source: str) -> None:
    """Without CUDA, as in AUTOMATIC1111, GPU means torch's on the CPU; one generator for each picture in any case."""
    noise = ImageNoise([3, 2**64 - 1], SHAPE, CPU, Drawing(source=source))
    first, second = noise.next(), noise.next()
    for number, seed in enumerate((3, 2**64 - 1)):
        theirs = torchs(seed, SHAPE, SHAPE)
        assert torch.equal(first[number], theirs[0])
        assert torch.equal(second[number], theirs[1])


def philox(seed: int, shape: tuple[int, ...] = SHAPE, calls: int = 1) -> Tensor:
    generator = PhiloxGenerator(seed)
    return torch.from_numpy([generator.randn(shape) for _ in range(calls)][-1])


def on_the_arc(low: np.ndarray, high: np.ndarray, share: float) -> np.ndarray:
    """Shoemake's slerp of each vector along the first axis after the channels, in float64."""
    result = np.empty_like(low, dtype=np.float64)
    for channel, column in np.ndindex(low.shape[0], low.shape[2]):
        a, b = low[channel, :, column].astype(float), high[channel, :, column].astype(float)
        angle = math.acos(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
        weights = math.sin((1 - share) * angle) / math.sin(angle), math.sin(share * angle) / math.sin(angle)
        result[channel, :, column] = weights[0] * a + weights[1] * b
    return result


def test_a_variation_goes_along_the_arc_and_later_noise_is_the_seeds() -> None:
    noise = ImageNoise([5, 5], SHAPE, CPU, Drawing(strength=0.3), variation_seeds=[8, 9])
    first, later = noise.next(), noise.next()
    for number, other in enumerate((8, 9)):
        np.testing.assert_allclose(first[number], on_the_arc(philox(5).numpy(), philox(other).numpy(), 0.3), atol=1e-5)
        assert torch.equal(later[number], philox(5, calls=2))
    whole = ImageNoise([5], SHAPE, CPU, Drawing(strength=1.0), variation_seeds=[8]).next()
    torch.testing.assert_close(whole[0], philox(8), rtol=0, atol=1e-5)
    none = ImageNoise([5], SHAPE, CPU, variation_seeds=[8]).next()
    assert torch.equal(none[0], philox(5))


def test_a_variation_towards_itself_is_the_same() -> None:
    same = ImageNoise([5], SHAPE, CPU, Drawing(strength=0.3), variation_seeds=[5]).next()
    torch.testing.assert_close(same[0], philox(5))


@pytest.mark.parametrize(
    ("size", "into", "of"),
    [
        ((4, 6), np.s_[:, 2:6, 1:7], np.s_[:, :, :]),
        ((3, 8), np.s_[:, 2:5, :], np.s_[:, :, :]),
        ((12, 10), np.s_[:, :, :], np.s_[:, 2:10, 1:9]),
        ((9, 8), np.s_[:, 0:7, :], np.s_[:, 1:8, :]),  # half of -1 is rounded down
        ((16, 2), np.s_[:, :, 3:5], np.s_[:, 4:12, :]),
    ],
)
def test_noise_of_another_size_lies_in_the_middle_of_this_ones(
    size: tuple[int, int], into: tuple[slice, ...], of: tuple[slice, ...]
) -> None:
    noise = ImageNoise([5], SHAPE, CPU, Drawing(drawn_at=size))
    wanted = philox(5)
    wanted[into] = philox(5, (4, *size))[of]
    assert torch.equal(noise.next()[0], wanted)
    assert torch.equal(noise.next()[0], philox(5, calls=2))
    varied = ImageNoise([5], SHAPE, CPU, Drawing(drawn_at=size, strength=0.5), variation_seeds=[6]).next()[0]
    there = slerp(philox(5, (4, *size)), philox(6, (4, *size)), 0.5)
    assert torch.equal(varied[into], there[of])


def test_the_same_size_is_no_resize() -> None:
    assert torch.equal(ImageNoise([5], SHAPE, CPU, Drawing(drawn_at=SHAPE[1:])).next()[0], philox(5))


def test_the_delta_of_the_seed_is_for_all_noise_but_the_first() -> None:
    noise = ImageNoise([5, 2**64 - 1], SHAPE, CPU, Drawing(seed_delta=31337))
    first, second, third = noise.next(), noise.next(), noise.next()
    assert torch.equal(first[0], philox(5))
    assert torch.equal(second[0], philox(5 + 31337))
    assert torch.equal(third[0], philox(5 + 31337, calls=2))
    assert torch.equal(second[1], philox(31336))


def test_a_path_obeys_the_source(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = BrownianNoise(torch.zeros(1, *SHAPE), SIGMAS[-1], SIGMAS[0], [7], "CPU")(SIGMAS[0], SIGMAS[1])

    def local(size: tuple[int, ...], dtype: torch.dtype, device: torch.device, seed: int) -> Tensor:
        return torchs(int(seed), size)[0].to(device, dtype)

    monkeypatch.setattr(brownian_interval, "_randn", local)
    tree = torchsde.BrownianTree(SIGMAS[-1], torch.zeros(SHAPE), SIGMAS[0], entropy=7)
    theirs = tree(round(SIGMAS[1], 6), round(SIGMAS[0], 6))
    assert isinstance(theirs, Tensor)
    assert torch.equal(ours[0], -theirs * (1 / math.sqrt(SIGMAS[0] - SIGMAS[1])))
