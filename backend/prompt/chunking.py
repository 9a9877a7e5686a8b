"""A text in the pieces that a text encoder takes: chunks of 75 tokens, and how many of them there are.

Light enough to run while somebody types: nothing here needs torch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar, cast

from backend.prompt.attention import Fragment, fragments
from backend.prompt.composition import subprompts
from backend.prompt.editing import Passes, read_editing
from backend.prompt.grammar import words_in

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

CHUNK = 75  # tokens between start and end of text
COMMA = ",</w>"
COMMA_BACKTRACK = 20  # tokens
USUAL_STEPS = 20


class Sized(Protocol):
    """What takes the place of several tokens."""

    def __len__(self) -> int: ...


S = TypeVar("S", bound=Sized)
S_co = TypeVar("S_co", bound=Sized, covariant=True)


class Named(Protocol[S_co]):
    """Things that tokens may name."""

    def at(self, tokens: Sequence[int], position: int) -> tuple[S_co, int] | None:
        """What is named at a position, and by how many tokens."""
        ...


class Names(Generic[S]):
    """Things by their names, found by the tokens that these are made of; the longest name wins."""

    def __init__(self, things: Mapping[str, S], tokenizer: "CLIPTokenizer"):
        self._by_first: dict[int, list[tuple[list[int], S]]] = {}
        for name, thing in things.items():
            ids: list[int] = tokenizer(name, add_special_tokens=False).input_ids
            if ids:
                self._by_first.setdefault(ids[0], []).append((ids, thing))
        for candidates in self._by_first.values():
            candidates.sort(key=lambda candidate: len(candidate[0]), reverse=True)

    def at(self, tokens: Sequence[int], position: int) -> tuple[S, int] | None:
        """The thing whose name stands at `position`, and how many tokens the name takes."""
        for ids, thing in self._by_first.get(tokens[position], ()):
            if list(tokens[position : position + len(ids)]) == ids:
                return thing, len(ids)
        return None


@dataclass(frozen=True)
class Chunk(Generic[S]):
    """77 tokens: start, up to 75, then end of text to the end. `places` are where other vectors go instead; `weights`
    are how much each token counts, empty where all count alike."""

    tokens: list[int]
    places: tuple[tuple[int, S], ...] = ()
    weights: tuple[float, ...] = ()

    def padded(self, end: int, pad: int | None) -> list[int]:
        """The tokens, with `pad` after the first end of text."""
        if pad is None:
            return self.tokens
        filled = self.tokens.index(end) + 1
        return [*self.tokens[:filled], *[pad] * (len(self.tokens) - filled)]


def chunks(
    tokenizer: "CLIPTokenizer",
    text: str,
    named: Named[S] | None = None,
    *,
    comma_backtrack: int = COMMA_BACKTRACK,
    literal: bool = False,
) -> list[Chunk[S]]:
    """The text's tokens, at least one chunk; with `literal` its brackets are plain signs.

    What no longer fits moves on to the next chunk together with what follows the last comma, if that is at most
    `comma_backtrack` tokens back. What tokens of `named` take the place of is never torn apart.
    """
    return _packed(tokenizer, text, named, comma_backtrack, literal=literal).done


def count_tokens(
    tokenizer: "CLIPTokenizer",
    prompt: str,
    named: Named[Sized] | None = None,
    *,
    negative: bool = False,
    passes: Passes | None = None,
    comma_backtrack: int = COMMA_BACKTRACK,
    literal: bool = False,
) -> tuple[int, int]:
    """How many tokens a prompt uses, and how many the chunks that it takes have room for: (12, 75).

    It is that of the longest of its texts, where they change or are joined; chunks that are not full count as such.
    """
    every = texts_of(prompt, passes or Passes(total=USUAL_STEPS), negative=negative)
    packed = [_packed(tokenizer, text, named, comma_backtrack, literal=literal) for text in set(every)]
    used = max(each.used for each in packed)
    return used, CHUNK * max(1, -(-used // CHUNK))


def texts_of(prompt: str, passes: Passes, *, negative: bool = False) -> list[str]:
    """Every text that a prompt is at some time."""
    words = words_in(prompt, negative=negative)
    parts = [words.text] if negative else [part.text for part in subprompts(words)]
    return [text for part in parts for _, text in read_editing(part).texts(passes)]


@dataclass(kw_only=True)
class _Packer(Generic[S]):
    """Fills one chunk after the other. `used` counts the tokens, and the room in chunks that were closed early."""

    start: int
    end: int
    backtrack: int
    done: list[Chunk[S]] = field(default_factory=list)
    used: int = 0
    _tokens: list[int] = field(default_factory=list)
    _weights: list[float] = field(default_factory=list)
    _places: list[tuple[int, S]] = field(default_factory=list)
    _after_comma: int | None = None

    def make_room(self, *, for_comma: bool) -> None:
        """For one more token."""
        if len(self._tokens) < CHUNK:
            return
        kept = self._after_comma
        if for_comma or kept is None or len(self._tokens) - (kept - 1) > self.backtrack:
            self.close()
            return
        tokens, weights = self._tokens[kept:], self._weights[kept:]
        places = [(position - kept, thing) for position, thing in self._places if position >= kept]
        self._places = [(position, thing) for position, thing in self._places if position < kept]
        del self._tokens[kept:], self._weights[kept:]
        self.close()
        self._tokens, self._weights, self._places = tokens, weights, places
        if len(tokens) == CHUNK:
            self.close()

    def put(self, token: int, weight: float, *, comma: bool) -> None:
        self._tokens.append(token)
        self._weights.append(weight)
        if comma:
            self._after_comma = len(self._tokens)

    def put_thing(self, thing: S, weight: float) -> None:
        if len(self._tokens) + len(thing) > CHUNK:
            self.close()
        self._places.append((len(self._tokens), thing))
        self._tokens += [0] * len(thing)  # whatever stands here is replaced
        self._weights += [weight] * len(thing)

    def close(self, *, last: bool = False) -> None:
        """End this chunk and begin the next."""
        self.used += len(self._tokens) if last else CHUNK
        room = CHUNK - len(self._tokens)
        weights = () if all(weight == 1 for weight in self._weights) else (1.0, *self._weights, *[1.0] * (room + 1))
        self.done.append(
            Chunk(
                tokens=[self.start, *self._tokens, *[self.end] * (room + 1)],
                places=tuple((1 + position, thing) for position, thing in self._places),
                weights=weights,
            )
        )
        self._tokens, self._weights, self._places, self._after_comma = [], [], [], None

    def finish(self) -> None:
        if self._tokens or not self.done:
            self.close(last=True)


def _packed(
    tokenizer: "CLIPTokenizer", text: str, named: Named[S] | None, backtrack: int, *, literal: bool
) -> _Packer[S]:
    parts = [Fragment(text)] if literal else fragments(text)
    # Typed for any special token of any tokenizer; these two are always there, and numbers.
    start, end = cast("int", tokenizer.bos_token_id), cast("int", tokenizer.eos_token_id)
    comma = tokenizer.convert_tokens_to_ids(COMMA)
    packer: _Packer[S] = _Packer(start=start, end=end, backtrack=backtrack)
    rows: list[list[int]] = tokenizer(
        [part.text for part in parts], add_special_tokens=False, truncation=False, verbose=False
    ).input_ids
    for part, tokens in zip(parts, rows, strict=True):
        if part.is_break:
            packer.close()
            continue
        position = 0
        while position < len(tokens):
            token = tokens[position]
            packer.make_room(for_comma=token == comma)
            found = named.at(tokens, position) if named else None
            if found is None:
                packer.put(token, part.weight, comma=token == comma)
            else:
                packer.put_thing(found[0], part.weight)
            position += 1 if found is None else found[1]
    packer.finish()
    return packer
