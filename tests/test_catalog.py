import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import load_file, save_file

from backend.errors import ModelFileError, UserError
from backend.families import FAMILIES
from backend.model_manager.catalog import Catalog, ModelRecord
from backend.model_manager.identity import Kind
from backend.model_manager.inventory.hashes import HashIndex
from backend.model_manager.inventory.model_index import Choice
from backend.model_manager.inventory.scan import Format
from backend.model_manager.inventory.sidecars import Notes
from backend.model_manager.inventory.trees import ModelFolder
from backend.paths import ROOT

LORA = {
    f"lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_{part}.{end}": shape
    for part in "kv"
    for end, shape in {"alpha": (), "lora_down.weight": (4, 768), "lora_up.weight": (320, 4)}.items()
}
EMBEDDING = {"emb_params": (3, 768)}


def write(path: Path, shapes: Mapping[str, tuple[int, ...]], **metadata: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_arrays({name: np.zeros(shape, np.float16) for name, shape in shapes.items()}, path, metadata)
    return path


def names(catalog: Catalog, kind: Kind = Kind.CHECKPOINT) -> list[str]:
    return [record.name for record in catalog.records(kind)]


def every(catalog: Catalog) -> dict[str, ModelRecord]:
    return {record.name: record for kind in Kind for record in catalog.records(kind)}


@pytest.fixture
def folder(tmp_path: Path, tiny_checkpoint: Path) -> Path:
    (tmp_path / "sub").mkdir()
    shutil.copy(tiny_checkpoint, tmp_path / "beta.safetensors")
    shutil.copy(tiny_checkpoint, tmp_path / "sub" / "Alpha.safetensors")
    return tmp_path


@pytest.fixture
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data") / "models.sqlite3"


def test_checkpoints_are_found_below_their_folders(folder: Path) -> None:
    save_file({"x": torch.zeros(4, 4)}, folder / "other.safetensors")
    catalog = Catalog((folder, folder / "not there"))
    assert names(catalog) == ["beta", "other", "sub/Alpha"]
    assert catalog.names() == ["beta", "sub/Alpha"]
    assert [record.family for record in catalog.records()] == ["sd1", "", "sd1"]
    assert [(record.root, record.folder) for record in catalog.records()][1:] == [(folder, ""), (folder, "sub")]
    with pytest.raises(ModelFileError, match=r"^other\.safetensors cannot be told: "):
        catalog.find("other")


def test_content_decides_the_shelf_and_the_folder_gets_a_remark(folder: Path) -> None:
    write(folder / "ink.safetensors", LORA)
    write(folder / "sub" / "hand.sft", EMBEDDING)
    catalog = Catalog((folder,))
    assert names(catalog) == ["beta", "sub/Alpha"]
    (lora,) = catalog.records(Kind.LORA)
    assert (lora.name, lora.family, lora.identity.kind, lora.problem) == ("ink", "sd1", Kind.LORA, "")
    remark = "ink.safetensors lies among the checkpoints; by its content it is listed with the LoRAs."
    assert lora.remark == remark
    assert names(catalog, Kind.EMBEDDING) == ["sub/hand"]
    assert catalog.find("hand", Kind.EMBEDDING).remark
    assert catalog.find("beta").remark == ""
    with pytest.raises(ModelFileError, match=r"^ink\.safetensors is no checkpoint: it is listed with the LoRAs\.$"):
        catalog.find("ink")


def test_a_pickle_is_listed_and_never_opened(folder: Path) -> None:
    path = folder / "old.ckpt"
    path.write_bytes(b"never opened")
    before = path.stat().st_atime_ns
    os.utime(path, ns=(before - 10**15, path.stat().st_mtime_ns))  # so old that any reading renews it
    before = path.stat().st_atime_ns
    (folder / "loras").mkdir()
    (folder / "loras" / "style.pt").write_bytes(b"never opened")
    catalog = Catalog((folder, ModelFolder(path=folder / "loras", kind=Kind.LORA)))
    assert names(catalog) == ["beta", "old", "sub/Alpha"]
    record = catalog.records()[1]
    assert (record.format, record.family, record.identity.kind) == (Format.PICKLE, "", Kind.UNKNOWN)
    assert "convert it to safetensors" in record.problem
    assert names(catalog, Kind.LORA) == ["style"]  # what it is is not known; its folder says what it is meant to be
    assert path.stat().st_atime_ns == before
    assert catalog.looked_into == 2
    shutil.copy(folder / "beta.safetensors", folder / "old.safetensors")
    assert [record.format for record in catalog.records()] == [Format.SAFETENSORS] * 3  # it hides what it was made of


def test_a_diffusers_folder_is_one_model(folder: Path) -> None:
    home = folder / "sub" / "pipe-1.0"
    write(home / "unet" / "diffusion_pytorch_model.safetensors", {"x": (2,)})
    (home / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline"}))
    catalog = Catalog((folder,))
    assert names(catalog) == ["beta", "sub/Alpha", "sub/pipe-1.0"]
    record = catalog.records()[2]
    assert (record.format, record.path, record.folder) == (Format.DIFFUSERS, home, "sub")
    assert record.size == sum(path.stat().st_size for path in home.rglob("*") if path.is_file())
    write(home / "unet" / "more" / "x.safetensors", {"x": (2,)})
    assert catalog.records()[2].size > record.size
    assert names(Catalog((home,))) == ["pipe-1.0"]


@pytest.mark.parametrize(
    "name", ["sub/Alpha", "alpha", "Alpha.safetensors", "sub/alpha [0123456789]", "Alpha.safetensors [0123456789]"]
)
def test_a_checkpoint_answers_to_the_names_people_use(name: str, folder: Path) -> None:
    assert Catalog((folder,)).find(name).path == folder / "sub" / "Alpha.safetensors"


def test_brackets_may_be_part_of_a_name(folder: Path) -> None:
    shutil.copy(folder / "beta.safetensors", folder / "beta [pruned].safetensors")
    catalog = Catalog((folder,))
    assert catalog.find("beta [pruned]").name == "beta [pruned]"
    assert catalog.find("beta [0123456789]").name == "beta"
    with pytest.raises(ModelFileError, match="did you mean"):
        catalog.find("beta [full]")


def test_a_lora_answers_to_its_trainer_s_name_and_to_its_own_first(tmp_path: Path) -> None:
    write(tmp_path / "renamed.safetensors", LORA, ss_output_name="Ink_Wash")
    write(tmp_path / "other.safetensors", LORA, ss_output_name="renamed")
    catalog = Catalog((ModelFolder(path=tmp_path, kind=Kind.LORA),))
    assert catalog.find("ink_wash", Kind.LORA).name == "renamed"
    assert catalog.find("renamed", Kind.LORA).name == "renamed"


def test_no_name_is_the_starter_or_the_first(folder: Path) -> None:
    catalog = Catalog((folder,))
    assert catalog.find("").name == "beta"
    shutil.copy(folder / "beta.safetensors", folder / "starter.safetensors")
    assert catalog.find("").name == "starter"


def test_an_empty_folder_says_where_to_put_files(tmp_path: Path) -> None:
    catalog = Catalog((tmp_path,))
    with pytest.raises(ModelFileError, match=f"There is no checkpoint: put a .safetensors file into {tmp_path}"):
        catalog.find("")
    with pytest.raises(ModelFileError, match=r"There is no VAE called 'x': there are no VAEs at all\."):
        catalog.find("x", Kind.VAE)


def test_the_first_folder_s_name_wins(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    second = tmp_path_factory.mktemp("second")
    shutil.copy(folder / "beta.safetensors", second)
    for order in ((folder, second), (second, folder)):
        assert Catalog(order).find("beta").path.parent == order[0]


def test_a_folder_in_a_folder_lists_its_own(folder: Path) -> None:
    catalog = Catalog((folder, folder / "sub", folder / "sub"))
    assert names(catalog) == ["Alpha", "beta"]


def test_a_changed_file_is_looked_into_again_and_an_unchanged_one_is_not(folder: Path) -> None:
    catalog = Catalog((folder,))
    before = {record.name: record for record in catalog.records()}
    path = folder / "beta.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    after = {record.name: record for record in catalog.records()}
    assert after["sub/Alpha"] is before["sub/Alpha"]
    assert (before["beta"].family, after["beta"].family) == ("sd1", "")
    assert "cut short" in after["beta"].problem
    assert catalog.looked_into == 3


def test_what_is_no_model_is_called_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "page.safetensors").write_bytes(b"<!DOCTYPE html><html><body>Please log in</body></html>")
    (tmp_path / "empty.safetensors").touch()
    problems = {record.name: record.problem for record in Catalog((tmp_path,)).records()}
    assert "web page" in problems["page"]
    assert "empty" in problems["empty"]


def test_the_native_size_is_the_files_word_or_the_familys(folder: Path) -> None:
    catalog = Catalog((folder,))
    assert catalog.find("beta").native_size == (512, 512)
    assert FAMILIES["sd1"].native_size == 512
    path = folder / "beta.safetensors"
    save_file(load_file(path), path, metadata={"modelspec.resolution": "128x96"})
    assert catalog.find("beta").native_size == (128, 96)


def test_a_copy_that_just_ended_is_found_by_name(folder: Path) -> None:
    """Also where the file system gives no sign: the folder's time is set back to what it was."""
    catalog = Catalog((folder,))
    catalog.refresh()
    stat = (folder / "sub").stat()
    shutil.copy(folder / "beta.safetensors", folder / "sub" / "new.safetensors")
    os.utime(folder / "sub", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert catalog.find("new").name == "sub/new"
    (folder / "sub" / "new.safetensors").unlink()
    with pytest.raises(ModelFileError, match="There is no checkpoint called 'new'"):
        catalog.find("new")


def test_links_lead_only_into_model_folders_and_end(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside")
    shutil.copy(folder / "beta.safetensors", outside / "secret.safetensors")
    write(outside / "sidecar.safetensors", LORA)
    (folder / "loop").symlink_to(folder)
    (folder / "sub" / "self").symlink_to(folder / "sub" / "self")
    (folder / "away").symlink_to(outside)
    (folder / "stolen.safetensors").symlink_to(outside / "secret.safetensors")
    (folder / "nowhere.safetensors").symlink_to(folder / "gone.safetensors")
    (folder / "again.safetensors").symlink_to(folder / "beta.safetensors")
    catalog = Catalog((folder,))
    assert names(catalog) == ["again", "beta", "sub/Alpha"]
    assert {skipped.path.name for skipped in catalog.skipped} == {"away", "stolen.safetensors"}
    for skipped in catalog.skipped:
        assert "which lies in no model folder: add that folder to use it." in skipped.reason
    both = Catalog((folder, outside))
    assert names(both) == ["again", "beta", "secret", "stolen", "sub/Alpha"]
    assert both.skipped == []


def test_a_root_may_be_a_link(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    link = tmp_path_factory.mktemp("links") / "models"
    link.symlink_to(folder)
    assert Catalog((link, folder)).find("beta").path == folder / "beta.safetensors"


@pytest.mark.skipif(os.name == "nt", reason="names there are text")
def test_names_that_are_no_text_hidden_files_and_pipes_are_left_out(folder: Path) -> None:
    bad = os.fsencode(folder) + b"/caf\xe9.safetensors"
    Path(os.fsdecode(bad)).write_bytes(b"x")
    (folder / "._beta.safetensors").write_bytes(b"x")
    (folder / ".trash").mkdir()
    shutil.copy(folder / "beta.safetensors", folder / ".trash")
    os.mkfifo(folder / "pipe.safetensors")
    catalog = Catalog((folder,))
    assert names(catalog) == ["beta", "sub/Alpha"]
    (skipped,) = catalog.skipped
    assert skipped.reason.endswith("has a name that is no text: rename it to use it.")
    skipped.reason.encode()


def test_an_installation_is_searched_as_it_lies(tmp_path: Path, tiny_checkpoint: Path) -> None:
    for place in ("Stable-diffusion/sub", "Lora", "ESRGAN"):
        (tmp_path / "models" / place).mkdir(parents=True)
    shutil.copy(tiny_checkpoint, tmp_path / "models" / "Stable-diffusion" / "sub" / "a.safetensors")
    write(tmp_path / "models" / "Lora" / "ink.safetensors", LORA)
    (tmp_path / "models" / "ESRGAN" / "4x.pth").write_bytes(b"x")
    (tmp_path / "outputs").mkdir()
    write(tmp_path / "outputs" / "no.safetensors", LORA)
    catalog = Catalog((ModelFolder(path=tmp_path),))
    assert {name: record.kind for name, record in every(catalog).items()} == {
        "sub/a": Kind.CHECKPOINT,
        "ink": Kind.LORA,
        "4x": Kind.UPSCALER,
    }
    # A place that comes later is seen too.
    write(tmp_path / "embeddings" / "hand.safetensors", EMBEDDING)
    assert names(catalog, Kind.EMBEDDING) == ["hand"]


def test_a_folder_can_be_added_and_removed_and_is_remembered(
    folder: Path, index: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    more = tmp_path_factory.mktemp("more")
    write(more / "ink.safetensors", LORA)
    first, second = Catalog((folder,), index), Catalog((), index)
    first.refresh()
    second.refresh()
    first.add_folder(ModelFolder(path=more, kind=Kind.LORA))
    assert names(first, Kind.LORA) == names(second, Kind.LORA) == ["ink"]
    assert [state.added for state in first.folders()] == [False, True]
    for path, words in {
        Path("relative"): "name one with its full path",
        more / "none": "There is no folder",
        Path(more.anchor): "is a whole disk",
        more / ".." / more.name: "is searched already",
        folder: "is searched already",
    }.items():
        with pytest.raises(UserError, match=words):
            first.add_folder(ModelFolder(path=path))
    with pytest.raises(UserError, match="was not added here"):
        first.remove_folder(folder)
    assert [state.folder for state in Catalog((), index).folders()] == [ModelFolder(path=more, kind=Kind.LORA)]
    first.remove_folder(more)
    assert names(first, Kind.LORA) == names(second, Kind.LORA) == []


def test_a_new_process_looks_into_nothing_that_it_knows(folder: Path, index: Path) -> None:
    write(folder / "ink.safetensors", LORA, ss_output_name="ink", sshs_model_hash="ab" * 32)
    (folder / "broken.safetensors").write_bytes(b"123")
    first = Catalog((folder,), index)
    known = every(first)
    first.close()
    assert first.looked_into == 4
    program = """
import sys
from pathlib import Path
from backend.model_manager.catalog import Catalog
from backend.model_manager.identity import Kind
catalog = Catalog((Path(sys.argv[1]),), Path(sys.argv[2]))
print(sorted(repr(record) for kind in Kind for record in catalog.records(kind)))
print(catalog.looked_into)
"""
    command = [sys.executable, "-c", program, str(folder), str(index)]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert told == f"{sorted(repr(record) for record in known.values())}\n0\n"


def test_other_rules_look_into_everything_again(folder: Path, index: Path) -> None:
    Catalog((folder,), index).refresh()
    with sqlite3.connect(index) as database:
        database.execute("update facts set value = 'older'")
    again = Catalog((folder,), index)
    again.refresh()
    assert again.looked_into == 2


def test_ten_thousand_files_are_looked_into_once(tmp_path: Path, index: Path) -> None:
    one = write(tmp_path / "0" / "0.safetensors", EMBEDDING)
    for k in range(1, 100):
        (tmp_path / str(k)).mkdir()
    for k in range(1, 10_000):
        os.link(one, tmp_path / str(k % 100) / f"{k}.safetensors")
    folders = (ModelFolder(path=tmp_path, kind=Kind.EMBEDDING),)
    cold, warm = Catalog(folders, index), Catalog(folders, index)
    assert len(cold.records(Kind.EMBEDDING)) == 10_000
    assert len(warm.records(Kind.EMBEDDING)) == 10_000
    assert (cold.looked_into, warm.looked_into) == (10_000, 0)
    (tmp_path / "7" / "7.safetensors").unlink()
    assert len(warm.records(Kind.EMBEDDING)) == 9_999
    assert warm.looked_into == 0
    with pytest.raises(ModelFileError, match=r"called '\?' among the 9,999 that there are\."):
        warm.find("?", Kind.EMBEDDING)


DAMAGES: Mapping[str, Callable[[Path], object]] = {
    "text": lambda path: path.write_bytes(b"no database at all"),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:5000]),
    "overwritten": lambda path: path.write_bytes(path.read_bytes()[:100] + b"\xff" * 20_000),
    "removed": lambda path: path.unlink(),
    "rows": lambda path: sqlite3.connect(path, isolation_level=None).execute("update files set identity = '{'"),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_index_is_filled_again(damage: str, folder: Path, index: Path) -> None:
    first = Catalog((folder,), index)
    known = every(first)
    first.close()
    DAMAGES[damage](index)
    again = Catalog((folder,), index)
    assert every(again) == known
    assert again.looked_into == 2


def test_an_index_that_breaks_while_it_is_used_costs_nothing_but_time(folder: Path, index: Path) -> None:
    catalog = Catalog((folder,), index)
    catalog.refresh()
    with sqlite3.connect(index) as database:
        for table in ("files", "hashes", "data_hashes", "choices", "roots"):
            database.execute(f"drop table {table}")
    shutil.copy(folder / "beta.safetensors", folder / "new.safetensors")
    assert names(catalog) == ["beta", "new", "sub/Alpha"]
    assert catalog.with_hash("0123456789") is None
    with pytest.raises(UserError, match="Your choice could not be remembered"):
        catalog.choose(catalog.find("beta"), Choice(distilled="lcm"))


def test_two_processes_share_an_index(folder: Path, index: Path) -> None:
    for k in range(200):
        write(folder / f"{k}.safetensors", LORA)
    program = """
import sys
from pathlib import Path
from backend.model_manager.catalog import Catalog
from backend.model_manager.identity import Kind
sys.stdin.readline()
catalog = Catalog((Path(sys.argv[1]),), Path(sys.argv[2]))
for _ in range(5):
    catalog.refresh()
print(len(catalog.records(Kind.LORA)), len(catalog.records()))
"""
    Catalog((), index).close()  # the file is there, as it is from the second start on
    command = [sys.executable, "-c", program, str(folder), str(index)]
    processes = [
        subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.communicate() for process in processes]
    assert answers == [("200 2\n", "")] * 2
    warm = Catalog((folder,), index)
    warm.refresh()
    assert (warm.looked_into, list(index.parent.glob("*.bad-*"))) == (0, [])


def test_files_may_go_while_they_are_looked_into(tmp_path: Path, index: Path) -> None:
    for k in range(300):
        write(tmp_path / f"{k // 10:02}" / f"{k}.safetensors", LORA)
    catalog = Catalog((ModelFolder(path=tmp_path, kind=Kind.LORA),), index)
    seen = threading.Event()

    def remove() -> None:
        seen.wait()
        for k in range(15, 30):
            shutil.rmtree(tmp_path / f"{k:02}")
        for k in range(0, 150, 2):
            (tmp_path / f"{k // 10:02}" / f"{k}.safetensors").unlink()

    remover = threading.Thread(target=remove)
    remover.start()
    seen.set()
    catalog.refresh()
    remover.join()
    records = catalog.records(Kind.LORA)
    assert sorted(int(record.path.stem) for record in records) == list(range(1, 150, 2))
    assert not any(record.problem for record in records)


@pytest.mark.skipif(os.name == "nt", reason="there are no such permissions there")
def test_a_file_that_may_not_be_read_is_tried_again() -> None:
    with TemporaryDirectory() as place:
        folder = Path(place)
        folder.chmod(0o755)
        catalog = Catalog((ModelFolder(path=folder, kind=Kind.LORA),))
        catalog.refresh()
        path = write(folder / "ink.safetensors", LORA)
        path.chmod(0)
        privileged = os.geteuid() == 0
        if privileged:
            os.seteuid(65534)  # root may read everything
        try:
            (record,) = catalog.records(Kind.LORA)
        finally:
            if privileged:
                os.seteuid(0)
        assert record.problem == "ink.safetensors cannot be read: Permission denied."
        path.chmod(0o644)
        catalog.refresh()
        assert catalog.find("ink", Kind.LORA).problem == ""


def test_a_moved_file_keeps_its_hash_and_what_a_person_said(folder: Path, index: Path) -> None:
    catalog, hashes = Catalog((folder,), index), HashIndex(index)
    record = catalog.find("beta")
    digest = hashes.sha256(record).result()
    assert catalog.choose(record, Choice(distilled="lcm")).identity.distilled == "lcm"
    (folder / "sub" / "deeper").mkdir()
    record.path.rename(folder / "sub" / "deeper" / "gamma.safetensors")
    moved = catalog.find("gamma")
    assert hashes.known(moved) == digest
    assert (moved.identity.distilled, moved.chosen) == ("lcm", True)


def test_a_choice_follows_the_content_once_its_hash_is_known(folder: Path, index: Path) -> None:
    """Alpha is a copy of beta with another time."""
    catalog, hashes = Catalog((folder,), index), HashIndex(index)
    os.utime(folder / "sub" / "Alpha.safetensors", ns=(0, 10**18))
    beta = catalog.choose(catalog.find("beta"), Choice(prediction="v", zero_terminal_snr=True))
    assert (beta.identity.prediction, beta.identity.zero_terminal_snr, beta.chosen) == ("v", True, True)
    assert not catalog.find("alpha").chosen
    hashes.sha256(beta).result()
    hashes.sha256(catalog.find("alpha")).result()
    alpha = catalog.find("alpha")
    assert (alpha.identity.prediction, alpha.chosen) == ("v", True)
    assert Catalog((folder,), index).find("alpha") == alpha
    assert not catalog.choose(alpha, None).chosen
    assert not catalog.find("beta").chosen


def test_another_file_under_the_same_name_is_not_what_was_said_of_the_first(folder: Path, index: Path) -> None:
    catalog = Catalog((folder,), index)
    catalog.choose(catalog.find("beta"), Choice(distilled="turbo"))
    os.utime(folder / "beta.safetensors", ns=(0, 10**18))
    assert catalog.find("beta").chosen  # the same size: most likely it was only touched
    path = folder / "beta.safetensors"
    save_file(load_file(path), path, metadata={"now": "another"})
    assert not catalog.find("beta").chosen


def test_a_person_can_say_what_an_unknown_file_is_but_not_make_a_broken_one_whole(folder: Path, index: Path) -> None:
    save_file({"x": torch.zeros(4, 4)}, folder / "odd.safetensors")
    (folder / "broken.safetensors").write_bytes(b"123")
    catalog = Catalog((folder,), index)
    _, broken, odd, _ = catalog.records()
    said = catalog.choose(odd, Choice(kind=Kind.LORA, family="sdxl", variant="lora"))
    assert (said.kind, said.family, said.problem, said.identity.title) == (Kind.LORA, "sdxl", "", "LoRA for SDXL")
    assert names(catalog, Kind.LORA) == ["odd"]
    said = catalog.choose(broken, Choice(kind=Kind.LORA, family="sdxl"))
    assert (said.kind, said.family, said.problem) == (Kind.LORA, "", broken.problem)


def test_a_model_is_found_by_its_hash(folder: Path, index: Path) -> None:
    stated = "ab" * 32
    path = write(folder / "ink.safetensors", LORA, sshs_model_hash=stated.upper())
    catalog, hashes = Catalog((folder,), index), HashIndex(index)
    assert catalog.with_hash(stated[:12]) == catalog.with_hash(f" {stated.upper()} ", Kind.LORA)
    found = catalog.with_hash(stated[:12])
    assert found and found.path == path
    assert catalog.with_hash(stated[:12], Kind.CHECKPOINT) is None
    beta = catalog.find("beta")
    digest = hashes.sha256(beta).result()
    assert catalog.with_hash(digest[:10]) in (beta, catalog.find("alpha"))
    for nothing in ("", "abc", "%%%%%%%%%%", "0" * 10, "g" * 10, digest[:7]):
        assert catalog.with_hash(nothing) is None
    beta.path.unlink()
    assert catalog.with_hash(digest) is None


def test_a_started_catalog_finds_changes_by_itself_and_tells(
    folder: Path, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.model_manager.catalog.PAUSE", 0.05)
    others = set(threading.enumerate())
    catalog = Catalog((folder,), index)
    told = threading.Event()
    forget = catalog.subscribe(told.set)
    catalog.start()
    assert catalog.wait(60)
    assert told.wait(60)
    assert [record.name for record in catalog.records(look=False)] == ["beta", "sub/Alpha"]
    told.clear()
    shutil.copy(folder / "beta.safetensors", folder / "new.safetensors")
    assert told.wait(60)
    while len(catalog.records(look=False)) != 3:
        assert told.wait(60)
    forget()
    catalog.close()
    assert not [thread for thread in threading.enumerate() if thread not in others]
    assert catalog.waiting == 0


def test_sidecars_are_read_and_notes_are_kept_beside(folder: Path) -> None:
    (folder / "beta.preview.png").write_bytes(b"a picture")
    catalog = Catalog((folder,))
    record = catalog.find("beta")
    told: list[int] = []
    catalog.subscribe(lambda: told.append(1))
    catalog.write_notes(record, Notes(notes="good in the evening"))
    assert told == [1]
    sidecar = catalog.sidecar(record)
    assert (sidecar.preview, sidecar.notes.notes) == (folder / "beta.preview.png", "good in the evening")
    assert json.loads((folder / "beta.json").read_text())["notes"] == "good in the evening"
    assert names(catalog) == ["beta", "sub/Alpha"]


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
