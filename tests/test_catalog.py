import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from backend.errors import ModelFileError
from backend.families import FAMILIES
from backend.model_manager.catalog import Catalog
from backend.model_manager.hashes import HashIndex


@pytest.fixture
def folder(tmp_path: Path, tiny_checkpoint: Path) -> Path:
    (tmp_path / "sub").mkdir()
    shutil.copy(tiny_checkpoint, tmp_path / "beta.safetensors")
    shutil.copy(tiny_checkpoint, tmp_path / "sub" / "Alpha.safetensors")
    return tmp_path


def test_checkpoints_are_found_below_their_folders_by_content(folder: Path) -> None:
    save_file({"lora_unet_x.lora_down.weight": torch.zeros(4, 4)}, folder / "lora.safetensors")
    (folder / "old.ckpt").write_bytes(b"never opened")
    catalog = Catalog((folder, folder / "not there"))
    assert [record.name for record in catalog.records()] == ["beta", "lora", "sub/Alpha"]
    assert catalog.names() == ["beta", "sub/Alpha"]
    assert {record.family for record in catalog.records()} == {"sd1", ""}
    with pytest.raises(ModelFileError, match=r"lora\.safetensors is no checkpoint that Atelier can run"):
        catalog.find("lora")


@pytest.mark.parametrize("name", ["sub/Alpha", "alpha", "Alpha.safetensors", "sub/alpha [0123456789]"])
def test_a_checkpoint_answers_to_the_names_people_use(name: str, folder: Path) -> None:
    assert Catalog((folder,)).find(name).path == folder / "sub" / "Alpha.safetensors"


def test_no_name_is_the_starter_or_the_first(folder: Path) -> None:
    catalog = Catalog((folder,))
    assert catalog.find("").name == "beta"
    shutil.copy(folder / "beta.safetensors", folder / "starter.safetensors")
    assert catalog.find("").name == "starter"


def test_an_empty_folder_says_where_to_put_files(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=f"There is no checkpoint: put a .safetensors file into {tmp_path}"):
        Catalog((tmp_path,)).find("")


def test_a_changed_file_is_looked_into_again_and_an_unchanged_one_is_not(folder: Path) -> None:
    catalog = Catalog((folder,))
    before = {record.name: record for record in catalog.records()}
    path = folder / "beta.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    after = {record.name: record for record in catalog.records()}
    assert after["sub/Alpha"] is before["sub/Alpha"]
    assert (before["beta"].family, after["beta"].family) == ("sd1", "")
    assert "cut short" in after["beta"].problem


def test_the_native_size_is_the_files_word_or_the_familys(folder: Path) -> None:
    catalog = Catalog((folder,))
    assert catalog.find("beta").native_size == (512, 512)
    assert FAMILIES["sd1"].native_size == 512
    path = folder / "beta.safetensors"
    save_file(load_file(path), path, metadata={"modelspec.resolution": "128x96"})
    assert catalog.find("beta").native_size == (128, 96)


def test_a_hash_is_taken_once_for_a_file_as_it_is(folder: Path) -> None:
    import hashlib

    path = folder / "beta.safetensors"
    record = Catalog((folder,)).find("beta")
    digest = HashIndex(folder / "models.sqlite3").sha256(record).result()
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
    # Same size and time: the index answers without reading, even for another process's index object.
    stat = path.stat()
    path.write_bytes(b"x" * stat.st_size)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert HashIndex(folder / "models.sqlite3").sha256(record).result() == digest
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 10**9))
    changed = HashIndex(folder / "models.sqlite3").sha256(Catalog((folder,)).records()[0])
    assert changed.result() != digest


def test_the_exact_name_wins(tmp_path: Path, tiny_checkpoint: Path) -> None:
    (tmp_path / "anime").mkdir()
    for name in ("anime/base", "base", "Base [pruned]", "anime/other"):
        shutil.copy(tiny_checkpoint, tmp_path / f"{name}.safetensors")
    catalog = Catalog((tmp_path,))
    assert catalog.find("base").name == "base"
    assert catalog.find("anime/base").name == "anime/base"
    assert catalog.find("base [pruned]").name == "Base [pruned]"
    assert catalog.find("base [0123456789]").name == "base"
    assert catalog.find("other.safetensors").name == "anime/other"
