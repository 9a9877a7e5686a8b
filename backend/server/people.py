"""Who somebody is to this server, and what they may do: values only, without a web framework."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

Role = Literal["administrator", "artist", "viewer"]
Risk = Literal["read", "make", "manage", "code"]
How = Literal["local", "login", "basic", "token"]

ROLES: tuple[Role, ...] = get_args(Role)
RISKS: tuple[Risk, ...] = get_args(Risk)
EVERYTHING = frozenset(RISKS)
GRANTED: Mapping[Role, frozenset[Risk]] = MappingProxyType(
    {
        "administrator": frozenset(RISKS),
        "artist": frozenset({"read", "make"}),
        "viewer": frozenset({"read"}),
    }
)


@dataclass(frozen=True, kw_only=True)
class Person:
    """Somebody who asks: `owner` is whose jobs and pictures they see (empty: a browser that did not say), `scopes` are
    the risks that this way of asking is limited to."""

    name: str
    role: Role
    owner: str
    how: How
    scopes: frozenset[str] = EVERYTHING


def shelf_of(person: Person) -> str:
    """Whose the things are that somebody keeps, such as presets: their own, or the studio's (empty) where nobody logs
    in."""
    return "" if person.how == "local" else person.owner


def may(person: Person, risk: Risk) -> bool:
    """Whether somebody may do what carries this risk."""
    return risk in GRANTED[person.role] and risk in person.scopes


def not_for(person: Person) -> str:
    """What somebody is told who may not do something."""
    return f"This is not for {'this token' if person.how == 'token' else f'a person who is {person.role} here'}."


def owner_named(name: str) -> str:
    """The owner that belongs to a name, in the form of all owners (32 hex digits): the same after every start."""
    return hashlib.blake2b(name.encode(), digest_size=16, person=b"atelier owner").hexdigest()


# Programs on this machine send no cookie: without a login they share what they make.
PROGRAMS = owner_named("\0programs on this machine")
