"""What is known of jobs while they run: when one ends, and what it looks like so far."""

import asyncio
import contextlib
import threading
from collections.abc import Callable

from backend.events import ENDINGS, Progress
from backend.job import Job
from backend.jobs import JobQueue

End = Callable[[], None]


class Watch:
    """Waits for jobs without a thread, and keeps the newest preview of each one that runs, which a `Progress` without
    one would lose. Safe to use from any thread and from several loops."""

    def __init__(self, queue: JobQueue):
        self._lock = threading.Lock()
        self._waiting: dict[str, list[End]] = {}
        self._previews: dict[str, bytes] = {}
        queue.subscribe(self._on_job)

    def preview(self, job: Job) -> bytes | None:
        """A small JPEG of a running job, if there is one."""
        return self._previews.get(job.id)

    async def end(self, job: Job) -> None:
        """Return when a job has ended."""
        loop, ended = asyncio.get_running_loop(), asyncio.Event()

        def tell() -> None:
            with contextlib.suppress(RuntimeError):  # the loop has closed: so has who waited
                loop.call_soon_threadsafe(ended.set)

        with self._lock:
            self._waiting.setdefault(job.id, []).append(tell)
        try:
            if not job.ended:
                await ended.wait()
        finally:
            with self._lock:
                self._waiting[job.id].remove(tell)
                if not self._waiting[job.id]:
                    del self._waiting[job.id]

    def _on_job(self, job: Job) -> None:
        events = job.since()
        newest = events[-1][1] if events else None
        if isinstance(newest, Progress) and newest.preview:
            self._previews[job.id] = newest.preview
        elif isinstance(newest, ENDINGS):
            self._previews.pop(job.id, None)
            with self._lock:
                waiting = list(self._waiting.get(job.id, ()))
            for tell in waiting:
                tell()
