"""Requests that leave this machine, on a person's word: to public addresses only.

A name is looked up once, the addresses found are checked, and the connection is made to what was checked, so that a
name cannot point elsewhere a moment later. Redirects are followed by hand and each is checked like the first. Proxies
of the environment are not used: behind one, somebody else looks the name up, and the check would mean nothing.
"""

import contextlib
import http.client
import ipaddress
import json
import os
import re
import socket
import ssl
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import cached_property
from time import time
from typing import Any
from urllib.parse import urljoin

import certifi

from backend.web_address import Address, WebError, is_public, look_up, parse_address

MOST_REDIRECTS = 3
CHUNK = 256 * 1024  # bytes asked for at once
REDIRECTS = frozenset({301, 302, 303, 307, 308})
TRY_AGAIN = frozenset({408, 429, 500, 502, 503, 504})
PROXIES = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")

Resolve = Callable[[str, int], Sequence[str]]


class ConnectionFailed(WebError):
    """A server did not answer, broke off, or asks for patience: it may be tried again after `wait` seconds."""

    def __init__(self, sentence: str, wait: float = 0.0):
        super().__init__(sentence)
        self.wait = wait


@dataclass(frozen=True, kw_only=True)
class Timeouts:
    """Seconds to wait for a connection, between two bytes, and for each of a TLS handshake and
    an answer up to its body."""

    connect: float = 10.0
    read: float = 10.0
    answer: float = 30.0


class Stop:
    """Ends a transfer from another thread: also one that waits for a byte."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None

    def set(self) -> None:
        """End it; what waits on the network wakes up."""
        self._event.set()
        with self._lock:
            if self._socket is not None:
                _shut(self._socket)

    def is_set(self) -> bool:
        """Whether it was ended."""
        return self._event.is_set()

    def wait(self, seconds: float) -> bool:
        """Sleep, unless it is ended before; returns whether it is."""
        return self._event.wait(seconds)

    def watch(self, connected: socket.socket | None) -> None:
        """Say what the transfer now waits on."""
        with self._lock:
            self._socket = connected
            if connected is not None and self._event.is_set():
                _shut(connected)


def _shut(connected: socket.socket) -> None:
    """Wake whoever reads from it. The plain socket's method: that of TLS would change the object under the reader."""
    with contextlib.suppress(OSError):  # it may be closed already
        socket.socket.shutdown(connected, socket.SHUT_RDWR)


@contextmanager
def _within(seconds: float, connected: socket.socket) -> Iterator[None]:
    """Break a connection off that is not through in time, however busily it drips; raises `TimeoutError` then."""
    late = Stop()
    late.watch(connected)
    clock = threading.Timer(seconds, late.set)
    clock.daemon = True
    clock.start()
    try:
        yield
    finally:
        clock.cancel()
    if late.is_set():
        raise TimeoutError  # headers that are cut short would be read as if they had ended


class WebResponse:
    """An answer whose body is still to be read."""

    def __init__(self, answer: http.client.HTTPResponse, address: Address):
        self._answer = answer
        self.address = address
        self.status = answer.status

    def header(self, name: str) -> str:
        """A header's value, empty if there is none."""
        return (self._answer.getheader(name) or "").strip()

    @property
    def declared(self) -> int | None:
        """How many bytes the body is said to have."""
        text = self.header("content-length")
        return int(text) if re.fullmatch(r"\d{1,18}", text) and not self.header("transfer-encoding") else None

    def chunks(self) -> Iterator[bytes]:
        """The body as it comes. Raises `ConnectionFailed` where it breaks off before its declared end."""
        received = 0
        try:
            # read1 returns what one read of the socket brings; read would wait for all of it, deaf to the clock.
            while chunk := self._answer.read1(CHUNK):
                received += len(chunk)
                yield chunk
        except (OSError, http.client.HTTPException) as error:
            raise ConnectionFailed(f"{self.address.host} broke off after {received:,} bytes.") from error
        if self.declared is not None and received < self.declared:
            raise ConnectionFailed(
                f"{self.address.host} broke off after {received:,} of {self.declared:,} bytes.",
            )

    def body(self, limit: int) -> bytes:
        """The whole body. Raises `WebError` if it has more than `limit` bytes."""
        if self.declared is not None and self.declared > limit:
            raise WebError(f"{self.address.host} answers with {self.declared:,} bytes; {limit:,} are allowed.")
        data = bytearray()
        for chunk in self.chunks():
            data += chunk
            if len(data) > limit:
                raise WebError(f"{self.address.host} answers with more than {limit:,} bytes.")
        return bytes(data)

    def json(self, limit: int) -> Any:
        """The body as JSON. Raises `WebError` if it is none."""
        try:
            return json.loads(self.body(limit))
        except (ValueError, RecursionError) as error:
            raise WebError(f"{self.address.host} answers with something that is no JSON.") from error

    def failure(self) -> WebError | None:
        """What an error status means, as an exception to raise; nothing if there is no error."""
        host = self.address.host
        if self.status < 400:
            return None
        if self.status in TRY_AGAIN:
            reason = "asks for patience" if self.status == 429 else "has a fault"
            return ConnectionFailed(f"{host} {reason} (status {self.status}).", _wait(self.header("retry-after")))
        match self.status:
            case 401 | 403:
                return WebError(f"{host} refuses this without a token that may read it (status {self.status}).")
            case 404 | 410:
                return WebError(f"{host} has nothing at {self.address.target.partition('?')[0]}.")
        return WebError(f"{host} answers with status {self.status}.")


def _wait(text: str) -> float:
    """Seconds from a Retry-After header, which holds seconds or a date; 0 if it holds neither."""
    if re.fullmatch(r"\d{1,9}", text):
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time())
    except ValueError:
        return 0.0


class WebClient:
    """Opens web addresses. Safe to use from any thread; it keeps no cookies, no connections and no record."""

    def __init__(
        self,
        *,
        token: Callable[[str], str] = lambda _: "",
        trusted: Collection[str] = (),
        resolve: Resolve = look_up,
        timeouts: Timeouts | None = None,
    ):
        """`token` gives the secret for an origin, or nothing. `trusted` are origins that whoever starts the program
        vouches for: they may lie in the own network, and on this machine they may be http."""
        self._token = token
        self._trusted = frozenset(trusted)
        self._resolve = resolve
        self._timeouts = timeouts or Timeouts()

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        """Made when first used: reading the authorities takes some 30 ms, and many a run fetches nothing."""
        context = ssl.create_default_context()
        if "SSL_CERT_FILE" not in os.environ:
            # Some installations of Python, as on macOS, find no authorities of the system's.
            context.load_verify_locations(certifi.where())
        return context

    @contextmanager
    def open(
        self,
        address: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        stay: bool = False,
        stop: Stop | None = None,
    ) -> Iterator[WebResponse]:
        """Ask for `address` and follow its redirects, at most three; with `stay` only those within its origin.

        A host's token goes to that origin and nowhere else, whoever redirects to whom. Raises `WebError`.
        """
        at, trusted = parse_address(address), self._trusted
        for _ in range(MOST_REDIRECTS + 1):
            if at.origin not in trusted:
                trusted = frozenset()  # the internet may not send us on into the own network
            with self._ask(at, method, headers or {}, trusted, stop or Stop()) as response:
                location = response.header("location") if response.status in REDIRECTS else ""
                onward = parse_address(urljoin(str(at), location)) if location else at
                if not location or (stay and onward.origin != at.origin):
                    yield response
                    return
            at = onward
        raise WebError(f"{parse_address(address).host} redirects more than {MOST_REDIRECTS} times.")

    @contextmanager
    def _ask(
        self, at: Address, method: str, headers: Mapping[str, str], trusted: frozenset[str], stop: Stop
    ) -> Iterator[WebResponse]:
        with closing(self._connect(at, trusted, stop)) as connected:
            connection = http.client.HTTPConnection(at.host, at.port)
            connection.auto_open = 0  # it must not look the name up again
            connection.sock = connected
            secret = self._token(at.origin)
            sent = {
                "Host": at.authority,
                "User-Agent": "Atelier",
                "Accept-Encoding": "identity",  # sizes and ranges are of the file itself
                "Connection": "close",
                **headers,
                **({"Authorization": f"Bearer {secret}"} if secret else {}),
            }
            try:
                with _within(self._timeouts.answer, connected):
                    connection.request(method, at.target, headers=sent)
                    answer = connection.getresponse()
            except (OSError, http.client.HTTPException) as error:
                raise ConnectionFailed(f"{at.host} was reached but gave no answer.") from error
            try:
                yield WebResponse(answer, at)
            finally:
                stop.watch(None)
                answer.close()

    def _connect(self, at: Address, trusted: frozenset[str], stop: Stop) -> socket.socket:
        addresses = self._allowed(at, trusted)
        problem: OSError | None = None
        for ip in addresses:
            try:
                connected = socket.create_connection((ip, at.port), self._timeouts.connect)
            except OSError as error:
                problem = error
                continue
            connected.settimeout(self._timeouts.read)
            stop.watch(connected)
            if at.scheme == "http":
                return connected
            try:
                return self._secured(connected, at.host, stop)
            except ssl.SSLCertVerificationError as error:
                raise WebError(f"{at.host} cannot prove that it is {at.host}: {error.verify_message}.") from error
            except OSError as error:
                problem = error
        proxy = next((name for name in PROXIES if os.environ.get(name)), "")
        hint = f" {proxy} is set, but downloads do not go through a proxy." if proxy else ""
        raise ConnectionFailed(f"{at.host} cannot be reached.{hint}") from problem

    def _secured(self, connected: socket.socket, host: str, stop: Stop) -> ssl.SSLSocket:
        """TLS over a connection: the certificate must be that of the name, whatever address it was found at."""
        secure = self._tls.wrap_socket(connected, server_hostname=host, do_handshake_on_connect=False)
        stop.watch(secure)
        try:
            with _within(self._timeouts.answer, secure):
                secure.do_handshake()
        except OSError:
            secure.close()
            raise
        return secure

    def _allowed(self, at: Address, trusted: frozenset[str]) -> list[str]:
        """The IP addresses of a host that may be connected to; raises `WebError` if it has none."""
        vouched = at.origin in trusted
        if at.scheme == "http" and not vouched:
            raise WebError(f"{at.host} is to be reached by http, which anybody on the way can change; use https.")
        try:
            found = self._resolve(at.host, at.port)
        except OSError as error:
            raise ConnectionFailed(f"No address is found for the name {at.host}.") from error
        if at.scheme == "http":
            allowed = [ip for ip in found if ipaddress.ip_address(ip).is_loopback]
        else:
            allowed = [ip for ip in found if vouched or is_public(ip)]
        if not allowed:
            raise WebError(f"{at.host} is not a public address; files are fetched from the internet only.")
        return allowed
