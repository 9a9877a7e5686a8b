"""Looks on while a generation runs, step by step."""

import time
from collections.abc import Callable

from torch import Tensor

from backend.events import Progress
from backend.imaging.preview import Previewer
from backend.jobs import Job
from backend.settings import SettingsStore

PREVIEW_PAUSE = 0.1  # seconds: nobody sees more than ten previews a second


class Watch:
    """Called after each step: ends the work when asked to, and tells the job how far it is.

    A batch that memory makes in parts counts as one of `parts` times as many steps.
    """

    def __init__(
        self, job: Job, previewer: Callable[[], Previewer], settings: SettingsStore, *, steps: int, batches: int
    ):
        """`previewer()` is asked when a preview is due; `steps` are those of one picture."""
        self.denoised: Tensor | None = None
        self._job = job
        self._previewer = previewer
        self._settings = settings
        self._steps = steps
        self._batches = batches
        self._batch, self._part, self._parts = 0, 0, 1
        self._before = 0
        self._told = 0  # steps of this pass
        self._made = 0  # steps that took their time
        self._started = time.monotonic()
        self._preview: bytes | None = None
        self._previewed = 0.0

    def begin(self, batch: int, part: int, parts: int, *, before: int = 0) -> None:
        """What follows is part `part` of `parts` of batch number `batch`, all from 0, from its first step on; `before`
        counts the steps of an earlier pass over the same pictures."""
        self.denoised = None
        self._batch, self._part, self._parts = batch, part, parts
        self._before = before
        self._told = 0

    def end(self, steps: int) -> None:
        """The pass is over, whose sampler may have taken fewer than the `steps` it was given."""
        if self._told < steps and self.denoised is not None:
            self(steps - 1, self.denoised)

    def __call__(self, step: int, denoised: Tensor) -> None:
        """Raises `FloatingPointError` if the first step gave no numbers: the others would not either."""
        if step == 0 and not denoised.isfinite().all():
            raise FloatingPointError("not a number after the first step")
        self.denoised = denoised
        self._told = step + 1
        self._made += 1
        now = time.monotonic()
        rate = self._made / max(now - self._started, 1e-6)
        done = self._part * self._steps + self._before + step + 1
        steps = self._parts * self._steps
        self._job.emit(
            Progress(
                step=done,
                steps=steps,
                batch=self._batch + 1,
                batches=self._batches,
                rate=rate,
                remaining=(steps * (self._batches - self._batch) - done) / rate,
                preview=self._newest_preview(self._before + step, denoised, now),
            )
        )
        self._job.check()

    def _newest_preview(self, step: int, denoised: Tensor, now: float) -> bytes | None:
        settings = self._settings.value
        last = step + 1 == self._steps
        due = (step + 1) % settings.preview_every == 0 and now - self._previewed >= PREVIEW_PAUSE
        if settings.previews and (due or last):
            self._preview = self._previewer().jpeg(denoised)
            self._previewed = now
        return self._preview
