"""What the interface for programs costs: ``python -m bench.server [--jobs N]``.

A server of its own process with the guard, ``/api/v2`` and ``/sdapi``, and an engine that does little and times itself:
what a client waits beyond that is what everything around the engine costs (README.md says how it is counted).
"""

import argparse
import http.client
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from typing import Any

import psutil
from PIL import Image

from backend.app import App, Options
from backend.events import ImageReady, Progress
from backend.job import Job
from backend.paths import ROOT
from backend.request import GenerationRequest
from bench.report import Figure, machine

STEP = 0.002  # seconds that the engine sleeps for a step
STEPS = 10
SIDE = 64
LONG = 150  # steps of the job that runs while others ask: the most that a request may have
PREVIEW = bytes(3000)
WARM, JOBS = 100, 1000  # jobs after which memory is measured first, and last
ASKED = 500  # questions for progress
MEDIAN_AIM, P99_AIM = 5.0, 20.0  # milliseconds
QUESTION_AIM = 10.0  # milliseconds
GROWTH_AIM = 1.0  # percent
PATIENCE = 60.0  # seconds
HEADERS = {"Content-Type": "application/json"}
PROGRESS = {"/api/v2": "/api/v2/jobs/{id}", "/sdapi": "/sdapi/v1/progress?skip_current_image=true"}


class Engine:
    """Sleeps for each step and saves a small picture; says in the infotext how many seconds were its own."""

    def __init__(self, app: App):
        self._app = app
        self._picture = Image.effect_noise((SIDE, SIDE), 50).convert("RGB")

    def generate(self, request: GenerationRequest, job: Job) -> None:
        """Only the sleeping and the saving is the engine's: telling of it is what is measured."""
        own = 0.0
        for step in range(1, request.steps + 1):
            started = time.perf_counter()
            time.sleep(STEP)
            own += time.perf_counter() - started
            job.check()
            left = (request.steps - step) * STEP
            job.emit(
                Progress(
                    step=step, steps=request.steps, batch=1, batches=1, rate=1 / STEP, remaining=left, preview=PREVIEW
                )
            )
        started = time.perf_counter()
        path = self._app.outputs.save(self._picture, request, infotext="", schedule="Karras")
        own += time.perf_counter() - started
        job.emit(
            ImageReady(
                index=0,
                seed=request.seed,
                path=path,
                width=SIDE,
                height=SIDE,
                infotext=f"{own:.6f}",
                request=request.to_json(),
            )
        )


def serve(folder: Path, port: int) -> None:
    """Run the server until it is ended."""
    import uvicorn
    from fastapi import FastAPI

    from backend.server import jobs_api, sdapi
    from backend.server.guard import Guard

    app = App(Options(data_dir=folder), worker=Engine)
    web = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    for part in (sdapi, jobs_api):
        web.include_router(part.router(app))
    app.start()
    try:
        uvicorn.run(Guard(web), host="127.0.0.1", port=port, log_level="warning", proxy_headers=False)
    finally:
        app.close()


@dataclass(frozen=True, kw_only=True)
class Served:
    """A server: its process and a connection that stays open."""

    process: psutil.Process
    connection: http.client.HTTPConnection

    def ask(self, method: str, path: str, value: object = None) -> bytes:
        """A whole answer. Raises RuntimeError for one that is no success."""
        body = None if value is None else json.dumps(value)
        self.connection.request(method, path, body, HEADERS if body else {})
        answer = self.connection.getresponse()
        data = answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path} was answered {answer.status}: {data[:300]!r}")
        return data

    def job(self, steps: int = STEPS) -> str:
        """The id of a new job."""
        value = {"prompt": "a red circle", "steps": steps, "width": SIDE, "height": SIDE, "seed": 1}
        return json.loads(self.ask("POST", "/api/v2/generations", value))["id"]

    def waited(self) -> float:
        """Milliseconds of one job beyond what the engine took: from asking to having read the last event."""
        started = time.perf_counter()
        stream = self.ask("GET", f"/api/v2/jobs/{self.job()}/events").decode()
        whole = time.perf_counter() - started
        made: list[Any] = [json.loads(line[6:]) for line in stream.splitlines() if line.startswith("data: ")]
        if made[-1]["type"] != "finished":
            raise RuntimeError(f"a job ended otherwise: {made[-1]}")
        own = next(float(event["picture"]["infotext"]) for event in made if event["type"] == "picture")
        return (whole - own) * 1000

    @property
    def memory(self) -> int:
        """Bytes that are resident."""
        return self.process.memory_info().rss


@contextmanager
def served() -> Iterator[Served]:
    """A server in a process and a folder of its own."""
    with TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
        free.close()
        command = [sys.executable, "-m", "bench.server", "--serve", folder, "--port", str(port)]
        with subprocess.Popen(command, cwd=ROOT) as process:
            try:
                _wait(port, process)
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
                yield Served(process=psutil.Process(process.pid), connection=connection)
            finally:
                process.terminate()


def _wait(port: int, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError("the server did not begin to answer")


def asked_while_one_runs(server: Served, path: str) -> list[float]:
    """Seconds of each question for progress, one after the other, while a job runs."""
    times: list[float] = []
    id = ""
    while len(times) < ASKED:
        if not id or json.loads(server.ask("GET", f"/api/v2/jobs/{id}"))["state"] == "finished":
            id = server.job(LONG)
        for _ in range(10):
            started = time.perf_counter()
            server.ask("GET", path.format(id=id))
            times.append(time.perf_counter() - started)
    server.ask("POST", f"/api/v2/jobs/{id}/cancel")
    return times


def main() -> None:
    """Measure and print."""
    flags = argparse.ArgumentParser(prog="python -m bench.server", description=__doc__)
    flags.add_argument("--jobs", type=int, default=JOBS, help=f"jobs in all (default: {JOBS})")
    flags.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    flags.add_argument("--port", type=int, help=argparse.SUPPRESS)
    arguments = flags.parse_args()
    if arguments.serve:
        serve(arguments.serve, arguments.port)
        return
    print(machine(), flush=True)
    for line in measured(max(arguments.jobs, 2 * WARM)):
        print(line, flush=True)


def measured(jobs: int) -> Iterator[str]:
    """What was found, the figures last."""
    with served() as server:
        beyond = [server.waited() for _ in range(WARM)]
        before = server.memory
        beyond += [server.waited() for _ in range(jobs - WARM)]
        after = server.memory
        questions = {name: asked_while_one_runs(server, path) for name, path in PROGRESS.items()}
    warm = beyond[WARM:]
    low, _, high = quantiles(warm, n=4)
    yield f"a job beyond its engine, {len(warm)} of them: quartiles {low:.2f} and {high:.2f} ms"
    yield f"memory after {WARM} jobs {before / 1e6:.1f} MB, after {jobs} {after / 1e6:.1f} MB"
    for name, times in questions.items():
        yield f"progress by {name} while a job runs: {len(times) / sum(times):,.0f} a second, one after the other"
    growth = (after - before) / before * 100
    yield Figure(name="server.overhead", value=median(warm), unit="ms", aim=MEDIAN_AIM, digits=2).line
    yield Figure(name="server.overhead_p99", value=quantiles(warm, n=100)[-1], unit="ms", aim=P99_AIM, digits=2).line
    for name, times in questions.items():
        value = median(times) * 1000
        yield Figure(name=f"server.progress@{name}", value=value, unit="ms", aim=QUESTION_AIM, digits=2).line
    yield Figure(name="server.growth", value=growth, unit="percent", aim=GROWTH_AIM, digits=2).line


if __name__ == "__main__":
    main()
