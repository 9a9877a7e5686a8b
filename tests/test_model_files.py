"""The routes that touch the files of all: trash, conversion, merging, folders."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import save_file

from tests.model_studio import LORA, Studio, checkpoint, options_at, studio_of


@pytest.fixture
def studio(tmp_path: Path, tiny_checkpoint: Path) -> Iterator[Studio]:
    with studio_of(options_at(tmp_path, tiny_checkpoint)) as studio:
        yield studio


def test_trash_and_back(studio: Studio) -> None:
    id = studio.write_lora("sub/ink")
    path = studio.root / "models" / "loras" / "sub" / "ink.safetensors"
    (path.parent / "ink.json").write_text(json.dumps({"activation text": "word"}))
    data = path.read_bytes()
    token = studio.done(f"/{id}/trash")["trashed"]
    assert "ink.safetensors" not in studio.models()
    assert list(path.parent.iterdir()) == []
    assert studio.refused(f"/{id}/trash", status=404)
    assert studio.done("/restore", {"trashed": token}) == {"restored": [str(path), str(path.with_suffix(".json"))]}
    assert path.read_bytes() == data
    assert studio.models()["ink.safetensors"]["trigger"] == "word"
    assert "nothing in the trash" in studio.refused("/restore", {"trashed": token})


def test_a_pickle_is_converted(studio: Studio) -> None:
    (studio.root / "models" / "loras").mkdir(parents=True)
    (studio.root / "models" / "loras" / "old.pt").write_bytes(b"\x80\x02N.")
    studio.app.catalog.refresh()
    old = studio.models()["old.pt"]
    assert (old["kind"], old["convertible"]) == ("lora", True)
    assert "pickle" in old["problem"]
    work = studio.done(f"/{old['id']}/convert")["work"]
    studio.until(lambda: studio.work(work)["state"] == "failed")  # it holds nothing
    assert studio.work(work)["problem"].startswith("old.pt")
    assert studio.done(f"/works/{work}/forget") == {}
    assert studio.get("/works").json()["works"] == []
    assert "no longer in the list" in studio.refused(f"/works/{work}/cancel")
    assert "no pickle" in studio.refused(f"/{checkpoint(studio)}/convert")


def test_a_merge_lies_in_our_own_folder(studio: Studio, tiny_checkpoint: Path) -> None:
    shutil.copy(tiny_checkpoint, tiny_checkpoint.with_name("other.safetensors"))
    studio.app.catalog.refresh()
    a, b = checkpoint(studio), studio.models()["other.safetensors"]["id"]
    wish = {"a": a, "b": b, "c": None, "method": "weighted sum", "multiplier": 0.5, "precision": "keep", "vae": ""}
    work = studio.done("/merge", {**wish, "name": "../my mix.safetensors"})["work"]
    studio.until(lambda: studio.work(work)["state"] in ("finished", "failed"))
    assert studio.work(work) == {
        "id": work,
        "kind": "merge",
        "title": "Merge into my mix",
        "state": "finished",
        "share": 1.0,
        "doing": "",
        "problem": "",
        "note": "",
        "result": "my mix",
    }
    made = studio.models()["my mix.safetensors"]
    assert (made["root"], made["problem"]) == (str(studio.root / "models" / "checkpoints"), "")
    assert "already" in studio.refused("/merge", {**wish, "name": "my mix"})


def test_an_inpainting_version_is_a_recipe_of_three(studio: Studio, tiny_checkpoint: Path) -> None:
    for name in ("base", "wide"):
        shutil.copy(tiny_checkpoint, tiny_checkpoint.with_name(f"{name}.safetensors"))
    studio.app.catalog.refresh()
    ids = {name.partition(".")[0]: model["id"] for name, model in studio.models().items()}
    wish = {"inpainting": True, "checkpoint": ids["tiny"], "base": ids["base"], "inpainting_base": ids["wide"]}
    work = studio.done("/merge", {**wish, "name": "tiny-inpainting"})["work"]
    studio.until(lambda: studio.work(work)["state"] in ("finished", "failed"))
    assert studio.work(work)["result"] == "tiny-inpainting"
    assert "needs a base" in studio.refused("/merge", {**wish, "base": None, "name": "x"})


def test_merges_that_cannot_be_are_sentences(studio: Studio) -> None:
    tiny, lora = checkpoint(studio), studio.write_lora("ink")
    wish: dict[str, Any] = {"a": tiny, "b": tiny, "name": "x"}
    for change, words in (
        ({"b": lora}, "ink.safetensors is no checkpoint"),
        ({"vae": tiny}, "tiny.safetensors is no VAE"),
        ({"b": None}, "needs a second checkpoint"),
        ({"method": "add difference"}, "needs a third checkpoint"),
        ({"multiplier": 1.5}, "0 to 1 is allowed"),
        ({"method": "sigmoid"}, "method"),
        ({"name": "..."}, "cannot be the name"),
        ({"name": "/"}, "cannot be the name"),
        ({"name": ""}, "name"),
        ({"target": "/tmp/x"}, "target"),
    ):
        assert words in studio.refused("/merge", wish | change), change
    assert studio.refused("/merge", wish | {"a": "0" * 24}, 404)
    assert studio.get("/works").json()["works"] == []
    assert not (studio.root / "models" / "checkpoints").exists()


def test_a_folder_is_added_searched_and_removed(studio: Studio, tmp_path: Path) -> None:
    other = tmp_path / "webui"
    (other / "models" / "Stable-diffusion").mkdir(parents=True)
    (other / "models" / "Lora").mkdir()
    save_file(LORA, other / "models" / "Lora" / "theirs.safetensors")
    said = studio.done("/folders", {"path": str(other)})["folders"]
    assert said == studio.get("/folders").json()["folders"]
    assert said[-1] == {
        "path": str(other),
        "kind": "unknown",
        "there": True,
        "added": True,
        "title": "AUTOMATIC1111 or Forge",
    }
    assert {
        "path": str(studio.root / "models" / "vae"),
        "kind": "vae",
        "there": False,
        "added": False,
        "title": "VAEs",
    } in said
    assert studio.models()["theirs.safetensors"]["root"] == str(other / "models" / "Lora")
    token = studio.done(f"/{studio.models()['theirs.safetensors']['id']}/trash")["trashed"]
    studio.done("/restore", {"trashed": token})
    assert "searched already" in studio.refused("/folders", {"path": str(other)})
    assert studio.done("/folders/remove", {"path": str(other)})["folders"] == said[:-1]
    assert "theirs.safetensors" not in studio.models()
    assert "was not added here" in studio.refused("/folders/remove", {"path": str(studio.root / "models" / "vae")})
    for path in ("relative", str(tmp_path / "nothing"), "/", "a\0b", ""):
        assert studio.refused("/folders", {"path": path}).endswith(".")
