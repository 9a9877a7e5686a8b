"""The Models tab's list, one model of it, and what is in memory."""

import gzip
import hashlib
import json
import os
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from safetensors.numpy import save_file

from backend.app import Options
from backend.model_manager.identity import Kind
from backend.model_manager.inventory import overview as overview_module
from tests.model_studio import BASE, LORA, PATIENCE, Studio, checkpoint, lora, options_at, picture, studio_of

TAGS = {"1_a": {"lines ": 3, "ink": 9}, "2_b": {"ink": 1, "bad": True, "worse": "x", "none": -4}, "c": ["x"]}


@pytest.fixture
def options(tmp_path: Path, tiny_checkpoint: Path) -> Options:
    return options_at(tmp_path, tiny_checkpoint)


@pytest.fixture
def studio(options: Options) -> Iterator[Studio]:
    with studio_of(options) as studio:
        yield studio


def test_a_model_is_listed_with_what_the_page_needs(studio: Studio) -> None:
    id = studio.write_lora("ink/charcoal", ss_output_name="charcoal-v3")
    path = studio.root / "models" / "loras" / "ink" / "charcoal.safetensors"
    path.with_suffix(".json").write_text(
        json.dumps({"activation text": "charcoal sketch", "preferred weight": 0.7, "negative text": "photo"})
    )
    picture(path.with_suffix(".png"))
    status = path.stat()
    assert studio.models()["charcoal.safetensors"] == {
        "id": id,
        "kind": "lora",
        "name": "ink/charcoal",
        "label": "charcoal",
        "folder": "ink",
        "root": str(studio.root / "models" / "loras"),
        "file": "charcoal.safetensors",
        "title": "LoRA for SD 1.x",
        "family": "sd1",
        "base": "SD 1.x",
        "variant": "lora",
        "size": status.st_size,
        "modified": int(status.st_mtime),
        "format": "safetensors",
        "problem": "",
        "remark": "",
        "chosen": False,
        "suggested": [],
        "convertible": False,
        "preview": f"atelier/models/{id}/preview?v={path.with_suffix('.png').stat().st_mtime_ns // 1_000_000}",
        "weight": 0.7,
        "trigger": "charcoal sketch",
        "negative": "photo",
        "token": "charcoal",
    }
    said = studio.get().json()
    assert (said["local"], said["waiting"], said["skipped"]) == (True, 0, [])
    assert re.fullmatch("[0-9a-f]{24}", id)
    tiny = studio.models()["tiny.safetensors"]
    assert (tiny["kind"], tiny["token"], tiny["preview"], tiny["weight"], tiny["trigger"]) == (
        "checkpoint",
        "",
        "",
        0,
        "",
    )


def test_a_token_names_one_lora(studio: Studio) -> None:
    for name in ("a/style", "b/Style", "b/other"):
        studio.write_lora(name)
    tokens = {model["name"]: model["token"] for model in studio.get().json()["models"] if model["kind"] == "lora"}
    assert tokens == {"a/style": "a/style", "b/Style": "b/Style", "b/other": "other"}
    for name, token in tokens.items():
        assert studio.app.catalog.find(token, Kind.LORA).name == name


def test_the_list_is_sent_once(studio: Studio) -> None:
    studio.write_lora("ink", LORA, **{f"word{k}": "long " * 99 for k in range(3)})
    first = studio.get(headers={"accept-encoding": "identity"})
    assert "content-encoding" not in first.headers
    known = {"if-none-match": first.headers["etag"]}
    again = studio.get(headers=known)
    assert (again.status_code, again.content) == (304, b"")
    assert studio.get(headers={"if-none-match": f'"x", {first.headers["etag"]}'}).status_code == 304
    other = studio.client("192.168.1.5").get(BASE, headers=known)
    assert other.status_code == 200, "what somebody elsewhere is shown is another list"
    studio.write_lora("pen")
    changed = studio.get(headers=known)
    assert changed.status_code == 200
    assert changed.json()["version"] > first.json()["version"]


@pytest.mark.parametrize(
    ("accepted", "packed"),
    [("gzip", True), ("br, GZIP ;q=0.5", True), ("gzip;q=0", False), ("br", False), ("xgzip", False), ("", False)],
)
def test_a_long_list_is_packed_for_who_can_unpack_it(studio: Studio, accepted: str, packed: bool) -> None:
    for k in range(12):
        studio.write_lora(f"style{k}")
    plain = studio.get(headers={"accept-encoding": "identity"})
    answer = studio.get(headers={"accept-encoding": accepted})
    assert answer.headers.get("content-encoding", "") == ("gzip" if packed else "")
    assert answer.json() == plain.json()
    assert answer.headers["vary"] == "Accept-Encoding"


def test_what_is_put_beside_a_model_is_seen_and_told(studio: Studio) -> None:
    id = studio.write_lora("ink")
    path = studio.root / "models" / "loras" / "ink.png"
    told: list[int] = []
    studio.models()
    studio.app.overview.subscribe(lambda: told.append(studio.app.overview.version))
    assert studio.models()["ink.safetensors"]["preview"] == ""
    assert told == []
    picture(path)
    assert studio.models()["ink.safetensors"]["preview"].startswith(f"atelier/models/{id}/preview?v=")
    assert told == [studio.get().json()["version"]]
    path.unlink()
    assert studio.models()["ink.safetensors"]["preview"] == ""
    assert len(told) == 2


def test_notes_that_are_written_in_place_are_seen_later(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    """As AUTOMATIC1111 writes them: the folder does not change."""
    studio.write_lora("ink")
    path = studio.root / "models" / "loras" / "ink.json"
    path.write_text(json.dumps({"activation text": "one"}))
    assert studio.models()["ink.safetensors"]["trigger"] == "one"
    path.write_text(json.dumps({"activation text": "two!"}))
    monkeypatch.setattr(overview_module, "LOOK_AGAIN", 0.0)
    assert studio.models()["ink.safetensors"]["trigger"] == "two!"


def test_many_notes_are_read_on_in_the_background(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overview_module, "READ_AT_ONCE", 3)
    folder = studio.root / "models" / "loras"
    studio.write_lora("first")
    for k in range(9):
        shutil.copy(folder / "first.safetensors", folder / f"style{k}.safetensors")
        (folder / f"style{k}.json").write_text(json.dumps({"activation text": f"word{k}"}))
    told = threading.Event()
    studio.app.overview.subscribe(told.set)
    studio.app.catalog.refresh()
    told.clear()
    some = [model["trigger"] for model in studio.models().values() if model["trigger"]]
    assert len(some) >= 3
    assert told.wait(PATIENCE)
    every = {model["trigger"] for model in studio.models().values() if model["trigger"]}
    assert every == {f"word{k}" for k in range(9)}


def test_five_thousand_models_cost_one_question_for_each_folder(
    options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted: questions to the disk and to the database, and bytes; times are the benchmark's."""
    folders = [options.installation / "models" / "loras" / f"set{k}" for k in range(5)]
    folders[0].mkdir(parents=True)
    first = folders[0] / "style0.safetensors"
    save_file(LORA, first)
    for number, folder in enumerate(folders):
        folder.mkdir(exist_ok=True)
        for k in range(1000):
            path = folder / f"style{number}-{k}.safetensors"
            os.link(first, path)
            if k % 4 == 0:
                path.with_suffix(".preview.png").write_bytes(b"not looked at")
    first.unlink()
    with studio_of(options) as studio:
        assert len(studio.models()) == 5001
        asked: list[str] = []
        real_stat, real_scandir = os.stat, os.scandir
        monkeypatch.setattr(os, "stat", lambda path, **more: asked.append(f"stat {path}") or real_stat(path, **more))
        monkeypatch.setattr(os, "scandir", lambda path: asked.append(f"scan {path}") or real_scandir(path))
        for index in (studio.app.catalog._index, studio.app.hashes._index):
            index._database.set_trace_callback(lambda text: asked.append(f"sql {text}"))
        answer = studio.get(headers={"accept-encoding": "identity"})
        packed = studio.get(headers={"accept-encoding": "gzip"})
        known = studio.get(headers={"if-none-match": answer.headers["etag"]})
        monkeypatch.undo()
        # The catalog's own thread may look once meanwhile: that is one question for each folder as well.
        places = [*folders, *(path for path in {folder.path for folder in options.folders})]
        assert len(asked) <= 2 * 3 * len(places), asked
        assert len(answer.content) < 5001 * 700
        assert int(packed.headers["content-length"]) < 5001 * 90
        assert gzip.decompress(gzip.compress(answer.content)) == packed.content
        assert known.status_code == 304
        assert sum(bool(model["preview"]) for model in answer.json()["models"]) == 1250


# One model


def test_details(studio: Studio) -> None:
    id = studio.write_lora(
        "ink",
        lora(*studio.app.catalog.find("tiny").identity.context_widths),
        ss_tag_frequency=json.dumps(TAGS),
        ss_resolution="(512, 768)",
        long="x" * 5000,
        odd='</script><b>"\u2028墨',
    )
    folder = studio.root / "models" / "loras"
    (folder / "ink.civitai.info").write_text(
        json.dumps(
            {
                "id": 7,
                "modelId": 5,
                "name": "v2",
                "baseModel": "SD 1.5",
                "model": {"name": "Ink"},
                "trainedWords": ["inkwash"],
                "description": "<p>One&nbsp;<b>two</b></p><script>alert(1)</script><style>x</style><p>3 &lt;i&gt;</p>",
            }
        )
    )
    (folder / "ink.json").write_text("[]")
    said = studio.get(f"/{id}").json()
    assert said.items() >= studio.models()["ink.safetensors"].items()
    assert said["path"] == str(folder / "ink.safetensors")
    assert (said["hash"], said["autov2"], said["resolution"]) == ("", "", "512 x 768")
    assert said["tags"] == [["ink", 10], ["lines", 3]]
    assert said["metadata"]["odd"] == '</script><b>"\u2028墨'
    assert said["metadata"]["long"] == "x" * 2000
    assert said["civitai"] == {
        "name": "Ink",
        "version": "v2",
        "base_model": "SD 1.5",
        "trained_words": ["inkwash"],
        "description": "One two\n\n3 <i>",
        "page": "https://civitai.com/models/5?modelVersionId=7",
    }
    assert said["problems"] == ["ink.json is left out: it holds no object."]
    assert said["notes"]["activation_text"] == ""
    assert said["fits"] == ["tiny"]
    assert {"lora", "unknown"} < set(said["choices"]["kinds"])
    assert {"sd1", "sdxl"} < set(said["choices"]["families"])
    assert said["choices"]["titles"]["sd1"] == "SD 1.x"
    assert studio.get(f"/{checkpoint(studio)}").json()["fits"] is None
    raw = studio.get(f"/{id}", headers={"accept-encoding": "identity"})
    assert raw.content.isascii()
    assert raw.headers["content-type"] == "application/json"
    assert raw.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "tags", ["no json", "[" * 100_000, "5", '{"a": 5}', '{"a": {"b": 1e400}}', '{"a": {"\\ud800": 2}}']
)
def test_odd_tags_are_no_fault(studio: Studio, tags: str) -> None:
    id = studio.write_lora("ink", ss_tag_frequency=tags)
    answer = studio.get(f"/{id}")
    assert answer.status_code == 200
    assert len(answer.json()["tags"]) == ("ud800" in tags)


def test_a_hash_is_waited_for_and_known_then(studio: Studio) -> None:
    id = studio.write_lora("ink")
    sha256 = hashlib.sha256((studio.root / "models" / "loras" / "ink.safetensors").read_bytes()).hexdigest()
    assert studio.done(f"/{id}/hash") == {"hash": sha256, "autov2": sha256[:10]}
    assert studio.get(f"/{id}").json()["hash"] == sha256


def test_notes_are_kept_field_by_field(studio: Studio) -> None:
    id = studio.write_lora("ink")
    path = studio.root / "models" / "loras" / "ink.json"
    path.write_text(json.dumps({"extra": 1, "description": "old"}))
    said = studio.done(f"/{id}/notes", {"activation_text": "墨", "preferred_weight": 1})
    assert (said["notes"]["activation_text"], said["notes"]["description"], said["weight"]) == ("墨", "old", 1)
    assert studio.done(f"/{id}/notes", {"description": ""})["trigger"] == "墨"
    kept = json.loads(path.read_text(encoding="utf-8"))
    assert (kept["extra"], kept["activation text"], kept["description"]) == (1, "墨", "")
    assert studio.models()["ink.safetensors"]["trigger"] == "墨"


@pytest.mark.parametrize(
    "words",
    [
        {"activation_text": 5},
        {"preferred_weight": "1"},
        {"preferred_weight": True},
        {"preferred_weight": 1000},
        {"color": "red"},
        {"notes": "x" * 50_001},
        [],
        "text",
        5,
    ],
)
def test_notes_that_cannot_be_change_nothing(studio: Studio, words: object) -> None:
    id = studio.write_lora("ink")
    assert studio.refused(f"/{id}/notes", words).endswith(".")
    assert not (studio.root / "models" / "loras" / "ink.json").exists()


def test_a_person_has_the_last_word_on_the_type(studio: Studio) -> None:
    id = studio.write_lora("ink")
    said = studio.done(f"/{id}/type", {"family": "sdxl"})
    assert (said["family"], said["chosen"], said["title"].startswith("LoRA for SDXL")) == ("sdxl", True, True)
    assert studio.models()["ink.safetensors"]["family"] == "sdxl"
    assert (
        studio.done(f"/{id}/type", {"kind": "checkpoint", "family": "sd1", "prediction": "v"})["kind"] == "checkpoint"
    )
    said = studio.done(f"/{id}/type", {"kind": None})
    assert (said["kind"], said["family"], said["chosen"]) == ("lora", "sd1", False)
    for wrong in ({"family": "sd15"}, {"kind": "Lora"}, {"prediction": "x"}, {"variant": "../x"}, {"runs": True}):
        assert studio.refused(f"/{id}/type", wrong)[-1] in ".?"
    assert "did you mean" in studio.refused(f"/{id}/type", {"family": "sdx"})
    assert not studio.models()["ink.safetensors"]["chosen"]


def test_what_does_not_go_with_a_checkpoint(studio: Studio) -> None:
    studio.write_lora("fits", lora(*studio.app.catalog.find("tiny").identity.context_widths))
    id = studio.write_lora("large", lora(2048))
    misfits = studio.get("/misfits", params={"checkpoint": "tiny"}).json()["misfits"]
    assert list(misfits) == [id]
    sentence = r"The LoRA large is for another family \(LoRA for SDXL.*\) and does not fit tiny, which is SD 1\.x.*\."
    assert re.fullmatch(sentence, misfits[id])
    assert studio.get("/misfits", params={"checkpoint": "none"}).json() == {"misfits": {}}
    assert studio.get("/misfits").status_code == 400


@pytest.mark.parametrize("id", ["0" * 24, "nothing", "..", "%2e%2e%2f", "ÿ"])
def test_an_unknown_model_is_a_sentence(studio: Studio, id: str) -> None:
    paths = [f"/{id}/{rest}" for rest in ("notes", "type", "hash", "unload", "keep", "trash", "convert")]
    bodies = {"keep": {"kept": True}}
    for path in paths:
        answer = studio.post(path, bodies.get(path.rpartition("/")[2]))
        assert answer.status_code in (404, 405)
        assert set(answer.json()) <= {"problem", "detail"}
    if id == "0" * 24:
        assert studio.get(f"/{id}").json() == {"problem": "This model is no longer in the list."}
        assert studio.get(f"/{id}/preview").status_code == 404


def test_without_a_memory_everything_is_cold(studio: Studio) -> None:
    id = checkpoint(studio)
    studio.write_lora("ink")
    said = studio.get("/state").json()
    assert said["models"] == {id: {"state": "cold", "seconds": None, "kept": False}}
    assert said["memory"]["occupants"] == []
    assert said["status"]["loading"] == ""
    assert studio.done(f"/{id}/keep", {"kept": True}) == {"kept": True}
    assert studio.get("/state").json()["models"][id]["kept"]
    assert studio.done("/unload") == {}
    assert studio.done(f"/{id}/unload") == {}
    assert "no checkpoint" in studio.refused(f"/{studio.models()['ink.safetensors']['id']}/keep", {"kept": True})
    assert studio.refused(f"/{id}/keep", {"kept": 1})


def test_a_real_memory_is_told_of_warmed_and_emptied(options: Options) -> None:
    """With the real engine: what was to be kept before there was a memory is kept in it."""
    with studio_of(options, worker=None) as studio:
        id = checkpoint(studio)
        studio.done(f"/{id}/keep", {"kept": True})
        studio.app.start()
        studio.until(lambda: studio.get("/state").json()["models"][id]["state"] == "hot")
        occupants = studio.get("/state").json()["memory"]["occupants"]
        assert occupants and all(each["kept"] and each["checkpoints"] == ["tiny"] for each in occupants)
        studio.done(f"/{id}/keep", {"kept": False})
        assert not any(each["kept"] for each in studio.get("/state").json()["memory"]["occupants"])
        studio.done(f"/{id}/unload")
        said = studio.get("/state").json()
        assert (said["models"][id]["state"], said["memory"]["occupants"]) == ("cold", [])
