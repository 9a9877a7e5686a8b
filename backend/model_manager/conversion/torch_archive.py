"""The files that `torch.save` writes, read as data: where each tensor lies in them, and nothing allocated for it.

Since PyTorch 1.6 such a file is a zip archive of uncompressed records, ``<name>/data.pkl`` and for each storage one
``<name>/data/<key>``. Before, it was five pickles in a row (a magic number, a version, the system's sizes, the object,
the storages' keys) followed by the length and the bytes of each storage. `torch/serialization.py` writes both.
"""

import math
import struct
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import pairwise
from mmap import mmap
from pathlib import Path
from typing import Any, NamedTuple

from backend.model_manager.container import Container, sniff
from backend.model_manager.conversion.inert_pickle import DamagedPickle, Global, InertUnpickler, Rule, fill
from backend.model_manager.conversion.tensor_file import OF_TORCH
from backend.model_manager.header import DTYPE_BITS, MOST_SIDES, MOST_TENSORS

LARGEST_PICKLE = 32 * 1024 * 1024  # bytes, without the tensors
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_VERSION = 1001
LEGACY_START = b"\x8a\x0a" + LEGACY_MAGIC.to_bytes(10, "little") + b"."
LOCAL_HEADER = struct.Struct("<4s22xHH")
ENCRYPTED = 0x1

_STORAGES = {
    "Double": "F64", "Float": "F32", "Half": "F16", "BFloat16": "BF16",
    "Long": "I64", "Int": "I32", "Short": "I16", "Char": "I8", "Byte": "U8", "Bool": "BOOL", "Untyped": "U8",
}  # fmt: skip

# What else people find under these names.
_OTHER_KINDS: Mapping[Container, str] = {
    "safetensors": "a safetensors file already",
    "gguf": "a GGUF file",
    "7z": "a 7z archive",
    "tar": "a tar archive",
    "hdf5": "an HDF5 file",
    "numpy": "a NumPy array",
    "lfs-pointer": "a pointer of Git LFS to the file, not the file",
    "html": "a web page",
}


class Span(NamedTuple):
    """Where bytes lie in a file."""

    begin: int
    size: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Storage:
    """A tensor's memory as the pickle describes it: `count` elements, the first of them number `skip` of its record."""

    key: str
    dtype: str
    count: int
    skip: int = 0

    @property
    def size(self) -> int:
        return self.count * DTYPE_BITS[self.dtype] // 8


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class StoredTensor:
    """A tensor that lies in the file: `strides` and `offset` are in elements of `dtype` (safetensors' word for it).

    Every index that shape and strides allow is inside of `storage`.
    """

    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int
    storage: Storage

    @property
    def reach(self) -> int:
        """How many elements of the storage, from `offset` on, the tensor's elements lie in."""
        return span_of(self.shape, self.strides)


@dataclass(frozen=True, kw_only=True)
class Archive:
    """What was saved: `root` holds dicts, lists, tuples, texts, numbers, `StoredTensor` and `Inert`. `spans` says where
    the bytes of each storage lie in the file; `foreign` are the names that stayed inert."""

    root: Any
    spans: Mapping[str, Span]
    foreign: frozenset[str]

    def position(self, tensor: StoredTensor) -> int:
        """The byte of the file at which the tensor's first element lies."""
        bytes_each = DTYPE_BITS[tensor.dtype] // 8
        skipped = tensor.storage.skip * DTYPE_BITS[tensor.storage.dtype] // 8
        return self.spans[tensor.storage.key].begin + skipped + tensor.offset * bytes_each


def is_zip(path: Path) -> bool:
    """Whether `torch.save` wrote the file as a zip archive; False for the legacy format.

    Raises `DamagedPickle` for every other kind, and for an archive that is compressed, encrypted or lies about where
    its records are. Raises `ModelFileError` if it cannot be read.
    """
    container = sniff(path)
    if container in _OTHER_KINDS:
        raise DamagedPickle(f"is {_OTHER_KINDS[container]}; only what torch.save wrote can be converted.")
    with path.open("rb") as file:
        if container in ("zip", "zip-pickle"):
            zip_records(file)
            return True
        if LEGACY_START not in file.read(64):
            raise DamagedPickle("is no file that torch.save wrote, so there is nothing in it to convert.")
    return False


def read_archive(path: Path, mapped: mmap) -> Archive:
    """Read what `torch.save` wrote to `path`; `mapped` is the whole file. Raises `DamagedPickle`."""
    if is_zip(path):
        return _read_zip(path, mapped)
    return _read_legacy(mapped)


def zip_records(file: Any) -> dict[str, Span]:
    """Where the records of an open zip archive lie, by their names (which are never used as paths).

    Raises `DamagedPickle` for one that is damaged, compressed, encrypted, or whose records overlap.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error, OSError) as error:
        raise DamagedPickle("is cut short or damaged: the table at its end cannot be read.") from error
    if len(entries) > 2 * MOST_TENSORS:
        raise DamagedPickle(f"is an archive of {len(entries):,} records; {2 * MOST_TENSORS:,} are allowed.")
    end = file.seek(0, 2)
    records: dict[str, Span] = {}
    for entry in entries:
        if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
            raise DamagedPickle("is a compressed archive, which torch.save never writes.")
        if entry.flag_bits & ENCRYPTED:
            raise DamagedPickle("is an encrypted archive, which torch.save never writes.")
        if entry.filename in records:
            raise DamagedPickle("is an archive with two records of one name.")
        file.seek(entry.header_offset)
        start = file.read(LOCAL_HEADER.size)
        if len(start) < LOCAL_HEADER.size or not start.startswith(b"PK\x03\x04"):
            raise DamagedPickle("is a damaged archive: a record is not where its table says.")
        _, name, extra = LOCAL_HEADER.unpack(start)
        records[entry.filename] = Span(entry.header_offset + LOCAL_HEADER.size + name + extra, entry.file_size)
    spans = sorted((span for span in records.values() if span.size), key=lambda span: span.begin)
    if any(a.begin + a.size > b.begin for a, b in pairwise([*spans, Span(end, 0)])):
        raise DamagedPickle("is a damaged archive: its records overlap or end after the file does.")
    return records


def _read_zip(path: Path, mapped: mmap) -> Archive:
    with path.open("rb") as file:
        records = zip_records(file)
    tops = [name.removesuffix("/data.pkl") for name in records if name.endswith("/data.pkl")]
    if len(tops) != 1:
        raise DamagedPickle("is a zip archive, but not one that torch.save wrote.")
    top = tops[0]
    if f"{top}/constants.pkl" in records:
        raise DamagedPickle("is a TorchScript program; only files of tensors can be converted.")
    order = records.get(f"{top}/byteorder", Span(0, 0))
    if order.size and mapped[order.begin : order.begin + min(order.size, 16)] != b"little":
        raise DamagedPickle("was saved on a machine with another byte order.")
    pickle = records[f"{top}/data.pkl"]
    if pickle.size > LARGEST_PICKLE:
        raise DamagedPickle(f"has a pickle of {pickle.size:,} bytes; {LARGEST_PICKLE:,} are allowed.")
    spans: dict[str, Span] = {}

    def storage(parts: tuple[Any, ...]) -> Storage:
        found = _storage(parts)
        record = records.get(f"{top}/data/{found.key}")
        if record is None or found.size > record.size:
            raise DamagedPickle(f"is damaged: it lacks the {found.size:,} bytes of tensor data {found.key[:40]!r}.")
        spans[found.key] = record
        return found

    stream = BytesIO(mapped[pickle.begin : pickle.begin + pickle.size])
    reader = InertUnpickler(stream, _rules(), storage)
    return Archive(root=reader.read(), spans=spans, foreign=frozenset(reader.foreign))


def _read_legacy(mapped: mmap) -> Archive:
    stream = BytesIO(mapped[:LARGEST_PICKLE])
    storages: dict[str, Storage] = {}

    def storage(parts: tuple[Any, ...]) -> Storage:
        found = _storage(parts)
        known = storages.setdefault(found.key, found)
        if (known.dtype, known.count) != (found.dtype, found.count):
            raise DamagedPickle(f"is damaged: it describes tensor data {found.key[:40]!r} in two ways.")
        return _view(found, parts)

    reader = InertUnpickler(stream, _rules(), storage)
    magic, version, system = reader.read(), reader.read(), reader.read()
    if magic != LEGACY_MAGIC or version != LEGACY_VERSION or not isinstance(system, dict):
        raise DamagedPickle("is no file that torch.save wrote.")
    if system.get("little_endian") is not True:
        raise DamagedPickle("was saved on a machine with another byte order.")
    root, keys = reader.read(), reader.read()
    if not isinstance(keys, list):
        raise DamagedPickle("is damaged: it has no list of its tensors.")
    spans: dict[str, Span] = {}
    position = stream.tell()
    for key in keys:
        if not isinstance(key, str) or key not in storages or key in spans:
            raise DamagedPickle("is damaged: its list of tensors is not that of its tensors.")
        length = mapped[position : position + 8]
        size = storages[key].size
        if len(length) < 8 or int.from_bytes(length, "little") != storages[key].count:
            raise DamagedPickle(f"is damaged: tensor data {key[:40]!r} has another length than it is said to have.")
        spans[key] = Span(position + 8, size)
        position += 8 + size
        if position > len(mapped):
            raise DamagedPickle(f"is cut short: tensor data {key[:40]!r} ends after the file does.")
    if storages.keys() - spans.keys():
        raise DamagedPickle("is damaged: some of its tensors have no data.")
    return Archive(root=root, spans=spans, foreign=frozenset(reader.foreign))


def _storage(parts: tuple[Any, ...]) -> Storage:
    """The persistent id of a storage: (``storage``, its class, its key, its device, its number of elements, ...)."""
    match parts:
        case ("storage", Global(name=name), str(key), _, int(count), *_) if 0 <= count < 2**63:
            module, _, kind = name.rpartition(".")
            dtype = _STORAGES.get(kind.removesuffix("Storage"))
            if dtype and module in ("torch", "torch.storage") and kind.endswith("Storage"):
                return Storage(key=key, dtype=dtype, count=count)
            raise DamagedPickle(f"holds tensors as {name[:80]}, a type that cannot be converted.")
    raise DamagedPickle("is damaged: a tensor of it names no data.")


def _view(storage: Storage, parts: tuple[Any, ...]) -> Storage:
    """Storages could once be views of others: (its own key, its first element in the other, its length)."""
    match parts[5:]:
        case () | (None, *_):
            return storage
        case ((_, int(skip), int(count)), *_) if skip >= 0 and count >= 0 and skip + count <= storage.count:
            return Storage(key=storage.key, dtype=storage.dtype, count=count, skip=skip)
    raise DamagedPickle("is damaged: a tensor lies outside of its data.")


def span_of(shape: Sequence[int], strides: Sequence[int]) -> int:
    """How many elements lie between the first and the last of a strided tensor, both included."""
    if 0 in shape:
        return 0
    return 1 + sum((side - 1) * stride for side, stride in zip(shape, strides, strict=True))


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, dtype: str) -> StoredTensor:
    numbers = (offset, *shape, *strides) if isinstance(shape, tuple) and isinstance(strides, tuple) else (None,)
    if (
        not isinstance(storage, Storage)
        or not all(isinstance(n, int) and 0 <= n < 2**63 for n in numbers)
        or len(shape) != len(strides)
        or len(shape) > MOST_SIDES
        or math.prod(shape) >= 2**63
    ):
        raise DamagedPickle("is damaged: a tensor of it has an impossible shape.")
    bits = DTYPE_BITS[dtype]
    if (offset + span_of(shape, strides)) * bits > storage.count * DTYPE_BITS[storage.dtype]:
        raise DamagedPickle("is damaged: a tensor of it reaches beyond its data.")
    return StoredTensor(dtype=dtype, shape=shape, strides=strides, offset=offset, storage=storage)


def _rebuild_tensor(arguments: tuple[Any, ...]) -> StoredTensor:
    match arguments:
        case (Storage() as storage, offset, shape, strides, *_):
            return _tensor(storage, offset, shape, strides, storage.dtype)
    raise DamagedPickle("is damaged: a tensor of it is not described.")


def _rebuild_tensor_of_type(arguments: tuple[Any, ...]) -> StoredTensor:
    """Types that have no storage class of their own, such as the 8-bit floats."""
    match arguments:
        case (storage, offset, shape, strides, _, _, Global(name=name), *_) if name.startswith("torch."):
            dtype = OF_TORCH.get(name.removeprefix("torch."))
            if dtype:
                return _tensor(storage, offset, shape, strides, dtype)
            raise DamagedPickle(f"holds a tensor of type {name[:80]}, which cannot be converted.")
    raise DamagedPickle("is damaged: a tensor of it is not described.")


def _ordered(arguments: tuple[Any, ...]) -> dict[Any, Any]:
    """An ordered dictionary; Python 2 gave it its items at once, as a list of pairs."""
    made: dict[Any, Any] = {}
    if arguments and isinstance(arguments[0], list):
        fill(made, (pair for pair in arguments[0] if isinstance(pair, list | tuple) and len(pair) == 2))
    return made


def _first(arguments: tuple[Any, ...]) -> Any:
    return arguments[0] if arguments else None


def _rules() -> dict[str, Rule]:
    rules: dict[str, Rule] = {
        "collections.OrderedDict": _ordered,
        "torch.Size": _first,
        "torch._utils._rebuild_tensor": _rebuild_tensor,
        "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
        "torch._utils._rebuild_tensor_v3": _rebuild_tensor_of_type,
        "torch._utils._rebuild_parameter": _first,
        "torch._utils._rebuild_parameter_with_state": _first,
    }

    def with_attributes(arguments: tuple[Any, ...]) -> Any:
        """A tensor to which somebody gave attributes: (how it is made, its class, with what, the attributes)."""
        match arguments:
            case (Global(name=name), _, tuple() as inner, *_) if name in rules:
                return rules[name](inner)
        raise DamagedPickle("is damaged: a tensor of it is not described.")

    # Entered last, so that it can stand for any of the others but never for itself.
    return {**rules, "torch._tensor._rebuild_from_type_v2": with_attributes}
