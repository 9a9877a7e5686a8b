"""Another generation within the one that an extension has its turn in."""

from collections.abc import Callable

from PIL import Image

from backend.errors import UserError
from backend.extensions.course import Course
from backend.extensions.extension import Extension
from backend.request import GenerationRequest

DEEPEST = 3


def generate_within(
    outer: Course,
    extension: Extension,
    request: GenerationRequest,
    make: Callable[[Course], list[Image.Image]],
) -> list[Image.Image]:
    """The pictures of a request, by `make(course)`, for an extension that has its turn in `outer`: in the same job, and
    while the extension's clock stands still. Of the extensions those that the request names take part, but for this one
    and those that `outer` itself is made for.

    Raises `Stopped`, and `UserError` for a request that cannot be and for the fourth generation in one another.
    """
    if not isinstance(request, GenerationRequest):
        raise TypeError(f"generate wants a request, not a {type(request).__name__}")
    if len(outer.asking) >= DEEPEST:
        raise UserError(f"generations can stand in one another {DEEPEST} deep; this would be one more.")
    with outer.host.calls.pause():
        prepared = outer.host.prepare(request)
        return make(Course(outer.host, prepared, outer.job, asking=(*outer.asking, extension)))
