import json
import os
from pathlib import Path

import pytest

from backend.errors import UserError
from backend.model_manager.catalog import Catalog
from backend.model_manager.identity import Kind
from backend.model_manager.inventory.model_index import Choice
from backend.model_manager.inventory.trash import FOLDER, NOTE, companions, restore, trash

SIDECARS = (
    *("style.json", "style.civitai.info", "style.preview.png", "style.png", "style.preview.jpeg", "style.webp"),
    *("style.yaml", "style.txt", "style.preview.old-1.png", "style.old-12.jpg"),
)
OTHERS = ("style2.safetensors", "style2.json", "style.v2.png", "other.png", "style.preview.old-x.png", "style.vae.pt")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "loras"
    (root / "ink").mkdir(parents=True)
    for name in ("style.safetensors", *SIDECARS, *OTHERS):
        (root / "ink" / name).write_text(name)
    return root


def there(root: Path) -> dict[str, str]:
    """Every file below a folder with what is in it."""
    return {
        path.relative_to(root).as_posix(): path.read_text(encoding="utf-8")
        for path in root.rglob("*")
        if path.is_file() and not path.is_symlink()
    }


def visible(root: Path) -> set[str]:
    return {name for name in there(root) if not name.startswith(FOLDER)}


def test_a_model_goes_with_what_belongs_to_it_and_all_comes_back(root: Path) -> None:
    model, before = root / "ink" / "style.safetensors", there(root)
    held = model.open("rb")
    token = trash(model, [root.parent, root])
    assert visible(root) == {f"ink/{name}" for name in OTHERS}
    (place,) = (root / FOLDER).iterdir()
    assert place.name.endswith(f"-{token}")
    assert {path.name for path in (place / "ink").iterdir()} == {"style.safetensors", *SIDECARS}
    assert held.read() == b"style.safetensors"  # whoever uses it goes on
    held.close()
    assert set(restore(token, [root])) == {root / "ink" / name for name in ("style.safetensors", *SIDECARS)}
    assert there(root) == before
    assert not (root / FOLDER).exists()
    with pytest.raises(UserError, match="nothing in the trash"):
        restore(token, [root])


def test_two_of_one_name_both_come_back(root: Path) -> None:
    model = root / "ink" / "style.safetensors"
    first = trash(model, [root])
    model.write_text("the second")
    second = trash(model, [root])
    assert first != second
    restore(first, [root])
    assert model.read_text() == "style.safetensors"
    before = there(root)
    with pytest.raises(UserError, match=r"another style\.safetensors in .* now"):
        restore(second, [root])
    assert there(root) == before
    model.unlink()
    restore(second, [root])
    assert model.read_text() == "the second"


def test_what_lies_in_the_place_of_a_sidecar_keeps_all_away(root: Path) -> None:
    token = trash(root / "ink" / "style.safetensors", [root])
    (root / "ink" / "style.json").write_text("written meanwhile")
    before = there(root)
    with pytest.raises(UserError, match=r"another style\.json"):
        restore(token, [root])
    assert there(root) == before


def test_what_belongs_to_a_twin_as_well_stays(root: Path) -> None:
    """A converted model and its pickle share their notes and their preview."""
    pickle = root / "ink" / "style.ckpt"
    pickle.write_text("pickle")
    assert companions(pickle) == []
    token = trash(pickle, [root])
    assert visible(root) == {f"ink/{name}" for name in ("style.safetensors", *SIDECARS, *OTHERS)}
    assert companions(root / "ink" / "style.safetensors") == sorted(root / "ink" / name for name in SIDECARS)
    restore(token, [root])
    assert pickle.read_text() == "pickle"


def test_a_diffusers_folder_goes_as_one(tmp_path: Path) -> None:
    root = tmp_path / "checkpoints"
    folder = root / "sd" / "big-1.5"
    (folder / "unet").mkdir(parents=True)
    (folder / "model_index.json").write_text("{}")
    (folder / "unet" / "config.json").write_text("unet")
    (root / "sd" / "big-1.5.preview.png").write_text("seen")
    (root / "sd" / "big-1.json").write_text("of another")
    before = there(root)
    token = trash(folder, [root])
    assert visible(root) == {"sd/big-1.json"}
    restore(token, [root])
    assert there(root) == before


def test_a_model_behind_a_link_stays_on_its_own_disk(tmp_path: Path, root: Path) -> None:
    """A link leads from one model folder into another: the other's trash is the one that is on the same disk."""
    front = tmp_path / "front"
    front.mkdir()
    (front / "more").symlink_to(root / "ink")
    token = trash(front / "more" / "style.safetensors", [front, root])
    assert not (front / FOLDER).exists()
    assert (root / FOLDER).is_dir()
    restore(token, [front, root])
    assert (front / "more" / "style.safetensors").read_text() == "style.safetensors"


def test_of_a_link_to_a_file_only_the_link_goes(tmp_path: Path, root: Path) -> None:
    front = tmp_path / "front"
    front.mkdir()
    (front / "mine.safetensors").symlink_to(root / "ink" / "style.safetensors")
    before = there(root)
    token = trash(front / "mine.safetensors", [front, root])
    assert not os.path.lexists(front / "mine.safetensors")
    assert there(root) == before
    restore(token, [front, root])
    assert (front / "mine.safetensors").read_text() == "style.safetensors"


def test_a_move_that_fails_half_way_is_undone(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk says no at the fourth file."""
    before = there(root)
    link, calls = os.link, []

    def failing(*arguments: object, **options: object) -> None:
        calls.append(arguments)
        if len(calls) == 4:
            raise OSError(5, "Input/output error")
        link(*arguments, **options)  # pyright: ignore

    rename = Path.rename

    def failing_rename(path: Path, target: Path) -> Path:
        if len(calls) == 4 and target.is_relative_to(root / FOLDER):
            raise OSError(5, "Input/output error")
        return rename(path, target)

    monkeypatch.setattr(os, "link", failing)
    monkeypatch.setattr(Path, "rename", failing_rename)
    with pytest.raises(UserError, match=r"^style\.safetensors could not be thrown away: Input/output error\.$"):
        trash(root / "ink" / "style.safetensors", [root])
    assert len(calls) > 4, "what was moved has to be moved back"
    assert there(root) == before
    assert not (root / FOLDER).exists()


@pytest.mark.parametrize(
    ("gone", "sentence"),
    [("ink/nothing.safetensors", "no longer there"), ("../elsewhere.safetensors", "in one"), (".", "in one")],
)
def test_what_lies_in_no_model_folder_stays(root: Path, gone: str, sentence: str) -> None:
    (root.parent / "elsewhere.safetensors").write_text("mine")
    before = there(root.parent)
    with pytest.raises(UserError, match=sentence):
        trash(root / gone, [root])
    assert there(root.parent) == before


def test_a_trash_that_leads_elsewhere_is_refused(tmp_path: Path, root: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (root / FOLDER).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="is a link"):
        trash(root / "ink" / "style.safetensors", [root])
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize(
    "paths", [["../outside"], ["/etc/outside"], ["a/../../outside"], ["link/outside"], ["C:/outside"], ["a\\b"], [5], 5]
)
def test_a_strangers_note_leads_nowhere(root: Path, tmp_path: Path, paths: object) -> None:
    """An archive with a trash in it, unpacked in the model folder."""
    (tmp_path / "outer").mkdir()
    (root / "link").symlink_to(tmp_path / "outer")
    token = "0123456789abcdef"
    place = root / FOLDER / f"20200101-000000-{token}"
    for inner in ("link", "a", "C:"):
        (place / inner).mkdir(parents=True)
        (place / inner / "outside").write_text("x")
    (place / "a\\b").write_text("x")
    (place / NOTE).write_text(json.dumps({"paths": paths}))
    before = there(tmp_path)
    with pytest.raises(UserError):
        restore(token, [root])
    assert there(tmp_path) == before


@pytest.mark.parametrize("token", ["", "*", "../..", "0123456789ABCDEF", "0" * 16, "?" * 16, "[0-9]" * 3 + "x"])
def test_only_a_token_finds_something(root: Path, token: str) -> None:
    trash(root / "ink" / "style.safetensors", [root])
    with pytest.raises(UserError, match="nothing in the trash"):
        restore(token, [root])


def test_the_catalog_does_not_see_it_and_knows_it_again(tiny_checkpoint: Path) -> None:
    root = tiny_checkpoint.parent
    catalog = Catalog([root])
    (record,) = catalog.records()
    catalog.choose(record, Choice(kind=Kind.CHECKPOINT, family="sd1", prediction="v"))
    token = trash(record.path, [root])
    catalog.refresh()
    assert catalog.records() == []
    assert (root / FOLDER).is_dir()
    assert catalog.skipped == []
    restore(token, [root])
    (again,) = catalog.records()
    assert (again.path, again.identity.prediction, again.chosen) == (record.path, "v", True)
