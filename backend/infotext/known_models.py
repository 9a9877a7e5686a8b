"""Finding the models that an infotext names among those that are here: by hash first, then by name."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from backend.errors import UserError
from backend.infotext.values import Infotext
from backend.model_manager.identity import Kind
from backend.prompt.grammar import read_prompt

_TITLE = re.compile(r"(.*?)\s*\[([0-9a-fA-F]{8,64})\]")
_SUFFIX = re.compile(r"\.(?:safetensors|ckpt|pt|pth|bin|gguf)$", re.IGNORECASE)
WORDS: Mapping[Kind, str] = {
    Kind.CHECKPOINT: "checkpoint",
    Kind.VAE: "VAE",
    Kind.LORA: "LoRA",
    Kind.EMBEDDING: "embedding",
    Kind.UPSCALER: "upscaler",
}


class Named(Protocol):
    """A model that is here."""

    @property
    def name(self) -> str: ...


class Models(Protocol):
    """What is asked of a catalog."""

    def find(self, name: str, kind: Kind = Kind.CHECKPOINT) -> Named:
        """The model of that name. Raises `UserError` if there is none, or none that can be used."""
        ...

    def with_hash(self, text: str, kind: Kind | None = None) -> Named | None:
        """The model whose hash begins so."""
        ...


@dataclass(frozen=True, kw_only=True)
class Missing:
    """A model that a picture was made with and that is not here: its kind in a word, and what is known of it."""

    kind: str
    name: str
    hash: str
    sentence: str


@dataclass(frozen=True, kw_only=True)
class Found:
    """A model that is here, by the name it has here. `certain` says that its hash is the one that was asked for, or
    that none was."""

    name: str
    certain: bool


def find_model(models: Models, kind: Kind, name: str, sha256: str = "") -> Found | Missing:
    """The model with this sha256, else that of this name, with or without suffix, folder and sha256 in brackets."""
    titled = _TITLE.fullmatch(name)
    if titled:
        name, sha256 = titled[1], sha256 or titled[2]
    by_hash = models.with_hash(sha256, kind) if sha256 else None
    if by_hash is not None:
        return Found(name=by_hash.name, certain=True)
    stem = _SUFFIX.sub("", name.replace("\\", "/"))
    problem = ""
    for each in dict.fromkeys((stem, stem.rpartition("/")[2])):
        if not each.strip():
            continue
        try:
            return Found(name=models.find(each, kind).name, certain=not sha256)
        except UserError as error:
            problem = problem or str(error)
    said = problem or f"There is no {WORDS[kind]} with the hash {sha256} here."
    return Missing(kind=WORDS[kind], name=name, hash=sha256, sentence=said)


class Search:
    """Looks for the models of one picture, and remembers which are missing and what is to be said of the others."""

    def __init__(self, models: Models):
        self.missing: list[Missing] = []
        self.remarks: list[str] = []
        self._models = models

    def knows(self, kind: Kind, name: str) -> bool:
        """Whether there is a model of that name."""
        return isinstance(find_model(self._models, kind, name), Found)

    def find(self, kind: Kind, name: str, sha256: str = "") -> str | None:
        """The name a model has here, if it is."""
        found = find_model(self._models, kind, name, sha256)
        if isinstance(found, Missing):
            self.missing.append(found)
            return None
        if not found.certain:
            self.remarks.append(
                f"{found.name} was found by its name, and not by the hash {sha256} of the one that was used."
            )
        return found.name

    def with_loras(self, prompt: str, hashes: Mapping[str, str]) -> str:
        """The prompt with LoRAs named as they are here, where a file has another name and the same hash."""
        for token in reversed(read_prompt(prompt).loras):
            sha256 = hashes.get(token.name, hashes.get(re.sub("[:,]", "", token.name), ""))
            found = self.find(Kind.LORA, token.name, sha256)
            if found is None or found.rpartition("/")[2] == token.name:
                continue
            by_name = find_model(self._models, Kind.LORA, token.name)  # it answers to more than its name
            if isinstance(by_name, Found) and by_name.name == found:
                continue
            said = prompt[token.start : token.end]
            prompt = prompt[: token.start] + said.replace(token.name, found, 1) + prompt[token.end :]
            self.remarks.append(f"The LoRA {token.name} is called {found} here.")
        return prompt


def named_hashes(infotext: Infotext, key: str, prefix: str) -> dict[str, str]:
    """The hashes of networks by name: of A1111's list under `key`, ``ink: 0c1f, fur: 7c6b``, and of Civitai's
    ``Hashes``, where names begin with `prefix`."""
    found = {}
    for name, sha256 in infotext.json("Hashes").items():
        if name.startswith(prefix) and isinstance(sha256, str):
            found[name.removeprefix(prefix)] = sha256
    for part in (infotext.get(key) or "").split(","):
        name, colon, sha256 = part.rpartition(":")
        if colon and name.strip():
            found[name.strip()] = sha256.strip()
    return found
