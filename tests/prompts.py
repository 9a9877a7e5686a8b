"""Prompts for Hypothesis: any text that is full of the signs that mean something, and values with a writer for them."""

import re
from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st

# As many as fit into a second; a slow machine is no fault, and nothing is left in the checkout.
SEARCH = settings(deadline=None, database=None, max_examples=100)

SIGNS = (
    "(",
    ")",
    "[",
    "]",
    ":",
    "|",
    "\\",
    "\n",
    " ",
    ",",
    "#",
    "<lora:",
    ">",
    " AND ",
    "BREAK",
    "0.5",
    ":1.3)",
    ":8]",
)
any_prompt = st.lists(st.one_of(st.sampled_from(SIGNS), st.text(max_size=6)), max_size=25).map("".join)
words = st.text(alphabet="ab é,.'-\n", min_size=1, max_size=8)
signs = st.text(alphabet="ab ()[]\\,", min_size=1, max_size=8)  # those that an escape makes plain


def escaped(text: str) -> str:
    """The text as words of a prompt that has brackets."""
    return re.sub(r"[()\[\]\\]", r"\\\g<0>", text)


@dataclass(frozen=True)
class Change:
    """Words that change: at a share of all steps, at a number of calls, or with every call."""

    options: tuple["tuple[str | Change, ...]", ...]
    when: str = ""

    def written(self) -> str:
        parts = [written(option) for option in self.options]
        return f"[{':'.join(parts)}:{self.when}]" if self.when else f"[{'|'.join(parts)}]"

    def said(self, call: int, steps: int) -> str:
        if not self.when:
            return said(self.options[(call - 1) % len(self.options)], call, steps)
        last = int(float(self.when) * steps) if "." in self.when else int(self.when)
        return said(self.options[call > last], call, steps)


def written(items: tuple[str | Change, ...]) -> str:
    return "".join(item if isinstance(item, str) else item.written() for item in items)


def said(items: tuple[str | Change, ...], call: int, steps: int) -> str:
    return "".join(item if isinstance(item, str) else item.said(call, steps) for item in items)


def _changes(items: st.SearchStrategy[tuple[str | Change, ...]]) -> st.SearchStrategy[tuple[str | Change, ...]]:
    whens = st.one_of(st.integers(0, 30).map(str), st.floats(0, 1).map(lambda share: f"{share:.3f}"))
    edits = st.builds(lambda a, b, when: Change((a, b), when), items, items, whens)
    turns = st.lists(items, min_size=2, max_size=4).map(lambda options: Change(tuple(options)))
    return st.lists(st.one_of(words, edits, turns), max_size=3).map(tuple)


changing = st.recursive(st.lists(words, max_size=2).map(tuple), _changes, max_leaves=8)
