"""Whose jobs and pictures a connection may see: the random name in a cookie that the first page sets."""

import re
from collections.abc import Mapping
from typing import Protocol

from backend.errors import UserError

OWNER_COOKIE = "atelier_owner"
OWNER_PATTERN = re.compile(r"[0-9a-f]{32}")


class WithCookies(Protocol):
    """An HTTP request or a WebSocket."""

    @property
    def cookies(self) -> Mapping[str, str]: ...


def owner_of(connection: WithCookies) -> str:
    """The owner's name, 32 hex digits. Raises `UserError` if the browser sent none, or something else."""
    name = connection.cookies.get(OWNER_COOKIE, "")
    if not OWNER_PATTERN.fullmatch(name):
        raise UserError(
            f"This browser did not send the cookie {OWNER_COOKIE!r} that says which pictures are yours: "
            "allow cookies for this address, then reload the page."
        )
    return name
