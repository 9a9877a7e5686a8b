"""The tunnel of ``--share``: Gradio's own program and relay, started by us, watched, and ended by us.

`gradio.networking.setup_tunnel` does the work. Around it: the program's checksum is verified before every start (Gradio
looks once, after fetching, and keeps what failed), what it writes is read (else it stops when the pipe is full), and a
second process sees to it that the program ends with Atelier, however that ends.
"""

import hashlib
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from gradio import networking, tunneling
from gradio.exceptions import ChecksumMismatchError, ShareCertificateWriteError

from backend.errors import UserError

KEEPER = Path(__file__).with_name("share_keeper.py")
PATIENCE = 45.0  # seconds until a link is given up; Gradio itself gives up after 30 if the program speaks at all
LOOK = 0.05  # seconds
ENDING = 5.0  # seconds that a program may take to end when it is asked
LINES_KEPT = 20


class Keeper:
    """A process that ends the tunnel's program when this process is gone, also when it was killed."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", str(KEEPER)], stdin=subprocess.PIPE, text=True, start_new_session=True
        )

    def watch(self, pid: int) -> None:
        """From now on this one ends with us."""
        self._say(f"+{pid}")

    def forget(self, pid: int) -> None:
        """It has ended: its number may soon be another's."""
        self._say(f"-{pid}")

    def close(self) -> None:
        """End it, and what it still watches."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(ENDING * 2)

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()


class Tunnel:
    """A tunnel that stands: `url` is where it begins. Made by `open_tunnel`."""

    def __init__(self, url: str, process: "subprocess.Popen[bytes]", keeper: Keeper):
        self.url = url
        self._process = process
        self._keeper = keeper
        self._closing = threading.Lock()
        self._closed = False

    def wait(self) -> None:
        """Return when its program has ended, by itself or by `close`."""
        self._process.wait()

    def close(self) -> None:
        """End its program; when this returns there is none. The second time nothing happens."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
            _end(self._process)
            self._keeper.forget(self._process.pid)
            self._keeper.close()


def open_tunnel(port: int, token: str, *, certificate: Path, relay: str | None, patience: float = PATIENCE) -> Tunnel:
    """Lead a public address to a port of this machine. Raises `UserError` that says why it cannot be had.

    `token` tells the relay who ends here. `certificate` is where Gradio's is kept; `relay` is the address (host:port)
    of another relay than Gradio's, which is spoken to without TLS.
    """
    verify_program()
    # Otherwise a folder is made in whatever folder Atelier was started from.
    certificate.parent.mkdir(parents=True, exist_ok=True)
    networking.CERTIFICATE_PATH = str(certificate)  # pyright: ignore[reportPrivateImportUsage]
    keeper = Keeper()
    opening = _Opening(lambda: networking.setup_tunnel("127.0.0.1", port, token, relay, None))
    try:
        url, process = opening.result(keeper, patience)
    except UserError:
        opening.abandon(keeper)
        keeper.close()
        raise
    _drain(process.stdout)
    # The relay says "http" whatever it speaks; Gradio's own speaks TLS.
    return Tunnel(url if relay else url.replace("http://", "https://", 1), process, keeper)


def verify_program() -> Path:
    """The tunnel's program, fetched if it is not there, after its sha256 was found to be the one that Gradio publishes.
    Raises `UserError`."""
    path, expected = Path(tunneling.BINARY_PATH), tunneling.CHECKSUMS.get(tunneling.BINARY_URL)
    if expected is None:
        raise UserError("Gradio has no tunnel program for this kind of machine whose checksum could be verified.")
    if not path.exists():
        try:
            tunneling.Tunnel.download_binary()
        except ChecksumMismatchError as error:
            path.unlink(missing_ok=True)
            raise UserError("The tunnel's program that was fetched is not the one that Gradio published.") from error
        except (OSError, httpx.HTTPError) as error:
            path.unlink(missing_ok=True)
            raise UserError(f"The tunnel's program could not be fetched from {tunneling.BINARY_URL}.") from error
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        raise UserError(
            f"{path} is not the tunnel program that Gradio published (its sha256 is {found[:16]}...): it was not "
            "started. Delete it to have it fetched again."
        )
    return path


class _Opening:
    """`setup_tunnel` at work on a thread of its own: it blocks, and does not see when its program has died."""

    def __init__(self, set_up: Callable[[], str]):
        self._url = ""
        self._problem = ""
        self._before = len(tunneling.CURRENT_TUNNELS)
        self._errors: deque[str] = deque(maxlen=LINES_KEPT)
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._run, args=(set_up,), name="share", daemon=True)
        self._thread.start()

    def _run(self, set_up: Callable[[], str]) -> None:
        try:
            self._url = set_up()
        except (
            RuntimeError,
            ValueError,
            OSError,
            AssertionError,
            httpx.HTTPError,
            ShareCertificateWriteError,
        ) as error:
            self._problem = str(error).partition("\n")[0] or type(error).__name__

    def result(self, keeper: Keeper, patience: float) -> "tuple[str, subprocess.Popen[bytes]]":
        """The address and the program. Raises `UserError`."""
        end = time.monotonic() + patience
        while self._thread.is_alive() and time.monotonic() < end and not self._dead():
            self._find(keeper)
            self._thread.join(LOOK)
        self._find(keeper)
        if self._url and self._process is not None:
            self._take_over()
            return self._url, self._process
        said = " ".join([self._problem, *self._errors]).strip() or "its program did not say where the link is"
        raise UserError(f"No public link could be opened: {said[:300].rstrip('.')}.")

    def abandon(self, keeper: Keeper) -> None:
        """Leave nothing behind of what did not work."""
        self._find(keeper)
        self._take_over()
        if self._process is not None:
            _end(self._process)
            keeper.forget(self._process.pid)
        self._thread.join(ENDING)

    def _take_over(self) -> None:
        """From now on the program is ours. It also ends Gradio's reading, which otherwise goes on at full speed for
        half a minute after a program has died."""
        for tunnel in tunneling.CURRENT_TUNNELS[self._before :]:
            tunnel.proc = None
        del tunneling.CURRENT_TUNNELS[self._before :]

    def _dead(self) -> bool:
        return self._process is not None and self._process.poll() is not None and not self._url

    def _find(self, keeper: Keeper) -> None:
        """The program, once it runs."""
        for tunnel in tunneling.CURRENT_TUNNELS[self._before :]:
            if self._process is None and tunnel.proc is not None:
                self._process = tunnel.proc
                keeper.watch(tunnel.proc.pid)
                _drain(tunnel.proc.stderr, self._errors)


def _drain(stream: Any, kept: "deque[str] | None" = None) -> None:
    """Read what a program writes, on a thread, until it has ended."""

    def read() -> None:
        for line in stream:
            if kept is not None:
                kept.append(line.decode("utf-8", "replace").strip())

    threading.Thread(target=read, name="share-output", daemon=True).start()


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(ENDING)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
