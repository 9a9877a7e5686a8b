"""Reads a LoRA or one of its kin from a file: which layers it changes, and how."""

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from backend.errors import ModelFileError
from backend.model_manager.header import read_header
from backend.model_manager.lora.deltas import (
    Decomposed,
    Difference,
    Generalized,
    Hadamard,
    Kronecker,
    LowRank,
    Patch,
    Rescaling,
    Rotation,
)
from backend.model_manager.lora.layer_names import Place, place, split_key

EMBEDDED = "bundle_emb."  # textual inversions that travel in a LoRA's file


@dataclass(frozen=True, kw_only=True)
class LoraLayer:
    """One patch: `name` is the layer's in the file, `parameter` is ``weight`` or ``bias``."""

    name: str
    place: Place
    parameter: str
    patch: Patch


@dataclass(frozen=True, kw_only=True, eq=False)
class Lora:
    """An adapter file, its tensors mapped. `title` says in words what it is made for; `sha256` is the whole file's;
    `unread` are the names in it that mean nothing to Atelier, `embeddings` those of textual inversions it carries."""

    name: str
    title: str
    path: Path
    size: int
    modified: int
    sha256: str
    layers: tuple[LoraLayer, ...]
    unread: tuple[str, ...]
    embeddings: tuple[str, ...]

    def check(self) -> None:
        """Raise `ModelFileError` if the file is no longer the one that was read: its mapped tensors are then lost."""
        if _stamp(self.path) != (self.size, self.modified):
            raise ModelFileError(f"{self.path.name} has changed since it was read; it has to be read again.")


class LoraShelf:
    """Files that were read, as long as they do not change; of the most recently used ones only. Used by one thread."""

    def __init__(self, most: int = 16):
        self._most = most
        self._kept: dict[Path, Lora] = {}

    def read(self, path: Path, *, title: str = "", sha256: str = "") -> Lora:
        """What `read_lora` gives, without reading again what has not changed."""
        lora = self._kept.pop(path, None)
        if lora is None or _stamp(path) != (lora.size, lora.modified):
            lora = read_lora(path, title=title, sha256=sha256)
        self._kept[path] = lora
        while len(self._kept) > self._most:
            del self._kept[next(iter(self._kept))]
        return lora


def read_lora(path: Path, *, title: str = "", sha256: str = "") -> Lora:
    """Read a safetensors file of LoRA, LoCon, LoHa, LoKr, DoRA, OFT, BOFT, IA3, GLoRA, full or norm modules, or of any
    mixture: what a layer is, is decided layer by layer.

    `title` says in words what the file is made for, if that is known; `sha256` spares the hashing. Raises
    `ModelFileError` if the file cannot be read, is damaged, holds numbers that are none, or no layer that can be used.
    """
    header = read_header(path)
    size, modified = _stamp(path)
    try:
        with safe_open(path, framework="pt") as file:
            # Not every key is a layer's; what is looked at is mapped, not copied.
            tensors = {key: file.get_tensor(key) for key in header.tensors if not key.startswith(EMBEDDED)}
        if not sha256:
            with path.open("rb") as stream:
                sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    except (SafetensorError, OSError) as error:
        raise ModelFileError(f"{path.name} cannot be read: {str(error).splitlines()[0]}.") from error
    grouped: dict[str, dict[str, Tensor]] = {}
    unread: list[str] = []
    for key, tensor in tensors.items():
        if (found := split_key(key)) is None:
            unread.append(key)
            continue
        if not tensor.numel() or not bool(tensor.float().sum().isfinite()):
            reason = "numbers that are not finite" if tensor.numel() else "nothing"
            raise ModelFileError(f"{path.name} is damaged: {key!r} holds {reason}.")
        grouped.setdefault(found[0], {})[found[1]] = tensor
    scales = _PeftScales(path, header.metadata)
    layers: list[LoraLayer] = []
    for name, parts in grouped.items():
        try:
            made = _patches(parts, partial(scales.scale, name))
        except (IndexError, RuntimeError, ValueError) as error:
            raise ModelFileError(f"{path.name} is damaged: the parts of {name!r} do not go together.") from error
        where = place(name)
        layers += [LoraLayer(name=name, place=where, parameter=key, patch=patch) for key, patch in made.items()]
        if not made:
            unread.append(name)
    if not layers:
        raise ModelFileError(f"{path.name} has no layer that Atelier can use: it is no LoRA or one of an unknown kind.")
    return Lora(
        name=path.stem,
        title=title or _described(layers),
        path=path,
        size=size,
        modified=modified,
        sha256=sha256,
        layers=tuple(layers),
        unread=tuple(unread),
        embeddings=tuple(dict.fromkeys(key.split(".")[1] for key in header.tensors if key.startswith(EMBEDDED))),
    )


def _stamp(path: Path) -> tuple[int, int]:
    try:
        stat = path.stat()
    except OSError as error:
        raise ModelFileError(f"{path.name} cannot be read: {error.strerror or error}.") from error
    return stat.st_size, stat.st_mtime_ns


def _described(layers: list[LoraLayer]) -> str:
    """What the file is made for, as far as its own shapes tell."""
    for layer in layers:
        if layer.place.layer.endswith(("attn2_to_k", "attn2_to_v")) and (width := layer.patch.sides[1]):
            return f"a LoRA for text encodings {width} wide"
    return "a LoRA of an unknown kind"


class _PeftScales:
    """What PEFT multiplies its layers with: it keeps that beside the tensors, not among them.

    diffusers writes PEFT's configuration into the file's metadata, by network; PEFT itself into the folder's
    ``adapter_config.json``. Without either the scale is 1, as diffusers takes it.
    """

    def __init__(self, path: Path, metadata: Mapping[str, str]):
        beside = path.with_name("adapter_config.json")
        text = metadata.get("lora_adapter_metadata", "")
        try:
            if not text and path.stem == "adapter_model" and beside.is_file():
                text = beside.read_text(encoding="utf-8")
            values = json.loads(text or "{}")
        except (OSError, ValueError):
            values = {}
        self._values: Mapping[str, Any] = values if isinstance(values, dict) else {}

    def scale(self, layer: str, rank: int) -> float:
        """The scale of a layer, which is of that rank."""
        network, _, rest = layer.partition(".")
        prefix, name = (f"{network}.", rest) if f"{network}.lora_alpha" in self._values else ("", layer)
        alpha: Any = self._values.get(f"{prefix}lora_alpha")
        patterns = self._values.get(f"{prefix}alpha_pattern")
        for pattern, value in patterns.items() if isinstance(patterns, dict) else ():
            if name == pattern or name.endswith(f".{pattern}"):
                alpha = value
        if isinstance(alpha, bool) or not isinstance(alpha, int | float):
            return 1.0
        stabilised = self._values.get(f"{prefix}use_rslora") is True
        return alpha / (math.sqrt(rank) if stabilised else rank)


Parts = Mapping[str, Tensor]
Scale = Callable[[int], float]


def _patches(parts: Parts, usual: Scale) -> dict[str, Patch]:
    """The patches of a layer's weight and bias; none where its parts make no adapter that is known.

    `usual` is the scale where the file has neither ``scale`` nor ``alpha``. Raises `ValueError` where shapes clash.
    """

    def scale(rank: int) -> float:
        if "scale" in parts:
            return parts["scale"].item()
        return parts["alpha"].item() / rank if "alpha" in parts else usual(rank)

    made: dict[str, Patch] = {}
    for needed, build in _KINDS:
        if needed <= parts.keys():
            made["weight"] = build(parts, scale)
            break
    if "weight" in made and "magnitude" in parts:
        made["weight"] = Decomposed(inner=made["weight"], magnitude=parts["magnitude"], by_row=True)
    elif "weight" in made and "dora_scale" in parts:
        # LyCORIS keeps a side of length 1 for what the norm runs over.
        by_row = parts["dora_scale"].shape[0] != 1
        made["weight"] = Decomposed(inner=made["weight"], magnitude=parts["dora_scale"], by_row=by_row)
    if "diff_b" in parts:
        made["bias"] = Difference(difference=parts["diff_b"])
    elif {"up_bias", "down"} <= parts.keys():
        made["bias"] = Difference(difference=parts["up_bias"], scale=scale(parts["down"].shape[0]))
    return made


def _require(condition: bool) -> None:
    if not condition:
        raise ValueError("shapes clash")


def _low_rank(parts: Parts, scale: Scale) -> LowRank:
    made = _product(parts["up"], parts["down"], parts.get("mid"))
    return replace(made, scale=scale(made.down.shape[0]))


def _product(up: Tensor, down: Tensor, mid: Tensor | None) -> LowRank:
    """up @ down, or around `mid`, if their shapes go together."""
    rank = down.shape[0]
    _require(down.ndim >= 2 and up.ndim >= 2 and up[0].numel() == rank)
    if mid is not None:
        _require(mid.ndim == 4 and mid.shape[:2] == (rank, rank) and down[0].numel() == down.shape[1])
    return LowRank(up=up, down=down, mid=mid)


def _factors(a: Tensor, b: Tensor, core: Tensor | None) -> tuple[int, int, int]:
    """Rank, rows and columns of a @ b, or of their Tucker product around `core`."""
    _require(a.ndim >= 2 and b.ndim >= 2)
    rank = b.shape[0]
    if core is None:
        _require(a[0].numel() == rank)
        return rank, a.shape[0], b[0].numel()
    _require(core.ndim == 4 and core.shape[:2] == (a.shape[0], rank) and a.ndim == b.ndim == 2)
    return rank, a.shape[1], b.shape[1] * core[0, 0].numel()


def _hadamard(parts: Parts, scale: Scale) -> Hadamard:
    w1_a, w1_b, w2_a, w2_b = (parts[f"hada_{factor}"] for factor in ("w1_a", "w1_b", "w2_a", "w2_b"))
    t1, t2 = parts.get("hada_t1"), parts.get("hada_t2")
    rank, *sides = _factors(w1_a, w1_b, t1)
    _require((t1 is None) == (t2 is None) and sides == [*_factors(w2_a, w2_b, t2)[1:]])
    return Hadamard(w1_a=w1_a, w1_b=w1_b, w2_a=w2_a, w2_b=w2_b, t1=t1, t2=t2, scale=scale(rank))


def _kronecker(parts: Parts, scale: Scale) -> Kronecker:
    both: list[tuple[Tensor, ...]] = []
    core = parts.get("lokr_t2")
    rank = 0
    for factor in ("lokr_w1", "lokr_w2"):
        if factor in parts:
            _require(parts[factor].ndim >= 2)
            both.append((parts[factor],))
        else:
            pair = parts[f"{factor}_a"], parts[f"{factor}_b"]
            rank = _factors(*pair, core if factor == "lokr_w2" else None)[0]
            both.append(pair)
    _require(all(part.ndim == 2 for part in both[0]) and (core is None or len(both[1]) == 2))
    # Two full factors have no rank, and then LyCORIS ignores alpha.
    return Kronecker(w1=both[0], w2=both[1], t2=core, scale=scale(rank) if rank or "scale" in parts else 1.0)


def _rotation(parts: Parts, scale: Scale) -> Rotation:
    del scale  # alpha is the limit here: LyCORIS and kohya multiply it by the number of rows
    blocks = parts["oft_blocks"]
    _require(blocks.ndim in (3, 4) and blocks.shape[-1] == blocks.shape[-2])
    rows = blocks.shape[-3] * blocks.shape[-2]
    if blocks.ndim == 4:
        _require(blocks.shape[-1] % 2 == 0 and blocks.shape[1] % 2 ** (blocks.shape[0] - 1) == 0)
    rescale = parts.get("rescale")
    _require(rescale is None or rescale.numel() == rows)
    limit = parts["alpha"].item() * rows if "alpha" in parts else 0.0
    return Rotation(blocks=blocks, limit=limit, rescale=rescale)


def _generalized(parts: Parts, scale: Scale) -> Generalized:
    a1, a2, b1, b2 = (parts[factor].flatten(1) for factor in ("a1", "a2", "b1", "b2"))
    if a1.shape[0] < a1.shape[1]:  # the first files had the factors the other way round
        a1, a2, b1, b2 = a2, a1, b2, b1
    rank = b2.shape[0]
    _require(a1.shape == a2.shape[::-1] and a1.shape[1] == rank)
    return Generalized(a=(a1, a2), b=_product(b1, b2, parts.get("bm")), scale=scale(rank))


def _rescaling(parts: Parts, scale: Scale) -> Rescaling:
    del scale  # IA3 has none
    return Rescaling(factor=parts["weight"], on_input=bool(parts["on_input"]))


def _difference(parts: Parts, scale: Scale) -> Difference:
    del scale  # a full difference has none
    return Difference(difference=parts["diff"])


_KINDS: tuple[tuple[frozenset[str], Callable[[Parts, Scale], Patch]], ...] = (
    (frozenset({"up", "down"}), _low_rank),
    (frozenset({"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"}), _hadamard),
    (frozenset({"lokr_w1", "lokr_w2"}), _kronecker),
    (frozenset({"lokr_w1", "lokr_w2_a", "lokr_w2_b"}), _kronecker),
    (frozenset({"lokr_w1_a", "lokr_w1_b", "lokr_w2"}), _kronecker),
    (frozenset({"lokr_w1_a", "lokr_w1_b", "lokr_w2_a", "lokr_w2_b"}), _kronecker),
    (frozenset({"oft_blocks"}), _rotation),
    (frozenset({"a1", "a2", "b1", "b2"}), _generalized),
    (frozenset({"weight", "on_input"}), _rescaling),
    (frozenset({"diff"}), _difference),
)
