"""A small server on this machine that speaks as the Hugging Face Hub does, and as badly as a server can.

It knows ``/api/models/REPO/revision/REV``, ``/api/models/REPO/tree/COMMIT`` in pages, and ``/REPO/resolve/REV/PATH``,
whose large files are redirected to another host. It keeps what it was asked, and how many bytes of bodies it sent.
"""

import contextlib
import hashlib
import json
import os
import re
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
CERTIFICATE = Path(__file__).with_name("hub_test.pem")  # for the name hub.test, signed by itself, with its key
LARGE = 4096  # bytes from which on a file is kept in LFS
PIECE = 16 * 1024  # bytes sent at once


def safetensors_bytes(size: int) -> bytes:
    """A sound safetensors file with about `size` random bytes in one tensor."""
    size -= size % 2
    header = json.dumps({"weight": {"dtype": "F16", "shape": [size // 2], "data_offsets": [0, size]}}).encode()
    return struct.pack("<Q", len(header)) + header + os.urandom(size)


def git_blob(data: bytes) -> str:
    """The sha1 that git gives a file of this content."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


@dataclass
class Repository:
    """What the hub holds under one name."""

    files: dict[str, bytes]
    gated: bool = False
    private: bool = False


@dataclass
class Faults:
    """What goes wrong.

    `refusals` (status, headers) answer the next requests, whatever they are; `onward` is where every request is
    redirected to, `onward_page` where the hub's list goes on; `said` stands in for the body of a view of the hub's;
    `sizes` and `digests` are lies of the hub about a path. Of files, `drops` break the next bodies off after so many
    bytes, `length` is a false Content-Length, `deaf` ignores Range, `shifted` answers it from another byte, `chunked`
    does not say how long they are, `changes` are what they become after the next request, `pause` is slept after each
    piece, in seconds, `headers` are added.
    """

    refusals: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    drops: list[int] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    said: dict[str, bytes] = field(default_factory=dict)
    onward_page: str = ""
    length: int | None = None
    changes: dict[str, bytes] = field(default_factory=dict)
    deaf: bool = False
    shifted: bool = False
    chunked: bool = False
    pause: float = 0.0
    onward: str = ""
    etag: str = '"%s"'
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Asked:
    """One request, and how many bytes of body were sent for it."""

    method: str
    path: str
    headers: Mapping[str, str]
    sent: int = 0


class _QuietServer(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that break off are what is tested."""


class Server:
    """Serves `files` by path; the hub below serves repositories too. Use it as a context."""

    def __init__(self, files: dict[str, bytes] | None = None, *, host: str = "127.0.0.1", tls: bool = False):
        self.files = files or {}
        self.faults = Faults()
        self.asked: list[Asked] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                server._serve(self)

            do_HEAD = do_GET  # noqa: N815 - as the base class wants it

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._http = _QuietServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(CERTIFICATE)
            self._http.socket = context.wrap_socket(self._http.socket, server_side=True)
        self.port = self._http.server_address[1]
        self.origin = f"{'https' if tls else 'http'}://{host}:{self.port}"

    def __enter__(self) -> "Server":
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    @property
    def sent(self) -> int:
        """Bytes of bodies in all."""
        return sum(asked.sent for asked in self.asked)

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        asked = Asked(handler.command, handler.path, dict(handler.headers.items()))
        self.asked.append(asked)
        handler.close_connection = True
        if self.faults.refusals:
            status, headers = self.faults.refusals.pop(0)
            self._answer(handler, asked, status, headers, b"refused")
        elif self.faults.onward:
            self._answer(handler, asked, 302, {"Location": self.faults.onward}, b"")
        else:
            self._route(handler, asked)

    def _route(self, handler: BaseHTTPRequestHandler, asked: Asked) -> None:
        data = self.files.get(unquote(asked.path.partition("?")[0]))
        if data is None:
            self._answer(handler, asked, 404, {}, b"nothing here")
        else:
            self.files |= self.faults.changes
            self._send_file(handler, asked, data, {})

    def _send_file(self, handler: BaseHTTPRequestHandler, asked: Asked, data: bytes, headers: dict[str, str]) -> None:
        """A file with Range and If-Range of RFC 9110, as far as `faults` let it."""
        faults = self.faults
        etag = faults.etag % hashlib.md5(data, usedforsecurity=False).hexdigest() if faults.etag else ""
        headers = {"Content-Type": "application/octet-stream", **({"ETag": etag} if etag else {}), **headers}
        headers |= faults.headers
        match = re.fullmatch(r"bytes=(\d+)-", asked.headers.get("Range", ""))
        fresh = asked.headers.get("If-Range", etag) == etag
        if not match or faults.deaf or not fresh:
            self._answer(handler, asked, 200, headers, data)
            return
        start = int(match[1])
        if start >= len(data):
            self._answer(handler, asked, 416, {"Content-Range": f"bytes */{len(data)}"}, b"")
            return
        start -= 1 if faults.shifted else 0
        headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        self._answer(handler, asked, 206, headers, data[start:])

    def _answer(
        self, handler: BaseHTTPRequestHandler, asked: Asked, status: int, headers: dict[str, str], body: bytes
    ) -> None:
        faults = self.faults
        handler.send_response(status)
        is_file = (status in (200, 206) and "ETag" in headers) or faults.chunked
        for name, value in headers.items():
            handler.send_header(name, value)
        if faults.chunked:
            handler.send_header("Transfer-Encoding", "chunked")
        else:
            length = faults.length if is_file and faults.length is not None else len(body)
            handler.send_header("Content-Length", str(length))
        handler.end_headers()
        if asked.method == "HEAD":
            return
        end = faults.drops.pop(0) if is_file and faults.drops and status in (200, 206) else len(body)
        for begin in range(0, end, PIECE):
            piece = body[begin : min(end, begin + PIECE)]
            asked.sent += len(piece)  # before it is sent, or the client could be through before it is counted
            handler.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece) if faults.chunked else piece)
            if is_file and faults.pause:
                time.sleep(faults.pause)
        if faults.chunked and end == len(body):
            handler.wfile.write(b"0\r\n\r\n")
        if end < len(body):
            with contextlib.suppress(OSError):
                handler.connection.shutdown(socket.SHUT_RDWR)


class HubServer(Server):
    """The hub: `repositories` by ``owner/name``, large files at `storage`, `token` opens what is private or gated."""

    def __init__(
        self,
        repositories: dict[str, Repository],
        storage: Server,
        *,
        token: str = "hf_right",
        host: str = "127.0.0.1",
    ):
        super().__init__(host=host)
        self.repositories = repositories
        self.token = token
        self._storage = storage
        self.page = 1000  # entries of a list in one answer

    def _route(self, handler: BaseHTTPRequestHandler, asked: Asked) -> None:
        parts = urlsplit(asked.path)
        path = unquote(parts.path)
        match = re.fullmatch(
            r"/(?:api/models/)?(?P<name>[^/]+/[^/]+)/(?P<view>revision|tree|resolve)/(?P<rev>[^/]+)(?:/(?P<path>.+))?",
            path,
        )
        repository = self.repositories.get(match["name"]) if match else None
        known = asked.headers.get("Authorization") == f"Bearer {self.token}"
        if match is None or repository is None or (repository.private and not known):
            self._answer(handler, asked, 401, {"X-Error-Code": "RepoNotFound"}, b"<b>no such repository</b>")
        elif match["rev"] not in ("main", COMMIT):
            self._answer(handler, asked, 404, {"X-Error-Code": "RevisionNotFound"}, b"")
        elif match["view"] == "revision":
            said = {"id": match["name"], "sha": COMMIT, "gated": "auto" if repository.gated else False}
            self._say(handler, asked, "revision", said, {})
        elif match["view"] == "tree":
            self._tree(handler, asked, repository, parse_qs(parts.query))
        elif repository.gated and not known:
            status = 403 if "Authorization" in asked.headers else 401
            self._answer(handler, asked, status, {"X-Error-Code": "GatedRepo"}, b"")
        else:
            self._resolve(handler, asked, repository, match["path"] or "")

    def _tree(
        self, handler: BaseHTTPRequestHandler, asked: Asked, repository: Repository, query: dict[str, list[str]]
    ) -> None:
        begin = int(query.get("cursor", ["0"])[0])
        paths = list(repository.files)[begin : begin + self.page]
        onward = self.faults.onward_page
        if begin + self.page < len(repository.files):
            onward = onward or f"{self.origin}{urlsplit(asked.path).path}?recursive=true&cursor={begin + self.page}"
        entries = [self._entry(path, repository.files[path]) for path in paths]
        folders = [{"type": "directory", "oid": "f" * 40, "size": 0, "path": "unet"}]
        self._say(handler, asked, "tree", folders + entries, {"Link": f'<{onward}>; rel="next"'} if onward else {})

    def _say(
        self, handler: BaseHTTPRequestHandler, asked: Asked, view: str, said: object, headers: dict[str, str]
    ) -> None:
        body = self.faults.said.get(view, json.dumps(said).encode())
        self._answer(handler, asked, 200, {"Content-Type": "application/json", **headers}, body)

    def _entry(self, path: str, data: bytes) -> dict[str, object]:
        size = self.faults.sizes.get(path, len(data))
        oid = self.faults.digests.get(path, git_blob(data)) if len(data) < LARGE else git_blob(data)
        entry: dict[str, object] = {"type": "file", "oid": oid, "size": size, "path": path}
        if len(data) >= LARGE:
            entry["lfs"] = {"oid": self._digest(path, data), "size": size, "pointerSize": 134}
        return entry

    def _digest(self, path: str, data: bytes) -> str:
        return self.faults.digests.get(path, hashlib.sha256(data).hexdigest())

    def _resolve(self, handler: BaseHTTPRequestHandler, asked: Asked, repository: Repository, path: str) -> None:
        data = repository.files.get(path)
        if data is None:
            self._answer(handler, asked, 404, {"X-Error-Code": "EntryNotFound"}, b"")
            return
        headers = {"X-Repo-Commit": COMMIT}
        if len(data) < LARGE:
            self._send_file(handler, asked, data, {**headers, "ETag": f'"{git_blob(data)}"'})
            return
        stored = f"/lfs/{path}"
        self._storage.files.setdefault(stored, data)
        headers |= {
            "X-Linked-Size": str(self.faults.sizes.get(path, len(data))),
            "X-Linked-ETag": f'"{self._digest(path, data)}"',
            "Location": f"{self._storage.origin}{quote(stored)}?X-Signature=signed-for-you",
        }
        self._answer(handler, asked, 302, headers, b"")


class Canary:
    """Listens where nobody should ever call, and counts who does."""

    def __init__(self) -> None:
        self.calls = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._count, daemon=True).start()

    def _count(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                caller, _ = self._listener.accept()
                self.calls += 1  # before the caller is let go, which is when its test looks
                caller.close()

    def close(self) -> None:
        """Stop listening."""
        self._listener.close()


@contextlib.contextmanager
def canary() -> Iterator[Canary]:
    """A `Canary` for the time of a test."""
    listening = Canary()
    try:
        yield listening
    finally:
        listening.close()
