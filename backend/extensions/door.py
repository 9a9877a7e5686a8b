"""What extensions make of a request at the door, before anything is queued."""

from collections.abc import Sequence
from typing import Any

from backend.errors import InvalidRequest
from backend.extensions.calls import Calls
from backend.extensions.course import takes_part
from backend.extensions.extension import Extension, HookImpl
from backend.extensions.extras import checked
from backend.extensions.turns import DoorTurn
from backend.request import GenerationRequest

MOST_REQUESTS = 1000
STAGE = "on_prompts"


def prompted(active: Sequence[Extension], calls: Calls, request: GenerationRequest) -> list[GenerationRequest]:
    """The requests that one becomes, each with a seed that is a number; the same one where no extension says anything.

    `active` are those that are on. Raises `InvalidRequest` for extras that cannot be and for more requests than
    `MOST_REQUESTS`, `ExtensionFault` for an extension that fails.
    """
    asked = checked(active, request)
    acting = [
        (extension, impl)
        for extension in active
        for impl in extension.hookimpls(STAGE)
        if takes_part(extension, asked, stages=(STAGE,))
    ]
    if not acting:
        return [request]
    found = [asked.resolved()]
    for extension, impl in acting:
        found = [made for each in found for made in _made(calls, extension, impl, each)]
        if len(found) > MOST_REQUESTS:
            raise InvalidRequest(
                f"{extension.title} makes {len(found):,} requests of this one; {MOST_REQUESTS:,} are allowed."
            )
    return found


def _made(calls: Calls, extension: Extension, impl: HookImpl, request: GenerationRequest) -> list[GenerationRequest]:
    arguments = {"request": request, "turn": DoorTurn(extension, request, extension.own)}

    def work() -> list[GenerationRequest]:
        made: Any = impl.function(**{name: arguments[name] for name in impl.argnames})
        if made is None:
            return [request]
        if not isinstance(made, list | tuple) or not made:
            raise TypeError(f"it must return a list of requests, not {made!r:.80}")
        for each in made:
            if not isinstance(each, GenerationRequest):
                raise TypeError(f"it must return requests, not a {type(each).__name__}")
        return [each.resolved() for each in made]

    return calls.answer(extension, impl.name, work)
