"""A prompt looked over while it is typed: how many tokens it uses, and what is wrong in it.

Light enough for that: of the disk only the headers of embeddings that are named are read, what models there are is
what is known, and nothing here needs torch.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from backend.errors import ModelFileError
from backend.model_manager.catalog import Catalog
from backend.model_manager.header import read_header
from backend.model_manager.identity import Kind
from backend.model_manager.inventory.record import ModelRecord, misfit
from backend.prompt.chunking import CHUNK, COMMA_BACKTRACK, Names, count_tokens
from backend.prompt.grammar import Problem, read_prompt, uncommented
from backend.prompt.loras import unknown_loras
from backend.prompt.passage import Passage
from backend.prompt.problems import MOST_PROBLEMS, problems_in

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

# ComfyUI's way to name an embedding.
_COMFY = re.compile(r"\bembedding:([^\s,:()\[\]|]+)")


@dataclass(frozen=True, kw_only=True)
class Proof:
    """What was found in a prompt: `tokens` of the `room` that its chunks have, and its `problems` from the first on."""

    tokens: int
    room: int
    problems: tuple[Problem, ...]


def proofread(
    prompt: str,
    *,
    negative: bool,
    tokenizer: "CLIPTokenizer",
    catalog: Catalog,
    checkpoint: ModelRecord | None,
    styled: str | None = None,
    comma_backtrack: int = COMMA_BACKTRACK,
    literal: bool = False,
    plain: Callable[[str], tuple[str, Sequence[int]]] = lambda text: (text, ()),
) -> Proof:
    """Look a prompt over as it would be used with `checkpoint`; None where it is not known.

    What is counted is `styled`, the prompt with the words of its styles, where that is given; the rest is `chunks`'.
    `plain` reads a text in which words are left to chance: what it says before they are drawn, and where they are.
    """
    whole = prompt if styled is None else styled
    words, draws = plain(prompt)
    problems = list(problems_in(words, negative=negative, literal=literal))
    if not negative:
        problems += [*unknown_loras(words, catalog), *_misfits(words, catalog, checkpoint)]
    # What is drawn in the middle of a fault may mend it.
    problems = [each for each in problems if not any(each.start <= draw < each.end for draw in draws)]
    passage = uncommented(Passage.of(words))
    lengths: dict[str, range] = {}
    for record in _embeddings_in(uncommented(Passage.of(whole)).text, catalog):
        count = 0 if record.problem else _vectors(record)
        said = _against(record, count, checkpoint)
        if said:
            problems += _where(record.path.stem, said, passage)
        else:
            lengths[record.path.stem] = range(count)
    problems += _of_comfy(passage)
    tokens, room = count_tokens(
        tokenizer,
        whole,
        Names(lengths, tokenizer),
        negative=negative,
        comma_backtrack=comma_backtrack,
        literal=literal,
    )
    ordered = sorted(problems, key=lambda problem: (problem.start, problem.end))
    return Proof(tokens=tokens, room=room, problems=tuple(ordered[:MOST_PROBLEMS]))


def _misfits(prompt: str, catalog: Catalog, checkpoint: ModelRecord | None) -> Iterator[Problem]:
    """The tokens of LoRAs that are there and can be used, but not with this checkpoint."""
    if checkpoint is None:
        return
    records: dict[str, ModelRecord | None] = {}
    for token in read_prompt(prompt).loras:
        if token.name not in records:
            try:
                records[token.name] = catalog.find(token.name, Kind.LORA, look=False)
            except ModelFileError:
                records[token.name] = None  # `unknown_loras` has said so
        record = records[token.name]
        if record and not record.identity.fits(checkpoint.identity):
            yield Problem(message=misfit(record, checkpoint), start=token.start, end=token.end)


def _embeddings_in(words: str, catalog: Catalog) -> list[ModelRecord]:
    """The embeddings that words may name, one for a name: the first that can be used, if there is one."""
    standing = " ".join(words.casefold().split())
    found: dict[str, ModelRecord] = {}
    for record in catalog.records(Kind.EMBEDDING, look=False):
        name = record.path.stem
        if " ".join(name.casefold().split()) in standing and (name not in found or found[name].problem):
            found[name] = record
    return list(found.values())


def _vectors(record: ModelRecord) -> int:
    """How many tokens an embedding takes the place of; 0 where its file is gone or another one now."""
    try:
        tensors = read_header(record.path).tensors
    except ModelFileError:
        return 0
    shape = tensors["emb_params" if "emb_params" in tensors else min(tensors)].shape
    return shape[0] if len(shape) > 1 else 1


def _against(record: ModelRecord, count: int, checkpoint: ModelRecord | None) -> str:
    """Why an embedding stays what its name means as ordinary words; empty where it does not."""
    name = record.path.stem
    if record.problem:
        return f"The embedding {name} cannot be used: {record.problem}"
    if checkpoint and not record.identity.fits(checkpoint.identity):
        return misfit(record, checkpoint)
    if not 1 <= count <= CHUNK:
        return f"The embedding {name} has {count} vectors; 1 to {CHUNK} fit into a prompt."
    return ""


def _where(name: str, message: str, passage: Passage) -> Iterator[Problem]:
    """Where a name stands by itself, the message at each place."""
    words = r"\s+".join(re.escape(word) for word in name.split())
    for found in re.finditer(rf"(?<!\w){words}(?!\w)", passage.text, re.IGNORECASE):
        start, end = passage.span(*found.span())
        yield Problem(message=message, start=start, end=end)


def _of_comfy(passage: Passage) -> Iterator[Problem]:
    for found in _COMFY.finditer(passage.text):
        start, end = passage.span(*found.span())
        said = f"An embedding is named by its word alone: write {found[1]} in place of {found[0]}."
        yield Problem(message=said, start=start, end=end)
