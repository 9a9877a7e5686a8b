"""The library of the catalog's benchmark, not its times: it is what it says, and what is printed was found in it."""

import random
import re
from collections import Counter
from pathlib import Path

import pytest

from backend.model_manager.catalog import Catalog
from backend.model_manager.header import read_header
from backend.model_manager.identity import Kind
from backend.model_manager.inventory.trees import ATELIER
from bench import catalog as bench
from bench.catalog import RANKS, SD1_BLOCKS, SDXL_BLOCKS, Scan, check, lora, resized, scan, write_library


def test_the_loras_have_as_many_tensors_as_those_people_have() -> None:
    """kohya's networks/lora.py says so itself when it begins: 192 and 722 modules of the U-Net, 72 and 264 of texts."""
    assert len(lora(SD1_BLOCKS, context=768, rank=4, text_layers=())) == 3 * 192
    assert len(lora(SD1_BLOCKS, context=768, rank=4, text_layers=(12,))) == 3 * (192 + 72)
    assert len(lora(SDXL_BLOCKS, context=2048, rank=4, text_layers=())) == 3 * 722
    assert len(lora(SDXL_BLOCKS, context=2048, rank=4, text_layers=(12, 32))) == 3 * (722 + 264)


def test_the_library_is_what_it_is_taken_for(tmp_path: Path) -> None:
    write_library(tmp_path, 120)
    catalog = Catalog(ATELIER.folders(tmp_path))
    records = [record for kind in Kind for record in catalog.records(kind)]
    assert len(records) == 120
    assert not [record for record in records if record.problem or record.remark]
    families = Counter((record.kind, record.family) for record in records)
    assert set(families) <= {
        *((Kind.LORA, "sd1"), (Kind.LORA, "sdxl"), (Kind.EMBEDDING, "sd1"), (Kind.CHECKPOINT, "sd1"))
    }
    assert families[Kind.LORA, "sd1"] > families[Kind.LORA, "sdxl"] > families[Kind.EMBEDDING, "sd1"]
    assert len({read_header(record.path).metadata["sshs_model_hash"] for record in records}) == 120


def test_a_resized_lora_has_a_rank_for_each_layer() -> None:
    shapes = lora(SD1_BLOCKS, context=768, rank=4, text_layers=())
    one, another = (resized(shapes, random.Random(seed)) for seed in (1, 2))
    assert one.keys() == another.keys() == shapes.keys()
    assert one != another
    ranks = {name: shape[0] for name, shape in one.items() if name.endswith(".lora_down.weight")}
    assert set(ranks.values()) == set(RANKS)
    for name, rank in ranks.items():
        up = name.replace("lora_down", "lora_up")
        assert one[name] == (rank, *shapes[name][1:])
        assert one[up] == (shapes[up][0], rank, *shapes[up][2:])


def test_a_second_scan_looks_into_nothing(tmp_path: Path) -> None:
    write_library(tmp_path / "library", 20)
    scans = [scan(tmp_path / "library", tmp_path / "models.sqlite3") for _ in range(2)]
    check(scans, 20)
    for wrong in (scans[:1] * 2, scans[::-1], [Scan(seconds=1, records=19, looked_into=20), scans[1]]):
        with pytest.raises(RuntimeError, match="not 20 files once"):
            check(wrong, 20)


def test_figures_come_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(bench, "WORK", tmp_path)
    bench.main(["--files", "10", "--warm-runs", "2"])
    first, second, *figures = capsys.readouterr().out.splitlines()
    assert first.startswith("machine: ")
    assert second.startswith("scans of 10 files: cold ")
    assert [line.split()[0] for line in figures] == ["catalog.cold", "catalog.warm"]
    assert all(re.fullmatch(r"[^ ]+ \d+\.\d+ s \(aim <= \d+(\.\d+)?\) (ok|short)", line) for line in figures)
    assert [path.name for path in tmp_path.iterdir()] == ["library-10"]
