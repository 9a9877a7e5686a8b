import hashlib
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from backend.errors import ModelFileError
from backend.model_manager.catalog import Catalog
from backend.model_manager.identity import Kind
from backend.model_manager.inventory.hashes import HashIndex, autov2
from backend.model_manager.inventory.trees import ModelFolder
from tests.test_catalog import LORA, write


@pytest.fixture
def folder(tmp_path: Path, tiny_checkpoint: Path) -> Path:
    shutil.copy(tiny_checkpoint, tmp_path / "beta.safetensors")
    return tmp_path


def test_a_hash_is_taken_once_for_a_file_as_it_is(folder: Path) -> None:
    path = folder / "beta.safetensors"
    record = Catalog((folder,)).find("beta")
    index = HashIndex(folder / "models.sqlite3")
    assert index.known(record) == ""
    digest = index.sha256(record).result()
    assert digest == index.known(record) == hashlib.sha256(path.read_bytes()).hexdigest()
    assert autov2(digest) == digest[:10]
    # Same size and time: the index answers without reading, even for another process's index object.
    stat = path.stat()
    path.write_bytes(b"x" * stat.st_size)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert HashIndex(folder / "models.sqlite3").sha256(record).result() == digest
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 10**9))
    changed = HashIndex(folder / "models.sqlite3").sha256(Catalog((folder,)).records()[0])
    assert changed.result() != digest


def test_an_index_of_the_first_version_is_gone_on_with(folder: Path) -> None:
    import sqlite3

    record = Catalog((folder,)).find("beta")
    with sqlite3.connect(folder / "models.sqlite3") as database:
        database.execute("create table hashes (path text primary key, size integer, modified integer, sha256 text)")
        database.execute("insert into hashes values (?, ?, ?, 'taken before')", record.key)
    assert HashIndex(folder / "models.sqlite3").sha256(record).result() == "taken before"


def test_a_lora_is_known_by_its_tensors_too(tmp_path: Path) -> None:
    """AUTOMATIC1111 writes the sha256 of what follows the header, which survives a change of the metadata."""
    path = write(tmp_path / "ink.safetensors", LORA, note="x")
    index = tmp_path / "models.sqlite3"
    catalog = Catalog((ModelFolder(path=tmp_path, kind=Kind.LORA),), index)
    record = catalog.find("ink", Kind.LORA)
    whole = HashIndex(index).sha256(record).result()
    data = path.read_bytes()
    assert whole == hashlib.sha256(data).hexdigest()
    tensors = hashlib.sha256(data[8 + int.from_bytes(data[:8], "little") :]).hexdigest()
    assert tensors != whole
    assert catalog.with_hash(tensors[:12]) == catalog.with_hash(whole[:12]) == record


def test_a_folder_s_hash_is_that_of_its_list_of_files(tmp_path: Path) -> None:
    home = tmp_path / "pipe"
    (home / "unet").mkdir(parents=True)
    (home / "model_index.json").write_text("{}")
    (home / "unet" / "a.safetensors").write_bytes(b"one")
    index = HashIndex(tmp_path / "models.sqlite3")
    digest = index.sha256(Catalog((tmp_path,)).records()[0]).result()
    lines = [f"{hashlib.sha256(b'{}').hexdigest()}  model_index.json\n"]
    lines.append(f"{hashlib.sha256(b'one').hexdigest()}  unet/a.safetensors\n")
    assert digest == hashlib.sha256("".join(lines).encode()).hexdigest()
    (home / "unet" / "a.safetensors").write_bytes(b"two!")
    assert index.sha256(Catalog((tmp_path,)).records()[0]).result() != digest


def test_the_hash_of_a_file_that_changed_meanwhile_is_not_remembered(folder: Path) -> None:
    catalog, index = Catalog((folder,)), HashIndex(folder / "models.sqlite3")
    record = catalog.find("beta")
    older = replace(record, modified=record.modified - 1)
    assert index.sha256(older).result() == hashlib.sha256(record.path.read_bytes()).hexdigest()
    assert index.known(older) == ""


def test_a_file_that_is_gone_gets_a_sentence(folder: Path) -> None:
    record = Catalog((folder,)).find("beta")
    record.path.unlink()
    with pytest.raises(ModelFileError, match=r"^beta\.safetensors cannot be read: "):
        HashIndex(folder / "models.sqlite3").sha256(record).result()


def test_closing_ends_what_is_being_hashed(folder: Path) -> None:
    record = Catalog((folder,)).find("beta")
    index = HashIndex(folder / "models.sqlite3")
    os.truncate(record.path, 2**40)  # a terabyte of nothing, which would take an hour
    waiting = index.sha256(record)
    while not waiting.running():
        pass
    index.close()
    with pytest.raises(ModelFileError, match="was closed"):
        waiting.result()
