"""Web addresses: read in one way only, and looked up to see whether they are on the internet."""

import ipaddress
import re
import socket
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from backend.errors import UserError

LONGEST_ADDRESS = 8192  # characters
DEFAULT_PORTS = {"https": 443, "http": 80}
HOST_NAME = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")
PATH_SIGNS = "/%:@!$&'()*+,;=~"
QUERY_SIGNS = PATH_SIGNS + "?[]{}|^"
IPV4_INSIDE = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("::ffff:0:0/96"))

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class WebError(UserError):
    """Something cannot be fetched; trying again would not help."""


@dataclass(frozen=True, kw_only=True)
class Address:
    """A web address taken apart: `host` is in lower case and without brackets, `target` is path and query."""

    scheme: str
    host: str
    port: int
    target: str

    @property
    def authority(self) -> str:
        """Host, and port where it is not the usual one."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """What a token belongs to: scheme, host and port."""
        return f"{self.scheme}://{self.authority}"

    def __str__(self) -> str:
        return self.origin + self.target


def parse_address(text: str) -> Address:
    """Take a web address apart, strictly: there must be only one way to read it.

    Raises `WebError` if it is not https or http, carries a user name or password, or has no plain host.
    """
    text = text.strip()
    shown = repr(text.partition("?")[0].rpartition("@")[2][:100])  # the rest may be secret
    if len(text) > LONGEST_ADDRESS or re.search(r"[\x00-\x20\x7f\\]", text):
        raise WebError(f"{shown} is no web address: it is too long, or has a space or a backslash in it.")
    try:
        parts = urlsplit(text)
        scheme, host, port = parts.scheme.lower(), parts.hostname or "", parts.port
    except ValueError as error:
        raise WebError(f"{shown} is no web address ({error}).") from error
    if scheme not in DEFAULT_PORTS:
        raise WebError(f"{shown} is no web address: it must begin with https://.")
    if "@" in parts.netloc:
        raise WebError("The address carries a user name or a password; leave them out and set a token for the host.")
    return Address(
        scheme=scheme,
        host=_host(host, shown),
        port=DEFAULT_PORTS[scheme] if port is None else port,
        target=quote(parts.path or "/", safe=PATH_SIGNS)
        + (f"?{quote(parts.query, safe=QUERY_SIGNS)}" if parts.query else ""),
    )


def _host(host: str, shown: str) -> str:
    if ":" in host:
        try:
            return ipaddress.IPv6Address(host if "%" not in host else "").compressed
        except ValueError as error:
            raise WebError(f"{shown} names no host.") from error
    try:
        name = host.encode("idna").decode("ascii").lower().removesuffix(".")
    except UnicodeError:
        name = ""
    if not HOST_NAME.fullmatch(name):
        raise WebError(f"{shown} names no host.")
    return name


def is_public(text: str) -> bool:
    """Whether an IP address is one machine on the internet: not this one, not this network, not a group. IPv4 inside
    IPv6 (mapped, or NAT64 of RFC 6052) counts as what is inside."""
    try:
        address: IPAddress = ipaddress.ip_address(text)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        if any(address in network for network in IPV4_INSIDE):
            address = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        elif address.is_site_local or address.sixtofour is not None:
            return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def look_up(host: str, port: int) -> list[str]:
    """The IP addresses of a host, as the system finds them. Raises `OSError`."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))
