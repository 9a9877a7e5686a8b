"""Tables of what can be chosen by name: our rows, and those that extensions add while they are on."""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, ValuesView
from types import MappingProxyType
from typing import Generic, Literal, Protocol, TypeVar

from backend.errors import InvalidRequest, unknown_name


class Named(Protocol):
    """A row with one official name and the other names it answers to."""

    @property
    def name(self) -> str: ...

    @property
    def aliases(self) -> tuple[str, ...]: ...


Row = TypeVar("Row", bound=Named)
LONGEST_NAME = 80
Absence = Literal["off", "broken", "gone"]
# What became of an extension whose rows are not here, and what can be done.
ABSENT: Mapping[Absence, str] = MappingProxyType(
    {
        "off": "which is off: switch it on in Extensions, or choose another.",
        "broken": "which cannot be loaded: see why in Extensions, or choose another.",
        "gone": "which is not here any more: install it again, or choose another.",
    }
)


class Table(Mapping[str, Row], Generic[Row]):
    """Rows by their names, in order: first ours, which stay, then those that were added, until they are taken away.

    Used from any thread: whoever reads sees the rows as they were at one moment.
    """

    def __init__(self, what: str, rows: Iterable[Row] = (), *, reserved: Iterable[str] = ()):
        """`what` is the word for a row in a sentence; `reserved` are names that no row that is added may have."""
        self.what = what
        self._rows: Mapping[str, Row] = MappingProxyType({row.name: row for row in rows})
        self._reserved = frozenset(name.casefold() for name in reserved)
        self._owners: dict[str, str] = {}  # the titles of extensions, by the names that they have here
        self._absent: dict[str, tuple[str, Absence]] = {}  # and by those that are not, in lower case
        self._lock = threading.Lock()

    def __getitem__(self, name: str) -> Row:
        return self._rows[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def values(self) -> ValuesView[Row]:
        """The rows, in order, as they are now."""
        return self._rows.values()

    def added(self) -> tuple[Row, ...]:
        """Those that extensions have brought."""
        return tuple(row for name, row in self._rows.items() if name in self._owners)

    def add(self, row: Row, owner: str) -> Callable[[], None]:
        """Take a row up that the extension called `owner` brings; what is returned takes it away again.

        Raises `InvalidRequest` for a name or an alias that is empty or taken, in any case.
        """
        with self._lock:
            for name in (row.name, *row.aliases):
                self._check_free(name)
            self._rows = MappingProxyType({**self._rows, row.name: row})
            self._owners[row.name] = owner

        def remove() -> None:
            with self._lock:
                if self._rows.get(row.name) is row:
                    self._rows = MappingProxyType({name: each for name, each in self._rows.items() if each is not row})
                    self._absent |= dict.fromkeys(map(_plain, (row.name, *row.aliases)), (owner, "off"))

        return remove

    def remember(self, names: Iterable[str], owner: str, absence: Absence) -> Callable[[], None]:
        """Know the names of rows that the extension called `owner` would bring, which is absent; what is returned
        forgets them."""
        known = owner, absence
        plain = tuple(map(_plain, names))
        with self._lock:
            self._absent |= dict.fromkeys(plain, known)

        def forget() -> None:
            with self._lock:
                for name in plain:
                    if self._absent.get(name) is known:
                        del self._absent[name]

        return forget

    def find(self, name: str, *, allowed: Iterable[str] | None = None) -> Row:
        """The row with this name or alias, in any case. `allowed` are the names that a sentence offers, by default all.

        Raises `InvalidRequest` if there is none: nothing is ever replaced by another thing silently.
        """
        rows = self._rows
        row = rows.get(name) or _answering(name, rows.values())
        if row is not None:
            return row
        self.refuse_gone(name)
        raise InvalidRequest(unknown_name(self.what, name, rows if allowed is None else allowed))

    def refuse_gone(self, name: str) -> None:
        """Raises `InvalidRequest` for a name that is not here, and comes with an extension that is known."""
        known = self._absent.get(_plain(name))
        if known is not None and _answering(name, self._rows.values()) is None:
            owner, absence = known
            raise InvalidRequest(f"The {self.what} {name!r} comes with the extension {owner}, {ABSENT[absence]}")

    def _check_free(self, name: str) -> None:
        if not name.strip() or len(name) > LONGEST_NAME or not name.isprintable():
            raise InvalidRequest(f"A {self.what} must have a name of up to {LONGEST_NAME} letters, not {name[:200]!r}.")
        taken = _answering(name, self._rows.values())
        if taken is not None and taken.name in self._owners:
            raise InvalidRequest(
                f"There is a {self.what} called {name!r} already: the extension {self._owners[taken.name]} brings it."
            )
        if taken is not None or name.strip().casefold() in self._reserved:
            raise InvalidRequest(f"There is a {self.what} called {name!r} already: it is Atelier's own.")


def _answering(name: str, rows: Iterable[Row]) -> Row | None:
    wanted = _plain(name)
    return next((row for row in rows if wanted in {known.casefold() for known in (row.name, *row.aliases)}), None)


def _plain(name: str) -> str:
    """As names are compared: in any case."""
    return name.strip().casefold()
