"""What an infotext may say of the extensions that took part in a picture, as far as they are here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class ParameterRow:
    """The key of an extension's parameter, by its name; `read` raises `ValueError` for what it cannot read."""

    key: str
    name: str
    read: Callable[[str], object]


@dataclass(frozen=True, kw_only=True)
class ExtensionHere:
    """An extension that is on. Where it has no parameters, `rows` and `marker` are empty; `marker` is the key that says
    that it took part with all of them as usual. `checked(values)` are all parameters with these values, exact, and
    raises `InvalidRequest` for one that cannot be."""

    id: str
    title: str
    version: str
    marker: str
    rows: tuple[ParameterRow, ...]
    checked: Callable[[Mapping[str, Any]], Mapping[str, Any]]

    @property
    def place(self) -> str:
        """Where its values are in a request."""
        return f"extras.{self.id}"
