"""The Python client of `docs/client` against a real server, through a network that breaks."""

import importlib.util
import io
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image

from tests.api_studio import SMALL, Studio, served, studio
from tests.scripted import ScriptedWorker

CLIENT = Path(__file__).parent.parent / "docs" / "client" / "atelier_client.py"
VALUES = {name: value for name, value in SMALL.items() if name != "prompt"}


@pytest.fixture(scope="module")
def client() -> ModuleType:
    """The file as somebody has it who copied it."""
    spec = importlib.util.spec_from_file_location("atelier_client", CLIENT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    vars(module)["FIRST_PAUSE"] = 0.001
    return module


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Studio]:
    with studio(tmp_path) as opened:
        yield opened


@pytest.fixture
def address(here: Studio) -> Iterator[str]:
    with served(here.web) as at:
        yield at


class Relay:
    """A way to a server on which the first `failures` answers break off after `cut` bytes."""

    def __init__(self, target: str, failures: int, cut: int):
        self._host, _, port = target.removeprefix("http://").partition(":")
        self._port = int(port)
        self._failures = failures
        self._cut = cut
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.broken = 0
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                here, _ = self._listener.accept()
                threading.Thread(target=self._pass_on, args=(here,), daemon=True).start()

    def _pass_on(self, here: socket.socket) -> None:
        with here, socket.create_connection((self._host, self._port)) as there, suppress(OSError):
            threading.Thread(target=self._copy, args=(here, there), daemon=True).start()
            passed = 0
            while data := there.recv(256):
                if self.broken < self._failures and passed + len(data) > self._cut:
                    self.broken += 1
                    here.sendall(data[: self._cut - passed])
                    here.shutdown(socket.SHUT_RDWR)
                    return
                passed += len(data)
                here.sendall(data)

    @staticmethod
    def _copy(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(4096):
                target.sendall(data)


@contextmanager
def relayed(target: str, *, failures: int, cut: int) -> Iterator[Relay]:
    relay = Relay(target, failures, cut)
    try:
        yield relay
    finally:
        relay.close()


def test_a_picture_is_made_and_fetched(client: ModuleType, address: str) -> None:
    atelier = client.Atelier(address)
    job = atelier.generate("a red circle", **VALUES, batch_count=2)
    kinds = [event["type"] for event in job.events()]
    assert kinds[-1] == "finished"
    assert kinds.count("picture") == 2
    pictures = [Image.open(io.BytesIO(data)) for data in job.pictures()]
    assert [picture.size for picture in pictures] == [(64, 64), (64, 64)]
    assert atelier.png_info(job.pictures()[0])["prompt"] == "a red circle"
    assert [each.id for each in atelier.jobs()] == [job.id]
    assert "Euler a" in [each["name"] for each in atelier.get("samplers")["names"]]
    job.forget()
    assert atelier.jobs() == []


def test_each_picture_has_words_of_its_own(client: ModuleType, address: str) -> None:
    job = client.Atelier(address).generate("a {red|green} circle", **VALUES, batch_count=3)
    assert len(job.others) == 2 and len(job.pictures()) == 3


def test_a_picture_is_put_in_once(client: ModuleType, address: str, here: Studio, tmp_path: Path) -> None:
    atelier, path = client.Atelier(address), tmp_path / "a.png"
    Image.new("RGB", (64, 64), "blue").save(path)
    name = atelier.put(path)
    assert here.app.inputs.path(name).read_bytes() == path.read_bytes()
    with relayed(address, failures=0, cut=0) as relay:
        assert client.Atelier(relay.address).put(path) == name
    assert atelier.generate("a", **VALUES, init={"picture": name}).wait()["state"] == "finished"
    assert atelier.upscale(name, scale=2).look()["kind"] == "upscale"


def test_a_refusal_carries_the_servers_words(client: ModuleType, address: str) -> None:
    atelier = client.Atelier(address)
    with pytest.raises(client.Refused, match="Sampling steps must be from 1 to 150") as no:
        atelier.generate("a", steps=1000)
    assert (no.value.kind, no.value.status) == ("invalid_value", 422)
    with pytest.raises(client.Refused, match="was asked to fail") as no:
        atelier.generate("fail", **VALUES).wait()
    assert no.value.kind == "failed"
    job = atelier.generate("a", **VALUES)
    with pytest.raises(client.Refused) as no:
        client.Atelier(address, token="you").job(job.id).look()
    assert no.value.kind == "not_found"


@pytest.mark.parametrize("cut", [0, 40, 300])
def test_a_submission_whose_answer_was_lost_is_queued_once(
    cut: int, client: ModuleType, address: str, here: Studio
) -> None:
    with relayed(address, failures=1, cut=cut) as relay:
        job = client.Atelier(relay.address).generate("a", **VALUES)
        assert relay.broken == 1
    assert [each["id"] for each in here.client().get("/jobs").json()["jobs"]] == [job.id]


def test_events_that_break_off_go_on_and_none_comes_twice(client: ModuleType, address: str) -> None:
    job = client.Atelier(address).generate("a", **VALUES, batch_count=4)
    whole = list(job.events())
    for cut in (0, 200, 700, 1500, 3000):
        with relayed(address, failures=2, cut=cut) as relay:
            again = client.Atelier(relay.address).job(job.id)
            assert [event for event in again.events() if event["type"] != "progress"] == [
                event for event in whole if event["type"] not in ("progress", "queued")
            ]
            assert relay.broken >= 1


def test_jobs_are_moved_and_ended(client: ModuleType, tmp_path: Path) -> None:
    gate = threading.Semaphore(0)
    with studio(tmp_path, lambda app: ScriptedWorker(app, gate=gate)) as held:
        held.app.settings.update({"queue_each": 2})
        with served(held.web) as address:
            atelier = client.Atelier(address)
            running = atelier.generate("a", **VALUES)
            assert next(event for event in running.events() if event["type"] == "started")
            first, second = (atelier.generate(prompt, **VALUES) for prompt in "bc")
            with pytest.raises(client.Refused, match="The queue is full") as no:
                atelier.generate("d", **VALUES)
            assert no.value.kind == "queue_full"
            assert no.value.wait >= 1
            assert second.move(-1)["position"] == 1
            assert first.cancel()["state"] == "interrupted"
            running.skip()
            assert running.wait()["pictures"] == []
            second.cancel()
            assert second.wait()["state"] == "interrupted"
