"""An extension in a zip file, or in a wheel, which is one."""

import hashlib
import stat
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from backend.extensions.source import Origin, PlainFiles, SourceError, check_sizes

CHUNK = 1 << 20  # bytes
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
LARGEST_ZIP = 256 * 1024 * 1024  # bytes
ENCRYPTED = 1  # a bit of an entry's flags


@dataclass(frozen=True, kw_only=True)
class ZipSource:
    """The zip file at `path`, which the person knows as `name`."""

    path: Path
    name: str

    def fetch(self, into: Path, work: Path) -> Origin:
        """As `Source.fetch`."""
        del work
        unpack(self.path, into)
        return Origin(kind="zip", address=self.name, pin=sha256_of(self.path))


def unpack(path: Path, into: Path) -> None:
    """Write the files of a zip into a folder. Raises `SourceError` for one that is damaged, or that holds what is no
    plain file or leads out of the folder."""
    if path.stat().st_size > LARGEST_ZIP:
        raise SourceError(f"The zip file has more than {LARGEST_ZIP // 2**20} MB, and no larger one is taken.")
    files = PlainFiles(into)
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            check_sizes(entry.file_size for entry in entries)
            for entry in entries:
                _check(entry)
                with archive.open(entry) as file:
                    files.write(entry.filename, _chunks(file))
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise SourceError(f"It is no zip file, or a damaged one: {error}.") from error


def sha256_of(path: Path) -> str:
    """The sha256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check(entry: zipfile.ZipInfo) -> None:
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        what = "a link" if kind == stat.S_IFLNK else "no plain file"
        raise SourceError(f"{entry.filename[:200]!r} in it is {what}: it is not installed.")
    if entry.flag_bits & ENCRYPTED or entry.compress_type not in METHODS:
        raise SourceError(f"{entry.filename[:200]!r} in it is encrypted, or packed in a way that is not read here.")


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    while chunk := file.read(CHUNK):
        yield chunk
