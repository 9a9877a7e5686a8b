"""Which names this server answers to, and whose pages may speak to it.

A browser lets any website send requests to a server on the same machine, and lets a name on the internet resolve to
127.0.0.1. So a request must name a host that is ours, and one that comes from a page must come from a page of ours.
"""

import ipaddress
import re
from dataclasses import dataclass

from starlette.datastructures import Headers

from backend.server.refusal import Refusal

LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "[::1]"})
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^\[\]:/?#@\s\\]*)(?::\d{1,5})?")
# Where programs speak to us: what existing ones know is a name and a password with every request, and no cookie.
PROGRAM_PATHS = ("/sdapi/", "/controlnet/", "/api/", "/internal/", "/file=")
NOT_OURS = Refusal(status=403, kind="forbidden", sentence="Another website may not use this Atelier.")


@dataclass(frozen=True, kw_only=True)
class Policy:
    """How this server was started.

    `hosts` are the names, without port, that it answers to; with `addresses` it answers to every IP address too (names
    can be made to resolve to us, addresses cannot). `proxied` are names of which another server takes the TLS off.
    `origins` and `origin_pattern` are pages elsewhere that may use what is for programs. `loopback` says that all
    sockets are bound to this machine only, `subpath` is the path that all lies below, without a slash at its end.
    """

    hosts: frozenset[str] = LOOPBACK_NAMES
    proxied: frozenset[str] = frozenset()
    addresses: bool = False
    origins: frozenset[str] = frozenset()
    origin_pattern: re.Pattern[str] | None = None
    loopback: bool = True
    subpath: str = ""

    def answers_to(self, name: str) -> bool:
        """Whether a host's name is one of ours."""
        return name in self.hosts or name in self.proxied or (self.addresses and _is_address(name))

    def lets(self, origin: str) -> bool:
        """Whether pages of this origin may use what is for programs."""
        return origin in self.origins or bool(self.origin_pattern and self.origin_pattern.fullmatch(origin))


def is_for_programs(path: str) -> bool:
    """Whether programs ask here."""
    return path.startswith(PROGRAM_PATHS)


def host_name(headers: Headers) -> str:
    """The one host that a request names, without its port; empty where there is none, or more than one."""
    hosts = headers.getlist("host")
    found = HOST.fullmatch(hosts[0].lower()) if len(hosts) == 1 else None
    return found[1] if found else ""


def wrong_name(headers: Headers) -> Refusal:
    """For a request under a name that is not ours."""
    host = headers.get("host", "")[:100]
    return Refusal(status=400, kind="bad_request", sentence=f"This Atelier does not answer to the name {host!r}.")


def is_own(headers: Headers, schemes: frozenset[str]) -> bool:
    """Whether a request comes from no page, or from one of ours."""
    origin = headers.get("origin")
    return origin is None or origin.lower() in {f"{scheme}://{headers.get('host', '').lower()}" for scheme in schemes}


def is_loaded_by_others(headers: Headers, *, changes: bool) -> bool:
    """Whether a browser says that a page elsewhere makes it ask. Following a link to here is fine; a page elsewhere
    that loads our files or sends us forms is not."""
    follows = headers.get("sec-fetch-mode") == "navigate" and not changes
    return headers.get("sec-fetch-site") in ("cross-site", "same-site") and not follows


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True
