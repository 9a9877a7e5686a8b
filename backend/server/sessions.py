"""Browsers that have logged in, and browsers that once did: what their cookies stand for."""

import hashlib
import hmac
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

LIFETIME = 12 * 3600.0  # seconds
MOST_SESSIONS = 10_000
TOKEN_BYTES = 32


@dataclass(frozen=True, kw_only=True)
class Session:
    """A login: whose, and until when (by the clock of `Sessions`)."""

    name: str
    ends: float


class Sessions:
    """Logins of this run. They are in memory only, by the sha256 of their tokens: a restart asks again. Safe to use
    from any thread."""

    def __init__(self, now: Callable[[], float] = time.monotonic):
        self._now = now
        self._lock = threading.Lock()
        self._sessions: dict[bytes, Session] = {}
        self._key = secrets.token_bytes(32)

    def begin(self, name: str) -> str:
        """Log somebody in; returns the token for the browser."""
        token = secrets.token_urlsafe(TOKEN_BYTES)
        with self._lock:
            now = self._now()
            live = {key: session for key, session in self._sessions.items() if session.ends > now}
            for key in list(live)[: max(0, len(live) - MOST_SESSIONS + 1)]:
                del live[key]
            self._sessions = {**live, _digest(token): Session(name=name, ends=now + LIFETIME)}
        return token

    def name(self, token: str) -> str | None:
        """Who logged in with this token, while that holds."""
        session = self._sessions.get(_digest(token))
        return session.name if session and session.ends > self._now() else None

    def end(self, token: str) -> None:
        """Log out."""
        with self._lock:
            self._sessions.pop(_digest(token), None)

    def mark(self) -> str:
        """A mark for a browser that has logged in: by it its later tries are told from those of strangers."""
        name = secrets.token_hex(16)
        return f"{name}.{self._sign(name)}"

    def marked(self, mark: str) -> str:
        """The browser that a mark names; empty for one that we did not give."""
        name, _, signature = mark.partition(".")
        right = hmac.compare_digest(signature.encode(), self._sign(name).encode())
        return name if right and name else ""

    def _sign(self, name: str) -> str:
        return hmac.new(self._key, name.encode(), "sha256").hexdigest()


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
