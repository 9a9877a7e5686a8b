"""Who is speaking: by a login's cookie, by name and password with every request, by a token, or from this machine."""

import asyncio
import base64
import binascii
import hmac
import ipaddress
import secrets
from collections import OrderedDict

from starlette.requests import HTTPConnection

from backend.server.accounts import Accounts, User
from backend.server.api_tokens import ApiTokens
from backend.server.arrival import Arrival
from backend.server.origins import is_for_programs
from backend.server.owner import local_person
from backend.server.passwords import Secret
from backend.server.people import PROGRAMS, How, Person
from backend.server.refusal import Refusal
from backend.server.sessions import Sessions
from backend.server.throttle import Throttle

LOGIN_COOKIE = "atelier_login"
KNOWN_COOKIE = "atelier_known"
MOST_REMEMBERED = 256
WRONG = "Incorrect username or password"  # A1111's words, which its clients look for
BASIC = {"WWW-Authenticate": "Basic"}
NOBODY = Person(name="", role="viewer", owner="", how="login", scopes=frozenset())


class Doorkeeper:
    """Knows people when they come. One for each server; everything is called on its event loop."""

    def __init__(
        self,
        accounts: Accounts | None = None,
        *,
        required: bool | None = None,
        tokens: ApiTokens | None = None,
        throttle: Throttle | None = None,
        sessions: Sessions | None = None,
    ):
        """Everybody has to log in where there are accounts, or only who comes by the shared link if `required` says
        that otherwise nobody has to."""
        self.accounts = accounts or Accounts()
        self.tokens = tokens or ApiTokens()
        self.sessions = sessions or Sessions()
        self._required = len(self.accounts) > 0 if required is None else required
        self._throttle = throttle or Throttle()
        # One guess at a time: each takes 32 MiB, and who asks in parallel is looked up once.
        self._guessing = asyncio.Lock()
        self._key = secrets.token_bytes(32)
        self._remembered: OrderedDict[bytes, str] = OrderedDict()

    def required(self, arrival: Arrival) -> bool:
        """Whether who comes this way has to log in."""
        return self._required or arrival.tunnel

    async def person(self, connection: HTTPConnection, arrival: Arrival, path: str) -> Person | Refusal:
        """Who asks for this path, or why they may not."""
        programs = is_for_programs(path)
        scheme, _, value = connection.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self._by_token(value.strip())
        if scheme.lower() == "basic" and programs and self.required(arrival):
            return await self._by_password(connection, arrival, value.strip())
        user = self._logged_in(connection)
        if user is not None:
            return _person(user, "login")
        if not self.required(arrival):
            return local_person(connection, otherwise=PROGRAMS if programs else "")
        return Refusal(
            status=401,
            kind="unauthorized",
            sentence="This Atelier asks for a name and a password: log in first.",
            headers=BASIC if programs else {},
        )

    def is_logged_in(self, connection: HTTPConnection) -> bool:
        """Whether the login that a connection came with still holds."""
        return self._logged_in(connection) is not None

    async def log_in(self, connection: HTTPConnection, arrival: Arrival, name: str, password: Secret) -> str | Refusal:
        """The token of a new login, or why there is none."""
        known = self.sessions.marked(connection.cookies.get(KNOWN_COOKIE, ""))
        user = await self._checked(known or _address(connection, arrival), name, password, known=bool(known))
        return user if isinstance(user, Refusal) else self.sessions.begin(user.name)

    def _logged_in(self, connection: HTTPConnection) -> User | None:
        return self.accounts.find(self.sessions.name(connection.cookies.get(LOGIN_COOKIE, "")) or "")

    def _by_token(self, text: str) -> Person | Refusal:
        token = self.tokens.find(text)
        user = self.accounts.find(token.user) if token and token.user else None
        if token is None or (token.user and user is None):
            return Refusal(status=401, kind="unauthorized", sentence="This token is not known here.")
        return Person(
            name=user.name if user else token.name,
            role=user.role if user else "administrator",
            owner=token.owner,
            how="token",
            scopes=frozenset(token.scopes),
        )

    async def _by_password(self, connection: HTTPConnection, arrival: Arrival, value: str) -> Person | Refusal:
        try:
            name, colon, password = base64.b64decode(value, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            name = colon = password = ""
        if not colon:
            return Refusal(status=401, kind="unauthorized", sentence=WRONG, headers=BASIC)
        key = hmac.digest(self._key, value.encode(), "sha256")
        user = self.accounts.find(self._remembered.get(key, ""))
        if user is None:
            answer = await self._checked(_address(connection, arrival), name, Secret(password), known=False, key=key)
            if isinstance(answer, Refusal):
                return answer
            user = answer
        return _person(user, "basic")

    async def _checked(
        self, who: str, name: str, password: Secret, *, known: bool, key: bytes | None = None
    ) -> User | Refusal:
        """The user whose password this is; with a `key` it is remembered, so that the next request takes no time."""
        async with self._guessing:
            if key in self._remembered and (user := self.accounts.find(self._remembered[key])):
                return user
            wait = self._throttle.wait(who, known=known)
            if wait:
                return Refusal(
                    status=429,
                    kind="too_many_requests",
                    sentence=f"Too many wrong passwords: try again in {wait:.0f} seconds.",
                    headers={"Retry-After": f"{wait + 1:.0f}"},
                )
            user = await asyncio.to_thread(self.accounts.check, name, password)
            if user is None:
                return Refusal(status=401, kind="unauthorized", sentence=WRONG, headers=BASIC if key else {})
            self._throttle.forgive(who)
            if key is not None:
                self._remembered[key] = user.name
                while len(self._remembered) > MOST_REMEMBERED:
                    self._remembered.popitem(last=False)
            return user


def _person(user: User, how: How) -> Person:
    return Person(name=user.name, role=user.role, owner=user.owner, how=how)


def _address(connection: HTTPConnection, arrival: Arrival) -> str:
    """What tries are counted by: the other end of the connection. Nobody's word is taken for it; a shared link is one
    address."""
    host = connection.client.host if connection.client else ""
    if arrival.tunnel:
        return "the shared link"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    # Whoever has one IPv6 address has 2**64 of them.
    return str(ipaddress.ip_network((address, 64), strict=False)) if address.version == 6 else host
