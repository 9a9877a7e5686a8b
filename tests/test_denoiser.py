"""The denoiser on a UNet that answers by rule, and on a real one."""

from typing import Any, cast

import pytest
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor

from backend.errors import InvalidRequest
from backend.families.ldm import alphas_cumprod
from backend.sampling.conditioning import Conditioning, PromptConditioning, WeightedSchedule
from backend.sampling.denoiser import Guide, GuidedDenoiser, Words
from backend.sampling.schedules import SigmaTable
from backend.sampling_options import Guidance
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


Told = Conditioning | PromptConditioning


def prompt(told: Told) -> PromptConditioning:
    return told if isinstance(told, PromptConditioning) else PromptConditioning.plain(told)


def asked(
    unet: Any,
    cond: Told,
    uncond: Told | None = None,
    *,
    cfg: float = 5.0,
    empty: Conditioning | None = None,
    prediction: Any = "epsilon",
    picture: Tensor | None = None,
    **guide: Any,
) -> GuidedDenoiser:
    """A denoiser; `guide` are further values of a `Guide`."""
    said = Words(cond=prompt(cond), uncond=None if uncond is None else prompt(uncond), empty=empty)
    network = cast("UNet2DConditionModel", unet)
    return GuidedDenoiser(network, TABLE, said, Guide(cfg_scale=cfg, **guide), prediction=prediction, picture=picture)


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
    said = Words(cond=PromptConditioning.plain(words()))
    denoise = GuidedDenoiser(unet, table, said, Guide(cfg_scale=1.0), prediction="v")
    found = denoise(torch.randn(1, 4, 8, 8) * table.sigma_max, table.sigma_max)
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


def test_another_guidance_method_combines_both_guesses_and_leads_to_no_picture() -> None:
    unet, x, seen = Shown(), torch.randn(2, 4, 8, 8), []
    cond, uncond, picture = words(), words(), torch.randn(1, 4, 8, 8)

    def combine(*told: Any) -> Tensor:
        seen.append(told)
        return x

    options = Guidance(method="Other")
    assert asked(unet, cond, uncond, cfg=3, picture=picture, options=options, combine=combine)(x, 2.0) is x
    ((prompts, negatives, *told),) = seen
    assert told == [3, x, 2.0]
    torch.testing.assert_close(prompts, asked(unet, cond, picture=picture)(x, 2.0))
    torch.testing.assert_close(negatives, asked(unet, uncond, picture=picture)(x, 2.0))
    with pytest.raises(InvalidRequest, match="Other does not guide towards a picture: choose CFG"):
        asked(unet, cond, uncond, picture=picture, image_cfg_scale=1.5, options=options)


@torch.inference_mode()
@pytest.mark.parametrize("length", [77, 154])
def test_pictures_that_go_apart_are_those_that_are_made_alone(length: int) -> None:
    """To the bit, on a real network; and the same as together, but for rounding."""
    unet, x = tiny("sd1").unet, torch.randn(3, 4, 8, 8)
    cond, uncond = (PromptConditioning.plain(Conditioning(context=torch.randn(n, 64))) for n in (77, length))
    said, guide = Words(cond=cond, uncond=uncond), Guide(cfg_scale=5)
    together, apart = (GuidedDenoiser(unet, TABLE, said, guide, apart=each)(x, 3.0) for each in (False, True))
    alone = torch.cat([GuidedDenoiser(unet, TABLE, said, guide)(each, 3.0) for each in x.split(1)])
    assert torch.equal(apart, alone)
    torch.testing.assert_close(apart, together, rtol=0, atol=1e-3)


@torch.inference_mode()
def test_a_half_precision_unet_sees_halves_and_answers_in_full() -> None:
    unet = tiny("sd1").unet.half()
    context = torch.randn(77, 64, dtype=torch.float16)
    x = torch.randn(1, 4, 8, 8)
    found = asked(unet, Conditioning(context=context), cfg=1.0)(x, 1.0)
    assert found.dtype == torch.float32
    exact = asked(unet.float(), Conditioning(context=context.float()), cfg=1.0)(x, 1.0)
    torch.testing.assert_close(found, exact, rtol=0.05, atol=0.05)


def joined(*parts: tuple[Conditioning, float]) -> PromptConditioning:
    """Prompts that AND joins, with their weights."""
    return PromptConditioning(
        parts=tuple(WeightedSchedule(schedule=((0, said),), weight=weight) for said, weight in parts)
    )


def changing(*schedule: tuple[int, Conditioning]) -> PromptConditioning:
    return PromptConditioning(parts=(WeightedSchedule(schedule=schedule),))


@pytest.mark.parametrize(("length", "calls"), [(77, [6]), (154, [4, 2])])
def test_prompts_that_and_joins_lead_each_their_way(length: int, calls: list[int]) -> None:
    """Liu et al. 2022, equation 11, with a weight below zero."""
    unet, x, sigma = Contexts(), torch.randn(2, 4, 8, 8), 3.0
    red, blue, uncond = words(), words(), words(length)
    found = asked(unet, joined((red, 0.75), (blue, -0.5)), uncond, cfg=4)(x, sigma)
    first, second, minus = (x - sigma * each.context.mean() for each in (red, blue, uncond))
    torch.testing.assert_close(
        found, minus + 4 * 0.75 * (first - minus) - 4 * 0.5 * (second - minus), rtol=1e-4, atol=1e-4
    )
    assert unet.sizes == calls


def test_the_shorter_of_two_that_and_joins_repeats_its_last_token() -> None:
    unet, long, short = Contexts(), words(154), words(77)
    asked(unet, joined((long, 1), (short, 1)), words(154))(torch.randn(1, 4, 8, 8), 1.0)
    (call,) = unet.calls
    told = call["encoder_hidden_states"]
    assert torch.equal(told[0], long.context)
    assert torch.equal(told[1], torch.cat([short.context, short.context[-1:].expand(77, -1)]))


def test_words_change_after_their_last_call() -> None:
    """And when all are past, as samplers that choose their own steps may have it, the first are said again."""
    unet, x = Contexts(), torch.randn(1, 4, 8, 8)
    red, blue, low, high = words(), words(), words(), words()
    denoise = asked(unet, changing((1, red), (3, blue)), changing((0, low), (4, high)))
    for _ in range(6):
        denoise(x, 1.0)
    told = [call["encoder_hidden_states"] for call in unet.calls]
    expected = [(red, low), (red, high), (blue, high), (blue, high), (red, high), (red, low)]
    for (cond, uncond), (plus, minus) in zip(told, expected, strict=True):
        assert torch.equal(cond, plus.context)
        assert torch.equal(uncond, minus.context)
    assert denoise.call == 6
    denoise.restart()
    denoise(x, 1.0)
    assert torch.equal(unet.calls[-1]["encoder_hidden_states"], told[0])
    denoise.restart(2)
    denoise(x, 1.0)
    assert torch.equal(unet.calls[-1]["encoder_hidden_states"], told[2])


def asked_pictures(denoise: GuidedDenoiser, unet: Contexts, sigmas: list[float]) -> list[int]:
    """How many pictures the network made at each of these noise levels."""
    for sigma in sigmas:
        denoise(torch.randn(1, 4, 8, 8), sigma)
    return unet.sizes


@pytest.mark.parametrize(
    ("options", "sizes"),
    [
        (Guidance(), [2, 2, 2, 2, 2, 2]),
        (Guidance(ngms=4), [2, 2, 2, 1, 2, 1]),
        (Guidance(ngms=4, ngms_all_steps=True), [2, 2, 1, 1, 1, 1]),
        (Guidance(skip_early=0.5), [1, 1, 1, 1, 2, 2]),
        (Guidance(skip_early=0.1), [1, 2, 2, 2, 2, 2]),
        (Guidance(skip_early=0.2, ngms=4), [1, 1, 2, 1, 2, 1]),
    ],
)
def test_the_negative_prompt_is_left_out_where_it_is_to_be(options: Guidance, sizes: list[int]) -> None:
    unet = Contexts()
    denoise = asked(unet, words(), words(), options=options, calls=6)
    assert asked_pictures(denoise, unet, [14, 8, 3.9, 2, 1, 0.5]) == sizes


def test_ddim_and_its_kin_compare_the_minimum_with_timesteps() -> None:
    unet = Contexts()
    denoise = asked(unet, words(), words(), options=Guidance(ngms=4, ngms_all_steps=True), by_timestep=True)
    assert asked_pictures(denoise, unet, [1.0, TABLE.t_to_sigma(4.5), TABLE.t_to_sigma(3.5)]) == [2, 2, 1]


def test_without_the_negative_prompt_the_first_is_led_by_the_others() -> None:
    unet, x, sigma = Contexts(), torch.randn(1, 4, 8, 8), 2.0
    red, blue = words(), words()
    options = Guidance(ngms=4, ngms_all_steps=True)
    denoise = asked(unet, joined((red, 0.5), (blue, 0.25)), words(), options=options)
    first, second = (x - sigma * each.context.mean() for each in (red, blue))
    torch.testing.assert_close(denoise(x, sigma), first + 0.25 * (second - first), rtol=1e-4, atol=1e-4)
    alone = asked(unet, joined((red, 0.5)), words(), options=options)
    torch.testing.assert_close(alone(x, sigma), first, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("ngms", [0.0, 4.0])
def test_the_guess_for_the_negative_prompt_is_there_afterwards(ngms: float) -> None:
    unet, x, sigma = Contexts(), torch.randn(2, 4, 8, 8), 2.0
    uncond = words()
    denoise = asked(unet, words(), uncond, options=Guidance(ngms=ngms, ngms_all_steps=True))
    assert denoise.last_uncond is None
    found = denoise(x, sigma)
    expected = found if ngms else x - sigma * uncond.context.mean()
    torch.testing.assert_close(denoise.last_uncond, expected, rtol=1e-4, atol=1e-4)


class Rotated:
    """Answers with another noise for each context, of a spread that it tells."""

    dtype = torch.float32

    def __call__(self, x: Tensor, _t: Tensor, **told: Any) -> tuple[Tensor]:
        scale = told["encoder_hidden_states"].mean(dim=(1, 2))[:, None, None, None]
        return (x.roll(1, dims=-1) * scale + x * scale**2,)


@pytest.mark.parametrize("prediction", ["epsilon", "v"])
@pytest.mark.parametrize("phi", [0.7, 1.0])
def test_rescaled_guidance_has_the_spread_of_the_prompts_guess(prediction: Any, phi: float) -> None:
    """Lin et al. 2023, equations 14 to 16, on what the network answers."""
    x, sigma = torch.randn(2, 4, 8, 8) * 3, 3.0
    cond, uncond = (Conditioning(context=torch.full((77, 16), value)) for value in (0.7, -0.4))
    found = asked(Rotated(), cond, uncond, cfg=9, prediction=prediction, options=Guidance(rescale=phi))(x, sigma)
    inputs = x / (sigma**2 + 1) ** 0.5
    plus, minus = (Rotated()(inputs, x, encoder_hidden_states=c.context.expand(2, -1, -1))[0] for c in (cond, uncond))
    guided = minus + 9 * (plus - minus)
    spread = plus.std(dim=(1, 2, 3), keepdim=True) / guided.std(dim=(1, 2, 3), keepdim=True)
    answer = phi * guided * spread + (1 - phi) * guided
    variance = sigma**2 + 1
    clean = x - sigma * answer if prediction == "epsilon" else x / variance - answer * sigma / variance**0.5
    torch.testing.assert_close(found, clean, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("longer", ["cond", "uncond"])
def test_padding_with_chunks_without_words_makes_one_batch(longer: str) -> None:
    unet, empty = Contexts(), words()
    lengths = {"cond": 77, "uncond": 77, longer: 231}
    cond, uncond = words(lengths["cond"]), words(lengths["uncond"])
    asked(unet, cond, uncond, empty=empty)(torch.randn(1, 4, 8, 8), 1.0)
    (call,) = unet.calls
    for told, said in zip(call["encoder_hidden_states"], (cond, uncond), strict=True):
        missing = (231 - len(said.context)) // 77
        assert torch.equal(told, torch.cat([said.context, *[empty.context] * missing]))


def test_prompts_that_and_joins_guide_an_edit_too() -> None:
    unet, x, sigma = Shown(), torch.randn(1, 4, 8, 8), 3.0
    red, blue, uncond, picture = words(), words(), words(), torch.randn(1, 4, 8, 8)
    both = joined((red, 1.0), (blue, 0.5))
    found = asked(unet, both, uncond, cfg=7, picture=picture, image_cfg_scale=1.5)(x, sigma)
    seen = 10 * picture.mean()
    first, second, image = (x - sigma * (seen + each.context.mean()) for each in (red, blue, uncond))
    neither = x - sigma * uncond.context.mean()
    expected = neither + 7 * (first - image) + 3.5 * (second - image) + 1.5 * (image - neither)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)


def test_nothing_is_stacked_twice_for_words_that_alternate() -> None:
    red, blue, uncond = words(), words(), words()
    unet = Contexts()
    schedule = [(call, (red, blue)[call % 2]) for call in range(8)]
    denoise = asked(unet, changing(*schedule), uncond, options=Guidance(ngms=4))
    x = torch.randn(1, 4, 8, 8)
    for _ in schedule:
        denoise(x, 1.0)
    assert len(denoise._stacked) == 2
    assert unet.sizes == [2, 1] * 4
