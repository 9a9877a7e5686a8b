"""What a safetensors file says it is, read without loading it."""

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backend.errors import ModelFileError

LARGEST_HEADER = 16 * 1024 * 1024  # bytes
LARGEST_METADATA = 1024 * 1024  # bytes
MOST_TENSORS = 50_000
DTYPE_BITS = {
    "F64": 64, "F32": 32, "F16": 16, "BF16": 16, "F8_E4M3": 8, "F8_E5M2": 8,
    "I64": 64, "I32": 32, "I16": 16, "I8": 8, "U64": 64, "U32": 32, "U16": 16, "U8": 8, "BOOL": 8,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor's entry: its element type in safetensors' words, its shape, and its size in bytes."""

    dtype: str
    shape: tuple[int, ...]
    size: int


@dataclass(frozen=True)
class Header:
    """A checked header: every size in it is true of the file."""

    tensors: Mapping[str, TensorInfo]
    metadata: Mapping[str, str]

    def shape(self, key: str) -> tuple[int, ...]:
        """The shape of a tensor; raises `KeyError` if there is none of that name."""
        return self.tensors[key].shape


def read_header(path: Path) -> Header:
    """Read and check the header of a safetensors file; nothing is allocated that the file could lie about.

    Raises `ModelFileError` with a sentence if the file is missing, empty, cut short, no safetensors file, or says
    of itself what is not so.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(8)
            if not start:
                raise ModelFileError(f"{path.name} is empty.")
            if len(start) < 8:
                raise ModelFileError(f"{path.name} is cut short: it has only {len(start)} bytes.")
            (length,) = struct.unpack("<Q", start)
            if length > LARGEST_HEADER or length < 2:
                raise ModelFileError(
                    f"{path.name} is no safetensors file: its header would be {length:,} bytes long "
                    f"({LARGEST_HEADER:,} are allowed)."
                )
            text = file.read(length)
    except OSError as error:
        raise ModelFileError(f"{path.name} cannot be read: {error.strerror or error}.") from error
    if len(text) < length:
        raise ModelFileError(f"{path.name} is cut short: its header ends after {len(text):,} of {length:,} bytes.")
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{path.name} is no safetensors file: its header is no JSON.") from error
    return _checked(path, entries, size - 8 - length)


def _checked(path: Path, entries: Any, data_size: int) -> Header:
    if not isinstance(entries, dict):
        raise ModelFileError(f"{path.name} is no safetensors file: its header is no object.")
    metadata = _metadata(path, entries.pop("__metadata__", {}))
    if len(entries) > MOST_TENSORS:
        raise ModelFileError(f"{path.name} has {len(entries):,} tensors; {MOST_TENSORS:,} are allowed.")
    tensors: dict[str, TensorInfo] = {}
    spans: list[tuple[int, int]] = []
    for name, entry in entries.items():
        info, span = _tensor(path, name, entry)
        tensors[name] = info
        spans.append(span)
    end = 0
    for begin, stop in sorted(spans):
        if begin != end:
            raise ModelFileError(f"{path.name} is damaged: its tensors overlap or leave gaps at byte {begin:,}.")
        end = stop
    if end != data_size:
        kind = "is cut short" if end > data_size else "has more data than it describes"
        raise ModelFileError(f"{path.name} {kind}: {data_size:,} bytes of data where the header says {end:,}.")
    return Header(tensors, metadata)


def _metadata(path: Path, metadata: Any) -> dict[str, str]:
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise ModelFileError(f"{path.name} is damaged: its metadata is not a list of texts.")
    if sum(len(k) + len(v) for k, v in metadata.items()) > LARGEST_METADATA:
        raise ModelFileError(f"{path.name} carries more than {LARGEST_METADATA:,} bytes of metadata.")
    return metadata


def _tensor(path: Path, name: str, entry: Any) -> tuple[TensorInfo, tuple[int, int]]:
    """One entry, and where its data lies. The sizes must follow from type and shape."""
    match entry:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [int(begin), int(end)]}:
            pass
        case _:
            raise ModelFileError(f"{path.name} is damaged: the entry of {name!r} is not a tensor's.")
    if dtype not in DTYPE_BITS:
        raise ModelFileError(f"{path.name} holds {name!r} as {dtype}, which is no known type.")
    if not all(isinstance(side, int) and side >= 0 for side in shape):
        raise ModelFileError(f"{path.name} is damaged: {name!r} has an impossible shape.")
    size = math.prod(shape) * DTYPE_BITS[dtype] // 8
    if begin < 0 or end - begin != size:
        raise ModelFileError(
            f"{path.name} is damaged: {name!r} takes {end - begin:,} bytes where its shape needs {size:,}."
        )
    return TensorInfo(dtype, tuple(shape), size), (begin, end)
