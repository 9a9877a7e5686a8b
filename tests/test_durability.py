"""Work survives a kill at any moment: every acknowledged job ends, every acknowledged picture is there and whole."""

import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from PIL import Image

from backend.events import Failed
from backend.infotext.containers import read_texts
from backend.job_store import MOST_BEGINNINGS, STOPPED, SQLiteJobStore
from tests.test_jobs_api_client import client

__all__ = ["client"]  # the fixture

ROOT = Path(__file__).resolve().parent.parent
WAIT = 120.0  # seconds after which a test has hung
LIVES = (0.0, 0.4)  # seconds from being ready to being killed


@dataclass
class Acknowledged:
    """What the processes said that is done."""

    jobs: set[str] = field(default_factory=set)
    pictures: dict[tuple[str, int], set[Path]] = field(default_factory=dict)
    ended: Counter[str] = field(default_factory=Counter)

    def read(self, line: str) -> None:
        match line.rstrip("\n").split(" ", maxsplit=3):
            case ["job", id]:
                self.jobs.add(id)
            case ["picture", id, index, path]:
                self.pictures.setdefault((id, int(index)), set()).add(Path(path))
            case ["ended", id, _]:
                self.ended[id] += 1


def started(folder: Path, *owner: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "tests.durable", str(folder), *owner]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if line == "ready\n":
            return process
    raise AssertionError(f"it ended with {process.wait()}")


def kill_at_some_moment(folder: Path, said: Acknowledged, owner: str) -> None:
    """One life: what was acknowledged in it is added."""
    process = started(folder, owner)
    assert process.stdout is not None
    killer = threading.Timer(random.SystemRandom().uniform(*LIVES), process.kill)
    killer.start()
    for line in process.stdout:
        if line.endswith("\n"):
            said.read(line)
    assert process.wait(WAIT) == -signal.SIGKILL


def work_off(folder: Path, said: Acknowledged) -> None:
    process = started(folder)
    assert process.stdout is not None
    for line in process.stdout:
        said.read(line)
    assert process.wait(WAIT) == 0


def check(folder: Path, said: Acknowledged) -> str:
    """Hold what there is against what was acknowledged; returns the figures."""
    store = SQLiteJobStore(folder / "queue.sqlite3")
    jobs = {job.id: job for job in store.load()}
    store.close()
    assert said.jobs <= jobs.keys(), "a job that was acknowledged is gone"
    given_up = 0
    for job in jobs.values():
        if job.state == "failed":
            _, last = job.since()[-1]
            assert isinstance(last, Failed) and (last.message, job.begun) == (STOPPED, MOST_BEGINNINGS)
            given_up += 1
        else:
            assert (job.state, len(job.images)) == ("finished", job.request.pictures)
        for image in job.images:
            assert whole(image.path, f"{job.id} {image.index}")
    for (id, index), paths in said.pictures.items():
        assert all(whole(path, f"{id} {index}") for path in paths), "a picture that was acknowledged is gone"
    assert max(said.ended.values()) == 1, "a job ended twice"
    files = [path for path in (folder / "outputs").rglob("*") if path.is_file()]
    assert all(whole(path) for path in files)
    return (
        f"{len(said.jobs)} jobs and {len(said.pictures)} pictures acknowledged, 0 lost; {len(files)} files, 0 damaged; "
        f"{given_up} jobs given up after {MOST_BEGINNINGS} beginnings"
    )


def whole(path: Path, recipe: str = "") -> bool:
    """Whether a file is a picture to its last byte, and the one that it should be."""
    with Image.open(path) as image:
        image.load()
    with path.open("rb") as file:
        file.seek(-12, 2)
        ends = file.read()[4:8] == b"IEND"
    texts = read_texts(path)
    return ends and texts is not None and recipe in texts.chunks["parameters"]


def survive(folder: Path, kills: int) -> str:
    said = Acknowledged()
    for number in range(kills):
        kill_at_some_moment(folder, said, f"owner {number}")
    work_off(folder, said)
    return check(folder, said)


def test_nothing_acknowledged_is_lost_by_a_kill(tmp_path: Path) -> None:
    survive(tmp_path, 2)


@pytest.mark.slow
def test_nothing_acknowledged_is_lost_by_190_kills(tmp_path: Path) -> None:
    print(survive(tmp_path, 190))


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def program(folder: Path, port: int) -> "subprocess.Popen[bytes]":
    """The whole of Atelier, as soon as it answers."""
    command = [sys.executable, "webui.py", "--port", str(port), "--data-dir", str(folder), "--device", "cpu"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + WAIT
    while time.monotonic() < deadline:
        assert process.poll() is None, "it ended by itself"
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return process
    process.kill()
    raise AssertionError("it does not answer")


def ended(atelier: object, ids: set[str]) -> Iterator[dict[str, object]]:
    for id in ids:
        job = atelier.job(id)  # pyright: ignore[reportAttributeAccessIssue]
        for _ in job.events():
            pass
        yield job.look()


@pytest.mark.slow
def test_nothing_acknowledged_is_lost_by_10_kills_of_the_whole_program(
    tmp_path: Path, port: int, client: object
) -> None:
    """Through the interface for programs, with the real engine and the starter."""
    make = client.Atelier  # pyright: ignore[reportAttributeAccessIssue]
    ids: set[str] = set()
    for number in range(10):
        process = program(tmp_path, port)
        try:
            atelier = make(f"http://127.0.0.1:{port}")
            for k in range(2):
                ids.add(atelier.generate(f"a red circle {number} {k}", width=128, height=128, steps=4).id)
            time.sleep(random.SystemRandom().uniform(0.0, 20.0))
        finally:
            process.kill()
            process.wait(WAIT)
    process = program(tmp_path, port)
    try:
        atelier = make(f"http://127.0.0.1:{port}", timeout=WAIT)
        states = Counter(str(job["state"]) for job in ended(atelier, ids))
    finally:
        process.terminate()
        process.wait(WAIT)
    files = [path for path in (tmp_path / "outputs").rglob("*") if path.is_file()]
    assert all(whole(path) for path in files)
    print(f"{len(ids)} jobs acknowledged: {dict(states)}; {len(files)} files, 0 damaged")
    assert states["finished"] + states["failed"] == len(ids)
    assert states["failed"] <= 2, "given up after so many beginnings, which is rare"
