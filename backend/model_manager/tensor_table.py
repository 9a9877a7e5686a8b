"""The tensors of a safetensors file: what each is and where it lies; and a memory of those of many files."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

MOST_KEPT = 250_000  # tensors of all the tables that `Tables` keeps: some 50 MB


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor's entry: its element type in safetensors' words, its shape, and its size in bytes."""

    dtype: str
    shape: tuple[int, ...]
    size: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Table:
    """All of a header but its metadata, checked; `begins` say where in the data each tensor begins, in bytes. One is
    only equal to itself, so that what was made of it can be found by it."""

    tensors: Mapping[str, TensorInfo]
    begins: Mapping[str, int]


class Offsets(Mapping[str, int]):
    """Where in the file tensors begin whose data begin at `start`: worked out when asked, as a scan never does."""

    def __init__(self, begins: Mapping[str, int], start: int):
        self._begins = begins
        self._start = start

    def __getitem__(self, name: str) -> int:
        return self._start + self._begins[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._begins)

    def __len__(self) -> int:
        return len(self._begins)


class Tables:
    """What was found right in headers, by their very bytes: many LoRAs differ in nothing but their metadata and their
    values, and then the thousand entries of each need no second check. To be used while many files are read."""

    def __init__(self) -> None:
        self._known: dict[tuple[bytes, int], Table] = {}  # the one that was not asked for the longest comes first
        self._room = MOST_KEPT

    def find(self, key: tuple[bytes, int]) -> Table | None:
        """The table with this sha256 over data of this size."""
        table = self._known.pop(key, None)
        if table:
            self._known[key] = table
        return table

    def keep(self, key: tuple[bytes, int], table: Table) -> None:
        """Remember a table, in place of those that were not asked for the longest."""
        self._known[key] = table
        self._room -= len(table.tensors)
        while self._room < 0:
            oldest = self._known.pop(next(iter(self._known)))
            self._room += len(oldest.tensors)
