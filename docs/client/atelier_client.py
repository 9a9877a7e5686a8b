"""A small client of Atelier's interface for programs, ``/api/v2``: one file, the standard library only.

    from atelier_client import Atelier

    atelier = Atelier()                       # or Atelier("https://studio.example", token="...")
    job = atelier.generate("a red circle on a blue background", width=128, height=128)
    for event in job.events():
        print(event["type"], event.get("step", ""))
    for number, picture in enumerate(job.pictures()):
        Path(f"{number}.png").write_bytes(picture)

Values are named as in ``docs/api.md``; answers are dictionaries as in ``atelier.d.ts``.
"""

import base64
import hashlib
import http.client
import json
import secrets
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

TRIES = 5  # of a request that the network ate
FIRST_PAUSE = 0.25  # seconds before the second of them; each next one waits twice as long
ENDINGS = ("finished", "interrupted", "failed")
EVENTS = "text/event-stream"
NOTHING = 204
LENGTHS = ("Content-Length", "Transfer-Encoding")
BYTES = {"Content-Type": "application/octet-stream"}
BROKEN = (urllib.error.URLError, ConnectionError, TimeoutError, http.client.HTTPException)


class Refused(Exception):
    """The server said no: its word for that in `kind`, its sentence as the message, and in `wait` the seconds after
    which a full queue may have room."""

    def __init__(self, kind: str, sentence: str, *, status: int, wait: float = 0.0):
        super().__init__(sentence)
        self.kind = kind
        self.status = status
        self.wait = wait


class Atelier:
    """A server. Safe to use from any thread."""

    def __init__(
        self,
        address: str = "http://127.0.0.1:7860",
        *,
        token: str = "",
        user: str = "",
        password: str = "",
        timeout: float = 60.0,
    ):
        """With a login, `token`, or `user` and `password`; `timeout` in seconds is for each answer."""
        self._address = address.rstrip("/")
        self._timeout = timeout
        self._headers: dict[str, str] = {}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        elif user:
            basic = base64.b64encode(f"{user}:{password}".encode()).decode("ascii")
            self._headers["Authorization"] = f"Basic {basic}"

    def generate(self, prompt: str = "", **values: Any) -> "Job":
        """Queue a generation. Sent once, however often the network has to be tried; where a prompt leaves words to
        chance, each picture is a job, and those after the first are its `others`. Raises `Refused`."""
        return self._queue("generations", {"prompt": prompt, **values})

    def upscale(self, *pictures: str, **values: Any) -> "Job":
        """Queue pictures that were put in to be enlarged. Raises `Refused`."""
        return self._queue("upscales", {"inputs": list(pictures), **values})

    def put(self, picture: Path | bytes) -> str:
        """Put a picture in, unless it is there already; returns the name that requests call it. Raises `Refused`."""
        data = picture if isinstance(picture, bytes) else picture.read_bytes()
        name = hashlib.sha256(data).hexdigest()
        try:
            self.get(f"inputs/{name}")
        except Refused as error:
            if error.kind != "not_found":
                raise
            self._ask("PUT", f"inputs/{name}", data, BYTES)
        return name

    def png_info(self, picture: Path | bytes) -> dict[str, Any]:
        """How a picture was made, as its file says. Raises `Refused`."""
        data = picture if isinstance(picture, bytes) else picture.read_bytes()
        return json.loads(self._ask("POST", "png-info", data, BYTES))

    def jobs(self) -> list["Job"]:
        """Your jobs, in the order they run or ran."""
        return [Job(self, each["id"]) for each in self.get("jobs")["jobs"]]

    def job(self, id: str) -> "Job":
        """A job of which the id was kept."""
        return Job(self, id)

    def get(self, path: str) -> dict[str, Any]:
        """What there is at an address: ``samplers``, ``loras``, ``models?kind=checkpoint``, ``queue`` and others.

        Raises `Refused`.
        """
        return json.loads(self._ask("GET", path))

    def post(self, path: str, value: Mapping[str, Any] | None = None, key: str = "") -> dict[str, Any]:
        """Order something; `key` names the order, so that it is followed once. Raises `Refused`."""
        headers = {"Idempotency-Key": key} if key else {}
        data = None
        if value is not None:
            data = json.dumps(value).encode("ascii")
            headers["Content-Type"] = "application/json"
        return json.loads(self._ask("POST", path, data, headers, again=bool(key)))

    def fetch(self, path: str) -> bytes:
        """The bytes at an address below ``/api/v2``. Raises `Refused`."""
        return self._ask("GET", path)

    def delete(self, path: str) -> None:
        """Take away what is at an address below ``/api/v2``. Raises `Refused`."""
        self._ask("DELETE", path, again=False)

    def stream(self, path: str, last: str) -> http.client.HTTPResponse | None:
        """The stream of events at an address behind the one with the id `last`, to be read and closed; nothing where
        all were told. Raises `Refused`."""
        headers = {"Accept": EVENTS} | ({"Last-Event-ID": last} if last else {})
        answer = self._open("GET", path, headers=headers)
        if answer.status == NOTHING:
            answer.close()
            return None
        if not answer.headers.get("Content-Type", "").startswith(EVENTS):
            answer.close()
            raise http.client.IncompleteRead(b"")
        return answer

    def _queue(self, path: str, values: Mapping[str, Any]) -> "Job":
        answer = self.post(path, values, key=secrets.token_hex(16))
        return Job(self, answer["id"], [Job(self, each["id"]) for each in answer.get("others", ())])

    def _ask(
        self,
        method: str,
        path: str,
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        again: bool = True,
    ) -> bytes:
        """A whole answer; what may be asked `again` is, where the network fails."""
        for tried in range(TRIES):
            try:
                with self._open(method, path, data, headers) as answer:
                    # Cut off within its headers an answer looks whole, and empty.
                    if answer.status != NOTHING and not any(name in answer.headers for name in LENGTHS):
                        raise http.client.IncompleteRead(b"")
                    return answer.read()
            except BROKEN:
                if not again or tried == TRIES - 1:
                    raise
                time.sleep(FIRST_PAUSE * 2**tried)
        raise AssertionError("the last try returns or raises")

    def _open(
        self, method: str, path: str, data: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> http.client.HTTPResponse:
        """An answer to be read and closed. Raises `Refused`, and one of `BROKEN` where the network fails."""
        url = f"{self._address}/api/v2/{path}"
        asked = urllib.request.Request(url, data, {**self._headers, **(headers or {})}, method=method)
        try:
            return urllib.request.urlopen(asked, timeout=self._timeout)
        except urllib.error.HTTPError as error:
            with error:
                raise _refused(error) from None


class Job:
    """A job of yours on a server, and the others that were queued with it."""

    def __init__(self, atelier: Atelier, id: str, others: "Iterable[Job]" = ()):
        self.id = id
        self.others = tuple(others)
        self._atelier = atelier

    def look(self) -> dict[str, Any]:
        """The job as it is now. Raises `Refused`."""
        return self._atelier.get(f"jobs/{self.id}")

    def events(self) -> Iterator[dict[str, Any]]:
        """Everything that happened and happens, until the end; a connection that breaks is made again."""
        failures, last = 0, ""
        while failures < TRIES:
            try:
                answer = self._atelier.stream(f"jobs/{self.id}/events", last)
                if answer is None:
                    return
                with answer:
                    for id, data in _events(answer):
                        failures, last = 0, id or last
                        event = json.loads(data)
                        yield event
                        if event["type"] in ENDINGS:
                            return
            except BROKEN:
                if failures == TRIES - 1:
                    raise
            failures += 1
            time.sleep(FIRST_PAUSE * 2**failures)

    def wait(self) -> dict[str, Any]:
        """The job once it has ended. Raises `Refused` with the server's sentence for one that failed."""
        for _ in self.events():
            pass
        ended = self.look()
        if ended["state"] == "failed":
            raise Refused(ended["error"], ended["message"], status=200)
        return ended

    def pictures(self) -> list[bytes]:
        """The files of all pictures, those of the others too, once they have ended. Raises `Refused`."""
        count = len(self.wait()["pictures"])
        own = [self._atelier.fetch(f"jobs/{self.id}/pictures/{index}") for index in range(count)]
        return own + [picture for other in self.others for picture in other.pictures()]

    def cancel(self) -> dict[str, Any]:
        """End it: now if it waits, at its next step if it runs. Raises `Refused`."""
        return self._atelier.post(f"jobs/{self.id}/cancel")

    def skip(self) -> dict[str, Any]:
        """End the pictures being made now, and go on with the next. Raises `Refused`."""
        return self._atelier.post(f"jobs/{self.id}/skip")

    def move(self, places: int) -> dict[str, Any]:
        """Let it go so many places later among your own jobs; negative: earlier. Raises `Refused`."""
        return self._atelier.post(f"jobs/{self.id}/move", {"places": places})

    def forget(self) -> None:
        """Take an ended one out of your list. Raises `Refused`."""
        self._atelier.delete(f"jobs/{self.id}")


def _events(lines: Iterable[bytes]) -> Iterator[tuple[str, str]]:
    """The events of a stream: their ids, empty where they have none, and their data."""
    id, data = "", ""
    for raw in lines:
        name, _, value = raw.decode("utf-8").rstrip("\r\n").partition(": ")
        if name == "id":
            id = value
        elif name == "data":
            data = value
        elif not name and data:
            yield id, data
            id, data = "", ""


def _refused(error: urllib.error.HTTPError) -> Refused:
    try:
        said = json.loads(error.read())
        kind, sentence = str(said["error"]), str(said["detail"])
    except (ValueError, KeyError, TypeError):
        kind, sentence = "unknown", f"The server answered with the status {error.code}."
    wait = error.headers.get("Retry-After", "")
    return Refused(kind, sentence, status=error.code, wait=float(wait) if wait.isdigit() else 0.0)
