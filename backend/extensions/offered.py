"""What windows of the page have of the extensions that are on: their scripts, and a stamp that changes with them."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from backend.extensions.extension import Extension

ROUTE = "/ext"  # below it each extension has its own, ``/ext/<id>``
SCRIPTS = "js"  # below that its scripts lie
SERVED = frozenset({".js", ".mjs", ".css", ".json", ".svg", ".png", ".webp", ".jpg", ".txt", ".csv", ".wasm"})
_CODE = frozenset({".py", ".js", ".mjs", ".css", ".toml"})


def script_of(extension: Extension) -> str:
    """The address of its module, relative to the page; empty for one without a script."""
    js = extension.manifest.js if extension.manifest else ""
    return f"{ROUTE.lstrip('/')}/{extension.id}/{SCRIPTS}/{PurePosixPath(js).name}" if js else ""


def scripts_folder(extension: Extension) -> Path | None:
    """Where its module lies, with what that one imports."""
    js = extension.manifest.js if extension.manifest else ""
    return (extension.folder / js).parent if js else None


def stamp_of(active: Sequence[Extension]) -> str:
    """A word that is another one whenever a page made of these extensions would be another one; the same after a
    restart with the same extensions. Of files it knows what was there when each was loaded: a page and the channel that
    look at different moments have the same word."""
    digest = hashlib.blake2b(digest_size=8)
    for extension in active:
        digest.update(f"{extension.id} {extension.version} {extension.code_time}\n".encode())
    return digest.hexdigest()


def code_time(folder: Path) -> int:
    """When the newest file of an extension's code was changed, in nanoseconds since 1970; 0 where it has none."""
    return max(_times(folder), default=0)


def _times(folder: Path) -> Iterator[int]:
    """When each file of an extension's code was last changed."""
    for path in folder.rglob("*"):
        if path.suffix in _CODE:
            try:
                yield path.stat().st_mtime_ns
            except OSError:  # gone meanwhile
                continue
