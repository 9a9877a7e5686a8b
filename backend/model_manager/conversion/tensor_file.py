"""Safetensors files read and written piece by piece, so that memory need not hold what the disk does."""

import hashlib
import json
import os
import secrets
import shutil
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from errno import EDQUOT, EFBIG, ENOSPC
from pathlib import Path
from typing import Any, BinaryIO

from backend.errors import ModelFileError
from backend.files import PARTIAL, publish
from backend.model_manager.header import (
    DTYPE_BITS,
    LARGEST_HEADER,
    LARGEST_METADATA,
    LARGEST_NAMES,
    MOST_TENSORS,
    TensorInfo,
    read_header,
)

SUFFIX = ".safetensors"
PIECE = 16 * 1024 * 1024  # bytes
NO_ROOM = frozenset({ENOSPC, EDQUOT, EFBIG})
SPARE = 64 * 1024 * 1024  # bytes of a disk that we never take
# Safetensors' words for element types, and torch's.
TORCH_NAMES: Mapping[str, str] = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2",
    "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8",
    "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8", "BOOL": "bool",
}  # fmt: skip
OF_TORCH = {theirs: ours for ours, theirs in TORCH_NAMES.items()}
HASHED_SHARE = 0.3  # of the progress, where files are read for their sha256 before the new one is written

Buffer = bytes | bytearray | memoryview


@dataclass(frozen=True, kw_only=True)
class NewTensor:
    """A tensor to be written: `pieces()` gives the bytes of its elements, in order."""

    name: str
    info: TensorInfo
    pieces: Callable[[], Iterable[Buffer]]


class TensorReader:
    """A safetensors file whose tensors are read in pieces, by ordinary reads: a file that is cut short meanwhile is an
    error here, where a mapped one would end the process. To be used as a context."""

    def __init__(self, path: Path):
        """Raises `ModelFileError` where `read_header` does."""
        self.path = path
        self.header = read_header(path)
        self._file = path.open("rb", buffering=0)
        self._begun = self._stamp()

    def __enter__(self) -> "TensorReader":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read(self, name: str, begin: int, size: int) -> bytearray:
        """`size` bytes of a tensor, from byte `begin` on. Raises `ModelFileError` if they are not there."""
        data = bytearray(size)
        view, filled = memoryview(data), 0
        try:
            self._file.seek(self.header.offsets[name] + begin)
            while filled < len(data):
                got = self._file.readinto(view[filled:])
                if not got:
                    raise ModelFileError(f"{self.path.name} was cut short while it was read.")
                filled += got
        except OSError as error:
            raise ModelFileError(f"{self.path.name} cannot be read: {error.strerror or error}.") from error
        return data

    def check_unchanged(self) -> None:
        """Raises `ModelFileError` if the file was written to since it was opened."""
        if self._stamp() != self._begun:
            raise ModelFileError(f"{self.path.name} was changed while it was read; try again.")

    def _stamp(self) -> tuple[int, int]:
        stat = os.fstat(self._file.fileno())
        return stat.st_size, stat.st_mtime_ns


@contextmanager
def new_file(target: Path) -> Iterator[Path]:
    """An empty file with a temporary name beside `target`, to be filled with a safetensors file.

    When the context ends well it is checked and becomes `target`; however else it ends, it is removed. Never replaces:
    raises `ModelFileError` if `target` is there, before or after, or cannot be written.
    """
    if target.exists():
        raise ModelFileError(f"There is a file {target.name} already; choose another name.")
    partial = target.with_name(f".{secrets.token_hex(6)}{PARTIAL}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial.open("xb").close()
        yield partial
        read_header(partial)
        publish(partial, target)
    except FileExistsError as error:
        raise ModelFileError(f"There is a file {target.name} already; choose another name.") from error
    except OSError as error:
        raise ModelFileError(cannot_write(target, error)) from error
    finally:
        partial.unlink(missing_ok=True)


def cannot_write(target: Path, error: OSError) -> str:
    """The sentence for a file that could not be written."""
    if error.errno in NO_ROOM:
        return f"{target.name} cannot be written: there is no room left in {target.parent}."
    return f"{target.name} cannot be written: {error.strerror or error}."


def check_room(target: Path, size: int) -> None:
    """Raises `ModelFileError` if `size` bytes do not fit on the disk of `target`."""
    folder = next(parent for parent in target.absolute().parents if parent.exists())
    free = shutil.disk_usage(folder).free
    if size + SPARE > free:
        raise ModelFileError(
            f"There is no room for {target.name}: it needs {(size + SPARE) / 1e9:,.1f} GB in {folder}, "
            f"where {free / 1e9:,.1f} GB are free."
        )


def write_tensors(
    path: Path, tensors: Sequence[NewTensor], metadata: Mapping[str, str], wrote: Callable[[str, int], None]
) -> int:
    """Fill `path`, which is there, in one pass: first the header, then each tensor.

    `wrote(name, size)` is called after each piece of that many bytes, and may raise. Returns the number of bytes.
    Raises `ModelFileError` if the header were one that `read_header` refuses, `OSError` if the disk does.
    """
    # Wider elements first keeps every tensor at a multiple of its element's size, as readers that map files like it.
    tensors = sorted(tensors, key=lambda tensor: -DTYPE_BITS[tensor.info.dtype])
    start = header_bytes([(tensor.name, tensor.info) for tensor in tensors], metadata)
    with path.open("r+b", buffering=0) as file:
        _write(file, start)
        for tensor in tensors:
            written = 0
            for piece in tensor.pieces():
                size = memoryview(piece).nbytes
                _write(file, piece)
                written += size
                wrote(tensor.name, size)
            if written != tensor.info.size:
                raise ModelFileError(
                    f"{tensor.name!r} has {written:,} bytes where {tensor.info.size:,} were announced."
                )
        os.fsync(file.fileno())
        return file.tell()


def header_bytes(tensors: Sequence[tuple[str, TensorInfo]], metadata: Mapping[str, str]) -> bytes:
    """The beginning of a safetensors file with these tensors in this order. Raises `ModelFileError` if too long."""
    if len(tensors) > MOST_TENSORS:
        raise ModelFileError(f"The file would have {len(tensors):,} tensors; {MOST_TENSORS:,} are allowed.")
    if sum(len(name.encode()) for name, _ in tensors) > LARGEST_NAMES:
        raise ModelFileError(f"The names of the file's tensors would take more than {LARGEST_NAMES:,} bytes.")
    if sum(len(key) + len(value) for key, value in metadata.items()) > LARGEST_METADATA:
        raise ModelFileError(f"The file would carry more than {LARGEST_METADATA:,} bytes of metadata.")
    entries: dict[str, Any] = {"__metadata__": dict(metadata)}
    end = 0
    for name, info in tensors:
        if name in entries:
            raise ModelFileError(f"The file would have two entries called {name[:80]!r}.")
        entries[name] = {"dtype": info.dtype, "shape": list(info.shape), "data_offsets": [end, end + info.size]}
        end += info.size
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > LARGEST_HEADER:
        raise ModelFileError(f"The file's list of tensors would be longer than {LARGEST_HEADER:,} bytes.")
    return struct.pack("<Q", len(text)) + text


class Phases:
    """Counted bytes as progress from 0 to 1, phase after phase."""

    def __init__(self, tell: Callable[[float, str], None]):
        """`tell(share, doing)` is called after each step, and may raise."""
        self._tell = tell
        self._begin, self._end, self._total, self._done, self._doing = 0.0, 0.0, 1, 0, ""

    def phase(self, total: int, doing: str, end: float = 1.0) -> None:
        """From where the last phase ended to `end` it takes `total` bytes."""
        self._begin, self._end, self._total, self._done, self._doing = self._end, end, max(total, 1), 0, doing

    def advance(self, size: int) -> None:
        """So many bytes more are done."""
        self._done += size
        share = min(self._done / self._total, 1.0)
        self._tell(self._begin + (self._end - self._begin) * share, self._doing)


def sha256_of(path: Path, read: Callable[[int], None]) -> str:
    """The file's sha256 in hexadecimal; `read(size)` is called after each piece, and may raise. Raises `OSError`."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while piece := file.read(PIECE):
            digest.update(piece)
            read(len(piece))
    return digest.hexdigest()


def _write(file: BinaryIO | Any, data: Buffer) -> None:
    view = memoryview(data).cast("B")
    while view:
        view = view[file.write(view) :]
