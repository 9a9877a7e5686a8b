"""The denoiser on a UNet that answers by rule, and on a real one."""

from typing import Any, cast

import pytest
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor

from backend.families.ldm import alphas_cumprod
from backend.sampling.denoiser import Conditioning, GuidedDenoiser
from backend.sampling.schedules import SigmaTable
from tests.checkpoints import tiny

TABLE = SigmaTable(alphas_cumprod().tolist())
SIGMAS = [0.05, 1.0, 14.0]


class Oracle:
    """Knows the clean picture and answers what a perfectly trained UNet would: the noise, or the velocity."""

    dtype = torch.float32

    def __init__(self, clean: Tensor, prediction: str):
        self.clean, self.prediction = clean, prediction
        self.calls: list[tuple[Tensor, Tensor, dict[str, Any]]] = []

    def __call__(self, x: Tensor, t: Tensor, **told: Any) -> tuple[Tensor]:
        self.calls.append((x, t, told))
        x = x[:, :4]
        signal = (1 / (1 + TABLE.t_to_sigma(float(t)) ** 2)) ** 0.5  # sqrt of alphas_cumprod
        share = (1 - signal**2) ** 0.5
        noise = (x - signal * self.clean) / share
        return (noise if self.prediction == "epsilon" else signal * noise - share * self.clean,)


def words(length: int = 77, *, pooled: bool = False) -> Conditioning:
    extra: dict[str, Any] = {"pooled": torch.randn(8), "sizes": (64.0, 72.0)} if pooled else {}
    return Conditioning(context=torch.randn(length, 16), **extra)


def asked(unet: Any, *conditionings: Conditioning, cfg: float = 5.0, **options: Any) -> GuidedDenoiser:
    cond, uncond = (*conditionings, None)[:2]
    return GuidedDenoiser(cast("UNet2DConditionModel", unet), TABLE, cast("Conditioning", cond), uncond, cfg, **options)


@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize("prediction", ["epsilon", "v"])
def test_a_perfect_guess_gives_the_clean_picture(prediction: Any, sigma: float) -> None:
    clean = torch.randn(2, 4, 8, 8)
    x = clean + sigma * torch.randn(2, 4, 8, 8)
    unet = Oracle(clean, prediction)
    found = asked(unet, words(), prediction=prediction)(x, sigma)
    torch.testing.assert_close(found, clean, rtol=1e-3, atol=2e-3)
    (seen, t, _) = unet.calls[0]
    torch.testing.assert_close(seen, x / (1 + sigma**2) ** 0.5)
    assert float(t) == pytest.approx(TABLE.sigma_to_t(sigma), rel=1e-6)


def test_from_noise_alone_a_guessed_velocity_still_tells_the_picture() -> None:
    """At the last level of zero terminal SNR a guess of the noise says nothing; the velocity is minus the picture."""
    table = SigmaTable(alphas_cumprod(zero_terminal_snr=True).tolist())
    clean = torch.randn(1, 4, 8, 8)

    class Velocity:
        dtype = torch.float32

        def __call__(self, *_args: Any, **_told: Any) -> tuple[Tensor]:
            return (-clean,)

    unet = cast("UNet2DConditionModel", Velocity())
    found = GuidedDenoiser(unet, table, words(), None, 1.0, prediction="v")(
        torch.randn(1, 4, 8, 8) * table.sigma_max, table.sigma_max
    )
    torch.testing.assert_close(found, clean, rtol=0, atol=0.002)


class Contexts:
    """Answers with noise that is the mean of what it was told."""

    dtype = torch.float32

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []
        self.sizes: list[int] = []

    def __call__(self, x: Tensor, _t: Tensor, **told: Any) -> tuple[Tensor]:
        self.calls.append(told)
        self.sizes.append(len(x))
        return (told["encoder_hidden_states"].mean(dim=(1, 2))[:, None, None, None].expand(-1, 4, 8, 8),)


@pytest.mark.parametrize(("length", "calls"), [(77, [4]), (154, [2, 2])])
def test_guidance_goes_from_the_negative_to_the_prompt(length: int, calls: list[int]) -> None:
    unet, x, sigma = Contexts(), torch.randn(2, 4, 8, 8), 3.0
    cond, uncond = words(), words(length)
    found = asked(unet, cond, uncond)(x, sigma)
    plus, minus = (x - sigma * c.context.mean() for c in (cond, uncond))
    torch.testing.assert_close(found, minus + 5 * (plus - minus), rtol=1e-4, atol=1e-4)
    assert unet.sizes == calls


@pytest.mark.parametrize("length", [77, 154])
def test_what_is_told_besides_the_words_reaches_each_picture(length: int) -> None:
    unet = Contexts()
    cond, uncond = words(pooled=True), words(length, pooled=True)
    asked(unet, cond, uncond)(torch.randn(3, 4, 8, 8), 1.0)
    told = [call["added_cond_kwargs"] for call in unet.calls]
    pooled = torch.cat([part["text_embeds"] for part in told])
    assert cond.pooled is not None
    assert uncond.pooled is not None
    assert torch.equal(pooled, torch.stack([cond.pooled] * 3 + [uncond.pooled] * 3))
    assert torch.equal(torch.cat([part["time_ids"] for part in told]), torch.tensor([[64.0, 72.0]] * 6))


def test_a_plain_unet_is_told_nothing_more() -> None:
    unet = Contexts()
    asked(unet, words(), words())(torch.randn(1, 4, 8, 8), 1.0)
    assert set(unet.calls[0]) == {"encoder_hidden_states", "return_dict"}


def test_another_picture_stands_beside_every_latent() -> None:
    clean, picture = torch.randn(2, 4, 8, 8), torch.randn(1, 5, 8, 8)
    unet, x = Oracle(clean.repeat(2, 1, 1, 1), "epsilon"), torch.randn(2, 4, 8, 8)
    asked(unet, words(), words(), picture=picture)(x, 1.0)
    (seen, _, _) = unet.calls[0]
    assert seen.shape == (4, 9, 8, 8)
    torch.testing.assert_close(seen[:, :4], (x / 2**0.5).repeat(2, 1, 1, 1))
    assert torch.equal(seen[:, 4:], picture.expand(4, -1, -1, -1))


class Shown:
    """Answers with noise that tells what it was shown and told: 10 times the picture's mean and the words'."""

    dtype = torch.float32

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def __call__(self, x: Tensor, _t: Tensor, **told: Any) -> tuple[Tensor]:
        self.sizes.append(len(x))
        seen = x[:, 4:].mean(dim=(1, 2, 3)) * 10 + told["encoder_hidden_states"].mean(dim=(1, 2))
        return (seen[:, None, None, None].expand(-1, 4, 8, 8),)


@pytest.mark.parametrize(("length", "calls"), [(77, [6]), (154, [2, 2, 2])])
def test_a_picture_that_is_edited_guides_too(length: int, calls: list[int]) -> None:
    """Brooks et al. 2023, equation 3: from neither, to the picture, to picture and words."""
    unet, x, sigma = Shown(), torch.randn(2, 4, 8, 8), 3.0
    cond, uncond, picture = words(), words(length), torch.randn(1, 4, 8, 8)
    found = asked(unet, cond, uncond, cfg=7, picture=picture, image_cfg_scale=1.5)(x, sigma)
    seen = 10 * picture.mean()
    both, image, neither = (
        x - sigma * each for each in (seen + cond.context.mean(), seen + uncond.context.mean(), uncond.context.mean())
    )
    torch.testing.assert_close(found, neither + 7 * (both - image) + 1.5 * (image - neither), rtol=1e-4, atol=1e-3)
    assert unet.sizes == calls


def test_at_an_image_scale_of_1_the_picture_is_part_of_both() -> None:
    unet, x, picture = Shown(), torch.randn(2, 4, 8, 8), torch.randn(1, 4, 8, 8)
    cond, uncond = words(), words()
    found = asked(unet, cond, uncond, picture=picture, image_cfg_scale=1)(x, 1.0)
    plain = asked(unet, cond, uncond, picture=picture)(x, 1.0)
    assert torch.equal(found, plain)
    assert unet.sizes == [4, 4]


@torch.inference_mode()
def test_a_half_precision_unet_sees_halves_and_answers_in_full() -> None:
    unet = tiny("sd1").unet.half()
    context = torch.randn(77, 64, dtype=torch.float16)
    x = torch.randn(1, 4, 8, 8)
    found = asked(unet, Conditioning(context=context), cfg=1.0)(x, 1.0)
    assert found.dtype == torch.float32
    exact = asked(unet.float(), Conditioning(context=context.float()), cfg=1.0)(x, 1.0)
    torch.testing.assert_close(found, exact, rtol=0.05, atol=0.05)
