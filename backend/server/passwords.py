"""Passwords: a value that no log can hold, and the hashes that are kept in their place (scrypt, RFC 7914)."""

import base64
import binascii
import hashlib
import hmac
import re
import secrets
import unicodedata
from dataclasses import dataclass, field
from typing import NoReturn

from backend.errors import UserError

LONGEST_PASSWORD = 1024  # characters
COST, BLOCK, LANES = 15, 8, 1  # 2**15 * 8 * 128 bytes: 32 MiB and some 80 ms for each guess
ROOM = 256 * 1024 * 1024  # bytes that scrypt may take
SALT_BYTES = 16
DIGEST_BYTES = 32
NEW_SECRET_BYTES = 18  # 144 random bits, in 24 characters
HASH = re.compile(r"scrypt\$(\d{1,2})\$(\d{1,2})\$(\d{1,2})\$([\w+/=-]{8,200})\$([\w+/=-]{8,200})")
COSTS = range(14, 19)


class Secret:
    """A text that shows itself to nobody who does not ask for it by name: no message, log or traceback writes it."""

    __slots__ = ("_text",)

    def __init__(self, text: str):
        self._text = text

    def reveal(self) -> str:
        """The text itself."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(...)"

    __str__ = __repr__

    def __format__(self, form: str) -> str:
        return format(repr(self), form)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._text.encode(), other._text.encode())

    __hash__ = None  # pyright: ignore

    def __reduce__(self) -> NoReturn:
        raise TypeError("A secret is not written anywhere.")


@dataclass(frozen=True, kw_only=True)
class PasswordHash:
    """What is kept of a password. `str` gives the form that `parse_hash` reads."""

    cost: int
    block: int
    lanes: int
    salt: bytes = field(repr=False)
    digest: bytes = field(repr=False)

    def matches(self, password: Secret) -> bool:
        """Whether this is the password; takes as long when it is not."""
        text = password.reveal()
        right = len(text) <= LONGEST_PASSWORD
        made = _scrypt(text if right else "", self.salt, self.cost, self.block, self.lanes, len(self.digest))
        return hmac.compare_digest(made, self.digest) and right

    def __str__(self) -> str:
        salt, digest = (base64.b64encode(part).decode() for part in (self.salt, self.digest))
        return f"scrypt${self.cost}${self.block}${self.lanes}${salt}${digest}"


def hash_password(password: Secret) -> PasswordHash:
    """The hash of a password, with a salt of its own. Raises `UserError` for one that is empty or too long."""
    text = password.reveal()
    if not text or len(text) > LONGEST_PASSWORD:
        raise UserError(f"A password has from 1 to {LONGEST_PASSWORD:,} characters, not {len(text):,}.")
    salt = secrets.token_bytes(SALT_BYTES)
    digest = _scrypt(text, salt, COST, BLOCK, LANES, DIGEST_BYTES)
    return PasswordHash(cost=COST, block=BLOCK, lanes=LANES, salt=salt, digest=digest)


def parse_hash(text: str) -> PasswordHash | None:
    """The hash that a text is, or None where it is none that may be computed."""
    found = HASH.fullmatch(text)
    if not found:
        return None
    cost, block, lanes = (int(part) for part in found.groups()[:3])
    if cost not in COSTS or (block, lanes) != (BLOCK, LANES):
        return None
    try:
        salt, digest = (base64.b64decode(part, validate=True) for part in found.groups()[3:])
    except binascii.Error:
        return None
    if len(salt) < SALT_BYTES or len(digest) != DIGEST_BYTES:
        return None
    return PasswordHash(cost=cost, block=block, lanes=lanes, salt=salt, digest=digest)


def new_secret() -> Secret:
    """A secret that nobody guesses."""
    return Secret(secrets.token_urlsafe(NEW_SECRET_BYTES))


def _scrypt(text: str, salt: bytes, cost: int, block: int, lanes: int, length: int) -> bytes:
    # One form of letters that can be written in two ways: keyboards differ.
    data = unicodedata.normalize("NFC", text).encode("utf-8", "surrogatepass")
    return hashlib.scrypt(data, salt=salt, n=1 << cost, r=block, p=lanes, maxmem=ROOM, dklen=length)
