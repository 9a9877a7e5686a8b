"""Who asks, and whose jobs and pictures a connection may see: what the guard found out, for whoever answers.

Without a login the owner is the random name in a cookie that the first page sets.
"""

import re
from collections.abc import Mapping, MutableMapping
from typing import Any, Protocol

from backend.errors import UserError
from backend.extension_api import Person as Asker
from backend.server.people import Person, Risk, may, not_for

OWNER_COOKIE = "atelier_owner"
OWNER_PATTERN = re.compile(r"[0-9a-f]{32}")


class Connection(Protocol):
    """An HTTP request or a WebSocket."""

    @property
    def cookies(self) -> Mapping[str, str]: ...

    @property
    def scope(self) -> MutableMapping[str, Any]: ...


def person_of(connection: Connection) -> Person:
    """Who asks. Where no guard stands in front, that is whoever sits at this machine."""
    person = connection.scope.get("state", {}).get("person")
    return person if person is not None else local_person(connection)


def owner_of(connection: Connection) -> str:
    """The owner's name, 32 hex digits. Raises `UserError` if the browser sent none, or something else."""
    name = person_of(connection).owner
    if not name:
        raise UserError(
            f"This browser did not send the cookie {OWNER_COOKIE!r} that says which pictures are yours: "
            "allow cookies for this address, then reload the page."
        )
    return name


def asker(connection: Connection) -> Asker:
    """Who asks, as extensions are told."""
    person = person_of(connection)
    return Asker(owner=person.owner, name=person.name, administrator=may(person, "manage"))


def local_person(connection: Connection, *, otherwise: str = "") -> Person:
    """Whoever sits at this machine, where nobody logs in; `otherwise` is the owner for whom no cookie names."""
    name = connection.cookies.get(OWNER_COOKIE, "")
    owner = name if OWNER_PATTERN.fullmatch(name) else otherwise
    return Person(name="", role="administrator", owner=owner, how="local")


def require(connection: Connection, risk: Risk) -> None:
    """For what the guard cannot tell apart, such as the page's events. Raises `UserError` for who may not."""
    person = person_of(connection)
    if not may(person, risk):
        raise UserError(not_for(person))
