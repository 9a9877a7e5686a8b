"""Finding a row of a table by what people and old pictures call it."""

from collections.abc import Iterable, Mapping
from typing import Protocol, TypeVar

from backend.errors import InvalidRequest, unknown_name


class Named(Protocol):
    """A row with one official name and the other names it answers to."""

    @property
    def name(self) -> str: ...

    @property
    def aliases(self) -> tuple[str, ...]: ...


Row = TypeVar("Row", bound=Named)


def find_row(what: str, name: str, rows: Mapping[str, Row], allowed: Iterable[str]) -> Row:
    """The row with this name or alias, in any case.

    `what` is the word for such a row in a sentence and `allowed` the names that sentence offers.
    Raises `InvalidRequest` if there is none: a sampler is never replaced by another one silently.
    """
    if name in rows:
        return rows[name]
    wanted = name.strip().casefold()
    for row in rows.values():
        if wanted in {known.casefold() for known in (row.name, *row.aliases)}:
            return row
    raise InvalidRequest(unknown_name(what, name, allowed))
