"""The real engine on a tiny checkpoint with random weights: mechanics, not meaning."""

import io
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from backend.app import App, Options
from backend.errors import InvalidRequest, ModelFileError
from backend.events import Event, Failed, Finished, ImageReady, Interrupted, Loading, Progress
from backend.jobs import Job
from backend.request import GenerationRequest
from tests.checkpoints import write_tiny_checkpoint

REQUEST = GenerationRequest(
    prompt="a red circle", checkpoint="tiny", width=64, height=64, steps=3, seed=1, sampler="Euler"
)
# No noise but the first, fresh noise, a path, and the one that chooses its steps by what it sees.
ONE_OF_EACH_NOISE = "Euler", "Euler a", "DPM++ SDE", "DPM adaptive"


def run(app: App, request: GenerationRequest) -> list[Path]:
    """Make the pictures of a request; the job must end well."""
    events = list(app.queue.submit(request, "me").follow())
    assert events[-1] == Finished(), events[-1]
    return [event.path for event in events if isinstance(event, ImageReady)]


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"), dtype=np.int16)


def test_a_picture_is_saved_with_its_recipe(app: App) -> None:
    (path,) = run(app, replace(REQUEST, width=72, height=64))
    with Image.open(path) as picture:
        assert isinstance(picture, PngImageFile)
        assert picture.size == (72, 64)
        assert picture.text["parameters"].startswith("a red circle\nSteps: 3, Sampler: Euler, ")
        again = GenerationRequest.from_json(picture.text["atelier"])
    (same,) = run(app, again)
    assert same.read_bytes() == path.read_bytes()
    assert same != path


@pytest.mark.parametrize("sampler", ONE_OF_EACH_NOISE)
def test_a_sampler_is_reproducible_and_sees_the_seed(sampler: str, app: App) -> None:
    """All of them: tests/test_again.py and test_again_pictures.py."""
    request = replace(REQUEST, sampler=sampler)
    first, again, other = (run(app, r)[0].read_bytes() for r in (request, request, replace(request, seed=2)))
    assert first == again
    assert first != other


@pytest.mark.parametrize("sampler", ONE_OF_EACH_NOISE)
def test_a_picture_does_not_depend_on_its_batch(sampler: str, app: App) -> None:
    request = replace(REQUEST, sampler=sampler, seed=40)
    batch = [pixels(path) for path in run(app, replace(request, batch_size=2, batch_count=2))]
    alone = [pixels(run(app, replace(request, seed=40 + k))[0]) for k in range(4)]
    assert len(batch) == 4
    assert all((a == b).all() for a, b in zip(batch, alone, strict=True))
    assert min(np.abs(alone[0] - other).max() for other in alone[1:]) > 1


def test_cfg_1_asks_nothing_of_the_negative_prompt(app: App) -> None:
    plain = replace(REQUEST, cfg_scale=1)
    (a,), (b,) = run(app, plain), run(app, replace(plain, negative_prompt="a cat"))
    assert (pixels(a) == pixels(b)).all()
    (c,), (d,) = run(app, REQUEST), run(app, replace(REQUEST, negative_prompt="a cat"))
    assert (pixels(c) != pixels(d)).any()


def test_at_cfg_1_the_network_sees_half_the_batch(app: App) -> None:
    """Counted on the real UNet."""
    from backend.engine import Engine

    engine = Engine.create(app)
    with engine.residency.ready(app.catalog.find("tiny")) as model:
        sizes: list[int] = []
        model.networks.unet.register_forward_pre_hook(
            lambda _module, args: sizes.append(len(args[0])), with_kwargs=False
        )
        for scale in (7.0, 1.0):
            engine.generate(replace(REQUEST, cfg_scale=scale, batch_size=2), Job(REQUEST, "me"))
    assert sizes == [2] * 6 + [1] * 6  # on the CPU each picture goes alone


def test_prompts_of_more_than_one_chunk_count_to_the_end(app: App) -> None:
    words = " ".join(["tree"] * 100)
    (a,), (b,) = (run(app, replace(REQUEST, prompt=f"{words} {last}")) for last in ("red", "blue"))
    assert (pixels(a) != pixels(b)).any()


def test_progress_is_told_and_the_last_preview_shows_the_whole_batch(app: App) -> None:
    job = app.queue.submit(replace(REQUEST, batch_size=2, batch_count=2), "me")
    assert list(job.follow())[-1] == Finished()
    (progress,) = [event for _, event in job.since() if isinstance(event, Progress)]
    assert (progress.step, progress.steps, progress.batch, progress.batches) == (3, 3, 2, 2)
    assert progress.rate > 0
    assert progress.remaining == 0
    assert progress.preview
    width, height = Image.open(io.BytesIO(progress.preview)).size
    assert width == 2 * height


@pytest.mark.parametrize("sampler", ["DPM2 a", "DPM fast", "DPM adaptive", "DDIM", "Restart"])
def test_progress_ends_at_its_end(sampler: str, app: App) -> None:
    job = app.queue.submit(replace(REQUEST, sampler=sampler, steps=7, cfg_scale=1), "me")
    assert list(job.follow())[-1] == Finished()
    (progress,) = [event for _, event in job.since() if isinstance(event, Progress)]
    assert (progress.step, progress.remaining) == (progress.steps, 0)


def test_without_previews_none_is_made(app: App) -> None:
    app.settings.update({"previews": False})
    job = app.queue.submit(REQUEST, "me")
    list(job.follow())
    assert [event.preview for _, event in job.since() if isinstance(event, Progress)] == [None]


class Interruptor(Job):
    """A job that ends itself after some steps, as a person might."""

    def __init__(self, request: GenerationRequest, *, after: int, skip: bool = False):
        super().__init__(request, "me")
        self._after, self._skips, self._seen = after, skip, 0

    def emit(self, event: Event) -> None:
        super().emit(event)
        if isinstance(event, Progress):
            self._seen += 1
            if self._seen == self._after:
                (self.skip if self._skips else self.cancel)()


def interrupted(app: App, job: Job) -> list[ImageReady]:
    from backend.engine import Engine
    from backend.jobs import JobQueue

    queue = JobQueue(lambda: Engine.create(app))
    queue._run(Engine.create(app), job)
    return job.images


def test_interrupt_keeps_what_is_there_and_ends_the_job(app: App) -> None:
    job = Interruptor(app.prepare(replace(REQUEST, batch_count=3, steps=10)), after=12)
    images = interrupted(app, job)
    assert job.state == "interrupted"
    assert [image.index for image in images] == [0, 1]
    assert all(image.path.exists() for image in images)


def test_interrupted_pictures_can_be_left_out(app: App) -> None:
    app.settings.update({"save_interrupted": False})
    assert interrupted(app, Interruptor(app.prepare(replace(REQUEST, steps=10)), after=2)) == []


def test_skip_goes_on_with_the_next(app: App) -> None:
    job = Interruptor(app.prepare(replace(REQUEST, batch_count=3, steps=10)), after=2, skip=True)
    images = interrupted(app, job)
    assert job.state == "finished"
    assert [image.seed for image in images] == [1, 2, 3]
    whole = run(app, replace(REQUEST, steps=10, seed=3))[0]
    assert images[2].path.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("moment", [Loading, ImageReady])
def test_a_skip_while_no_picture_is_sampled_costs_nothing(moment: type[Event], app: App) -> None:
    """While the checkpoint is loaded, or pictures are decoded and saved, there is nothing to skip."""

    class LateSkip(Job):
        def emit(self, event: Event) -> None:
            super().emit(event)
            if isinstance(event, moment):
                self.skip()

    job = LateSkip(app.prepare(replace(REQUEST, batch_count=2)), "me")
    images = interrupted(app, job)
    assert job.state == "finished"
    whole = run(app, replace(REQUEST, batch_count=2))
    assert [image.path.read_bytes() for image in images] == [path.read_bytes() for path in whole]


def test_skipped_steps_do_not_count_as_speed(app: App) -> None:
    app.settings.update({"save_interrupted": False, "previews": False})
    told: list[tuple[float, Progress]] = []

    class Impatient(Job):
        """Skips each batch but the last after its first step."""

        def emit(self, event: Event) -> None:
            super().emit(event)
            if isinstance(event, Progress):
                told.append((time.monotonic(), event))
                if event.batch < event.batches:
                    self.skip()

    interrupted(app, Impatient(replace(REQUEST, batch_count=6, steps=40), "me"))
    made = len(told)
    assert made == 5 + 40
    (first, _), (before, _), (_, last) = told[0], told[-2], told[-1]
    assert last.rate * (before - first) <= made  # the rate is over a longer time than that
    for _, progress in told:
        left = (progress.batches - progress.batch) * progress.steps + progress.steps - progress.step
        assert progress.rate * progress.remaining == pytest.approx(left)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sampler": "Eular"}, "There is no sampler called 'Eular'; did you mean Euler"),
        ({"schedule": "Karass"}, "There is no schedule called 'Karass'; did you mean Karras"),
        ({"checkpoint": "tinny"}, "There is no checkpoint called 'tinny'; did you mean tiny"),
    ],
)
def test_unknown_names_are_refused_at_the_door(change: dict[str, str], words: str, app: App) -> None:
    with pytest.raises((InvalidRequest, ModelFileError), match=words):
        app.queue.submit(replace(REQUEST, **change), "me")
    assert app.queue.jobs("me") == []


def test_a_broken_checkpoint_gets_a_sentence_and_the_loaded_one_stays(app: App, tiny_checkpoint: Path) -> None:
    run(app, REQUEST)
    loaded = app.status.value.checkpoint
    whole = tiny_checkpoint.read_bytes()
    broken = tiny_checkpoint.parent / "broken"
    broken.mkdir(exist_ok=True)
    for name, data in {
        "empty": b"",
        "cut": whole[: len(whole) // 2],
        "text": b"hello, this is no model at all",
    }.items():
        (broken / f"{name}.safetensors").write_bytes(data)
        with pytest.raises(ModelFileError, match=rf"^{name}\.safetensors .*\.$"):
            app.queue.submit(replace(REQUEST, checkpoint=f"broken/{name}"), "me")
    assert app.status.value.checkpoint == loaded == "tiny"
    run(app, REQUEST)


def test_a_checkpoint_that_breaks_while_it_waits_fails_its_job_only(app: App, tiny_checkpoint: Path) -> None:
    """The door saw a good file; between then and now somebody cut it."""
    victim = tiny_checkpoint.parent / "victim.safetensors"
    write_tiny_checkpoint(victim, seed=3)
    run(app, REQUEST)
    prepared = app.prepare(replace(REQUEST, checkpoint="victim"))
    victim.write_bytes(victim.read_bytes()[:-1000])
    from backend.engine import Engine
    from backend.jobs import JobQueue

    job = Job(prepared, "me")
    JobQueue(lambda: Engine.create(app))._run(Engine.create(app), job)
    (failed,) = [event for _, event in job.since() if isinstance(event, Failed)]
    assert failed.message.startswith("victim.safetensors is cut short")
    victim.unlink()


def test_a_request_swaps_the_checkpoint(app: App, tiny_checkpoint: Path) -> None:
    other = tiny_checkpoint.parent / "other.safetensors"
    write_tiny_checkpoint(other, seed=5)
    (a,), (b,), (c,) = (run(app, replace(REQUEST, checkpoint=name)) for name in ("tiny", "other", "tiny"))
    assert app.status.value.checkpoint == "tiny"
    assert (pixels(a) != pixels(b)).any()
    assert a.read_bytes() == c.read_bytes()
    other.unlink()


def test_numbers_without_end_are_no_picture(app: App, tiny_checkpoint: Path) -> None:
    """A checkpoint with a NaN in it must not give a black picture and call it done."""
    from safetensors.torch import load_file, save_file

    path = tiny_checkpoint.parent / "nan.safetensors"
    tensors = load_file(tiny_checkpoint)
    tensors["first_stage_model.decoder.conv_out.bias"][0] = torch.nan
    save_file(tensors, path)
    events = list(app.queue.submit(replace(REQUEST, checkpoint="nan"), "me").follow())
    assert isinstance(events[-1], Failed)
    assert "NaN" in events[-1].message
    path.unlink()


def test_a_device_that_is_not_there_gets_a_sentence(options: Options) -> None:
    app = App(replace(options, device="mps"))
    app.start()
    events = list(app.queue.submit(REQUEST, "me").follow())
    app.close()
    assert isinstance(events[-1], Failed)
    assert "There is no mps device here" in events[-1].message


def test_xformers_that_does_not_run_here_says_so(options: Options) -> None:
    app = App(replace(options, xformers=True))
    app.start()
    run(app, REQUEST)
    app.close()
    assert app.status.value.attention.startswith("PyTorch SDPA (xformers does not run on CPU: ")


def test_interrupted_is_what_a_cancelled_job_ends_with(app: App) -> None:
    job = Job(REQUEST, "me")
    job.cancel()
    assert interrupted(app, job) == []
    assert [event for _, event in job.since()][-1] == Interrupted()
