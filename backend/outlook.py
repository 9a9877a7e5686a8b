"""How long the line is: what past jobs took, and from that when each one that waits will begin and end."""

import threading
from collections.abc import Iterable
from dataclasses import dataclass

from backend.any_request import Request
from backend.request import GenerationRequest

NEWEST = 0.3  # of the mean is the last job's: what is measured changes with the checkpoint and with what else runs


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """Where a job stands. `position` counts everybody's waiting jobs from 1, and is 0 for the one that runs; the times
    are in seconds from now, and None while nothing like it was measured."""

    position: int
    begins_in: float | None
    seconds_left: float | None


class Pace:
    """How fast jobs were of late. Safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rates: dict[type, float] = {}  # seconds for a unit of effort, of each kind of request

    def note(self, request: Request, seconds: float) -> None:
        """A job that made all of its pictures took so long."""
        rate = seconds / effort(request)
        with self._lock:
            before = self._rates.get(type(request), rate)
            self._rates[type(request)] = before + NEWEST * (rate - before)

    def seconds(self, request: Request) -> float | None:
        """How long a request will take as a whole, if any of its kind was measured."""
        rate = self._rates.get(type(request))
        return None if rate is None else rate * effort(request)


def effort(request: Request) -> float:
    """How much work a request is, in units that mean nothing outside its kind: of a generation the pixels of every
    step, of an upscale the pictures."""
    if not isinstance(request, GenerationRequest):
        return float(request.pictures)
    pixels = float(request.width * request.height * request.steps)
    if request.hires is not None:
        width, height = request.hires.target(request.width, request.height)
        pixels += width * height * (request.hires.steps or request.steps) * request.hires.denoising_strength
    return request.pictures * pixels


def outlooks(running: float | None, waiting: Iterable[Request], pace: Pace) -> list[Outlook]:
    """The outlook of each request of the line, in its order, where the one at work needs `running` seconds more."""
    found: list[Outlook] = []
    begins = running
    for position, request in enumerate(waiting, 1):
        needs = pace.seconds(request)
        ends = None if begins is None or needs is None else begins + needs
        found.append(Outlook(position=position, begins_in=begins, seconds_left=ends))
        begins = ends
    return found
