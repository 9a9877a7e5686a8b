"""The sha256 of model files: taken once, in the background, and remembered."""

import hashlib
import logging
import threading
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

from backend.errors import ModelFileError
from backend.model_manager.header import LARGEST_HEADER
from backend.model_manager.identity import Kind
from backend.model_manager.inventory.model_index import FileKey, ModelIndex
from backend.model_manager.inventory.record import ModelRecord
from backend.model_manager.inventory.scan import Format, measure

log = logging.getLogger(__name__)

PIECE = 4 * 1024 * 1024  # bytes read at once; between two of them closing is noticed


def autov2(sha256: str) -> str:
    """The short hash of AUTOMATIC1111's ``Model hash`` and of Civitai: the first ten digits."""
    return sha256[:10]


class HashIndex:
    """Remembers hashes by path, size and time of change. Safe to use from any thread."""

    def __init__(self, path: Path):
        """`path` is the index's SQLite file, which the catalog keeps its own in as well."""
        self._index = ModelIndex(path)
        self._closing = threading.Event()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="hash")

    def sha256(self, record: ModelRecord) -> "Future[str]":
        """The file's sha256 in hexadecimal, to come; `result()` raises `ModelFileError` if it cannot be read. Of a
        diffusers folder it is that of a list of its files: each one's sha256, two spaces, and its path from there."""
        return self._pool.submit(self._find, record)

    def of_tensors(self, record: ModelRecord) -> "Future[str]":
        """A LoRA's hash as A1111 and kohya's trainer take it, over what follows the header, which a person may edit; as
        the file states it, if it does. Of another file it is its sha256. Raises as `sha256` does."""
        return self._pool.submit(lambda: record.stated_hash or self._of_tensors(record))

    def known(self, record: ModelRecord) -> str:
        """The sha256 if it was taken already, else nothing; never waits for one to be taken."""
        return self._index.hash_of(record.key)

    def close(self) -> None:
        """End what is being hashed; whoever waits for it gets `ModelFileError`."""
        self._closing.set()
        self._pool.shutdown(cancel_futures=True)
        self._index.close()

    def _find(self, record: ModelRecord) -> str:
        if known := self._index.hash_of(record.key):
            return known
        try:
            whole, data = self._folder(record.path) if record.format is Format.DIFFUSERS else self._file(record)
            as_it_was = measure(str(record.path), record.format) == (record.size, record.modified)
        except OSError as error:
            raise ModelFileError(f"{record.path.name} cannot be read: {error.strerror or error}.") from error
        if as_it_was:
            self._remember(record.key, whole, data)
        else:
            log.warning("%s was changed while its hash was taken", record.path)
        return whole

    def _of_tensors(self, record: ModelRecord) -> str:
        whole = self._find(record)
        return self._index.hash_of(record.key, data=True) or whole

    def _remember(self, key: FileKey, whole: str, data: str) -> None:
        self._index.put_hash(key, whole)
        if data:
            self._index.put_hash(key, data, data=True)

    def _file(self, record: ModelRecord) -> tuple[str, str]:
        """The sha256 of a file and, where A1111 writes that into pictures (a LoRA's), of what follows its header."""
        with record.path.open("rb") as file:
            if record.kind is Kind.LORA and record.format is Format.SAFETENSORS:
                return self._digests(file)
            return self._digest(file), ""

    def _digests(self, file: BinaryIO) -> tuple[str, str]:
        head = file.read(8)
        header = file.read(min(int.from_bytes(head, "little"), LARGEST_HEADER))
        whole, data = hashlib.sha256(head + header), hashlib.sha256()
        self._feed(file, (whole, data))
        return whole.hexdigest(), data.hexdigest()

    def _digest(self, file: BinaryIO) -> str:
        whole = hashlib.sha256()
        self._feed(file, (whole,))
        return whole.hexdigest()

    def _feed(self, file: BinaryIO, digests: "Iterable[hashlib._Hash]") -> None:
        while piece := file.read(PIECE):
            if self._closing.is_set():
                raise ModelFileError("Atelier was closed while a hash was taken.")
            for digest in digests:
                digest.update(piece)

    def _folder(self, folder: Path) -> tuple[str, str]:
        lines = []
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            with path.open("rb") as file:
                lines.append(f"{self._digest(file)}  {path.relative_to(folder).as_posix()}\n")
        return hashlib.sha256("".join(lines).encode()).hexdigest(), ""
