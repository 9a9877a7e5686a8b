"""Tokens by which programs ask in somebody's name: kept as hashes, in a file for the one who runs Atelier."""

import hashlib
import json
import logging
import re
import secrets
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from backend.errors import UserError
from backend.files import write_atomically
from backend.server.passwords import Secret
from backend.server.people import RISKS, Risk

log = logging.getLogger(__name__)

PREFIX = "atelier_"
TOKEN_BYTES = 32
MOST_TOKENS = 1000
NAME = re.compile(r"[^\x00-\x1f\x7f]{1,100}")


class ApiToken(BaseModel):
    """What is kept of a token. `user` is who made it (empty: whoever sits at the machine), `scopes` what it may do."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    id: str = Field(pattern="^[0-9a-f]{16}$")
    name: str
    user: str
    owner: str = Field(pattern="^[0-9a-f]{32}$")
    scopes: list[Risk]
    digest: str = Field(pattern="^[0-9a-f]{64}$")
    created: float


RECORDS = TypeAdapter(list[ApiToken])


class ApiTokens:
    """All tokens and their file (mode 0600). One that is damaged is kept beside it. Safe to use from any thread."""

    def __init__(self, path: Path | None = None):
        """Without a `path` nothing outlives the run."""
        self._path = path
        self._lock = threading.Lock()
        self._records = {record.digest: record for record in self._load()}

    def make(self, *, name: str, user: str, owner: str, scopes: Iterable[str]) -> tuple[ApiToken, Secret]:
        """A new token; its text is never to be had again. Raises `UserError`."""
        wanted = sorted({*scopes})
        if not wanted or not set(wanted) <= set(RISKS):
            raise UserError(f"A token is for some of {', '.join(RISKS)}, not for {', '.join(wanted) or 'nothing'}.")
        if not NAME.fullmatch(name):
            raise UserError("A token's name has from 1 to 100 characters.")
        text = PREFIX + secrets.token_urlsafe(TOKEN_BYTES)
        record = ApiToken(
            id=secrets.token_hex(8),
            name=name,
            user=user,
            owner=owner,
            scopes=[risk for risk in RISKS if risk in wanted],
            digest=_digest(text),
            created=time.time(),
        )
        with self._lock:
            if len(self._records) >= MOST_TOKENS:
                raise UserError(f"There are {MOST_TOKENS:,} tokens: forget some first.")
            self._write({**self._records, record.digest: record})
        return record, Secret(text)

    def find(self, text: str) -> ApiToken | None:
        """The token that a program sent."""
        return self._records.get(_digest(text))

    def of(self, user: str) -> list[ApiToken]:
        """The tokens that somebody made."""
        return [record for record in self._records.values() if record.user == user]

    def forget(self, id: str, user: str) -> None:
        """Take a token back. Raises `UserError` for one that is not this user's."""
        with self._lock:
            kept = {key: each for key, each in self._records.items() if (each.id, each.user) != (id, user)}
            if len(kept) == len(self._records):
                raise UserError(f"You have no token {id[:40]!r}.")
            self._write(kept)

    def _write(self, records: dict[str, ApiToken]) -> None:
        if self._path is not None:
            try:
                write_atomically(self._path, RECORDS.dump_json(list(records.values()), indent=2), mode=0o600)
            except OSError as error:
                raise UserError(f"The token could not be written to the disk ({error.strerror or error}).") from error
        self._records = records

    def _load(self) -> list[ApiToken]:
        if self._path is None:
            return []
        try:
            data: Any = json.loads(self._path.read_bytes())
            return RECORDS.validate_python(data)
        except FileNotFoundError:
            return []
        except (ValueError, ValidationError):
            aside = self._path.with_name(f"{self._path.name}.bad-{time.strftime('%Y%m%d-%H%M%S')}")
            log.warning("the file of API tokens is damaged; it is kept as %s", aside.name)
            self._path.replace(aside)
            return []


def _digest(text: str) -> str:
    # No salt and no scrypt: it has 256 random bits, which nobody tries out.
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
