"""How much memory models may fill, on machines of every size."""

from pathlib import Path

import pytest

from backend.model_manager.memory.budgets import GIB, Space, ram_budget, ram_shortage, ram_space, vram_budget


@pytest.mark.parametrize(
    ("total", "wanted", "budget"),
    [
        (64, None, 32),  # half of it
        (3, None, 1),  # never what the rest of the machine needs
        (64, 20, 20),
        (64, 100, 62),
        (1, None, 0),
    ],
)
def test_models_fill_half_of_the_ram_at_most(total: int, wanted: int | None, budget: int) -> None:
    asked = None if wanted is None else wanted * GIB
    assert ram_budget(asked, Space(total=total * GIB, free=0)) == budget * GIB


def test_ram_is_given_back_when_little_is_free() -> None:
    assert ram_shortage(Space(total=64 * GIB, free=2 * GIB)) == 0
    assert ram_shortage(Space(total=64 * GIB, free=GIB)) == GIB
    assert ram_shortage(Space(total=8 * GIB, free=GIB)) == 0
    assert ram_shortage(Space(total=8 * GIB, free=-GIB)) == 2 * GIB


@pytest.mark.parametrize(
    ("total", "free", "own", "wanted", "budget"),
    [
        (24, 20, 0, None, 17),  # three for work
        (24, 10, 10, None, 17),  # what is ours can be used again
        (4, 4, 0, None, 3),  # a quarter of a small card
        (24, 20, 0, 8, 8),
        (24, 10, 0, 20, 7),
        (24, 1, 0, None, 0),
    ],
)
def test_models_leave_room_to_work_on_the_device(
    total: int, free: int, own: int, wanted: int | None, budget: int
) -> None:
    asked = None if wanted is None else wanted * GIB
    assert vram_budget(asked, Space(total=total * GIB, free=free * GIB), own * GIB) == budget * GIB


def test_the_machine_s_ram_is_known(tmp_path: Path) -> None:
    space = ram_space(tmp_path)
    assert 0 < space.free <= space.total
    assert space.most >= space.free


def write_cgroup(folder: Path, limit: str, used: int, cached: int, names: tuple[str, str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / names[0]).write_text(f"{limit}\n")
    (folder / names[1]).write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 5\nactive_file {cached - 7}\ninactive_file 7\nfile 99999999\n")
    return folder


def test_a_container_has_what_it_may_use(tmp_path: Path) -> None:
    """64 MB of which 40 are used, 30 of those for files that can be dropped. In both generations of the interface."""
    limit, used, cached = 64_000_000, 40_000_000, 30_000_000
    new = write_cgroup(tmp_path / "new", str(limit), used, cached, ("memory.max", "memory.current"))
    assert ram_space(new) == Space(total=limit, free=limit - used + cached)
    old = write_cgroup(
        tmp_path / "old/memory", str(limit), used, cached, ("memory.limit_in_bytes", "memory.usage_in_bytes")
    )
    assert ram_space(old.parent) == Space(total=limit, free=limit - used + cached)


@pytest.mark.parametrize("limit", ["max", str(2**62), "nonsense"])
def test_a_container_without_a_limit_has_the_machine_s(limit: str, tmp_path: Path) -> None:
    folder = write_cgroup(tmp_path / "cgroup", limit, 10, 10, ("memory.max", "memory.current"))
    assert ram_space(folder).total == ram_space(tmp_path / "none").total
