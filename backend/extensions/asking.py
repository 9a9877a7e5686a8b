"""Who asks an extension for something, while it is called for them."""

from collections.abc import Iterator
from contextlib import contextmanager

from backend.extension_api import ASKING, Person


@contextmanager
def asked_as(person: Person) -> Iterator[None]:
    """Meanwhile `asked_by` says that it is this person, on this thread or in this task, and in what it begins."""
    token = ASKING.set(person)
    try:
        yield
    finally:
        ASKING.reset(token)
