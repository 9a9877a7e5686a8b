"""Models that were thrown away: moved aside within their model folder, with all that lies beside them, to come back.

Nothing is deleted and nothing is copied: a rename takes no room and no time, and a file that is in use stays readable.
The scan passes over hidden folders, and so over this one.
"""

import errno
import json
import os
import re
import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath

from backend.errors import UserError
from backend.files import publish
from backend.model_manager.inventory.scan import DIFFUSERS_MARK, FORMATS
from backend.model_manager.inventory.sidecars import CIVITAI, NOTES, PREVIEWS, beside

FOLDER = ".trash"
NOTE = ".trashed.json"  # where everything lay; what is written first, so that a move that was cut off can be undone
LARGEST_NOTE = 1024 * 1024  # bytes
TOKEN = re.compile(r"[0-9a-f]{16}")
# A1111 reads a checkpoint's configuration and an older kind of description by these.
ENDINGS = (NOTES, CIVITAI, *PREVIEWS, ".yaml", ".txt")
KEPT_PREVIEW = re.compile(r"(\.preview)?\.old-\d+\.(png|jpe?g|webp)")


def companions(model: Path) -> list[Path]:
    """What lies beside `model` and belongs to it; nothing while another model of that name lies there, to which it
    belongs as well. Raises `OSError`."""
    stem = beside(model, "").name
    names = os.listdir(model.parent)  # noqa: PTH208 - names are wanted
    twins = (model.with_name(name) for name in names if name != model.name)
    if any(beside(twin, "").name == stem and _is_model(twin) for twin in twins):
        return []
    wanted = {stem + ending for ending in ENDINGS}
    kept = (name for name in names if name.startswith(stem) and KEPT_PREVIEW.fullmatch(name.removeprefix(stem)))
    return [model.with_name(name) for name in sorted({*wanted.intersection(names), *kept})]


def trash(model: Path, roots: Sequence[Path]) -> str:
    """Move a model file or a diffusers folder, with what belongs to it, into the hidden folder of its model folder.

    `roots` are the model folders. Returns the token to `restore` it by. Raises `UserError` if it cannot be moved; then
    all of it is where it was.
    """
    try:
        # Through links: what lies behind one is on the disk of the folder that it leads to.
        model = model.parent.resolve() / model.name
        root = _root_of(model, roots)
        token = secrets.token_hex(8)
        place = _own_folder(root) / f"{time.strftime('%Y%m%d-%H%M%S')}-{token}"
        moves = [(path, place / path.relative_to(root)) for path in (model, *companions(model))]
        place.mkdir(parents=True)
        _write_note(place, [path.relative_to(root) for path, _ in moves])
        try:
            _move_all(moves)
        except OSError:
            _clear(place)
            raise
    except OSError as error:
        raise UserError(_why_not(model, error)) from error
    return token


def restore(token: str, roots: Sequence[Path]) -> list[Path]:
    """Put back what was thrown away under `token`; returns the paths it has again.

    Raises `UserError` if there is nothing of that token, or if something lies in its place by now; nothing is moved
    then.
    """
    try:
        root, place = _find(token, roots)
        moves = [(place / inner, root / inner) for inner in _read_note(place)]
        moves = [(gone, path) for gone, path in moves if os.path.lexists(gone)]
        for _, path in moves:
            if not path.parent.resolve().is_relative_to(root):
                raise UserError(f"{path} leads out of the model folder {root}.")
            if os.path.lexists(path):
                raise UserError(f"There is another {path.name} in {path.parent} now: rename it, then try again.")
        if not moves:
            raise UserError("What was thrown away is not there any more.")
        _move_all(moves)
        _clear(place)
    except OSError as error:
        raise UserError(f"This could not be put back: {error.strerror or error}.") from error
    return [path for _, path in moves]


def _is_model(path: Path) -> bool:
    return path.suffix.lower() in FORMATS or (path / DIFFUSERS_MARK).is_file()


def _root_of(model: Path, roots: Iterable[Path]) -> Path:
    """The innermost model folder that `model` lies in."""
    if not os.path.lexists(model):
        raise UserError(f"{model.name} is no longer there.")
    above = [root for root in (each.resolve() for each in roots) if model.parent.is_relative_to(root)]
    if not above or model in above:
        raise UserError(f"{model} is a model folder itself and not in one: take it off the list of folders instead.")
    return max(above, key=lambda root: len(root.parts))


def _own_folder(root: Path) -> Path:
    if (root / FOLDER).is_symlink():
        raise UserError(f"{root / FOLDER} is a link: remove it, as what is thrown away has to stay in its folder.")
    return root / FOLDER


def _move_all(moves: Sequence[tuple[Path, Path]]) -> None:
    """Make every move, never over anything, or none of them. Raises `OSError`."""
    done: list[tuple[Path, Path]] = []
    try:
        for path, target in moves:
            target.parent.mkdir(parents=True, exist_ok=True)
            _move(path, target)
            done.append((path, target))
    except OSError:
        for path, target in reversed(done):
            _move(target, path)
        raise


def _move(path: Path, target: Path) -> None:
    if os.name != "nt" and path.is_file() and not path.is_symlink():
        publish(path, target)  # Windows' own rename never replaces
    elif os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
    else:
        path.rename(target)


def _why_not(model: Path, error: OSError) -> str:
    if error.errno == errno.EXDEV:
        return f"{model.name} lies on another disk than its model folder, so it cannot be moved aside: remove it there."
    if os.name == "nt" and isinstance(error, PermissionError):
        return (
            f"{model.name} cannot be moved while it is in use, as Windows has it: unload it, "
            "or wait for the job that uses it, then try again."
        )
    return f"{model.name} could not be thrown away: {error.strerror or error}."


def _write_note(place: Path, inner: Iterable[Path]) -> None:
    (place / NOTE).write_text(json.dumps({"paths": [path.as_posix() for path in inner]}), encoding="utf-8")


def _read_note(place: Path) -> Iterator[PurePosixPath]:
    """The paths below the model folder of what `place` holds. The note may have come with a stranger's archive."""
    with (place / NOTE).open("rb") as file:
        data = file.read(LARGEST_NOTE)
    try:
        paths = json.loads(data)["paths"]
        for text in paths:
            inner = PurePosixPath(text)
            if not inner.parts or inner.is_absolute() or ".." in inner.parts or "\\" in text or ":" in inner.parts[0]:
                raise ValueError(text)
            yield inner
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise UserError(f"{place / NOTE} is damaged: move the files back by hand.") from error


def _find(token: str, roots: Iterable[Path]) -> tuple[Path, Path]:
    """The model folder, and the folder in it that holds what was thrown away."""
    if TOKEN.fullmatch(token):
        for root in {each.resolve(): None for each in roots}:
            for place in (root / FOLDER).glob(f"*-{token}"):
                if place.is_dir() and not place.is_symlink():
                    return root, place
    raise UserError("There is nothing in the trash of that name.")


def _clear(place: Path) -> None:
    """Remove the note and the empty folders; whatever else is in there stays."""
    with suppress(OSError):
        (place / NOTE).unlink()
    for folder, _, _ in os.walk(place, topdown=False):
        with suppress(OSError):
            Path(folder).rmdir()
    with suppress(OSError):
        place.parent.rmdir()
