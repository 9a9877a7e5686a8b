"""The ladder out of a shortage: what is tried, in which order, and that nothing holds what failed."""

import errno
import gc
from collections.abc import Callable

import pytest
import torch

from backend.errors import UserError
from backend.model_manager.memory.rescue import Relief, Rescue, Shortage, attempt, out_of_memory
from tests.counting_device import CountingDevice

MEGABYTE = 1024 * 1024


def test_every_allocator_s_no_is_known() -> None:
    with pytest.raises(RuntimeError) as of_the_cpu:
        torch.empty(2**60, dtype=torch.uint8)
    assert out_of_memory(of_the_cpu.value)
    assert out_of_memory(MemoryError())
    assert out_of_memory(OSError(errno.ENOMEM, "Cannot allocate memory"))
    assert out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert not out_of_memory(OSError(errno.ENOENT, "No such file"))
    assert not out_of_memory(RuntimeError("shapes do not match"))
    assert not out_of_memory(ValueError("out of memory"))


def test_other_faults_go_on() -> None:
    def fails() -> None:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        attempt(fails)


def test_a_failed_attempt_holds_no_memory() -> None:
    """The frames of an exception hold what they had: it must be gone before the next attempt."""
    device = CountingDevice(10 * MEGABYTE)

    def deep(level: int) -> torch.Tensor:
        block = device.empty(2 * MEGABYTE)
        return torch.cat([block, deep(level + 1)]) if level else device.empty(100 * MEGABYTE)

    gc.disable()  # what follows must not depend on when it comes by
    try:
        assert isinstance(attempt(lambda: deep(3)), Shortage)
    finally:
        gc.enable()
    assert device.most > 0
    assert device.used == 0


class Studio:
    """Work that needs so many bytes a picture, on a device beside other things."""

    def __init__(self, total: int):
        self.device = CountingDevice(total)
        self.tried: list[Relief] = []
        self.notices: list[str] = []
        self.idle: list[torch.Tensor] = []
        self.in_use: list[torch.Tensor] = []
        self.rescue = Rescue(free=self.free, offload=self.offload, notice=self.notices.append)

    def free(self) -> int:
        freed = sum(map(len, self.idle))
        self.idle.clear()
        return freed

    def offload(self) -> bool:
        had = bool(self.in_use)
        self.in_use.clear()
        return had

    def work(self, need: Callable[[Relief], int]) -> Callable[[Relief], str]:
        def run(relief: Relief) -> str:
            self.tried.append(relief)
            self.device.empty(need(relief) * MEGABYTE)
            return "a picture"

        return run


def test_nothing_is_given_up_without_need() -> None:
    studio = Studio(10 * MEGABYTE)
    studio.idle.append(studio.device.empty(MEGABYTE))
    relief = Relief(batch=4)
    assert studio.rescue.run(studio.work(lambda _: 9), relief, what="drawing") == ("a picture", relief)
    assert len(studio.idle) == 1
    assert studio.notices == []


def test_the_ways_out_are_taken_one_after_the_other() -> None:
    studio = Studio(10 * MEGABYTE)
    studio.idle.append(studio.device.empty(MEGABYTE))
    studio.in_use.append(studio.device.empty(8 * MEGABYTE))
    result, relief = studio.rescue.run(
        studio.work(lambda r: 3 * r.batch), Relief(batch=3), what="drawing", tiles=True, batches=True
    )
    assert result == "a picture"
    assert studio.tried == [
        Relief(batch=3),
        Relief(batch=3),  # without what was idle
        Relief(batch=3, tiled=True),
        Relief(batch=2, tiled=True),
        Relief(batch=1, tiled=True),
        Relief(batch=1, tiled=True, offloaded=True),
    ]
    assert relief == studio.tried[-1]
    assert [notice.split(": ")[0] for notice in studio.notices] == ["Memory ran out while drawing"] * 5
    assert "1 MB" in studio.notices[0]


def test_what_helped_is_where_the_next_piece_begins() -> None:
    studio = Studio(10 * MEGABYTE)
    work = studio.work(lambda relief: 4 * relief.batch)
    _, relief = studio.rescue.run(work, Relief(batch=8), what="drawing", batches=True)
    assert relief == Relief(batch=2)
    assert len(studio.notices) == 2
    studio.rescue.run(work, relief, what="drawing")
    assert len(studio.notices) == 2


def test_when_nothing_helps_there_is_a_sentence_and_the_next_job_works() -> None:
    studio = Studio(10 * MEGABYTE)
    with pytest.raises(UserError, match=r"^There is not enough memory for decoding, .*bytes asked for.*\.$") as raised:
        studio.rescue.run(studio.work(lambda _: 11), Relief(batch=2), what="decoding", tiles=True)
    assert raised.value.__context__ is None  # it would hold the frames of the last attempt
    assert studio.tried[-1] == Relief(batch=2, tiled=True)  # decoded one at a time, fewer at once would not help
    assert studio.rescue.run(studio.work(lambda _: 10), Relief(batch=1), what="decoding")[0] == "a picture"
