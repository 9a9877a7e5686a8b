"""A queue, its store and its save path in a process of their own, to be killed: python -m tests.durable FOLDER OWNER

Every line it prints is an acknowledgement: ``job ID`` once a submission has returned, ``picture ID INDEX PATH`` once a
picture was told of, ``ended ID STATE``, and ``ready`` when it has begun. OWNER submits as long as the process lives, or
nothing at all without one: then it ends when all jobs have.
"""

import sys
import threading
import time
from pathlib import Path

from PIL import Image

from backend.events import ENDINGS, ImageReady
from backend.files import sweep_partial
from backend.job_store import SQLiteJobStore
from backend.jobs import KEPT_JOBS, Job, JobQueue
from backend.outputs import Outputs
from backend.request import GenerationRequest
from backend.settings import Settings

MOST_JOBS = KEPT_JOBS - 5  # of one owner: of more the oldest would be forgotten
STEP = 0.002  # seconds
SIDE = 96


class Engine:
    """Makes pictures of noise and saves them as the real one does."""

    def __init__(self, outputs: Outputs):
        self._outputs = outputs

    def generate(self, request: GenerationRequest, job: Job) -> None:
        for index in range(request.batch_count):
            for _ in range(request.steps):
                time.sleep(STEP)
                job.check()
            picture = Image.effect_noise((SIDE, SIDE), 60 + index).convert("RGB")
            path = self._outputs.save(picture, request, infotext=f"{job.id} {index}", schedule="Karras")
            job.emit(
                ImageReady(
                    index=index,
                    seed=request.seed,
                    path=path,
                    width=SIDE,
                    height=SIDE,
                    infotext=f"{job.id} {index}",
                    request=request.to_json(),
                )
            )


def say(*words: object) -> None:
    """One whole line, now: what was printed before a kill was written before it."""
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def told(job: Job) -> None:
    """Acknowledge what happened to a job, once it is on the disk: the queue listens before this does."""
    events = job.since()
    newest = events[-1][1] if events else None
    if isinstance(newest, ImageReady):
        say("picture", job.id, newest.index, newest.path)
    elif isinstance(newest, ENDINGS):
        say("ended", job.id, job.state)


def main(folder: Path, owner: str) -> None:
    """Work until killed, or until nothing is left to do."""
    outputs = Outputs(Settings, folder / "outputs")
    sweep_partial(outputs.folder)
    queue = JobQueue(lambda: Engine(outputs), store=SQLiteJobStore(folder / "queue.sqlite3"))
    queue.subscribe(told)
    queue.start()
    say("ready")
    for number in range(MOST_JOBS if owner else 0):
        job = queue.submit(GenerationRequest(prompt=f"{owner} {number}", steps=3, batch_count=2), owner)
        say("job", job.id)
        time.sleep(STEP)
    idle = threading.Event()
    while owner or queue.is_working or any(queue.line()):
        idle.wait(0.02)
    queue.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "")
