"""What a safetensors file says it is, read without loading it.

The header is never handed to a general JSON parser: that would build whatever the text describes, and 16 MiB of
brackets describe a gigabyte of lists. It is read entry by entry instead, so that nothing nests deeper than an entry's
own shape, and what is kept stays below four times what was read. A header of the usual size and spelling in which
nothing is wrong, as nearly all are, is read at once by the same rules, which takes half the time; and where a table of
tensors has the very bytes of one that was found right, only the metadata are read.
"""

import hashlib
import json
import math
import os
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from operator import attrgetter
from pathlib import Path
from typing import BinaryIO, NoReturn

import numpy as np

from backend.errors import ModelFileError
from backend.model_manager.tensor_table import Offsets, Table, Tables, TensorInfo

__all__ = [
    "DTYPE_BITS", "LARGEST_HEADER", "LARGEST_VALUES", "MOST_TENSORS", "Header", "Table", "Tables", "TensorInfo",
    "read_header", "read_values",
]  # fmt: skip

LARGEST_HEADER = 16 * 1024 * 1024  # bytes
LARGEST_METADATA = 1024 * 1024  # characters
LARGEST_NAMES = 6 * 1024 * 1024  # bytes, of all tensors together
LARGEST_VALUES = 16 * 1024 * 1024  # bytes
VALUE_DTYPES = frozenset({"F32", "F16", "BF16"})  # of tensors whose values can be looked into
MOST_TENSORS = 50_000
MOST_SAYINGS = 10_000  # entries of metadata
MOST_SIDES = 8
LARGEST_AT_ONCE = 2 * 1024 * 1024  # bytes of a table that is read in one go, with some 20 MB in between
MOST_PADDING = 64  # bytes behind a table that make no difference to it
DTYPE_BITS = {
    "F64": 64, "F32": 32, "F16": 16, "BF16": 16, "C64": 64,
    "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "F6_E2M3": 6, "F6_E3M2": 6, "F4": 4,
    "I64": 64, "I32": 32, "I16": 16, "I8": 8, "U64": 64, "U32": 32, "U16": 16, "U8": 8, "BOOL": 8,
}  # fmt: skip

METADATA = "__metadata__"  # the one name that is no tensor's

_SPACES = b" \t\n\r"
_SPACE = rb"[%b]*+" % _SPACES
# Repetitions are bounded, so that a header which is all one text is not searched again and again.
_TEXT = rb'"((?:[^"\\\x00-\x1f]{1,1024}+|\\[^\x00-\x1f]){0,512}+)"'
_LONG_TEXT = rb'"((?:[^"\\\x00-\x1f]++|\\[^\x00-\x1f]){0,2000000}+)"'
_NUMBER = rb"(?:0|[1-9][0-9]{0,18})"
_SIDES = rb"((?:%b(?:%b,%b%b){0,7}+)?+)" % (_NUMBER, _SPACE, _SPACE, _NUMBER)
_NAME = re.compile(_SPACE + _TEXT + _SPACE + b":" + _SPACE)
# An entry as every writer of the format spells it, and then as JSON would also allow it.
_USUAL_ENTRY = re.compile(
    _SPACE.join(
        [
            *(b"", _TEXT, b":", rb"\{", rb'"dtype"', b":", rb'"([A-Z0-9_]{1,16})"', b","),
            *(rb'"shape"', b":", rb"\[", _SIDES, rb"\]", b","),
            *(rb'"data_offsets"', b":", rb"\[", b"(%b)" % _NUMBER, b",", b"(%b)" % _NUMBER, rb"\]", rb"\}", b"([,}])"),
        ]
    )
)
# The usual one without any spaces, as safetensors itself writes it: name, type with sides, begin, end, and what
# follows. What is captured and these signs are all that there is of an entry.
_BARE_ENTRY = re.compile(
    rb'"([^"\\\x00-\x1f]{1,1024}+)":\{"dtype":"([A-Z0-9_]{1,16}+","shape":\[[0-9,]{0,160}+)\],'
    rb'"data_offsets":\[(%b),(%b)\]\}([,}])' % (_NUMBER, _NUMBER)
)
_BARE_SIGNS = len(b'"":{"dtype":"],"data_offsets":[,]},')
_BARE_KIND = re.compile(rb'([A-Z0-9_]+)","shape":\[%b' % _SIDES)
_ANY_ENTRY = re.compile(_SPACE.join([b"", _TEXT, b":", rb"(\{[^{}]{0,1000}+\})", b"([,}])"]))
_SAYING = re.compile(_SPACE.join([b"", _TEXT, b":", _LONG_TEXT, b"([,}])"]))
_OPEN, _CLOSE = re.compile(_SPACE + rb"\{"), re.compile(_SPACE + rb"\}")
_AFTER, _END = re.compile(_SPACE + b"([,}])"), re.compile(_SPACE + rb"\Z")


@dataclass(frozen=True)
class Header:
    """A checked header: every size in it is true of the file. `offsets` say where in the file each tensor begins, in
    bytes from its start; a header that was put together from other places has none, and no `table` that others may
    share."""

    tensors: Mapping[str, TensorInfo]
    metadata: Mapping[str, str]
    offsets: Mapping[str, int] = field(default_factory=dict)
    table: Table | None = field(default=None, compare=False, repr=False)

    def shape(self, key: str) -> tuple[int, ...]:
        """The shape of a tensor; raises `KeyError` if there is none of that name."""
        return self.tensors[key].shape


def read_header(path: Path, *, tables: Tables | None = None) -> Header:
    """Read and check the header of a safetensors file; nothing is allocated that the file could lie about.

    `tables` are kept from file to file by whoever reads many. Raises `ModelFileError` with a sentence if the file is
    missing, empty, cut short, no safetensors file, or says of itself what is not so.
    """
    try:
        with path.open("rb") as file:
            text, size = _header_text(path, file)
    except OSError as error:
        raise ModelFileError(f"{path.name} cannot be read: {error.strerror or error}.") from error
    return _Reading(path, text, size - 8 - len(text)).header(tables or Tables())


def _header_text(path: Path, file: BinaryIO) -> tuple[bytes, int]:
    """The header's bytes, and how many the whole file has."""
    size = os.fstat(file.fileno()).st_size
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
    if length > size - 8:
        raise ModelFileError(f"{path.name} is cut short: its header ends after {size - 8:,} of {length:,} bytes.")
    text = file.read(length)
    if len(text) < length:
        raise ModelFileError(f"{path.name} is cut short: its header ends after {len(text):,} of {length:,} bytes.")
    return text, size


def read_values(path: Path, header: Header, key: str) -> np.ndarray:
    """The values of one small tensor as float32, in its shape; `header` must be the file's own.

    Raises `KeyError` if the header has no tensor of that name or does not know where it lies, and `ModelFileError` if
    the file has changed, or if the tensor is of another type than F32, F16, BF16 or larger than 16 MiB.
    """
    info, offset = header.tensors[key], header.offsets[key]
    if info.size > LARGEST_VALUES:
        raise ModelFileError(f"{path.name} holds {info.size:,} bytes as {key}; {LARGEST_VALUES:,} can be looked into.")
    try:
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read(info.size)
    except OSError as error:
        raise ModelFileError(f"{path.name} cannot be read: {error.strerror or error}.") from error
    if len(data) < info.size:
        raise ModelFileError(f"{path.name} has been cut short since it was looked into.")
    match info.dtype:
        case "F32" | "F16":
            values = np.frombuffer(data, "<f4" if info.dtype == "F32" else "<f2").astype(np.float32)
        case "BF16":  # the upper half of a float32
            values = (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
        case _:
            raise ModelFileError(f"{path.name} holds {key} as {info.dtype}, not as F32, F16 or BF16.")
    return values.reshape(info.shape)


class _Reading:
    """One header on its way from text to values."""

    def __init__(self, path: Path, text: bytes, data_size: int):
        self._path = path
        self._text = text
        self._data_size = data_size
        self._tensors: dict[str, TensorInfo] = {}
        self._metadata: dict[str, str] | None = None
        self._spans: list[tuple[int, int]] = []
        # Many tensors have one type and one shape, so these are checked, and kept, once.
        self._seen: dict[tuple[bytes, bytes], TensorInfo] = {}
        self._names_size = 0

    def header(self, tables: Tables) -> Header:
        position, separator = self._open(0), b","
        if empty := _CLOSE.match(self._text, position):
            position, separator = empty.end(), b"}"
        # Every writer puts the metadata first, and what follows is a table that others may have too.
        elif (named := _NAME.match(self._text, position)) and named[1] == METADATA.encode():
            position, separator = self._read_metadata(named.end())
        metadata = self._metadata
        entries = memoryview(self._text)[position : len(self._text) - self._padding()]
        digest = hashlib.sha256(separator)
        digest.update(entries)
        key = digest.digest(), self._data_size
        table = tables.find(key)
        if table is None:
            at_once = self._table_at_once(entries) if separator == b"," else None
            table = at_once or self._table(position, separator)
            if self._metadata is metadata:
                tables.keep(key, table)
        offsets = Offsets(table.begins, 8 + len(self._text))
        return Header(table.tensors, self._metadata or {}, offsets, table)

    def _padding(self) -> int:
        """How many spaces stand behind the table: as many as the data's alignment needs. More than a few are counted
        to the table."""
        end = self._text[-MOST_PADDING:]
        return len(end) - len(end.rstrip(_SPACES))

    def _table_at_once(self, entries: memoryview) -> Table | None:
        """The table, if it is spelled and ordered as safetensors does and all of it is right; else nothing, for then
        it is read entry by entry to find out what else it is. All is done to many entries at a time: a folder may hold
        thousands of tables of thousands of entries."""
        if len(entries) > LARGEST_AT_ONCE:
            return None
        found = _BARE_ENTRY.findall(entries)
        if not 0 < len(found) <= MOST_TENSORS:
            return None
        names, kinds, begins, ends, separators = zip(*found, strict=True)
        # What the search went over, between entries or after them, is missing from this.
        spelled = sum(len(b"".join(part)) for part in (names, kinds, begins, ends)) + _BARE_SIGNS * len(found)
        if spelled != len(entries) or b"".join(separators) != b"," * (len(found) - 1) + b"}":
            return None
        infos = self._infos(kinds)
        if infos is None:
            return None
        # The data are covered once and without gaps if each tensor ends where the sizes until then say.
        stops = list(accumulate(map(attrgetter("size"), infos)))
        if list(map(int, ends)) != stops or begins != (b"0", *ends[:-1]) or stops[-1] != self._data_size:
            return None
        try:
            words = b"\n".join(names).decode().split("\n")  # no name has a line feed
        except ValueError:
            return None
        tensors = dict(zip(words, infos, strict=True))
        if len(tensors) < len(words) or METADATA in tensors:
            return None
        return Table(tensors=tensors, begins=dict(zip(words, (0, *stops), strict=False)))

    def _infos(self, kinds: Sequence[bytes]) -> list[TensorInfo] | None:
        """What each tensor is; nothing if one of them cannot be."""
        known: dict[bytes, TensorInfo] = {}
        for kind in set(kinds):
            spelled = _BARE_KIND.fullmatch(kind)
            if not spelled:
                return None
            try:
                known[kind] = self._info(b"", *spelled.groups())
            except ModelFileError:  # without the tensor's name
                return None
        return [known[kind] for kind in kinds]

    def _table(self, position: int, separator: bytes) -> Table:
        """Every entry from `position` on, if `separator` says that there is one."""
        text, seen = self._text, self._seen
        while separator == b",":
            if usual := _USUAL_ENTRY.match(text, position):
                name, dtype, sides, begin, end, separator = usual.groups()
                info = seen.get((dtype, sides)) or self._info(name, dtype, sides)
                self._add(name, info, int(begin), int(end))
                position = usual.end()
            else:
                position, separator = self._unusual_entry(position)
        if not _END.match(text, position):
            self._no_json(position)
        self._check_spans()
        begins = {name: span[0] for name, span in zip(self._tensors, self._spans, strict=True)}
        return Table(tensors=self._tensors, begins=begins)

    def _open(self, position: int) -> int:
        if not (opened := _OPEN.match(self._text, position)):
            raise ModelFileError(f"{self._path.name} is no safetensors file: its header is no object.")
        return opened.end()

    def _unusual_entry(self, position: int) -> tuple[int, bytes]:
        """Metadata, or an entry in another spelling; where it ends, and with which sign."""
        named = _NAME.match(self._text, position)
        if not named:
            self._no_json(position)
        if named[1] == METADATA.encode():
            return self._read_metadata(named.end())
        entry = _ANY_ENTRY.match(self._text, position)
        if not entry:
            self._no_entry(named[1])
        try:
            fields = json.loads(entry[2])
        except (ValueError, RecursionError):
            self._no_entry(named[1])
        match fields:
            case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [begin, end], **rest} if not rest:
                sides = [*shape, begin, end]
            case _:
                self._no_entry(named[1])
        if not all(type(side) is int and 0 <= side < 10**19 for side in sides):
            self._broken(f"{self._shown(named[1])} has an impossible shape or place")
        info = self._info(named[1], dtype.encode(errors="replace"), b",".join(b"%d" % side for side in shape))
        self._add(named[1], info, begin, end)
        return entry.end(), entry[3]

    def _info(self, name: bytes, dtype: bytes, sides: bytes) -> TensorInfo:
        kind = dtype.decode(errors="replace")
        if kind not in DTYPE_BITS:
            raise ModelFileError(f"{self._path.name} holds {self._shown(name)} as {kind[:20]}, which is no known type.")
        if (count := sides.count(b",") + 1) > MOST_SIDES:
            self._broken(f"{self._shown(name)} has {count:,} sides; {MOST_SIDES} are allowed")
        shape = tuple(map(int, sides.split(b","))) if sides else ()
        size, odd_bits = divmod(math.prod(shape) * DTYPE_BITS[kind], 8)
        if odd_bits:
            self._broken(f"{self._shown(name)} ends within a byte")
        if size >= 2**63:
            self._broken(f"{self._shown(name)} has an impossible shape")
        info = self._seen[dtype, sides] = TensorInfo(kind, shape, size)
        return info

    def _add(self, raw_name: bytes, info: TensorInfo, begin: int, end: int) -> None:
        if end - begin != info.size:
            self._broken(f"{self._shown(raw_name)} takes {end - begin:,} bytes where its shape needs {info.size:,}")
        self._names_size += len(raw_name)
        if self._names_size > LARGEST_NAMES:
            self._broken(f"the names of its tensors take more than {LARGEST_NAMES:,} bytes")
        name = self._decoded(raw_name)
        if name == METADATA:
            self._broken("its metadata is not a list of texts")
        if name in self._tensors:
            self._broken(f"it has {self._shown(raw_name)} twice")
        if len(self._tensors) == MOST_TENSORS:
            raise ModelFileError(f"{self._path.name} has more tensors than the {MOST_TENSORS:,} that are allowed.")
        self._tensors[name] = info
        self._spans.append((begin, end))

    def _read_metadata(self, position: int) -> tuple[int, bytes]:
        if self._metadata is not None:
            self._broken("it has metadata twice")
        if not (opened := _OPEN.match(self._text, position)):
            self._broken("its metadata is not a list of texts")
        metadata: dict[str, str] = {}
        position, size = opened.end(), 0
        if empty := _CLOSE.match(self._text, position):
            position, separator = empty.end(), b"}"
        else:
            separator = b","
        while separator == b",":
            if not (entry := _SAYING.match(self._text, position)):
                self._broken("its metadata is not a list of texts")
            # No escape is longer than the six bytes of one character, so what is longer need not be decoded.
            texts = [self._decoded(raw) for raw in (entry[1], entry[2]) if len(raw) <= 6 * LARGEST_METADATA]
            size += sum(map(len, texts))
            if len(texts) < 2 or size > LARGEST_METADATA:
                raise ModelFileError(f"{self._path.name} carries more than {LARGEST_METADATA:,} bytes of metadata.")
            if len(metadata) == MOST_SAYINGS:
                self._broken(f"it has more than {MOST_SAYINGS:,} entries of metadata")
            metadata[texts[0]] = texts[1]
            position, separator = entry.end(), entry[3]
        self._metadata = metadata
        if not (after := _AFTER.match(self._text, position)):
            self._no_json(position)
        return after.end(), after[1]

    def _check_spans(self) -> None:
        """The data must be covered once and without gaps."""
        end = 0
        for begin, stop in sorted(self._spans):
            if begin != end:
                self._broken(f"its tensors overlap or leave gaps at byte {begin:,}")
            end = stop
        if end != self._data_size:
            kind = "is cut short" if end > self._data_size else "has more data than it describes"
            raise ModelFileError(
                f"{self._path.name} {kind}: {self._data_size:,} bytes of data where the header says {end:,}."
            )

    def _decoded(self, raw: bytes) -> str:
        try:
            return json.loads(b'"%b"' % raw) if b"\\" in raw else raw.decode()
        except ValueError:
            self._broken(f"the text {self._shown(raw)} in its header is not UTF-8")

    def _shown(self, raw: bytes) -> str:
        text = raw[:80].decode(errors="replace")
        return repr(text if len(raw) <= 80 else f"{text}...")

    def _broken(self, reason: str) -> NoReturn:
        raise ModelFileError(f"{self._path.name} is damaged: {reason}.")

    def _no_entry(self, name: bytes) -> NoReturn:
        self._broken(f"the entry of {self._shown(name)} is not a tensor's")

    def _no_json(self, position: int) -> NoReturn:
        raise ModelFileError(
            f"{self._path.name} is no safetensors file: its header is no JSON from byte {position + 8:,} on."
        )
