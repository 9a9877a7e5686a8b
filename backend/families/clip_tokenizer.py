"""CLIP's byte-pair tokenizer, built from the vocabulary file that open-clip-torch carries."""

import gzip
from functools import cache
from importlib.metadata import files

from transformers import CLIPTokenizer

VOCABULARY_SIZE = 49408


@cache
def clip_tokenizer() -> CLIPTokenizer:
    """The tokenizer that CLIP-L, OpenCLIP-H and OpenCLIP-bigG share: 49,408 tokens, lower-cased BPE.

    The data file is found through the installed package's list of files; open_clip itself is never imported.
    The order of the vocabulary is Radford et al. 2021's: bytes, bytes that end a word, merges, start and end.
    """
    listed = files("open_clip_torch") or []
    path = next(f.locate() for f in listed if f.name == "bpe_simple_vocab_16e6.txt.gz")
    with gzip.open(str(path), "rt", encoding="utf-8") as lines:
        merges = lines.read().split("\n")[1 : VOCABULARY_SIZE - 256 - 2 - 256 + 1]
    # Printable bytes stand for themselves; the others borrow code points from 256 upwards.
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    borrowed = [byte for byte in range(256) if byte not in printable]
    letters = [chr(byte) for byte in printable] + [chr(256 + n) for n in range(len(borrowed))]
    tokens = [*letters, *(letter + "</w>" for letter in letters), *("".join(merge.split()) for merge in merges)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    pairs = [(first, second) for first, second in (merge.split() for merge in merges)]
    # Annotated as texts, but handed on to tokenizers' BPE, which takes pairs.
    return CLIPTokenizer(vocab=vocabulary, merges=pairs, model_max_length=77)  # pyright: ignore[reportArgumentType]
