"""Latents to pictures and back on a tiny autoencoder with random weights."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import Tensor

from backend.imaging.vae import decode, encode, in_float32, in_tiles
from tests.checkpoints import tiny

SCALE = 0.18215


@pytest.fixture
def vae() -> AutoencoderKL:
    with torch.inference_mode(False):  # as a checkpoint is loaded
        return tiny("sd1").vae


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


def widths(vae: AutoencoderKL) -> list[tuple[int, ...]]:
    """Heights and widths of what its first layers see from now on."""
    seen: list[tuple[int, ...]] = []
    for name in ("decoder.conv_in", "encoder.conv_in"):
        vae.get_submodule(name).register_forward_pre_hook(lambda _m, args: seen.append(tuple(args[0].shape[-2:])))
    return seen


def test_pictures_are_decoded_one_at_a_time_as_the_network_does(vae: AutoencoderKL) -> None:
    z = torch.randn(3, 4, 6, 5)
    seen = widths(vae)
    ours = decode(vae, z, SCALE)
    assert seen == [(6, 5)] * 3
    assert ours.shape == (3, 3, 48, 40)
    for k in range(3):
        assert torch.equal(ours[k : k + 1], vae.decode(z[k : k + 1] / SCALE, return_dict=False)[0])  # pyright: ignore


def test_encoding_gives_the_mean_and_is_the_same_twice(vae: AutoencoderKL) -> None:
    pixels = torch.rand(2, 3, 48, 40) * 2 - 1
    ours = encode(vae, pixels, SCALE)
    assert ours.shape == (2, 4, 6, 5)
    assert torch.equal(ours, encode(vae, pixels, SCALE))
    assert torch.equal(ours[1:], vae.encode(pixels[1:], return_dict=False)[0].mean * SCALE)


@pytest.mark.parametrize("height", [33, 40, 56])
@pytest.mark.parametrize("width", [8, 32, 45])
def test_tiles_give_the_whole_size_and_nearly_the_whole_picture(vae: AutoencoderKL, height: int, width: int) -> None:
    z = torch.randn(1, 4, height, width)
    whole, seen = decode(vae, z, 1.0), widths(vae)
    tiled = decode(vae, z, 1.0, tile=32)
    assert tiled.shape == whole.shape == (1, 3, 8 * height, 8 * width)
    assert max(side for sides in seen for side in sides) <= 32
    # Each tile is normalised on its own, so they are not equal; another picture differs far more.
    other = decode(vae, torch.randn(1, 4, height, width), 1.0)
    assert (tiled - whole).abs().mean() < 0.3 * whole.std()
    assert (other - whole).abs().mean() > 0.6 * whole.std()


@pytest.mark.parametrize("size", [(320, 264), (256, 400), (384, 64)])
def test_a_picture_is_encoded_in_tiles_too(vae: AutoencoderKL, size: tuple[int, int]) -> None:
    pixels = torch.nn.functional.interpolate(torch.rand(1, 3, 8, 8) * 2 - 1, size, mode="bilinear")
    whole, tiled = encode(vae, pixels, 1.0), encode(vae, pixels, 1.0, tile=256)
    assert tiled.shape == whole.shape == (1, 4, size[0] // 8, size[1] // 8)
    assert (tiled - whole).abs().mean() < 0.4 * whole.std()
    assert (encode(vae, -pixels, 1.0) - whole).abs().mean() > 0.6 * whole.std()


def test_what_fits_into_one_tile_is_the_whole_to_the_bit(vae: AutoencoderKL) -> None:
    z = torch.randn(1, 4, 16, 9)
    assert torch.equal(decode(vae, z, SCALE, tile=16), decode(vae, z, SCALE))


@pytest.mark.parametrize(("height", "width"), [(16, 16), (50, 16), (33, 47), (100, 7)])
@pytest.mark.parametrize("factor", [8, 1])
def test_tiles_of_a_function_without_context_are_exact(height: int, width: int, factor: int) -> None:
    """No seam, no shift, no place left out: enlarging commutes with cutting."""
    x = torch.randn(1, 2, height, width)

    def enlarge(part: Tensor) -> Tensor:
        return part.repeat_interleave(factor, -1).repeat_interleave(factor, -2)

    torch.testing.assert_close(in_tiles(enlarge, x, 16), enlarge(x), rtol=1e-5, atol=1e-6)


def test_tiles_of_a_function_that_shrinks_are_exact() -> None:
    x = torch.randn(1, 2, 136, 200)
    shrink: Any = torch.nn.AvgPool2d(8)
    torch.testing.assert_close(in_tiles(shrink, x, 64), shrink(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("tile", [None, 16])
def test_what_overflows_in_half_precision_is_done_again_in_full(vae: AutoencoderKL, tile: int | None) -> None:
    with torch.inference_mode(False):
        vae.half()
        vae.decoder.conv_in.weight.fill_(60_000)  # finite as a half; a sum of them is not
    z = torch.randn(1, 4, 24, 8) + 3
    parameters = list(vae.parameters())
    assert not vae.decode(z.half(), return_dict=False)[0].isfinite().all()  # pyright: ignore[reportArgumentType]
    found = decode(vae, z, 1.0, tile=tile)
    assert found.isfinite().all()
    assert found.dtype == torch.float32
    assert vae.dtype == torch.float16
    assert all(a is b for a, b in zip(parameters, vae.parameters(), strict=True))
    with torch.inference_mode(False):
        vae.float()
    expected = decode(vae, z, 1.0, tile=tile)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_latents_that_are_no_numbers_are_not_tried_twice(vae: AutoencoderKL) -> None:
    with torch.inference_mode(False):
        vae.half()
    seen = widths(vae)
    assert not decode(vae, torch.full((1, 4, 8, 8), torch.nan), SCALE).isfinite().any()
    assert len(seen) == 1


def test_what_is_broken_in_full_precision_is_given_back(vae: AutoencoderKL) -> None:
    vae.decoder.conv_out.bias.data.fill_(torch.nan)  # pyright: ignore[reportOptionalMemberAccess]
    assert decode(vae, torch.zeros(1, 4, 8, 8), SCALE).isnan().all()


def test_a_module_has_its_own_parameters_again_after_a_fault(vae: AutoencoderKL) -> None:
    vae.half()
    parameters = list(vae.parameters())
    with in_float32(vae):
        assert vae.dtype == torch.float32
    with pytest.raises(ZeroDivisionError), in_float32(vae):
        raise ZeroDivisionError
    assert all(a is b for a, b in zip(parameters, vae.parameters(), strict=True))
