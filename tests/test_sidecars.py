import json
from dataclasses import replace
from pathlib import Path

import pytest

from backend.errors import UserError
from backend.model_manager.inventory.sidecars import Civitai, Notes, Sidecar, beside, read_sidecar, write_notes

WORDS = Notes(
    description="bright ink 墨",
    notes="made by a friend",
    sd_version="SD1",
    activation_text="inkwash, lines",
    preferred_weight=0.8,
    negative_text="photo",
)
# As AUTOMATIC1111's editor writes it.
WRITTEN = {
    "description": "bright ink 墨",
    "sd version": "SD1",
    "activation text": "inkwash, lines",
    "preferred weight": 0.8,
    "negative text": "photo",
    "notes": "made by a friend",
}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "style.v1.safetensors"
    path.write_bytes(b"never opened here")
    return path


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("a.safetensors", "a"),
        ("a.v1.5.SAFETENSORS", "a.v1.5"),
        ("old.ckpt", "old"),
        ("folder", "folder"),
        ("sdxl-1.0", "sdxl-1.0"),  # a diffusers folder, and no suffix
    ],
)
def test_a_sidecar_bears_the_model_s_name(name: str, stem: str, tmp_path: Path) -> None:
    assert beside(tmp_path / name, ".json") == tmp_path / f"{stem}.json"


def test_nothing_beside_a_model_is_nothing(model: Path) -> None:
    assert read_sidecar(model) == Sidecar()


def test_a1111_s_notes_are_read(model: Path) -> None:
    (model.parent / "style.v1.json").write_text(json.dumps(WRITTEN), encoding="utf-8-sig")
    assert read_sidecar(model) == Sidecar(notes=WORDS)


def test_what_is_written_is_what_a1111_reads_and_the_rest_stays(model: Path) -> None:
    path = model.parent / "style.v1.json"
    path.write_text(json.dumps({"ss_other tool": [1, {"a": None}], "notes": "old", "sd version": "SDXL"}))
    write_notes(model, WORDS)
    assert json.loads(path.read_text(encoding="utf-8")) == {"ss_other tool": [1, {"a": None}], **WRITTEN}
    assert read_sidecar(model).notes == WORDS
    write_notes(model, replace(WORDS, notes="new"))
    assert read_sidecar(model).notes == replace(WORDS, notes="new")
    assert sorted(each.name for each in model.parent.iterdir()) == ["style.v1.json", model.name]


@pytest.mark.parametrize("there", [b"[1, 2]", b"{no json", b"\xff\xfe{}", b'{"a": "' + b"x" * 1_100_000 + b'"}'])
def test_a_file_that_is_not_a1111_s_is_not_replaced(there: bytes, model: Path) -> None:
    path = model.parent / "style.v1.json"
    path.write_bytes(there)
    with pytest.raises(
        UserError, match=r"^The notes were not saved, to keep what is there\. style\.v1\.json is left out"
    ):
        write_notes(model, WORDS)
    assert path.read_bytes() == there
    (problem,) = read_sidecar(model).problems
    assert problem.startswith("style.v1.json is left out: ")


def test_a_place_that_cannot_be_written_is_named(model: Path) -> None:
    with pytest.raises(UserError, match=r"^The notes could not be written to .*x\.json: "):
        write_notes(model / "below a file" / "x.safetensors", WORDS)
    with pytest.raises(UserError, match="surrogates"):
        write_notes(model, replace(WORDS, notes="\udcff"))
    assert not (model.parent / "style.v1.json").exists()


@pytest.mark.parametrize(
    ("said", "weight"),
    [(0.5, 0.5), (1, 1.0), (-2, -2.0), ("0.5", 0.0), (True, 0.0), (None, 0.0), (10**400, 0.0), ([], 0.0)],
)
def test_a_weight_is_a_number_or_none(said: object, weight: float, model: Path) -> None:
    (model.parent / "style.v1.json").write_text(json.dumps({"preferred weight": said}))
    assert read_sidecar(model) == Sidecar(notes=Notes(preferred_weight=weight))


@pytest.mark.parametrize(
    "text", ['{"preferred weight": NaN}', '{"preferred weight": 1e999}', '{"notes": [1]}', "{}", " "]
)
def test_values_of_another_type_are_none(text: str, model: Path) -> None:
    (model.parent / "style.v1.json").write_text(text)
    assert read_sidecar(model) == Sidecar()


@pytest.mark.parametrize(
    ("there", "shown"),
    [
        ({"style.v1.png"}, "style.v1.png"),
        ({"style.v1.preview.webp", "style.v1.png"}, "style.v1.preview.webp"),
        ({"style.v1.preview.jpg", "style.v1.preview.png"}, "style.v1.preview.png"),
        ({"style.preview.png", "style.v1.safetensors.png", "other.png"}, None),
    ],
)
def test_the_preview_is_the_nearest_by_name(there: set[str], shown: str | None, model: Path) -> None:
    for name in there:
        (model.parent / name).write_bytes(b"a picture")
    assert read_sidecar(model).preview == (model.parent / shown if shown else None)


def test_what_civitai_said_is_read(model: Path) -> None:
    """The fields of the site's documented answer for a model version."""
    said = {
        "id": 12345,
        "modelId": 678,
        "name": "v1.0",
        "baseModel": "SD 1.5",
        "trainedWords": ["inkwash", 7, "lines"],
        "description": "<p>ink</p>",
        "model": {"name": "Ink Wash", "type": "LORA"},
        "files": [{"hashes": {"AutoV2": "ABCDEF0123", "SHA256": "ABCDEF0123" + "0" * 54}}],
    }
    (model.parent / "style.v1.civitai.info").write_text(json.dumps(said))
    assert read_sidecar(model).civitai == Civitai(
        name="Ink Wash",
        version="v1.0",
        base_model="SD 1.5",
        trained_words=("inkwash", "lines"),
        description="<p>ink</p>",
        sha256="abcdef0123" + "0" * 54,
        model_id=678,
        version_id=12345,
    )


@pytest.mark.parametrize(
    "said", [{"model": 1, "files": {}, "trainedWords": "x"}, {"files": [1, {"hashes": 2}]}, {"id": "1"}]
)
def test_an_answer_of_other_types_is_empty(said: object, model: Path) -> None:
    (model.parent / "style.v1.civitai.info").write_text(json.dumps(said))
    assert read_sidecar(model) == Sidecar(civitai=Civitai())


def test_a_link_leads_only_where_it_may(model: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside")
    secret, notes = outside / "secret.png", outside / "secret.json"
    secret.write_bytes(b"private")
    notes.write_text('{"notes": "private"}')
    (model.parent / "style.v1.preview.png").symlink_to(secret)
    (model.parent / "style.v1.json").symlink_to(notes)
    refused = read_sidecar(model)
    assert (refused.preview, refused.notes) == (None, Notes())
    assert [problem.split(": ")[0] for problem in refused.problems] == [
        *("style.v1.json is left out", "style.v1.preview.png is left out")
    ]
    with pytest.raises(UserError, match="lies in no model folder"):
        write_notes(model, WORDS)
    assert notes.read_text() == '{"notes": "private"}'

    def allowed(target: Path) -> bool:
        return target.is_relative_to(outside)

    followed = read_sidecar(model, allowed=allowed)
    assert (followed.preview, followed.notes.notes) == (model.parent / "style.v1.preview.png", "private")
    write_notes(model, WORDS, allowed=allowed)
    assert (model.parent / "style.v1.json").is_symlink()
    assert json.loads(notes.read_text())["notes"] == WORDS.notes
