"""A generation within a generation: the same job, checkpoint and interrupt, and nothing of it is saved."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from backend.app import App
from backend.events import Finished, ImageReady, Interrupted, Progress
from backend.init_image import HiresFix
from backend.job import Job
from backend.request import GenerationRequest
from tests.extended import ended, extended, failed, made, studio
from tests.test_engine import pixels

REQUEST = GenerationRequest(
    prompt="a red circle", checkpoint="tiny", width=64, height=64, steps=2, seed=1, sampler="Euler"
)
REPAINTED = """
@hook
def on_image(image, turn):
    from dataclasses import replace
    begun = InitImage(picture=turn.keep(image), denoising_strength=0.8)
    (made,) = turn.generate(replace(turn.request, init=begun, hires=None, prompt="a cat", {more}))
    seen.append(made.size)
    return made
"""
WITHIN = """
@hook
def on_image(image, turn):
    from dataclasses import replace
    seen.append(turn.index)
    (made,) = turn.generate(replace(turn.request, hires=None, {more}))
    return made
"""
GIVEN = "\nclass Given(Params):\n    amount: int = 1\n\n@hook\ndef register(api):\n    api.params(Given)\n"


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, written_checkpoint: Path) -> Iterator[App]:
    with studio(tmp_path_factory.mktemp("nested"), written_checkpoint) as app:
        yield app


@pytest.mark.parametrize("checkpoint", ["tiny", "other"])
def test_it_makes_the_picture_that_a_job_of_its_own_makes(checkpoint: str, app: App) -> None:
    """With the checkpoint that is at work and with another one; each picture of a batch in turn."""
    request = replace(REQUEST, batch_size=2, batch_count=2)
    plain = made(app, request)
    alone = [
        made(app, replace(REQUEST, seed=each.seed, prompt="a cat", checkpoint=checkpoint, steps=3))[0] for each in plain
    ]
    code = WITHIN.format(more=f"prompt='a cat', checkpoint={checkpoint!r}, steps=3")
    with extended(app, code) as module:
        nested = made(app, request)
        assert module.seen == [0, 1, 2, 3]
    for one, other in zip(nested, alone, strict=True):
        assert (pixels(one.path) == pixels(other.path)).all()
    after = made(app, request)
    assert [each.path.read_bytes() for each in after] == [each.path.read_bytes() for each in plain]


@pytest.mark.parametrize("hires", [None, HiresFix(scale=1.5, steps=2, upscaler="Latent")])
def test_it_repaints_what_was_made(hires: HiresFix | None, app: App) -> None:
    request = replace(REQUEST, hires=hires)
    (plain,) = made(app, request)
    with extended(app, REPAINTED.format(more=f"width={plain.width}, height={plain.height}")) as module:
        (repainted,) = made(app, request)
        assert module.seen == [(plain.width, plain.height)]
    assert (pixels(repainted.path) != pixels(plain.path)).any()


def test_nothing_of_it_is_saved(app: App) -> None:
    with extended(app, WITHIN.format(more="batch_count=1")):
        before = set(app.outputs.folder.rglob("*.png"))
        (ready,) = made(app, REQUEST)
        assert set(app.outputs.folder.rglob("*.png")) - before == {ready.path}


def test_hires_and_several_pictures_can_be_made_within(app: App) -> None:
    code = """
    @hook
    def on_image(image, turn):
        from dataclasses import replace
        some = turn.generate(replace(turn.request, batch_size=2, batch_count=2, hires=HiresFix(scale=1.5, steps=1)))
        seen.extend(each.size for each in some)
        return some[-1]
    """
    with extended(app, code) as module:
        (ready,) = made(app, REQUEST)
        assert module.seen == [(96, 96)] * 4
    assert (ready.width, ready.height) == (96, 96)


def test_the_one_that_asks_takes_no_part_and_others_where_they_are_named(app: App) -> None:
    beside = "@hook\ndef on_image(image, turn):\n    seen.append(turn.params(Given).amount)\n" + GIVEN
    beside += "\n@hook\ndef on_finish(images):\n    seen.append('the end of a job')\n"
    always = "@hook\ndef on_sampling_start(turn):\n    seen.append(turn.part)\n"
    asking = WITHIN.format(more="extras={**turn.request.extras, 'beside': {'amount': 7}}") + GIVEN
    with (
        extended(app, asking, "asking") as one,
        extended(app, beside, "beside") as two,
        extended(app, always, "always") as three,
    ):
        made(app, replace(REQUEST, extras={"asking": {}}))
        assert one.seen == [0]
        assert two.seen == [7]
        assert three.seen == ["first"]


def test_the_part_is_said(app: App) -> None:
    beside = "@hook\ndef on_sampling_start(turn):\n    seen.append(turn.part)\n" + GIVEN
    asking = WITHIN.format(more="extras={'beside': {}}")
    with extended(app, asking, "asking"), extended(app, beside, "beside") as two:
        made(app, replace(REQUEST, extras={"beside": {}}))
        assert two.seen == ["first", "nested"]


class Stopping(Job):
    """Ended, or its picture skipped, at the first step of the generation within."""

    how = "cancel"

    def emit(self, event: object) -> None:
        super().emit(event)  # pyright: ignore[reportArgumentType]
        if isinstance(event, Progress) and event.steps == 5:
            getattr(self, self.how)()


@pytest.mark.parametrize(("how", "kept"), [("cancel", 1), ("skip", 2)])
def test_an_interrupt_ends_both(how: str, kept: int, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the outer one had made is there as it was; after a skip it goes on with the next picture."""
    monkeypatch.setattr(Stopping, "how", how)
    monkeypatch.setattr("backend.jobs.Job", Stopping)
    plain = made(app, replace(REQUEST, batch_count=2))
    with extended(app, WITHIN.format(more="steps=5")) as module:
        (job,) = app.submit(replace(REQUEST, batch_count=2), "me")
        last, pictures = ended(job)
        assert module.seen == list(range(kept))
    assert last == (Interrupted() if how == "cancel" else Finished())
    assert len(pictures) == kept
    for one, other in zip(pictures, plain, strict=False):
        assert (pixels(one.path) == pixels(other.path)).all()


def test_its_progress_is_that_of_the_job(app: App) -> None:
    told: list[int] = []
    with extended(app, WITHIN.format(more="steps=5")):
        (job,) = app.submit(REQUEST, "me")
        job.listen(lambda each: told.extend(e.steps for _, e in each.since() if isinstance(e, Progress)))
        assert ended(job)[0] == Finished()
    assert 5 in told


def test_a_request_that_cannot_be_names_who_asked(app: App) -> None:
    with extended(app, WITHIN.format(more="checkpoint='nowhere'")):
        assert failed(app, REQUEST).startswith("Tried: There is no checkpoint")


def test_they_stand_in_one_another_only_so_deep(app: App) -> None:
    deeper = WITHIN.format(more="steps=1") + GIVEN
    names = ("one", "two", "three", "four")
    with (
        extended(app, deeper, "one") as one,
        extended(app, deeper, "two"),
        extended(app, deeper, "three"),
        extended(app, deeper, "four"),
    ):
        extras = {name: {} for name in names}
        assert "3 deep" in failed(app, replace(REQUEST, extras=extras))
        assert one.seen
        made(app, replace(REQUEST, extras={name: {} for name in names[:3]}))


def test_a_picture_that_was_kept_can_be_asked_for(app: App) -> None:
    code = """
    @hook
    def on_image(image, turn):
        seen.append(turn.picture(turn.keep(image)).tobytes() == image.tobytes())
    """
    with extended(app, code) as module:
        made(app, REQUEST)
        assert module.seen == [True]


def test_the_clock_of_who_asks_stands_still(app: App) -> None:
    """A limit that one generation within would pass."""
    app.settings.update({"extension_seconds": 1})
    try:
        with extended(app, WITHIN.format(more="steps=150")):
            pictures: list[ImageReady] = made(app, replace(REQUEST, steps=1))
            assert len(pictures) == 1
    finally:
        app.settings.update({"extension_seconds": 60})
