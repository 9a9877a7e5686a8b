"""The extensions that lie in the folders for them: what they say of themselves, and in which order they take turns."""

import heapq
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from backend.errors import UserError
from backend.extensions.manifest import FILE, Manifest

# In the folder of those that ship with Atelier: an id to a line, `on` behind those that are on at first.
BUNDLED = "bundled.txt"


@dataclass(frozen=True, kw_only=True)
class Found:
    """A folder with an extension in it. `id` is that of its manifest, or another one where that cannot be read or is
    taken; then `problem` is a sentence."""

    id: str
    folder: Path
    bundled: bool
    manifest: Manifest | None = None
    problem: str = ""


def shipped(folder: Path) -> Mapping[str, bool]:
    """The ids that ``bundled.txt`` in a folder lists, and whether each is on at first."""
    try:
        lines = (folder / BUNDLED).read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    words = [line.partition("#")[0].split() for line in lines]
    return {each[0]: "on" in each[1:] for each in words if each}


def look(bundled: Path, installed: Path) -> list[Found]:
    """Every extension that ships with Atelier and lies in `bundled`, and every one in `installed`."""
    names = shipped(bundled)
    ours = [bundled / name for name in names if (bundled / name).is_dir()]
    others = sorted(_folders(installed)) if installed.is_dir() else []
    taken: dict[str, Found] = {}
    # Of two with one id it is ours, then the one whose folder is called so.
    read = [_read(folder, bundled=True) for folder in ours]
    read += sorted(
        (_read(folder, bundled=False) for folder in others if folder not in ours),
        key=lambda found: (found.id != found.folder.name, found.folder.name),
    )
    for found in read:
        one = found if found.id not in taken else _second(found, taken)
        taken[one.id] = one
    return list(taken.values())


def _folders(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.is_dir() and not path.name.startswith((".", "_")) and ((path / FILE).exists() or _has_code(path)):
            yield path


def _has_code(folder: Path) -> bool:
    return (folder / "__init__.py").exists()


def _read(folder: Path, *, bundled: bool) -> Found:
    try:
        manifest = Manifest.read(folder)
    except UserError as error:
        return Found(id=folder.name, folder=folder, bundled=bundled, problem=str(error))
    return Found(id=manifest.id, folder=folder, bundled=bundled, manifest=manifest)


def _second(found: Found, taken: Mapping[str, Found]) -> Found:
    """One whose id another one has."""
    first = taken[found.id]
    names = (found.folder.name, *(f"{found.folder.name}-{number}" for number in range(2, 1000)))
    return Found(
        id=next(name for name in names if name not in taken),
        folder=found.folder,
        bundled=found.bundled,
        problem=found.problem
        or f"Its id {found.id!r} is that of another one, in the folder {first.folder.name}: remove one of the two.",
    )


class _Ordered(Protocol):
    @property
    def id(self) -> str: ...
    @property
    def manifest(self) -> Manifest | None: ...


def in_order(extensions: Iterable[_Ordered]) -> tuple[list[str], set[str]]:
    """The ids in the order of their turns: as their manifests say with `before` and `after`, else by name. The second
    are those that contradict each other; they come last, by name."""
    manifests = {each.id: each.manifest for each in extensions if each.manifest is not None}
    later: dict[str, set[str]] = {id: set() for id in manifests}
    for id, manifest in manifests.items():
        for other in manifest.before:
            if other in later:
                later[id].add(other)
        for other in manifest.after:
            if other in later:
                later[other].add(id)
    awaited = {id: sum(id in others for others in later.values()) for id in manifests}
    ready = [id for id, count in awaited.items() if not count]
    heapq.heapify(ready)
    order: list[str] = []
    while ready:
        id = heapq.heappop(ready)
        order.append(id)
        for other in later[id]:
            awaited[other] -= 1
            if not awaited[other]:
                heapq.heappush(ready, other)
    left = sorted(manifests.keys() - set(order))
    return [*order, *left], _in_a_circle(left, later)


def _in_a_circle(left: Sequence[str], later: Mapping[str, Collection[str]]) -> set[str]:
    """Of those that are left the ones that come back to themselves; others only wait for them."""
    found = set()
    for id in left:
        reached: set[str] = set()
        ahead = list(later[id])
        while ahead:
            each = ahead.pop()
            if each not in reached:
                reached.add(each)
                ahead.extend(later[each])
        if id in reached:
            found.add(id)
    return found
