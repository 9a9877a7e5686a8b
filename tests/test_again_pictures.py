"""Pictures of pictures, made once more by the real engine from their files alone, while their inputs are there."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backend.app import App
from backend.errors import UserError
from backend.init_image import MASKED_CONTENT, Box, Inpainting, SoftInpainting, TiledUpscale
from backend.model_manager.identity import Kind
from backend.request import GenerationRequest
from backend.sampling.samplers import SAMPLER_NAMES
from backend.sampling_options import Guidance, Refiner, SamplingOptions, Variation
from extensions.xyz_plot.plot import Plot, Plotted
from tests.again import DRAWN, INIT, NEGATIVE, SKETCH, SPOT, drawn, from_file_alone, is_made_again, recipe_of, studio
from tests.test_again import FROM_WORDS
from tests.test_engine import REQUEST, run

OTHER = Refiner(checkpoint="other", switch_at=0.6)


def on(changes: Mapping[str, Any], **values: Any) -> GenerationRequest:
    """A request that begins with the picture, so changed, and with other values than usual."""
    return replace(NEGATIVE, init=replace(INIT, **changes), **values)


def painted(**values: Any) -> dict[str, Any]:
    return {"inpainting": Inpainting(mask=SPOT, **values)}


def beyond(left: int, top: int, width: int, height: int, **values: Any) -> dict[str, Any]:
    """An area that reaches out of the picture."""
    return {"box": Box(left=left, top=top, width=width, height=height), "inpainting": Inpainting(**values)}


IMG2IMG: Mapping[str, GenerationRequest] = {
    "plain": on({}),
    "noise": on({"noise_multiplier": 0.9, "extra_noise": 0.05}, sampler="DPM++ 2M SDE"),
    "sketch": on({"sketch": SKETCH}, sampler="Euler a", sampling=SamplingOptions(eta=0.6, ensd=31337)),
    "cropped": on({"resize_mode": "Crop and resize"}, width=80, sampler="DDPM"),
    "filled": on({"resize_mode": "Resize and fill"}, height=80, sampler="DEIS"),
    "latents": on({"resize_mode": "Just resize (latent upscale)"}, width=96, height=96, noise_source="CPU"),
    "all of it": on({"denoising_strength": 1.0}, sampler="DDIM", sampling=SamplingOptions(eta=0.3)),
    "nothing of it": on({"denoising_strength": 0.0}, sampler="PLMS"),
    "own steps": on({}, sampler="DPM fast"),
    "as many as it likes": on({"denoising_strength": 0.3}, sampler="DPM adaptive"),
    "few": on({}, sampler="LCM", cfg_scale=1.5),
    "variation": on({}, sampler="DPM2", variation=Variation(seed=3, strength=0.4), noise_source="GPU"),
    "seed resize": on({}, seed_resize=(32, 96), tiling=True),
    "refiner": on({"denoising_strength": 0.9}, steps=5, refiner=replace(OTHER, by_sampling_steps=True)),
    "and": on({}, prompt="a circle AND a star :0.4", sampler="HeunPP2", steps=5),
    "editing": on({}, prompt="a [red:blue:0.2] [circle|star]", sampler="IPNDM", steps=5),
    "lora": on({}, prompt="a <lora:ink:0.7> circle", clip_skip=2, sampler="IPNDM_V", steps=5),
    "batch": on({"extra_noise": 0.1}, batch_size=2, batch_count=2, sampler="DPM++ SDE"),
    "tiles": on({"upscale": TiledUpscale(scale=1.5, overlap=16)}),
    "tiles of a sketch": on(
        {"sketch": SKETCH, "upscale": TiledUpscale(upscaler="Nearest", scale=2, overlap=0)},
        batch_size=2,
        variation=Variation(seed=9, strength=0.2),
        sampler="DPM++ 2M SDE Heun",
    ),
}
INPAINT: Mapping[str, GenerationRequest] = {
    **{content: on(painted(masked_content=content)) for content in MASKED_CONTENT},
    "only masked": on(painted(area="Only masked", padding=8, mask_blur=0), sampler="DPM++ 3M SDE"),
    "not masked": on(painted(inverted=True, colour_match=False), sampler="Euler a", noise_source="CPU"),
    "resized": on(painted(exact_outside=False), width=80, height=96, sampler="DPM2 a"),
    "soft": on(painted(soft=SoftInpainting()), batch_size=2, sampler="DPM++ SDE"),
    "soft part": on(painted(soft=SoftInpainting(schedule_bias=2), area="Only masked"), sampler="Restart"),
    "sketch": on({"sketch": SKETCH, **painted()}, sampler="UniPC", steps=5),
    "guidance": on(painted(), sampler="DDIM CFG++", guidance=Guidance(rescale=0.5, ngms=2.0), steps=5),
    "variation": on(painted(masked_content="latent noise"), batch_size=2, variation=Variation(seed=4, strength=0.5)),
    "refiner": on({"denoising_strength": 0.9, **painted()}, refiner=OTHER, steps=5),
    "one side": on(beyond(-16, 0, 80, 64, seam_pass=True), width=80),
    "all sides": on(beyond(-8, -8, 80, 80, masked_content="fill"), width=80, height=80, sampler="Heun"),
    "a corner": on(beyond(32, 32, 64, 64, masked_content="latent noise"), sampler="DPM++ 2S a"),
    "without a seam": on(beyond(0, 0, 64, 96, area="Only masked", mask_blur=2), tiling=True, sampler="LMS"),
    "a mask and beyond": on(
        {"box": Box(left=-16, top=0, width=64, height=64), **painted(masked_content="Navier-Stokes")}, batch_count=2
    ),
}


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, written_checkpoint: Path) -> Iterator[App]:
    with studio(tmp_path_factory.mktemp("again"), written_checkpoint) as app:
        yield app


def test_there_are_twenty_of_each_tab_and_every_sampler_is_among_them() -> None:
    assert [len(each) >= 20 for each in (FROM_WORDS, IMG2IMG, INPAINT)] == [True] * 3
    every = [request for each in (FROM_WORDS, IMG2IMG, INPAINT) for request in each.values()]
    assert {request.sampler for request in every} == set(SAMPLER_NAMES)


@pytest.mark.parametrize("kind", IMG2IMG)
def test_a_picture_of_img2img_is_made_again_from_its_file(kind: str, app: App) -> None:
    assert len(is_made_again(app, IMG2IMG[kind])) == IMG2IMG[kind].pictures


@pytest.mark.parametrize("kind", INPAINT)
def test_a_picture_that_was_inpainted_is_made_again_from_its_file(kind: str, app: App) -> None:
    assert len(is_made_again(app, INPAINT[kind])) == INPAINT[kind].pictures


def test_cells_of_a_grid_are_made_again_each_from_its_own_file(app: App) -> None:
    plot = Plot(
        x=Plotted(axis="Sampler", values="Euler a, DPM++ SDE"),
        y=Plotted(axis="Prompt S/R", values="circle, star"),
        z=Plotted(axis="Var. strength", values="0, 0.5"),
    )
    job = app.grids.begin(plot.grid(DRAWN), "grid")
    list(job.follow())
    cells = [each for each in app.queue.jobs("grid") if each.id != job.id]
    paths = [image.path for each in cells for image in each.images]
    assert len({path.read_bytes() for path in paths}) == 8
    for path in paths:
        from_file_alone(app, path)


def test_words_that_were_drawn_stay_when_the_file_they_came_from_is_gone(app: App) -> None:
    file = app.options.data_dir / "wildcards" / "shape.txt"
    file.write_text("disc")
    (request,) = app.several(replace(REQUEST, prompt="a __shape__ {red|blue}", seed=4))
    (path,) = run(app, request)
    file.unlink()
    request = GenerationRequest.from_json(recipe_of(path).request)
    assert "disc" in request.prompt
    assert request.template is not None
    assert request.template.prompt == "a __shape__ {red|blue}"
    from_file_alone(app, path)


@pytest.mark.parametrize("part", ["picture", "mask"])
def test_an_input_that_is_gone_is_said(part: str, app: App) -> None:
    """And when it is put in again, the picture is made again."""
    data = drawn("a spot" if part == "mask" else "colours") + b"of its own"
    name = app.inputs.put(data).name
    changed = {"picture": name} if part == "picture" else {"inpainting": Inpainting(mask=name)}
    (path,) = run(app, on(changed))
    app.inputs.path(name).unlink()
    request = GenerationRequest.from_json(recipe_of(path).request)
    with pytest.raises(UserError, match=f"^There is no picture '{name[:12]}' any more: put it in again"):
        app.queue.submit(request, "me")
    app.inputs.put(data)
    from_file_alone(app, path)


def test_another_start_makes_the_same_in_another_order(
    app: App, tmp_path_factory: pytest.TempPathFactory, written_checkpoint: Path
) -> None:
    """Nothing of a picture is left over from those before it: neither in the process nor on the device."""
    requests = [*list(FROM_WORDS.values())[::7], *list(IMG2IMG.values())[::7], *list(INPAINT.values())[::7]]
    pictures = [run(app, replace(request, batch_size=1, batch_count=1))[0] for request in requests]
    with studio(tmp_path_factory.mktemp("another"), written_checkpoint) as another:
        for kind in (Kind.CHECKPOINT, Kind.LORA):  # else it says that it went by their names
            for record in another.catalog.records(kind):
                another.hashes.of_tensors(record).result()
        for path in reversed(pictures):
            from_file_alone(another, path)
