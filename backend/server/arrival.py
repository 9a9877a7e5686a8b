"""By which way a request came in: read off the sockets, never off what it says of itself.

A shared link leads to a socket of its own, so that no header can make a request from outside look like one from here.
"""

import ipaddress
from dataclasses import dataclass

from starlette.requests import HTTPConnection

from backend.server.owner import person_of

# Whoever passes a request on for somebody else says so in one of these.
FORWARDING = frozenset(
    {"forwarded", "via", "x-real-ip", "x-client-ip", "x-cluster-client-ip", "true-client-ip", "cf-connecting-ip"}
)
FORWARDING_PREFIX = "x-forwarded"


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """`loopback` says that all sockets are bound to this machine only, `shared` that a link to here lives now, `tunnel`
    that the request came in through it, `elsewhere` that a page of another origin sent it, by leave."""

    loopback: bool = False
    shared: bool = False
    tunnel: bool = False
    elsewhere: bool = False


UNKNOWN = Arrival()


def arrival_of(connection: HTTPConnection) -> Arrival:
    """What the guard saw; where none stands in front, nothing is known."""
    return connection.scope.get("state", {}).get("arrival", UNKNOWN)


def is_local(connection: HTTPConnection) -> bool:
    """Whether somebody at this machine asks: the connection comes from it, and nobody passed it on."""
    if arrival_of(connection).tunnel:
        return False
    if any(name in FORWARDING or name.startswith(FORWARDING_PREFIX) for name in connection.headers):
        return False
    return is_loopback(connection.client.host if connection.client else "")


def can_change_code(connection: HTTPConnection) -> bool:
    """Whether this connection may have code installed, updated or switched on: an administrator at this machine, while
    nobody elsewhere can reach Atelier at all. There is no flag that says otherwise."""
    arrival, person = arrival_of(connection), person_of(connection)
    quiet = arrival.loopback and not (arrival.shared or arrival.tunnel or arrival.elsewhere)
    return quiet and is_local(connection) and person.role == "administrator" and person.how in ("local", "login")


def is_loopback(address: str) -> bool:
    """Whether an address, as sockets give it, is this machine's own."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return (getattr(parsed, "ipv4_mapped", None) or parsed).is_loopback
