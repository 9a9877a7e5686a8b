"""What the words that are being typed into a prompt may become: LoRAs, embeddings, wildcards and styles."""

import re
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from backend.errors import ModelFileError
from backend.model_manager.catalog import Catalog
from backend.model_manager.identity import Kind
from backend.model_manager.inventory.overview import Overview, Shown
from backend.model_manager.inventory.record import ModelRecord
from backend.name_search import BEGINS_A_WORD, EXACT, NameSearch
from backend.server.model_cards import cards
from backend.styles import Style

MOST = 24
LONGEST_NAME = 6  # words of a name that are tried, from the last one back
FEWEST_SIGNS = 2  # of a name without a sign before it

Sign = Literal["<", "__", ""]
What = Literal["lora", "embedding", "wildcard", "style"]


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """A row of the list: its `label`, a quiet `note`, and the `text` that takes the place of what was typed.

    `words` are a LoRA's trigger words; `fits` says whether it goes with the checkpoint, `rank` how well its name fits
    what was typed (`name_search`). A style goes into both prompts by its label.
    """

    what: What
    label: str
    text: str
    note: str = ""
    words: str = ""
    fits: bool = True
    rank: int = EXACT


@dataclass(frozen=True, kw_only=True)
class _Models:
    """The models of one kind that can be used, as of one version of the list."""

    version: int
    rows: tuple[tuple[Suggestion, ModelRecord], ...]
    search: NameSearch


class Suggestions:
    """Everything that can be suggested, looked up anew where it has changed. Safe to use from any thread."""

    def __init__(
        self,
        *,
        overview: Overview,
        catalog: Catalog,
        wildcards: Callable[[], Iterable[str]],
        styles: Callable[[], Iterable[Style]],
    ):
        """`wildcards` gives their names without the underscores, in order."""
        self._overview = overview
        self._catalog = catalog
        self._wildcards = wildcards
        self._styles = styles
        self._lock = threading.Lock()
        self._models: dict[What, _Models] = {}

    def find(self, sign: Sign, before: str, *, checkpoint: str, negative: bool) -> tuple[str, list[Suggestion]]:
        """The end of `before`, which is what was typed, that something is called by, and the rows for it.

        After ``<`` these are LoRAs, and none in a negative prompt; after ``__`` wildcards; with nothing typed behind
        these signs the first ones there are. Without a sign it is as much of the end as there is anything for.
        """
        if sign == "__":
            return before, list(_wildcards_for(before, self._wildcards()))
        if sign == "<":
            name = re.sub(r"^\s*(lora|lyco):", "", before)
            rows = () if negative else (row for _, row in self._of_models("lora", name, checkpoint))
            return before, sorted(rows, key=lambda row: not row.fits)
        for word in [found.start() for found in re.finditer(r"\S+", before)][-LONGEST_NAME:]:
            typed = before[word:]
            rows = self._for_words(typed, checkpoint, negative=negative) if len(typed) >= FEWEST_SIGNS else []
            if rows:
                return typed, rows
        return "", []

    def _for_words(self, typed: str, checkpoint: str, *, negative: bool) -> list[Suggestion]:
        """What is no tag has to begin so, or a word of it: it is not to be in the way."""
        kinds: tuple[What, ...] = ("embedding",) if negative else ("embedding", "lora")
        named = [each for kind in kinds for each in self._of_models(kind, typed, checkpoint)]
        styles = list(self._styles())
        for hit in NameSearch((style.name, k) for k, style in enumerate(styles)).find(typed, most=MOST):
            style = styles[hit.what]
            row = Suggestion(what="style", label=style.name, text="", note=style.prompt or style.negative_prompt)
            named.append((hit.rank, row))
        rows = [replace(row, rank=rank) for rank, row in named if rank <= BEGINS_A_WORD]
        return sorted(rows, key=lambda row: (not row.fits, row.rank))[:MOST]

    def _of_models(self, kind: What, typed: str, checkpoint: str) -> Iterator[tuple[int, Suggestion]]:
        """LoRAs or embeddings with how well they fit what was typed; the first ones where that is nothing."""
        models = self._current(kind)
        found = [(hit.rank, hit.what) for hit in models.search.find(typed, most=MOST)]
        if not typed.strip():
            found = [(EXACT, k) for k in range(min(MOST, len(models.rows)))]
        chosen = self._checkpoint(checkpoint) if found else None
        for rank, k in found:
            row, record = models.rows[k]
            yield rank, replace(row, fits=chosen is None or record.identity.fits(chosen.identity))

    def _checkpoint(self, name: str) -> ModelRecord | None:
        try:
            return self._catalog.find(name, look=False) if name else None
        except ModelFileError:
            return None

    def _current(self, kind: What) -> _Models:
        version, shown = self._overview.models()
        with self._lock:
            if kind not in self._models or self._models[kind].version != version:
                self._models[kind] = _of_kind(kind, version, shown)
            return self._models[kind]


def _of_kind(kind: What, version: int, shown: Sequence[Shown]) -> _Models:
    usable = [each for each in shown if each.record.kind is Kind(kind) and not each.record.problem]
    rows: list[tuple[Suggestion, ModelRecord]] = []
    names: list[tuple[str, int]] = []
    for k, (each, card) in enumerate(zip(usable, cards(usable, local=False), strict=True)):
        token, trigger = card["token"] or card["label"], (card["trigger"] or "").strip()
        text = token if kind == "embedding" else f"<lora:{token}:{card['weight'] or 1:g}>"
        note = " · ".join(filter(None, (trigger, card["base"])))
        words = trigger if kind == "lora" else ""
        rows.append((Suggestion(what=kind, label=token, text=text, note=note, words=words), each.record))
        names += [(name, k) for name in dict.fromkeys((card["label"], each.record.name, each.record.alias)) if name]
    return _Models(version=version, rows=tuple(rows), search=NameSearch(names))


def _wildcards_for(typed: str, names: Iterable[str]) -> Iterator[Suggestion]:
    every = list(names)
    found = every[:MOST]
    if typed:
        found = [
            every[hit.what] for hit in NameSearch((name, k) for k, name in enumerate(every)).find(typed, most=MOST)
        ]
    for name in found:
        yield Suggestion(what="wildcard", label=name, text=f"__{name}__")
