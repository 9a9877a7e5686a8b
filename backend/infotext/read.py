"""Reading an infotext, as tolerantly as can be: what any version or fork of AUTOMATIC1111 wrote, and what was made of
it by hand and by the sites it went through."""

import json
import re

from backend.infotext.keys import KNOWN_KEYS
from backend.infotext.values import NEGATIVE, Infotext

FEWEST_PAIRS = 3  # in a line of parameters: A1111's rule
MOST_FAILURES = 50  # that look like JSON and are none: each costs the length of the text
# Spaces and keys have bounds, so that no text takes longer than its length.
_KEY = r"\w[\w \-/.()+'&#]{0,80}?"
_AT_KEY = re.compile(rf"\s{{0,99}}({_KEY})\s?:[ \t]{{0,99}}")
# Where a value that is not quoted ends: before the next key, or before a bare word that is one.
_BARE = "|".join(sorted((re.escape(key) for key in KNOWN_KEYS), key=len, reverse=True))
_BOUNDARY = re.compile(rf"(?:,|\n)\s{{0,9}}(?={_KEY}\s?:)|,\s{{0,9}}(?=(?:{_BARE})\s?(?:,|$))")
_AT_BARE = re.compile(rf"\s{{0,99}}({_BARE})\s?(?:,|$)")
_END = re.compile(r"[ \t]{0,99}(?:,|$|\n)")
_PAIR_OF_A1111 = re.compile(r'\s{0,9}(\w[\w \-/]{1,99}):\s{0,9}("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')  # how A1111 counts
_JSON = json.JSONDecoder(strict=False)


def read_infotext(text: str) -> Infotext:
    """The values of an infotext. Never raises: what cannot be read as parameters is prompt, as in A1111.

    The line of parameters is the last that begins with ``Steps:`` and has three pairs, wherever it stands; else the
    last line, if A1111 would read it so and a key of it is known. A value may be JSON, or go on over several lines.
    """
    lines = text.strip().split("\n")
    start = _parameters_at(lines)
    prompt, negative, in_negative = [], [], False
    for line in lines[:start]:
        said = line.lstrip()
        if said.startswith(NEGATIVE):
            in_negative = True
            line = said.removeprefix(NEGATIVE).removeprefix(" ")
        (negative if in_negative else prompt).append(line)
    pairs, rest = _pairs("\n".join(lines[start:]))
    return Infotext(prompt="\n".join(prompt), negative_prompt="\n".join(negative), pairs=pairs, rest=rest)


def _parameters_at(lines: list[str]) -> int:
    for number in range(len(lines) - 1, -1, -1):
        if lines[number].lstrip().startswith("Steps:") and len(_pairs(lines[number])[0]) >= FEWEST_PAIRS:
            return number
    last = lines[-1]
    if last.startswith("Postprocess "):
        return len(lines) - 1
    as_a1111 = _PAIR_OF_A1111.findall(last)
    known = any(key in KNOWN_KEYS for key, _ in as_a1111)
    return len(lines) - (len(as_a1111) >= FEWEST_PAIRS and known and _AT_KEY.match(last) is not None)


def _pairs(text: str) -> tuple[tuple[tuple[str, str], ...], str]:
    """Every pair of a text of parameters, and what stands below it in further lines and is none."""
    found: list[tuple[str, str]] = []
    at = failed = 0
    while at < len(text):
        bare = _AT_BARE.match(text, at)
        if bare:
            found.append((bare[1], bare[1]))
            at = bare.end()
            continue
        key = _AT_KEY.match(text, at)
        if key is None:
            return tuple(found), text[at:].strip()
        at = key.end()
        in_json = None
        if text[at : at + 1] in ('"', "{", "[") and failed < MOST_FAILURES:
            in_json = _json(text, at)
            failed += in_json is None
        value, at, rest = in_json or _plain(text, at)
        found.append((key[1], value))
        if rest:
            return tuple(found), rest
    return tuple(found), ""


def _json(text: str, at: int) -> tuple[str, int, str] | None:
    """A value in JSON and where the next pair begins; nothing where it only begins like JSON."""
    try:
        value, end = _JSON.raw_decode(text, at)
    except (ValueError, RecursionError):
        return None
    after = _END.match(text, end)
    return (value if isinstance(value, str) else text[at:end], after.end(), "") if after else None


def _plain(text: str, at: int) -> tuple[str, int, str]:
    """Any other value, where the next pair begins, and what stands below the last one."""
    boundary = _BOUNDARY.search(text, at)
    if boundary:
        return text[at : boundary.start()].strip(), boundary.end(), ""
    # No key follows: a line break ends the last value.
    value, _, rest = text[at:].rstrip().rstrip(",").partition("\n")
    return value.strip(), len(text), rest.strip()
