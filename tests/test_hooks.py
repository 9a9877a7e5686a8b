"""Each hook of an extension, on the real engine with tiny checkpoints: when it is called, with what, and what of it."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from backend.app import App
from backend.errors import InvalidRequest
from backend.events import Failed, Interrupted, Notice
from backend.init_image import HiresFix, InitImage, Inpainting, TiledUpscale
from backend.request import GenerationRequest
from backend.sampling_options import Refiner
from tests.extended import ended, extended, failed, made, studio
from tests.test_engine import pixels
from tests.test_img2img import noise, put, spot

REQUEST = GenerationRequest(
    prompt="a red circle", checkpoint="tiny", width=64, height=64, steps=2, seed=1, sampler="Euler"
)
HIRES = replace(REQUEST, hires=HiresFix(scale=1.5, steps=2, upscaler="Latent", denoising_strength=0.6))


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, written_checkpoint: Path) -> Iterator[App]:
    with studio(tmp_path_factory.mktemp("hooks"), written_checkpoint) as app:
        yield app


@pytest.fixture(scope="module")
def picture(app: App) -> str:
    return put(app, noise((96, 80)))


@pytest.fixture(scope="module")
def ways(app: App, picture: str) -> dict[str, GenerationRequest]:
    """One request for each way through the engine."""
    mask = put(app, spot((96, 80), (16, 16, 48, 48)))
    begun = InitImage(picture=picture, denoising_strength=0.9)
    return {
        "words": REQUEST,
        "hires": HIRES,
        "refiner": replace(REQUEST, steps=4, refiner=Refiner(checkpoint="other", switch_at=0.4)),
        "img2img": replace(REQUEST, init=begun),
        "inpaint": replace(REQUEST, init=replace(begun, inpainting=Inpainting(mask=mask))),
        "tiles": replace(REQUEST, init=replace(begun, upscale=TiledUpscale(upscaler="Lanczos", scale=2, overlap=32))),
    }


def image(path: Path) -> Image.Image:
    with Image.open(path) as opened:
        opened.load()
        return opened


def test_hook_on_prompts(app: App) -> None:
    code = """
    @hook
    def on_prompts(request, turn):
        from dataclasses import replace
        assert request.seed >= 0 and turn.request == request
        return [replace(request, prompt=f"{request.prompt} {word}", seed=request.seed + k)
                for k, word in enumerate(("one", "two"))]
    """
    with extended(app, code):
        asked = [GenerationRequest.from_json(each.request) for each in made(app, replace(REQUEST, seed=-1))]
        assert [each.prompt for each in asked] == ["a red circle one", "a red circle two"]
        assert asked[1].seed == asked[0].seed + 1
    assert len(made(app, REQUEST)) == 1


def test_hook_on_request(app: App) -> None:
    """The file keeps what was asked for, so that it is made again; the infotext says what was worked on."""
    code = """
    @hook
    def on_request(request, turn):
        from dataclasses import replace
        turn.remark("the words were changed")
        return replace(request, prompt=request.prompt.replace("red", "blue"), steps=3, sampler="euler")
    """
    (blue,) = made(app, replace(REQUEST, prompt="a blue circle", steps=3))
    with extended(app, code):
        (job,) = app.submit(REQUEST, "me")
        _, (ready,) = ended(job)
        assert Notice(message="the words were changed") in [event for _, event in job.since()]
        assert ready.infotext.startswith("a blue circle\nSteps: 3, Sampler: Euler,")
        assert GenerationRequest.from_json(ready.request) == replace(REQUEST, vae="None")
        (again,) = made(app, GenerationRequest.from_json(ready.request))
    assert (pixels(ready.path) == pixels(blue.path)).all()
    assert again.path.read_bytes() == ready.path.read_bytes()


@pytest.mark.parametrize("change", ["checkpoint='nowhere'", "batch_size=2"])
def test_a_request_that_cannot_be_names_who_made_it(change: str, app: App) -> None:
    code = f"""
    @hook
    def on_request(request):
        from dataclasses import replace
        return replace(request, {change})
    """
    with extended(app, code):
        assert failed(app, REQUEST).startswith("Tried")


def test_hook_on_conditioning(app: App, ways: dict[str, GenerationRequest]) -> None:
    """For each network that is told words, and for each size."""
    code = """
    @hook
    def on_conditioning(words, turn):
        from dataclasses import replace
        seen.append(turn.request.prompt)
        return replace(words, cond=words.uncond)
    """
    nothing = replace(REQUEST, prompt="", negative_prompt="")
    with extended(app, code) as module:
        (both,) = made(app, replace(REQUEST, prompt="a cat"))
        assert module.seen == ["a cat"]
        made(app, ways["refiner"])
        assert len(module.seen) == 3
        made(app, HIRES)
        assert len(module.seen) == 5
    (plain,) = made(app, nothing)
    assert (pixels(both.path) == pixels(plain.path)).all()


def test_hook_on_sampling_start(app: App, ways: dict[str, GenerationRequest]) -> None:
    """Before each way through a sampler, with what is known of it."""
    code = """
    @hook
    def on_sampling_start(turn):
        seen.append((turn.part, tuple(turn.seeds), turn.size, len(turn.sigmas), turn.device.type))
    """
    with extended(app, code) as module:
        for way, expected in {
            "words": [("first", (1,), (64, 64), 3, "cpu")],
            "hires": [("first", (1,), (64, 64), 3, "cpu"), ("hires", (1,), (96, 96), 3, "cpu")],
            "refiner": [("first", (1,), (64, 64), 5, "cpu")],
            "img2img": [("first", (1,), (64, 64), 3, "cpu")],
            "inpaint": [("first", (1,), (64, 64), 3, "cpu")],
        }.items():
            module.seen.clear()
            made(app, ways[way])
            assert module.seen == expected, way
        module.seen.clear()
        made(app, ways["tiles"])
        assert len(module.seen) > 4
        module.seen.clear()
        made(app, replace(REQUEST, batch_size=2, batch_count=2))
        assert [seeds for _, seeds, *_ in module.seen] == [(1, 2), (3, 4)]


def test_hook_on_step(app: App, ways: dict[str, GenerationRequest]) -> None:
    """After each call of the denoiser, whoever that is; what it returns is what the sampler sees."""
    code = """
    @hook
    def on_step(guess, turn):
        seen.append(guess)
        return guess.cond
    """
    (unguided,) = made(app, replace(REQUEST, cfg_scale=1))
    with extended(app, code) as module:
        (led,) = made(app, replace(REQUEST, cfg_scale=7))
        assert [(guess.call, guess.calls) for guess in module.seen] == [(0, 2), (1, 2)]
        for guess in module.seen:
            assert guess.x.shape == guess.denoised.shape == (1, 4, 8, 8)
            assert (guess.denoised - (guess.uncond + 7 * (guess.cond - guess.uncond))).abs().max() < 1e-4
        module.seen.clear()
        made(app, ways["refiner"])
        assert [guess.call for guess in module.seen] == [0, 1, 2, 3]
    assert np.abs(pixels(led.path) - pixels(unguided.path)).max() <= 1


def test_hook_on_sampling_end(app: App) -> None:
    """Once a sampling, with latents that become the picture."""
    code = """
    @hook
    def on_sampling_end(latents, turn):
        seen.append((turn.part, tuple(latents.shape)))
        return latents * 0
    """
    with extended(app, code) as module:
        (black,) = made(app, REQUEST)
        (same,) = made(app, replace(REQUEST, seed=9, prompt="a cat"))
        assert (pixels(black.path) == pixels(same.path)).all()
        module.seen.clear()
        made(app, HIRES)
        assert module.seen == [("first", (1, 4, 8, 8)), ("hires", (1, 4, 12, 12))]


INVERTED = """
@hook
def on_image(image, turn):
    from PIL import ImageOps
    seen.append((turn.index, turn.seed, image.size, turn.request.seed, turn.request.batch_size))
    return ImageOps.invert(image)
"""


@pytest.mark.parametrize("way", ["words", "hires", "refiner", "img2img", "inpaint", "tiles"])
def test_hook_on_image(way: str, app: App, ways: dict[str, GenerationRequest]) -> None:
    """Each picture once, whichever way it came."""
    (plain,) = made(app, ways[way])
    with extended(app, INVERTED) as module:
        (inverted,) = made(app, ways[way])
        assert module.seen == [(0, 1, (plain.width, plain.height), 1, 1)]
    assert (pixels(inverted.path) == 255 - pixels(plain.path)).all()


def test_on_image_may_change_the_size_and_sees_each_of_a_batch(app: App) -> None:
    code = """
    @hook
    def on_image(image, turn):
        seen.append((turn.index, turn.seed))
        return image.resize((40, 24))
    """
    with extended(app, code) as module:
        pictures = made(app, replace(REQUEST, batch_size=2, batch_count=2))
        assert module.seen == [(0, 1), (1, 2), (2, 3), (3, 4)]
    assert {(each.width, each.height) for each in pictures} == {(40, 24)}


def test_hook_on_save(app: App) -> None:
    """It sees what is saved, and says more of it in the infotext."""
    code = (
        INVERTED
        + """
@hook
def on_sampling_start(turn):
    turn.note("Tried, and so".replace(",", ""), "a, b: c")

@hook
def on_save(image, turn):
    seen.append(image.getpixel((0, 0)))
    return {"Tried pixel": str(image.getpixel((0, 0)))}
"""
    )
    with extended(app, code) as module:
        (ready,) = made(app, REQUEST)
        saved = image(ready.path)
        assert module.seen[-1] == saved.getpixel((0, 0))
    pixel = saved.getpixel((0, 0))
    assert f'Tried and so: "a, b: c", Tried pixel: "{pixel}", Version: Atelier' in ready.infotext
    assert isinstance(saved, PngImageFile)
    assert saved.text["parameters"] == ready.infotext
    assert json.loads(saved.text["atelier_made_with"])["extensions"] == {"tried": "1.0"}


@pytest.mark.parametrize("key", ["Seed", "Seed ", "Lora hashes", "a: b", "", "x" * 200])
def test_a_key_that_is_taken_or_cannot_be_read_is_refused(key: str, app: App) -> None:
    with extended(app, f"@hook\ndef on_save():\n    return {{{key!r}: 'x'}}\n"):
        assert failed(app, REQUEST).startswith("Tried failed in on_save: ValueError: ")


FINISHED = """
@hook
def on_finish(images, turn):
    seen.append([each.index for each in images])
"""


def test_hook_on_finish(app: App) -> None:
    """When all is made, and also where it was not."""
    with extended(app, FINISHED) as module:
        made(app, replace(REQUEST, batch_size=2))
        assert module.seen == [[0, 1]]
        breaks = "@hook\ndef on_save(turn):\n    if turn.index == 1:\n        raise OSError('full')\n"
        with extended(app, breaks, "breaks"):
            assert failed(app, replace(REQUEST, batch_size=2)).startswith("Breaks failed in on_save: OSError: full.")
        assert module.seen == [[0, 1], [0]]


def test_a_job_whose_on_finish_fails_has_its_pictures(app: App) -> None:
    with extended(app, "@hook\ndef on_finish():\n    raise OSError('full')\n"):
        (job,) = app.submit(REQUEST, "me")
        last, pictures = ended(job)
    assert isinstance(last, Failed)
    assert last.message.startswith("Tried failed in on_finish: OSError: full.")
    assert last.kind == "extension_failed"
    assert len(pictures) == 1


STOPPING = """
@hook
def on_step(guess, turn):
    seen.append("step")
    jobs[0].{how}()

@hook
def on_sampling_end(latents):
    seen.append("end")

@hook
def on_image(image, turn):
    seen.append("image")

@hook
def on_finish(images):
    seen.append(len(images))

jobs = []
"""


@pytest.mark.parametrize("kept", [True, False])
def test_what_was_interrupted_has_no_end_and_a_picture_if_it_is_kept(kept: bool, app: App) -> None:
    app.settings.update({"save_interrupted": kept})
    try:
        with extended(app, STOPPING.format(how="cancel")) as module:
            app.queue.subscribe(lambda each: module.jobs.append(each))
            (job,) = app.submit(replace(REQUEST, batch_count=2), "me")
            last, pictures = ended(job)
            assert last == Interrupted()
            assert len(pictures) == kept
            assert module.seen == ["step", *["image"] * kept, kept]
    finally:
        app.settings.update({"save_interrupted": True})


def test_a_stop_in_on_image_keeps_the_picture_as_far_as_it_had_come(app: App) -> None:
    code = """
    @hook
    def on_image(image, turn):
        jobs[0].cancel()
        turn.check()
        seen.append("never")

    jobs = []
    """
    (plain,) = made(app, REQUEST)
    with extended(app, code) as module:
        app.queue.subscribe(lambda each: module.jobs.append(each))
        (job,) = app.submit(REQUEST, "me")
        last, (ready,) = ended(job)
        assert not module.seen
    assert last == Interrupted()
    assert (pixels(ready.path) == pixels(plain.path)).all()


def test_stages_are_in_the_declared_order_and_each_sees_what_the_one_before_left(app: App) -> None:
    def code(word: str) -> str:
        return f"""
        @hook
        def on_request(request):
            from dataclasses import replace
            return replace(request, prompt=request.prompt + " {word}")
        """

    with extended(app, code("first"), "zz", before=["aa"]), extended(app, code("second"), "aa"):
        (ready,) = made(app, REQUEST)
    assert ready.infotext.startswith("a red circle first second\n")


@pytest.mark.parametrize(
    ("hook", "code"),
    [
        ("on_request", "@hook\ndef on_request():\n    return 'x'\n"),
        ("on_conditioning", "@hook\ndef on_conditioning(words):\n    return 'x'\n"),
        ("on_step", "@hook\ndef on_step(guess):\n    return guess.denoised[0]\n"),
        ("on_step", "@hook\ndef on_step(guess):\n    return guess.denoised / 0\n"),
        ("on_sampling_end", "@hook\ndef on_sampling_end(latents):\n    return latents.numpy()\n"),
        ("on_image", "@hook\ndef on_image(image):\n    return 3\n"),
        ("on_save", "@hook\ndef on_save():\n    return ['x']\n"),
    ],
)
def test_what_cannot_be_taken_names_who_returned_it(hook: str, code: str, app: App) -> None:
    with extended(app, code):
        sentence = failed(app, REQUEST)
        assert sentence.startswith(f"Tried failed in {hook}: "), sentence
        assert app.extensions.find("tried").failures[-1].where == hook
    made(app, REQUEST)


def test_the_kept_first_pass_goes_through_them_too(app: App) -> None:
    code = """
    @hook
    def on_image(image):
        return image.convert("L")

    @hook
    def on_step(turn):
        if turn.part == "hires":
            raise RuntimeError("no second pass")
    """
    with extended(app, code):
        (job,) = app.submit(HIRES, "me")
        last, (ready,) = ended(job)
    assert isinstance(last, Failed)
    assert "no second pass" in last.message
    assert (ready.width, ready.height) == (64, 64)
    values = np.asarray(image(ready.path).convert("RGB"))
    assert (values[..., 0] == values[..., 1]).all()


def test_an_extension_that_is_off_is_asked_for_in_a_sentence(app: App) -> None:
    with pytest.raises(InvalidRequest, match="This needs the extension gone, which is off: switch it on in Extensions"):
        app.submit(replace(REQUEST, extras={"gone": {}}), "me")


def test_what_takes_no_part_is_not_called_and_nothing_is_left_of_it(app: App) -> None:
    """One with parameters takes part where a request names it; the pictures of the others are the same to the bit."""
    code = (
        f"{INVERTED}\nclass Given(Params):\n    amount: int = 1\n\n@hook\ndef register(api):\n    api.params(Given)\n"
    )
    (before,) = made(app, REQUEST)
    with extended(app, code) as module:
        (beside,) = made(app, REQUEST)
        assert not module.seen
        (named,) = made(app, replace(REQUEST, extras={"tried": {}}))
        assert len(module.seen) == 1
    (after,) = made(app, REQUEST)
    assert before.path.read_bytes() == beside.path.read_bytes() == after.path.read_bytes()
    assert named.path.read_bytes() != before.path.read_bytes()
