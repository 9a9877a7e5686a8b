"""``--share`` with a program that stands in for Gradio's, and the program itself as a relay on this machine."""

import contextlib
import hashlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from gradio import tunneling

from backend.errors import UserError
from backend.paths import ROOT
from backend.server.shared_link import SharedLink
from ui.share import Tunnel, open_tunnel, verify_program
from webui import share

PROGRAM = Path(__file__).with_name("tunnel_program.py")
PATIENCE = 120.0
pytestmark = pytest.mark.skipif(os.name == "nt", reason="the program that stands in is started by its first line")


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def is_alive(pid: int) -> bool:
    """Whether a process is there and has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        pass
    if Path("/proc/self/stat").exists():
        return False
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def gone(pid: int) -> bool:
    end = time.monotonic() + PATIENCE
    while is_alive(pid) and time.monotonic() < end:
        time.sleep(0.02)
    return not is_alive(pid)


@pytest.fixture
def pids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file into which the program that stands in writes its number; none may be left behind."""
    path = tmp_path / "pids"
    monkeypatch.setenv("TUNNEL_PID", str(path))
    yield path
    for pid in path.read_text().split() if path.exists() else []:
        assert gone(int(pid)), "a tunnel was left behind"


def write_program(path: Path) -> str:
    """An executable file, and its sha256."""
    text = f"#!{sys.executable}\n{PROGRAM.read_text(encoding='utf-8')}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture
def program(tmp_path: Path, pids: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The program where Gradio keeps its own, with the checksum that it would have."""
    del pids
    path = tmp_path / "frpc"
    monkeypatch.setattr(tunneling, "BINARY_PATH", str(path))
    monkeypatch.setattr(tunneling, "CHECKSUMS", {tunneling.BINARY_URL: write_program(path)})
    return path


@pytest.fixture
def echo() -> Iterator[int]:
    """A port at which everything that is sent comes back."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with connection:
                        connection.sendall(connection.recv(100))

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]


def opened(tmp_path: Path, port: int, patience: float = 30.0) -> tuple[Tunnel, int]:
    relay = free_port()
    certificate = tmp_path / "cache" / "certificate.pem"
    return open_tunnel(port, "x", certificate=certificate, relay=f"127.0.0.1:{relay}", patience=patience), relay


def test_a_tunnel_leads_here_and_leaves_nothing(program: Path, echo: int, tmp_path: Path, pids: Path) -> None:
    del program
    tunnel, relay = opened(tmp_path, echo)
    assert tunnel.url == f"http://abc.localhost:{relay}"
    with socket.create_connection(("127.0.0.1", relay)) as connection:
        connection.sendall(b"hello")
        assert connection.recv(100) == b"hello"
    (pid,) = map(int, pids.read_text().split())
    assert is_alive(pid)
    tunnel.close()
    assert not is_alive(pid)  # at once, and not some time
    tunnel.wait()
    tunnel.close()
    assert not (Path.cwd() / ".gradio").exists()


def test_a_program_that_does_not_want_to_end_is_ended(
    program: Path, echo: int, tmp_path: Path, pids: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del program
    monkeypatch.setenv("TUNNEL_TEST", "stubborn")
    monkeypatch.setattr("ui.share.ENDING", 0.2)
    tunnel, _ = opened(tmp_path, echo)
    tunnel.close()
    assert not is_alive(int(pids.read_text()))


@pytest.mark.parametrize(
    ("way", "patience", "words"), [("dies", 60.0, "the relay is on holiday"), ("silent", 1.0, "did not say")]
)
def test_a_link_that_cannot_be_had_is_a_sentence(
    way: str, patience: float, words: str, program: Path, tmp_path: Path, pids: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del program
    monkeypatch.setenv("TUNNEL_TEST", way)
    with pytest.raises(UserError, match=words):
        opened(tmp_path, 9, patience)
    assert not is_alive(int(pids.read_text()))
    assert "share" not in {thread.name for thread in threading.enumerate()}


def test_a_program_that_is_another_is_never_started(program: Path, tmp_path: Path, pids: Path) -> None:
    program.write_text(program.read_text() + "# changed\n")
    with pytest.raises(UserError, match="not the tunnel program that Gradio published"):
        opened(tmp_path, 9)
    assert not pids.exists()
    assert program.exists()  # whoever put it there may want to look


def test_a_program_whose_checksum_nobody_knows_is_never_started(
    program: Path, tmp_path: Path, pids: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del program
    monkeypatch.setattr(tunneling, "CHECKSUMS", {})
    with pytest.raises(UserError, match="whose checksum could be verified"):
        opened(tmp_path, 9)
    assert not pids.exists()


def test_a_program_that_cannot_be_fetched_is_a_sentence(
    program: Path, tmp_path: Path, pids: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And one that was fetched and is another is not kept."""
    address = f"http://127.0.0.1:{free_port()}/frpc"
    monkeypatch.setattr(tunneling, "BINARY_URL", address)
    monkeypatch.setattr(tunneling, "BINARY_FOLDER", tmp_path)
    monkeypatch.setattr(tunneling, "CHECKSUMS", {address: "0" * 64})
    program.unlink()
    with pytest.raises(UserError, match="could not be fetched"):
        verify_program()
    assert not program.exists() and not pids.exists()


CHILD = """
import sys
from pathlib import Path
from typing import Any
from gradio import tunneling
tunneling.BINARY_PATH, tunneling.CHECKSUMS = sys.argv[1], {tunneling.BINARY_URL: sys.argv[2]}
from ui.share import open_tunnel
tunnel = open_tunnel(9, "x", certificate=Path(sys.argv[3]), relay=sys.argv[4])
print(tunnel.url, flush=True)
sys.stdin.read()
"""


def test_a_killed_atelier_leaves_no_tunnel(program: Path, tmp_path: Path, pids: Path) -> None:
    digest = hashlib.sha256(program.read_bytes()).hexdigest()
    line = [sys.executable, "-c", CHILD, str(program), digest, str(tmp_path / "c"), f"127.0.0.1:{free_port()}"]
    with subprocess.Popen(line, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline().startswith("http://abc.localhost")
        pid = int(pids.read_text())
        assert is_alive(pid)
        child.send_signal(signal.SIGKILL)
    assert gone(pid)


STUDIO = """
import sys
from gradio import tunneling
tunneling.CHECKSUMS = {tunneling.BINARY_URL: sys.argv.pop(1)}
import webui
webui.main()
"""


@contextlib.contextmanager
def studio(tmp_path: Path, relay: int) -> Iterator[tuple["subprocess.Popen[str]", dict[str, str]]]:
    """The whole program with ``--share``, and what it said of itself."""
    digest = write_program(tmp_path / "home" / "gradio" / "frpc" / Path(tunneling.BINARY_PATH).name)
    known = {
        "HF_HOME": str(tmp_path / "home"),
        "GRADIO_SHARE_SERVER_ADDRESS": f"127.0.0.1:{relay}",
        "GRADIO_ALLOWED_PATHS": "/",
    }
    flags = ["--port", "0", "--share", "--data-dir", str(tmp_path / "data")]
    line = [sys.executable, "-c", STUDIO, digest, *flags]
    with subprocess.Popen(
        line, cwd=ROOT, env={**os.environ, **known}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        said: dict[str, str] = {}
        for text in process.stdout:
            for name, pattern in (
                ("here", r"Atelier is at (\S+)"),
                ("name", r"asks for the name (\S+)"),
                ("password", r"the password (\S+)"),
                ("link", r"Shared at (\S+)"),
            ):
                said |= {name: found[1]} if (found := re.search(pattern, text)) else {}
            if "link" in said or "not shared" in text:
                break
        try:
            yield process, said
        finally:
            process.terminate()
            process.communicate(timeout=PATIENCE)


def test_a_shared_page_asks_for_its_password_and_is_stopped_from_here(tmp_path: Path, pids: Path) -> None:
    relay = free_port()
    with studio(tmp_path, relay) as (process, said):
        assert said["link"] == f"http://abc.localhost:{relay}"
        assert len(said["password"]) >= 22  # 128 bits
        there: dict[str, Any] = {"headers": {"host": f"abc.localhost:{relay}"}, "timeout": PATIENCE}
        with httpx.Client(base_url=f"http://127.0.0.1:{relay}", **there) as outside:
            for path in ("/", "/config", "/atelier/share", "/atelier/models", "/sdapi/v1/options", "/gradio_api/info"):
                assert outside.get(path).status_code == 401, path
            wrong = {"username": said["name"], "password": "guess"}
            assert outside.post("/login", data=wrong).status_code == 401
            assert outside.get("/", headers={"host": "127.0.0.1"}).status_code == 400
            entered = outside.post("/login", data={**wrong, "password": said["password"]})
            assert entered.status_code == 303
            assert outside.get("/config").status_code == 200
            me = outside.get("/atelier/me").json()
            assert (me["name"], me["role"]) == ("guest", "artist")
            assert outside.post("/atelier/share/stop").status_code == 403
            with httpx.Client(base_url=said["here"], timeout=PATIENCE) as here:
                assert here.get("/atelier/share").json()["url"] == said["link"]
                assert here.get("/", headers={"host": f"abc.localhost:{relay}"}).status_code == 400
                assert here.post("/atelier/share/stop").json()["url"] == ""
                (pid,) = map(int, pids.read_text().split())
                assert gone(pid)
                assert here.get("/config").status_code == 200
        with pytest.raises(httpx.TransportError):
            httpx.get(f"http://127.0.0.1:{relay}/login")
        assert process.poll() is None


def test_without_the_program_a_sentence_says_so(
    program: Path, tmp_path: Path, pids: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program.write_text("#!/bin/sh\n")
    link = SharedLink(9)
    share(link, tmp_path / "certificate.pem", f"127.0.0.1:{free_port()}")
    said = capsys.readouterr().err
    assert said.startswith("Atelier is not shared.") and "runs on" in said and said.count("\n") == 1
    assert not link.alive and not pids.exists()


def test_a_program_that_dies_ends_the_link(
    program: Path, echo: int, tmp_path: Path, pids: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    del program
    link, relay = SharedLink(echo), free_port()
    thread = threading.Thread(target=share, args=(link, tmp_path / "certificate.pem", f"127.0.0.1:{relay}"))
    thread.start()
    end = time.monotonic() + PATIENCE
    while not link.alive and time.monotonic() < end:
        time.sleep(0.01)
    assert link.host == "abc.localhost"
    os.kill(int(pids.read_text()), signal.SIGKILL)
    thread.join(PATIENCE)
    assert not link.alive
    assert "has ended" in capsys.readouterr().out


def test_time_ends_the_tunnel_too(program: Path, echo: int, tmp_path: Path, pids: Path) -> None:
    del program
    tunnel, _ = opened(tmp_path, echo)
    link = SharedLink(echo, lifetime=0.05)
    link.open(tunnel.url, tunnel.close)
    tunnel.wait()
    assert gone(int(pids.read_text())) and not link.alive
