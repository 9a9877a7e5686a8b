"""Presets: kept whole, found again, each person's apart, and nothing is kept that no form has."""

import json
from pathlib import Path
from typing import Any

import pytest

from backend.errors import UserError
from backend.presets import MOST_PRESETS, Preset, Presets

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
        presets.find("quik")
    presets.delete(presets.find("quick"))
    assert Presets(path).all() == ()
    with pytest.raises(UserError, match="no presets yet"):
        presets.find("quick")


def test_people_see_the_studio_s_and_their_own(path: Path) -> None:
    presets = Presets(path)
    for owner, steps in (("", 1), ("anna", 2), ("bert", 3)):
        presets.save(Preset(name="quick", tab="txt2img", values={"steps": steps}, owner=owner))
    presets.save(Preset(name="slow", tab="txt2img", values={}, owner="anna"))
    presets = Presets(path)
    assert [(each.name, each.owner) for each in presets.all("anna")] == [("quick", "anna"), ("slow", "anna")]
    assert [(each.name, each.owner) for each in presets.all("bert")] == [("quick", "bert")]
    assert [(each.name, each.owner) for each in presets.all()] == [("quick", "")]
    for owner in ("bert", ""):
        with pytest.raises(UserError, match="no preset called 'slow'"):
            presets.find("slow", owner)
    presets.delete(presets.find("quick", "anna"))
    assert presets.find("quick", "anna").values == {"steps": 1}  # the studio's comes to light again
    assert presets.find("quick", "bert").values == {"steps": 3}


def test_a_file_from_before_there_were_people_is_the_studio_s(path: Path) -> None:
    before = {"schema": 1, "presets": [{"name": "quick", "tab": "txt2img", "values": VALUES}], "checkpoints": {}}
    path.write_text(json.dumps(before))
    presets = Presets(path)
    assert [(each.name, each.owner) for each in presets.all("anna")] == [("quick", "")]
    presets.set_of_checkpoint("sharp", {})
    assert json.loads(path.read_text()) == before  # and an older Atelier reads it too
    presets.save(Preset(name="mine", tab="txt2img", values={}, owner="anna"))
    assert json.loads(path.read_text())["presets"][1]["owner"] == "anna"


def test_one_person_s_presets_leave_room_for_another_s(path: Path) -> None:
    rows = [{"name": f"{n}", "tab": "txt2img", "values": {}, "owner": "anna"} for n in range(MOST_PRESETS)]
    path.write_text(json.dumps({"schema": 1, "presets": rows, "checkpoints": {}}))
    presets = Presets(path)
    with pytest.raises(UserError, match=f"{MOST_PRESETS} presets already"):
        presets.save(Preset(name="more", tab="txt2img", values={}, owner="anna"))
    presets.save(Preset(name="more", tab="txt2img", values={}, owner="bert"))
    presets.save(Preset(name="more", tab="txt2img", values={}))


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
    [
        "",
        "[]",
        "{",
        '{"schema": 1, "presets": [{"name": "a", "tab": "b", "values": {}, "owner": 1}], "checkpoints": {}}',
        '{"schema": 2, "presets": [], "checkpoints": {}}',
        '{"schema": 1, "presets": [{"name": 1}]}',
    ],
)
def test_a_damaged_file_is_kept_aside(path: Path, text: str) -> None:
    path.write_text(text)
    presets = Presets(path)
    assert presets.all() == ()
    presets.save(Preset(name="quick", tab="txt2img", values={}))
    (aside,) = path.parent.glob("presets.json.bad-*")
    assert aside.read_text() == text
