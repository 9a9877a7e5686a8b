"""Who may log in: names, roles and hashes of passwords, as flags, a file or the environment give them."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from backend.errors import UserError
from backend.server.passwords import PasswordHash, Secret, hash_password, new_secret, parse_hash
from backend.server.people import ROLES, Role, owner_named

NAME = re.compile(r"[\w.@+-]{1,64}")
HOW_WRITTEN = "NAME:PASSWORD, with the role in front where it is another: 'viewer NAME:PASSWORD'"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A login as it was given; without a `password` it is still to be asked for."""

    name: str
    role: Role
    password: Secret | None


@dataclass(frozen=True, kw_only=True)
class User:
    """Somebody who may log in, by any of some passwords."""

    name: str
    role: Role
    hashes: tuple[PasswordHash, ...]

    @property
    def owner(self) -> str:
        """Whose jobs and pictures they see."""
        return owner_named(self.name.casefold())


class Accounts:
    """Everybody who may log in; names are told apart without their case."""

    def __init__(self, users: Iterable[User] = ()):
        self._users = {user.name.casefold(): user for user in users}
        # What an unknown name is held against, so that its answer takes as long.
        self._nobody = hash_password(new_secret()) if self._users else None

    def __len__(self) -> int:
        return len(self._users)

    def __repr__(self) -> str:
        return f"<Accounts of {', '.join(user.name for user in self._users.values()) or 'nobody'}>"

    def find(self, name: str) -> User | None:
        """The user of this name."""
        return self._users.get(name.casefold())

    def check(self, name: str, password: Secret) -> User | None:
        """The user whose name and password these are. It takes 80 ms and 32 MiB: not on the event loop."""
        user = self.find(name)
        hashes = user.hashes if user else tuple(filter(None, [self._nobody]))
        # All of them, so that the time does not tell which one it was.
        right = [each.matches(password) for each in hashes]
        return user if user and any(right) else None


def parse_entries(text: str, *, first: Role, others: Role) -> list[Entry]:
    """The logins of a flag, a file or a variable, one to a line or between commas. Raises `UserError` that shows no
    password."""
    entries: list[Entry] = []
    for number, line in enumerate(re.split(r"[,\r\n]+", text), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        login, colon, password = line.partition(":")
        *role, name = login.split()[-2:] if login.split() else [""]
        if not NAME.fullmatch(name) or len(login.split()) > 2 or (colon and not password):
            raise UserError(f"Login number {number} cannot be read: it has to be {HOW_WRITTEN}.")
        if role and role[0] not in ROLES:
            raise UserError(f"There is no role called {role[0]!r}; there are {', '.join(ROLES)}.")
        named: list[Role] = [each for each in ROLES if [each] == role] or [others if entries else first]
        entries.append(Entry(name=name, role=named[0], password=Secret(password) if colon else None))
    return entries


def users_of(entries: Iterable[Entry]) -> list[User]:
    """The users of these logins. A name that is there twice has the role that came first, and both passwords. A
    password may be given as the hash that is kept of it. Raises `UserError`."""
    users: dict[str, User] = {}
    for entry in entries:
        if entry.password is None:
            raise UserError(f"{entry.name} has no password.")
        made = parse_hash(entry.password.reveal()) or hash_password(entry.password)
        known = users.get(entry.name.casefold())
        users[entry.name.casefold()] = User(
            name=known.name if known else entry.name,
            role=known.role if known else entry.role,
            hashes=(*known.hashes, made) if known else (made,),
        )
    return list(users.values())
