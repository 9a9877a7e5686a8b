"""Headers without tensors, folded to a readable size: siblings that are alike are written once.

``{"blocks": {"0,1": {"weight": "4,4"}}}`` are two tensors of 4 x 4, ``blocks.0.weight`` and ``blocks.1.weight``. A leaf
is a shape, with its type before it where that is not the file's.
"""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from backend.model_manager.header import DTYPE_BITS, Header, TensorInfo

FOLDER = Path(__file__).resolve().parent


def fold(tensors: dict[str, str]) -> dict[str, Any]:
    """A tree of the names' parts."""
    tree: dict[str, Any] = {}
    for name, leaf in tensors.items():
        *folders, last = name.split(".")
        node = tree
        for part in folders:
            node = node.setdefault(part, {})
        node[last] = leaf
    return _grouped(tree)


def _grouped(tree: dict[str, Any]) -> dict[str, Any]:
    groups: dict[str, tuple[list[str], Any]] = {}
    for name, node in tree.items():
        child = _grouped(node) if isinstance(node, dict) else node
        groups.setdefault(json.dumps(child), ([], child))[0].append(name)
    return {",".join(names): child for names, child in groups.values()}


def unfold(tree: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """The names and leaves of a folded tree."""
    found: dict[str, str] = {}
    for names, node in tree.items():
        for name in names.split(","):
            if isinstance(node, dict):
                found |= unfold(node, f"{prefix}{name}.")
            else:
                found[prefix + name] = node
    return found


def tensor_info(leaf: str, dtype: str) -> TensorInfo:
    """What a leaf says; `dtype` is the file's."""
    said, _, sides = leaf.rpartition(" ")
    shape = tuple(int(side) for side in sides.split(",") if side)
    kind = said or dtype
    return TensorInfo(kind, shape, math.prod(shape) * DTYPE_BITS[kind] // 8)


def stripped(name: str) -> Header:
    """The header kept as ``tests/headers/<name>.json``; one that says ``like`` is another with some tensors changed."""
    kept = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    dtype = kept["dtype"]
    tensors: dict[str, TensorInfo] = {}
    if "like" in kept:
        tensors |= stripped(kept["like"]).tensors
    tensors |= {key: tensor_info(leaf, dtype) for key, leaf in unfold(kept["tensors"]).items()}
    return Header(tensors, kept.get("metadata", {}))


def shrunk(header: Header, side: int = 4) -> dict[str, np.ndarray]:
    """Zeros under the same names: only the first convolution's channels keep their number."""
    firsts = ("input_blocks.0.0.weight", "conv_in.weight")
    return {
        key: np.zeros(
            [
                length if place == 1 and key.endswith(firsts) else min(length, side)
                for place, length in enumerate(info.shape)
            ],
            np.float16,
        )
        for key, info in header.tensors.items()
    }
