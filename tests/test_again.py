"""Pictures of words, made once more by the real engine from their files alone and from their texts alone."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backend.app import App
from backend.infotext.apply import propose
from backend.init_image import HiresFix
from backend.request import GenerationRequest
from backend.sampling_options import Guidance, Refiner, SamplingOptions, Variation
from tests.again import DRAWN, INIT, NEGATIVE, is_made_again, recipe_of, studio
from tests.test_engine import REQUEST, pixels, run

FROM_WORDS: Mapping[str, GenerationRequest] = {
    "lora": replace(NEGATIVE, prompt="a <lora:ink:0.7> circle", clip_skip=2),
    "attention": replace(REQUEST, prompt="a (red:1.5) [circle]", sampler="Euler a", emphasis="No norm"),
    "editing": replace(REQUEST, prompt="a [red:blue:0.5] [circle|star]", sampler="Heun", steps=4),
    "old editing": replace(REQUEST, prompt="a [red:blue:0.5] circle", steps=4, old_prompt_editing=True),
    "and": replace(NEGATIVE, prompt="a circle AND a blue star :0.6", sampler="LMS"),
    "break": replace(REQUEST, prompt="a circle BREAK blue", guidance=Guidance(pad_conds=True), sampler="DPM++ SDE"),
    "comments": replace(REQUEST, prompt="a red # not green\nstar"),
    "variation": replace(REQUEST, variation=Variation(seed=5, strength=0.3), sampler="DPM2 a"),
    "seed resize": replace(REQUEST, seed_resize=(96, 48), noise_source="CPU", sampling=SamplingOptions(ensd=31337)),
    "ensd": replace(REQUEST, sampler="DPM++ 2S a", sampling=SamplingOptions(ensd=31337, eta=0.5)),
    "path": replace(REQUEST, sampler="DPM++ 3M SDE", noise_source="CPU", steps=4),
    "churn": replace(REQUEST, sampling=SamplingOptions(sigma_churn=9, sigma_tmin=0.1, sigma_noise=1.05)),
    "schedule": replace(REQUEST, schedule="Polyexponential", sampling=SamplingOptions(schedule_rho=1.5)),
    "optimal": replace(REQUEST, sampler="DPM++ 2M", schedule="KL Optimal", sampling=SamplingOptions(eta=0.0)),
    "penultimate": replace(REQUEST, schedule="Uniform", sampling=SamplingOptions(discard_penultimate=True)),
    "start": replace(REQUEST, sampling=SamplingOptions(sgm_noise_multiplier=True), schedule="SGM Uniform"),
    "guidance": replace(NEGATIVE, guidance=Guidance(ngms=3.0, skip_early=0.3, rescale=0.7), steps=5),
    "own steps": replace(REQUEST, sampler="DPM adaptive", cfg_scale=1),
    "timesteps": replace(NEGATIVE, sampler="DDIM CFG++", sampling=SamplingOptions(eta=0.4)),
    "unipc": replace(REQUEST, sampler="UniPC", steps=5, sampling=SamplingOptions(unipc_variant="bh2", unipc_order=2)),
    "tiling": replace(REQUEST, tiling=True, sampler="Restart"),
    "refiner": replace(REQUEST, steps=5, refiner=Refiner(checkpoint="twin", switch_at=0.3)),
    "another refiner": replace(
        REQUEST, steps=5, sampler="DPM++ 2M", refiner=Refiner(checkpoint="other", switch_at=0.5, by_sampling_steps=True)
    ),
    "batch": replace(
        NEGATIVE, batch_size=2, batch_count=2, sampler="DPM++ 2M SDE Heun", guidance=Guidance(rescale=0.7)
    ),
    "batch of variations": replace(REQUEST, batch_size=3, variation=Variation(seed=2**64 - 1, strength=0.5)),
    "hires": replace(
        REQUEST,
        prompt="a [red:blue:1.5] circle",
        variation=Variation(seed=9, strength=0.2),
        hires=HiresFix(scale=1.5, denoising_strength=0.5, sampler="Euler a", steps=2, extra_noise=0.1),
    ),
    "hires of another": replace(
        REQUEST,
        refiner=Refiner(checkpoint="twin", switch_at=0.9),
        hires=HiresFix(upscaler="Lanczos", width=96, height=64, checkpoint="other", prompt="a star", cfg_scale=3.5),
    ),
    "wildcards": replace(REQUEST, prompt="a __colour__ {circle|star}", negative_prompt="{dark|__colour__}"),
}


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, written_checkpoint: Path) -> Iterator[App]:
    with studio(tmp_path_factory.mktemp("again"), written_checkpoint) as app:
        yield app


@pytest.mark.parametrize("kind", FROM_WORDS)
def test_a_picture_of_words_is_made_again_from_its_file_and_from_its_text(kind: str, app: App) -> None:
    request = FROM_WORDS[kind]
    paths = is_made_again(app, request)
    assert len({path.read_bytes() for path in paths}) == request.pictures
    for path in paths:
        proposal = propose(recipe_of(path).infotext, app.catalog)
        assert (proposal.not_applied, proposal.missing) == ((), ())
        (read,) = run(app, proposal.request(GenerationRequest(tiling=not request.tiling, steps=99)))
        assert (pixels(read) == pixels(path)).all()


TWICE = replace(REQUEST, hires=HiresFix(scale=1.5, steps=4))
ENLARGED = replace(REQUEST, hires=HiresFix(scale=1.5, denoising_strength=0))
CHANGES: Mapping[str, tuple[GenerationRequest, Mapping[str, Any]]] = {
    "eta": (replace(REQUEST, sampler="Euler a"), {"sampling": SamplingOptions(eta=0.5)}),
    "ensd": (replace(REQUEST, sampler="Euler a"), {"sampling": SamplingOptions(ensd=1)}),
    "churn": (REQUEST, {"sampling": SamplingOptions(sigma_churn=5)}),
    "sigma noise": (replace(REQUEST, sampler="DPM++ SDE"), {"sampling": SamplingOptions(sigma_noise=0.9)}),
    "rho": (replace(REQUEST, schedule="Karras"), {"sampling": SamplingOptions(schedule_rho=3)}),
    "ends": (replace(REQUEST, schedule="Karras"), {"sampling": SamplingOptions(schedule_max_sigma=9.0)}),
    "sgm": (REQUEST, {"sampling": SamplingOptions(sgm_noise_multiplier=True)}),
    "ngms": (NEGATIVE, {"guidance": Guidance(ngms=15.0)}),
    "skip early": (NEGATIVE, {"guidance": Guidance(skip_early=0.5)}),
    "rescale": (NEGATIVE, {"guidance": Guidance(rescale=0.7)}),
    "source": (REQUEST, {"noise_source": "CPU"}),
    "source of paths": (replace(REQUEST, sampler="DPM++ 2M SDE"), {"noise_source": "CPU"}),
    "seed resize": (REQUEST, {"seed_resize": (128, 64)}),
    "emphasis": (replace(REQUEST, prompt="a (red:1.9) circle"), {"emphasis": "Ignore"}),
    "old editing": (replace(REQUEST, prompt="a [red:blue:1.5] circle"), {"old_prompt_editing": True}),
    "numbers of the second pass": (TWICE, {"prompt": "a [red:blue:1.5] circle"}),
    "calls of the second pass": (TWICE, {"prompt": "a [red:blue:5] circle"}),  # 3 are of the first
}
NOTHING: Mapping[str, tuple[GenerationRequest, Mapping[str, Any]]] = {
    "ensd where all noise is the first": (REQUEST, {"sampling": SamplingOptions(ensd=1)}),
    "ensd without eta": (
        replace(REQUEST, sampler="DPM2 a", sampling=SamplingOptions(eta=0.0)),
        {"sampling": SamplingOptions(eta=0.0, ensd=1)},
    ),
    "a variation of no strength": (REQUEST, {"variation": Variation(seed=5, strength=0.0)}),
    "numbers of the second pass in the first": (ENLARGED, {"prompt": "a [red:blue:1.5] circle"}),
    "its own size": (REQUEST, {"seed_resize": (64, 64)}),
}


@pytest.mark.parametrize("option", [*CHANGES, *NOTHING])
def test_an_option_reaches_the_picture_where_it_is_heeded(option: str, app: App) -> None:
    request, change = {**CHANGES, **NOTHING}[option]
    (plain,), (changed,) = run(app, request), run(app, replace(request, **change))
    assert (pixels(plain) != pixels(changed)).any() == (option in CHANGES)


def test_noise_of_a_picture_is_scaled_and_added_to(app: App) -> None:
    """Where none is put on, nothing is left of the seed either."""
    usual, more, extra, none, other, both = (
        pixels(run(app, replace(DRAWN, init=replace(INIT, **change), seed=seed))[0])
        for change, seed in (
            ({}, 1),
            ({"noise_multiplier": 1.5}, 1),
            ({"extra_noise": 1.0}, 1),
            ({"noise_multiplier": 0.0}, 1),
            ({"noise_multiplier": 0.0}, 2),
            ({"noise_multiplier": 0.0, "extra_noise": 1.0}, 2),
        )
    )
    assert len({each.tobytes() for each in (usual, more, extra, none)}) == 4
    assert (none == other).all()
    assert (other == both).all()
