"""One file from the web into a partial file: resumed where it broke off, and measured against what it should be."""

import errno
import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from email.message import Message
from pathlib import Path
from urllib.parse import unquote

from backend.errors import AtelierError, UserError
from backend.model_manager.downloads.intake import safe_name
from backend.web_address import WebError, parse_address
from backend.web_client import ConnectionFailed, Stop, WebClient, WebResponse

CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})")
SHA256 = re.compile(r"[0-9a-f]{64}")
UNSATISFIED_RANGE = re.compile(r"bytes \*/(\d{1,18})")
NO_ROOM = frozenset({errno.ENOSPC, errno.EFBIG, errno.EDQUOT})
MEBIBYTE = 1024 * 1024


class Halted(AtelierError):
    """The person paused or cancelled; not a fault."""


class NoRoom(UserError):
    """The disk is full, or would be; what was fetched is kept."""


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """A file on the web and what is known of it: `size` in bytes; `sha256` of its content, or `git_blob`, the sha1 that
    git gives it, in hexadecimal. `path` is its place in a folder that is fetched as one; `page` is where a person may
    accept its terms."""

    address: str
    path: str = ""
    size: int | None = None
    sha256: str = ""
    git_blob: str = ""
    page: str = ""


@dataclass(frozen=True, kw_only=True)
class Part:
    """How far one file is. `received` of `size` bytes are in the partial file, `synced` of them safely on the disk;
    `validator` is the server's ETag for this version of the file, `name` what the server calls it,
    `sha256` what it has once it is verified."""

    received: int = 0
    size: int | None = None
    synced: int = 0
    validator: str = ""
    name: str = ""
    verified: bool = False
    sha256: str = ""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bytes and seconds: the largest file, what must stay free on the disk, how often bytes are forced to the disk;
    how many attempts in a row may bring nothing, the pause before the second (it doubles), the longest pause."""

    largest: int = 256 * 1024 * MEBIBYTE
    kept_free: int = 256 * MEBIBYTE
    sync_every: int = 64 * MEBIBYTE
    attempts: int = 5
    pause: float = 1.0
    longest_pause: float = 120.0


def need_room(folder: Path, size: int, kept_free: int) -> None:
    """Raise `NoRoom` unless `size` bytes fit into `folder` and `kept_free` remain."""
    free = shutil.disk_usage(folder).free
    if size + kept_free > free:
        raise NoRoom(
            f"There is no room for {size:,} more bytes: {free:,} are free, and {kept_free:,} of them are kept free."
        )


class PartialFile:
    """The bytes fetched so far and their sha256, always in step with each other."""

    def __init__(self, path: Path, stop: Stop, trusted: int | None = None):
        """Go on with the file at `path`, of which at most `trusted` bytes are kept."""
        self._path = path
        # Unbuffered: what could not be written must not be counted.
        self._file = path.open("r+b" if path.exists() else "x+b", buffering=0)
        if trusted is not None and path.stat().st_size > trusted:
            self._file.truncate(trusted)
        self.position = 0
        self._digest = hashlib.sha256()
        while chunk := self._file.read(MEBIBYTE):
            if stop.is_set():
                raise Halted
            self._digest.update(chunk)
            self.position += len(chunk)
        self.joined = self.position > 0  # whether it is made of more than one answer

    def write(self, chunk: bytes) -> None:
        """Append. Raises `NoRoom` or `UserError`; then as much is kept as was written."""
        view = memoryview(chunk)
        while view:
            try:
                written = self._file.write(view)
            except OSError as error:
                raise disk_problem(error) from error
            self._digest.update(view[:written])
            self.position += written
            view = view[written:]

    def restart(self) -> None:
        """Begin again with nothing."""
        self._file.seek(0)
        self._file.truncate()
        self.position, self.joined, self._digest = 0, False, hashlib.sha256()

    def sync(self) -> None:
        """Force the bytes to the disk."""
        os.fsync(self._file.fileno())

    def sha256(self) -> str:
        """Of all bytes so far, in hexadecimal."""
        return self._digest.hexdigest()

    def git_blob(self) -> str:
        """The sha1 that git gives a file of this content: of ``blob SIZE``, a zero byte, and the content."""
        digest = hashlib.sha1(f"blob {self.position}\0".encode(), usedforsecurity=False)
        self._file.seek(0)
        while chunk := self._file.read(MEBIBYTE):
            digest.update(chunk)
        return digest.hexdigest()

    def close(self) -> None:
        """Close the file; it stays."""
        self._file.close()


def disk_problem(error: OSError) -> UserError:
    """What the disk said, as a sentence."""
    if error.errno in NO_ROOM:
        return NoRoom("The disk is full: make room and resume; what was fetched is kept.")
    return UserError(f"What is fetched could not be written to the disk: {error.strerror or error}.")


class Transfer:
    """Fetches one file into a partial file. The partial file is what is true: whatever else is remembered, it is
    resumed at its length, and what is in it is hashed again."""

    def __init__(self, client: WebClient, file: RemoteFile, partial: Path, part: Part, stop: Stop, limits: Limits):
        self._client = client
        self._file = file
        self._partial = partial
        self._part = part
        self._stop = stop
        self._limits = limits

    def run(self) -> Iterator[Part]:
        """Fetch and verify, telling after each piece how far it is; the last `Part` is verified.

        Raises `Halted` when stopped, `NoRoom`, or a `UserError` with a sentence; the partial file is kept unless its
        content is wrong.
        """
        # Without a checksum nothing would notice what a power cut made of bytes that were never forced to the disk.
        trusted = None if self._file.sha256 or self._file.git_blob else self._part.synced
        try:
            out = PartialFile(self._partial, self._stop, trusted)
        except OSError as error:
            raise disk_problem(error) from error
        with closing(out):
            while True:
                yield from self._fetch(out)
                problem = self._mismatch(out)
                if not problem:
                    break
                joined = out.joined
                out.restart()
                self._part = Part(name=self._part.name)
                if not joined:
                    raise WebError(problem)
            yield self._note(out, sync=True, verified=True)

    def _fetch(self, out: PartialFile) -> Iterator[Part]:
        """Attempt after attempt, while each brings something."""
        failures, furthest = 0, out.position
        while True:
            try:
                yield from self._attempt(out)
                return
            except (ConnectionFailed, NoRoom) as error:
                yield self._note(out, sync=True)
                if self._stop.is_set():
                    raise Halted from error
                if isinstance(error, NoRoom):
                    raise
                failures = 0 if out.position > furthest else failures + 1
                furthest = max(furthest, out.position)
                pause = max(error.wait, self._limits.pause * 2 ** max(0, failures - 1))
                if error.wait > self._limits.longest_pause:
                    raise WebError(f"{error} It asks to wait {error.wait / 60:.0f} minutes: resume it then.") from error
                if failures >= self._limits.attempts:
                    raise WebError(f"{error} {failures} attempts brought nothing; resume it later.") from error
                if self._stop.wait(pause):
                    raise Halted from error

    def _attempt(self, out: PartialFile) -> Iterator[Part]:
        file = self._file
        if out.position and (out.position == file.size or out.position == self._part.size):
            return
        if (not self._part.validator and not file.sha256) or out.position > (file.size or self._limits.largest):
            out.restart()
        asked = {}
        if out.position:
            asked["Range"] = f"bytes={out.position}-"
            if self._part.validator:
                asked["If-Range"] = self._part.validator
        need_room(self._partial.parent, max(0, (file.size or 0) - out.position), self._limits.kept_free)
        with self._client.open(file.address, headers=asked, stop=self._stop) as response:
            self._admit(response, out)
            yield self._note(out)
            most = self._part.size or self._limits.largest
            for chunk in response.chunks():
                if self._stop.is_set():
                    yield self._note(out, sync=True)
                    raise Halted
                if out.position + len(chunk) > most:
                    raise WebError(f"{response.address.host} sends more than the {most:,} bytes that it may.")
                out.write(chunk)
                due = out.position - self._part.synced >= self._limits.sync_every
                if due:
                    need_room(self._partial.parent, 0, self._limits.kept_free)
                yield self._note(out, sync=due)
        if self._part.size is not None and out.position < self._part.size:
            raise ConnectionFailed(f"{response.address.host} ended at {out.position:,} of {self._part.size:,} bytes.")

    def _admit(self, response: WebResponse, out: PartialFile) -> None:
        """Decide from the answer's head whether its body is the file, and from which byte on."""
        host, size = response.address.host, self._file.size
        if response.status == 416:
            out.restart()
            match, begun = UNSATISFIED_RANGE.fullmatch(response.header("content-range")), self._part.size
            if match and begun not in (None, int(match[1])):
                raise WebError(
                    f"{host} first gave this file {begun:,} bytes and now {int(match[1]):,}; it is not used."
                )
            raise ConnectionFailed(f"{host} no longer has the version of this file that was begun.")
        if response.status in (401, 403) and self._file.page:
            own = parse_address(self._file.address).host
            raise WebError(
                f"{host} refuses this file (status {response.status}): accept its terms at {self._file.page}, "
                f"then give a token for {own} that may read it."
            )
        failure = response.failure()
        if failure:
            raise failure
        if response.status not in (200, 206) or response.header("content-encoding") not in ("", "identity"):
            raise WebError(f"{host} answers with status {response.status} and no plain file.")
        if response.header("content-type").lower().startswith("text/html"):
            raise WebError(f"{host} answers with a web page: it wants a login, or the address is not a file's.")
        total = self._resumed_total(response, out) if response.status == 206 else response.declared
        if response.status == 200 and out.position:
            out.restart()  # the server does not resume, or has another version by now
        if total is not None and size is not None and total != size:
            raise WebError(f"{host} offers {total:,} bytes where {size:,} were announced; nothing of it is used.")
        if (total or 0) > self._limits.largest:
            raise WebError(f"{host} offers {total:,} bytes; {self._limits.largest:,} are allowed.")
        need_room(self._partial.parent, max(0, (total or 0) - out.position), self._limits.kept_free)
        out.joined = out.joined or out.position > 0
        tag = response.header("etag")
        self._part = replace(
            self._part,
            size=total if total is not None else size,
            validator=tag if tag.startswith('"') else "",  # a weak one does not promise the same bytes
            name=self._part.name or _said_name(response, self._file.address),
        )

    def _resumed_total(self, response: WebResponse, out: PartialFile) -> int:
        """The whole size that a partial answer gives; it must begin where ours ends, in the same version."""
        match = CONTENT_RANGE.fullmatch(response.header("content-range"))
        tag = response.header("etag")
        changed = bool(self._part.validator and tag and tag != self._part.validator)
        if not out.position or match is None or int(match[1]) != out.position or changed:
            out.restart()
            raise ConnectionFailed(f"{response.address.host} did not resume where the file broke off.")
        return int(match[3])

    def _mismatch(self, out: PartialFile) -> str:
        """What is wrong with the whole file, as a sentence; empty if nothing is."""
        name = self._part.name or "The file"
        file = self._file
        if file.size is not None and out.position != file.size:
            return f"{name} has {out.position:,} bytes where {file.size:,} were announced; it was thrown away."
        if file.sha256 and out.sha256() != file.sha256:
            return f"{name} has the sha256 {out.sha256()} where {file.sha256} was announced; it was thrown away."
        if file.git_blob and out.git_blob() != file.git_blob:
            return f"{name} is not what the hub announced (its git hash differs); it was thrown away."
        return ""

    def _note(self, out: PartialFile, *, sync: bool = False, verified: bool = False) -> Part:
        if sync:
            try:
                out.sync()
            except OSError as error:
                raise disk_problem(error) from error
        synced = out.position if sync else min(self._part.synced, out.position)
        self._part = replace(self._part, received=out.position, synced=synced, verified=verified)
        if verified:
            self._part = replace(self._part, sha256=out.sha256())
        return self._part


def _said_name(response: WebResponse, address: str) -> str:
    """What the server calls the file: by Content-Disposition, else by the last part of the address; made safe."""
    message = Message()
    # Headers are read as Latin-1, in which many servers put UTF-8.
    text = response.header("content-disposition").encode("latin-1", "replace").decode("utf-8", "replace")
    message["content-disposition"] = text.replace("\n", " ").replace("\r", " ")
    said = safe_name(message.get_filename() or "")
    return said or safe_name(unquote(parse_address(address).target.partition("?")[0])) or "download"
