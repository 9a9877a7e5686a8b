"""Secret access tokens, one per host: kept for the owner of the files only, sent to that host only, never shown."""

import contextlib
import json
import logging
import os
import re
import secrets
import threading
import time
from pathlib import Path

from backend.errors import UserError
from backend.web_address import WebError, parse_address

log = logging.getLogger(__name__)

TOKEN = re.compile(r"[\x21-\x7e]{1,4096}")  # anything else would break out of a header


class AccessTokens:
    """The tokens and the file they live in, which only the user who runs Atelier may read (mode 0600; on Windows the
    folder's own rights hold). A damaged file is kept beside it as ``NAME.bad-DATE``. Safe to use from any thread."""

    def __init__(self, path: Path):
        self._path = path
        self._lock = threading.Lock()
        self._problem = ""
        self._tokens = self._load()

    def __repr__(self) -> str:
        return f"<AccessTokens for {', '.join(self.hosts()) or 'no host'}>"

    def hosts(self) -> list[str]:
        """The hosts that have a token; there is no way to ask what it is."""
        with self._lock:
            return sorted(origin.removeprefix("https://") for origin in self._tokens)

    def put(self, host: str, token: str) -> None:
        """Keep `token` for `host` (a name, or an address of its). Raises `UserError` if one of them cannot be."""
        token = token.strip()
        if not TOKEN.fullmatch(token):
            raise UserError("The token has a space or another sign that no token has, or it is empty or too long.")
        with self._lock:
            self._write({**self._tokens, origin_of(host): token})

    def forget(self, host: str) -> None:
        """Remove a host's token. Raises `UserError` if `host` is no host."""
        origin = origin_of(host)
        with self._lock:
            self._write({known: token for known, token in self._tokens.items() if known != origin})

    def token(self, origin: str) -> str:
        """The secret to send to an origin such as ``https://huggingface.co``; empty if there is none."""
        with self._lock:
            return self._tokens.get(origin, "")

    def _write(self, tokens: dict[str, str]) -> None:
        if self._problem:
            raise UserError(self._problem)  # writing now would lose what is in the file
        data = json.dumps(tokens, indent=2).encode() + b"\n"
        temporary = self._path.with_name(f".{secrets.token_hex(6)}.partial")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # Made with its mode: a file that is made first and closed later can be read in between.
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self._path)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise UserError(f"The token could not be written to the disk ({error.strerror or error}).") from error
        self._tokens = tokens

    def _load(self) -> dict[str, str]:
        try:
            with self._path.open("rb") as file:
                self._close_to_others(file.fileno())
                return _checked(json.loads(file.read()))
        except FileNotFoundError:
            return {}
        except OSError as error:
            self._problem = f"The tokens that are kept cannot be read ({error.strerror or error})."
            log.warning("%s", self._problem)
            return {}
        except (ValueError, WebError):
            aside = self._path.with_name(f"{self._path.name}.bad-{time.strftime('%Y%m%d-%H%M%S')}")
            # No word of what is in it: that may be a token.
            log.warning("the file of access tokens is damaged; it is kept as %s", aside.name)
            self._path.replace(aside)
            return {}

    def _close_to_others(self, handle: int) -> None:
        if os.name != "nt" and os.fstat(handle).st_mode & 0o077:
            log.warning("%s could be read by other users; now it cannot", self._path.name)
            os.fchmod(handle, 0o600)


def _checked(tokens: object) -> dict[str, str]:
    """What a file held, if all of it can be tokens. Raises `ValueError` or `WebError`."""
    if not isinstance(tokens, dict):
        raise ValueError("no object")
    for host, token in tokens.items():
        if not isinstance(token, str) or not TOKEN.fullmatch(token) or origin_of(host) != host:
            raise ValueError("no token")
    return tokens


def origin_of(host: str) -> str:
    """The origin that a host's token belongs to: ``huggingface.co`` and any address there are
    ``https://huggingface.co``. Raises `WebError`."""
    return parse_address(host if "://" in host else f"https://{host}").origin
