"""Many clients at once on a fast engine: nothing lost, nothing doubled, nothing to the wrong person, and fair."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image

from backend.app import App
from backend.events import ENDINGS, ImageReady
from backend.job import Job
from backend.request import GenerationRequest
from backend.server.people import owner_named
from tests.api_studio import WAIT, served, studio
from tests.test_jobs_api_client import client

__all__ = ["client"]  # the fixture


class Echo:
    """An engine that says the prompt back, in a tiny picture that is saved as all are."""

    def __init__(self, app: App, gate: threading.Event):
        self._app = app
        self._gate = gate

    def generate(self, request: GenerationRequest, job: Job) -> None:
        assert self._gate.wait(WAIT * 10)
        picture = Image.new("RGB", (8, 8))
        path = self._app.outputs.save(picture, request, infotext=request.prompt, schedule="Karras")
        job.emit(
            ImageReady(
                index=0,
                seed=request.seed,
                path=path,
                width=8,
                height=8,
                infotext=request.prompt,
                request=request.to_json(),
            )
        )


def fairness(shares: Counter[str]) -> float:
    """Jain's index (Jain, Chiu & Hawe 1984, equation 2): 1 where all have the same."""
    values = list(shares.values())
    return sum(values) ** 2 / (len(values) * sum(value**2 for value in values))


def crowd(folder: Path, client: ModuleType, *, clients: int, jobs: int) -> str:
    """All of them submit at once and wait for their own; returns the figures."""
    gate, order = threading.Event(), list[str]()
    names = [f"client-{k}" for k in range(clients)]
    with studio(folder, lambda app: Echo(app, gate)) as here, served(here.web) as address:
        here.app.queue.subscribe(
            lambda job: order.append(job.owner) if job.since() and isinstance(job.since()[-1][1], ENDINGS) else None
        )

        def submit(name: str) -> list[str]:
            atelier = client.Atelier(address, token=name, timeout=WAIT)
            return [atelier.generate(f"{name} {k}").id for k in range(jobs)]

        def collect(name: str, ids: list[str]) -> list[str]:
            atelier = client.Atelier(address, token=name, timeout=WAIT * 10)
            assert [job.id for job in atelier.jobs()] == ids
            return [atelier.png_info(picture)["prompt"] for id in ids for picture in atelier.job(id).pictures()]

        with ThreadPoolExecutor(clients) as threads:
            ids = dict(zip(names, threads.map(submit, names), strict=True))
            assert len({id for each in ids.values() for id in each}) == clients * jobs
            gate.set()
            got = dict(zip(names, threads.map(collect, names, ids.values()), strict=True))
    for name, prompts in got.items():
        assert prompts == [f"{name} {k}" for k in range(jobs)]
    files = list((folder / "outputs").rglob("*.png"))
    assert len(files) == len(order) == clients * jobs
    shares = Counter({owner_named(name): 0 for name in names}) + Counter(order[: len(order) // 2])
    index = fairness(shares) if len(shares) == clients else 0.0
    assert index >= 0.95
    return f"{clients} clients x {jobs} jobs: 0 lost, 0 doubled, 0 to the wrong person; Jain's index {index:.4f}"


def test_jains_index_knows_fair_from_unfair() -> None:
    assert fairness(Counter(a=5, b=5, c=5)) == 1
    assert fairness(Counter(a=15, b=1, c=1)) < 0.5


def test_several_clients_get_their_own_in_turns(tmp_path: Path, client: ModuleType) -> None:
    crowd(tmp_path, client, clients=6, jobs=4)


@pytest.mark.slow
def test_fifty_clients_get_their_own_in_turns(tmp_path: Path, client: ModuleType) -> None:
    print(crowd(tmp_path, client, clients=50, jobs=20))
