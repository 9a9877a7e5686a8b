from pathlib import Path

import pytest

from backend.model_manager.identity import Kind
from backend.model_manager.inventory.trees import A1111, ATELIER, COMFYUI, LAYOUTS, ModelFolder, expand, layout_of


def installation(path: Path, *places: str) -> Path:
    for place in places:
        (path / place).mkdir(parents=True, exist_ok=True)
    return path


def kinds(folder: Path) -> dict[str, Kind]:
    """What `folder` is expanded to, by path from there."""
    return {each.path.relative_to(folder).as_posix(): each.kind for each in expand(ModelFolder(path=folder))}


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.title)
def test_an_installation_is_known_with_all_its_places(layout, tmp_path: Path) -> None:
    installation(tmp_path, layout.mark, "models/elsewhere")
    assert layout_of(tmp_path) == (layout, tmp_path)
    assert kinds(tmp_path) == dict(layout.places)


def test_the_places_are_the_programs_own() -> None:
    """As their documentation and folder_paths.py name them."""
    assert A1111.places["models/Stable-diffusion"] is COMFYUI.places["models/checkpoints"] is Kind.CHECKPOINT
    assert A1111.places["models/Lora"] is A1111.places["models/LyCORIS"] is COMFYUI.places["models/loras"] is Kind.LORA
    assert A1111.places["embeddings"] is COMFYUI.places["models/embeddings"] is Kind.EMBEDDING
    assert A1111.places["models/ESRGAN"] is COMFYUI.places["models/upscale_models"] is Kind.UPSCALER
    assert {place.rpartition("/")[2] for place in ATELIER.places} == {
        *("checkpoints", "loras", "vae", "embeddings", "controlnet", "upscalers")
    }


@pytest.mark.parametrize("inner", ["models", "."])
def test_the_models_folder_stands_for_its_installation(inner: str, tmp_path: Path) -> None:
    installation(tmp_path, A1111.mark)
    assert layout_of((tmp_path / inner).resolve()) == (A1111, tmp_path)


@pytest.mark.parametrize(("name", "layout"), [("ComfyUI", COMFYUI), ("webui", A1111)])
def test_an_unpacked_archive_is_its_installation(name, layout, tmp_path: Path) -> None:
    installation(tmp_path / name, layout.mark)
    assert layout_of(tmp_path) == (layout, tmp_path / name)


def test_any_other_folder_is_itself(tmp_path: Path) -> None:
    """A folder whose name alone is that of a place says nothing."""
    installation(tmp_path, "loras", "VAE", "anime")
    assert layout_of(tmp_path) is None
    assert kinds(tmp_path) == {".": Kind.UNKNOWN}
    missing = ModelFolder(path=tmp_path / "none")
    assert expand(missing) == (missing,)


def test_a_folder_for_one_kind_is_not_looked_through(tmp_path: Path) -> None:
    installation(tmp_path, A1111.mark)
    folder = ModelFolder(path=tmp_path, kind=Kind.LORA)
    assert expand(folder) == (folder,)


def test_comfyui_s_extra_paths_are_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    comfy = installation(tmp_path / "ComfyUI", COMFYUI.mark)
    monkeypatch.setenv("SOMEWHERE", str(tmp_path / "variable"))
    (comfy / "extra_model_paths.yaml").write_text(
        f"""
a111:
    base_path: {tmp_path}/webui/
    checkpoints: models/Stable-diffusion
    configs: models/Stable-diffusion
    loras: |
        models/Lora
        models/LyCORIS
    embeddings: {tmp_path}/full
more:
    vae: beside
    unet: $SOMEWHERE/unet
    loras: [no, text]
not_a_group: 7
""",
        encoding="utf-8",
    )
    found = {(each.path, each.kind) for each in expand(ModelFolder(path=comfy))[len(COMFYUI.places) :]}
    assert found == {
        (tmp_path / "webui/models/Stable-diffusion", Kind.CHECKPOINT),
        (tmp_path / "webui/models/Lora", Kind.LORA),
        (tmp_path / "webui/models/LyCORIS", Kind.LORA),
        (tmp_path / "full", Kind.EMBEDDING),
        (comfy / "beside", Kind.VAE),
        (tmp_path / "variable/unet", Kind.CHECKPOINT),
    }


@pytest.mark.parametrize(
    "text",
    [
        *(b"", b"- a\n- b", b"just words", b"a: [", b"\xff\xfe\x00", b"a: {base_path: [1]}"),
        b"a: !!python/object/apply:os.mkdir [executed]",
        b"x: &x [*x]",
        b"[" * 100_000,
        b"a: " + b"x" * 2_000_000,
    ],
)
def test_an_extra_file_that_makes_no_sense_is_left_out(text: bytes, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    installation(tmp_path, COMFYUI.mark)
    (tmp_path / "extra_model_paths.yaml").write_bytes(text)
    assert kinds(tmp_path) == dict(COMFYUI.places)
    assert not (tmp_path / "executed").exists()
