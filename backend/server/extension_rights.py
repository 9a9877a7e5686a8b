"""Who may change which code runs here."""

from fastapi import Request

from backend.server.arrival import can_change_code
from backend.server.json_door import NotHere

NOT_HERE = (
    "Code of others can be installed and switched on only by an administrator at the machine that Atelier runs on, "
    "while it listens to that machine alone and no link leads to it."
)


def only_code(request: Request) -> None:
    """For what runs code that does not ship with Atelier. Raises `NotHere`."""
    if not can_change_code(request):
        raise NotHere(NOT_HERE)
