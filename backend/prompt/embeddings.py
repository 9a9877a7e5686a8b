"""Textual inversion (Gal et al. 2022): words that a person has trained, as vectors in place of tokens."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import CLIPTokenizer

from backend.errors import ModelFileError
from backend.model_manager.header import read_header
from backend.prompt.chunking import CHUNK, Names

MOST_VECTORS = CHUNK


@dataclass(frozen=True, eq=False)
class TextualInversion:
    """A trained word: its `name`, which is what one writes for it, and for each text encoder its (vectors, width)."""

    name: str
    vectors: tuple[Tensor, ...]

    @property
    def widths(self) -> tuple[int, ...]:
        return tuple(vector.shape[1] for vector in self.vectors)

    @cached_property
    def digest(self) -> str:
        """The same for the same vectors."""
        found = hashlib.sha256()
        for vector in self.vectors:
            found.update(f"{vector.dtype}{tuple(vector.shape)}".encode())
            found.update(vector.contiguous().view(torch.uint8).numpy().tobytes())
        return found.hexdigest()

    def __len__(self) -> int:
        """How many tokens it takes the place of."""
        return len(self.vectors[0])


def read_inversion(path: Path) -> TextualInversion:
    """Read a safetensors file: ``emb_params``, a single tensor of any name, or SDXL's ``clip_l`` and ``clip_g``.

    The name is the file's without its suffix. Raises `ModelFileError` for anything else, and for more vectors than a
    chunk of a prompt has room for.
    """
    header = read_header(path)
    match sorted(header.tensors):
        case ["clip_g", "clip_l"]:
            keys = ["clip_l", "clip_g"]
        case [key]:
            keys = [key]
        case names:
            keys = [name for name in names if name == "emb_params"]
    shapes = [(1, *header.shape(key))[-2:] for key in keys if 1 <= len(header.shape(key)) <= 2]
    if not shapes or len(shapes) != len(keys) or len({shape[0] for shape in shapes}) != 1:
        raise ModelFileError(f"{path.name} is no textual inversion: it holds no list of vectors.")
    if not 1 <= shapes[0][0] <= MOST_VECTORS:
        raise ModelFileError(f"{path.name} has {shapes[0][0]} vectors; 1 to {MOST_VECTORS} fit into a prompt.")
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise ModelFileError(f"{path.name} cannot be read: {error}") from error
    return TextualInversion(
        path.stem, tuple(tensors[key].reshape(shape) for key, shape in zip(keys, shapes, strict=True))
    )


class Inversions:
    """The trained words that a checkpoint understands, found by the tokens that their names are made of."""

    def __init__(
        self,
        found: Iterable[TextualInversion],
        widths: Sequence[int],
        tokenizer: CLIPTokenizer,
        skipped: Mapping[str, str] | None = None,
    ):
        """`widths` are those of the checkpoint's text encoders. An inversion of other widths is left out, and stays
        what its name means as ordinary words; `skipped` has the sentence by name."""
        fitting: dict[str, TextualInversion] = {}
        skipped = dict(skipped or {})
        for inversion in found:
            if inversion.widths == tuple(widths):
                fitting[inversion.name] = inversion
            else:
                skipped[inversion.name] = (
                    f"The embedding {inversion.name} is for another kind of checkpoint: its vectors are "
                    f"{_in_words(inversion.widths)} wide, this one's are {_in_words(widths)}."
                )
        self._names = Names(fitting, tokenizer)
        self.skipped: Mapping[str, str] = MappingProxyType(skipped)

    def at(self, tokens: Sequence[int], position: int) -> tuple[TextualInversion, int] | None:
        """The inversion whose name stands at `position`, and how many tokens the name takes; the longest name wins."""
        return self._names.at(tokens, position)


def inversions_in(
    texts: Iterable[str], files: Iterable[Path], widths: Sequence[int], tokenizer: CLIPTokenizer
) -> Inversions:
    """The inversions that `texts` may name, of all there are: only these files are read, now, as they may be many.

    One that cannot be read is left out too, with its sentence.
    """
    words = " ".join(" ".join(texts).casefold().split())
    found: list[TextualInversion] = []
    skipped: dict[str, str] = {}
    for path in files:
        if " ".join(path.stem.casefold().split()) in words:
            try:
                found.append(read_inversion(path))
            except ModelFileError as error:
                skipped[path.stem] = str(error)
    return Inversions(found, widths, tokenizer, skipped)


def _in_words(widths: Sequence[int]) -> str:
    return " and ".join(str(width) for width in widths)


# Of one chunk: the positions at which an inversion's first vector goes.
Places = Sequence[tuple[int, TextualInversion]]


@contextmanager
def placed(text_encoder: nn.Module, number: int, chunks: Sequence[Places]) -> Iterator[None]:
    """Let the token embedding of `text_encoder`, the family's `number`-th, answer with the trained vectors where they
    belong, until the end of the `with`. Its table is not touched. `chunks` are those of the one call in between."""
    if not any(chunks):
        yield
        return

    def replaced(_module: nn.Module, _inputs: object, rows: Tensor) -> Tensor:
        rows = rows.clone()
        for row, places in zip(rows, chunks, strict=True):
            for position, inversion in places:
                row[position : position + len(inversion)] = inversion.vectors[number].to(row)
        return rows

    # transformers' method is wrapped in a way that hides its type.
    handle = text_encoder.get_input_embeddings().register_forward_hook(replaced)  # pyright: ignore
    try:
        yield
    finally:
        handle.remove()
