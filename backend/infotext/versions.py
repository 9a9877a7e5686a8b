"""Which program wrote an infotext, and what its version means for the values that are not written."""

import re

from backend.infotext.values import Infotext
from backend.infotext.write import PROGRAM

# A1111's own, as `git describe` gives it, and Forge's, which names A1111's behind its own.
_VERSION = re.compile(r"(?:f\d[\d.]*)?v?(\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?(?:-(\d{1,6}))?")
Version = tuple[int, int, int, int]

SCHEDULE_TYPE = (1, 9, 0, 0)  # the schedule is a value of its own from here on
REFINER_BY_TIMESTEP = (1, 8, 0, 0)
EXACT_NOISE_TABLE = (1, 7, 0, 225)
NEW_PROMPT_EDITING = (1, 6, 0, 0)


def version_of(infotext: Infotext) -> Version | None:
    """The version of A1111 behind an infotext: major, minor, patch, commits since. Nothing where none is named, or
    another program's."""
    found = _VERSION.match(infotext.get("Version") or "")
    if found is None:
        return None
    major, minor, patch, commits = (int(number or 0) for number in found.groups())
    return major, minor, patch, commits


def is_ours(infotext: Infotext) -> bool:
    """Whether Atelier wrote this."""
    return (infotext.get("Version") or "").startswith(PROGRAM)


def origin_of(infotext: Infotext) -> str:
    """The name of the program that wrote an infotext, as far as its values tell; empty for a mere text."""
    version = infotext.get("Version") or ""
    if is_ours(infotext):
        return PROGRAM
    if infotext.get("Civitai resources", "Civitai metadata"):
        return "Civitai"
    if infotext.get("App") == "SD.Next" or version == "Vlad":
        return "SD.Next"
    if re.match(r"f\d|neo|forge", version, re.IGNORECASE):
        return "Forge"
    for name in ("ComfyUI", "Fooocus", "InvokeAI"):
        if version.startswith(name):
            return name
    return "AUTOMATIC1111" if infotext.get("Steps") and len(infotext.pairs) >= 3 else ""
