"""A second checkpoint that goes on in the middle of a run, by the real engine on tiny checkpoints."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backend.app import App, Options
from backend.errors import InvalidRequest, UserError
from backend.events import Finished, Loading, Notice
from backend.init_image import HiresFix
from backend.refiner import Switch
from backend.request import GenerationRequest, PictureSeeds
from backend.sampling.schedules import SigmaTable
from backend.sampling_options import Refiner
from backend.sampling_pass import Made, SamplingPass
from bench.mixture import alphas_cumprod
from tests.checkpoints import tiny, write_single_file, write_tiny_checkpoint
from tests.loras import kohya, random_lora, sd1_networks, write_lora
from tests.test_engine import REQUEST, Interruptor, interrupted, pixels, run

TABLE = SigmaTable(alphas_cumprod())
SIX = replace(REQUEST, steps=6)
TWIN, OTHER = Refiner(checkpoint="twin", switch_at=0.4), Refiner(checkpoint="other", switch_at=0.4)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, written_checkpoint: Path) -> Iterator[App]:
    folder = tmp_path_factory.mktemp("refiner")
    for name in ("tiny", "twin"):
        shutil.copy(written_checkpoint, folder / f"{name}.safetensors")
    write_tiny_checkpoint(folder / "other.safetensors", seed=5)
    write_single_file(folder / "large.safetensors", tiny("sdxl"))
    write_lora(folder / "loras" / "ink.safetensors", kohya(random_lora(sd1_networks(), ".*(attn|proj_in)")))
    app = App(Options(data_dir=folder / "data", checkpoint_dirs=(folder,), lora_dirs=(folder / "loras",), device="cpu"))
    app.start()
    yield app
    app.close()


def made(app: App, request: GenerationRequest) -> np.ndarray:
    (path,) = run(app, request)
    return pixels(path)


@pytest.mark.parametrize("sampler", ["DPM++ 2M", "DPM2 a", "DPM++ 3M SDE", "UniPC", "Restart", "DDIM CFG++"])
def test_a_refiner_of_the_same_weights_changes_nothing(sampler: str, app: App) -> None:
    """What the sampler remembers and the noise it draws go on where the other checkpoint takes over."""
    request = replace(SIX, sampler=sampler, negative_prompt="dark")
    assert (made(app, request) == made(app, replace(request, refiner=TWIN))).all()


def test_it_ends_what_another_began(app: App) -> None:
    plain, other = made(app, SIX), made(app, replace(SIX, checkpoint="other"))
    early, late = (made(app, replace(SIX, refiner=replace(OTHER, switch_at=at))) for at in (0.2, 0.7))
    assert len({each.tobytes() for each in (plain, other, early, late)}) == 4
    from_the_start = made(app, replace(SIX, refiner=replace(OTHER, switch_at=0.0)))
    assert (from_the_start == other).all()
    assert (made(app, replace(SIX, refiner=replace(OTHER, switch_at=1.0))) == plain).all()
    assert (made(app, SIX) == plain).all()


def test_each_takes_its_turn_once_for_a_batch(app: App) -> None:
    job = app.queue.submit(replace(SIX, refiner=OTHER, batch_size=2, batch_count=2), "me")
    events = list(job.follow())
    assert events[-1] == Finished()
    assert [event.what for event in events if isinstance(event, Loading)] == ["tiny", "other", "other"]
    alone = [made(app, GenerationRequest.from_json(image.request)) for image in job.images]
    for image, single in zip(job.images, alone, strict=True):
        assert (pixels(image.path) == single).all()
    assert ", Refiner: other [" in job.images[0].infotext


def test_with_hires_fix_it_is_the_second_pass_that_is_refined(app: App) -> None:
    hires = HiresFix(upscaler="Latent (nearest)", scale=2, steps=3, denoising_strength=0.6)
    request = replace(SIX, hires=hires)
    plain, twin, other = (made(app, replace(request, refiner=each)) for each in (None, TWIN, OTHER))
    assert (plain == twin).all()
    assert (plain != other).any()
    without_a_second = replace(hires, denoising_strength=0)
    plain, refined = (made(app, replace(request, hires=without_a_second, refiner=each)) for each in (None, OTHER))
    assert (plain == refined).all()


def test_one_that_was_interrupted_leaves_the_next_picture_alone(app: App) -> None:
    plain = made(app, SIX)
    job = Interruptor(app.prepare(replace(SIX, refiner=OTHER)), after=5)
    assert len(interrupted(app, job)) == 1
    assert (made(app, SIX) == plain).all()


def test_its_words_and_loras_are_put_on_it_too(app: App) -> None:
    request = replace(SIX, refiner=TWIN, prompt="a <lora:ink:0.9> (circle:1.4) AND [red:blue:0.5]")
    assert (made(app, request) == made(app, replace(request, refiner=None))).all()


def test_numbers_that_overflow_are_computed_again_with_both_in_full_precision(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each gets it for its own turn, and gives it back."""
    half = App(replace(app.options, precision="bf16", data_dir=app.options.data_dir / "half"))
    half.start()
    once, tries = SamplingPass.made, []

    def overflowing(self: SamplingPass, first: int, seeds: list[PictureSeeds], *rest: Any, **options: Any) -> Made:
        made = once(self, first, seeds, *rest, **options)
        tries.append(made)
        if len(tries) == 1:
            raise FloatingPointError("not a number after the last step")
        return made

    try:
        plain = made(half, replace(SIX, refiner=OTHER))
        with monkeypatch.context() as patched:
            patched.setattr(SamplingPass, "made", overflowing)
            job = half.queue.submit(replace(SIX, refiner=OTHER), "me")
            events = list(job.follow())
        assert events[-1] == Finished()
        assert ["in full precision" in event.message for event in events if isinstance(event, Notice)] == [True]
        assert len(tries) == 2
        precise = pixels(job.images[0].path)
        assert (precise != plain).any()
        assert (made(half, replace(SIX, refiner=OTHER)) == plain).all()
    finally:
        half.close()
    # What is left of the difference is that the weights, and the words, were in half precision.
    whole = made(app, replace(SIX, refiner=OTHER))
    assert np.abs(precise - whole).mean() < np.abs(plain - whole).mean()


def test_another_kind_of_checkpoint_is_refused_at_the_door(app: App) -> None:
    with pytest.raises(InvalidRequest, match=r"^large cannot refine what a checkpoint of a different kind began"):
        app.prepare(replace(SIX, refiner=Refiner(checkpoint="large")))
    with pytest.raises(UserError, match="There is no checkpoint called 'larg'; did you mean large"):
        app.prepare(replace(SIX, refiner=Refiner(checkpoint="larg")))
    assert app.prepare(replace(SIX, refiner=Refiner(checkpoint="OTHER"))).refiner == Refiner(checkpoint="other")


@pytest.mark.parametrize(
    ("at", "by_timestep", "sigma", "due"),
    [
        (0.8, False, TABLE.sigmas[200], False),  # (999 - 200) / 1000
        (0.8, False, TABLE.sigmas[199], True),
        (0.8, False, (TABLE.sigmas[199] * 2 + TABLE.sigmas[200]) / 3, True),  # the nearest level
        (0.8, True, TABLE.t_to_sigma(199.9), True),  # the whole part
        (0.8, True, TABLE.sigmas[200], False),
        (0.0, False, TABLE.sigma_max, True),
        (1.0, False, TABLE.sigma_min, False),
    ],
)
def test_the_share_is_of_the_timesteps(at: float, by_timestep: bool, sigma: float, due: bool) -> None:
    switch = Switch(at=at, by_sampling_steps=False, calls=10, table=TABLE, by_timestep=by_timestep)
    assert switch.is_due(0, float(sigma)) is due


def test_the_share_is_of_the_steps_where_that_is_asked_for() -> None:
    switch = Switch(at=0.5, by_sampling_steps=True, calls=10, table=TABLE, by_timestep=False)
    assert [call for call in range(10) if switch.is_due(call, 0.01)] == [5, 6, 7, 8, 9]
