import json
from pathlib import Path

import pytest

from backend.errors import UserError
from backend.settings import Settings, SettingsStore


def test_without_a_file_there_are_defaults_and_none_is_written(tmp_path: Path) -> None:
    store = SettingsStore(tmp_path / "settings.json")
    assert store.value == Settings()
    assert list(tmp_path.iterdir()) == []


def test_a_change_survives(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    SettingsStore(path).update({"image_format": "webp", "default_width": 128})
    again = SettingsStore(path)
    assert (again.value.image_format, again.value.default_width, again.problems) == ("webp", 128, [])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"image_format": "gif"}, "File format is 'gif'"),
        ({"default_width": 100}, "Width is 100"),
        ({"default_width": 32}, "Width is 32: it must be 0 or at least 64"),
        ({"default_width": 64.5}, "Width is 64.5"),
        ({"default_steps": 1000}, "Sampling steps is 1000"),
        ({"default_cfg_scale": float("nan")}, "CFG scale is nan"),
        ({"default_sampler": "Eular"}, "did you mean Euler"),
        ({"default_schedule": "Karass"}, "did you mean Karras"),
        ({"output_folder": "some/where"}, "not a full path"),
        ({"colour": 1}, "no setting called 'colour'"),
    ],
)
def test_a_bad_change_is_named_and_changes_nothing(change: dict[str, object], words: str, tmp_path: Path) -> None:
    store = SettingsStore(tmp_path / "settings.json")
    store.update({"image_quality": 80})
    before = (tmp_path / "settings.json").read_bytes()
    with pytest.raises(UserError, match=words):
        store.update({"image_quality": 70, **change})
    assert store.value.image_quality == 80
    assert (tmp_path / "settings.json").read_bytes() == before


def test_a_bad_value_in_the_file_costs_only_itself(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    text = json.dumps({"image_quality": 71, "default_steps": "many", "unheard_of": 1})
    path.write_text(text)
    store = SettingsStore(path)
    assert store.value.image_quality == 71
    assert store.value.default_steps == Settings().default_steps
    assert any("Sampling steps is 'many'" in problem for problem in store.problems)
    assert any("unheard_of" in problem for problem in store.problems)
    (aside,) = tmp_path.glob("settings.bad-*.json")
    assert aside.read_text() == text


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff\xfe", b"null"])
def test_a_broken_file_gives_defaults_a_sentence_and_is_kept(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.write_bytes(data)
    store = SettingsStore(path)
    assert store.value == Settings()
    assert len(store.problems) == 1
    assert store.problems[0].endswith("the defaults are used.")
    (aside,) = tmp_path.glob("settings.bad-*.json")
    assert aside.read_bytes() == data


def test_names_are_made_exact() -> None:
    assert Settings(default_sampler="k_euler_a").default_sampler == "Euler a"
