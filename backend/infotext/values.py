"""An infotext as values, and the text that AUTOMATIC1111 would make of them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from backend.infotext.keys import JSON_KEYS, KNOWN_KEYS

NEGATIVE = "Negative prompt:"


@dataclass(frozen=True, kw_only=True)
class Infotext:
    """What a picture says of itself: its prompts, and every other value by its key, in order, each as text.

    A key may stand there twice; the later value counts. `rest` is what stands below the parameters and is none.
    """

    prompt: str = ""
    negative_prompt: str = ""
    pairs: tuple[tuple[str, str], ...] = ()
    rest: str = ""

    def get(self, *keys: str) -> str | None:
        """The value of the first of these keys that has one."""
        values = self.values
        return next((values[key] for key in keys if key in values), None)

    @property
    def values(self) -> Mapping[str, str]:
        """The pairs by their keys."""
        return dict(self.pairs)

    def json(self, key: str) -> Mapping[str, Any]:
        """The value of a key that is a JSON object; an empty one where it is none."""
        try:
            found = json.loads(self.get(key) or "")
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    def with_pairs(self, pairs: Mapping[str, object]) -> Self:
        """The same with further values, of which None is left out. One whose key is there takes its place."""
        merged = dict(self.pairs) | {key: str(value) for key, value in pairs.items() if value is not None}
        return replace(self, pairs=tuple(merged.items()))

    @property
    def text(self) -> str:
        """The ``parameters`` text: prompt, negative prompt, and all pairs in one line."""
        lines = [self.prompt]
        if self.negative_prompt:
            lines.append(f"{NEGATIVE} {self.negative_prompt}")
        if self.pairs:
            lines.append(", ".join(_pair(key, value) for key, value in self.pairs))
        if self.rest:
            lines.append(self.rest)
        return "\n".join(lines).strip()


def _pair(key: str, value: str) -> str:
    if key == value and key in KNOWN_KEYS:
        return key  # A1111 writes one word where both are the same; of keys nobody knows that could not be read back
    return f"{key}: {value if key in JSON_KEYS and _is_json(value) else quoted(value)}"


def quoted(value: object) -> str:
    """A value as it stands in an infotext: as JSON where it has a comma, a colon or a line break, as A1111 does, and
    where it would not be read back as it is."""
    text = str(value)
    safe = text == text.strip() and not (text.startswith('"') and text.endswith('"')) and "\r" not in text
    return text if safe and not any(mark in text for mark in ",:\n") else json.dumps(text, ensure_ascii=False)


def plain(value: float) -> str:
    """A number as Python writes the one that a slider of A1111's page gives: 7 for 7.0, else all digits it takes."""
    return str(int(value)) if float(value).is_integer() else str(float(value))


def objects(text: str) -> list[dict[str, Any]]:
    """The objects in a JSON list; none where it is no list."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return []
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return text[:1] in ("{", "[") and "\n" not in text
