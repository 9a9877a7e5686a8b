"""Conversions and merges as works that wait in line, on real files."""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from backend.errors import Cancelled, ModelFileError, UserError
from backend.files import PARTIAL
from backend.model_manager.catalog import Catalog
from backend.model_manager.chores import KEPT, Chore, Chores, Progress
from backend.model_manager.conversion.merge_recipe import MergeRecipe
from backend.model_manager.inventory.hashes import HashIndex
from backend.model_manager.inventory.record import ModelRecord
from backend.paths import ROOT
from tests.pickles import write_plain

PATIENCE = 120.0


@dataclass
class Shop:
    """A model folder, what looks for models in it, and the works on them."""

    folder: Path
    catalog: Catalog
    chores: Chores

    def record(self, name: str) -> ModelRecord:
        return next(record for record in self.catalog.records() if record.path.name == name)

    def now(self, chore: Chore) -> Chore:
        return next(each for each in self.chores.all() if each.id == chore.id)

    def until(self, happened: Callable[[], bool]) -> None:
        changed = threading.Condition()

        def tell() -> None:
            with changed:
                changed.notify_all()

        end = self.chores.subscribe(tell)
        try:
            with changed:
                assert changed.wait_for(happened, PATIENCE), self.chores.all()
        finally:
            end()

    def settle(self, chore: Chore) -> Chore:
        self.until(lambda: self.now(chore).ended)
        return self.now(chore)

    def names(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())


@pytest.fixture
def shop(tiny_checkpoint: Path, tmp_path: Path) -> Iterator[Shop]:
    catalog, hashes = Catalog([tiny_checkpoint.parent]), HashIndex(tmp_path / "models.sqlite3")
    shop = Shop(tiny_checkpoint.parent, catalog, Chores(catalog, hashes))
    yield shop
    shop.chores.close()
    hashes.close()
    catalog.close()


@contextmanager
def held(shop: Shop, target: str = "held.safetensors") -> Iterator[tuple[Chore, threading.Event]]:
    """A work that runs until the event is set, or until it is cancelled."""
    release, begun = threading.Event(), threading.Event()

    def work(progress: Progress, cancelled: Callable[[], bool]) -> str:
        progress(0.25, "waiting")
        begun.set()
        while not release.wait(0.005):
            if cancelled():
                raise Cancelled("It was cancelled.")
        return "a note"

    chore = shop.chores.start("merge", "Hold", shop.folder / target, work)
    assert begun.wait(PATIENCE)
    try:
        yield chore, release
    finally:
        release.set()


def test_a_pickle_becomes_a_model_with_the_notes_it_had(shop: Shop) -> None:
    tensors = load_file(shop.folder / "tiny.safetensors")
    write_plain(shop.folder / "old.ckpt", tensors)
    (shop.folder / "old.json").write_text(json.dumps({"activation text": "oil"}))
    shares: list[float] = []
    states: list[str] = []

    def look() -> None:
        (chore,) = shop.chores.all()
        shares.append(chore.share)
        states.append(chore.state)

    shop.chores.subscribe(look)
    chore = shop.chores.convert(shop.record("old.ckpt"))
    assert (chore.kind, chore.state, chore.title) == ("convert", "queued", "old.ckpt to safetensors")
    done = shop.settle(chore)
    assert (done.state, done.problem, done.result, done.share) == ("finished", "", "old", 1.0)
    assert shares == sorted(shares) and shares[-1] == 1.0
    assert states[-1] == "finished" and "running" in states
    record = shop.catalog.find("old")
    assert (record.path, record.problem) == (shop.folder / "old.safetensors", "")
    made = load_file(record.path)
    assert made.keys() == tensors.keys()
    assert all(torch.equal(made[name], tensor) for name, tensor in tensors.items())
    assert shop.catalog.sidecar(record).notes.activation_text == "oil"
    assert shop.names() == ["old.ckpt", "old.json", "old.safetensors", "tiny.safetensors"]


def test_what_cannot_be_converted_is_a_sentence_and_leaves_nothing(shop: Shop) -> None:
    (shop.folder / "evil.ckpt").write_bytes(b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00exit\x85R.")
    done = shop.settle(shop.chores.convert(shop.record("evil.ckpt")))
    assert (done.state, done.result) == ("failed", "")
    assert "evil.ckpt" in done.problem and done.problem.endswith(".")
    assert shop.names() == ["evil.ckpt", "tiny.safetensors"]


def test_what_is_there_is_not_made(shop: Shop) -> None:
    write_plain(shop.folder / "old.ckpt", {"x": torch.ones(2)})
    record = shop.record("old.ckpt")
    (shop.folder / "old.safetensors").write_text("mine")
    with pytest.raises(ModelFileError, match=r"^There is a file old\.safetensors in .* already"):
        shop.chores.convert(record)
    assert (shop.folder / "old.safetensors").read_text() == "mine"
    with pytest.raises(ModelFileError, match="is no pickle"):
        shop.chores.convert(shop.record("tiny.safetensors"))
    (shop.folder / "link.safetensors").symlink_to(shop.folder / "nowhere")
    with pytest.raises(UserError, match="already"):
        shop.chores.start("merge", "x", shop.folder / "link.safetensors", lambda *_: "")
    assert shop.chores.all() == []


def test_a_merge_is_made_and_listed(shop: Shop) -> None:
    shutil.copy(shop.folder / "tiny.safetensors", shop.folder / "other.safetensors")
    a, b = shop.folder / "tiny.safetensors", shop.folder / "other.safetensors"
    recipe = MergeRecipe(a=a, b=b, multiplier=0.5, precision="keep")
    done = shop.settle(shop.chores.merge(recipe, shop.folder / "mixed.safetensors"))
    assert (done.state, done.problem, done.result, done.title) == ("finished", "", "mixed", "Merge into mixed")
    assert shop.catalog.find("mixed").family == "sd1"
    with pytest.raises(ModelFileError, match="already"):
        shop.chores.merge(recipe, shop.folder / "mixed.safetensors")
    with pytest.raises(ModelFileError, match="0 to 1 is allowed"):
        shop.chores.merge(MergeRecipe(a=a, b=b, multiplier=3), shop.folder / "more.safetensors")


def test_a_merge_that_is_cancelled_while_it_runs_leaves_nothing(shop: Shop) -> None:
    recipe = MergeRecipe(a=shop.folder / "tiny.safetensors", b=shop.folder / "tiny.safetensors")

    def cancel() -> None:
        (chore,) = shop.chores.all()
        if chore.state == "running" and chore.doing == "merging":
            end()
            shop.chores.cancel(chore.id)

    end = shop.chores.subscribe(cancel)
    done = shop.settle(shop.chores.merge(recipe, shop.folder / "mixed.safetensors"))
    assert (done.state, done.problem, done.result) == ("cancelled", "", "")
    assert shop.names() == ["tiny.safetensors"]


def test_one_at_a_time_in_the_order_of_asking(shop: Shop) -> None:
    order: list[str] = []
    with held(shop) as (first, release):
        later = [
            shop.chores.start(
                "merge", name, shop.folder / f"{name}.safetensors", lambda *_, name=name: order.append(name) or ""
            )
            for name in "abc"
        ]
        assert [chore.state for chore in shop.chores.all()] == ["running", "queued", "queued", "queued"]
        assert (shop.now(first).share, shop.now(first).doing) == (0.25, "waiting")
        shop.chores.cancel(later[1].id)
        assert shop.now(later[1]).state == "cancelled"
        with pytest.raises(UserError, match="being made already"):
            shop.chores.start("convert", "again", later[0].target, lambda *_: "")
        for chore in (first, later[0]):
            with pytest.raises(UserError, match="has not ended"):
                shop.chores.forget(chore.id)
        release.set()
        for chore in later:
            shop.settle(chore)
    assert order == ["a", "c"]
    assert (shop.now(first).note, shop.now(first).result) == ("a note", "held")
    shop.chores.forget(first.id)
    assert [chore.title for chore in shop.chores.all()] == ["a", "b", "c"]
    for ended in (shop.chores.forget, shop.chores.cancel):
        with pytest.raises(UserError, match="no longer in the list"):
            ended(first.id)


def test_another_begins_after_all_have_ended(shop: Shop) -> None:
    for name in "ab":
        done = shop.settle(shop.chores.start("merge", name, shop.folder / f"{name}.safetensors", lambda *_: "done"))
        assert (done.state, done.note) == ("finished", "done")


def test_a_fault_is_a_sentence_and_the_next_goes_on(shop: Shop) -> None:
    def broken(*_: object) -> str:
        raise ZeroDivisionError("a secret")

    first = shop.chores.start("merge", "x", shop.folder / "x.safetensors", broken)
    second = shop.chores.start("merge", "y", shop.folder / "y.safetensors", lambda *_: "")
    assert shop.settle(first).problem == "A fault of Atelier's: ZeroDivisionError."
    assert shop.settle(second).state == "finished"


def test_the_list_does_not_grow_for_ever(shop: Shop) -> None:
    chores = [
        shop.settle(shop.chores.start("merge", str(k), shop.folder / f"{k}.safetensors", lambda *_: ""))
        for k in range(KEPT + 3)
    ]
    assert [chore.title for chore in shop.chores.all()] == [chore.title for chore in chores[-KEPT - 1 :]]


def test_closing_cancels_what_runs_and_what_waits(shop: Shop) -> None:
    with held(shop) as (first, _):
        second = shop.chores.start("merge", "x", shop.folder / "x.safetensors", lambda *_: "")
        shop.chores.close()
        assert shop.now(first).state == "cancelled"
        assert shop.now(second).state == "queued"
    with pytest.raises(UserError, match="being closed"):
        shop.chores.start("merge", "y", shop.folder / "y.safetensors", lambda *_: "")
    assert [path for path in shop.folder.iterdir() if path.name.endswith(PARTIAL)] == []


def test_nothing_heavy_is_imported_for_it() -> None:
    code = (
        "import sys; import backend.model_manager.chores; print([m for m in ('torch', 'numpy.ma') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert done.stdout.strip() == "[]"
