"""Files that are whole or not there: written under a temporary name, flushed to the disk, then renamed."""

import os
import secrets
from pathlib import Path

PARTIAL = ".partial"


def write_atomically(path: Path, data: bytes, *, mode: int = 0o666) -> None:
    """Replace `path` by `data`; at every moment the file is the old one or the new one, and it is never there with more
    rights for others than `mode` gives (on Windows the folder's own rights hold). Raises `OSError`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _write_beside(path, data, mode)
    try:
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    _flush_folder(path.parent)


def create_atomically(path: Path, data: bytes) -> None:
    """Like `write_atomically`, but never replaces: raises `FileExistsError` if `path` is there. Raises `OSError`."""
    temporary = _write_beside(path, data)
    try:
        publish(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def publish(whole: Path, path: Path) -> None:
    """Give a file that is written and flushed its name. Raises `FileExistsError` if that is taken, `OSError` if it
    cannot be given."""
    try:
        # A hard link fails where the name is taken, which a rename would silently replace.
        os.link(whole, path)
    except FileExistsError:
        raise
    except OSError:
        # File systems without hard links (FAT, some network drives): check, then rename.
        if os.path.lexists(path):
            raise FileExistsError(path) from None
        whole.rename(path)
    else:
        whole.unlink()
    _flush_folder(path.parent)


def sweep_partial(folder: Path) -> int:
    """Remove what killed writes left below `folder`; returns how many files that were."""
    left = list(folder.rglob(f".*{PARTIAL}")) if folder.is_dir() else []
    for path in left:
        path.unlink(missing_ok=True)
    return len(left)


def _write_beside(path: Path, data: bytes, mode: int = 0o666) -> Path:
    temporary = path.with_name(f".{secrets.token_hex(6)}{PARTIAL}")
    try:
        # Made with its mode: a file that is made first and closed later can be read in between.
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), mode)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def _flush_folder(folder: Path) -> None:
    """Make the rename itself survive a power cut; Windows has no such call and needs none."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
