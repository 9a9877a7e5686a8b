"""Presets: kept whole, found again, and nothing is kept that no form has."""

from pathlib import Path
from typing import Any

import pytest

from backend.errors import UserError
from backend.presets import Preset, Presets

VALUES = {"steps": 30, "cfg_scale": 4.5, "sampler": "Euler a", "hires": True, "sampling.eta": None, "styles": ["ink"]}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "presets.json"


def test_presets_survive_a_restart(path: Path) -> None:
    presets = Presets(path)
    presets.save(Preset(name="quick", tab="txt2img", values=VALUES))
    presets.save(Preset(name="Ällan", tab="inpaint", values={"prompt": "mist\n\udce4"}))
    presets.set_of_checkpoint("folder/sharp", {"clip_skip": 2})
    again = Presets(path)
    assert again.all() == presets.all()
    assert again.find("quick").values == VALUES
    assert dict(again.of_checkpoint("folder/sharp")) == {"clip_skip": 2}
    assert dict(again.of_checkpoint("other")) == {}


def test_a_preset_is_replaced_by_one_of_its_name_and_deleted(path: Path) -> None:
    presets = Presets(path)
    for steps in (5, 6):
        presets.save(Preset(name="quick", tab="txt2img", values={"steps": steps}))
    assert [preset.values for preset in presets.all()] == [{"steps": 6}]
    with pytest.raises(UserError, match="no preset called 'quik'; did you mean quick"):
        presets.delete("quik")
    presets.delete("quick")
    assert Presets(path).all() == ()
    with pytest.raises(UserError, match="no presets yet"):
        presets.find("quick")


def test_a_checkpoint_s_values_are_forgotten(path: Path) -> None:
    presets = Presets(path)
    presets.set_of_checkpoint("a", {"steps": 5})
    presets.set_of_checkpoint("a", {})
    assert dict(Presets(path).of_checkpoint("a")) == {}


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("", {}),
        ("two\nlines", {}),
        ("n" * 101, {}),
        ("a", {"prompt": {"nested": 1}}),
        ("a", {"cfg_scale": float("nan")}),
        ("a", {"styles": [1]}),
        ("a", {"prompt": "x" * 70_000}),
        ("a", {str(n): n for n in range(500)}),
        ("a", [1]),
    ],
)
def test_what_no_form_has_is_not_kept(path: Path, name: str, values: Any) -> None:
    with pytest.raises(UserError):
        Presets(path).save(Preset(name=name, tab="txt2img", values=values))
    assert not path.exists()


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", '{"schema": 2, "presets": [], "checkpoints": {}}', '{"schema": 1, "presets": [{"name": 1}]}'],
)
def test_a_damaged_file_is_kept_aside(path: Path, text: str) -> None:
    path.write_text(text)
    presets = Presets(path)
    assert presets.all() == ()
    presets.save(Preset(name="quick", tab="txt2img", values={}))
    (aside,) = path.parent.glob("presets.json.bad-*")
    assert aside.read_text() == text
