"""How sampling begins with latents that are known, and what a mask keeps of them."""

import pytest
import torch
from torch import Tensor

from backend.families.ldm import alphas_cumprod
from backend.init_image import SoftInpainting
from backend.sampling.img2img import Known, lengthened, seen_difference, shortened, soft_blend, soft_mask
from backend.sampling.plan import Plan, plan_for, sigmas_for
from backend.sampling.samplers import SAMPLER_NAMES, find_sampler
from backend.sampling.schedules import SigmaTable

TABLE = SigmaTable(alphas_cumprod().tolist())


class Counted:
    """A denoiser that always guesses `clean`."""

    def __init__(self, clean: Tensor):
        self.clean = clean
        self.sigmas: list[float] = []
        self.steps: list[int] = []
        self.last_uncond: Tensor | None = None

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        self.sigmas.append(sigma)
        return self.clean.expand_as(x)


def run(sampler: str, plan: Plan, denoise: Counted, known: Known, noise: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return find_sampler(sampler).function(
        known.kept(denoise),
        plan.start(noise, known.latents),
        plan.sigmas,
        noise=lambda _a, _b: torch.randn(noise.shape, generator=generator),
        on_step=lambda index, _d: denoise.steps.append(index),
    )


@pytest.mark.parametrize(("steps", "strength", "count"), [(20, 0.75, 16), (30, 0.4, 13), (50, 1, 50), (10, 0.05, 1)])
def test_the_denoiser_is_called_as_often_as_a1111s(steps: int, strength: float, count: int) -> None:
    taken = shortened(steps, strength)
    plan = plan_for(find_sampler("Euler"), "Karras", taken.scheduled, TABLE, taken=taken.taken)
    known = Known(latents=torch.zeros(1, 4, 4, 4))
    denoise = Counted(torch.zeros(1, 4, 4, 4))
    run("Euler", plan, denoise, known, torch.randn(1, 4, 4, 4))
    assert len(denoise.sigmas) == count
    whole = sigmas_for(find_sampler("Euler"), "Karras", steps, TABLE)
    assert denoise.sigmas == whole[steps - count : steps]


@pytest.mark.parametrize(
    ("steps", "strength", "scheduled"), [(20, 0.7, 28), (15, 0.45, 33), (20, 1, 20), (150, 0.1, 1000), (5, 0, 1000)]
)
def test_hires_takes_all_steps_of_a_longer_schedule(steps: int, strength: float, scheduled: int) -> None:
    found = lengthened(steps, strength)
    assert (found.scheduled, found.taken) == (scheduled, steps)


@pytest.mark.parametrize("sampler", SAMPLER_NAMES)
def test_every_sampler_can_begin_late(sampler: str) -> None:
    row = find_sampler(sampler)
    taken = shortened(20, 0.5)
    plan = plan_for(row, "Automatic", taken.scheduled, TABLE, taken=taken.taken)
    clean = torch.randn(2, 4, 4, 4, generator=torch.Generator().manual_seed(1))
    known, denoise = Known(latents=torch.zeros(1, 4, 4, 4)), Counted(clean)
    noise = torch.randn(2, 4, 4, 4, generator=torch.Generator().manual_seed(2))
    made = run(sampler, plan, denoise, known, noise)
    # AUTOMATIC1111 begins DDIM and its kin one timestep below the one that noise is put on at, and ends at the last.
    assert plan.steps == ({"UniPC": 10}.get(sampler, 9) if row.unit_variance else 11)
    assert denoise.steps[-1] < plan.steps
    assert max(denoise.sigmas) == plan.sigmas[0]
    torch.testing.assert_close(made, clean, rtol=0, atol=0.2)  # noise of the last level, 0.04, of which some is left


def test_it_begins_with_the_latents_and_noise_of_the_level() -> None:
    latents, noise = torch.randn(1, 4, 4, 4), torch.randn(3, 4, 4, 4)
    plan = plan_for(find_sampler("Euler"), "Karras", 20, TABLE, taken=11)
    assert torch.equal(plan.start(noise, latents), latents + noise * plan.sigmas[0])


@pytest.mark.parametrize("sampler", SAMPLER_NAMES)
def test_what_is_not_masked_stays_exactly_and_what_is_becomes_the_guess(sampler: str) -> None:
    latents, clean = torch.randn(1, 4, 6, 6), torch.randn(1, 4, 6, 6)
    mask = torch.zeros(1, 1, 6, 6)
    mask[..., :3] = 1
    known, row = Known(latents=latents, mask=mask), find_sampler(sampler)
    plan = plan_for(row, "Automatic", 12, TABLE, taken=10)
    made = known.finished(run(sampler, plan, Counted(clean), known, torch.randn(2, 4, 6, 6)))
    assert torch.equal(made[..., 3:], latents[..., 3:].expand(2, -1, -1, -1))
    # Some end at a level above 0, and that much of the noise stays: of normal numbers none is seven deviations off.
    left = max(0.02, 7 * plan.sigmas[-1])
    torch.testing.assert_close(made[..., :3], clean[..., :3].expand(2, -1, -1, -1), rtol=0, atol=left)


def test_the_blend_is_of_the_guess_at_every_call() -> None:
    """Not of the noisy latents: the sampler sees the kept latents as what the network guessed, at each noise level."""
    latents, clean = torch.full((1, 4, 2, 2), 5.0), torch.zeros(1, 4, 2, 2)
    mask = torch.zeros(1, 1, 2, 2)
    mask[..., 0] = 1
    denoise = Counted(clean)
    guess = Known(latents=latents, mask=mask).kept(denoise)
    for sigma in (14.0, 1.0, 0.03):
        seen = guess(torch.randn(1, 4, 2, 2), sigma)
        assert (seen[..., 0] == 0).all() and (seen[..., 1] == 5).all()
    assert denoise.sigmas == [14.0, 1.0, 0.03]


def test_latent_noise_and_nothing_stand_under_the_mask() -> None:
    latents, noise = torch.randn(1, 4, 2, 2), torch.randn(3, 4, 2, 2)
    mask = torch.zeros(1, 1, 2, 2)
    mask[..., 0] = 1
    known = Known(latents=latents, mask=mask)
    nothing, noisy = known.emptied(None).latents, known.emptied(noise).latents
    assert not nothing[..., 0].any() and torch.equal(nothing[..., 1], latents[..., 1])
    assert torch.equal(noisy[..., 0], noise[..., 0])
    assert torch.equal(noisy[..., 1], latents[..., 1].expand(3, -1, -1))
    assert torch.equal(known.part(1, 1).latents, latents)
    assert torch.equal(known.emptied(noise).part(1, 2).latents, noisy[1:])


def test_a_soft_mask_opens_as_noise_goes() -> None:
    mask = torch.tensor([0.0, 0.2, 0.5, 1.0])
    early, late = soft_mask(SoftInpainting(), mask, 14.0), soft_mask(SoftInpainting(), mask, 0.1)
    assert early[0] == late[0] == 0 and early[3] == late[3] == 1
    assert (early[1:3] < 0.01).all() and (late[1:3] > 0.9).all()
    assert torch.equal(soft_mask(SoftInpainting(preservation_strength=2, schedule_bias=0), mask, 7.0), mask**2)


def test_soft_blending_keeps_lengths() -> None:
    """Between two latents of one length at a right angle, a plain mean is shorter by a third."""
    kept, made = torch.zeros(1, 4, 1, 1), torch.zeros(1, 4, 1, 1)
    kept[0, 0], made[0, 1] = 3, 3
    half = torch.full((1, 1, 1, 1), 0.5)
    assert soft_blend(SoftInpainting(), kept, made, half).norm() == pytest.approx(3, rel=1e-3)
    assert (kept * 0.5 + made * 0.5).norm() < 2.2
    torch.testing.assert_close(soft_blend(SoftInpainting(), kept, made, half * 0), kept, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(soft_blend(SoftInpainting(), kept, made, half * 2), made, rtol=1e-4, atol=1e-4)
    strongest = SoftInpainting(transition_contrast_boost=32)  # 90 ** 32 is beyond float32
    assert soft_blend(strongest, kept * 30, made * 30, half).norm() == pytest.approx(90, rel=1e-3)


def test_what_has_changed_is_seen() -> None:
    latents = torch.randn(1, 4, 12, 12)
    made = latents.repeat(2, 1, 1, 1)
    made[1, :, 4:8, 4:8] += 4
    known = Known(latents=latents, mask=torch.full((1, 1, 12, 12), 0.5), soft=SoftInpainting())
    seen = seen_difference(SoftInpainting(), known, made)
    assert seen.shape == (2, 12, 12)
    assert not seen[0].any()
    assert seen[1, 5, 5] > 0.9 and not seen[1, :2].any()
    strict = seen_difference(SoftInpainting(difference_threshold=8), known, made)
    assert strict[1, 5, 5] < seen[1, 5, 5]


def test_a_soft_mask_has_done_its_work_when_sampling_ends() -> None:
    latents, made = torch.zeros(1, 4, 2, 2), torch.ones(1, 4, 2, 2)
    known = Known(latents=latents, mask=torch.full((1, 1, 2, 2), 0.5), soft=SoftInpainting())
    assert torch.equal(known.finished(made), made)
