"""The prompt as a text with values in it: comments, and the networks that it puts on, like ``<lora:ink:0.8>``.

Where A1111 reads a token, so does this, and to the same values; where A1111 ignores a mistake, this says a sentence
and where in the text it is. What is left are words: `composition`, `editing` and `attention` read them, in this order.
"""

import math
import re
from dataclasses import dataclass

from backend.errors import InvalidRequest
from backend.prompt.passage import Passage
from backend.sampling.lookup import Table

_LINE_COMMENT = re.compile(r"(?:^|\n)#[^\n]*(?:\n|$)")
_COMMENT = re.compile(r"#[^\n]*(?:\n|$)")
TOKEN = re.compile(r"<(\w+):([^>]+)>")
_LORA = ("lora", "lyco")  # one and the same: A1111 had LyCORIS in an extension of its own once
_NAMED = ("te", "unet", "dyn")


@dataclass(frozen=True, kw_only=True)
class ExtraNetwork:
    """A kind of token that an extension brings; what it does when a sampling starts is `tables.tokens_in`'s."""

    name: str
    aliases: tuple[str, ...] = ()


# Those of extensions that are on.
EXTRA_NETWORKS: Table[ExtraNetwork] = Table("kind of token", reserved=(*_LORA, "hypernet"))


@dataclass(frozen=True, kw_only=True)
class LoraToken:
    """A LoRA in a prompt: its name as written, its strength on the text encoders and on the UNet, and how many of its
    ranks are used (None for all). It is written at ``text[start:end]`` of the prompt."""

    name: str
    text_encoder: float
    unet: float
    rank: int | None
    start: int
    end: int


@dataclass(frozen=True, kw_only=True)
class ExtraToken:
    """A token of a kind that an extension reads, with its arguments as written: ``<kind:argument:argument>`` at
    ``text[start:end]`` of the prompt."""

    kind: str
    arguments: tuple[str, ...]
    start: int
    end: int


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A mistake at ``text[start:end]`` of the prompt, in a sentence."""

    message: str
    start: int
    end: int


@dataclass(frozen=True, kw_only=True)
class ReadPrompt:
    """A prompt without its tokens and comments, and what the tokens say. `text` is what is left when all of them are
    cut out, also one with a problem; nothing else is changed in it."""

    text: str
    loras: tuple[LoraToken, ...]
    problems: tuple[Problem, ...]
    extras: tuple[ExtraToken, ...] = ()

    def check(self) -> None:
        """Raise `InvalidRequest` with the first problem, if there is one."""
        if self.problems:
            raise InvalidRequest(self.problems[0].message)


def read_prompt(prompt: str) -> ReadPrompt:
    """Find the tokens of a prompt: ``<lora:name>``, ``<lora:name:te>``, ``<lora:name:te:unet>``,
    ``<lora:name:te:unet:dyn>``, each value also by name (``te=0.5``), and ``lyco`` for ``lora``.

    The strength is 1 where none is given; that of the UNet is the text encoders' where only that is given.
    """
    loras: list[LoraToken] = []
    extras: list[ExtraToken] = []
    problems: list[Problem] = []
    passage = uncommented(Passage.of(prompt))
    for found in TOKEN.finditer(passage.text):
        start, end = passage.span(*found.span())
        if found[1] in EXTRA_NETWORKS:
            extras.append(ExtraToken(kind=found[1], arguments=tuple(found[2].split(":")), start=start, end=end))
            continue
        try:
            loras.append(_lora(found, start, end))
        except InvalidRequest as problem:
            problems.append(Problem(message=str(problem), start=start, end=end))
    return ReadPrompt(
        text=TOKEN.sub("", passage.text), loras=tuple(loras), problems=tuple(problems), extras=tuple(extras)
    )


def uncommented(prompt: Passage) -> Passage:
    """Without comments, which go from a ``#`` to the end of the line. As in AUTOMATIC1111 a line remains of each."""
    return prompt.replaced(_LINE_COMMENT, "\n").replaced(_COMMENT, "\n")


def words_in(prompt: str, *, negative: bool = False) -> Passage:
    """The words of a prompt: without comments, and without tokens, which a negative prompt has none of."""
    passage = uncommented(Passage.of(prompt))
    return passage if negative else passage.replaced(TOKEN, "")


def _lora(found: re.Match[str], start: int, end: int) -> LoraToken:
    kind, name, *values = found[1], *found[2].split(":")
    if kind == "hypernet":
        raise InvalidRequest(f"Hypernetworks are not supported: take {found[0]} out of the prompt.")
    if kind not in _LORA:
        EXTRA_NETWORKS.refuse_gone(kind)
        known = " and ".join((*_LORA, *EXTRA_NETWORKS))
        raise InvalidRequest(f"There is no network of the kind {kind!r} ({found[0]}); there are {known}.")
    if not name.strip():
        raise InvalidRequest(f"{found[0]} names no LoRA; write <{kind}:name:1>.")
    given: dict[str, str] = {}
    positional = [value for value in values if "=" not in value]
    if len(positional) > len(_NAMED):
        raise InvalidRequest(f"{found[0]} has {len(positional)} values; name, {', '.join(_NAMED)} are allowed.")
    given.update(zip(_NAMED, positional, strict=False))
    for value in values:
        key, equals, text = value.partition("=")
        if equals and key.strip() not in _NAMED:
            raise InvalidRequest(f"{found[0]} has a value called {key.strip()!r}; {', '.join(_NAMED)} are allowed.")
        if equals:
            given[key.strip()] = text
    text_encoder = _number(found[0], "te", given.get("te", "1"))
    unet = _number(found[0], "unet", given["unet"]) if "unet" in given else text_encoder
    rank = _rank(found[0], given["dyn"]) if "dyn" in given else None
    return LoraToken(name=name.strip(), text_encoder=text_encoder, unet=unet, rank=rank, start=start, end=end)


def _number(token: str, name: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InvalidRequest(f"{token}: {name} must be a number like 0.8, not {text!r}.")
    return number


def _rank(token: str, text: str) -> int:
    if not re.fullmatch(r"\s*[1-9][0-9]{0,5}\s*", text):
        raise InvalidRequest(f"{token}: dyn must be a whole number from 1, not {text!r}.")
    return int(text)
