"""What holds the interpreter, or ends the process, is seen from outside: Atelier is started again, without it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx
import pytest

from backend.extensions.calls import Calls
from backend.extensions.extension import Extension
from backend.extensions.log import ExtensionLog
from backend.extensions.supervisor import HELD_UP, STALL_VARIABLE, SUPERVISED, is_needed
from backend.paths import ROOT
from backend.server.owner import OWNER_COOKIE
from tests.extension_folders import write_extension

NOTHING: Mapping[str, str] = MappingProxyType({})
# A call by PyDLL keeps the interpreter's lock: no thread of the process runs meanwhile.
HOLDS = """
import ctypes
@hook
def on_request(request):
    if "hold" in request.prompt:
        ctypes.PyDLL(None).sleep(1000)
    if "crash" in request.prompt:
        ctypes.string_at(0)
"""
HOLDS_IN_A_ROUTE = """
import ctypes

@hook
def register(api):
    routes = APIRouter()

    @routes.get("/hold")
    def hold():
        ctypes.PyDLL(None).sleep(1000)

    api.routes(routes)
"""
HOLDS_AT_IMPORT = "import ctypes\nctypes.PyDLL(None).sleep(1000)\n"


class Studio:
    """A real webui.py, asked over its own address."""

    def __init__(self, data_dir: Path, checkpoints: Path, *flags: str, **environment: str):
        self.data_dir = data_dir
        self.running = subprocess.Popen(
            [
                *(sys.executable, "webui.py", "--port", "0", "--data-dir", str(data_dir), "--device", "cpu"),
                *("--nowebui", "--ckpt-dir", str(checkpoints), *flags),
            ],
            cwd=ROOT,
            env={**os.environ, STALL_VARIABLE: "2", **environment},
            stdout=subprocess.PIPE,
            stderr=(data_dir / "errors.txt").open("wb"),
            text=True,
        )
        self.address = self.next_address()

    def next_address(self) -> str:
        """Where it is, as soon as it says so."""
        assert self.running.stdout is not None
        for line in self.running.stdout:
            if line.startswith("Atelier is at"):
                return line.split()[3]
        raise AssertionError((self.data_dir / "errors.txt").read_text())

    def ask(self, method: str, path: str, **arguments: Any) -> Any:
        cookies = {OWNER_COOKIE: "a" * 32}
        answer = httpx.request(method, f"{self.address}/api/v2{path}", timeout=30, cookies=cookies, **arguments)
        assert answer.is_success, answer.text
        return answer.json()

    def submit(self, prompt: str, steps: int = 1) -> str:
        request = {"prompt": prompt, "steps": steps, "width": 64, "height": 64, "seed": 5}
        return self.ask("POST", "/generations", json=request)["id"]

    def ended(self, id: str) -> dict[str, Any]:
        while True:
            job = self.ask("GET", f"/jobs/{id}")
            if job["state"] not in ("queued", "running"):
                return job
            time.sleep(0.2)

    @property
    def errors(self) -> str:
        return (self.data_dir / "errors.txt").read_text()


@pytest.fixture
def studio(tmp_path: Path, tiny_checkpoint: Path) -> Iterator[Callable[..., Studio]]:
    """Starts Atelier with extensions that are on."""
    made: list[Studio] = []

    def start(*flags: str, on: Mapping[str, str] = NOTHING, **environment: str) -> Studio:
        data_dir = tmp_path / "data"
        data_dir.mkdir(exist_ok=True)
        for id, code in on.items():
            write_extension(data_dir, id, code)
        switches = ", ".join(f'"{id}": true' for id in on)
        if on:
            (data_dir / "extensions.json").write_text(f'{{"switched": {{{switches}}}}}')
        made.append(Studio(data_dir, tiny_checkpoint.parent, *flags, **environment))
        return made[-1]

    yield start
    for each in made:
        each.running.terminate()
        try:
            each.running.wait(30)
        finally:
            each.running.kill()


def child_of(process: int) -> int:
    found = subprocess.run(["pgrep", "-P", str(process)], capture_output=True, text=True, check=False).stdout.split()
    assert len(found) == 1
    return int(found[0])


PARENT = """
import os, sys
from backend.extensions.supervisor import Supervisor
sys.exit(Supervisor([sys.executable, *sys.argv[1:]], os.environ).run())
"""
CHILD = """
import ctypes, os, signal, sys, time
from backend.extensions.supervisor import BEAT, HeldUp, Pulse
pulse, held_up = Pulse.from_environment(), HeldUp.from_environment()
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("begun", os.getpid(), held_up.extension if held_up else "", *sys.argv[1:], flush=True)
"""
KEEPS = "ctypes.PyDLL(None).sleep(1000)\n"
IN_A_CALL = "pulse.watch(1, 'frame', 'on_image')\ntime.sleep(3 * BEAT)\n"
FIRST_TIME = "if held_up:\n    print('again', held_up.what, held_up.job, flush=True)\n    sys.exit(7)\n"


def supervised(tmp_path: Path, code: str) -> subprocess.Popen[str]:
    """A program that is supervised as webui.py is, and imports nothing of it."""
    (tmp_path / "parent.py").write_text(PARENT)
    (tmp_path / "child.py").write_text(CHILD + code)
    return subprocess.Popen(
        [sys.executable, str(tmp_path / "parent.py"), str(tmp_path / "child.py")],
        env={**os.environ, STALL_VARIABLE: "1", "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def begun(running: subprocess.Popen[str]) -> int:
    """The child's process, once it has begun."""
    assert running.stdout is not None
    return int(running.stdout.readline().split()[1])


def is_gone(process: int) -> bool:
    status = Path(f"/proc/{process}/status")
    return not status.exists() or "\nState:\tZ" in status.read_text()


def test_who_needs_watching_over(tmp_path: Path) -> None:
    ours = tmp_path / "shipped"
    write_extension(ours, "frame")
    (ours / "extensions" / "bundled.txt").write_text("# ours\nframe on\n")
    assert not is_needed(tmp_path, ours / "extensions")
    assert not is_needed(ours, ours / "extensions")
    write_extension(ours, "strange")
    assert is_needed(ours, ours / "extensions")
    write_extension(tmp_path, "frame")
    assert is_needed(tmp_path, ours / "extensions")


@pytest.mark.parametrize(
    ("act", "what"),
    [
        (KEEPS, "held the whole of Atelier up in on_image, which was ended and started again"),
        ("ctypes.string_at(0)\n", "ended the whole of Atelier in on_image, which was started again"),
        ("os._exit(3)\n", "ended the whole of Atelier in on_image, which was started again"),
    ],
)
def test_what_holds_or_ends_the_process_within_a_call_begins_it_again(tmp_path: Path, act: str, what: str) -> None:
    job = "pulse.job_of = lambda thread: 'the job'\n"
    running = supervised(tmp_path, FIRST_TIME + job + IN_A_CALL + act)
    told, errors = running.communicate()
    assert [line for line in told.splitlines() if line.startswith("again")] == [f"again {what} the job"]
    assert f"the extension frame {what}." in errors
    assert running.returncode == 7


def test_what_holds_the_interpreter_for_a_while_or_outside_of_a_call_goes_on(tmp_path: Path) -> None:
    a_while = "ctypes.PyDLL(None).usleep(400_000)\n"
    outside = "pulse.watch(1, '', '')\nctypes.PyDLL(None).sleep(4)\nsys.exit(5)\n"
    running = supervised(tmp_path, FIRST_TIME + IN_A_CALL + a_while + outside)
    told, errors = running.communicate()
    assert (told.count("begun"), errors, running.returncode) == (1, "", 5)


@pytest.mark.parametrize("code", ["sys.exit(2)", "os.kill(os.getpid(), signal.SIGKILL)", "ctypes.string_at(0)"])
def test_a_process_that_ends_by_itself_has_ended(tmp_path: Path, code: str) -> None:
    running = supervised(tmp_path, code)
    told, _ = running.communicate()
    assert told.count("begun") == 1
    assert running.returncode == {"sys.exit(2)": 2, "ctypes.string_at(0)": 128 + signal.SIGSEGV}.get(code, 128 + 9)


def test_what_comes_again_and_again_ends_in_safe_mode(tmp_path: Path) -> None:
    running = supervised(tmp_path, f"if '--safe-mode' in sys.argv:\n    sys.exit(0)\n{IN_A_CALL}os._exit(1)\n")
    told, errors = running.communicate()
    begun = [line.split()[2:] for line in told.splitlines()]
    assert begun == [[], *([["frame"]] * 4), ["frame", "--safe-mode"]]
    assert errors.count("ended the whole of Atelier") == 5
    assert "it goes on without any extension" in errors
    assert running.returncode == 0


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_asked_to_end_both_end(tmp_path: Path, sent: signal.Signals) -> None:
    running = supervised(tmp_path, f"{IN_A_CALL}time.sleep(1000)\n")
    child = begun(running)
    running.send_signal(sent)
    assert running.wait() == 0
    assert is_gone(child)


def test_asked_twice_a_child_that_does_not_hear_is_ended(tmp_path: Path) -> None:
    running = supervised(tmp_path, "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('deaf', flush=True)\n" + KEEPS)
    child = begun(running)
    assert running.stdout is not None
    assert running.stdout.readline() == "deaf\n"
    running.terminate()
    time.sleep(0.5)
    assert not is_gone(child)
    running.terminate()
    assert running.wait() == 128 + 9
    assert is_gone(child)


def test_a_child_whose_parent_is_gone_ends(tmp_path: Path) -> None:
    running = supervised(tmp_path, "time.sleep(1000)\n")
    child = begun(running)
    running.kill()
    running.wait()
    while not is_gone(child):
        time.sleep(0.1)


def test_a_job_that_holds_the_interpreter_is_failed_by_name_and_the_queue_goes_on(
    studio: Callable[..., Studio],
) -> None:
    running = studio(on={"holding": HOLDS})
    before, held, waiting = running.submit("a red circle", 50), running.submit("hold"), running.submit("a red circle")
    running.address = running.next_address()
    assert running.ended(before)["state"] == "finished"
    job = running.ended(held)
    assert job["state"] == "failed"
    assert "Holding held the whole of Atelier up in on_request" in str(job)
    assert running.ended(waiting)["state"] == "finished"
    assert "the extension holding held the whole of Atelier up in on_request" in running.errors
    assert "It held the whole of Atelier up in on_request" in (running.data_dir / "extensions.json").read_text()


@pytest.mark.slow
def test_a_route_that_holds_the_interpreter_is_named_and_the_queue_goes_on(studio: Callable[..., Studio]) -> None:
    running = studio(on={"holding": HOLDS_IN_A_ROUTE})
    before = running.submit("a red circle")
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{running.address}/ext/holding/hold", timeout=60, cookies={OWNER_COOKIE: "a" * 32})
    running.address = running.next_address()
    assert "the extension holding held the whole of Atelier up in GET /ext/holding/hold" in running.errors
    assert running.ended(before)["state"] == "finished"
    assert running.ended(running.submit("a red circle"))["state"] == "finished"


@pytest.mark.slow
def test_one_that_holds_the_interpreter_at_import_is_off_afterwards(studio: Callable[..., Studio]) -> None:
    running = studio(on={"holding": HOLDS_AT_IMPORT})
    assert "the extension holding held the whole of Atelier up in its import" in running.errors
    assert running.ended(running.submit("a red circle"))["state"] == "finished"
    child = child_of(running.running.pid)
    running.running.terminate()
    assert running.running.wait() == 0
    assert is_gone(child)


@pytest.mark.slow
def test_nobody_watches_over_an_atelier_without_strangers_or_in_safe_mode(studio: Callable[..., Studio]) -> None:
    for flags, on in (((), NOTHING), (("--safe-mode",), {"holding": HOLDS_AT_IMPORT})):
        running = studio(*flags, on=on)
        found = subprocess.run(
            ["pgrep", "-f", "-P", str(running.running.pid), "webui.py"], capture_output=True, text=True, check=False
        )
        assert found.stdout == ""
        running.running.terminate()
        assert running.running.wait() == 0


def test_what_is_under_way_is_told_before_each_call(tmp_path: Path) -> None:
    told: list[tuple[str, str]] = []
    calls = Calls()
    calls.watch = lambda _thread, call: told.append((call.extension.id, call.where) if call else ("", ""))
    extension = Extension(id="frame", folder=tmp_path, data_dir=tmp_path, log=ExtensionLog("frame", tmp_path))

    def hook() -> None:
        assert told == [("frame", "on_image")]
        with calls.pause():
            assert told[1:] == [("", "")]
        assert told[2:] == [("frame", "on_image")]

    calls.call(extension, "on_image", hook)
    assert told[3:] == [("", "")]


@pytest.mark.slow
def test_the_environment_of_what_is_started_later_says_nothing_of_it(studio: Callable[..., Studio]) -> None:
    code = f"""
    import os
    @hook
    def register(api):
        seen = [name for name in ({SUPERVISED!r}, {HELD_UP!r}) if name in os.environ]
        (api.data_dir / "seen.txt").write_text(repr(seen))
    """
    running = studio(on={"looking": code})
    assert (running.data_dir / "extensions-data/looking/seen.txt").read_text() == "[]"
