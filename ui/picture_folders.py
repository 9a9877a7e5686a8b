"""Folders of pictures on this machine that a person has declared in the settings, for work on all that lies in one."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from backend.errors import InvalidRequest, UserError
from backend.inputs import Inputs, StoredInput
from backend.settings import Settings

ENDINGS = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif"})
LEVELS = 2  # of folders below a declared one
MOST_FOLDERS = 200


def declared(settings: Settings) -> list[Path]:
    """The folders that the settings name, a full path a line."""
    return [Path(line.strip()) for line in settings.picture_folders.splitlines() if line.strip()]


def picture_folders(settings: Settings) -> Mapping[str, Path]:
    """The declared folders and those below them that hold pictures, by what they are called in a list."""
    found: dict[str, Path] = {}
    for root in declared(settings):
        for folder in _walked(root, LEVELS):
            if len(found) < MOST_FOLDERS and pictures_in(folder):
                found.setdefault(f"{root.name}/{folder.relative_to(root)}".removesuffix("/."), folder)
    return found


def pictures_in(folder: Path) -> list[Path]:
    """The pictures that lie in a folder itself, by their names' endings, in order; none where it cannot be read."""
    try:
        files = [path for path in folder.iterdir() if path.suffix.lower() in ENDINGS and path.is_file()]
    except OSError:
        return []
    return sorted(path for path in files if not path.name.startswith("."))


def taken_from(name: str, settings: Settings, most: int) -> list[Path]:
    """The pictures of the folder that is called `name`. Raises `InvalidRequest` if there is none, or too many."""
    folder = picture_folders(settings).get(name)
    if folder is None:
        raise InvalidRequest(
            f"The folder {name[:80]!r} is not there any more, or holds no pictures: choose another one."
        )
    paths = pictures_in(folder)
    if len(paths) > most:
        raise InvalidRequest(f"{most:,} pictures may be queued at once; {name} holds {len(paths):,}.")
    return paths


def put_in(path: Path, inputs: Inputs) -> StoredInput:
    """Copy a picture into the store. Raises `UserError` with a sentence if it cannot be read."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"It cannot be read: {error.strerror or error}.") from error
    return inputs.put(data)


def _walked(folder: Path, levels: int) -> Iterator[Path]:
    yield folder
    if not levels:
        return
    try:
        below = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError:
        return
    for path in below:
        yield from _walked(path, levels - 1)
