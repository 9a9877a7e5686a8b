"""How far somebody's current job is, in the form of AUTOMATIC1111's ``shared.state``.

There the state is one for all. Here each owner sees, interrupts and skips only what is their own: the job that runs,
else the first of theirs that waits.
"""

import base64
import time
from typing import Any

from backend.events import Loading, Progress
from backend.job import Job
from backend.jobs import JobQueue
from backend.request import GenerationRequest
from backend.server.sdapi.calls import Call
from backend.server.sdapi.watch import Watch

BEGUN = 0.01  # what a job is said to be at before its first step, as there


def current(queue: JobQueue, owner: str) -> Job | None:
    """The owner's job that runs, else the next one in line."""
    jobs = queue.jobs(owner)
    running = next((job for job in jobs if job.state == "running"), None)
    return running or next((job for job in jobs if job.state == "queued"), None)


def timestamp(job: Job) -> str:
    """When a job was sent, as AUTOMATIC1111 writes it."""
    return time.strftime("%Y%m%d%H%M%S", time.localtime(job.created))


def progress(queue: JobQueue, watch: Watch, job: Job | None, call: Call | None, *, with_image: bool) -> dict[str, Any]:
    """The answer to ``/progress`` about somebody's current job, and what came with it in one call: 0 and no jobs where
    nothing of theirs is under way."""
    if job is None:
        return _answer(0.0, 0.0, _state())
    jobs = call.all if call else (job,)
    place = jobs.index(job)
    before = sum(map(_batches, jobs[:place]))
    count = sum(map(_batches, jobs))
    events = [event for _, event in job.since()]
    step = next((event for event in reversed(events) if isinstance(event, Progress)), None)
    loading = next((event for event in reversed(events[-1:]) if isinstance(event, Loading)), None)
    state = _state(job, count, before, step)
    text = f"Loading {loading.what}" if loading else None
    if step is None:
        begun = max(place / len(jobs), BEGUN if events else 0.0)
        return _answer(begun, queue.seconds_left(job) or 0.0, state, task=job.id, text=text)
    done = (place + ((step.batch - 1) + step.step / step.steps) / step.batches) / len(jobs)
    preview = watch.preview(job) if with_image else None
    image = base64.b64encode(preview).decode("ascii") if preview else None
    rest = step.remaining if jobs[-1] is job else queue.seconds_left(jobs[-1]) or step.remaining
    return _answer(min(done, 1.0), rest, state, task=job.id, text=text, image=image)


def _answer(
    done: float,
    eta: float,
    state: dict[str, Any],
    *,
    task: str | None = None,
    text: str | None = None,
    image: str | None = None,
) -> dict[str, Any]:
    return {
        "progress": done,
        "eta_relative": eta,
        "state": state,
        "current_image": image,
        "textinfo": text,
        "current_task": task,
    }


def _batches(job: Job) -> int:
    request = job.request
    return request.batch_count if isinstance(request, GenerationRequest) else request.pictures


def _state(job: Job | None = None, count: int = 0, before: int = 0, step: Progress | None = None) -> dict[str, Any]:
    return {
        "skipped": False,
        "interrupted": False,
        "stopping_generation": False,
        "job": job.id if job else "",
        "job_count": count,
        "job_timestamp": timestamp(job) if job else "0",
        "job_no": before + (step.batch - 1 if step else 0),
        "sampling_step": step.step if step else 0,
        "sampling_steps": step.steps if step else 0,
    }
