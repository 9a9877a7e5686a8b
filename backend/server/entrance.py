"""From how Atelier was started to who may come in: addresses, names, logins."""

import ipaddress
import re
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from backend.errors import UserError
from backend.server.accounts import Accounts, Entry, parse_entries, users_of
from backend.server.arrival import is_loopback
from backend.server.origins import LOOPBACK_NAMES, Policy
from backend.server.passwords import Secret, new_secret

LOGIN_VARIABLE = "ATELIER_AUTH"
SUBPATH = re.compile(r"(/[\w.~-]+)+")
HOST = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
GUEST = "guest"


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What flags say about the door; the names are theirs."""

    listen: bool = False
    server_name: str = ""
    share: bool = False
    gradio_auth: str = ""
    gradio_auth_path: Path | None = None
    api_auth: str = ""
    cors_allow_origins: str = ""
    cors_allow_origins_regex: str = ""
    allowed_host: tuple[str, ...] = ()
    subpath: str = ""

    @property
    def address(self) -> str:
        """What to bind to."""
        return self.server_name or ("0.0.0.0" if self.listen else "127.0.0.1")


def resolved(address: str, port: int) -> tuple[socket.AddressFamily, str]:
    """The family and the numbers of an address to bind to. Raises `UserError`."""
    try:
        family, _, _, _, numbers = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError) as error:
        raise UserError(f"There is no address {address!r} to serve at.") from error
    return family, str(numbers[0])


def entries(wishes: Wishes, variable: str, ask: Callable[[str], str] | None = None) -> list[Entry]:
    """All logins that were given. Who came in by A1111's page is the first an administrator, the others artists; who
    came in by its API is an artist; a role in front says otherwise. Raises `UserError`.

    `ask` asks for the password of a name that came without one, and shows nothing of it; without it that is refused.
    """
    texts = [wishes.gradio_auth, variable, _file(wishes.gradio_auth_path)]
    given = parse_entries("\n".join(texts), first="administrator", others="artist")
    given += parse_entries(wishes.api_auth, first="artist", others="artist")
    return [entry if entry.password else replace(entry, password=_asked(entry.name, ask)) for entry in given]


def guest() -> Entry:
    """The login of a shared link for which nobody gave one: an artist with a password that nobody guesses."""
    return Entry(name=GUEST, role="artist", password=new_secret())


def accounts_of(given: Iterable[Entry]) -> Accounts:
    """Everybody who may log in. Raises `UserError`."""
    return Accounts(users_of(given))


def policy_of(wishes: Wishes, numbers: str) -> Policy:
    """How to look at requests; `numbers` is the address that sockets are bound to. Raises `UserError`."""
    open_to_all = not is_loopback(numbers)
    own = {wishes.server_name.lower()} if wishes.server_name else set()
    if open_to_all:
        name = socket.gethostname().lower()
        own |= {name, f"{name}.local"}
    return Policy(
        hosts=LOOPBACK_NAMES | {_bracketed(name) for name in own},
        proxied=frozenset(_host(name) for name in wishes.allowed_host),
        addresses=open_to_all,
        origins=frozenset(_origin(text) for text in _listed(wishes.cors_allow_origins)),
        origin_pattern=_pattern(wishes.cors_allow_origins_regex),
        loopback=not open_to_all,
        subpath=_subpath(wishes.subpath),
    )


def _file(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"The file of logins {path} cannot be read.") from error


def _asked(name: str, ask: Callable[[str], str] | None) -> Secret:
    if ask is None:
        raise UserError(f"{name} has no password, and there is nobody to ask: give one as {name}:PASSWORD.")
    return Secret(ask(f"Password for {name}: "))


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _origin(text: str) -> str:
    """A website, as browsers name it. All of them at once is not something to choose: they include every one that the
    artist ever opens."""
    parts = urlsplit(text.lower().rstrip("/"))
    if text == "*" or parts.scheme not in ("http", "https") or not parts.netloc or parts.path or parts.query:
        raise UserError(f"--cors-allow-origins needs addresses such as https://studio.example, not {text[:100]!r}.")
    return f"{parts.scheme}://{parts.netloc}"


def _pattern(text: str) -> re.Pattern[str] | None:
    if not text:
        return None
    try:
        pattern = re.compile(text, re.IGNORECASE)
    except re.error as error:
        raise UserError(f"--cors-allow-origins-regex is no regular expression: {error}.") from error
    if pattern.fullmatch("https://any.website.at.all.invalid") or pattern.fullmatch("null"):
        raise UserError("--cors-allow-origins-regex fits every website: name those that may use Atelier.")
    return pattern


def _host(text: str) -> str:
    name = text.strip().lower()
    if HOST.fullmatch(name) or _bracketed(name) != name:
        return _bracketed(name)
    raise UserError(f"--allowed-host needs a name without port and path, such as studio.example, not {text[:100]!r}.")


def _bracketed(name: str) -> str:
    """As a request names it: an IPv6 address stands in brackets."""
    try:
        return f"[{name}]" if ipaddress.ip_address(name).version == 6 else name
    except ValueError:
        return name


def _subpath(text: str) -> str:
    path = "/" + text.strip().strip("/")
    if path == "/":
        return ""
    if not SUBPATH.fullmatch(path) or any(part in (".", "..") for part in path.split("/")):
        raise UserError(f"--subpath needs a path such as /atelier, not {text[:100]!r}.")
    return path
