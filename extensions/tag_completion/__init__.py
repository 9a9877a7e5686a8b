"""Tags from lists of one's own, offered while a prompt is typed: a route that finds them, and a script that asks it."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from backend.extension_api import APIRouter, BaseModel, ExtensionApi, Field, hook

from .tags import Tag, TagLists

FOLDER = "tags"
MOST = 24
LONGEST_TYPED = 200
LONGEST_NAME = 6  # words of a name that are tried, from the last one back
FEWEST_SIGNS = 2
UNITS = ((1_000_000, "M"), (1000, "k"))


class Typing(BaseModel):
    """What stands before the caret, since the last comma, bracket or line."""

    before: str = Field(default="", max_length=LONGEST_TYPED)


@hook
def register(api: ExtensionApi) -> None:
    """A route; the script is named in the manifest."""
    lists = TagLists(api.folders(FOLDER))
    router = APIRouter()

    @router.post("/find")
    def find(typing: Typing) -> dict[str, Any]:
        typed, rows = offered(lists, typing.before)
        return {"typed": typed, "rows": rows}

    api.routes(router, risk="read")


def offered(lists: TagLists, before: str) -> tuple[str, Sequence[dict[str, Any]]]:
    """As much of the end of `before` as there are tags for, and they as rows."""
    for typed in _endings(before):
        if rows := [_row(*found) for found in lists.find(typed, most=MOST)]:
            return typed, rows
    return "", ()


def _endings(before: str) -> Iterator[str]:
    for word in [found.start() for found in re.finditer(r"\S+", before)][-LONGEST_NAME:]:
        if len(before) - word >= FEWEST_SIGNS:
            yield before[word:]


def _row(tag: Tag, name: str, rank: int) -> dict[str, Any]:
    note = " · ".join(filter(None, (name if name != tag.name else "", _count(tag.count))))
    return {
        "what": "tag",
        "label": tag.name,
        "text": tag.text,
        "note": note,
        "type": tag.type,
        "fits": True,
        "rank": rank,
    }


def _count(count: int) -> str:
    """A number as one reads it in passing: 950, 30k, 4.3M; empty for none."""
    for unit, letter in UNITS:
        if count >= unit:
            return f"{count / unit:.1f}".removesuffix(".0") + letter
    return str(count or "")
